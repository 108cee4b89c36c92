//! A deployment as a whole: what its instances have together, slot by slot.
//!
//! A query over weeks of a deployment with a thousand instances must not read a thousand instances. So when an hour is
//! sealed, two further sources are rolled up beside them: [`POOLED`], in which a slot has the samples of all instances
//! (their number, sum, least and greatest, the mean of their last values, and by how much counters grew), and [`TOTAL`],
//! in which a slot has one value, the sum of the instances' means: what all of them have at a time.

use std::collections::BTreeMap;

use outrigger_history::rollup::Mergeable as _;
use outrigger_history::rollup::{self, gained};
use outrigger_history::{Block, Kind, MetricName, Rollup, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::line::rolled;
use crate::roll::Assembly;

/// The samples of all instances.
pub(crate) const POOLED: SourceId = SourceId::from_bytes([0; 16]);
/// What all instances have together.
pub(crate) const TOTAL: SourceId = SourceId::from_bytes([1; 16]);

/// What a metric of a name may be asked for. Those of the registry are levels; what a program's own metric is, nobody
/// says, so its roll-ups keep what is needed of either.
pub(crate) const fn kind_of(metric: &MetricName) -> Kind {
    match metric {
        MetricName::Known(_) => Kind::Gauge,
        MetricName::Custom(_) => Kind::Counter,
    }
}

/// One slot of one metric.
#[derive(Debug, Clone, Copy)]
struct Slot {
    pooled: Rollup,
    lasts: f64,
    members: u32,
    total: f64,
}

impl Slot {
    fn pooled(&self) -> Rollup {
        let last = self.lasts / f64::from(self.members.max(1));
        Rollup { first: last, last, ..self.pooled }
    }
}

/// All slots of all metrics.
#[derive(Debug)]
pub(crate) struct Whole {
    /// How long a slot is.
    slot: u64,
    most: usize,
    metrics: BTreeMap<MetricName, BTreeMap<u64, Slot>>,
    latency: BTreeMap<u64, LatencyHistogram>,
    /// Metrics of instances that there was no room for.
    pub(crate) left_out: u64,
}

impl Whole {
    pub(crate) fn new(slot: u64, most: usize) -> Self {
        Self { slot: slot.max(1), most, metrics: BTreeMap::new(), latency: BTreeMap::new(), left_out: 0 }
    }

    /// Adds the samples of one instance, in the order of time; every instance once.
    pub(crate) fn add(&mut self, metric: &MetricName, samples: &[(u64, Rollup)]) {
        if let Some(slots) = rolled(&[self.slot], samples).into_iter().next() {
            self.add_slots(metric, &slots);
        }
    }

    /// As [`Whole::add`], of what is rolled up to slots already.
    pub(crate) fn add_slots(&mut self, metric: &MetricName, slots: &[(u64, Rollup)]) {
        if !self.metrics.contains_key(metric) && self.metrics.len() >= self.most {
            self.left_out += 1;
            return;
        }
        let known = self.metrics.entry(metric.clone()).or_default();
        let mut before: Option<(u64, f64)> = None;
        for (at, rollup) in slots {
            let carried = before.filter(|(then, _)| then + self.slot == *at);
            let increase = rollup.increase + carried.map_or(0.0, |(_, last)| gained(last, rollup.first));
            before = Some((*at, rollup.last));
            let own = Rollup { increase, ..*rollup };
            match known.get_mut(at) {
                Some(slot) => {
                    slot.pooled = pool(&slot.pooled, &own);
                    slot.lasts += own.last;
                    slot.members = slot.members.saturating_add(1);
                    slot.total += own.mean();
                }
                None => {
                    known.insert(*at, Slot { pooled: own, lasts: own.last, members: 1, total: own.mean() });
                }
            }
        }
    }

    pub(crate) fn add_latency(&mut self, samples: &[(u64, LatencyHistogram)]) {
        for (at, histogram) in samples {
            self.latency.entry(at - at % self.slot).or_default().merge(histogram);
        }
    }

    /// The samples of all instances, by slot.
    pub(crate) fn pooled(&self, metric: &MetricName) -> Vec<(u64, Rollup)> {
        self.metrics.get(metric).into_iter().flatten().map(|(at, slot)| (*at, slot.pooled())).collect()
    }

    /// What all instances have together, by slot.
    pub(crate) fn totals(&self, metric: &MetricName) -> Vec<(u64, Rollup)> {
        let slots = self.metrics.get(metric).into_iter().flatten();
        slots.filter_map(|(at, slot)| Some((*at, Rollup::of(slot.total)?))).collect()
    }

    pub(crate) fn latency(&self) -> Vec<(u64, LatencyHistogram)> {
        self.latency.iter().map(|(at, histogram)| (*at, histogram.clone())).collect()
    }

    /// The blocks of each of `steps`, the first of which is a slot: pooled, and total.
    pub(crate) fn blocks(&self, steps: &[u64]) -> Vec<Vec<Block>> {
        let latency = rolled(steps, &self.latency());
        let mut tiers: Vec<[Assembly; 2]> =
            steps.iter().map(|_| [Assembly::new(POOLED), Assembly::new(TOTAL)]).collect();
        for metric in self.metrics.keys() {
            let (pooled, totals) = (self.pooled(metric), self.totals(metric));
            let totals = rolled(steps, &totals);
            for ((step, tier), total) in steps.iter().zip(&mut tiers).zip(totals) {
                tier[0].series(metric, kind_of(metric), coarser(*step, &pooled));
                tier[1].series(metric, Kind::Gauge, total);
            }
        }
        for (tier, latency) in tiers.iter_mut().zip(latency) {
            tier[0].latency(latency);
        }
        tiers.into_iter().map(|tier| tier.into_iter().filter_map(Assembly::block).collect()).collect()
    }
}

/// Samples of different instances at the same time, or of all instances at times behind one another, as one.
pub(crate) fn pool(one: &Rollup, other: &Rollup) -> Rollup {
    let mut both = *one;
    both.merge_later(other);
    Rollup { increase: one.increase + other.increase, first: other.last, ..both }
}

/// Pooled slots as slots of a longer step.
pub(crate) fn coarser(step: u64, slots: &[(u64, Rollup)]) -> Vec<(u64, Rollup)> {
    let mut spans: Vec<(u64, Rollup)> = Vec::new();
    for (at, rollup) in slots {
        let start = at - at % step.max(1);
        match spans.last_mut() {
            Some((open, span)) if *open == start => *span = pool(span, rollup),
            _ => spans.push((start, *rollup)),
        }
    }
    spans
}

/// Growth in a second, over the slots of each step that are known.
pub(crate) fn rates(grid: &outrigger_history::query::Grid, slot: u64, slots: &[(u64, Rollup)]) -> Vec<Option<f64>> {
    let (from, step) = (grid.from().as_millis(), u64::try_from(grid.step().as_millis()).unwrap_or(u64::MAX));
    let mut steps = vec![(0.0, 0.0); grid.points()];
    for (at, rollup) in slots {
        let place = at.checked_sub(from).and_then(|since| usize::try_from(since / step).ok());
        if let Some((gained, seconds)) = place.and_then(|place| steps.get_mut(place)) {
            *gained += rollup.increase;
            *seconds += slot as f64 / 1_000.0;
        }
    }
    steps.into_iter().map(|(gained, seconds)| (seconds > 0.0).then(|| gained / seconds)).collect()
}

/// Puts series of roll-ups into the columns of a block.
pub(crate) fn insert(block: &mut Block, metric: &MetricName, kind: Kind, series: &BTreeMap<u64, Rollup>) -> bool {
    let at = |time: &UnixMillis| series.get(&time.as_millis()).copied();
    let rollups: Vec<Option<Rollup>> = block.times().iter().map(at).collect();
    rollup::insert(block, metric, kind, &rollups).is_ok()
}
