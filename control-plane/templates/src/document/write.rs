//! From a template to its canonical YAML: fields in one order, nothing that is a default.

use outrigger_protocol::environment::VariableKind;
use serde::Serialize;

use crate::generate::{Alphabet, Generator};
use crate::template::{Stage, Template, Variable};

pub(crate) fn write(template: &Template) -> String {
    serde_saphyr::to_string(&TemplateDocument::from(template)).expect("texts, flags and lists have a YAML form")
}

#[derive(Serialize)]
struct TemplateDocument<'a> {
    id: &'a str,
    name: &'a str,
    category: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<&'a str>,
    variables: Vec<VariableDocument<'a>>,
}

#[derive(Serialize)]
struct VariableDocument<'a> {
    key: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    required: bool,
    #[serde(skip_serializing_if = "is_false")]
    secret: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<DefaultDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<GenerateDocument<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    values: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DefaultDocument<'a> {
    Everywhere(&'a str),
    ByStage {
        #[serde(skip_serializing_if = "Option::is_none")]
        development: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        staging: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        production: Option<&'a str>,
    },
}

#[derive(Serialize)]
struct GenerateDocument<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    characters: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alphabet: Option<&'a str>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl<'a> From<&'a Template> for TemplateDocument<'a> {
    fn from(template: &'a Template) -> Self {
        Self {
            id: template.id(),
            name: template.name(),
            category: template.category(),
            version: template.version(),
            description: template.description(),
            documentation: template.documentation(),
            variables: template.variables().iter().map(VariableDocument::from).collect(),
        }
    }
}

impl<'a> From<&'a Variable> for VariableDocument<'a> {
    fn from(variable: &'a Variable) -> Self {
        Self {
            key: variable.key(),
            kind: variable.kind().name(),
            required: variable.is_required(),
            secret: variable.is_secret() && variable.kind() != VariableKind::Secret,
            description: variable.description(),
            documentation: variable.documentation(),
            default: default(variable),
            example: variable.example(),
            generate: variable.generate().map(GenerateDocument::from),
            values: variable.values(),
            pattern: variable.pattern().map(crate::template::Pattern::as_str),
        }
    }
}

fn default(variable: &Variable) -> Option<DefaultDocument<'_>> {
    let defaults = variable.default();
    if defaults.is_empty() {
        return None;
    }
    Some(match defaults.common() {
        Some(value) => DefaultDocument::Everywhere(value),
        None => DefaultDocument::ByStage {
            development: defaults.at(Stage::Development),
            staging: defaults.at(Stage::Staging),
            production: defaults.at(Stage::Production),
        },
    })
}

impl<'a> From<&'a Generator> for GenerateDocument<'a> {
    fn from(generator: &'a Generator) -> Self {
        let kind = generator.name();
        match generator {
            Generator::Bytes { bytes, .. } => Self { kind, bytes: Some(*bytes), characters: None, alphabet: None },
            Generator::Characters { alphabet, characters } => Self {
                kind,
                bytes: None,
                characters: Some(*characters),
                alphabet: if let Alphabet::Custom(symbols) = alphabet { Some(symbols) } else { None },
            },
        }
    }
}
