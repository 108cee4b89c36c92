//! `outrigger env …`

mod approval;
pub(super) mod compare;
mod edit;
mod files;
mod manage;
pub(super) mod set;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{change, id, output, resolve};
use crate::cli::{Output, Remote};
use crate::client::{Body, Client};
use crate::console;

/// Which environment a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// Project, by id or name
    #[arg(long, short, value_name = "PROJECT", env = "OUTRIGGER_PROJECT")]
    project: String,
    /// Environment, by id, name, stage (development, staging, production) or `stage/name`
    #[arg(long, short, value_name = "ENVIRONMENT", default_value = "production")]
    environment: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum EnvCommand {
    /// Create an environment of a project
    Create {
        /// Its name
        name: String,
        /// development, staging or production
        #[arg(long, default_value = "production")]
        stage: String,
        #[arg(long, short, value_name = "PROJECT", env = "OUTRIGGER_PROJECT")]
        project: String,
        /// Environment whose variables this one begins with, by id, name, stage or `stage/name`
        #[arg(long, value_name = "ENVIRONMENT")]
        extends: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the environments of a project
    All(manage::AllArguments),
    /// Change an environment's name, its description, or whether it is active
    Update(manage::UpdateArguments),
    /// Delete an environment that no deployment uses and no other one depends on
    Delete(manage::DeleteArguments),
    /// Have an environment begin with the variables of another one, or of none any more
    Extend {
        /// By id, name, stage or `stage/name`
        #[arg(value_name = "ENVIRONMENT", required_unless_present = "none", conflicts_with = "none")]
        base: Option<String>,
        /// Extend none any more
        #[arg(long)]
        none: bool,
        #[command(flatten)]
        target: Target,
    },
    /// List the variables; a secret's value shows as (hidden), and as - while it has none; what is inherited and removed
    /// here as (removed)
    List {
        /// As programs get them: inherited and expanded, with the environment that each value comes from
        #[arg(long)]
        effective: bool,
        /// As they were in this generation
        #[arg(long, value_name = "NUMBER", conflicts_with = "at")]
        generation: Option<u64>,
        /// As they were at this time, such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the generations, newest first
    History {
        #[command(flatten)]
        target: Target,
    },
    /// Compare generations or environments; of a secret it only shows that it is different
    ///
    /// `diff` shows the newest change, `diff 3 7` what changed between two generations, and `diff staging production` what
    /// programs get differently in two environments.
    Diff {
        #[arg(value_name = "GENERATION|ENVIRONMENT", num_args = 0..=2)]
        sides: Vec<String>,
        /// Compare what programs get, of generations too
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Take over the variables of a file, all in one generation
    Import(files::ImportArguments),
    /// Write the variables as a file to standard output
    Export(files::ExportArguments),
    /// Go back to the variables of an old generation, in a new one
    Rollback {
        generation: u64,
        /// Only if this is still the newest generation
        #[arg(long, value_name = "NUMBER")]
        if_match: Option<u64>,
        /// Why, for the history
        #[arg(long, short, default_value = "")]
        message: String,
        #[command(flatten)]
        target: Target,
    },
    /// Set variables, all in one generation
    Set(set::SetArguments),
    /// Change the variables in an editor ($VISUAL, $EDITOR), all in one generation
    Edit(edit::EditArguments),
    /// Remove variables, all in one generation
    Unset {
        /// What the environment itself says of them: variables, or that inherited ones are removed
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// Do not have what is inherited under these names; `unset` without it lets it in again
        #[arg(long)]
        inherited: bool,
        #[arg(long, short, default_value = "")]
        message: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show a secret's value; this is written to the audit log
    Reveal {
        key: String,
        /// As programs get it, inherited and expanded
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Have changes of an environment approved by somebody else before they are published
    Protect(approval::ProtectArguments),
    /// List the changes that await approval, or show one of them
    Changes(approval::ChangesArguments),
    /// Publish a change that somebody else asked for
    Approve(approval::ApproveArguments),
    /// Say no to a change, or take your own back
    Reject(approval::RejectArguments),
}

/// Stands in the table for a value that is there and is not shown.
const HIDDEN: &str = "(hidden)";
/// Stands in the table for what an environment does not have, although it inherits it.
const REMOVED: &str = "(removed)";

const VARIABLES: [output::Column; 6] = [
    ("key", "/key"),
    ("value", "/value"),
    ("type", "/variableType"),
    ("required", "/isRequired"),
    ("generation", "/changedIn"),
    ("description", "/description"),
];
const EFFECTIVE: [output::Column; 6] = [
    ("key", "/key"),
    ("value", "/value"),
    ("origin", "/origin/name"),
    ("overrides", "/overrides"),
    ("references", "/references"),
    ("type", "/variableType"),
];
const ENVIRONMENT: [output::Column; 6] = [
    ("id", "/id"),
    ("stage", "/environment"),
    ("name", "/name"),
    ("extends", "/extends"),
    ("generation", "/generation"),
    ("approval from", "/approval/from"),
];
const HISTORY: [output::Column; 5] = [
    ("generation", "/generation"),
    ("created", "/createdAt"),
    ("author", "/author"),
    ("approved by", "/approvedBy"),
    ("message", "/message"),
];
const GENERATION: [output::Column; 3] =
    [("generation", "/generation"), ("content", "/contentHash"), ("created", "/createdAt")];

pub(crate) async fn run(command: EnvCommand) -> anyhow::Result<()> {
    match command {
        EnvCommand::Create { name, stage, project, extends, remote } => {
            let client = remote.client()?;
            let project = resolve(&client, "/api/projects", &project, "project").await?;
            let path = format!("/api/config/projects/{}/environments", id(&project)?);
            let base = match extends {
                Some(base) => Some(find_environment(&client, &project, &base).await?),
                None => None,
            };
            let extends = base.as_ref().map(id).transpose()?;
            let body = json!({ "environment": stage, "name": name, "extends": extends });
            let environment = client.post(&path, body).await?;
            output::item(remote.output, &environment, &ENVIRONMENT)
        }
        EnvCommand::All(arguments) => manage::all(arguments).await,
        EnvCommand::Update(arguments) => manage::update(arguments).await,
        EnvCommand::Delete(arguments) => manage::delete(arguments).await,
        EnvCommand::Extend { base, none: _, target } => {
            let (client, project) = target.project().await?;
            let environment = find_environment(&client, &project, &target.environment).await?;
            let base = match base {
                Some(base) => Some(find_environment(&client, &project, &base).await?),
                None => None,
            };
            let body = json!({ "extends": base.as_ref().map(id).transpose()? });
            let path = format!("/api/config/environments/{}", id(&environment)?);
            let environment = client.call(reqwest::Method::PUT, &path, Body::Json(body)).await?;
            change::told(target.remote.output, &environment, &ENVIRONMENT)
        }
        EnvCommand::List { effective, generation, at, target } => {
            let (client, path) = target.variables().await?;
            let generation = generation.map(|number| format!("generation={number}"));
            // The `+` of an offset is a blank in a query.
            let at = at.map(|time| format!("at={}", time.replace('+', "%2B")));
            let query: Vec<String> =
                [format!("effective={effective}")].into_iter().chain(generation).chain(at).collect();
            let mut variables = client.list(&format!("{path}?{}", query.join("&"))).await?;
            if target.remote.output == Output::Table {
                variables.iter_mut().for_each(name_hidden);
                variables.iter_mut().for_each(name_origins);
            }
            output::list(target.remote.output, &variables, if effective { &EFFECTIVE } else { &VARIABLES })
        }
        EnvCommand::History { target } => {
            let (client, path) = target.path().await?;
            output::list(target.remote.output, &client.list(&format!("{path}/versions")).await?, &HISTORY)
        }
        EnvCommand::Diff { sides, effective, target } => compare::run(&sides, effective, &target).await,
        EnvCommand::Import(arguments) => files::import(arguments).await,
        EnvCommand::Export(arguments) => files::export(arguments).await,
        EnvCommand::Rollback { generation, if_match, message, target } => {
            let (client, path) = target.path().await?;
            let body = json!({ "generation": generation, "message": message });
            let generation = client.post_if(&format!("{path}/rollback"), Body::Json(body), if_match).await?;
            change::told(target.remote.output, &generation, &GENERATION)
        }
        EnvCommand::Set(arguments) => set::run(arguments).await,
        EnvCommand::Edit(arguments) => edit::run(arguments).await,
        EnvCommand::Unset { keys, inherited: false, message, target } => {
            target.patch(json!({ "message": message, "delete": keys }), None).await
        }
        EnvCommand::Unset { keys, inherited: true, message, target } => {
            let variables: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "removed": true })).collect();
            target.patch(json!({ "message": message, "variables": variables }), None).await
        }
        EnvCommand::Reveal { key, effective, target } => {
            let (client, path) = target.variables().await?;
            let answer = client.post(&format!("{path}/{key}/reveal"), json!({ "effective": effective })).await?;
            if target.remote.output == Output::Json {
                return output::json(&answer);
            }
            console::line(format_args!("{}", answer["value"].as_str().context("the answer has no value")?))?;
            Ok(())
        }
        EnvCommand::Protect(arguments) => approval::protect(arguments).await,
        EnvCommand::Changes(arguments) => approval::changes(arguments).await,
        EnvCommand::Approve(arguments) => approval::approve(arguments).await,
        EnvCommand::Reject(arguments) => approval::reject(arguments).await,
    }
}

impl Target {
    async fn project(&self) -> anyhow::Result<(Client, Value)> {
        let client = self.remote.client()?;
        let project = resolve(&client, "/api/projects", &self.project, "project").await?;
        Ok((client, project))
    }

    /// The client and the path of the environment.
    async fn path(&self) -> anyhow::Result<(Client, String)> {
        let (client, project) = self.project().await?;
        let environment = find_environment(&client, &project, &self.environment).await?;
        let path = format!("/api/config/environments/{}", id(&environment)?);
        Ok((client, path))
    }

    /// The client and the path of the environment's variables.
    async fn variables(&self) -> anyhow::Result<(Client, String)> {
        let (client, path) = self.path().await?;
        Ok((client, format!("{path}/variables")))
    }

    async fn patch(&self, body: Value, if_match: Option<u64>) -> anyhow::Result<()> {
        let (client, path) = self.variables().await?;
        let generation = client.call_if(reqwest::Method::PATCH, &path, Body::Json(body), if_match).await?;
        change::told(self.remote.output, &generation, &GENERATION)
    }
}

/// Tells a value that is there and not shown from one that is not there, and from a variable that is not to be there,
/// which are all null.
fn name_hidden(variable: &mut Value) {
    if variable["removed"] == true {
        variable["value"] = REMOVED.into();
        // Those of what is not there say nothing.
        (variable["variableType"], variable["isRequired"]) = (Value::Null, Value::Null);
    } else if variable["masked"] == true {
        variable["value"] = HIDDEN.into();
    }
}

/// Names the environments that a value comes from instead of describing them.
fn name_origins(variable: &mut Value) {
    let name = |source: &Value| source["name"].as_str().or(source["id"].as_str()).unwrap_or_default().to_owned();
    let overrides: Vec<String> = variable["overrides"].as_array().into_iter().flatten().map(name).collect();
    let reference = |one: &Value| format!("{}/{}", name(&one["environment"]), one["key"].as_str().unwrap_or_default());
    let references: Vec<String> = variable["references"].as_array().into_iter().flatten().map(reference).collect();
    variable["overrides"] = overrides.join(", ").into();
    variable["references"] = references.join(", ").into();
}

/// An environment of a project, by id, name, stage or `stage/name`.
async fn find_environment(client: &Client, project: &Value, wanted: &str) -> anyhow::Result<Value> {
    let environments = client.list(&format!("/api/config/projects/{}/environments", id(project)?)).await?;
    find_among(&environments, wanted).cloned()
}

fn find_among<'a>(environments: &'a [Value], wanted: &str) -> anyhow::Result<&'a Value> {
    let is_called = |environment: &&Value| {
        let named = ["id", "name", "environment"].iter().any(|field| environment[*field] == wanted);
        named || label(environment) == wanted
    };
    let found: Vec<&Value> = environments.iter().filter(is_called).collect();
    match found.as_slice() {
        [environment] => Ok(environment),
        [] if environments.is_empty() => {
            anyhow::bail!("the project has no environments yet; make one with `outrigger env create`")
        }
        [] => anyhow::bail!("the project has no environment `{wanted}`; it has {}", labels(environments)),
        several => {
            anyhow::bail!("several environments match `{wanted}`: name one of {}", labels(several.iter().copied()))
        }
    }
}

