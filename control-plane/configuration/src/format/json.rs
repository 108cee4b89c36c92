//! JSON (RFC 8259): the text into a tree, and variables into text. What the tree means is
//! [`document`](super::document)'s.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::document::{self, VARIABLES_FIELD, VERSION, VERSION_FIELD};
use super::exact::{self, By};
use super::export::{Form, Prepared};
use super::intake::Intake;
use super::name::OneLine;
use super::problem::LineProblemKind;
use super::quoted::Quoted;
use super::tree::{Key, Node, Pairs, Value};
use super::{NESTING, NODES};

/// The tree; `None` where there is none, which has been reported.
pub(super) fn read(intake: &mut Intake<'_>) -> Option<Node> {
    let text = intake.text();
    match serde_json::from_str::<&RawValue>(text) {
        Ok(root) => {
            let mut reader = Reader { text, nodes: 0, has_stopped: false, intake };
            let root = reader.node(root, 0);
            root.filter(|_| !reader.has_stopped)
        }
        Err(error) if error.is_eof() && text.trim().is_empty() => {
            intake.problem(0, LineProblemKind::Empty);
            None
        }
        Err(error) => {
            let at = offset(text, error.line(), error.column());
            intake.problem(at, LineProblemKind::NotJson { reason: reason(&error) });
            None
        }
    }
}

/// The parser says what it expected, and where; its words for a broken syntax have nothing of the text.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The byte at a place of the parser's: lines from 1, columns in bytes from 1, and 0 for the line's beginning.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    start.saturating_add(column.saturating_sub(1)).min(text.len())
}

/// Goes through a text whose syntax was found to be right.
struct Reader<'i, 'a, 's> {
    text: &'a str,
    nodes: usize,
    /// There is more than may be looked at: what was read is not all.
    has_stopped: bool,
    intake: &'i mut Intake<'s>,
}

impl<'a> Reader<'_, 'a, '_> {
    /// Each level is looked through once for each level around it, of which there are few.
    fn node(&mut self, raw: &'a RawValue, depth: usize) -> Option<Node> {
        let at = self.offset(raw);
        let text = raw.get();
        self.nodes += 1;
        if self.has_stopped {
            return None;
        }
        if self.nodes > NODES {
            return self.stop(at, LineProblemKind::TooManyNodes { limit: NODES });
        }
        if depth == NESTING && text.starts_with(['{', '[']) {
            return self.stop(at, LineProblemKind::TooDeep { limit: NESTING });
        }
        let kept = || Zeroizing::new(text.to_owned());
        let value = match text.as_bytes().first() {
            Some(b'{') => self.mapping(text, at, depth)?,
            Some(b'[') => {
                let Items(items) = self.inner(text, at)?;
                Value::Sequence(items.into_iter().filter_map(|item| self.node(item, depth + 1)).collect())
            }
            Some(b'"') => Value::Text(Zeroizing::new(self.inner(text, at)?)),
            Some(b't' | b'f') => Value::Boolean(kept()),
            Some(b'n') => Value::Null,
            _ => Value::Number(kept()),
        };
        Some(Node { at, value })
    }

    fn stop(&mut self, at: usize, kind: LineProblemKind) -> Option<Node> {
        self.intake.problem(at, kind);
        self.has_stopped = true;
        None
    }

    fn mapping(&mut self, text: &'a str, at: usize, depth: usize) -> Option<Value> {
        let Members(members) = self.inner(text, at)?;
        let mut pairs = Pairs::default();
        for (key, value) in members {
            let at = self.offset(key);
            let key = self.inner(key.get(), at).map(|text| Key { at, text });
            let value = self.node(value, depth + 1);
            if let (Some(key), Some(value)) = (key, value) {
                pairs.push(key, value, self.intake);
            }
        }
        Some(pairs.into_value())
    }

    /// Parses a part of the text. The only thing that can still be wrong with it is half a surrogate pair in a string.
    fn inner<T: Deserialize<'a>>(&mut self, text: &'a str, at: usize) -> Option<T> {
        serde_json::from_str(text)
            .map_err(|error| self.intake.problem(at, LineProblemKind::NotJson { reason: reason(&error) }))
            .ok()
    }

    /// Where in the text a part of it is.
    fn offset(&self, raw: &RawValue) -> usize {
        raw.get().as_ptr().addr() - self.text.as_ptr().addr()
    }
}

struct Items<'a>(Vec<&'a RawValue>);

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'a> Deserialize<'a> for Items<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'a> Visitor<'a> for Collect {
            type Value = Items<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Items<'a>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = array.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(Collect)
    }
}

/// Unlike a map, all of them, with places for the keys as well.
impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'a> Visitor<'a> for Collect {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

pub(super) fn write(prepared: &[Prepared<'_>], form: Form) -> Zeroizing<String> {
    exact::text(&By(|f: &mut fmt::Formatter<'_>| match form {
        Form::Full => full(prepared, f),
        Form::Flat | Form::Plain => flat(prepared, form, f),
    }))
}

fn flat(prepared: &[Prepared<'_>], form: Form, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    let mut separator = "";
    // Null would let it be declared where it is read.
    for each in prepared.iter().filter(|each| !each.variable.removed) {
        write!(f, "{separator}\n  {}: {}", Quoted(each.name()), Member(each, form))?;
        separator = ",";
    }
    f.write_str(if separator.is_empty() { "}\n" } else { "\n}\n" })
}

fn full(prepared: &[Prepared<'_>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{{\n  \"{VERSION_FIELD}\": {VERSION},\n  \"{VARIABLES_FIELD}\": {{")?;
    for (index, each) in prepared.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let variable = each.variable;
        if variable.removed {
            write!(f, "{separator}\n    {}: {{\n      \"removed\": true\n    }}", Quoted(each.name()))?;
            continue;
        }
        write!(f, "{separator}\n    {}: {{\n      \"value\": {}", Quoted(each.name()), Member(each, Form::Full))?;
        if variable.literal {
            f.write_str(",\n      \"literal\": true")?;
        }
        write!(f, ",\n      \"type\": \"{}\"", variable.kind)?;
        write!(f, ",\n      \"secret\": {},\n      \"required\": {}", variable.secret, variable.required)?;
        write!(f, ",\n      \"description\": {}", Quoted(&variable.description))?;
        if let Some(origin) = &variable.origin {
            write!(f, ",\n      \"origin\": {}", Quoted(&OneLine(origin).to_string()))?;
        }
        f.write_str("\n    }")?;
    }
    f.write_str(if prepared.is_empty() { "}\n}\n" } else { "\n  }\n}\n" })
}

/// A value in a form.
struct Member<'p>(&'p Prepared<'p>, Form);

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match document::told(self.0, self.1) {
            None => f.write_str("null"),
            Some(text) => Quoted(&text).fmt(f),
        }
    }
}
