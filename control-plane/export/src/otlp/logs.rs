//! `opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest`

use std::sync::Arc;

use outrigger_protocol::log::{Level, LogStream};
use reqwest::StatusCode;

use super::{Envelope, attribute, field as shared, nanos};
use crate::encoding::Writer;
use crate::grouped::{Namings, by_instance};
use crate::instances::Line;
use crate::lane::{EncodeError, Format, Verdict};

/// Fields of `opentelemetry.proto.logs.v1.LogRecord`.
mod field {
    pub(super) const TIME: u32 = 1;
    pub(super) const SEVERITY: u32 = 2;
    pub(super) const SEVERITY_TEXT: u32 = 3;
    pub(super) const BODY: u32 = 5;
    pub(super) const ATTRIBUTE: u32 = 6;
    pub(super) const OBSERVED: u32 = 11;
}

#[derive(Debug)]
pub(crate) struct OtlpLogs(pub(crate) Envelope);

impl Format for OtlpLogs {
    type Item = Line;

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        self.0.headers()
    }

    fn encode(&self, batch: &[Arc<Line>], namings: &Namings) -> Result<Vec<u8>, EncodeError> {
        let mut request = Writer::default();
        for (source, naming, lines) in by_instance(batch, namings) {
            self.0.write_resource(&mut request, source, naming, |scope| {
                lines.into_iter().for_each(|line| write_line(scope, line));
            });
        }
        self.0.pack(request.into_bytes())
    }

    fn is_retryable(status: StatusCode) -> bool {
        super::is_retryable(status)
    }

    fn verdict(body: &[u8]) -> Verdict {
        super::verdict(body)
    }

    fn complaint(body: &[u8]) -> String {
        super::complaint(body)
    }
}

fn write_line(scope: &mut Writer, line: &Line) {
    let record = &line.record;
    let (severity, text) = severity(record.level);
    scope.message(shared::SCOPE_ITEM, |log| {
        log.fixed64(field::TIME, nanos(record.at));
        log.varint(field::SEVERITY, severity);
        log.string(field::SEVERITY_TEXT, text);
        log.message(field::BODY, |any| any.string(shared::ANY_STRING, &record.message));
        let stream = match record.stream {
            LogStream::Stdout => ("log.iostream", "stdout"),
            LogStream::Stderr => ("log.iostream", "stderr"),
            LogStream::Agent => ("outrigger.stream", "agent"),
        };
        attribute(log, field::ATTRIBUTE, stream.0, |any| any.string(shared::ANY_STRING, stream.1));
        if record.truncated {
            attribute(log, field::ATTRIBUTE, "outrigger.truncated", |any| any.varint(shared::ANY_BOOL, 1));
        }
        if line.dropped_before > 0 {
            let dropped = i64::try_from(line.dropped_before).unwrap_or(i64::MAX);
            attribute(log, field::ATTRIBUTE, "outrigger.dropped_before", |any| any.int64(shared::ANY_INT, dropped));
        }
        log.fixed64(field::OBSERVED, nanos(line.received_at));
    });
}

/// `SeverityNumber` of the data model: the first of each range of four.
const fn severity(level: Level) -> (u64, &'static str) {
    match level {
        Level::Trace => (1, "TRACE"),
        Level::Debug => (5, "DEBUG"),
        Level::Info => (9, "INFO"),
        Level::Warn => (13, "WARN"),
        Level::Error => (17, "ERROR"),
    }
}
