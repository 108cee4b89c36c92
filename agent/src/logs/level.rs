//! How serious a line is, guessed from its text.
//!
//! Looked for are, in this order: a `level` field of a JSON object or of logfmt, the marks of syslog (`<3>`) and glog
//! (`E0102 …`), and a level's name among the first words, in capitals or with punctuation, so that "no error" and
//! "info about" are no levels. What remains is `info`, on stderr too: most programs log everything there, and an alarm on
//! each of their lines would be noise.

use outrigger_protocol::log::Level;

/// Bytes in which a level stands if there is one.
const SEARCHED_BYTES: usize = 512;
/// Words of plain text among which its level stands: date, time, thread and logger may come before it.
const SEARCHED_WORDS: usize = 6;
const FIELDS: [&str; 5] = ["level", "severity", "lvl", "loglevel", "log.level"];

pub(super) fn detect(line: &str) -> Level {
    let head = &line[..line.floor_char_boundary(SEARCHED_BYTES)];
    let trimmed = head.trim_start();
    let found = if trimmed.starts_with('{') {
        FIELDS.iter().find_map(|field| json_field(trimmed, field))
    } else {
        FIELDS
            .iter()
            .find_map(|field| logfmt_field(trimmed, field))
            .or_else(|| syslog(trimmed))
            .or_else(|| glog(trimmed))
            .or_else(|| crash(trimmed))
            .or_else(|| trimmed.split_whitespace().take(SEARCHED_WORDS).find_map(word))
    };
    found.unwrap_or(Level::Info)
}

fn named(name: &str) -> Option<Level> {
    const NAMES: [(&str, Level); 18] = [
        ("trace", Level::Trace),
        ("verbose", Level::Trace),
        ("silly", Level::Trace),
        ("debug", Level::Debug),
        ("dbg", Level::Debug),
        ("info", Level::Info),
        ("information", Level::Info),
        ("notice", Level::Info),
        ("warn", Level::Warn),
        ("warning", Level::Warn),
        ("error", Level::Error),
        ("err", Level::Error),
        ("fatal", Level::Error),
        ("critical", Level::Error),
        ("crit", Level::Error),
        ("alert", Level::Error),
        ("emerg", Level::Error),
        ("panic", Level::Error),
    ];
    NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, level)| *level)
}

/// Numbers of bunyan and pino.
fn numbered(number: &str) -> Option<Level> {
    match number.parse::<u32>().ok()? {
        10..20 => Some(Level::Trace),
        20..30 => Some(Level::Debug),
        30..40 => Some(Level::Info),
        40..50 => Some(Level::Warn),
        50..70 => Some(Level::Error),
        _ => None,
    }
}

/// `"field": "value"` or `"field": 30`, anywhere in the head: nested objects come after the level in practice.
fn json_field(head: &str, field: &str) -> Option<Level> {
    let quoted = head.match_indices(field).find_map(|(at, _)| {
        let before = head[..at].ends_with('"');
        head[at + field.len()..].strip_prefix('"').filter(|_| before)
    })?;
    let value = quoted.trim_start().strip_prefix(':')?.trim_start();
    match value.strip_prefix('"') {
        Some(text) => named(text.split('"').next()?),
        None => numbered(value.split(|c: char| !c.is_ascii_digit()).next()?),
    }
}

/// `field=value`, at the start or after a blank.
fn logfmt_field(head: &str, field: &str) -> Option<Level> {
    head.match_indices(field).find_map(|(at, _)| {
        let separate = head[..at].chars().next_back().is_none_or(char::is_whitespace);
        let value = head[at + field.len()..].strip_prefix('=').filter(|_| separate)?;
        let value = value.trim_start_matches('"');
        named(value.split(|c: char| !c.is_ascii_alphabetic()).next()?)
    })
}

/// `<3>text` as sd-daemon(3) has it.
fn syslog(head: &str) -> Option<Level> {
    match head.as_bytes() {
        [b'<', b'0'..=b'3', b'>', ..] => Some(Level::Error),
        [b'<', b'4', b'>', ..] => Some(Level::Warn),
        [b'<', b'5' | b'6', b'>', ..] => Some(Level::Info),
        [b'<', b'7', b'>', ..] => Some(Level::Debug),
        _ => None,
    }
}

