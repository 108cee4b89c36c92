//! One series in the order of time, of which what was written later counts.

use std::collections::BTreeSet;

use outrigger_history::rollup::Mergeable;
use outrigger_history::{BlockView, Cascade, DecodeError, MetricName, Rollup};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::record::Reading;
use crate::whole::Whole;

/// What stands at one time of a series: a number of samples, or response times.
pub(crate) trait Value: Mergeable + Send + Sync + 'static {
    /// The series in a row.
    fn in_row(view: &BlockView<'_>, metric: &MetricName) -> Result<Vec<(u64, Self)>, DecodeError>;

    /// In a sample.
    fn in_reading(reading: &Reading, metric: &MetricName) -> Option<Self>;

    /// Adds an instance's series to those of the deployment.
    fn fold(metric: &MetricName, points: &[(u64, Self)], whole: &mut Whole);
}

impl Value for Rollup {
    fn in_row(view: &BlockView<'_>, metric: &MetricName) -> Result<Vec<(u64, Self)>, DecodeError> {
        Ok(view.rollups(metric)?.into_iter().map(|(at, rollup)| (at.as_millis(), rollup)).collect())
    }

    fn in_reading(reading: &Reading, metric: &MetricName) -> Option<Self> {
        reading.values.iter().find(|(name, _)| name == metric).and_then(|(_, value)| Self::of(*value))
    }

    fn fold(metric: &MetricName, points: &[(u64, Self)], whole: &mut Whole) {
        whole.add(metric, points);
    }
}

impl Value for LatencyHistogram {
    fn in_row(view: &BlockView<'_>, _metric: &MetricName) -> Result<Vec<(u64, Self)>, DecodeError> {
        let Some(histograms) = view.latency()? else { return Ok(Vec::new()) };
        let timed = view.times()?.into_iter().zip(histograms);
        Ok(timed.filter_map(|(at, histogram)| Some((at.as_millis(), histogram?))).collect())
    }

    fn in_reading(reading: &Reading, _metric: &MetricName) -> Option<Self> {
        reading.latency.clone()
    }

    fn fold(_metric: &MetricName, points: &[(u64, Self)], whole: &mut Whole) {
        whole.add_latency(points);
    }
}

/// Values at ascending times.
#[derive(Debug, Clone)]
pub(crate) struct Line<V>(Vec<(u64, V)>);

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Value> Line<V> {
    /// Adds what was written later, in the order of time: it takes the place of what is there at the same times.
    pub(crate) fn add(&mut self, mut later: Vec<(u64, V)>) {
        let (Some((last, _)), Some((first, _))) = (self.0.last(), later.first()) else {
            return self.0.append(&mut later);
        };
        if first > last {
            return self.0.append(&mut later);
        }
        let mut merged = Vec::with_capacity(self.0.len() + later.len());
        let mut before = std::mem::take(&mut self.0).into_iter().peekable();
        for (at, value) in later {
            while let Some(earlier) = before.next_if(|(then, _)| *then < at) {
                merged.push(earlier);
            }
            let _replaced = before.next_if(|(then, _)| *then == at);
            merged.push((at, value));
        }
        merged.extend(before);
        self.0 = merged;
    }

    /// One sample, wherever in time it belongs.
    pub(crate) fn set(&mut self, at: u64, value: V) {
        match self.0.last() {
            Some((last, _)) if *last >= at => match self.0.binary_search_by_key(&at, |(at, _)| *at) {
                Ok(place) => self.0[place].1 = value,
                Err(place) => self.0.insert(place, (at, value)),
            },
            _ => self.0.push((at, value)),
        }
    }

    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(u64) -> bool) {
        self.0.retain(|(at, _)| wanted(*at));
    }

    pub(crate) fn between(&self, from: u64, to: u64) -> Vec<(u64, V)> {
        let inside = self.0.iter().filter(|(at, _)| (from..to).contains(at));
        inside.cloned().collect()
    }

    pub(crate) fn at(&self, at: u64) -> Option<V> {
        let place = self.0.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        self.0.get(place).map(|(_, value)| value.clone())
    }

    pub(crate) fn times(&self) -> BTreeSet<u64> {
        self.0.iter().map(|(at, _)| *at).collect()
    }

    pub(crate) fn points(&self) -> &[(u64, V)] {
        &self.0
    }

    pub(crate) fn into_points(self) -> Vec<(u64, V)> {
        self.0
    }
}

/// Rolls a series up into spans of each of `steps`, which are multiples of one another.
pub(crate) fn rolled<V: Mergeable>(steps: &[u64], points: &[(u64, V)]) -> Vec<Vec<(u64, V)>> {
    let mut tiers: Vec<Vec<(u64, V)>> = steps.iter().map(|_| Vec::new()).collect();
    let mut cascade = Cascade::new(steps.iter().copied());
    let mut keep = |closed: outrigger_history::rollup::Closed<V>| {
        if let Some(tier) = tiers.get_mut(closed.tier) {
            tier.push((closed.start.as_millis(), closed.value));
        }
    };
    for (at, value) in points {
        cascade.push(UnixMillis::from_millis(*at), value, &mut keep);
    }
    cascade.finish(&mut keep);
    tiers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_later_value_of_a_time_counts(
            parts in prop::collection::vec(prop::collection::btree_map(0_u64..40, -9_i32..9, 0..9), 0..6),
            single in prop::collection::vec((0_u64..40, -9_i32..9), 0..6),
        ) {
            let of = |value: i32| Rollup::of(f64::from(value)).unwrap();
            let mut expected = std::collections::BTreeMap::new();
            let mut line = Line::default();
            for part in parts {
                expected.extend(part.clone());
                line.add(part.into_iter().map(|(at, value)| (at, of(value))).collect());
            }
            for (at, value) in single {
                expected.insert(at, value);
                line.set(at, of(value));
            }
            let expected: Vec<_> = expected.into_iter().map(|(at, value)| (at, of(value))).collect();
            prop_assert_eq!(line.into_points(), expected);
        }
    }
}
