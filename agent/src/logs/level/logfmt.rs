//! Levels in logfmt: `level=warn msg="…"`, also behind other text. A field within a quoted value is none.

use outrigger_protocol::log::Level;

use super::{is_field, said};

pub(super) fn level(head: &str) -> Option<Level> {
    let mut rest = head;
    loop {
        rest = rest.trim_start();
        let end = rest.find(|c: char| c == '=' || c.is_whitespace())?;
        let (name, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let (value, after) = split_value(value);
        if is_field(name)
            && let Some(level) = said(value)
        {
            return Some(level);
        }
        rest = after;
    }
}

/// A value without its quotes, and what is behind it.
fn split_value(text: &str) -> (&str, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut escaped = false;
        for (at, c) in quoted.char_indices() {
            match c {
                '"' if !escaped => return (&quoted[..at], &quoted[at + 1..]),
                _ => escaped = c == '\\' && !escaped,
            }
        }
        return (quoted, "");
    }
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}
