//! What is known of each instance, to make receivers' series out of agents' windows. Pure: no clock, no queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_ingest::Source;
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use crate::latency::{BOUNDS, Totals};
use crate::queue::Load;
use crate::vocabulary::{CustomName, is_increment};

/// Names of its own that one instance may ever use: each is a series that the receiver keeps, and a program that makes up
/// names must not fill it.
const CUSTOM_NAMES: usize = 256;
/// Series of a histogram in Prometheus: the bounds, infinity, sum and count.
const LATENCY_POINTS: usize = BOUNDS + 3;

/// All of one instance at one time, ready for any receiver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) source: Source,
    pub(crate) at: UnixMillis,
    /// From when on totals count.
    pub(crate) since: UnixMillis,
    pub(crate) gauges: Vec<(Metric, f64)>,
    pub(crate) totals: Vec<(Metric, f64)>,
    pub(crate) custom: Vec<(Arc<CustomName>, f64)>,
    pub(crate) latency: Option<Box<Totals>>,
    /// The instance is gone: every series named here ends, and the values mean nothing.
    pub(crate) is_last: bool,
}

/// One line of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) source: Source,
    pub(crate) record: LogRecord,
    pub(crate) received_at: UnixMillis,
    /// Lines that the agent had to drop just before this one.
    pub(crate) dropped_before: u64,
}

/// Something that an instance said.
pub(crate) trait Said {
    fn source(&self) -> Source;
}

impl Said for Reading {
    fn source(&self) -> Source {
        self.source
    }
}

impl Said for Line {
    fn source(&self) -> Source {
        self.source
    }
}

impl Load for Reading {
    fn points(&self) -> usize {
        let latency = if self.latency.is_some() { LATENCY_POINTS } else { 0 };
        self.gauges.len() + self.totals.len() + self.custom.len() + latency
    }

    fn bytes(&self) -> usize {
        let numbers = self.gauges.len() + self.totals.len() + self.custom.len();
        let latency = if self.latency.is_some() { size_of::<Totals>() } else { 0 };
        let names: usize = self.custom.iter().map(|(name, _)| name.bytes()).sum();
        size_of::<Self>() + numbers * size_of::<(Metric, f64)>() + names + latency
    }
}

impl Load for Line {
    fn points(&self) -> usize {
        1
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.record.message.len()
    }
}

/// One instance, from its first sample to its end.
#[derive(Debug)]
pub(crate) struct Instance {
    source: Source,
    since: UnixMillis,
    /// Of the newest sample; receivers refuse what is older.
    newest: Option<UnixMillis>,
    gauges: Vec<Metric>,
    totals: Vec<(Metric, f64)>,
    custom: HashMap<String, Arc<CustomName>>,
    latency: Option<Box<Totals>>,
}

impl Instance {
    /// Totals begin before the first sample, which tells of what was before it.
    pub(crate) fn new(source: Source, first: UnixMillis, interval: Duration) -> Self {
        Self {
            source,
            since: first.saturating_sub(interval),
            newest: None,
            gauges: Vec::new(),
            totals: Vec::new(),
            custom: HashMap::new(),
            latency: None,
        }
    }

    pub(crate) const fn source(&self) -> Source {
        self.source
    }

    /// Takes a sample in: what receivers get of it, and how many values they do not. What happened counts even when the
    /// sample comes too late to be sent: the next one's totals have it.
    pub(crate) fn take(&mut self, sample: &Sample) -> (Option<Reading>, usize) {
        let mut gauges = Vec::with_capacity(sample.values.len());
        for (metric, value) in &sample.values {
            if is_increment(*metric) {
                self.count(*metric, *value);
            } else {
                gauges.push((*metric, *value));
            }
        }
        if let Some(window) = &sample.latency {
            self.latency.get_or_insert_with(|| Box::new(Totals::new())).add(window);
        }
        if self.newest.is_some_and(|newest| sample.at <= newest) {
            return (None, gauges.len() + sample.custom.len());
        }
        self.newest = Some(sample.at);
        for (metric, _) in &gauges {
            if !self.gauges.contains(metric) {
                self.gauges.push(*metric);
            }
        }
        let custom: Vec<_> =
            sample.custom.iter().filter_map(|(name, value)| Some((self.custom_name(name)?, *value))).collect();
        let left_out = sample.custom.len() - custom.len();
        let reading = Reading {
            source: self.source,
            at: sample.at,
            since: self.since,
            gauges,
            totals: self.totals.clone(),
            custom,
            latency: self.latency.clone(),
            is_last: false,
        };
        (Some(reading), left_out)
    }

    /// Ends every series that there was. `None` when there was none.
    pub(crate) fn end(self, at: UnixMillis) -> Option<Reading> {
        // Later than the newest, or the end would be refused as old.
        let at = at.max(self.newest?.saturating_add(Duration::from_millis(1)));
        Some(Reading {
            source: self.source,
            at,
            since: self.since,
            gauges: self.gauges.into_iter().map(|metric| (metric, 0.0)).collect(),
            totals: self.totals,
            custom: self.custom.into_values().map(|name| (name, 0.0)).collect(),
            latency: self.latency,
            is_last: true,
        })
    }

