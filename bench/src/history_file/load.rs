//! Sandboxes under a load that wanders: what depends on requests follows them, with noise of its own. Idle ones exist.

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use crate::workload::Noise;

/// What each sandbox tells every second.
pub(super) const METRICS: [Metric; 12] = [
    Metric::Requests,
    Metric::Cpu,
    Metric::CpuUsage,
    Metric::MemoryWorkingSet,
    Metric::NetworkReceive,
    Metric::NetworkTransmit,
    Metric::DiskWrite,
    Metric::PressureCpuSome,
    Metric::RequestsInFlight,
    Metric::Threads,
    Metric::FileDescriptors,
    Metric::RequestErrors,
];

/// The beginning of an hour.
const START: u64 = 1_789_999_200_000;

pub(super) const fn second(seconds: u64) -> UnixMillis {
    UnixMillis::from_millis(START + 1_000 * seconds)
}

/// How many sandboxes there are; of five, one is busy, or all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    sandboxes: u16,
    one_of: u16,
}

impl Load {
    pub(super) const fn busy(sandboxes: u16) -> Self {
        Self { sandboxes, one_of: 1 }
    }

    /// Four idle ones to each busy one.
    pub(super) const fn mixed(busy: u16) -> Self {
        Self { sandboxes: 5 * busy, one_of: 5 }
    }

    pub(super) fn samples(self, seconds: u64) -> u64 {
        u64::from(self.sandboxes) * METRICS.len() as u64 * seconds
    }

    /// The same every time.
    pub(super) fn sandboxes(self) -> Vec<Sandbox> {
        (0..self.sandboxes).map(|number| Sandbox::new(number, number % self.one_of == 0)).collect()
    }
}

#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) instance: InstanceId,
    noise: Noise,
    is_busy: bool,
    level: f64,
    pages: f64,
}

impl Sandbox {
    fn new(number: u16, is_busy: bool) -> Self {
        let mut noise = Noise::new(u64::from(number) + 1);
        let level = 50.0 + 200.0 * noise.unit();
        let instance = InstanceId::from_bytes((u128::from(number) + 2).to_be_bytes());
        Self { instance, noise, is_busy, level, pages: 20_000.0 }
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.noise.unit()).sum::<f64>() - 6.0
    }

    /// The next second; they have to be asked for in order.
    pub(super) fn sample(&mut self, at: u64) -> Sample {
        let mut sample = Sample::new(second(at));
        for (metric, value) in METRICS.into_iter().zip(if self.is_busy { self.busy() } else { self.idle() }) {
            sample.set(metric, value);
        }
        sample
    }

    fn idle(&mut self) -> [f64; METRICS.len()] {
        // It wakes up now and then.
        let awake = if self.noise.unit() < 0.02 { 1.0 } else { 0.0 };
        [0.0, 0.05 * awake, 0.001 * awake, self.pages * 4_096.0, 66.0 * awake, 0.0, 0.0, 0.0, 0.0, 4.0, 11.0, 0.0]
    }

    fn busy(&mut self) -> [f64; METRICS.len()] {
        self.level = (self.level + 2.0 * self.normal()).clamp(5.0, 2_000.0);
        let load = (self.level + self.level.sqrt() * self.normal()).max(0.0);
        if self.noise.unit() < 0.3 {
            self.pages += (4.0 * self.normal()).round();
        }
        [
            load.round(),
            (load / 20.0 + self.normal()).max(0.0),
            (load / 1_000.0 + 0.02 * self.normal()).max(0.0),
            self.pages * 4_096.0,
            load * 700.0 * (1.0 + 0.1 * self.noise.unit()),
            load * 2_400.0 * (1.0 + 0.1 * self.noise.unit()),
            if self.noise.unit() < 0.2 { 4_096.0 * (9.0 * self.noise.unit()).round() } else { 0.0 },
            (load / 400.0 * self.noise.unit() - 0.1).max(0.0),
            (load / 60.0 + self.normal()).round().max(0.0),
            8.0 + (load / 100.0).round(),
            20.0 + (load / 30.0 + 0.5 * self.normal()).round(),
            if self.noise.unit() < 0.02 { 1.0 } else { 0.0 },
        ]
    }
}
