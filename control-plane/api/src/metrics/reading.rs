//! Values of parts of the control plane that this crate does not know.

use std::fmt;

use super::exposition::{Kind, Labels, Page};

/// What a value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingKind {
    /// Only grows.
    Counter,
    Gauge,
}

/// One value at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub kind: ReadingKind,
    /// Of its family, with the unit, without the `_total` of a counter: `outrigger_history_written_bytes`.
    pub name: &'static str,
    pub help: &'static str,
    /// With values that have a bound.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Reads values when a page is written. Must not wait.
pub struct Reader(Box<dyn Fn() -> Vec<Reading> + Send + Sync>);

impl Reader {
    #[must_use]
    pub fn new(read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

pub(super) fn write(page: &mut Page, readers: &[Reader]) {
    let mut readings: Vec<Reading> = readers.iter().flat_map(|reader| (reader.0)()).collect();
    // What is of one family has to stand together.
    readings.sort_by_key(|one| one.name);
    for family in readings.chunk_by(|one, next| one.name == next.name) {
        let [first, ..] = family else { continue };
        let kind = match first.kind {
            ReadingKind::Counter => Kind::Counter,
            ReadingKind::Gauge => Kind::Gauge,
        };
        let mut written = page.family(kind, first.name, first.help);
        for Reading { labels, value, .. } in family {
            let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value as &dyn fmt::Display)).collect();
            written.sample(&Labels::new(&labels), *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::Format;

    #[test]
    fn readings_of_one_family_stand_together_whoever_reads_them() {
        let reading = |name, destination: &str| Reading {
            kind: ReadingKind::Counter,
            name,
            help: "Help.",
            labels: vec![("destination", destination.to_owned())],
            value: 2.0,
        };
        let readers = [
            Reader::new(move || vec![reading("b", "x"), reading("a", "x")]),
            Reader::new(move || vec![reading("b", "y")]),
        ];
        let mut page = Page::new(Format::Text, 0);
        write(&mut page, &readers);
        let expected = "# HELP a_total Help.\n# TYPE a_total counter\na_total{destination=\"x\"} 2\n\
             # HELP b_total Help.\n# TYPE b_total counter\nb_total{destination=\"x\"} 2\nb_total{destination=\"y\"} 2\n";
        assert_eq!(page.finish(), expected);
    }
}
