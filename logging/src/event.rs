//! One event, one line.

use std::fmt::{self, Debug};

use outrigger_protocol::time::UnixMillis;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::fields::{JsonFields, MESSAGE, Members};
use crate::text::Quoted;

/// Writes an event as one JSON object; the shape is at the head of this crate. Goes with [`JsonFields`].
#[derive(Debug, Clone, Copy)]
pub struct JsonLines {
    clock: fn() -> UnixMillis,
}

impl Default for JsonLines {
    fn default() -> Self {
        Self::with_clock(UnixMillis::now)
    }
}

impl JsonLines {
    /// With the time that `clock` says at each event.
    #[must_use]
    pub const fn with_clock(clock: fn() -> UnixMillis) -> Self {
        Self { clock }
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        write!(
            writer,
            r#"{{"timestamp":"{}","level":"{}","target":{},"message":{}"#,
            (self.clock)(),
            level(*metadata.level()),
            Quoted(metadata.target()),
            Quoted(&message.0),
        )?;
        if metadata.fields().iter().any(|field| field.name() != MESSAGE) {
            writer.write_str(r#","fields":{"#)?;
            let mut members = Members::new(&mut writer, true);
            event.record(&mut members);
            members.result?;
            writer.write_char('}')?;
        }
        spans(context, &mut writer)?;
        writer.write_str("}\n")
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The spans that the event is in, the outermost first.
fn spans<S>(context: &FmtContext<'_, S, JsonFields>, writer: &mut Writer<'_>) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(scope) = context.event_scope() else { return Ok(()) };
    writer.write_str(r#","spans":["#)?;
    for (at, span) in scope.from_root().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (name, id) = (Quoted(span.name()), span.id().into_u64());
        write!(writer, r#"{comma}{{"name":{name},"id":{id}"#)?;
        let extensions = span.extensions();
        if let Some(fields) = extensions.get::<FormattedFields<JsonFields>>().filter(|fields| !fields.is_empty()) {
            write!(writer, r#","fields":{{{fields}}}"#)?;
        }
        writer.write_char('}')?;
    }
    writer.write_char(']')
}

/// What an event says in words.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    /// Takes what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs.
    fn lines(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields)
            .event_format(JsonLines::with_clock(|| UnixMillis::from_millis(1_000)))
            .with_max_level(Level::TRACE)
            .with_writer({
                let written = written.clone();
                move || written.clone()
            })
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    #[test]
    fn an_event_without_fields_is_its_head() {
        let lines = lines(|| tracing::info!(target: "outrigger", "serving"));
        let head = json!({
            "timestamp": "1970-01-01T00:00:01.000Z", "level": "info", "target": "outrigger", "message": "serving",
        });
        assert_eq!(lines, [head]);
    }

    #[test]
    fn fields_keep_their_types_and_cannot_hide_the_head() {
        let lines = lines(|| {
            tracing::warn!(replicas = 3, share = 0.5, none = f64::NAN, whole = true, level = "forged", id = %7, "it");
        });
        let fields = json!({ "replicas": 3, "share": 0.5, "none": "NaN", "whole": true, "level": "forged", "id": "7" });
        assert_eq!((&lines[0]["level"], &lines[0]["fields"]), (&json!("warn"), &fields));
    }

    #[test]
    fn a_text_cannot_begin_a_line_of_its_own() {
        let lines = lines(|| tracing::error!(text = "\"}\n{\"level\":\"info\"\u{1b}[31m", "a\nb"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "a\nb");
        assert_eq!(lines[0]["fields"]["text"], "\"}\n{\"level\":\"info\"\u{1b}[31m");
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot write")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Outer(io::Error::other("no room"));
        let lines = lines(|| tracing::error!(error = &error as &dyn std::error::Error, "failed"));
        assert_eq!(lines[0]["fields"]["error"], "cannot write: no room");
    }

    #[test]
    fn spans_stand_from_the_outermost_with_what_was_added_to_them() {
        let lines = lines(|| {
            let outer = tracing::info_span!("request", request_id = "r-1", status = tracing::field::Empty);
            let _in_outer = outer.enter();
            outer.record("status", 200);
            let inner = tracing::info_span!("inner");
            let _in_inner = inner.enter();
            tracing::debug!("answered");
        });
        let spans = lines[0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!((&spans[0]["name"], &spans[1]["name"]), (&json!("request"), &json!("inner")));
        assert_eq!(spans[0]["fields"], json!({ "request_id": "r-1", "status": 200 }));
        assert!(spans[0]["id"].is_u64() && spans[1].get("fields").is_none(), "{spans:?}");
    }
}
