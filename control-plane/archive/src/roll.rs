//! The roll-ups of an instance's hour.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_history::{Block, Field, Kind, MetricName, Rollup, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::line::rolled;
use crate::whole::{self, Whole, kind_of};

/// Series of roll-ups of one source and one tier, on their way into a block.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) source: SourceId,
    pub(crate) series: BTreeMap<MetricName, (Kind, BTreeMap<u64, Rollup>)>,
    pub(crate) latency: BTreeMap<u64, LatencyHistogram>,
}

impl Assembly {
    pub(crate) fn new(source: SourceId) -> Self {
        Self { source, series: BTreeMap::new(), latency: BTreeMap::new() }
    }

    pub(crate) fn series(&mut self, metric: &MetricName, kind: Kind, points: Vec<(u64, Rollup)>) {
        self.series.insert(metric.clone(), (kind, points.into_iter().collect()));
    }

    pub(crate) fn latency(&mut self, points: Vec<(u64, LatencyHistogram)>) {
        self.latency = points.into_iter().collect();
    }

    /// None when there is nothing in it. What is too much for a block is left out: no more than instances can send.
    pub(crate) fn block(self) -> Option<Block> {
        let mut times: BTreeSet<u64> = self.latency.keys().copied().collect();
        times.extend(self.series.values().flat_map(|(_, points)| points.keys()));
        let times = times.into_iter().map(UnixMillis::from_millis).collect();
        let mut block = Block::new(self.source, times).ok()?;
        for (metric, (kind, points)) in &self.series {
            whole::insert(&mut block, metric, *kind, points);
        }
        let at = |time: &UnixMillis| self.latency.get(&time.as_millis()).cloned();
        let latency = block.times().iter().map(at).collect();
        block.insert_latency(latency).ok()?;
        Some(block)
    }
}

/// An instance's samples rolled up into each of `steps`.
pub(crate) fn roll(block: &Block, steps: &[u64]) -> Vec<Assembly> {
    let mut tiers: Vec<Assembly> = steps.iter().map(|_| Assembly::new(block.source())).collect();
    for (key, _) in block.columns().filter(|(key, _)| key.field == Field::Value) {
        let samples = block.samples(&key.metric);
        let samples: Vec<(u64, Rollup)> =
            samples.filter_map(|(at, value)| Some((at.as_millis(), Rollup::of(value)?))).collect();
        for (tier, points) in tiers.iter_mut().zip(rolled(steps, &samples)) {
            tier.series(&key.metric, kind_of(&key.metric), points);
        }
    }
    if let Some(histograms) = block.latency() {
        let timed = block.times().iter().zip(histograms);
        let samples: Vec<(u64, LatencyHistogram)> =
            timed.filter_map(|(at, histogram)| Some((at.as_millis(), histogram.clone()?))).collect();
        for (tier, points) in tiers.iter_mut().zip(rolled(steps, &samples)) {
            tier.latency(points);
        }
    }
    tiers
}

/// Adds an instance's roll-ups of the first step to the deployment as a whole.
pub(crate) fn add_to(whole: &mut Whole, first: &Assembly) {
    for (metric, (_, points)) in &first.series {
        let slots: Vec<(u64, Rollup)> = points.iter().map(|(at, rollup)| (*at, *rollup)).collect();
        whole.add_slots(metric, &slots);
    }
    let latency: Vec<(u64, LatencyHistogram)> =
        first.latency.iter().map(|(at, histogram)| (*at, histogram.clone())).collect();
    whole.add_latency(&latency);
}
