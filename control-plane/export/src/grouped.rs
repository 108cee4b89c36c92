//! A batch put in order for an encoder: instance by instance, series by series, each series ascending in time.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_ingest::Source;
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;

use crate::instances::{Reading, Said};
use crate::latency::Totals;
use crate::naming::Naming;
use crate::vocabulary::{CustomName, factor};

/// Names of all deployments of a batch.
pub(crate) type Namings = HashMap<DeploymentId, Arc<Naming>>;

/// A series of numbers of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Gauge(Metric),
    /// Only grows.
    Total(Metric),
    Custom(Arc<CustomName>),
}

/// A value at a time; `None` where the series ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point<T> {
    pub(crate) at: UnixMillis,
    /// From when on a total counts.
    pub(crate) since: UnixMillis,
    pub(crate) value: Option<T>,
}

#[derive(Debug)]
pub(crate) struct InstanceSeries<'a> {
    pub(crate) naming: &'a Naming,
    pub(crate) source: Source,
    pub(crate) numbers: Vec<(Key, Vec<Point<f64>>)>,
    pub(crate) latency: Vec<Point<&'a Totals>>,
    places: HashMap<Key, usize>,
}

/// What each instance said, in the order in which instances first did; without those that have no names.
pub(crate) fn by_instance<'a, T: Said>(
    batch: &'a [Arc<T>],
    namings: &'a Namings,
) -> Vec<(Source, &'a Naming, Vec<&'a T>)> {
    let mut places: HashMap<InstanceId, usize> = HashMap::new();
    let mut groups: Vec<(Source, &Naming, Vec<&T>)> = Vec::new();
    for said in batch {
        let source = said.source();
        let Some(naming) = namings.get(&source.deployment) else { continue };
        let place = *places.entry(source.instance).or_insert_with(|| {
            groups.push((source, naming, Vec::new()));
            groups.len() - 1
        });
        groups[place].2.push(said);
    }
    groups
}

pub(crate) fn series<'a>(batch: &'a [Arc<Reading>], namings: &'a Namings) -> Vec<InstanceSeries<'a>> {
    by_instance(batch, namings)
        .into_iter()
        .map(|(source, naming, readings)| {
            let mut series =
                InstanceSeries { naming, source, numbers: Vec::new(), latency: Vec::new(), places: HashMap::new() };
            readings.into_iter().for_each(|reading| series.add(reading));
            series
        })
        .collect()
}

impl<'a> InstanceSeries<'a> {
    fn add(&mut self, reading: &'a Reading) {
        for (metric, value) in &reading.gauges {
            self.number(Key::Gauge(*metric), value * factor(*metric), reading);
        }
        for (metric, value) in &reading.totals {
            self.number(Key::Total(*metric), *value, reading);
        }
        for (name, value) in &reading.custom {
            self.number(Key::Custom(Arc::clone(name)), *value, reading);
        }
        if let Some(totals) = &reading.latency {
            self.latency.push(point(reading, &**totals));
        }
    }

    fn number(&mut self, key: Key, value: f64, reading: &Reading) {
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                self.places.insert(key.clone(), self.numbers.len());
                self.numbers.push((key, Vec::new()));
                self.numbers.len() - 1
            }
        };
        self.numbers[place].1.push(point(reading, value));
    }
}

fn point<T>(reading: &Reading, value: T) -> Point<T> {
    Point { at: reading.at, since: reading.since, value: (!reading.is_last).then_some(value) }
}
