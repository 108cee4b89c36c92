//! An answer as it comes in, and what is kept of it: the series that some rule means, and nothing else.

use std::borrow::Cow;
use std::hash::RandomState;
use std::sync::Arc;

use outrigger_protocol::rule::{Fit, Labels, Target};

use super::exposition::{self, Kind, Line, Point, number};
use super::lines::Lines;
use super::series::{Observation, Scalar, Seen};
use crate::requests::mapping::{Mapping, Ranked};
use crate::requests::reading::own_name;

/// Labels of one series; one that has more is passed over.
const LABELS: usize = 64;

/// Which of the two formats the program answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    /// Ends with `# EOF`, or is not complete.
    OpenMetrics,
}

/// The answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer breaks off before its `# EOF`")]
pub struct Incomplete;

/// Takes an answer in, piece by piece.
#[derive(Debug)]
pub struct Collector {
    lines: Lines,
    reader: Reader,
}

/// What a point is within its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Counter,
    Gauge,
    Bucket,
    Quantile,
    Sum,
    Count,
    /// When a counter was made: nothing to measure.
    Created,
}

#[derive(Debug)]
struct Reader {
    mapping: Arc<Mapping>,
    format: Format,
    family: String,
    kind: Kind,
    has_ended: bool,
    seen: Seen,
}

impl Collector {
    /// `hashes` has to be the same for all answers that are compared.
    #[must_use]
    pub fn new(mapping: Arc<Mapping>, format: Format, hashes: RandomState) -> Self {
        let seen = Seen::new(hashes);
        let reader = Reader { mapping, format, family: String::new(), kind: Kind::Unknown, has_ended: false, seen };
        Self { lines: Lines::default(), reader }
    }

    pub fn feed(&mut self, chunk: &[u8]) {
        let Self { lines, reader } = self;
        lines.feed(chunk, |line| reader.line(line));
    }

    /// # Errors
    /// The answer was not complete.
    pub fn finish(self) -> Result<Seen, Incomplete> {
        let Self { lines, mut reader } = self;
        lines.finish(|line| reader.line(line));
        if reader.format == Format::OpenMetrics && !reader.has_ended {
            return Err(Incomplete);
        }
        reader.seen.settle();
        Ok(reader.seen)
    }
}

impl Reader {
    fn line(&mut self, line: Option<&[u8]>) {
        match line.map(exposition::parse) {
            None | Some(Err(_)) => self.seen.malformed += 1,
            Some(Ok(Line::Remark)) => {}
            Some(Ok(_)) if self.has_ended => self.seen.malformed += 1,
            Some(Ok(Line::End)) => self.has_ended = self.format == Format::OpenMetrics,
            Some(Ok(Line::Type { family, kind })) => {
                family.clone_into(&mut self.family);
                self.kind = kind;
            }
            Some(Ok(Line::Point(point))) => self.point(&point),
        }
    }

    fn point(&mut self, point: &Point<'_>) {
        let (base, part) = self.part(point);
        if part == Part::Created {
            return;
        }
        let mapping = Arc::clone(&self.mapping);
        // Labels are only looked at when the name is one that is wanted.
        let mut labels: Option<Vec<(&str, Cow<'_, str>)>> = None;
        for (number, rule) in mapping.rules().iter().enumerate() {
            let name = if rule.target == Target::ResponseTime { base } else { Some(point.name) };
            let Some(name) = name.filter(|name| rule.selector.takes_name(name)) else { continue };
            let labels = labels.get_or_insert_with(|| point.labels().take(LABELS + 1).collect());
            if labels.len() > LABELS {
                self.seen.malformed += 1;
                return;
            }
            match (rule.selector.fit(labels), &rule.target) {
                (Fit::None, _) | (Fit::Beside, Target::ResponseTime) => {}
                (Fit::Meant, Target::ResponseTime) => self.observation(number, name, part, labels, point.value),
                (fit, _) => self.scalar(number, rule, fit, part, labels, point),
            }
        }
    }

    /// What a point is, and for parts of a distribution, the name of that.
    fn part<'a>(&self, point: &Point<'a>) -> (Option<&'a str>, Part) {
        let name = point.name;
        let has = |wanted: &str| point.labels().any(|(label, _)| label == wanted);
        let own = if self.family.is_empty() { None } else { name.strip_prefix(self.family.as_str()) };
        let distribution = |suffix: &str| name.strip_suffix(suffix);
        match (self.kind, own) {
            (Kind::Counter, Some("" | "_total")) => (None, Part::Counter),
            (Kind::Counter | Kind::Histogram | Kind::Summary, Some("_created")) => (None, Part::Created),
            (Kind::Gauge, Some("" | "_bucket" | "_gcount" | "_gsum")) => (None, Part::Gauge),
            (Kind::Summary, Some("")) => (Some(name), Part::Quantile),
            _ if name.ends_with("_bucket") && has("le") => (distribution("_bucket"), Part::Bucket),
            _ if name.ends_with("_count") => (distribution("_count"), Part::Count),
            _ if name.ends_with("_sum") => (distribution("_sum"), Part::Sum),
            _ if name.ends_with("_total") => (None, Part::Counter),
            _ if has("quantile") => (Some(name), Part::Quantile),
            _ => (None, Part::Gauge),
        }
    }

    fn scalar(&mut self, number: usize, rule: &Ranked, fit: Fit, part: Part, labels: &Labels<'_>, point: &Point<'_>) {
        let is_own = rule.target == Target::Own;
        // The buckets of one histogram would take the place of everything else.
        if is_own && (fit == Fit::Beside || part == Part::Bucket) {
            return;
        }
        let is_counter = !matches!(part, Part::Gauge | Part::Quantile);
        if is_counter && !(point.value >= 0.0 && point.value.is_finite()) {
            self.seen.malformed += 1;
            return;
        }
        let key = self.seen.key(number, point.name, labels, None);
        let name = if is_own { own_name(point.name, labels) } else { None };
        self.seen.put(Scalar { key, rule: number, is_counter, is_meant: fit == Fit::Meant, value: point.value, name });
    }

    fn observation(&mut self, rule: usize, base: &str, part: Part, labels: &Labels<'_>, value: f64) {
        let place = match part {
            Part::Bucket => Some("le"),
            Part::Quantile => Some("quantile"),
            _ => None,
        };
        let found = place.and_then(|place| labels.iter().find(|(label, _)| *label == place));
        let observation = match (part, found.map(|(_, at)| number(at))) {
            (Part::Bucket, Some(Some(le))) => Observation::Bucket(le, value),
            (Part::Quantile, Some(Some(share))) => Observation::Quantile(share, value),
            (Part::Sum, _) => Observation::Sum(value),
            (Part::Count, _) => Observation::Count(value),
            (Part::Bucket | Part::Quantile, _) => {
                self.seen.malformed += 1;
                return;
            }
            (Part::Counter | Part::Gauge | Part::Created, _) => return,
        };
        let key = self.seen.key(rule, base, labels, place);
        self.seen.observe(key, rule, base, observation);
    }
}