    fn count(&mut self, metric: Metric, value: f64) {
        // A total never goes back, whatever an agent says.
        let value = value.max(0.0);
        match self.totals.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, total)) => *total += value,
            None => self.totals.push((metric, value)),
        }
    }

    fn custom_name(&mut self, name: &str) -> Option<Arc<CustomName>> {
        if let Some(known) = self.custom.get(name) {
            return Some(Arc::clone(known));
        }
        if self.custom.len() >= CUSTOM_NAMES {
            return None;
        }
        let new = Arc::new(CustomName::new(name));
        self.custom.insert(name.to_owned(), Arc::clone(&new));
        Some(new)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use outrigger_protocol::histogram::LatencyHistogram;
    use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};

    use super::*;

    pub(crate) fn source(n: u8) -> Source {
        let at = UnixMillis::from_millis(1);
        Source {
            organization: OrganizationId::new(at, [0; 10]),
            deployment: DeploymentId::new(at, [0; 10]),
            instance: InstanceId::new(at, [n; 10]),
        }
    }

    pub(crate) fn sample(seconds: u64, values: &[(Metric, f64)]) -> Sample {
        Sample { values: values.to_vec(), ..Sample::new(UnixMillis::from_millis(seconds * 1_000)) }
    }

    pub(crate) fn instance() -> Instance {
        Instance::new(source(1), UnixMillis::from_millis(10_000), Duration::from_secs(1))
    }

    fn requests(seconds: u64, count: u64) -> Sample {
        let mut latency = LatencyHistogram::new();
        (0..count).for_each(|_| latency.record(Duration::from_millis(3)));
        Sample { latency: Some(latency), ..sample(seconds, &[]) }
    }

    #[test]
    fn what_happened_since_the_previous_sample_becomes_a_total() {
        let mut instance = instance();
        let totals: Vec<_> = [(10, 0.0), (11, 2.0), (12, 1.0), (13, -5.0)]
            .map(|(at, kills)| instance.take(&sample(at, &[(Metric::OomKills, kills)])).0.unwrap().totals)
            .to_vec();
        assert_eq!(totals, [0.0, 2.0, 3.0, 3.0].map(|total| vec![(Metric::OomKills, total)]));
        let counts: Vec<_> = [(14, 3), (15, 4)]
            .map(|(at, count)| instance.take(&requests(at, count)).0.unwrap().latency.unwrap().count())
            .to_vec();
        assert_eq!(counts, [3, 7]);
    }

    #[test]
    fn a_total_goes_on_when_a_sample_says_nothing_of_it() {
        let mut instance = instance();
        instance.take(&sample(10, &[(Metric::OomKills, 2.0)]));
        let next = instance.take(&sample(11, &[(Metric::Cpu, 5.0)])).0.unwrap();
        assert_eq!((next.totals, next.gauges), (vec![(Metric::OomKills, 2.0)], vec![(Metric::Cpu, 5.0)]));
    }

    #[test]
    fn what_comes_too_late_is_not_sent_but_what_happened_counts() {
        let mut instance = instance();
        instance.take(&sample(12, &[(Metric::Cpu, 1.0)]));
        let late = instance.take(&sample(11, &[(Metric::Cpu, 2.0), (Metric::OomKills, 1.0)]));
        assert_eq!(late, (None, 1));
        assert_eq!(instance.take(&requests(12, 4)).0, None, "the same time again");
        let next = instance.take(&sample(13, &[])).0.unwrap();
        assert_eq!(next.totals, [(Metric::OomKills, 1.0)]);
        assert_eq!(next.latency.unwrap().count(), 4);
    }

    #[test]
    fn a_program_that_makes_up_names_gets_so_many_and_no_more() {
        let mut instance = instance();
        let mut left_out = 0;
        for nth in 0..CUSTOM_NAMES as u64 + 5 {
            let custom = vec![(format!("name.{nth}"), 1.0), ("name.0".to_owned(), 1.0)];
            let (reading, refused) = instance.take(&Sample { custom, ..sample(10 + nth, &[]) });
            assert!(reading.is_some());
            left_out += refused;
        }
        assert_eq!((instance.custom.len(), left_out), (CUSTOM_NAMES, 5));
    }

    #[test]
    fn the_end_names_every_series_that_there_was() {
        let mut instance = instance();
        instance.take(&sample(10, &[(Metric::Cpu, 1.0), (Metric::OomKills, 1.0)]));
        instance.take(&Sample { custom: vec![("jobs".to_owned(), 1.0)], ..requests(11, 1) });
        let end = instance.end(UnixMillis::from_millis(5)).unwrap();
        assert!(end.is_last);
        assert_eq!(end.at, UnixMillis::from_millis(11_001), "after the newest, whatever the clock says");
        assert_eq!(end.points(), 1 + 1 + 1 + LATENCY_POINTS);
        assert_eq!(self::instance().end(UnixMillis::from_millis(5)), None, "nothing to end");
    }
}
