//! What was seen in one answer, and what it says beside the one before.
//!
//! A counter's increase is the difference to the answer before. One that is smaller than before was reset, and counts from
//! zero, as in Prometheus' `rate`. One that is new counts from zero too, since the answer before was complete and
//! did not have it: so the first error of a program is seen. Without an answer before, and where that one had more series
//! than are kept, there is nothing to compare with, and nothing is made up.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use outrigger_protocol::rule::{Labels, Target};

use crate::requests::mapping::Mapping;
use crate::requests::reading::{Reading, microseconds_by_name};
use crate::requests::spread::Spread;

/// Values that are kept of one answer: numbers, buckets and quantiles together. About 80 bytes each, at the most.
pub const SERIES: usize = 8192;
/// Buckets or quantiles of one distribution; one that has more is not used.
const PLACES: usize = 256;
/// Prometheus' base unit of time.
const SECOND: f64 = 1e6;

/// One number that a rule means, or that proves that there is none.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) key: u64,
    pub(super) rule: usize,
    pub(super) is_counter: bool,
    pub(super) is_meant: bool,
    pub(super) value: f64,
    /// Only where the series' own name is wanted, and fits.
    pub(super) name: Option<String>,
}

/// One line of a histogram or a summary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Observation {
    /// How many are not above the upper bound.
    Bucket(f64, f64),
    /// A share and the value that it does not exceed.
    Quantile(f64, f64),
    Sum(f64),
    Count(f64),
}

/// A histogram or a summary with one set of labels.
#[derive(Debug)]
struct Distribution {
    rule: usize,
    /// Microseconds of its unit.
    unit: f64,
    buckets: Vec<(f64, f64)>,
    quantiles: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
    /// Something of it found no place.
    is_broken: bool,
}

/// Everything that was kept of one answer.
#[derive(Debug)]
pub struct Seen {
    hashes: RandomState,
    scalars: Vec<Scalar>,
    scalar_places: HashMap<u64, usize>,
    distributions: Vec<Distribution>,
    distribution_places: HashMap<u64, usize>,
    size: usize,
    /// Lines that are none of the format, or that say what cannot be.
    pub malformed: u64,
    /// Values that were meant and found no place.
    pub dropped: u64,
}

impl Seen {
    pub(super) fn new(hashes: RandomState) -> Self {
        Self {
            hashes,
            scalars: Vec::new(),
            scalar_places: HashMap::new(),
            distributions: Vec::new(),
            distribution_places: HashMap::new(),
            size: 0,
            malformed: 0,
            dropped: 0,
        }
    }

    /// Tells series apart; `place` is the label that does not.
    pub(super) fn key(&self, rule: usize, name: &str, labels: &Labels<'_>, place: Option<&str>) -> u64 {
        let mut hasher = self.hashes.build_hasher();
        (rule, name).hash(&mut hasher);
        labels.iter().filter(|(label, _)| Some(*label) != place).for_each(|label| label.hash(&mut hasher));
        hasher.finish()
    }

    /// Of a series that comes twice, the later value stands.
    pub(super) fn put(&mut self, scalar: Scalar) {
        if let Some(place) = self.scalar_places.get(&scalar.key) {
            self.scalars[*place] = scalar;
        } else if self.size >= SERIES {
            self.dropped += 1;
        } else {
            self.size += 1;
            self.scalar_places.insert(scalar.key, self.scalars.len());
            self.scalars.push(scalar);
        }
    }

    /// Adds a line to the distribution that it is of.
    pub(super) fn observe(&mut self, key: u64, rule: usize, name: &str, observation: Observation) {
        let place = match self.distribution_places.get(&key) {
            Some(place) => *place,
            None if self.size >= SERIES => {
                self.dropped += 1;
                return;
            }
            None => {
                self.size += 1;
                self.distribution_places.insert(key, self.distributions.len());
                self.distributions.push(Distribution::new(rule, microseconds_by_name(name).unwrap_or(SECOND)));
                self.distributions.len() - 1
            }
        };
        match self.distributions[place].add(observation, SERIES - self.size) {
            Added::InPlace => {}
            Added::Anew => self.size += 1,
            Added::Dropped => self.dropped += 1,
            Added::Unsound => self.malformed += 1,
        }
    }

    /// Everything has been seen.
    pub(super) fn settle(&mut self) {
        for distribution in &mut self.distributions {
            distribution.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            distribution.quantiles.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        }
    }

    /// How many values are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// What this answer says beside the one that came so long before it.
    #[must_use]
    pub fn reading(&self, mapping: &Mapping, before: Option<(&Self, Duration)>) -> Reading {
        let before = before.filter(|(_, elapsed)| !elapsed.is_zero());
        let mut reading = Reading::default();
        for scalar in &self.scalars {
            let Some(rule) = mapping.rules().get(scalar.rule) else { continue };
            let value = match before {
                _ if !scalar.is_counter && scalar.is_meant => Some(scalar.value),
                Some((before, elapsed)) if scalar.is_counter => {
                    before.increase(scalar).map(|increase| increase / elapsed.as_secs_f64())
                }
                _ => None,
            };
            // What is beside what is meant proves that there is none of it.
            let value = value.map(|value| if scalar.is_meant { value } else { 0.0 });
            if let Some(value) = value {
                reading.add(&rule.target, rule.rank, scalar.name.as_deref(), value);
            }
        }
        if let Some((before, _)) = before {
            self.read_distributions(mapping, before, &mut reading);
        }
        reading
    }

