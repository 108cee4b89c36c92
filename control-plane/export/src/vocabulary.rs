//! What metrics are called outside, derived from the registry: one place, so that a new metric needs nothing here.
//!
//! Prometheus wants the unit in the name and `_total` on what only grows; OpenTelemetry wants dots, and the unit beside
//! the name in UCUM. Both are chosen so that a translation from the second to the first, as receivers do it, leads to the
//! same name: `outrigger.cpu` in `%` is `outrigger_cpu_percent`.

use std::borrow::Cow;

use outrigger_protocol::metric::{Metric, Unit};

/// Of the histogram of response times, in seconds.
pub(crate) const LATENCY: &str = "outrigger_request_duration_seconds";
pub(crate) const LATENCY_OTLP: &str = "outrigger.request_duration";

/// Counts what happened since the previous sample, and not what is: added up, it is a total that only grows. The registry
/// says so in words alone.
pub(crate) const fn is_increment(metric: Metric) -> bool {
    matches!(metric, Metric::OomKills)
}

/// What of the unit belongs into the name, and by what a value is multiplied for it.
const fn suffix(unit: Unit) -> (&'static str, f64) {
    match unit {
        Unit::Percent => ("_percent", 1.0),
        Unit::Cores => ("_cores", 1.0),
        Unit::Bytes => ("_bytes", 1.0),
        Unit::BytesPerSecond => ("_bytes_per_second", 1.0),
        Unit::PerSecond => ("_per_second", 1.0),
        Unit::Milliseconds => ("_seconds", 1e-3),
        Unit::Seconds => ("_seconds", 1.0),
        Unit::Count => ("", 1.0),
    }
}

/// UCUM. A count is an annotation in braces, because receivers call a gauge of unit `1` a ratio.
pub(crate) const fn ucum(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent => "%",
        Unit::Cores => "{core}",
        Unit::Bytes => "By",
        Unit::BytesPerSecond => "By/s",
        Unit::PerSecond => "1/s",
        Unit::Milliseconds | Unit::Seconds => "s",
        Unit::Count => "{count}",
    }
}

/// What a value is multiplied by, to be in the unit that its name says.
pub(crate) const fn factor(metric: Metric) -> f64 {
    suffix(metric.unit()).1
}

/// `outrigger_disk_read_bytes_per_second`, `outrigger_oom_kills_total`.
pub(crate) fn prometheus(metric: Metric) -> String {
    let (suffix, _) = suffix(metric.unit());
    let suffix = if metric.name().ends_with(suffix) { "" } else { suffix };
    let total = if is_increment(metric) { "_total" } else { "" };
    format!("outrigger_{}{suffix}{total}", metric.name())
}

/// `outrigger.disk_read`
pub(crate) fn otlp(metric: Metric) -> String {
    format!("outrigger.{}", metric.name())
}

/// A metric of a program: what it calls it, and what of that can stand in a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CustomName {
    original: String,
    plain: String,
}

impl CustomName {
    pub(crate) fn new(original: &str) -> Self {
        let plain = original.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Self { original: original.to_owned(), plain }
    }

    /// `outrigger_custom_mail_waiting`
    pub(crate) fn prometheus(&self) -> String {
        format!("outrigger_custom_{}", self.plain)
    }

    /// `outrigger.custom.mail_waiting`
    pub(crate) fn otlp(&self) -> String {
        format!("outrigger.custom.{}", self.plain)
    }

    /// The program's own name when it could not be kept: two that became the same stay two series by it.
    pub(crate) fn changed_from(&self) -> Option<&str> {
        (self.plain != self.original).then_some(&self.original)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.original.len() + self.plain.len()
    }
}

/// At most so many characters of a text of somebody else, on one line.
pub(crate) fn one_line(text: &str, most: usize) -> Cow<'_, str> {
    let text = text.trim();
    if text.len() <= most && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_carry_their_unit_once() {
        for (metric, expected) in [
            (Metric::Cpu, "outrigger_cpu_percent"),
            (Metric::CpuUsage, "outrigger_cpu_usage_cores"),
            (Metric::MemoryLimit, "outrigger_memory_limit_bytes"),
            (Metric::OomKills, "outrigger_oom_kills_total"),
            (Metric::DiskRead, "outrigger_disk_read_bytes_per_second"),
            (Metric::Requests, "outrigger_requests_per_second"),
            (Metric::RequestsInFlight, "outrigger_requests_in_flight"),
            (Metric::HostLoad1, "outrigger_host_load1"),
        ] {
            assert_eq!(prometheus(metric), expected);
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_that_prometheus_takes() {
        let names: BTreeSet<String> = Metric::ALL.iter().map(|metric| prometheus(*metric)).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_ne!(name, LATENCY);
        }
    }

    #[test]
    fn names_of_programs_are_made_plain_and_stay_apart() {
        let (plain, dotted) = (CustomName::new("mail_waiting"), CustomName::new("mail.waiting"));
        assert_eq!(plain.prometheus(), dotted.prometheus());
        assert_eq!((plain.changed_from(), dotted.changed_from()), (None, Some("mail.waiting")));
        assert_eq!(CustomName::new("a\n\"é").prometheus(), "outrigger_custom_a___");
    }

    #[test]
    fn a_foreign_text_is_cut_and_on_one_line() {
        assert_eq!(one_line(" out of order\nsample \u{1b}[31m", 100), "out of order sample  [31m");
        assert_eq!(one_line("ééé", 2), "éé");
    }
}
