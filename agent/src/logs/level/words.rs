//! Levels among the first words of plain text.

use outrigger_protocol::log::Level;

use super::named;

/// Words of plain text among which its level stands: date, time, thread and logger may come before it.
const SEARCHED_WORDS: usize = 6;

pub(super) fn level(head: &str) -> Option<Level> {
    head.split_whitespace().take(SEARCHED_WORDS).find_map(word)
}

/// `ERROR`, `[warn]`, `error:`, `INFO[0000]`, `[2026-01-01T00:00:00][WARN`, but neither `error` nor `Info` in a sentence.
fn word(word: &str) -> Option<Level> {
    let mut rest = word;
    let mut offset = 0;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let run = &rest[start..];
        let length = run.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(run.len());
        let (from, to) = (offset + start, offset + start + length);
        if let Some(level) = marked(word, from, to) {
            return Some(level);
        }
        offset = to;
        rest = &word[to..];
    }
    None
}

/// The letters between two places of a word, if they are a level's name, stand by themselves, and look as if they were
/// meant.
fn marked(word: &str, from: usize, to: usize) -> Option<Level> {
    let name = &word[from..to];
    let before = word[..from].chars().next_back();
    let after = word[to..].chars().next();
    // An identifier such as `error_count` or a part of a path such as `/var/ERROR.log` is not a level.
    let opens = |c: char| matches!(c, '[' | ']' | '(' | ')' | '|' | ':' | '<' | '>' | '-' | ',' | '*');
    let closes = |c: char| opens(c) || matches!(c, '/' | '!');
    if before.is_some_and(|c| !opens(c)) || after.is_some_and(|c| !closes(c)) {
        return None;
    }
    let is_marked = name.bytes().all(|byte| byte.is_ascii_uppercase())
        || before.is_some_and(|c| c != '-')
        || after.is_some_and(|c| matches!(c, ':' | ']' | ')' | '|' | '['));
    // Java's own logging has one that is also a word.
    let level = named(name).or_else(|| (name == "FINE").then_some(Level::Debug));
    level.filter(|_| is_marked)
}
