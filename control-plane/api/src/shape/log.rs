//! Lines of programs.

use std::sync::Arc;

use jiff::Timestamp;
use outrigger_logbook::{LogEntry, LogFilter, LogLine};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::time::UnixMillis;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problems;
use crate::error::ApiError;
use crate::text::{parse_duration, parse_time, write_time};

/// Lines in one page, and as the past of a stream.
const DEFAULT_LINES: usize = 100;
const MOST_LINES: usize = 1_000;
/// More is not a text that anybody looks for.
const CONTAINS_BYTES: usize = 1_024;
/// Instances of one request.
const MOST_INSTANCES: usize = 64;

const TIME_OR_AGO: &str = "a time such as 2026-01-31T12:00:00Z, Unix milliseconds, or how long ago, such as 10m";
const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

/// One line of a program.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    /// Grows with every line of the deployment, not without gaps: a cursor that is good for ever.
    number: u64,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    #[schema(value_type = String)]
    instance_id: String,
    /// stdout, stderr, or agent: what the agent says of the program.
    stream: &'static str,
    /// trace, debug, info, warn, error
    level: &'static str,
    /// As the program wrote it, control characters included: escape it before showing it.
    message: String,
    /// It was longer than 64 KiB.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// There is no line here: so many are missing, because the agent or the control plane had to drop them.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
}

impl From<&LogLine> for Line {
    fn from(line: &LogLine) -> Self {
        let (number, timestamp, instance_id) = (line.number, write_time(line.at), line.instance.to_string());
        match &line.entry {
            LogEntry::Written { stream, level, message, truncated } => Self {
                number,
                timestamp,
                instance_id,
                stream: stream_name(*stream),
                level: level.name(),
                message: message.to_string(),
                truncated: *truncated,
                dropped: None,
            },
            LogEntry::Dropped { lines } => Self {
                number,
                timestamp,
                instance_id,
                stream: stream_name(LogStream::Agent),
                level: Level::Warn.name(),
                message: missing(*lines),
                truncated: false,
                dropped: Some(*lines),
            },
        }
    }
}

const fn stream_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Agent => "agent",
    }
}

fn missing(lines: u64) -> String {
    if lines == 1 { "1 line is missing here".to_owned() } else { format!("{lines} lines are missing here") }
}

