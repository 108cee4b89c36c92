//! YAML as a tree in which everything has its place and every scalar its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, SnippetMode, Spanned};

use super::problem::{Place, Problem, ProblemKind};
use crate::limits;

/// How much of the YAML reader's message is told.
const MESSAGE_CHARS: usize = 200;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// As it is written: `1.50` and `yes` are texts like others. What they mean is for their field to say.
    Text(String),
    /// A scalar under a tag that makes it something else than its text.
    Tagged,
    List(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// One document, without anchors and aliases: nothing in a template needs them, and nothing else lets a short file
/// become a large tree.
pub(super) fn parse(source: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_anchors: 0, max_aliases: 0, max_depth: limits::FILE_DEPTH },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(source, options).map_err(|error| unreadable(&error))?;
    Ok(node(raw, source))
}

fn unreadable(error: &serde_saphyr::Error) -> Problem {
    let rendered = error.render_with_options(serde_saphyr::render_options! { snippets: SnippetMode::Off });
    let message = rendered.chars().take(MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let place = error.location().as_ref().map(place);
    Problem { path: String::new(), place, kind: ProblemKind::Unreadable(message) }
}

fn place(location: &Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Inferred => written(&raw.referenced, source),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Mapping(entries) => {
            let pair = |(key, value)| (node(key, source), node(value, source));
            Value::Mapping(entries.into_iter().map(pair).collect())
        }
    };
    Node { place: place(&raw.referenced), value }
}

/// The text of a plain scalar that YAML takes for a number or a boolean. A quoted one got its type from a tag.
fn written(location: &Location, source: &str) -> Value {
    let span = location.span();
    let range = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(length).ok()?)?)
    });
    match range.and_then(|range| source.get(range)).map(str::trim) {
        Some(text) if text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) => {
            Value::Text(text.to_owned())
        }
        _ => Value::Tagged,
    }
}

/// A value as serde tells it. Numbers and booleans are only noted: `1e3` is not to come back as `1000`.
enum Raw {
    Null,
    Text(String),
    Inferred,
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Raw::Mapping(mapping))
    }
}
