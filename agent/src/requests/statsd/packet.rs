//! One line of StatsD or DogStatsD: `page.views:1|c|@0.1|#env:prod`.
//!
//! Several values of one metric are packed with `:`, as in DogStatsD 1.1. Fields that are not known (containers, time
//! stamps, what comes later) are passed over.
//!
//! Sources: <https://github.com/statsd/statsd/blob/master/docs/metric_types.md>,
//! <https://docs.datadoghq.com/extend/dogstatsd/datagram_shell/>.

/// The least rate at which a client may sample: one in a million.
const LEAST_RATE: f64 = 1e-6;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line<'a> {
    Metric(Metric<'a>),
    /// An event or a service check of DogStatsD, or nothing.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric<'a> {
    pub name: &'a str,
    pub kind: Kind,
    values: &'a str,
    /// How many a value stands for: at least 1.
    pub weight: f64,
    tags: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Counter,
    Gauge,
    /// In milliseconds.
    Timer,
    /// A histogram or a distribution, of a unit that only its name can tell.
    Distribution,
    Set,
}

/// A value of anything but a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    Is(f64),
    /// A gauge is this much more, or less.
    Moves(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("not UTF-8")]
    Encoding,
    #[error("no NAME:VALUE|TYPE")]
    Form,
    #[error("a name with control characters or blanks")]
    Name,
    #[error("no known type")]
    Kind,
    #[error("no finite number")]
    Value,
    #[error("a sample rate that is not above 0 and at most 1")]
    Rate,
}

/// Reads a line without its end.
///
/// # Errors
/// It is none of either protocol.
pub fn parse(line: &[u8]) -> Result<Line<'_>, PacketError> {
    let line = std::str::from_utf8(line).map_err(|_| PacketError::Encoding)?.trim_ascii();
    if line.is_empty() || line.starts_with("_e{") || line.starts_with("_sc|") {
        return Ok(Line::Other);
    }
    let (name, rest) = line.split_once(':').ok_or(PacketError::Form)?;
    let mut fields = rest.split('|');
    let (values, kind) = fields.next().zip(fields.next()).ok_or(PacketError::Form)?;
    if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '|' | '@')) {
        return Err(PacketError::Name);
    }
    let kind = Kind::named(kind).ok_or(PacketError::Kind)?;
    let mut metric = Metric { name, kind, values, weight: 1.0, tags: "" };
    if kind == Kind::Set {
        if values.is_empty() {
            return Err(PacketError::Value);
        }
    } else if !values.split(':').all(|value| number(value).is_some()) {
        return Err(PacketError::Value);
    }
    for field in fields {
        if let Some(rate) = field.strip_prefix('@') {
            let rate = number(rate).filter(|rate| (LEAST_RATE..=1.0).contains(rate)).ok_or(PacketError::Rate)?;
            metric.weight = 1.0 / rate;
        } else if let Some(tags) = field.strip_prefix('#') {
            metric.tags = tags;
        }
    }
    Ok(Line::Metric(metric))
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "c" => Some(Self::Counter),
            "g" => Some(Self::Gauge),
            "ms" => Some(Self::Timer),
            "h" | "d" => Some(Self::Distribution),
            "s" => Some(Self::Set),
            _ => None,
        }
    }
}

