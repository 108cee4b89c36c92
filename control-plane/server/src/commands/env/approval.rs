//! `outrigger env protect`, `changes`, `approve` and `reject`.

use serde_json::{Value, json};

use super::{ENVIRONMENT, Target, compare};
use crate::cli::{Output, Remote};
use crate::client::Body;
use crate::commands::{change, output, prompt};
use crate::console;

const CHANGES: [output::Column; 6] = [
    ("id", "/id"),
    ("risk", "/risk"),
    ("author", "/author"),
    ("created", "/createdAt"),
    ("expires", "/expiresAt"),
    ("message", "/message"),
];
const DECIDED: [output::Column; 5] = [
    ("id", "/id"),
    ("status", "/status"),
    ("author", "/author"),
    ("by", "/decision/by"),
    ("generation", "/decision/generation"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Risk {
    Low,
    Medium,
    High,
}

impl Risk {
    const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProtectArguments {
    /// Changes of this risk and above have to be approved
    #[arg(long, value_enum, value_name = "RISK", required_unless_present = "none", conflicts_with = "none")]
    from: Option<Risk>,
    /// No change has to be approved any more
    #[arg(long)]
    none: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChangesArguments {
    /// Show this change with all that it would do, instead of listing those that await approval
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArguments {
    /// The change, `chg_…`
    id: String,
    /// Why, for the audit log
    #[arg(long, short, default_value = "")]
    reason: String,
    /// Publish it without anybody else's approval, because it cannot wait: owners only, and with --reason
    #[arg(long, requires = "reason")]
    r#override: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RejectArguments {
    /// The change, `chg_…`
    id: String,
    /// Why, for the audit log
    #[arg(long, short, default_value = "")]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn protect(arguments: ProtectArguments) -> anyhow::Result<()> {
    let ProtectArguments { from, none: _, target } = arguments;
    let (client, path) = target.path().await?;
    let body = json!({ "approval": from.map(|risk| json!({ "from": risk.name() })) });
    let answer = client.call(reqwest::Method::PUT, &path, Body::Json(body)).await?;
    change::told(target.remote.output, &answer, &ENVIRONMENT)
}

pub(super) async fn changes(arguments: ChangesArguments) -> anyhow::Result<()> {
    let ChangesArguments { id, target } = arguments;
    let output = target.remote.output;
    let Some(id) = id else {
        let (client, path) = target.path().await?;
        return output::list(output, &client.list(&format!("{path}/changes")).await?, &CHANGES);
    };
    let change = target.remote.client()?.get(&path_of(&id)?).await?;
    if output == Output::Json { output::json(&change) } else { show(change) }
}

pub(super) async fn approve(arguments: ApproveArguments) -> anyhow::Result<()> {
    let ApproveArguments { id, reason, r#override: is_override, yes, remote } = arguments;
    let (client, path) = (remote.client()?, path_of(&id)?);
    // Nobody should approve what they have not seen.
    if remote.output == Output::Table && !yes && prompt::is_interactive() {
        show(client.get(&path).await?)?;
        anyhow::ensure!(prompt::confirm("Publish this change?")?, "not approved");
    }
    let body = json!({ "reason": reason, "override": is_override });
    let decided = client.post(&format!("{path}/approve"), body).await?;
    output::item(remote.output, &decided, &DECIDED)
}

pub(super) async fn reject(arguments: RejectArguments) -> anyhow::Result<()> {
    let RejectArguments { id, reason, remote } = arguments;
    let path = path_of(&id)?;
    let decided = remote.client()?.post(&format!("{path}/reject"), json!({ "reason": reason })).await?;
    output::item(remote.output, &decided, &DECIDED)
}

fn path_of(id: &str) -> anyhow::Result<String> {
    let is_id = id.starts_with("chg_") && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    anyhow::ensure!(is_id, "`{id}` is not the id of a change, which begins with `chg_`");
    Ok(format!("/api/config/changes/{id}"))
}

/// A change with what it would do, for a person.
fn show(mut change: Value) -> anyhow::Result<()> {
    change::show(&change)?;
    let review = change["review"].take();
    // One that is decided changes nothing any more.
    let Some(fields) = review["environment"].as_array() else { return Ok(()) };
    console::line(format_args!(""))?;
    if !fields.is_empty() {
        let columns = [("field", "/field"), ("before", "/before"), ("after", "/after")];
        output::list(Output::Table, fields, &columns)?;
    }
    let mut differences = review["differences"].as_array().cloned().unwrap_or_default();
    if !differences.is_empty() {
        compare::table(&mut differences)?;
    }
    let outdated = review["outdated"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let outdated: Vec<&str> = outdated.collect();
    if !outdated.is_empty() {
        let outdated = outdated.join(", ");
        console::line(format_args!("changed since, so that it cannot be approved: {outdated}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_a_change_becomes_a_path() {
        assert_eq!(path_of("chg_01ab").unwrap(), "/api/config/changes/chg_01ab");
        for bad in ["env_01ab", "chg_../x", "", "chg_a?b"] {
            assert!(path_of(bad).is_err(), "{bad}");
        }
    }
}
