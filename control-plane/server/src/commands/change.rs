//! Answers of a control plane that keeps a change until somebody approves it.

use serde_json::Value;

use super::output;
use crate::cli::Output;
use crate::console;

const FIELDS: [output::Column; 8] = [
    ("id", "/id"),
    ("status", "/status"),
    ("risk", "/risk"),
    ("author", "/author"),
    ("message", "/message"),
    ("approver's role", "/approverRole"),
    ("expires", "/expiresAt"),
    ("made on generation", "/baseGeneration"),
];

/// Whether an answer is a change instead of what was made of one.
pub(crate) fn is_change(answer: &Value) -> bool {
    answer["id"].as_str().is_some_and(|id| id.starts_with("chg_"))
}

/// Says of what a command has changed what it came to: `made`, or that it awaits approval.
pub(crate) fn told(output: Output, answer: &Value, made: &[output::Column]) -> anyhow::Result<()> {
    if is_change(answer) { awaits(output, answer) } else { output::item(output, answer, made) }
}

/// Says that a change is not published yet, and how it will be.
pub(crate) fn awaits(output: Output, change: &Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return output::json(change);
    }
    show(change)?;
    if change["status"] == "open" {
        let id = change["id"].as_str().unwrap_or_default();
        console::line(format_args!(
            "\nnot published: somebody else has to approve it, with `outrigger env approve {id}`"
        ))?;
    }
    Ok(())
}

/// Shows a change to a person.
pub(crate) fn show(change: &Value) -> anyhow::Result<()> {
    output::item(Output::Table, change, &FIELDS)?;
    for reason in change["reasons"].as_array().into_iter().flatten() {
        let (risk, text) = (&reason["risk"], &reason["reason"]);
        let (risk, text) = (risk.as_str().unwrap_or_default(), text.as_str().unwrap_or_default());
        console::line(format_args!("  {risk}: {text}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_told_from_what_was_made() {
        assert!(is_change(&json!({ "id": "chg_0123", "status": "open" })));
        for made in [json!({ "generation": 7 }), json!({ "id": "env_0123" }), json!(null)] {
            assert!(!is_change(&made), "{made}");
        }
    }
}