impl<'a> Metric<'a> {
    /// Of anything but a set.
    pub fn values(&self) -> impl Iterator<Item = Value> + 'a {
        let is_gauge = self.kind == Kind::Gauge;
        // They were read once already.
        self.values.split(':').filter_map(move |text| {
            let value = number(text)?;
            Some(if is_gauge && text.starts_with(['+', '-']) { Value::Moves(value) } else { Value::Is(value) })
        })
    }

    /// The value of a set, as it stands there.
    #[must_use]
    pub const fn member(&self) -> &'a str {
        self.values
    }

    /// `name:value`, or a name alone with an empty value.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.tags.split(',').filter(|tag| !tag.is_empty()).map(|tag| tag.split_once(':').unwrap_or((tag, "")))
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metric(line: &str) -> Metric<'_> {
        match parse(line.as_bytes()) {
            Ok(Line::Metric(metric)) => metric,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_examples_of_both_protocols_are_read() {
        let counter = metric("gorets:1|c|@0.1");
        assert_eq!((counter.name, counter.kind, counter.weight), ("gorets", Kind::Counter, 10.0));
        assert_eq!(metric("glork:320|ms|@0.1").values().collect::<Vec<_>>(), [Value::Is(320.0)]);
        assert_eq!(metric("gaugor:333|g").values().collect::<Vec<_>>(), [Value::Is(333.0)]);
        assert_eq!(metric("gaugor:-10|g").values().collect::<Vec<_>>(), [Value::Moves(-10.0)]);
        assert_eq!(metric("gaugor:+4|g").values().collect::<Vec<_>>(), [Value::Moves(4.0)]);
        assert_eq!(metric("count:-4|c").values().collect::<Vec<_>>(), [Value::Is(-4.0)]);
        assert_eq!(metric("uniques:76:5|s").member(), "76:5");
        let packed = metric("song.length:240:234.5|h|@0.5|#country:china,vip|c:83c0|T1656581400\r");
        assert_eq!(packed.values().collect::<Vec<_>>(), [Value::Is(240.0), Value::Is(234.5)]);
        assert_eq!(packed.tags().collect::<Vec<_>>(), [("country", "china"), ("vip", "")]);
        assert_eq!((packed.kind, packed.weight), (Kind::Distribution, 2.0));
        for other in ["", "_e{21,36}:An exception|Cannot parse", "_sc|Redis connection|2|#env:dev"] {
            assert_eq!(parse(other.as_bytes()), Ok(Line::Other), "{other}");
        }
    }

    #[test]
    fn what_is_no_line_is_told_apart() {
        for (line, error) in [
            ("gorets", PacketError::Form),
            ("gorets:1", PacketError::Form),
            (":1|c", PacketError::Name),
            ("a b:1|c", PacketError::Name),
            ("a\u{7}:1|c", PacketError::Name),
            ("a:1|x", PacketError::Kind),
            ("a:1|c:2|c", PacketError::Kind),
            ("a:|c", PacketError::Value),
            ("a:1:x|c", PacketError::Value),
            ("a:NaN|g", PacketError::Value),
            ("a:1e999|ms", PacketError::Value),
            ("a:|s", PacketError::Value),
            ("a:1|c|@0", PacketError::Rate),
            ("a:1|c|@2", PacketError::Rate),
            ("a:1|c|@x", PacketError::Rate),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line}");
        }
        assert_eq!(parse(b"a:1|c|#\xff"), Err(PacketError::Encoding));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z][a-zA-Z0-9_.]{0,20}",
            values in prop::collection::vec(-1e9..1e9_f64, 1..4),
            kind in prop::sample::select(vec!["c", "g", "ms", "h", "d"]),
            rate in prop::option::of(0.001..1.0_f64),
            tags in prop::collection::vec(("[a-z]{1,5}", "[a-z:]{0,5}"), 0..4),
        ) {
            let written: Vec<String> = values.iter().map(f64::to_string).collect();
            let mut line = format!("{name}:{}|{kind}", written.join(":"));
            if let Some(rate) = rate {
                line += &format!("|@{rate}");
            }
            let listed: Vec<String> = tags.iter().map(|(tag, value)| format!("{tag}:{value}")).collect();
            line += &format!("|#{}", listed.join(","));
            let metric = metric(&line);
            prop_assert_eq!(metric.name, &name);
            let read: Vec<f64> = metric.values().map(|value| match value { Value::Is(v) | Value::Moves(v) => v }).collect();
            prop_assert_eq!(read, values);
            prop_assert!((metric.weight - rate.map_or(1.0, |rate| 1.0 / rate)).abs() < 1e-9);
            let read: Vec<_> = metric.tags().map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(read, tags);
        }

        #[test]
        fn hostile_bytes_are_a_line_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Line::Metric(metric)) = parse(&bytes) {
                prop_assert!(metric.values().count() <= bytes.len() && metric.weight.is_finite());
            }
        }

        #[test]
        fn nearly_a_line_is_a_line_or_an_error(line in "[a-c:|@#,+.0-9msghcde-]{0,40}") {
            if let Ok(Line::Metric(metric)) = parse(line.as_bytes()) {
                prop_assert!(metric.tags().count() <= line.len());
            }
        }
    }
}
