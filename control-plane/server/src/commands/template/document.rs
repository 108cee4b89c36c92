//! Templates as files, and as a person reads them.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use outrigger_templates::{Template, limits};
use serde_json::{Map, Value};

/// The fields of the file; the answer has more.
const FIELDS: [&str; 7] = ["id", "name", "category", "version", "description", "documentation", "variables"];

pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let limit = u64::try_from(limits::FILE_BYTES)?;
    let mut content = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(limit + 1).read_to_end(&mut content).context("cannot read standard input")?;
    } else {
        let what = || format!("cannot read {}", file.display());
        let opened = std::fs::File::open(file).with_context(what)?;
        opened.take(limit + 1).read_to_end(&mut content).with_context(what)?;
    }
    anyhow::ensure!(content.len() <= limits::FILE_BYTES, "{} has more than {limit} bytes", file.display());
    Ok(content)
}

/// The file that an answer tells of.
pub(super) fn to_yaml(answer: &Value) -> anyhow::Result<String> {
    let field = |name: &&str| Some(((*name).to_owned(), answer.get(name)?.clone()));
    let document: Map<String, Value> = FIELDS.iter().filter_map(field).collect();
    // JSON is YAML.
    let template = Template::parse(&Value::Object(document).to_string());
    Ok(template.context("the answer is not a template that this version knows")?.to_yaml())
}

/// Says in one text what the value of a variable will be, or may look like.
pub(super) fn tell_value(variable: &mut Value) {
    let told = if let Some(default) = variable.get("default") {
        match default {
            Value::Object(stages) => {
                let stages =
                    stages.iter().map(|(stage, text)| format!("{stage}: {}", text.as_str().unwrap_or_default()));
                stages.collect::<Vec<_>>().join(", ")
            }
            text => text.as_str().unwrap_or_default().to_owned(),
        }
    } else if variable.get("generate").is_some() {
        "(generated)".to_owned()
    } else if let Some(example) = variable["example"].as_str() {
        format!("such as {example}")
    } else {
        return;
    };
    variable["value"] = told.into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_becomes_the_file_again() {
        let answer = json!({
            "id": "shop", "name": "The shop", "category": "own", "version": "1.10", "official": false, "revision": 3,
            "variables": [
                { "key": "PORT", "kind": "number", "required": true, "secret": false, "default": "007" },
                { "key": "TOKEN", "kind": "secret", "required": true, "secret": true,
                  "generate": { "kind": "hex", "bytes": 32 } },
            ],
        });
        let yaml = to_yaml(&answer).unwrap();
        let template = Template::parse(&yaml).unwrap();
        assert_eq!((template.id(), template.version(), template.variables().len()), ("shop", "1.10", 2));
        assert_eq!(template.variables()[0].default().common(), Some("007"));
        assert!(to_yaml(&json!({ "id": "shop" })).is_err());
    }

    #[test]
    fn where_a_value_comes_from_is_told_in_one_text() {
        for (fields, told) in [
            (json!({ "default": "a" }), json!("a")),
            (json!({ "default": { "development": "a", "staging": "b" } }), json!("development: a, staging: b")),
            (json!({ "generate": { "kind": "hex" }, "example": "e" }), json!("(generated)")),
            (json!({ "example": "e" }), json!("such as e")),
            (json!({}), Value::Null),
        ] {
            let mut variable = fields.clone();
            tell_value(&mut variable);
            assert_eq!(variable["value"], told, "{fields}");
        }
    }
}
