//! What JSON and YAML have in common: a tree of nodes, each with its place. Scalars keep the text of the file, so that
//! `1.10` stays `1.10`.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::intake::Intake;
use super::problem::LineProblemKind;
use super::quoted::Quoted;

#[derive(Debug)]
pub(super) struct Node {
    /// Its first byte in the text.
    pub(super) at: usize,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    /// As in the file.
    Boolean(Zeroizing<String>),
    /// As in the file.
    Number(Zeroizing<String>),
    Text(Zeroizing<String>),
    Sequence(Vec<Node>),
    /// No key twice.
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: usize,
    pub(super) text: String,
}

impl Node {
    /// The places of all that cannot be told as JSON.
    pub(super) fn beyond_json(&self, places: &mut Vec<usize>) {
        match &self.value {
            Value::Null | Value::Boolean(_) | Value::Text(_) => {}
            Value::Number(text) if is_json(text) => {}
            Value::Number(_) => places.push(self.at),
            Value::Sequence(items) => items.iter().for_each(|item| item.beyond_json(places)),
            Value::Mapping(pairs) => pairs.iter().for_each(|(_, value)| value.beyond_json(places)),
        }
    }
}

/// YAML has numbers that JSON has not: `+1`, `.5`, `0x1f`, `.inf`.
fn is_json(number: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(number).is_ok()
}

/// Compact JSON, with numbers as they are in the file.
pub(super) struct Json<'a>(pub(super) &'a Node);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.value {
            Value::Null => f.write_str("null"),
            Value::Boolean(text) => f.write_str(if text.eq_ignore_ascii_case("true") { "true" } else { "false" }),
            Value::Number(text) => f.write_str(text),
            Value::Text(text) => Quoted(text).fmt(f),
            Value::Sequence(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    Json(item).fmt(f)?;
                }
                f.write_char(']')
            }
            Value::Mapping(pairs) => {
                f.write_char('{')?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write!(f, "{}:{}", Quoted(&key.text), Json(value))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// A value is never formatted.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Boolean(_) => "Boolean",
            Self::Number(_) => "Number",
            Self::Text(_) => "Text",
            Self::Sequence(_) => "Sequence",
            Self::Mapping(_) => "Mapping",
        })
    }
}

/// The pairs of a mapping on their way in.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pairs: Vec<(Key, Node)>,
    lines: HashMap<String, usize>,
}

impl Pairs {
    /// A key that is already there is reported, and left out.
    pub(super) fn push(&mut self, key: Key, node: Node, intake: &mut Intake<'_>) {
        match self.lines.get(&key.text) {
            Some(first) => intake.problem(key.at, LineProblemKind::Duplicate { first: *first }),
            None => {
                self.lines.insert(key.text.clone(), intake.line(key.at));
                self.pairs.push((key, node));
            }
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Mapping(self.pairs)
    }
}
