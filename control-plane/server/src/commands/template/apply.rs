//! `outrigger template apply`.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::cli::{Output, Remote};
use crate::client::Body;
use crate::commands::env::{compare, set};
use crate::commands::{change, id, output, resolve};
use crate::console;

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArguments {
    #[arg(value_name = "ID")]
    template: String,
    /// Project, by id or name
    #[arg(long, short, value_name = "PROJECT", env = "OUTRIGGER_PROJECT")]
    project: String,
    /// Environment, by its stage (development, staging, production) or `stage/name`; a stage that the project has no
    /// environment of gets one
    #[arg(long, short, value_name = "STAGE[/NAME]", default_value = "production")]
    environment: String,
    /// A value: KEY=VALUE. KEY alone asks for it without showing it, or takes it from a pipe; `KEY=@FILE` takes it from a
    /// file and `KEY=-` from standard input, byte for byte
    #[arg(long, value_name = "KEY[=VALUE]")]
    set: Vec<String>,
    /// Also replace what has a value already, generated secrets included
    #[arg(long)]
    overwrite: bool,
    /// Make no random secrets; those that are required have to be set
    #[arg(long)]
    no_generate: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Only if this is still the newest generation of the environment
    #[arg(long, value_name = "NUMBER")]
    if_match: Option<u64>,
    /// Why, for the history
    #[arg(long, short, default_value = "")]
    message: String,
    #[command(flatten)]
    remote: Remote,
}

const OUTCOME: [output::Column; 4] =
    [("key", "/key"), ("origin", "/origin"), ("before", "/before"), ("after", "/after")];

pub(super) async fn run(arguments: ApplyArguments) -> anyhow::Result<()> {
    let overrides = overrides(&arguments.set)?;
    let ApplyArguments { template, project, environment, overwrite, no_generate, dry_run, .. } = arguments;
    let ApplyArguments { if_match, message, remote, .. } = arguments;
    let client = remote.client()?;
    let project = resolve(&client, "/api/projects", &project, "project").await?;
    let (stage, name) = match environment.split_once('/') {
        Some((stage, name)) => (stage, Some(name)),
        None => (environment.as_str(), None),
    };
    let body = json!({
        "templateId": template, "environment": stage, "name": name, "overrides": overrides,
        "mode": if overwrite { "overwrite" } else { "keep" }, "generate": !no_generate, "dryRun": dry_run,
        "message": message,
    });
    let path = format!("/api/config/projects/{}/apply-template", id(&project)?);
    let answer = client.post_if(&path, Body::Json(body), if_match).await?;
    match remote.output {
        Output::Json => output::json(&answer),
        Output::Table if change::is_change(&answer) => change::awaits(remote.output, &answer),
        Output::Table => tell(answer),
    }
}

fn overrides(assignments: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut overrides = Map::new();
    for (key, source) in set::sources(assignments, None, std::io::stdin().is_terminal())? {
        overrides.insert(key.to_owned(), source.value(key)?.expose().into());
    }
    Ok(overrides)
}

/// Every variable of the template on a line, if any of them is different, and what has become of all of them.
fn tell(mut answer: Value) -> anyhow::Result<()> {
    let is_changed = answer["differences"].as_array().is_some_and(|all| !all.is_empty());
    if is_changed {
        output::list(Output::Table, &rows(&mut answer), &OUTCOME)?;
    }
    let generation = answer["generation"].as_u64().context("the answer has no generation")?;
    let environment = &answer["environment"];
    let (stage, name) = (&environment["environment"], &environment["name"]);
    let label = format!("{}/{}", stage.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
    let is_new = environment["isNew"] == true;
    let outcome = match (answer["dryRun"] == true, is_new, is_changed) {
        (true, true, _) => format!("nothing was changed: this was a dry run, which would make {label}"),
        (true, false, true) => format!("nothing was changed: this was a dry run on generation {generation} of {label}"),
        (false, true, _) => format!("made {label}, generation {generation}"),
        (false, false, true) => format!("generation {generation} of {label}"),
        (_, false, false) => format!("nothing is different from generation {generation} of {label}"),
    };
    console::line(format_args!("{outcome}"))?;
    Ok(())
}

fn rows(answer: &mut Value) -> Vec<Value> {
    let mut differences: BTreeMap<String, Value> = BTreeMap::new();
    for difference in answer["differences"].as_array_mut().into_iter().flatten() {
        compare::flatten(difference);
        differences.insert(difference["key"].as_str().unwrap_or_default().to_owned(), difference.clone());
    }
    let names = |field: &str| answer[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let written = answer["written"].as_array().into_iter().flatten();
    let written = written.filter_map(|one| Some((one["key"].as_str()?, one["origin"].as_str()?)));
    let all = written.chain(names("kept").map(|key| (key, "kept"))).chain(names("unset").map(|key| (key, "not set")));
    let row = |(key, origin): (&str, &str)| {
        let difference = differences.get(key).unwrap_or(&Value::Null);
        json!({ "key": key, "origin": origin, "before": difference["before"], "after": difference["after"] })
    };
    all.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_line_and_a_secret_is_hidden() {
        let mut answer = json!({
            "written": [{ "key": "TOKEN", "origin": "generated" }, { "key": "SAME", "origin": "default" }],
            "kept": ["HOST"], "unset": ["NOTE"],
            "differences": [{ "key": "TOKEN", "before": null, "after": { "value": null, "masked": true } }],
        });
        let rows = rows(&mut answer);
        let told: Vec<_> =
            rows.iter().map(|row| (row["key"].as_str().unwrap(), row["origin"].as_str().unwrap())).collect();
        assert_eq!(told, [("TOKEN", "generated"), ("SAME", "default"), ("HOST", "kept"), ("NOTE", "not set")]);
        assert_eq!((&rows[0]["before"], &rows[0]["after"]), (&Value::Null, &json!("(hidden)")));
    }
}
