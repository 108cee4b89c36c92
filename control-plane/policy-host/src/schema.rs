//! A policy's JSON Schema, and configurations held against it.
//!
//! The schema comes from an untrusted guest and runs outside its sandbox, so what it may cost is bounded before it is
//! built: references only to places within it, never in a circle, and no more than [`SCHEMA_NODES`] nodes once all
//! of them are followed. Patterns run on the engine that is linear in its input.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::judge::cut;
use crate::limits::{PROBLEMS, SCHEMA_NODES, TEXT_BYTES};

/// Characters of a configuration that are repeated in a problem with it.
const ECHO_CHARS: usize = 100;

/// Something wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// What, in words.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(path: String, message: String) -> Self {
        Self { path: cut(path, TEXT_BYTES), message: cut(message, TEXT_BYTES) }
    }
}

/// A schema that this host does not work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("it is neither an object nor a truth value")]
    NotASchema,
    #[error("`{reference}` does not lead to a place within the schema")]
    Reference { reference: String },
    #[error("`{reference}` leads back to itself")]
    Circle { reference: String },
    #[error("a schema within it has an `$id` of its own")]
    EmbeddedId,
    #[error("it has more than {SCHEMA_NODES} nodes once its references are followed")]
    TooLarge,
    #[error("{0}")]
    Invalid(String),
}

/// A schema, ready to be asked.
#[derive(Debug)]
pub(crate) struct ConfigSchema(Validator);

impl ConfigSchema {
    pub(crate) fn parse(text: &str) -> Result<Self, SchemaError> {
        let schema: Value =
            serde_json::from_str(text).map_err(|error| SchemaError::NotJson(cut(error.to_string(), TEXT_BYTES)))?;
        if !schema.is_object() && !schema.is_boolean() {
            return Err(SchemaError::NotASchema);
        }
        Expansion { root: &schema, nodes: 0, following: Vec::new() }.visit(&schema)?;
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex().size_limit(1 << 20).dfa_size_limit(1 << 20))
            .build(&schema)
            .map(Self)
            .map_err(|error| SchemaError::Invalid(cut(error.to_string(), TEXT_BYTES)))
    }

    /// Everything about `config` that the schema does not allow, up to [`PROBLEMS`].
    pub(crate) fn problems(&self, config: &Value) -> Vec<Problem> {
        self.0
            .iter_errors(config)
            .take(PROBLEMS)
            .map(|error| Problem::new(error.instance_path().to_string(), message(&error)))
            .collect()
    }
}

/// What is wrong: what the schema expects, with the beginning of what is there instead. All of it may be the whole
/// configuration, and would leave no room for the rest of the sentence.
fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::PropertyNames { error } => message(error),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!("has properties that are not allowed: {}", beginning(unexpected.join(", ")))
        }
        _ => error.masked_with(beginning(error.instance().to_string())).to_string(),
    }
}

