//! What is measured: blocks of samples, and the same as lines of text for the peers.

use std::fmt::Write as _;

use outrigger_history::precision::rounded;
use outrigger_history::{Block, ColumnKey, Field, MetricName, SourceId};
use outrigger_protocol::metric::{Metric, Unit};
use outrigger_protocol::time::UnixMillis;

pub(crate) struct DataSet {
    pub(crate) name: String,
    /// In the order of their sources.
    pub(crate) blocks: Vec<Block>,
}

impl DataSet {
    /// Values that are present.
    pub(crate) fn samples(&self) -> u64 {
        let columns = self.blocks.iter().flat_map(Block::columns);
        columns.map(|(_, values)| values.iter().filter(|value| !value.is_nan()).count() as u64).sum()
    }

    pub(crate) fn series(&self) -> usize {
        self.blocks.iter().map(|block| block.columns().count()).sum()
    }

    /// Every series with its labels and its samples, metric by metric.
    pub(crate) fn for_each_series(
        &self,
        mut each: impl FnMut(&str, &str, &mut dyn Iterator<Item = (UnixMillis, f64)>),
    ) {
        let mut metrics: Vec<&MetricName> =
            self.blocks.iter().flat_map(Block::columns).map(|(key, _)| &key.metric).collect();
        metrics.sort();
        metrics.dedup();
        for metric in metrics {
            for block in &self.blocks {
                if block.column(&ColumnKey::new(metric.clone(), Field::Value)).is_some() {
                    let source = block.source().to_bytes().iter().fold(String::new(), |mut text, byte| {
                        let _ = write!(text, "{byte:02x}");
                        text
                    });
                    each(metric.as_str(), &source, &mut block.samples(metric));
                }
            }
        }
    }
}

pub(crate) fn source(number: usize) -> SourceId {
    SourceId::from_bytes((number as u128 + 1).to_be_bytes())
}

/// Numbers that look random and are the same every time: Lehmer's generator, as MINSTD has it.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 as f64 / 2_147_483_647.0
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

const START: u64 = 1_790_000_000_000;

/// Sandboxes under a load that wanders: what depends on requests follows them, with noise of its own.
pub(crate) fn generated(sandboxes: usize, seconds: u64) -> DataSet {
    let blocks = (0..sandboxes).map(|number| {
        let mut noise = Noise(7_919 * (number as u64 + 3));
        let times = (0..seconds).map(|at| UnixMillis::from_millis(START + at * 1_000)).collect();
        let mut block = Block::new(source(number), times).expect("ascending");
        let mut level = 50.0 + 200.0 * noise.uniform();
        let load: Vec<f64> = (0..seconds)
            .map(|_| {
                level = (level + 2.0 * noise.normal()).clamp(5.0, 2_000.0);
                (level + level.sqrt() * noise.normal()).max(0.0)
            })
            .collect();
        let mut pages = 20_000.0;
        let mut column = |metric: Metric, value: &mut dyn FnMut(f64, &mut Noise) -> f64| {
            let values = load.iter().map(|load| rounded(metric.unit(), value(*load, &mut noise)));
            block.insert(ColumnKey::new(metric, Field::Value), values.collect()).expect("one value a time");
        };
        column(Metric::Requests, &mut |load, _| load.round());
        column(Metric::Cpu, &mut |load, noise| (load / 20.0 + noise.normal()).max(0.0));
        column(Metric::CpuUsage, &mut |load, noise| (load / 1_000.0 + 0.02 * noise.normal()).max(0.0));
        column(Metric::MemoryWorkingSet, &mut |_, noise| {
            pages += if noise.uniform() < 0.3 { (4.0 * noise.normal()).round() } else { 0.0 };
            pages * 4_096.0
        });
        column(Metric::NetworkReceive, &mut |load, noise| load * 700.0 * (1.0 + 0.1 * noise.uniform()));
        column(Metric::NetworkTransmit, &mut |load, noise| load * 2_400.0 * (1.0 + 0.1 * noise.uniform()));
        column(Metric::DiskWrite, &mut |_, noise| {
            if noise.uniform() < 0.2 { 4_096.0 * (9.0 * noise.uniform()).round() } else { 0.0 }
        });
        column(Metric::PressureCpuSome, &mut |load, noise| (load / 400.0 * noise.uniform() - 0.1).max(0.0));
        column(Metric::RequestsInFlight, &mut |load, noise| (load / 60.0 + noise.normal()).round().max(0.0));
        column(Metric::Threads, &mut |load, _| 8.0 + (load / 100.0).round());
        column(Metric::FileDescriptors, &mut |load, noise| 20.0 + (load / 30.0 + 0.5 * noise.normal()).round());
        column(Metric::RequestErrors, &mut |_, noise| if noise.uniform() < 0.02 { 1.0 } else { 0.0 });
        block
    });
    DataSet { name: "generated busy sandboxes".to_owned(), blocks: blocks.collect() }
}

/// One busy sandbox to four idle ones: those that were recorded, or else such as do nothing but exist.
pub(crate) fn mixed(busy: &DataSet, idle: Option<&DataSet>) -> DataSet {
    let mut blocks = Vec::new();
    let mut add = |block: &Block, idle: bool| {
        let mut copy = Block::new(source(blocks.len()), block.times().to_vec()).expect("ascending");
        for (key, values) in block.columns() {
            let values = if idle { vec![values[0]; values.len()] } else { values.to_vec() };
            copy.insert(key.clone(), values).expect("as long");
        }
        blocks.push(copy);
    };
    for (at, block) in busy.blocks.iter().enumerate() {
        add(block, false);
        for of in 0..4 {
            match idle.filter(|idle| !idle.blocks.is_empty()) {
                Some(idle) => add(&idle.blocks[(4 * at + of) % idle.blocks.len()], false),
                None => add(block, true),
            }
        }
    }
    DataSet { name: "mix with 80 % idle sandboxes".to_owned(), blocks }
}

/// The unit that a metric of a name has, for its precision.
pub(crate) fn unit_of(name: &str) -> Unit {
    name.parse::<Metric>().map_or(Unit::Count, Metric::unit)
}
