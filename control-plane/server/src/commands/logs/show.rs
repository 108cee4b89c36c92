//! How a line looks.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";
/// Instances differ in the end of their ids, which is random.
const SHOWN_OF_INSTANCE: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The API's object, a line each.
    Json,
    /// For people; with colours on a terminal.
    Text { colours: bool },
}

impl Look {
    /// Colours on a terminal, unless its user does without (no-color.org).
    pub(super) fn text(on_terminal: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Text { colours: on_terminal && !unwanted }
    }

    pub(super) fn write(self, line: &Value) -> String {
        match self {
            Self::Json => line.to_string(),
            Self::Text { colours } => text(line, colours, &TimeZone::system()),
        }
    }
}

/// Time in the local zone, level, end of the instance's id, text. Nothing that a program wrote does anything to the
/// terminal.
fn text(line: &Value, colours: bool, zone: &TimeZone) -> String {
    let field = |name: &str| line[name].as_str().unwrap_or_default();
    let at = field("timestamp").parse::<Timestamp>().map_or_else(
        |_| field("timestamp").to_owned(),
        |at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    );
    let (level, instance) = (field("level"), field("instanceId"));
    let from = instance.char_indices().rev().nth(SHOWN_OF_INSTANCE - 1).map_or(0, |(at, _)| at);
    let colour = if colours { colour(level) } else { "" };
    let (dim, reset) = if colours { (DIM, RESET) } else { ("", "") };
    let level_end = if colour.is_empty() { "" } else { RESET };
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = write!(out, "{dim}{at}{reset} {colour}{level:5}{level_end} {dim}{}{reset} ", &instance[from..]);
    let is_missing = line["dropped"].is_u64();
    out.push_str(if is_missing { "-- " } else { "" });
    for c in field("message").chars() {
        match c {
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push_str(if is_missing { " --" } else { "" });
    out.push_str(if line["truncated"] == true { " …" } else { "" });
    out
}

fn colour(level: &str) -> &'static str {
    match level {
        "error" => "\u{1b}[31m",
        "warn" => "\u{1b}[33m",
        "info" => "\u{1b}[32m",
        "debug" => "\u{1b}[36m",
        "trace" => DIM,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(level: &str, message: &str) -> Value {
        json!({
            "timestamp": "2026-01-31T12:00:00.250Z", "level": level, "message": message,
            "instanceId": "ins_0192f3c4d5e6f708192a3b4c5d6e7f80",
        })
    }

    #[test]
    fn a_line_is_told_in_the_local_zone_and_without_what_it_would_do_to_a_terminal() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let shown = text(&line("info", "a\u{1b}[31mb\u{7}\tc"), false, &zone);
        assert_eq!(shown, "2026-01-31 13:00:00.250 info  6e7f80 a\\u{1b}[31mb\\u{7}\tc");
        let coloured = text(&line("error", "x"), true, &TimeZone::UTC);
        assert!(coloured.contains("\u{1b}[31merror\u{1b}[0m") && coloured.ends_with(" x"), "{coloured:?}");
    }

    #[test]
    fn what_is_missing_is_not_taken_for_a_line() {
        let mut gap = line("warn", "3 lines are missing here");
        gap["dropped"] = json!(3);
        assert!(text(&gap, false, &TimeZone::UTC).ends_with(" -- 3 lines are missing here --"));
        assert_eq!(Look::Json.write(&json!({"a": "\u{1b}"})), "{\"a\":\"\\u001b\"}");
    }
}