/// `E0102 15:04:05.000000 …`
fn glog(head: &str) -> Option<Level> {
    let (first, rest) = head.as_bytes().split_first()?;
    let (date, rest) = rest.split_at_checked(4)?;
    (date.iter().all(u8::is_ascii_digit) && rest.first() == Some(&b' ')).then_some(())?;
    match first {
        b'I' => Some(Level::Info),
        b'W' => Some(Level::Warn),
        b'E' | b'F' => Some(Level::Error),
        _ => None,
    }
}

/// First lines of what runtimes print when a program dies.
fn crash(head: &str) -> Option<Level> {
    const STARTS: [&str; 5] =
        ["Traceback (most recent call last)", "panic: ", "fatal error: ", "Uncaught ", "Exception in thread "];
    let rust = head.starts_with("thread '") && head.contains("' panicked at");
    (rust || STARTS.iter().any(|start| head.starts_with(start))).then_some(Level::Error)
}

/// `ERROR`, `[warn]`, `error:`, `INFO[0000]`, but neither `error` nor `Info` within a sentence.
fn word(word: &str) -> Option<Level> {
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let start = word.find(is_letter)?;
    let end = word[start..].find(|c| !is_letter(c)).map_or(word.len(), |length| start + length);
    let name = &word[start..end];
    // An identifier such as `error_count` or `level=x` is not a level.
    let separate = |c: char| matches!(c, '[' | ']' | '(' | ')' | '|' | ':' | '<' | '>' | '-' | ',' | '*');
    let before = word[..start].chars().next_back();
    let after = word[end..].chars().next();
    if before.is_some_and(|c| !separate(c)) || after.is_some_and(|c| !separate(c)) {
        return None;
    }
    let marked = name.chars().all(|c| c.is_ascii_uppercase())
        || before.is_some_and(|c| c != '-')
        || after.is_some_and(|c| matches!(c, ':' | ']' | ')' | '|' | '['));
    named(name).filter(|_| marked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_of_common_formats_are_found() {
        let cases = [
            (r#"{"time":1,"level":"warn","msg":"x"}"#, Level::Warn),
            (r#"{"level": 50,"msg":"pino"}"#, Level::Error),
            (r#"{"severity":"DEBUG","message":"level"}"#, Level::Debug),
            (r#"{"msg":"no level here, error!"}"#, Level::Info),
            ("ts=2026-01-01 level=error msg=\"x\"", Level::Error),
            ("time=\"x\" level=\"warning\"", Level::Warn),
            ("2026-01-01T00:00:00Z ERROR app::db: lost", Level::Error),
            ("2026-01-01 00:00:00,123 [main] DEBUG c.e.App - x", Level::Debug),
            ("[warn] disk is getting full", Level::Warn),
            ("error: could not compile", Level::Error),
            ("WARNING:root:x", Level::Warn),
            ("INFO[0000] started", Level::Info),
            ("2026/01/01 00:00:00 [crit] 7#7: x", Level::Error),
            ("<4>low on memory", Level::Warn),
            ("E0102 15:04:05.000000 1 x.go:1] y", Level::Error),
            ("Traceback (most recent call last):", Level::Error),
            ("thread 'main' panicked at src/main.rs:1:1:", Level::Error),
            ("panic: runtime error: index out of range", Level::Error),
            ("TRACE entering", Level::Trace),
        ];
        for (line, level) in cases {
            assert_eq!(detect(line), level, "{line}");
        }
    }

    #[test]
    fn a_word_in_a_sentence_is_no_level() {
        for line in ["no error so far", "error_count=0", "sublevel=error", "the panic is over", "", "Warn the others"] {
            assert_eq!(detect(line), Level::Info, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_level(line: String) {
            detect(&line);
        }

        #[test]
        fn fragments_of_formats_do_no_harm(line in "([{}\":=<>\\[\\] ]|level|error|severity|E0102|\u{e9}|3){0,40}") {
            detect(&line);
        }
    }
}