/// A line of a file, that a terminal shows as it is: `TIME LEVEL INSTANCE STREAM MESSAGE`.
pub(crate) fn write_plain(out: &mut String, line: &Arc<LogLine>) {
    use std::fmt::Write as _;
    let Line { timestamp, instance_id, stream, level, message, truncated, .. } = Line::from(line.as_ref());
    // Writing into a string cannot fail.
    let _ = write!(out, "{timestamp:.3} {level:5} {instance_id} {stream} ");
    for c in message.chars() {
        match c {
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push_str(if truncated { " …\n" } else { "\n" });
}

/// Which lines, and how they are answered.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParameters {
    /// The least level: trace, debug, info, warn or error. Gaps are shown at every level.
    level: Option<String>,
    /// Text that the message has in it, by the letter.
    contains: Option<String>,
    /// Not before: RFC 3339, Unix milliseconds, or how long ago (10m).
    since: Option<String>,
    /// Only before: as `since`.
    until: Option<String>,
    /// Ids of instances, separated by commas.
    instance: Option<String>,
    /// Most lines to answer: 100 by default, at most 1,000. Of a stream, how many of the past come first: none by default.
    limit: Option<usize>,
    /// `page.next` of the answer before; or a line's number, to go on beyond it.
    cursor: Option<String>,
    /// `desc`, newest first (the default), or `asc`.
    order: Option<String>,
    /// The lines as they come, as text/event-stream; a `Last-Event-ID` or `cursor` resumes after that line.
    follow: Option<bool>,
    /// All lines that are wanted, oldest first, as a text file.
    download: Option<bool>,
}

/// What is wanted of a deployment's lines.
#[derive(Debug)]
pub(crate) struct LogsAsked {
    pub(crate) filter: LogFilter,
    pub(crate) how: How,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum How {
    Page {
        limit: usize,
        after: Option<u64>,
        ascending: bool,
    },
    /// After a number, or else with so many lines of the past, or else from a time on if there is one.
    Follow {
        after: Option<u64>,
        past: usize,
    },
    Download,
}

impl LogParameters {
    /// `last_event` is the number in the `Last-Event-ID` header, which is stronger than the cursor.
    pub(crate) fn check(self, last_event: Option<u64>, now: UnixMillis) -> Result<LogsAsked, ApiError> {
        let mut problems = Problems::default();
        let level = problems.parse("level", self.level.as_deref(), "one of trace, debug, info, warn, error", |name| {
            LEVELS.into_iter().find(|level| level.name() == name)
        });
        let time = |text: &str| parse_time(text).or_else(|| parse_duration(text).map(|ago| now.saturating_sub(ago)));
        let from = problems.parse("since", self.since.as_deref(), TIME_OR_AGO, time);
        let until = problems.parse("until", self.until.as_deref(), TIME_OR_AGO, time);
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            problems.add("since", "has to be before `until`");
        }
        let most = format!("ids of 1 to {MOST_INSTANCES} instances, separated by commas");
        let instances = problems.parse("instance", self.instance.as_deref(), &most, |text| {
            let ids: Result<Vec<InstanceId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
            ids.ok().filter(|ids| ids.len() <= MOST_INSTANCES)
        });
        let bounds = format!("1 to {CONTAINS_BYTES} bytes of text");
        let contains = problems.parse("contains", self.contains.as_deref(), &bounds, |text| {
            (1..=CONTAINS_BYTES).contains(&text.len()).then(|| text.to_owned())
        });
        let cursor =
            problems.parse("cursor", self.cursor.as_deref(), "`page.next` of an answer, or a line's number", |text| {
                text.parse::<u64>().ok()
            });
        let ascending = problems.parse("order", self.order.as_deref(), "asc or desc", |order| match order {
            "asc" => Some(true),
            "desc" => Some(false),
            _ => None,
        });
        let (follow, download) = (self.follow == Some(true), self.download == Some(true));
        if follow && download {
            problems.add("download", "and `follow` cannot both be true");
        }
        if (follow || download) && self.order.is_some() {
            problems.add("order", "is for pages: a stream and a file begin with the oldest line");
        }
        if download && (self.limit.is_some() || self.cursor.is_some()) {
            problems.add("download", "gives all lines: leave out `limit` and `cursor`");
        }
        if let Some(limit) = self.limit
            && (limit > MOST_LINES || (limit == 0 && !follow))
        {
            problems.add("limit", format!("has to be 1 to {MOST_LINES}"));
        }
        let how = if download {
            How::Download
        } else if follow {
            How::Follow { after: last_event.or(cursor), past: self.limit.unwrap_or(0) }
        } else {
            let limit = self.limit.unwrap_or(DEFAULT_LINES);
            How::Page { limit, after: cursor, ascending: ascending.unwrap_or(false) }
        };
        let filter = LogFilter { level, contains, instances: instances.unwrap_or_default(), from, until };
        problems.finish(|| LogsAsked { filter, how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(10_000_000);

    #[test]
    fn a_time_may_be_said_as_how_long_ago() {
        let parameters = LogParameters {
            since: Some("10m".to_owned()),
            until: Some("9999000".to_owned()),
            ..LogParameters::default()
        };
        let asked = parameters.check(None, NOW).unwrap();
        assert_eq!(asked.filter.from, Some(UnixMillis::from_millis(9_400_000)));
        assert_eq!(asked.filter.until, Some(UnixMillis::from_millis(9_999_000)));
        assert_eq!(asked.how, How::Page { limit: 100, after: None, ascending: false });
    }

    #[test]
    fn the_last_event_is_stronger_than_the_cursor() {
        let following = || LogParameters {
            follow: Some(true),
            cursor: Some("3".to_owned()),
            limit: Some(5),
            ..LogParameters::default()
        };
        assert_eq!(following().check(None, NOW).unwrap().how, How::Follow { after: Some(3), past: 5 });
        assert_eq!(following().check(Some(7), NOW).unwrap().how, How::Follow { after: Some(7), past: 5 });
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let parameters = LogParameters {
            level: Some("loud".to_owned()),
            since: Some("soon".to_owned()),
            instance: Some("x".to_owned()),
            contains: Some(String::new()),
            cursor: Some("-1".to_owned()),
            limit: Some(1_001),
            follow: Some(true),
            download: Some(true),
            ..LogParameters::default()
        };
        let error = parameters.check(None, NOW).unwrap_err();
        let fields: Vec<&str> = error.details.iter().map(|detail| detail.field.as_str()).collect();
        assert_eq!(fields, ["level", "since", "instance", "contains", "cursor", "download", "download", "limit"]);
    }

    #[test]
    fn what_a_program_wrote_does_nothing_to_the_terminal_that_shows_the_file() {
        let entry = LogEntry::Written {
            stream: LogStream::Stderr,
            level: Level::Warn,
            message: "\u{1b}]0;title\u{7}\tred\u{9b}31m é".into(),
            truncated: true,
        };
        let instance = InstanceId::from_bytes([0; 16]);
        let line = Arc::new(LogLine { number: 1, at: UnixMillis::from_millis(1), instance, entry });
        let mut out = String::new();
        write_plain(&mut out, &line);
        let expected = format!(
            "1970-01-01T00:00:00.001Z warn  {instance} stderr \\u{{1b}}]0;title\\u{{7}}\tred\\u{{9b}}31m é …\n"
        );
        assert_eq!(out, expected);
    }
}
