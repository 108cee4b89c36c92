//! What a JSON or YAML file of variables means.
//!
//! # Flat
//!
//! Names to values:
//!
//! ```yaml
//! PORT: 8080
//! DATABASE_URL: postgres://${DB_HOST}/app
//! ```
//!
//! | a value in the file | is |
//! |---------------------|----|
//! | text | that text; a YAML block scalar or a quoted scalar is text, and so is a plain one that is none of the following |
//! | a number, a boolean | its text, as it is in the file: `1.10` is `1.10`, and `True` is `True` |
//! | `null`, in YAML also `~` and nothing at all | no value: the variable is declared |
//! | a mapping, a sequence | compact JSON, with the type `json` |
//!
//! YAML is read as version 1.2 with the core schema: `yes`, `no`, `on`, `off` and dates are text. Anchors, aliases,
//! merge keys, tags other than `!!str`, second documents and duplicate keys are refused.
//!
//! # Full
//!
//! In an envelope, which is recognised by a field `outrigger` with a number:
//!
//! ```yaml
//! outrigger: 1
//! variables:
//!   DATABASE_URL:
//!     value: postgres://${DB_HOST}/app
//!     type: url
//!     required: true
//!   LOG_LEVEL: info
//! ```
//!
//! | field | |
//! |-------|-|
//! | `value` | as in the flat form; `null` and absence are the same |
//! | `literal` | `true`: a `${` in the value is text. False where it is absent |
//! | `type` | string, number, boolean, json, url or secret |
//! | `secret`, `required` | booleans |
//! | `description` | text |
//! | `removed` | `true`: the environment does not have what it inherits under this name. Stands alone |
//! | `origin` | text: where the value came from when the file was written. Not read |
//!
//! A mapping is always these fields; a value that is one stands under `value`.

use outrigger_protocol::environment::VariableKind;
use zeroize::Zeroizing;

use super::exact;
use super::export::{Content, Form, Prepared, Text};
use super::intake::Intake;
use super::problem::{LineProblemKind, WriteProblem, WriteProblemKind};
use super::tree::{Json, Key, Node, Value};
use super::variable::ParsedVariable;

pub(super) const VERSION_FIELD: &str = "outrigger";
pub(super) const VERSION: u32 = 1;
pub(super) const VARIABLES_FIELD: &str = "variables";

const NAMES_TO_VALUES: LineProblemKind = LineProblemKind::Expected { expected: "a mapping of names to values" };

pub(super) fn read(root: Option<Node>, intake: &mut Intake<'_>) {
    let Some(root) = root else { return };
    let Value::Mapping(pairs) = root.value else { return intake.problem(root.at, NAMES_TO_VALUES) };
    if pairs.iter().any(|(key, node)| key.text == VERSION_FIELD && matches!(node.value, Value::Number(_))) {
        envelope(root.at, pairs, intake);
    } else {
        pairs.into_iter().for_each(|(key, node)| flat(key, node, intake));
    }
}

fn flat(Key { at, text }: Key, node: Node, intake: &mut Intake<'_>) {
    let mut variable = ParsedVariable::new(text, None);
    (variable.value, variable.kind) = value(node, intake);
    intake.variable(at, variable);
}

/// A value, and its kind where its shape tells.
fn value(node: Node, intake: &mut Intake<'_>) -> (Option<Zeroizing<String>>, Option<VariableKind>) {
    match node.value {
        Value::Null => (None, None),
        Value::Text(text) | Value::Number(text) | Value::Boolean(text) => (Some(text), None),
        Value::Sequence(_) | Value::Mapping(_) => {
            let mut places = Vec::new();
            node.beyond_json(&mut places);
            let json = places.is_empty().then(|| exact::text(&Json(&node)));
            places.into_iter().for_each(|at| intake.problem(at, LineProblemKind::NoJsonNumber));
            (json, Some(VariableKind::Json))
        }
    }
}

