//! A page of metrics in the two formats that Prometheus reads: its text format 0.0.4 and OpenMetrics 1.0.
//!
//! Written here and not by `prometheus-client`: that library writes OpenMetrics alone, whose counters the text format's
//! readers, `promtool check metrics` among them, take for metrics without a type; it has no summaries; and it wants to
//! own values that live in the parts of the control plane.

use std::fmt::{self, Display, Write as _};

/// In which of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a client would rather have, by its `Accept` header. The text format unless it names the other.
    pub(crate) fn accepted(header: Option<&str>) -> Self {
        let (mut text, mut open) = (0.0, 0.0);
        for range in header.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, None);
            for (key, value) in parts.filter_map(|part| part.split_once('=')) {
                match key.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0_f64),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match name.as_str() {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => open = quality.max(open),
                "text/plain" => text = quality.max(text),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its name is without `_total`.
    Counter,
    Gauge,
    /// Labels alone; its name is without `_info`.
    Info,
    Histogram,
    Summary,
}

impl Kind {
    const fn name(self, format: Format) -> &'static str {
        match (self, format) {
            (Self::Counter, _) => "counter",
            (Self::Info, Format::OpenMetrics) => "info",
            (Self::Gauge | Self::Info, _) => "gauge",
            (Self::Histogram, _) => "histogram",
            (Self::Summary, _) => "summary",
        }
    }

    /// What the name of a sample ends with.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram | Self::Summary => "",
        }
    }
}

/// The units that a name may end with, all of them base units.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// Labels that are written once and stand in many samples.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels(String);

impl Labels {
    pub(crate) fn new(labels: &[(&str, &dyn Display)]) -> Self {
        let mut written = Self::default();
        labels.iter().for_each(|(name, value)| written.add(name, value));
        written
    }

    /// These and one more.
    pub(crate) fn with(&self, name: &str, value: &dyn Display) -> Self {
        let mut more = self.clone();
        more.add(name, value);
        more
    }

    fn add(&mut self, name: &str, value: &dyn Display) {
        let comma = if self.0.is_empty() { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = write!(self.0, "{comma}{name}=\"");
        let _ = write!(Escaping(&mut self.0), "{value}");
        self.0.push('"');
    }
}

/// Escapes what a label's value and a help text may not hold. The text format leaves quotes of a help text alone, and
/// none of ours has any.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

/// A page that is being written, one family after the other.
#[derive(Debug)]
pub(crate) struct Page {
    format: Format,
    text: String,
}

impl Page {
    pub(crate) fn new(format: Format, capacity: usize) -> Self {
        Self { format, text: String::with_capacity(capacity) }
    }

    /// Begins a family. A name ends with its unit, if it has one; each name may be begun once.
    pub(crate) fn family(&mut self, kind: Kind, name: impl Display, help: &str) -> Family<'_> {
        let start = self.text.len();
        let (format, suffix) = (self.format, kind.suffix());
        let name = name.to_string();
        // The text format has no families: it knows samples by their whole name.
        let written = if format == Format::Text { suffix } else { "" };
        let _ = write!(self.text, "# HELP {name}{written} ");
        let _ = Escaping(&mut self.text).write_str(help);
        let _ = write!(self.text, "\n# TYPE {name}{written} {}\n", kind.name(format));
        let unit = name.rsplit('_').next().filter(|unit| UNITS.contains(unit));
        if let Some(unit) = unit.filter(|_| format == Format::OpenMetrics) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let head = self.text.len();
        Family { page: self, name, suffix, start, head }
    }

    /// A counter that has no labels.
    pub(crate) fn counter(&mut self, name: impl Display, help: &str, value: impl Number) {
        self.family(Kind::Counter, name, help).sample(&Labels::default(), value);
    }

    /// A gauge that has no labels.
    pub(crate) fn gauge(&mut self, name: impl Display, help: &str, value: impl Number) {
        self.family(Kind::Gauge, name, help).sample(&Labels::default(), value);
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The samples of one family. One that gets none is left out of the page.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: String,
    suffix: &'static str,
    /// Where the family begins, and where its first sample does.
    start: usize,
    head: usize,
}

impl Family<'_> {
    pub(crate) fn sample(&mut self, labels: &Labels, value: impl Number) {
        self.write(self.suffix, labels, value);
    }

