//! Any two answers of a program make a sample that can travel.

#![no_main]

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use outrigger_agent::requests::mapping::Mapping;
use outrigger_agent::requests::scrape::{Collector, Format};
use outrigger_protocol::codec::encode;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::time::UnixMillis;

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (is_open_metrics, first, second) = input;
    let format = if is_open_metrics { Format::OpenMetrics } else { Format::Prometheus };
    let rules = ["*", "response_time=*"].map(|rule| rule.parse().expect("a rule"));
    let (mapping, hashes) = (Arc::new(Mapping::of_scrape(&rules, false)), RandomState::new());
    let seen = |answer: &[u8]| {
        let mut collector = Collector::new(Arc::clone(&mapping), format, hashes.clone());
        answer.chunks(7).for_each(|chunk| collector.feed(chunk));
        collector.finish().ok()
    };
    let (Some(first), Some(second)) = (seen(&first), seen(&second)) else { return };
    let mut sample = Sample::new(UnixMillis::EPOCH);
    second.reading(&mapping, Some((&first, Duration::from_secs(1)))).record(&mut sample);
    let batch = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples: vec![sample], dropped: 0 };
    encode(&batch, &mut Vec::new()).expect("within the limits of the wire");
});
