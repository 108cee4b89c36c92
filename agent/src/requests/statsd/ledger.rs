//! What was said over StatsD since the last sample, and the gauges that stand until something else is said.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::{Duration, Instant};

use outrigger_protocol::metric::Metric as Known;
use outrigger_protocol::rule::{Fit, Labels, Target};

use super::packet::{self, Kind, Line, Metric, Value};
use crate::requests::mapping::{Mapping, Ranked};
use crate::requests::reading::{Reading, microseconds_by_name, own_name};
use crate::requests::spread::Spread;

/// Series at once. Whatever is said of further ones is dropped.
pub const SERIES: usize = 1024;
/// Members of all sets together between two samples.
pub const MEMBERS: usize = 8192;
/// Tags of one line; one that has more is passed over.
const TAGS: usize = 64;
/// A counter, a timer or a set of which nothing was heard for so long makes room for others.
const SILENCE: Duration = Duration::from_secs(300);
/// StatsD's own unit of time.
const MILLISECOND: f64 = 1e3;

/// For the status command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsdFigures {
    pub packets: u64,
    pub metrics: u64,
    /// Lines that are none of the protocol.
    pub malformed: u64,
    /// Values of metrics that some rule means and that found no place.
    pub dropped: u64,
    /// Times that more came than is read; what then is lost only the kernel knows.
    pub overruns: u64,
}

/// All series of all sockets.
#[derive(Debug)]
pub struct Ledger {
    mapping: Mapping,
    hashes: RandomState,
    entries: Vec<Entry>,
    places: HashMap<u64, usize>,
    members: usize,
    pub(super) figures: StatsdFigures,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    rule: usize,
    /// Only where the series' own name is wanted, and fits.
    name: Option<String>,
    heard: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Counter(f64),
    /// Moves from zero before anything absolute was said.
    Gauge(f64),
    Timer {
        count: f64,
        sum: f64,
        max: f64,
    },
    Latency(Spread),
    Set(HashSet<u64>),
}

impl Ledger {
    #[must_use]
    pub fn new(mapping: Mapping) -> Self {
        Self {
            mapping,
            hashes: RandomState::new(),
            entries: Vec::new(),
            places: HashMap::new(),
            members: 0,
            figures: StatsdFigures::default(),
        }
    }

    /// Takes in the lines of one packet. `is_cut`: its end is missing.
    pub fn packet(&mut self, packet: &[u8], is_cut: bool, now: Instant) {
        self.figures.packets += 1;
        let mut lines = packet.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let is_last = lines.peek().is_none();
            match packet::parse(line) {
                _ if is_cut && is_last => self.figures.malformed += 1,
                Ok(Line::Metric(metric)) => self.metric(&metric, now),
                Ok(Line::Other) => {}
                Err(error) => {
                    tracing::trace!(%error, "a line of StatsD cannot be read");
                    self.figures.malformed += 1;
                }
            }
        }
    }

    fn metric(&mut self, metric: &Metric<'_>, now: Instant) {
        self.figures.metrics += 1;
        let mut labels: Option<Vec<(&str, Cow<'_, str>)>> = None;
        for number in 0..self.mapping.rules().len() {
            let Some(rule) = self.mapping.rules().get(number) else { continue };
            if !rule.selector.takes_name(metric.name) {
                continue;
            }
            let labels = labels.get_or_insert_with(|| sorted_tags(metric));
            if labels.len() > TAGS {
                self.figures.dropped += 1;
                return;
            }
            let is_timed = matches!(metric.kind, Kind::Timer | Kind::Distribution);
            let is_meant = match (rule.selector.fit(labels), &rule.target) {
                (Fit::Meant, Target::ResponseTime) if !is_timed => continue,
                (Fit::Meant, _) => true,
                // What is counted beside it proves that there is none of it.
                (Fit::Beside, Target::Known(_) | Target::Named(_)) if metric.kind == Kind::Counter => false,
                (Fit::Beside | Fit::None, _) => continue,
            };
            let key = key(&self.hashes, number, metric, labels);
            let place = match self.places.get(&key) {
                Some(place) => *place,
                None if self.entries.len() >= SERIES => {
                    self.drop_one();
                    continue;
                }
                None => {
                    let entry = Entry::new(key, number, rule, metric, labels, now);
                    self.places.insert(key, self.entries.len());
                    self.entries.push(entry);
                    self.entries.len() - 1
                }
            };
            let entry = &mut self.entries[place];
            entry.heard = now;
            if is_meant && !entry.state.hear(metric, &self.hashes, &mut self.members) {
                self.drop_one();
            }
        }
    }

    fn drop_one(&mut self) {
        if self.figures.dropped == 0 {
            tracing::warn!("the program says more over StatsD than is kept: some of it is dropped");
        }
        self.figures.dropped += 1;
    }

    /// What was said in the time since the last call. Gauges stay, counts begin anew.
    pub fn take(&mut self, elapsed: Duration, now: Instant) -> Reading {
        let mut reading = Reading::default();
        let seconds = elapsed.as_secs_f64();
        if seconds == 0.0 {
            return reading;
        }
        for entry in &mut self.entries {
            let Some(rule) = self.mapping.rules().get(entry.rule) else { continue };
            entry.read(rule, seconds, &mut reading);
        }
        self.members = 0;
        self.figures.dropped += reading.dropped();
        let is_kept = |entry: &Entry| {
            matches!(entry.state, State::Gauge(_)) || now.saturating_duration_since(entry.heard) < SILENCE
        };
        if !self.entries.iter().all(is_kept) {
            self.retain(is_kept);
        }
        reading
    }

    /// Another program runs, or none: what the former one said of its state holds no longer.
    pub fn forget_gauges(&mut self) {
        self.retain(|entry| !matches!(entry.state, State::Gauge(_)));
    }

    fn retain(&mut self, is_kept: impl Fn(&Entry) -> bool) {
        self.entries.retain(is_kept);
        self.places = self.entries.iter().enumerate().map(|(place, entry)| (entry.key, place)).collect();
    }
}

