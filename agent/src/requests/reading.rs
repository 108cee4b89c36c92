//! What one source has to say for one sample.

use outrigger_protocol::limits::{CUSTOM_METRICS_PER_SAMPLE, METRIC_NAME_BYTES};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::rule::{Labels, Target, is_taken};
use outrigger_protocol::sample::Sample;

use super::spread::Spread;

/// Values by what they become. Of one target, only what has the smallest rank stays.
#[derive(Debug, Default)]
pub struct Reading {
    known: Vec<(Metric, u8, f64)>,
    latency: Option<(u8, Spread)>,
    custom: Vec<(String, f64)>,
    /// Metrics of the program's own that found no place.
    dropped: u64,
}

impl Reading {
    /// A value for a target other than response times. `own` is the series' own name.
    pub(super) fn add(&mut self, target: &Target, rank: u8, own: Option<&str>, value: f64) {
        if !value.is_finite() {
            return;
        }
        match target {
            Target::Known(metric) => self.add_known(*metric, rank, value),
            Target::ResponseTime => {}
            Target::Named(name) => self.add_custom(name, value),
            Target::Own => match own {
                Some(name) => self.add_custom(name, value),
                None => self.dropped += 1,
            },
        }
    }

    fn add_known(&mut self, metric: Metric, rank: u8, value: f64) {
        match self.known.iter_mut().find(|(present, ..)| *present == metric) {
            Some((_, present, _)) if *present < rank => {}
            Some((_, present, sum)) if *present == rank => *sum += value,
            Some(entry) => *entry = (metric, rank, value),
            None => self.known.push((metric, rank, value)),
        }
    }

    fn add_custom(&mut self, name: &str, value: f64) {
        if let Some((_, sum)) = self.custom.iter_mut().find(|(present, _)| present == name) {
            *sum += value;
        } else if self.custom.len() >= CUSTOM_METRICS_PER_SAMPLE || name.len() > METRIC_NAME_BYTES || is_taken(name) {
            self.dropped += 1;
        } else {
            self.custom.push((name.to_owned(), value));
        }
    }

    /// Where response times of this rank are added; `None` when there are more telling ones.
    pub(super) fn latency(&mut self, rank: u8) -> Option<&mut Spread> {
        let is_less_telling = self.latency.as_ref().is_none_or(|(present, _)| rank < *present);
        if is_less_telling {
            self.latency = Some((rank, Spread::default()));
        }
        self.latency.as_mut().filter(|(present, _)| *present == rank).map(|(_, spread)| spread)
    }

    /// How many metrics of the program's own found no place: there were too many, or their name is too long or taken.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The response times of a reading that nobody has asked for are part of this one.
    pub(super) fn take_over(&mut self, before: Self) {
        if self.latency.is_none() {
            self.latency = before.latency;
        } else if let (Some((_, spread)), Some((_, unread))) = (&mut self.latency, before.latency) {
            spread.merge(&unread);
        }
    }

    /// Puts everything into a sample that is not in it yet. Returns how many of the program's own metrics found no place
    /// there.
    pub fn record(self, sample: &mut Sample) -> u64 {
        for (metric, _, value) in self.known {
            if sample.value(metric).is_none() {
                sample.set(metric, value);
            }
        }
        if let (None, Some((_, spread))) = (&sample.latency, self.latency) {
            sample.latency = Some(spread.finish()).filter(|latency| !latency.is_empty());
        }
        let mut dropped = 0;
        for (name, value) in self.custom {
            let is_there = sample.custom.iter().any(|(present, _)| *present == name);
            if is_there || sample.custom.len() >= CUSTOM_METRICS_PER_SAMPLE {
                dropped += 1;
            } else {
                sample.custom.push((name, value));
            }
        }
        dropped
    }
}

/// `name{label="value"}`, labels by name, quotes, backslashes and line ends escaped; `None` when that is too long for the
/// name of a metric, or has control characters in it.
pub(super) fn own_name(name: &str, labels: &Labels<'_>) -> Option<String> {
    let mut text = String::with_capacity(METRIC_NAME_BYTES.min(name.len() + 24 * labels.len()));
    text.push_str(name);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|at| labels[*at].0);
    let mut lead = '{';
    for (label, value) in order.into_iter().map(|at| &labels[at]) {
        if text.len() > METRIC_NAME_BYTES {
            return None;
        }
        text.push(lead);
        lead = ',';
        text.push_str(label);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => return None,
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if lead == ',' {
        text.push('}');
    }
    (text.len() <= METRIC_NAME_BYTES).then_some(text)
}

