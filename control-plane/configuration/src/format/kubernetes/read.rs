use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{API_VERSION, CONFIG_MAP, SECRET};
use crate::format::intake::Intake;
use crate::format::problem::LineProblemKind;
use crate::format::tree::{Key, Node, Value};
use crate::format::variable::ParsedVariable;

const LISTS: [&str; 3] = ["List", "ConfigMapList", "SecretList"];

const OBJECT: LineProblemKind =
    LineProblemKind::Expected { expected: "an object of Kubernetes with `kind` and `data`" };
const KIND: LineProblemKind = LineProblemKind::Expected { expected: "the kind ConfigMap, Secret or List" };
const VERSION: LineProblemKind = LineProblemKind::Expected { expected: "the version v1" };
const STRING: LineProblemKind = LineProblemKind::Expected { expected: "a string, as Kubernetes does; quote the value" };
const KEYS_TO_STRINGS: LineProblemKind = LineProblemKind::Expected { expected: "a mapping of names to strings" };

/// Where the values of a field come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    ConfigData,
    SecretData,
    SecretText,
}

pub(in crate::format) fn read(documents: Vec<Node>, intake: &mut Intake<'_>) {
    let mut has_object = false;
    for document in documents {
        // A `---` with nothing behind it is how many a file ends.
        if !matches!(document.value, Value::Null) {
            has_object = true;
            object(document, intake);
        }
    }
    if !has_object && !intake.has_problems() {
        intake.problem(0, OBJECT);
    }
}

fn object(node: Node, intake: &mut Intake<'_>) {
    let Value::Mapping(fields) = node.value else { return intake.problem(node.at, OBJECT) };
    match text_of(&fields, "apiVersion") {
        Some((_, API_VERSION)) => {}
        Some((at, _)) => intake.problem(at, VERSION),
        None => intake.problem(node.at, LineProblemKind::MissingField { field: "apiVersion" }),
    }
    let Some((at, kind)) = text_of(&fields, "kind") else {
        return intake.problem(node.at, LineProblemKind::MissingField { field: "kind" });
    };
    match kind {
        CONFIG_MAP => config_map(fields, intake),
        SECRET => secret(fields, intake),
        kind if LISTS.contains(&kind) => list(fields, intake),
        _ => intake.problem(at, KIND),
    }
}

/// The text of a field, and where it is. One that is no text is taken for an empty one.
fn text_of<'f>(fields: &'f [(Key, Node)], name: &str) -> Option<(usize, &'f str)> {
    let (_, node) = fields.iter().find(|(key, _)| key.text == name)?;
    Some((node.at, if let Value::Text(text) = &node.value { text } else { "" }))
}

fn config_map(fields: Vec<(Key, Node)>, intake: &mut Intake<'_>) {
    for (key, node) in fields {
        match key.text.as_str() {
            "apiVersion" | "kind" | "metadata" | "immutable" => {}
            "data" => data(node, Field::ConfigData, intake),
            "binaryData" => binary_data(key.at, &node, intake),
            _ => {
                let known = "`data`, `binaryData`, `immutable`, `metadata`, `kind` and `apiVersion`";
                intake.problem(key.at, LineProblemKind::UnknownField { known });
            }
        }
    }
}

fn secret(fields: Vec<(Key, Node)>, intake: &mut Intake<'_>) {
    for (key, node) in fields {
        match key.text.as_str() {
            "apiVersion" | "kind" | "metadata" | "immutable" | "type" => {}
            "data" => data(node, Field::SecretData, intake),
            "stringData" => data(node, Field::SecretText, intake),
            "binaryData" => binary_data(key.at, &node, intake),
            _ => {
                let known = "`data`, `stringData`, `immutable`, `type`, `metadata`, `kind` and `apiVersion`";
                intake.problem(key.at, LineProblemKind::UnknownField { known });
            }
        }
    }
}

fn list(fields: Vec<(Key, Node)>, intake: &mut Intake<'_>) {
    for (key, node) in fields {
        match (key.text.as_str(), node.value) {
            ("apiVersion" | "kind" | "metadata", _) => {}
            ("items", Value::Sequence(items)) => items.into_iter().for_each(|item| object(item, intake)),
            ("items", _) => intake.problem(node.at, LineProblemKind::Expected { expected: "a sequence of objects" }),
            _ => {
                let known = "`items`, `metadata`, `kind` and `apiVersion`";
                intake.problem(key.at, LineProblemKind::UnknownField { known });
            }
        }
    }
}

fn binary_data(at: usize, node: &Node, intake: &mut Intake<'_>) {
    let is_empty = match &node.value {
        Value::Null => true,
        Value::Mapping(pairs) => pairs.is_empty(),
        _ => false,
    };
    if !is_empty {
        intake.problem(at, LineProblemKind::BinaryData);
    }
}

fn data(node: Node, field: Field, intake: &mut Intake<'_>) {
    let pairs = match node.value {
        Value::Mapping(pairs) => pairs,
        Value::Null => return,
        _ => return intake.problem(node.at, KEYS_TO_STRINGS),
    };
    for (key, node) in pairs {
        let Value::Text(text) = node.value else {
            intake.problem(node.at, STRING);
            continue;
        };
        let value = if field == Field::SecretData { decode(&text, node.at, intake) } else { Some(text) };
        let mut variable = ParsedVariable::new(key.text, value);
        variable.literal = true;
        variable.secret = Some(field != Field::ConfigData);
        intake.variable(key.at, variable);
    }
}

/// Base64 as Kubernetes reads it: with padding, and with line breaks anywhere (Go's `encoding/base64`).
fn decode(text: &str, at: usize, intake: &mut Intake<'_>) -> Option<Zeroizing<String>> {
    let encoded: Zeroizing<Vec<u8>> = Zeroizing::new(text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect());
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let Ok(length) = STANDARD.decode_slice(&*encoded, &mut decoded) else {
        intake.problem(at, LineProblemKind::NotBase64);
        return None;
    };
    match str::from_utf8(&decoded[..length]) {
        Ok(text) => Some(Zeroizing::new(text.to_owned())),
        Err(_) => {
            intake.problem(at, LineProblemKind::BinaryValue);
            None
        }
    }
}
