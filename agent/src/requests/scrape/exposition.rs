//! One line of an exposition: Prometheus' text format 0.0.4 and OpenMetrics 1.0.
//!
//! What both have is read as the more generous of them has it: blanks as in the text format, exemplars as in OpenMetrics.
//! Time stamps are checked and not used: what a program says now is how it is now.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::borrow::Cow;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Line<'a> {
    /// `# TYPE FAMILY KIND`.
    Type {
        family: &'a str,
        kind: Kind,
    },
    /// `# EOF`.
    End,
    /// A comment, a help text, a unit, nothing.
    Remark,
    Point(Point<'a>),
}

/// What a family is. OpenMetrics' infos and state sets are as good as gauges, and so are the parts of a gauge histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Unknown,
}

/// `name{label="value"} 1.5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    pub name: &'a str,
    labels: &'a str,
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("not UTF-8")]
    Encoding,
    #[error("no name of a metric")]
    Name,
    #[error("labels that are not LABEL=\"VALUE\"")]
    Labels,
    #[error("no number")]
    Value,
    #[error("something after the value that is neither a time stamp nor an exemplar")]
    Rest,
    #[error("a TYPE without a name and a type")]
    Type,
}

/// Reads a line without its end.
///
/// # Errors
/// It is none that either format has.
pub fn parse(line: &[u8]) -> Result<Line<'_>, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::Encoding)?;
    let line = line.trim_matches(is_blank);
    match line.strip_prefix('#') {
        Some(remark) => remark_of(remark),
        None if line.is_empty() => Ok(Line::Remark),
        None => point(line).map(Line::Point),
    }
}

fn remark_of(remark: &str) -> Result<Line<'_>, LineError> {
    let mut words = remark.split(is_blank).filter(|word| !word.is_empty());
    match words.next() {
        Some("TYPE") => {
            let (Some(family), Some(kind), None) = (words.next(), words.next(), words.next()) else {
                return Err(LineError::Type);
            };
            Ok(Line::Type { family, kind: Kind::named(kind) })
        }
        Some("EOF") => Ok(Line::End),
        _ => Ok(Line::Remark),
    }
}

fn point(line: &str) -> Result<Point<'_>, LineError> {
    let end = line.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return Err(LineError::Name);
    }
    let rest = rest.trim_start_matches(is_blank);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let end = end_of_labels(inside)?;
            (&inside[..end], &inside[end + 1..])
        }
        None => ("", rest),
    };
    let mut words = rest.split(is_blank).filter(|word| !word.is_empty());
    let value = words.next().and_then(number).ok_or(LineError::Value)?;
    let follows = match words.next() {
        Some(word) if !word.starts_with('#') => {
            number(word).filter(|time| time.is_finite()).ok_or(LineError::Rest)?;
            words.next()
        }
        word => word,
    };
    match follows {
        // What an exemplar says is nothing to count.
        Some(word) if !word.starts_with('#') => Err(LineError::Rest),
        _ => Ok(Point { name, labels, value }),
    }
}

/// Where the `}` is, once everything before it was found to be labels.
fn end_of_labels(inside: &str) -> Result<usize, LineError> {
    let mut labels = LabelIter { rest: inside };
    loop {
        match labels.next() {
            Some(label) => label?,
            None if labels.rest.starts_with('}') => return Ok(inside.len() - labels.rest.len()),
            None => return Err(LineError::Labels),
        };
    }
}

impl<'a> Point<'a> {
    /// In the order in which they were written.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        // They were read once already.
        LabelIter { rest: self.labels }.map_while(Result::ok)
    }
}

/// Reads labels up to what is none.
struct LabelIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = Result<(&'a str, Cow<'a, str>), LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches(is_blank);
        if self.rest.is_empty() || self.rest.starts_with('}') {
            return None;
        }
        let label = self.label();
        if label.is_none() {
            self.rest = "";
        }
        Some(label.ok_or(LineError::Labels))
    }
}

impl<'a> LabelIter<'a> {
    fn label(&mut self) -> Option<(&'a str, Cow<'a, str>)> {
        let (name, rest) = self.rest.split_once('=')?;
        let name = name.trim_end_matches(is_blank);
        let is_name = name.bytes().all(|byte| is_name_byte(byte) && byte != b':');
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !is_name {
            return None;
        }
        let text = rest.trim_start_matches(is_blank).strip_prefix('"')?;
        let (mut end, mut is_escaped, mut has_escapes) = (None, false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => (is_escaped, has_escapes) = (true, true),
                b'"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let end = end?;
        let rest = text[end + 1..].trim_start_matches(is_blank);
        self.rest = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None if rest.starts_with('}') || rest.is_empty() => rest,
            None => return None,
        };
        let value = &text[..end];
        Some((name, if has_escapes { Cow::Owned(unescaped(value)) } else { Cow::Borrowed(value) }))
    }
}

/// `\\`, `\"` and `\n`; a backslash before anything else stands for itself.
fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some(c @ ('\\' | '"'))) => text.push(c),
            (c, other) => {
                text.push(c);
                text.extend(other);
            }
        }
    }
    text
}