    pub(crate) fn write(&mut self, suffix: &str, labels: &Labels, value: impl Number) {
        let text = &mut self.page.text;
        text.push_str(&self.name);
        text.push_str(suffix);
        if !labels.0.is_empty() {
            text.push('{');
            text.push_str(&labels.0);
            text.push('}');
        }
        text.push(' ');
        value.write(text);
        text.push('\n');
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        if self.page.text.len() == self.head {
            self.page.text.truncate(self.start);
        }
    }
}

/// What a sample may be.
pub(crate) trait Number {
    fn write(self, text: &mut String);
}

impl Number for f64 {
    fn write(self, text: &mut String) {
        // Writing into a String cannot fail.
        let _ = match self {
            value if value.is_nan() => text.write_str("NaN"),
            f64::INFINITY => text.write_str("+Inf"),
            f64::NEG_INFINITY => text.write_str("-Inf"),
            value => write!(text, "{value}"),
        };
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {
        $(impl Number for $number {
            fn write(self, text: &mut String) {
                let _ = write!(text, "{self}");
            }
        })+
    };
}

whole_numbers!(u64, u32, usize, i64);

impl Number for bool {
    fn write(self, text: &mut String) {
        text.push(if self { '1' } else { '0' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format, 0);
        page.counter("outrigger_writes_seconds", "Time spent.", 1.5);
        page.gauge("outrigger_connections", "Open \\ now.\nAnd then.", 3_u64);
        let mut infos = page.family(Kind::Info, "outrigger_build", "What this is.");
        infos.sample(&Labels::new(&[("version", &"0.1\"\\\n"), ("commit", &"x")]), true);
        drop(infos);
        drop(page.family(Kind::Gauge, "outrigger_nothing", "Without a sample."));
        page.finish()
    }

    #[test]
    fn the_text_format_names_counters_by_their_samples() {
        let expected = "# HELP outrigger_writes_seconds_total Time spent.\n\
             # TYPE outrigger_writes_seconds_total counter\n\
             outrigger_writes_seconds_total 1.5\n\
             # HELP outrigger_connections Open \\\\ now.\\nAnd then.\n\
             # TYPE outrigger_connections gauge\n\
             outrigger_connections 3\n\
             # HELP outrigger_build_info What this is.\n\
             # TYPE outrigger_build_info gauge\n\
             outrigger_build_info{version=\"0.1\\\"\\\\\\n\",commit=\"x\"} 1\n";
        assert_eq!(page(Format::Text), expected);
    }

    #[test]
    fn open_metrics_names_families_with_units_and_says_where_it_ends() {
        let text = page(Format::OpenMetrics);
        let counter = "# HELP outrigger_writes_seconds Time spent.\n# TYPE outrigger_writes_seconds counter\n\
             # UNIT outrigger_writes_seconds seconds\noutrigger_writes_seconds_total 1.5\n";
        assert!(text.starts_with(counter), "{text}");
        assert!(text.contains("# TYPE outrigger_build info\noutrigger_build_info{"), "{text}");
        assert!(text.ends_with("} 1\n# EOF\n"), "{text}");
    }

    #[test]
    fn values_that_are_no_numbers_are_written_as_prometheus_has_them() {
        let mut page = Page::new(Format::Text, 0);
        page.gauge("a", "A.", f64::NAN);
        page.gauge("b", "B.", f64::NEG_INFINITY);
        let text = page.finish();
        assert!(text.contains("\na NaN\n") && text.contains("\nb -Inf\n"), "{text}");
    }

    #[test]
    fn a_client_gets_the_format_that_it_would_rather_have() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (header, format) in [
            (None, Format::Text),
            (Some("*/*"), Format::Text),
            (Some("text/plain"), Format::Text),
            (Some(prometheus), Format::OpenMetrics),
            (Some("Application/OpenMetrics-Text"), Format::OpenMetrics),
            (Some("application/openmetrics-text; version=\"1.0.0\"; q=0.2, text/plain; q=0.7"), Format::Text),
            (Some("application/openmetrics-text; version=2.0.0"), Format::Text),
            (Some("application/openmetrics-text; q=0"), Format::Text),
            (Some("application/openmetrics-text; q=high"), Format::Text),
        ] {
            assert_eq!(Format::accepted(header), format, "{header:?}");
        }
    }
}
