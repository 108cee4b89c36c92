//! What simulated agents and policies are fed with: values like those of a web service in a sandbox.

use std::time::Duration;

use outrigger_policy_host::{Deployment, Input, LocalTime, Series};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

/// Requests per second of one agent's program, each of which is in the histogram.
const REQUESTS: u32 = 40;
const MIB: f64 = 1024.0 * 1024.0;

/// A stream of numbers that look random and are the same in every run (Steele, Lea, Flood 2014: SplitMix64).
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from 0 to below `span`.
    pub fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.unit())
    }

    /// `value`, off by at most `share` of it.
    fn around(&mut self, value: f64, share: f64) -> f64 {
        value * (1.0 + share * (2.0 * self.unit() - 1.0))
    }
}

/// One sample as a sandbox with a quota, a proxy and a program in it sends: 29 values and a histogram.
#[must_use]
pub fn sample(at: UnixMillis, cpu_percent: f64, noise: &mut Noise) -> Sample {
    let mut sample = Sample::new(at);
    let memory = noise.around(180.0 * MIB, 0.05);
    for (metric, value) in [
        // What decisions are made on is exact, so that a step in it is seen in the very next sample.
        (Metric::Cpu, cpu_percent),
        (Metric::CpuUsage, cpu_percent / 100.0 * 2.0),
        (Metric::CpuLimit, 2.0),
        (Metric::CpuThrottled, noise.around(1.0, 0.5)),
        (Metric::Memory, 100.0 * memory / (512.0 * MIB)),
        (Metric::MemoryWorkingSet, memory),
        (Metric::MemoryRss, 0.8 * memory),
        (Metric::MemoryLimit, 512.0 * MIB),
        (Metric::OomKills, 0.0),
        (Metric::PressureCpuSome, noise.around(3.0, 0.9)),
        (Metric::PressureCpuFull, noise.around(0.5, 0.9)),
        (Metric::PressureMemorySome, 0.0),
        (Metric::PressureMemoryFull, 0.0),
        (Metric::PressureIoSome, noise.around(0.4, 0.9)),
        (Metric::PressureIoFull, noise.around(0.2, 0.9)),
        (Metric::Processes, 3.0),
        (Metric::Threads, 19.0),
        (Metric::FileDescriptors, noise.around(64.0, 0.2).round()),
        (Metric::DiskRead, 0.0),
        (Metric::DiskWrite, noise.around(40_000.0, 0.9).round()),
        (Metric::NetworkReceive, noise.around(300_000.0, 0.3).round()),
        (Metric::NetworkTransmit, noise.around(900_000.0, 0.3).round()),
        (Metric::Requests, f64::from(REQUESTS)),
        (Metric::RequestsInFlight, noise.around(2.0, 0.9).round()),
        (Metric::RequestErrors, 0.0),
        (Metric::QueueDepth, noise.around(5.0, 0.9).round()),
        (Metric::HostCpu, noise.around(45.0, 0.2)),
        (Metric::HostMemory, noise.around(60.0, 0.02)),
        (Metric::HostLoad1, noise.around(1.5, 0.2)),
    ] {
        sample.set(metric, value);
    }
    let mut latency = LatencyHistogram::new();
    for _ in 0..REQUESTS {
        latency.record(Duration::from_millis(4) + noise.within(Duration::from_millis(30)));
    }
    sample.latency = Some(latency);
    sample
}

/// Points of each series in [`policy_input`].
pub const POINTS: usize = 60;
/// A configuration of the built-in `threshold` that looks at all of [`policy_input`].
pub const THRESHOLD: &str = r#"{"rules":[
    {"metric":"cpu","above":75,"below":20,"upFor":"60s","downFor":"60s"},
    {"metric":"memory","above":85,"below":30,"upFor":"60s","downFor":"60s"},
    {"metric":"requests","above":100,"below":10,"upFor":"60s","downFor":"60s"},
    {"metric":"response_time_p95","above":250,"below":50,"upFor":"60s","downFor":"60s"}]}"#;

/// A minute of four metrics, one point a second: what the goal for a policy's call is stated for.
#[must_use]
pub fn policy_input(config: &str) -> Input {
    // 2024-01-01T00:00:00Z; any moment does.
    const NOW: u64 = 1_704_067_200_000;
    let mut noise = Noise::new(4);
    let metrics = [("cpu", 55.0), ("memory", 62.0), ("requests", 41.0), ("response_time_p95", 88.0)];
    let series = metrics.map(|(name, level)| Series {
        name: name.to_owned(),
        unit: None,
        points: (0..POINTS).map(|_| noise.around(level, 0.1)).collect(),
    });
    Input {
        now: NOW,
        local: LocalTime::utc(NOW),
        step: 1_000,
        deployment: Deployment {
            replicas: 3,
            ready_replicas: 3,
            min: 1,
            max: 20,
            last_scale_up: None,
            last_scale_down: None,
        },
        series_start: NOW - (POINTS as u64 - 1) * 1_000,
        series: series.into(),
        config: config.to_owned(),
        ..Input::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::codec;
    use outrigger_protocol::sample::{BatchId, MetricBatch};

    #[test]
    fn a_sample_is_one_that_the_wire_takes_whole() {
        let sample = sample(UnixMillis::from_millis(1_000), 50.0, &mut Noise::new(1));
        let batch = MetricBatch { id: BatchId { epoch: 1, seq: 1 }, samples: vec![sample], dropped: 0 };
        let mut frame = Vec::new();
        codec::encode(&batch, &mut frame).unwrap();
        let decoded: MetricBatch = codec::decode(&frame[codec::PREFIX_BYTES..]).unwrap();
        assert_eq!(decoded, batch);
        assert_eq!(decoded.samples[0].value(Metric::Cpu), Some(50.0));
    }

    #[test]
    fn noise_stays_within_its_bounds_and_repeats() {
        let (mut one, mut two) = (Noise::new(9), Noise::new(9));
        for _ in 0..1_000 {
            let value = one.unit();
            assert!((0.0..1.0).contains(&value));
            assert_eq!(value.to_bits(), two.unit().to_bits());
        }
        assert!(one.within(Duration::from_secs(1)) < Duration::from_secs(1));
    }

    #[test]
    fn the_policy_input_is_acceptable() {
        policy_input(THRESHOLD).check().unwrap();
    }
}