fn beginning(text: String) -> String {
    match text.char_indices().nth(ECHO_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A walk over a schema that follows its references, to see what checking against it can cost.
struct Expansion<'a> {
    root: &'a Value,
    nodes: usize,
    following: Vec<&'a str>,
}

impl<'a> Expansion<'a> {
    fn visit(&mut self, node: &'a Value) -> Result<(), SchemaError> {
        self.nodes += 1;
        if self.nodes > SCHEMA_NODES {
            return Err(SchemaError::TooLarge);
        }
        match node {
            Value::Array(items) => items.iter().try_for_each(|item| self.visit(item)),
            Value::Object(members) => members.iter().try_for_each(|(name, value)| match (name.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => self.follow(reference),
                // From there on references would be counted from another place than the root.
                ("$id", Value::String(_)) if !std::ptr::eq(node, self.root) => Err(SchemaError::EmbeddedId),
                _ => self.visit(value),
            }),
            _ => Ok(()),
        }
    }

    fn follow(&mut self, reference: &'a str) -> Result<(), SchemaError> {
        let named = || cut(reference.to_owned(), TEXT_BYTES);
        if self.following.contains(&reference) {
            return Err(SchemaError::Circle { reference: named() });
        }
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or_else(|| SchemaError::Reference { reference: named() })?;
        self.following.push(reference);
        self.visit(target)?;
        self.following.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> SchemaError {
        ConfigSchema::parse(&schema.to_string()).expect_err("the schema is to be refused")
    }

    #[test]
    fn every_problem_of_a_configuration_is_named_with_its_place() {
        let schema = json!({
            "type": "object",
            "required": ["goal"],
            "additionalProperties": false,
            "properties": {
                "goal": { "$ref": "#/$defs/percent" },
                "window": { "type": "string", "pattern": "^[0-9]+s$" },
            },
            "$defs": { "percent": { "type": "number", "maximum": 100 } },
        });
        let schema = ConfigSchema::parse(&schema.to_string()).unwrap();
        assert_eq!(schema.problems(&json!({ "goal": 70, "window": "30s" })), []);
        let problems = schema.problems(&json!({ "goal": 700, "window": "soon", "gaol": 1 }));
        let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["", "/goal", "/window"]);
        assert!(problems.iter().any(|problem| problem.message.contains("gaol")), "{problems:?}");
    }

    #[test]
    fn a_problem_says_what_is_expected_and_repeats_the_beginning_of_what_is_there() {
        let schema = json!({
            "additionalProperties": false,
            "propertyNames": { "maxLength": 2000 },
            "properties": { "goal": { "type": "number" }, "window": { "anyOf": [{ "type": "string" }] } },
        });
        let schema = ConfigSchema::parse(&schema.to_string()).unwrap();
        let message = |config: Value| schema.problems(&config).remove(0).message;
        assert_eq!(message(json!({ "goal": "7" })), r#""7" is not of type "number""#);
        let long = "é".repeat(60_000);
        for config in [json!({ "goal": long }), json!({ "window": [long] }), json!({ long.as_str(): 1 })] {
            let message = message(config);
            let repeated = message.chars().filter(|c| *c == 'é').count();
            assert!((50..=ECHO_CHARS).contains(&repeated) && message.contains('…'), "{message}");
        }
        assert!(message(json!({ "goal": [long] })).ends_with(r#"is not of type "number""#));
    }

    #[test]
    fn references_out_of_the_schema_or_in_a_circle_are_refused() {
        let far = refused(&json!({ "$ref": "https://example.org/schema.json" }));
        assert!(matches!(far, SchemaError::Reference { .. }), "{far:?}");
        let nowhere = refused(&json!({ "$ref": "#/$defs/none" }));
        assert!(matches!(nowhere, SchemaError::Reference { .. }), "{nowhere:?}");
        let embedded = refused(&json!({ "items": { "$id": "urn:other", "$ref": "#/$defs/a" } }));
        assert_eq!(embedded, SchemaError::EmbeddedId);
        let circle = refused(&json!({ "$defs": { "a": { "items": { "$ref": "#/$defs/a" } } }, "$ref": "#/$defs/a" }));
        assert!(matches!(circle, SchemaError::Circle { .. }), "{circle:?}");
    }

    #[test]
    fn a_schema_that_doubles_at_every_level_is_refused_at_once() {
        let mut definitions = serde_json::Map::new();
        definitions.insert("d0".to_owned(), json!({ "type": "string" }));
        for level in 1..60 {
            let below = format!("#/$defs/d{}", level - 1);
            definitions.insert(format!("d{level}"), json!({ "allOf": [{ "$ref": below }, { "$ref": below }] }));
        }
        assert_eq!(refused(&json!({ "$defs": definitions, "$ref": "#/$defs/d59" })), SchemaError::TooLarge);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        assert!(matches!(ConfigSchema::parse("{"), Err(SchemaError::NotJson(_))));
        assert_eq!(refused(&json!(7)), SchemaError::NotASchema);
        assert!(matches!(refused(&json!({ "type": "nombre" })), SchemaError::Invalid(_)));
        assert!(matches!(refused(&json!({ "pattern": "(a" })), SchemaError::Invalid(_)));
    }
}