fn envelope(at: usize, pairs: Vec<(Key, Node)>, intake: &mut Intake<'_>) {
    let mut has_variables = false;
    for (key, node) in pairs {
        match key.text.as_str() {
            VERSION_FIELD => {
                let is_known = matches!(&node.value, Value::Number(text) if **text == VERSION.to_string());
                if !is_known {
                    intake.problem(node.at, LineProblemKind::UnknownVersion { known: VERSION });
                }
            }
            VARIABLES_FIELD => {
                has_variables = true;
                match node.value {
                    Value::Mapping(variables) => variables.into_iter().for_each(|(key, node)| full(key, node, intake)),
                    _ => intake.problem(node.at, NAMES_TO_VALUES),
                }
            }
            _ => intake.problem(key.at, LineProblemKind::UnknownField { known: "`outrigger` and `variables`" }),
        }
    }
    if !has_variables {
        intake.problem(at, LineProblemKind::MissingField { field: VARIABLES_FIELD });
    }
}

fn full(key: Key, node: Node, intake: &mut Intake<'_>) {
    let Value::Mapping(fields) = node.value else { return flat(key, node, intake) };
    let mut variable = ParsedVariable::new(key.text, None);
    let is_alone = fields.len() == 1;
    for (field, node) in fields {
        let at = node.at;
        match field.text.as_str() {
            "value" => {
                let (text, shape) = value(node, intake);
                variable.value = text;
                variable.kind = variable.kind.or(shape);
            }
            "type" => variable.kind = kind(node, intake).or(variable.kind),
            "literal" => variable.literal = boolean(&node, intake).unwrap_or_default(),
            "secret" => variable.secret = boolean(&node, intake),
            "required" => variable.required = boolean(&node, intake),
            "description" => variable.description = text(node, intake),
            "removed" => variable.removed = boolean(&node, intake).unwrap_or_default(),
            "origin" if matches!(node.value, Value::Text(_)) => {}
            "origin" => intake.problem(at, LineProblemKind::Expected { expected: "text" }),
            _ => {
                let known = "`value`, `literal`, `type`, `secret`, `required`, `description`, `removed` and `origin`";
                intake.problem(field.at, LineProblemKind::UnknownField { known });
            }
        }
    }
    if variable.removed && !is_alone {
        intake.problem(key.at, LineProblemKind::Expected { expected: "`removed: true` alone, or a variable" });
    }
    intake.variable(key.at, variable);
}

fn kind(node: Node, intake: &mut Intake<'_>) -> Option<VariableKind> {
    let kind = if let Value::Text(text) = &node.value { text.parse().ok() } else { None };
    if kind.is_none() {
        let expected = "string, number, boolean, json, url or secret";
        intake.problem(node.at, LineProblemKind::Expected { expected });
    }
    kind
}

fn boolean(node: &Node, intake: &mut Intake<'_>) -> Option<bool> {
    if let Value::Boolean(text) = &node.value {
        return Some(text.eq_ignore_ascii_case("true"));
    }
    intake.problem(node.at, LineProblemKind::Expected { expected: "`true` or `false`, without quotes" });
    None
}

fn text(node: Node, intake: &mut Intake<'_>) -> Option<String> {
    if let Value::Text(mut text) = node.value {
        return Some(std::mem::take(&mut *text));
    }
    intake.problem(node.at, LineProblemKind::Expected { expected: "text; quote it" });
    None
}

/// Whether the form can carry all of them.
pub(super) fn check(prepared: &[Prepared<'_>], form: Form) -> Result<(), Vec<WriteProblem>> {
    if form != Form::Plain {
        return Ok(());
    }
    let refers = |each: &&Prepared<'_>| matches!(each.content, Content::Expression(_));
    let problems: Vec<_> =
        prepared.iter().filter(refers).map(|each| each.problem(WriteProblemKind::Reference)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The value as the form tells it; `None` where there is none.
pub(super) fn told<'p>(each: &'p Prepared<'_>, form: Form) -> Option<Text<'p>> {
    match form {
        Form::Flat => each.written(),
        Form::Plain => each.text(),
        Form::Full => each.variable.value.as_ref().map(|value| Text::Borrowed(value)),
    }
}
