use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use zeroize::Zeroizing;

use super::scalar;
use crate::format::intake::Intake;
use crate::format::problem::LineProblemKind;
use crate::format::tree::{Key, Node, Pairs, Value};
use crate::format::{NESTING, NODES};

/// The only document of the text; `None` where there is none, which has been reported.
pub(in crate::format) fn read_one(intake: &mut Intake<'_>) -> Option<Node> {
    let mut documents = read_all(intake).into_iter();
    let root = documents.next();
    for other in documents {
        intake.problem(other.at, LineProblemKind::SecondDocument);
    }
    match root {
        Some(Node { at, value: Value::Null }) => {
            intake.problem(at, LineProblemKind::Empty);
            None
        }
        None if !intake.has_problems() => {
            intake.problem(0, LineProblemKind::Empty);
            None
        }
        root => root,
    }
}

/// All documents up to the first place where the syntax is broken, which has been reported.
pub(in crate::format) fn read_all(intake: &mut Intake<'_>) -> Vec<Node> {
    // The parser looks ahead, and may meet its own limits before ours are met.
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: 2 * NESTING,
        block_nesting_limit: 2 * NESTING,
    };
    let parser = Parser::new_from_str_with_options(intake.text(), options);
    Builder { open: Vec::new(), documents: Vec::new(), nodes: 0, intake }.build(parser)
}

struct Builder<'i, 's> {
    /// The collections around the next node, outermost first.
    open: Vec<Open>,
    documents: Vec<Node>,
    nodes: usize,
    intake: &'i mut Intake<'s>,
}

enum Open {
    Sequence { at: usize, items: Vec<Node> },
    Mapping { at: usize, pairs: Pairs, next: Next },
}

/// What the next node of a mapping is.
enum Next {
    Key,
    ValueOf(Key),
    /// The value of a key that was refused.
    Nothing,
}

/// Nothing that follows can be judged.
struct Stop;

impl Builder<'_, '_> {
    fn build<'a>(mut self, parser: Parser<'a, StrInput<'a>>) -> Vec<Node> {
        for event in parser {
            let is_over = match event {
                Ok((event, span)) => self.event(event, &span).is_err(),
                Err(error) => {
                    self.broken(&error);
                    true
                }
            };
            if is_over {
                // What was read of a broken document is no document.
                return Vec::new();
            }
        }
        self.documents
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let at = span.start.byte_offset().unwrap_or_default();
        if event.is_node() {
            self.count(at)?;
        }
        if event.is_alias() || event.anchor_id().is_some() {
            self.intake.problem(at, LineProblemKind::Alias);
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let value = self.scalar(at, Zeroizing::new(text.into_owned()), style, tag.as_deref());
                self.node(Node { at, value });
            }
            // Reported above; the others may still be judged.
            Event::Alias(_) | Event::UnresolvedAlias(_) => self.node(Node { at, value: Value::Null }),
            Event::SequenceStart(_, _, tag) => {
                self.open(at, tag.as_deref(), Open::Sequence { at, items: Vec::new() })?;
            }
            Event::MappingStart(_, _, tag) => {
                self.open(at, tag.as_deref(), Open::Mapping { at, pairs: Pairs::default(), next: Next::Key })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, at: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES {
            self.intake.problem(at, LineProblemKind::TooManyNodes { limit: NODES });
            return Err(Stop);
        }
        Ok(())
    }

    fn scalar(&mut self, at: usize, text: Zeroizing<String>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
        match tag {
            Some(tag) if tag.is_yaml_core_schema_tag("str") => Value::Text(text),
            Some(_) => {
                self.intake.problem(at, LineProblemKind::Tag);
                Value::Text(text)
            }
            None if style == ScalarStyle::Plain => scalar::resolve(text),
            None => Value::Text(text),
        }
    }

    fn open(&mut self, at: usize, tag: Option<&Tag>, collection: Open) -> Result<(), Stop> {
        if tag.is_some() {
            self.intake.problem(at, LineProblemKind::Tag);
        }
        if self.open.len() >= NESTING {
            self.intake.problem(at, LineProblemKind::TooDeep { limit: NESTING });
            return Err(Stop);
        }
        self.open.push(collection);
        Ok(())
    }

    fn close(&mut self) {
        let node = match self.open.pop() {
            Some(Open::Sequence { at, items }) => Node { at, value: Value::Sequence(items) },
            Some(Open::Mapping { at, pairs, .. }) => Node { at, value: pairs.into_value() },
            None => return,
        };
        self.node(node);
    }

    fn node(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { pairs, next, .. }) => match std::mem::replace(next, Next::Key) {
                Next::Key => *next = as_key(node, self.intake).map_or(Next::Nothing, Next::ValueOf),
                Next::ValueOf(key) => pairs.push(key, node, self.intake),
                Next::Nothing => {}
            },
        }
    }

    fn broken(&mut self, error: &ScanError) {
        let kind = match error.kind() {
            ErrorKind::RecursionLimitExceeded => LineProblemKind::TooDeep { limit: NESTING },
            // These would tell of the text.
            ErrorKind::UnexpectedCharacter { .. } | ErrorKind::Custom(_) => {
                LineProblemKind::NotYaml { reason: "unexpected character".to_owned() }
            }
            kind => LineProblemKind::NotYaml { reason: kind.to_string() },
        };
        let at = error.marker().byte_offset().unwrap_or_default();
        // A line that a tab indents is told at the value before it.
        let at = match error.kind() {
            ErrorKind::TabInPlainScalar => at + self.intake.text()[at..].find('\t').unwrap_or_default(),
            _ => at,
        };
        self.intake.problem(at, kind);
    }
}

/// A key is its text, whatever else it might be taken for: `NO` and `1` name what they say.
fn as_key(node: Node, intake: &mut Intake<'_>) -> Option<Key> {
    match node.value {
        Value::Text(mut text) | Value::Number(mut text) | Value::Boolean(mut text) => {
            Some(Key { at: node.at, text: std::mem::take(&mut *text) })
        }
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => {
            intake.problem(node.at, LineProblemKind::KeyNotText);
            None
        }
    }
}
