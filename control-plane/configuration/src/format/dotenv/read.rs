use zeroize::Zeroizing;

use crate::format::intake::Intake;
use crate::format::name::is_name;
use crate::format::problem::LineProblemKind;
use crate::format::variable::ParsedVariable;

const BLANKS: [char; 2] = [' ', '\t'];
const EXPORT: &str = "export";

pub(in crate::format) fn read(intake: &mut Intake<'_>) {
    let mut at = 0;
    while at < intake.text().len() {
        at = declaration(at, intake);
    }
}

/// Reads what begins in the line at `start`; where the next line begins.
fn declaration(start: usize, intake: &mut Intake<'_>) -> usize {
    let text = intake.text();
    let next = next_line(text, start);
    let line = text[start..next].trim_end_matches(['\n', '\r']);
    let mut at = start + blanks(line);
    let mut rest = &line[at - start..];
    if rest.is_empty() || rest.starts_with('#') {
        return next;
    }
    let (mut name, mut after) = word(rest);
    if name == EXPORT && after > name.len() && !rest[after..].starts_with(['=', ':']) {
        at += after;
        rest = &rest[after..];
        (name, after) = word(rest);
    }
    match rest[after..].chars().next() {
        Some('=') => {
            // The value of a misnamed variable is read too: it may have several lines.
            if !is_name(name) {
                intake.problem(at, LineProblemKind::InvalidName);
            }
            let (variable, next) = value(name, at + after + 1, intake);
            match variable {
                Some(variable) if is_name(name) => intake.variable(at, variable),
                _ => {}
            }
            return next;
        }
        Some(':') if is_name(name) => intake.problem(at + after, LineProblemKind::Colon),
        _ => intake.problem(at, LineProblemKind::NoEquals),
    }
    next
}

/// The word at the beginning, and where what comes after it and after blanks begins.
fn word(text: &str) -> (&str, usize) {
    let ends = |c: char| BLANKS.contains(&c) || matches!(c, '=' | ':');
    let end = text.find(ends).unwrap_or(text.len());
    (&text[..end], end + blanks(&text[end..]))
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(BLANKS).len()
}

/// Where the line after the one at `at` begins.
fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// Reads the value of `name` that begins after the `=` at `start`; the variable, if nothing is wrong with it, and where
/// the next line begins.
fn value(name: &str, start: usize, intake: &mut Intake<'_>) -> (Option<ParsedVariable>, usize) {
    let text = intake.text();
    let at = start + blanks(&text[start..]);
    match text[at..].chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => quoted(name, quote, at, intake),
        _ => bare(name, start, intake),
    }
}

fn bare(name: &str, start: usize, intake: &mut Intake<'_>) -> (Option<ParsedVariable>, usize) {
    let text = intake.text();
    let next = next_line(text, start);
    let line = text[start..next].strip_suffix('\n').unwrap_or(&text[start..next]);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| line[..*at].ends_with(BLANKS));
    let raw = line[..comment.unwrap_or(line.len())].trim_matches(BLANKS);
    if let Some(at) = raw.find('\r') {
        let offset = start + blanks(line) + at;
        intake.problem(offset, LineProblemKind::CarriageReturn);
        return (None, next);
    }
    (Some(ParsedVariable::new(name.to_owned(), Some(unescape(raw, Escapes::Dollars)))), next)
}

fn quoted(name: &str, quote: char, at: usize, intake: &mut Intake<'_>) -> (Option<ParsedVariable>, usize) {
    let text = intake.text();
    let start = at + quote.len_utf8();
    let Some(length) = closing(&text[start..], quote) else {
        intake.problem(at, LineProblemKind::UnclosedQuote { quote });
        // What follows may be right.
        return (None, next_line(text, at));
    };
    let end = start + length + quote.len_utf8();
    let next = next_line(text, end);
    let after = text[end..next].trim_end_matches(['\n', '\r']);
    let rest = after.trim_matches(BLANKS);
    let is_comment = rest.starts_with('#') && after.starts_with(BLANKS);
    if !rest.is_empty() && !is_comment {
        let opened = intake.line(at);
        intake.problem(end, LineProblemKind::AfterQuote { opened });
        return (None, next);
    }
    let raw = &text[start..start + length];
    let is_literal = quote != '"';
    let value = if is_literal { without_carriage_returns(raw) } else { unescape(raw, Escapes::All) };
    let mut variable = ParsedVariable::new(name.to_owned(), Some(value));
    variable.literal = is_literal;
    (Some(variable), next)
}

/// Where the quote is closed.
///
/// A quote that nothing closes costs a look at all that follows. Only three can be: a later one of the same kind, being
/// right after a `=`, would have closed an earlier one.
fn closing(text: &str, quote: char) -> Option<usize> {
    if quote != '"' {
        return text.find(quote);
    }
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// The lines of a literal text, each with nothing but a line feed at its end.
fn without_carriage_returns(raw: &str) -> Zeroizing<String> {
    let mut value = Zeroizing::new(String::with_capacity(raw.len()));
    raw.split("\r\n").enumerate().for_each(|(index, line)| {
        value.push_str(if index == 0 { "" } else { "\n" });
        value.push_str(line);
    });
    value
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Those of double quotes.
    All,
    /// Of `$`s in front of a `{`.
    Dollars,
}

/// The text of a value, written so that what refers to something here refers to it there.
fn unescape(raw: &str, escapes: Escapes) -> Zeroizing<String> {
    // A `$` may come to two.
    let mut value = Zeroizing::new(String::with_capacity(raw.len() + raw.matches('$').count()));
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let length = if let Some(run) = Run::at(rest) {
            run.write(&rest[..run.length], escapes, &mut value);
            run.length
        } else {
            let meant = if escapes == Escapes::All { escape(rest) } else { None };
            let (meant, length) = meant.unwrap_or((c, c.len_utf8()));
            value.push(meant);
            length
        };
        rest = &rest[length..];
    }
    value
}

/// What an escape at the beginning means, and how long it is.
fn escape(text: &str) -> Option<(char, usize)> {
    let meant = match text.as_bytes() {
        [b'\\', b'n', ..] | [b'\r', b'\n', ..] => '\n',
        [b'\\', b'r', ..] => '\r',
        [b'\\', b't', ..] => '\t',
        [b'\\', quoted @ (b'"' | b'\\' | b'`'), ..] => char::from(*quoted),
        _ => return None,
    };
    Some((meant, 2))
}

/// `$`s, with and without backslashes, as many as there are.
struct Run {
    length: usize,
    /// Those up to the last one with a backslash: all of them are text.
    text: usize,
    /// Those that follow: in front of a `{`, a pair is one, and one that is left over opens a reference.
    written: usize,
    before_brace: bool,
}

impl Run {
    fn at(text: &str) -> Option<Self> {
        let mut run = Self { length: 0, text: 0, written: 0, before_brace: false };
        loop {
            match &text.as_bytes()[run.length..] {
                [b'\\', b'$', ..] => {
                    run.text += run.written + 1;
                    run.written = 0;
                    run.length += 2;
                }
                [b'$', ..] => {
                    run.written += 1;
                    run.length += 1;
                }
                rest => {
                    run.before_brace = rest.starts_with(b"{");
                    return (run.length > 0).then_some(run);
                }
            }
        }
    }

    fn write(&self, raw: &str, escapes: Escapes, value: &mut String) {
        let dollars = match escapes {
            _ if self.before_brace => 2 * self.text + self.written,
            Escapes::All => self.text + self.written,
            Escapes::Dollars => return value.push_str(raw),
        };
        (0..dollars).for_each(|_| value.push('$'));
    }
}