impl Kind {
    fn named(name: &str) -> Self {
        match name {
            "counter" => Self::Counter,
            "gauge" | "info" | "stateset" | "gaugehistogram" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            _ => Self::Unknown,
        }
    }
}

/// Also `NaN`, `+Inf` and `-Inf`, in any case.
pub(super) fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = Result<(String, Vec<(String, String)>, f64), LineError>;

    fn read(line: &str) -> Read {
        match parse(line.as_bytes())? {
            Line::Point(point) => {
                let labels = point.labels().map(|(name, value)| (name.to_owned(), value.into_owned())).collect();
                Ok((point.name.to_owned(), labels, point.value))
            }
            other => panic!("{other:?}"),
        }
    }

    fn labelled(name: &str, labels: &[(&str, &str)], value: f64) -> Read {
        Ok((name.to_owned(), labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(), value))
    }

    #[test]
    fn a_point_of_either_format_is_read() {
        assert_eq!(read("up 1"), labelled("up", &[], 1.0));
        assert_eq!(
            read("\tmetric_without_timestamp_and_labels   12.47\r"),
            labelled("metric_without_timestamp_and_labels", &[], 12.47)
        );
        assert_eq!(
            read("http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000"),
            labelled("http_requests_total", &[("method", "post"), ("code", "200")], 1027.0)
        );
        assert_eq!(
            read(
                "msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9"
            ),
            labelled(
                "msdos_file_access_time_seconds",
                &[("path", "C:\\DIR\\FILE.TXT"), ("error", "Cannot find file:\n\"FILE.TXT\"")],
                1.458_255_915e9
            )
        );
        assert_eq!(read("a { b = \"}\" , } +Inf -3982045"), labelled("a", &[("b", "}")], f64::INFINITY));
        assert_eq!(read("a{} 0 123.5"), labelled("a", &[], 0.0));
        assert_eq!(
            read("foo_bucket{le=\"0.1\"} 8 # {trace_id=\"a b\"} 0.054 1520879607.7"),
            labelled("foo_bucket", &[("le", "0.1")], 8.0)
        );
        assert!(read("a NaN").is_ok_and(|(_, _, value)| value.is_nan()));
    }

    #[test]
    fn a_remark_is_a_type_an_end_or_nothing() {
        let line = |text: &'static str| parse(text.as_bytes());
        assert_eq!(line("# TYPE a_total counter"), Ok(Line::Type { family: "a_total", kind: Kind::Counter }));
        assert_eq!(line("#  TYPE\ta  nonsense"), Ok(Line::Type { family: "a", kind: Kind::Unknown }));
        assert_eq!(line("# TYPE a"), Err(LineError::Type));
        assert_eq!(line("# EOF"), Ok(Line::End));
        for remark in ["", "  ", "#", "# HELP a TYPE of \"{", "# UNIT a seconds", "#TYPES a b"] {
            assert_eq!(line(remark), Ok(Line::Remark), "{remark}");
        }
    }

    #[test]
    fn what_is_no_line_is_told_apart() {
        for (line, error) in [
            ("1a 1", LineError::Name),
            ("{a=\"b\"} 1", LineError::Name),
            ("a", LineError::Value),
            ("a b", LineError::Value),
            ("a{} ", LineError::Value),
            ("a{b=\"c\" 1", LineError::Labels),
            ("a{b=\"c} 1", LineError::Labels),
            ("a{b=c} 1", LineError::Labels),
            ("a{b=\"c\" d=\"e\"} 1", LineError::Labels),
            ("a{1b=\"c\"} 1", LineError::Labels),
            ("a{,} 1", LineError::Labels),
            ("a 1 x", LineError::Rest),
            ("a 1 2 3", LineError::Rest),
            ("a 1 NaN", LineError::Rest),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line}");
        }
        assert_eq!(parse(b"a{b=\"\xff\"} 1"), Err(LineError::Encoding));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "\\PC{0,12}|[\\\\\"\n,}{=# ]{0,8}"), 0..5),
            value in any::<f64>(),
            time in prop::option::of(any::<i64>()),
            exemplar: bool,
        ) {
            let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let written: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let mut line = format!("{name}{{{}}} {value}", written.join(","));
            if let Some(time) = time {
                line += &format!(" {time}");
            }
            if exemplar {
                line += " # {a=\"b\"} 1";
            }
            let (read_name, read_labels, read_value) = read(&line).expect("a line");
            prop_assert_eq!(read_name, name);
            prop_assert_eq!(read_labels, labels);
            prop_assert!(read_value == value || (read_value.is_nan() && value.is_nan()));
        }

        #[test]
        fn hostile_bytes_are_a_line_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Line::Point(point)) = parse(&bytes) {
                prop_assert!(point.labels().count() <= bytes.len());
            }
        }

        #[test]
        fn nearly_a_line_is_a_line_or_an_error(line in "[a-c{}=\",\\\\# \t1.NI+]{0,40}") {
            let _ = parse(line.as_bytes());
        }
    }
}