    fn read_distributions(&self, mapping: &Mapping, before: &Self, reading: &mut Reading) {
        let keys = self.distribution_places.iter();
        for (distribution, key) in keys.map(|(key, place)| (&self.distributions[*place], key)) {
            let Some(rule) = mapping.rules().get(distribution.rule) else { continue };
            debug_assert_eq!(rule.target, Target::ResponseTime, "only response times are observed");
            let prior = before.distribution_places.get(key).map(|place| &before.distributions[*place]);
            if prior.is_none() && before.dropped > 0 {
                continue;
            }
            let Some(spread) = distribution.increase(prior) else { continue };
            if let Some(all) = reading.latency(rule.rank) {
                all.merge(&spread);
            }
        }
    }

    /// By how much a counter has grown since this answer; `None` when it cannot be known.
    fn increase(&self, counter: &Scalar) -> Option<f64> {
        match self.scalar_places.get(&counter.key).map(|place| self.scalars[*place].value) {
            Some(before) if counter.value >= before => Some(counter.value - before),
            Some(_) => Some(counter.value),
            None => (self.dropped == 0).then_some(counter.value),
        }
    }
}

/// What became of a line of a distribution.
enum Added {
    InPlace,
    Anew,
    Dropped,
    Unsound,
}

impl Distribution {
    const fn new(rule: usize, unit: f64) -> Self {
        Self { rule, unit, buckets: Vec::new(), quantiles: Vec::new(), sum: None, count: None, is_broken: false }
    }

    fn add(&mut self, observation: Observation, room: usize) -> Added {
        let (places, at, value) = match observation {
            Observation::Bucket(le, value) if !le.is_nan() && is_count(value) => (&mut self.buckets, le, value),
            Observation::Quantile(q, value) if (0.0..=1.0).contains(&q) => (&mut self.quantiles, q, value),
            Observation::Sum(value) => {
                self.sum = Some(value).filter(|value| value.is_finite());
                return Added::InPlace;
            }
            Observation::Count(value) if is_count(value) => {
                self.count = Some(value);
                return Added::InPlace;
            }
            Observation::Bucket(..) | Observation::Quantile(..) | Observation::Count(_) => return Added::Unsound,
        };
        if let Some((_, present)) = places.iter_mut().find(|(present, _)| present.total_cmp(&at).is_eq()) {
            *present = value;
            return Added::InPlace;
        }
        if room == 0 || places.len() >= PLACES {
            self.is_broken = true;
            return Added::Dropped;
        }
        places.push((at, value));
        Added::Anew
    }

    /// What was observed since `prior`, or ever when there is none. `None` when it cannot be known or is nothing.
    fn increase(&self, prior: Option<&Self>) -> Option<Spread> {
        if self.is_broken || prior.is_some_and(|prior| prior.is_broken) {
            return None;
        }
        let mut spread = Spread::default();
        let (known, sum) = if self.buckets.is_empty() {
            (self.add_summary(prior, &mut spread), self.sum)
        } else {
            (self.add_histogram(prior, &mut spread)?, self.sum)
        };
        let sum = match (known, sum, prior.and_then(|prior| prior.sum)) {
            (Counted::SinceThen, Some(now), Some(then)) => Some(now - then),
            (Counted::FromZero, Some(now), _) => Some(now),
            _ => None,
        };
        if spread.is_empty() {
            return None;
        }
        if let Some(sum) = sum.filter(|sum| *sum >= 0.0) {
            spread.set_sum(sum * self.unit);
        }
        Some(spread)
    }

    /// Every bucket's own increase, spread evenly between its bounds. What is above the last finite bound counts as it.
    fn add_histogram(&self, prior: Option<&Self>, spread: &mut Spread) -> Option<Counted> {
        let then = match prior {
            None => None,
            Some(prior) if has_same_places(&self.buckets, &prior.buckets) => {
                let was_reset = self.buckets.iter().zip(&prior.buckets).any(|((_, now), (_, then))| now < then);
                (!was_reset).then_some(prior)
            }
            // Other buckets than before: nothing to compare.
            Some(_) => return None,
        };
        let (mut lower, mut through) = (0.0_f64, 0.0_f64);
        for (at, (bound, count)) in self.buckets.iter().enumerate() {
            let increase = count - then.map_or(0.0, |then| then.buckets[at].1);
            let upper = if bound.is_finite() { (bound * self.unit).max(0.0) } else { lower };
            if bound.is_finite() || at > 0 {
                spread.add(lower.min(upper), upper, increase - through);
            }
            lower = upper;
            through = through.max(increase);
        }
        Some(if then.is_some() { Counted::SinceThen } else { Counted::FromZero })
    }

    /// As many as were counted since, spread as the program's own quantiles say.
    fn add_summary(&self, prior: Option<&Self>, spread: &mut Spread) -> Counted {
        let then = prior.and_then(|prior| prior.count).filter(|then| self.count.is_some_and(|now| now >= *then));
        let added = self.count.unwrap_or(0.0) - then.unwrap_or(0.0);
        let mut last: Option<(f64, f64)> = None;
        for (share, value) in self.quantiles.iter().filter(|(_, value)| value.is_finite()) {
            let upper = (value * self.unit).max(last.map_or(0.0, |(_, lower)| lower));
            // Nothing is known of what is below the first quantile but that it is not above.
            let (from, lower) = last.unwrap_or((0.0, upper));
            spread.add(lower, upper, added * (share - from));
            last = Some((*share, upper));
        }
        if let Some((share, upper)) = last {
            spread.add(upper, upper, added * (1.0 - share));
        }
        if then.is_some() { Counted::SinceThen } else { Counted::FromZero }
    }
}

/// What an increase is the difference to.
#[derive(Debug, Clone, Copy)]
enum Counted {
    SinceThen,
    FromZero,
}

fn is_count(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

fn has_same_places(a: &[(f64, f64)], b: &[(f64, f64)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| a.total_cmp(b).is_eq())
}

#[cfg(test)]
mod tests;
