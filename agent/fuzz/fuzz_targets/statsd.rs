//! Whatever is sent makes a sample that can travel.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use outrigger_agent::requests::mapping::Mapping;
use outrigger_agent::requests::statsd::Ledger;
use outrigger_protocol::codec::encode;
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::time::UnixMillis;

fuzz_target!(|packets: Vec<(bool, Vec<u8>)>| {
    let rules = ["*", "response_time=*", "requests=*"].map(|rule| rule.parse().expect("a rule"));
    let (mut ledger, now) = (Ledger::new(Mapping::of_statsd(&rules, false)), Instant::now());
    for (is_cut, packet) in &packets {
        ledger.packet(packet, *is_cut, now);
    }
    let mut sample = Sample::new(UnixMillis::EPOCH);
    ledger.take(Duration::from_secs(1), now).record(&mut sample);
    let batch = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples: vec![sample], dropped: 0 };
    encode(&batch, &mut Vec::new()).expect("within the limits of the wire");
});
