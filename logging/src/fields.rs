//! Fields of events and spans, as the members of a JSON object.

use std::error::Error;
use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, FormattedFields};

use crate::text::Quoted;

/// The field that is an event's message.
pub(crate) const MESSAGE: &str = "message";

/// The fields of spans as members of an object, without its braces.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonFields;

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members::new(&mut writer, true);
        fields.record(&mut members);
        members.result
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let is_first = current.fields.is_empty();
        let mut members = Members::new(&mut current.fields, is_first);
        fields.record(&mut members);
        members.result
    }
}

/// Writes each field but the message as a member.
pub(crate) struct Members<'a> {
    writer: &'a mut dyn Write,
    is_first: bool,
    /// The first error; nothing is written after it.
    pub(crate) result: fmt::Result,
}

impl<'a> Members<'a> {
    pub(crate) fn new(writer: &'a mut dyn Write, is_first: bool) -> Self {
        Self { writer, is_first, result: Ok(()) }
    }

    fn member(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == MESSAGE || self.result.is_err() {
            return;
        }
        let comma = if std::mem::replace(&mut self.is_first, false) { "" } else { "," };
        self.result = write!(self.writer, "{comma}{}:{value}", Quoted(field.name()));
    }

    fn text(&mut self, field: &Field, text: &str) {
        self.member(field, format_args!("{}", Quoted(text)));
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.member(field, format_args!("{value}"));
        } else {
            // JSON has no such number.
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            // Writing into a String cannot fail.
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.text(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