impl Entry {
    fn new(key: u64, number: usize, rule: &Ranked, metric: &Metric<'_>, labels: &Labels<'_>, now: Instant) -> Self {
        let state = match metric.kind {
            Kind::Counter => State::Counter(0.0),
            Kind::Gauge => State::Gauge(0.0),
            Kind::Timer | Kind::Distribution if rule.target == Target::ResponseTime => {
                State::Latency(Spread::default())
            }
            Kind::Timer | Kind::Distribution => State::Timer { count: 0.0, sum: 0.0, max: f64::NEG_INFINITY },
            Kind::Set => State::Set(HashSet::new()),
        };
        let name = if rule.target == Target::Own { own_name(metric.name, labels) } else { None };
        Self { key, rule: number, name, heard: now, state }
    }

    fn read(&mut self, rule: &Ranked, seconds: f64, reading: &mut Reading) {
        let name = self.name.as_deref();
        let target = &rule.target;
        match &mut self.state {
            State::Counter(added) => {
                reading.add(target, rule.rank, name, std::mem::take(added) / seconds);
            }
            State::Gauge(value) => reading.add(target, rule.rank, name, *value),
            State::Latency(spread) => {
                let spread = std::mem::take(spread);
                if !spread.is_empty()
                    && let Some(all) = reading.latency(rule.rank)
                {
                    all.merge(&spread);
                }
            }
            State::Timer { count, sum, max } => {
                let per_second = *count / seconds;
                match target {
                    // What was timed was counted.
                    Target::Known(Known::Requests | Known::RequestErrors) => {
                        reading.add(target, rule.rank, name, per_second);
                    }
                    Target::Known(_) | Target::ResponseTime => {}
                    Target::Named(base) => add_timer(reading, Some(base.as_str()), (*count, *sum, *max), per_second),
                    Target::Own => add_timer(reading, name, (*count, *sum, *max), per_second),
                }
                (*count, *sum, *max) = (0.0, 0.0, f64::NEG_INFINITY);
            }
            State::Set(members) => {
                reading.add(target, rule.rank, name, members.len() as f64);
                members.clear();
            }
        }
    }
}

/// The mean under the name itself, the longest, and how many there were per second.
fn add_timer(reading: &mut Reading, name: Option<&str>, (count, sum, max): (f64, f64, f64), per_second: f64) {
    let Some(name) = name else { return reading.add(&Target::Own, 0, None, 0.0) };
    let (base, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
    reading.add(&Target::Own, 0, Some(&format!("{base}_count{labels}")), per_second);
    if count > 0.0 {
        reading.add(&Target::Own, 0, Some(name), sum / count);
        reading.add(&Target::Own, 0, Some(&format!("{base}_max{labels}")), max);
    }
}

impl State {
    /// Returns whether there was a place for it.
    fn hear(&mut self, metric: &Metric<'_>, hashes: &RandomState, members: &mut usize) -> bool {
        if let Self::Set(set) = self {
            let member = hashes.hash_one(metric.member());
            if set.contains(&member) {
                return true;
            }
            if *members >= MEMBERS {
                return false;
            }
            *members += 1;
            set.insert(member);
            return true;
        }
        for value in metric.values() {
            match (&mut *self, value) {
                (Self::Counter(added), Value::Is(value) | Value::Moves(value)) => *added += value * metric.weight,
                (Self::Gauge(gauge), Value::Is(value)) => *gauge = value,
                (Self::Gauge(gauge), Value::Moves(by)) => *gauge += by,
                (Self::Timer { count, sum, max }, Value::Is(value) | Value::Moves(value)) => {
                    *count += metric.weight;
                    *sum += value * metric.weight;
                    *max = max.max(value);
                }
                (Self::Latency(spread), Value::Is(value) | Value::Moves(value)) => {
                    let us = value * microseconds(metric);
                    spread.add(us, us, metric.weight);
                }
                (Self::Set(_), _) => {}
            }
        }
        true
    }
}

fn microseconds(metric: &Metric<'_>) -> f64 {
    let by_name = if metric.kind == Kind::Distribution { microseconds_by_name(metric.name) } else { None };
    by_name.unwrap_or(MILLISECOND)
}

/// Clients send tags in any order.
fn sorted_tags<'a>(metric: &Metric<'a>) -> Vec<(&'a str, Cow<'a, str>)> {
    let mut tags: Vec<_> = metric.tags().take(TAGS + 1).map(|(tag, value)| (tag, Cow::Borrowed(value))).collect();
    tags.sort_unstable();
    tags
}

fn key(hashes: &RandomState, rule: usize, metric: &Metric<'_>, labels: &Labels<'_>) -> u64 {
    let mut hasher = hashes.build_hasher();
    (rule, metric.name, metric.kind).hash(&mut hasher);
    labels.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