/// `stage/name`, by which an environment is told from the others of its project.
fn label(environment: &Value) -> String {
    let part = |field: &str| environment[field].as_str().unwrap_or_default();
    format!("{}/{}", part("environment"), part("name"))
}

/// The first few of them, for an error.
fn labels<'a>(environments: impl IntoIterator<Item = &'a Value>) -> String {
    const SHOWN: usize = 10;
    let all: Vec<String> = environments.into_iter().map(|environment| format!("`{}`", label(environment))).collect();
    let more = if all.len() > SHOWN { format!(" and {} more", all.len() - SHOWN) } else { String::new() };
    format!("{}{more}", all[..all.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_with_a_value_is_told_from_one_without() {
        let mut set = json!({ "key": "A", "value": null, "masked": true });
        name_hidden(&mut set);
        assert_eq!(set["value"], HIDDEN);
        let mut removed = json!({ "key": "A", "value": null, "masked": false, "removed": true });
        name_hidden(&mut removed);
        assert_eq!(removed["value"], REMOVED);
        for mut other in [json!({ "value": null, "masked": false }), json!({ "value": "x", "masked": false })] {
            let before = other.clone();
            name_hidden(&mut other);
            assert_eq!(other, before);
        }
    }

    #[test]
    fn an_environment_that_is_not_told_from_others_is_refused_with_their_names() {
        let environment = |stage: &str, name: &str| json!({ "id": name, "environment": stage, "name": name });
        let all = [environment("staging", "eu"), environment("staging", "us"), environment("production", "main")];
        for wanted in ["main", "production", "production/main"] {
            assert_eq!(find_among(&all, wanted).unwrap()["name"], "main", "{wanted}");
        }
        let error = |all: &[Value], wanted: &str| find_among(all, wanted).unwrap_err().to_string();
        assert_eq!(
            error(&all, "staging"),
            "several environments match `staging`: name one of `staging/eu`, `staging/us`"
        );
        assert!(error(&all, "prod").ends_with("it has `staging/eu`, `staging/us`, `production/main`"));
        assert!(error(&[], "production").contains("outrigger env create"));
        let many: Vec<Value> = (0..12).map(|number| environment("staging", &number.to_string())).collect();
        assert!(error(&many, "staging").ends_with("`staging/9` and 2 more"));
    }
}
