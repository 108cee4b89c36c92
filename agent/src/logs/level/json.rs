//! Levels in JSON objects: the first member of the object itself that says one. What is nested says nothing about the line.

use outrigger_protocol::log::Level;

use super::{is_field, said};

/// Bytes of an object that are looked through: some libraries write the message before the level.
const SEARCHED_BYTES: usize = 8 * 1024;
/// Members that are looked at.
const SEARCHED_MEMBERS: usize = 64;

/// The level that an object says; `line` begins with its brace.
pub(super) fn level(line: &str) -> Option<Level> {
    let mut scan = Scan { rest: line[..line.floor_char_boundary(SEARCHED_BYTES)].strip_prefix('{')? };
    let mut is_mongo = false;
    for place in 0..SEARCHED_MEMBERS {
        let name = scan.name()?;
        let value = scan.value()?;
        is_mongo |= place == 0 && name == "t" && value.starts_with('{');
        let found = match name {
            "s" if is_mongo => mongo(value),
            name if is_field(name) => said(value.trim_matches('"')),
            name if name.eq_ignore_ascii_case("levelno") => python(value),
            name if name.eq_ignore_ascii_case("severitynumber") || name == "severity_number" => telemetry(value),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        scan.blanks();
        scan.rest = scan.rest.strip_prefix(',')?;
    }
    None
}

/// `"s":"W"` after `"t":{"$date":…}`.
fn mongo(value: &str) -> Option<Level> {
    match value.trim_matches('"').bytes().next()? {
        b'F' | b'E' => Some(Level::Error),
        b'W' => Some(Level::Warn),
        b'I' => Some(Level::Info),
        b'D' => Some(Level::Debug),
        _ => None,
    }
}

/// Of Python's `logging`, which counts from 10 for debug, and not as bunyan does.
fn python(value: &str) -> Option<Level> {
    match value.parse::<u32>().ok()? {
        0..10 => Some(Level::Trace),
        10..20 => Some(Level::Debug),
        20..30 => Some(Level::Info),
        30..40 => Some(Level::Warn),
        _ => Some(Level::Error),
    }
}

/// Of OpenTelemetry's log data model, field `SeverityNumber`.
fn telemetry(value: &str) -> Option<Level> {
    match value.parse::<u32>().ok()? {
        1..=4 => Some(Level::Trace),
        5..=8 => Some(Level::Debug),
        9..=12 => Some(Level::Info),
        13..=16 => Some(Level::Warn),
        17..=24 => Some(Level::Error),
        _ => None,
    }
}

/// Steps over an object's members. It checks no more than it needs in order not to lose its way, because a line that is
/// not quite JSON is a line all the same.
struct Scan<'a> {
    rest: &'a str,
}

impl<'a> Scan<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// A member's name, up to the colon and over it.
    fn name(&mut self) -> Option<&'a str> {
        self.blanks();
        let name = self.text()?;
        self.blanks();
        self.rest = self.rest.strip_prefix(':')?;
        Some(name.trim_matches('"'))
    }

    /// A string with its quotes.
    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        (bytes.first() == Some(&b'"')).then_some(())?;
        let mut at = 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        self.take(at + 1)
    }

    /// A value as it is written.
    fn value(&mut self) -> Option<&'a str> {
        self.blanks();
        match self.rest.as_bytes().first()? {
            b'"' => self.text(),
            b'{' | b'[' => self.nested(),
            _ => {
                let end = self.rest.find([',', '}'])?;
                self.take(end).map(str::trim_end)
            }
        }
    }

    fn nested(&mut self) -> Option<&'a str> {
        let start = self.rest;
        let mut depth = 0_usize;
        loop {
            match self.rest.as_bytes().first()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            let next = self.rest.chars().next()?.len_utf8();
            self.take(next)?;
            if depth == 0 {
                return start.get(..start.len() - self.rest.len());
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
