//! Mappings and their fields, and the list of what is wrong.

use std::collections::BTreeMap;

use super::problem::{Place, Problem, ProblemKind, TemplateError};
use super::tree::{Node, Value};
use crate::limits;
use crate::nearest::nearest;

/// How much of an unknown field's name goes into a path.
const SHOWN_FIELD_CHARS: usize = 64;

/// Collects what is wrong while the tree is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    told: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    pub(super) fn add(&mut self, path: &str, place: Place, kind: ProblemKind) {
        if self.told.len() < limits::PROBLEMS {
            self.told.push(Problem { path: path.to_owned(), place: Some(place), kind });
        } else {
            self.omitted += 1;
        }
    }

    pub(super) fn require(&mut self, holds: bool, path: &str, place: Place, kind: impl FnOnce() -> ProblemKind) {
        if !holds {
            self.add(path, place, kind());
        }
    }

    /// `None` when nothing is wrong.
    pub(super) fn into_error(self) -> Option<TemplateError> {
        let Self { told: mut problems, omitted } = self;
        problems.sort_by_key(|problem| problem.place);
        (!problems.is_empty()).then_some(TemplateError { problems, omitted })
    }
}

/// A value, with what to call it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) node: Node,
}

impl Field {
    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    pub(super) fn is_empty_mapping(&self) -> bool {
        matches!(&self.node.value, Value::Mapping(entries) if entries.is_empty())
    }

    pub(super) fn text(self, problems: &mut Problems) -> Option<Text> {
        let (path, place) = (self.path, self.node.place);
        match self.node.value {
            Value::Text(text) => Some(Text { text, path, place }),
            _ => {
                problems.add(&path, place, ProblemKind::NotText);
                None
            }
        }
    }

    pub(super) fn boolean(self, problems: &mut Problems) -> Option<bool> {
        match &self.node.value {
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            _ => {
                problems.add(&self.path, self.node.place, ProblemKind::NotBoolean);
                None
            }
        }
    }

    pub(super) fn count(self, least: usize, most: usize, problems: &mut Problems) -> Option<usize> {
        let count = match &self.node.value {
            Value::Text(text) => text.parse().ok().filter(|count| (least..=most).contains(count)),
            _ => None,
        };
        problems.require(count.is_some(), &self.path, self.node.place, || ProblemKind::NotCount { least, most });
        count
    }

    /// At least one element, and no more than `limit`: the rest is not looked at.
    pub(super) fn list(self, limit: usize, problems: &mut Problems) -> Vec<Field> {
        let (path, place) = (self.path, self.node.place);
        let Value::List(items) = self.node.value else {
            problems.add(&path, place, ProblemKind::NotList);
            return Vec::new();
        };
        let count = items.len();
        problems.require(count > 0, &path, place, || ProblemKind::Empty);
        problems.require(count <= limit, &path, place, || ProblemKind::TooMany { count, limit });
        let element = |(at, node)| Field { path: format!("{path}[{at}]"), node };
        items.into_iter().take(limit).enumerate().map(element).collect()
    }

    /// The fields of a mapping. Unknown and repeated ones are reported.
    pub(super) fn mapping(self, known: &'static [&'static str], problems: &mut Problems) -> Option<Fields> {
        let (path, place) = (self.path, self.node.place);
        let Value::Mapping(entries) = self.node.value else {
            problems.add(&path, place, ProblemKind::NotMapping);
            return None;
        };
        let mut found: BTreeMap<&'static str, Node> = BTreeMap::new();
        for (key, node) in entries {
            let Value::Text(name) = &key.value else {
                problems.add(&path, key.place, ProblemKind::NotText);
                continue;
            };
            match known.iter().find(|field| *field == name) {
                None => {
                    let nearest = nearest(name, known.iter().copied());
                    problems.add(&join(&path, &shown(name)), key.place, ProblemKind::UnknownField { nearest });
                }
                Some(field) => match found.get(field) {
                    Some(before) => {
                        let first = before.place.line;
                        problems.add(&join(&path, field), key.place, ProblemKind::Repeated { first });
                    }
                    None => {
                        found.insert(field, node);
                    }
                },
            }
        }
        Some(Fields { path, place, found })
    }
}

/// A text, with what to call it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) path: String,
    pub(super) place: Place,
}

/// What a mapping has, until it is taken.
#[derive(Debug)]
pub(super) struct Fields {
    path: String,
    place: Place,
    found: BTreeMap<&'static str, Node>,
}

impl Fields {
    pub(super) fn take(&mut self, name: &str) -> Option<Field> {
        let node = self.found.remove(name)?;
        Some(Field { path: join(&self.path, name), node })
    }

    pub(super) fn require(&mut self, name: &str, problems: &mut Problems) -> Option<Field> {
        let field = self.take(name);
        problems.require(field.is_some(), &join(&self.path, name), self.place, || ProblemKind::Missing);
        field
    }

    /// `None` also for one that is no text, which is reported.
    pub(super) fn text(&mut self, name: &str, problems: &mut Problems) -> Option<Text> {
        self.take(name)?.text(problems)
    }

    pub(super) fn required_text(&mut self, name: &str, problems: &mut Problems) -> Option<Text> {
        self.require(name, problems)?.text(problems)
    }

    /// What remains, by name.
    pub(super) fn remaining(self) -> impl Iterator<Item = (&'static str, Field)> {
        let path = self.path;
        self.found.into_iter().map(move |(name, node)| (name, Field { path: join(&path, name), node }))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A stranger's text in a message: of bounded length, and on one line.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN_FIELD_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
