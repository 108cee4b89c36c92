//! Bodies in JSON: what is wrong with one, told by field and without the value, which may be a secret in the wrong place.

use serde::de::DeserializeOwned;

use super::shown;
use crate::error::{ApiError, Detail};

/// Reads an object. A value of a wrong shape is a validation problem with its field; text that is not JSON is malformed.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut source = serde_json::Deserializer::from_slice(bytes);
    // A list would do for a derived struct, with its fields by their place.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        return match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => Err(ApiError::validation(vec![Detail::new("body", "has to be an object")])),
            Err(error) => Err(malformed(&error)),
        };
    }
    let value = serde_path_to_error::deserialize(&mut source).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() { ApiError::validation(vec![detail(&path, &error.to_string())]) } else { malformed(&error) }
    })?;
    source.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Errors of syntax name a place and never quote the text.
fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::malformed(format!("the body is not valid JSON: {error}"))
}

fn detail(path: &str, error: &str) -> Detail {
    let text = error.rsplit_once(" at line ").map_or(error, |(text, _)| text);
    let (name, problem) = problem(text);
    let field = match name {
        None if path == "." => "body".to_owned(),
        None => path.to_owned(),
        Some(name) if path == "." => name,
        Some(name) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
    };
    Detail::new(shown(&field), problem)
}

/// Serde's words in ours: the field, where they name one, and the problem without the value that had it.
pub(super) fn problem(text: &str) -> (Option<String>, String) {
    let quoted = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('`')).map(str::to_owned);
    if let Some(name) = quoted("missing field `") {
        return (Some(name), "is required".to_owned());
    }
    if let Some(name) = quoted("duplicate field `") {
        return (Some(name), "is given twice".to_owned());
    }
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (name, known) = rest.rsplit_once("`, expected ").map_or((rest, None), |(name, known)| (name, Some(known)));
        let name = name.split("`, there are no fields").next().unwrap_or(name).to_owned();
        let known = known.map(|known| format!("; known: {}", known.trim_start_matches("one of "))).unwrap_or_default();
        return (Some(name), format!("is not a field of this request{known}"));
    }
    if text.starts_with("has to be ") {
        return (None, text.to_owned());
    }
    // The standard library's words, of parameters in a query.
    match text {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            return (None, "has to be a whole number".to_owned());
        }
        "number too large to fit in target type" => return (None, "is too large a number".to_owned()),
        "provided string was not `true` or `false`" => return (None, "has to be true or false".to_owned()),
        _ => {}
    }
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| expected);
    (None, expected.map_or_else(|| "cannot be read".to_owned(), |expected| format!("has to be {}", plain(expected))))
}

/// What Rust calls a type, as a person calls it.
fn plain(expected: &str) -> &str {
    match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") || other.contains("tagged enum ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "inner")]
        _inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "count")]
        _count: u32,
    }

    fn refusal(body: &str) -> String {
        read::<Outer>(body.as_bytes()).unwrap_err().error
    }

    #[test]
    fn a_problem_is_told_with_the_path_to_its_field() {
        for (body, words) in [
            (r#"{}"#, "name is required"),
            (r#"{"name":"x","inner":{}}"#, "inner.count is required"),
            (
                r#"{"name":"x","inner":{"count":4294967296}}"#,
                "inner.count has to be a whole number from 0 to 4294967295",
            ),
            (r#"{"name":"x","inner":{"count":1,"more":2}}"#, "inner.more is not a field of this request"),
            (r#"{"name":"x","other":1}"#, "other is not a field of this request; known: `name`"),
            (r#"{"name":"x","name":"y"}"#, "name is given twice"),
            (r#"{"name":1}"#, "name has to be a string"),
            (r#"["x"]"#, "body has to be an object"),
            (r#"{"name":"x"} {}"#, "not valid JSON"),
            ("{", "not valid JSON"),
            (" ", "not valid JSON"),
        ] {
            assert!(refusal(body).contains(words), "{body}: {}", refusal(body));
        }
    }

    #[test]
    fn a_value_is_never_repeated_and_a_name_is_cut_short() {
        for body in [
            r#"{"name":"x","inner":"hunter2"}"#,
            r#"{"name":["hunter2"]}"#,
            r#"{"name":"x","inner":{"count":"hunter2, expected nothing"}}"#,
        ] {
            assert!(!refusal(body).contains("hunter2"), "{}", refusal(body));
        }
        let long = format!(r#"{{"{}":1}}"#, "n".repeat(100_000));
        assert!(refusal(&long).len() < 1_000);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!(r#"{{"name":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(refusal(&deep).contains("has to be a string"), "{}", refusal(&deep));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(refusal(&deep).contains("body has to be an object"), "{}", refusal(&deep));
        let deep = format!(r#"{{"any":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let error = read::<serde_json::Value>(deep.as_bytes()).unwrap_err().error;
        assert!(error.contains("recursion limit"), "{error}");
    }
}