/// How many microseconds one of a metric's units has, by the name's ending: the conventions of Prometheus and
/// OpenTelemetry.
pub(super) fn microseconds_by_name(name: &str) -> Option<f64> {
    const UNITS: [(&[&str], f64); 4] = [
        (&["seconds", "secs", "sec", "s"], 1e6),
        (&["milliseconds", "millis", "msec", "ms"], 1e3),
        (&["microseconds", "micros", "usec", "us"], 1.0),
        (&["nanoseconds", "nanos", "nsec", "ns"], 1e-3),
    ];
    let (_, ending) = name.rsplit_once(['_', '.', '/', '-'])?;
    UNITS.iter().find(|(names, _)| names.contains(&ending)).map(|(_, microseconds)| *microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;
    use std::borrow::Cow;

    fn sample(reading: Reading) -> Sample {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        reading.record(&mut sample);
        sample
    }

    #[test]
    fn the_most_telling_rank_counts_and_is_added_up() {
        let mut reading = Reading::default();
        let requests = Target::Known(Metric::Requests);
        for (rank, value) in [(2, 100.0), (1, 10.0), (1, 5.0), (3, 7.0)] {
            reading.add(&requests, rank, None, value);
        }
        reading.latency(2).expect("the first").add(5.0, 5.0, 9.0);
        reading.latency(1).expect("more telling").add(7.0, 7.0, 1.0);
        assert!(reading.latency(2).is_none());
        let sample = sample(reading);
        assert_eq!(sample.value(Metric::Requests), Some(15.0));
        assert_eq!(sample.latency.map(|latency| latency.count()), Some(1));
    }

    #[test]
    fn what_is_in_a_sample_stays() {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        sample.set(Metric::QueueDepth, 1.0);
        sample.custom.push(("jobs".to_owned(), 1.0));
        let mut reading = Reading::default();
        reading.add(&Target::Known(Metric::QueueDepth), 0, None, 2.0);
        reading.add(&Target::Own, 0, Some("jobs"), 2.0);
        reading.add(&Target::Own, 0, Some("mails"), f64::NAN);
        assert_eq!(reading.record(&mut sample), 1);
        assert_eq!(sample.values, [(Metric::QueueDepth, 1.0)]);
        assert_eq!(sample.custom, [("jobs".to_owned(), 1.0)]);
    }

    #[test]
    fn own_metrics_are_bounded_and_cannot_pretend_to_be_the_agents() {
        let mut reading = Reading::default();
        for number in 0..CUSTOM_METRICS_PER_SAMPLE + 6 {
            reading.add(&Target::Own, 0, Some(&format!("m{number}")), 1.0);
        }
        reading.add(&Target::Own, 0, Some("cpu"), 100.0);
        reading.add(&Target::Own, 0, None, 1.0);
        assert_eq!(reading.dropped(), 8);
        assert_eq!(sample(reading).custom.len(), CUSTOM_METRICS_PER_SAMPLE);
    }

    #[test]
    fn an_own_name_has_its_labels_in_order_and_fits() {
        let labels = [("queue", Cow::Borrowed("a\"b\n")), ("app", Cow::Borrowed("x"))];
        assert_eq!(own_name("jobs", &labels).as_deref(), Some("jobs{app=\"x\",queue=\"a\\\"b\\n\"}"));
        assert_eq!(own_name("jobs", &[]).as_deref(), Some("jobs"));
        assert_eq!(own_name("jobs", &[("a", Cow::Owned("x".repeat(METRIC_NAME_BYTES)))]), None);
    }

    #[test]
    fn a_unit_is_known_by_the_last_word() {
        assert_eq!(microseconds_by_name("http_request_duration_seconds"), Some(1e6));
        assert_eq!(microseconds_by_name("http.latency.ms"), Some(1e3));
        assert_eq!(microseconds_by_name("http.request.duration"), None);
        assert_eq!(microseconds_by_name("seconds"), None);
    }
}
