//! How serious a line is, guessed from its text.
//!
//! A JSON object says so in a member of its own (`json`). Elsewhere looked for are, in this order: a field of logfmt
//! (`logfmt`), the marks of syslog (`<3>`) and glog (`E0102 …`) and Redis (`1:M … #`), the first words of what runtimes
//! print when a program dies, and a level's name among the first words, in capitals or with punctuation, so that "no error"
//! and "info about" are no levels (`words`). What remains is `info`, on stderr too: most programs log everything there, and
//! an alarm on each of their lines would be noise.
//!
//! It is a guess of at most a few hundred bytes of each line, and it is never wrong about anything but itself: no line is
//! changed or dropped for it.

mod json;
mod logfmt;
mod words;

use outrigger_protocol::log::Level;

/// Bytes of a text in which a level stands if there is one.
const TEXT_BYTES: usize = 512;

/// Fields that say how serious something is, as JSON members and in logfmt. Case and underscores do not matter.
const FIELDS: [&str; 9] = [
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log.level",
    "levelname",
    "severitytext",
    // Serilog's compact form.
    "@l",
    // journald's.
    "priority",
];

pub(super) fn detect(line: &str) -> Level {
    let line = line.trim_start();
    let found = if line.starts_with('{') {
        json::level(line)
    } else {
        let head = &line[..line.floor_char_boundary(TEXT_BYTES)];
        logfmt::level(head)
            .or_else(|| syslog(head))
            .or_else(|| glog(head))
            .or_else(|| redis(head))
            .or_else(|| crash(head))
            .or_else(|| words::level(head))
    };
    found.unwrap_or(Level::Info)
}

fn is_field(name: &str) -> bool {
    let letters = || name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase());
    FIELDS.iter().any(|field| letters().eq(field.bytes()))
}

/// By its name in any of the usual libraries.
fn named(name: &str) -> Option<Level> {
    const NAMES: [(Level, &[&str]); 5] = [
        (Level::Trace, &["trace", "trc", "trac", "trce", "verbose", "vrb", "silly", "finest", "finer"]),
        (Level::Debug, &["debug", "dbg", "debu", "dbug"]),
        (Level::Info, &["info", "inf", "information", "notice"]),
        (Level::Warn, &["warn", "warning", "wrn"]),
        (
            Level::Error,
            &[
                "error",
                "erro",
                "err",
                "eror",
                "fail",
                "severe",
                "fatal",
                "fata",
                "ftl",
                "critical",
                "crit",
                "alert",
                "emerg",
                "emergency",
                "panic",
                "pani",
                "pnc",
                "dpanic",
            ],
        ),
    ];
    let is_it = |names: &&[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    NAMES.iter().find(|(_, names)| is_it(names)).map(|(level, _)| *level)
}

/// Of syslog, RFC 5424 section 6.2.1.
fn of_severity(severity: u32) -> Option<Level> {
    match severity {
        0..=3 => Some(Level::Error),
        4 => Some(Level::Warn),
        5 | 6 => Some(Level::Info),
        7 => Some(Level::Debug),
        _ => None,
    }
}

/// As a name, with an offset behind it (`ERROR+2`, slog's), or as a number: bunyan's and pino's from 10 on, below them
/// syslog's, which GELF and journald use.
fn said(value: &str) -> Option<Level> {
    let value = value.trim();
    if let Ok(number) = value.parse::<u32>() {
        return match number {
            0..8 => of_severity(number),
            10..20 => Some(Level::Trace),
            20..30 => Some(Level::Debug),
            30..40 => Some(Level::Info),
            40..50 => Some(Level::Warn),
            50..70 => Some(Level::Error),
            _ => None,
        };
    }
    named(value.split(|c: char| !c.is_ascii_alphabetic()).next()?)
}

/// `<3>text` as sd-daemon(3) has it, and `<165>1 2026-…` as RFC 5424 has it: the last three bits are the severity.
fn syslog(head: &str) -> Option<Level> {
    let (number, _) = head.strip_prefix('<')?.split_at_checked(4).unwrap_or((head.strip_prefix('<')?, ""));
    let (number, _) = number.split_once('>')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let priority: u32 = number.parse().ok().filter(|priority| is_number && *priority <= 191)?;
    of_severity(priority % 8)
}

/// `E0102 15:04:05.000000 …`, klog's too.
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

/// `1:M 01 Jan 2026 00:00:00.000 # text`: process and role, the date, and one of four marks.
fn redis(head: &str) -> Option<Level> {
    let mut words = head.split(' ');
    let (process, role) = words.next()?.split_once(':')?;
    let is_process = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
    (is_process && matches!(role, "X" | "C" | "S" | "M")).then_some(())?;
    match words.nth(4)? {
        "." | "-" => Some(Level::Debug),
        "*" => Some(Level::Info),
        "#" => Some(Level::Warn),
        _ => None,
    }
}

/// First lines of what runtimes print when a program dies, or when an exception was not caught.
fn crash(head: &str) -> Option<Level> {
    const STARTS: [&str; 6] = [
        "Traceback (most recent call last)",
        "panic: ",
        "fatal error: ",
        "Uncaught ",
        "Exception in thread ",
        "Segmentation fault",
    ];
    let rust = head.starts_with("thread '") && head.contains("' panicked at");
    // `ValueError: …`, `java.lang.IllegalStateException: …`
    let first = head.split_whitespace().next().unwrap_or_default();
    let raised = first.ends_with("Error:") || first.ends_with("Exception:");
    (rust || raised || STARTS.iter().any(|start| head.starts_with(start))).then_some(Level::Error)
}

#[cfg(test)]
mod tests;
