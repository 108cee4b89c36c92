//! `outrigger env …`

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{id, output, resolve};
use crate::cli::Remote;
use crate::client::{Body, Client};
use crate::console;

/// Which environment a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// Project, by id or name
    #[arg(long, short, value_name = "PROJECT", env = "OUTRIGGER_PROJECT")]
    project: String,
    /// Environment, by id, name or stage (development, staging, production)
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
        #[command(flatten)]
        remote: Remote,
    },
    /// List the variables; secrets are masked
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Set variables, all in one generation
    Set {
        /// KEY=VALUE; `KEY=@FILE` takes the value from a file and `KEY=-` from standard input
        #[arg(required = true, value_name = "KEY=VALUE")]
        assignments: Vec<String>,
        /// Keep the values encrypted and never show them again
        #[arg(long, short)]
        secret: bool,
        /// A deployment does not start without these
        #[arg(long)]
        required: bool,
        /// string, number, boolean, json, url or secret
        #[arg(long, value_name = "TYPE")]
        r#type: Option<String>,
        /// Why, for the history
        #[arg(long, short, default_value = "")]
        message: String,
        #[command(flatten)]
        target: Target,
    },
    /// Remove variables, all in one generation
    Unset {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[arg(long, short, default_value = "")]
        message: String,
        #[command(flatten)]
        target: Target,
    },
    /// Show a secret's value; this is written to the audit log
    Reveal {
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

const VARIABLES: [output::Column; 6] = [
    ("key", "/key"),
    ("value", "/value"),
    ("type", "/variableType"),
    ("required", "/isRequired"),
    ("generation", "/changedIn"),
    ("description", "/description"),
];
const ENVIRONMENT: [output::Column; 4] =
    [("id", "/id"), ("stage", "/environment"), ("name", "/name"), ("generation", "/generation")];
const GENERATION: [output::Column; 3] =
    [("generation", "/generation"), ("content", "/contentHash"), ("created", "/createdAt")];

pub(crate) async fn run(command: EnvCommand) -> anyhow::Result<()> {
    match command {
        EnvCommand::Create { name, stage, project, remote } => {
            let client = remote.client()?;
            let project = resolve(&client, "/api/projects", &project, "project").await?;
            let path = format!("/api/config/projects/{}/environments", id(&project)?);
            let environment = client.post(&path, json!({ "environment": stage, "name": name })).await?;
            output::item(remote.output, &environment, &ENVIRONMENT)
        }
        EnvCommand::List { target } => {
            let (client, path) = target.variables().await?;
            output::list(target.remote.output, &client.list(&path).await?, &VARIABLES)
        }
        EnvCommand::Set { assignments, secret, required, r#type, message, target } => {
            let variables = assignments
                .iter()
                .map(|text| assignment(text, secret, required, r#type.as_deref()))
                .collect::<anyhow::Result<Vec<_>>>()?;
            target.patch(json!({ "message": message, "variables": variables })).await
        }
        EnvCommand::Unset { keys, message, target } => {
            target.patch(json!({ "message": message, "delete": keys })).await
        }
        EnvCommand::Reveal { key, target } => {
            let (client, path) = target.variables().await?;
            let answer = client.post(&format!("{path}/{key}/reveal"), json!({})).await?;
            console::line(format_args!("{}", answer["value"].as_str().context("the answer has no value")?))?;
            Ok(())
        }
    }
}

impl Target {
    /// The client and the path of the environment's variables.
    async fn variables(&self) -> anyhow::Result<(Client, String)> {
        let client = self.remote.client()?;
        let project = resolve(&client, "/api/projects", &self.project, "project").await?;
        let list = format!("/api/config/projects/{}/environments", id(&project)?);
        let environments = client.list(&list).await?;
        let named =
            |e: &&Value| ["id", "name", "environment"].iter().any(|field| e[*field] == self.environment.as_str());
        let mut found = environments.iter().filter(named);
        let environment = match (found.next(), found.next()) {
            (Some(environment), None) => environment,
            (None, _) => anyhow::bail!("the project has no environment `{}`", self.environment),
            (Some(_), Some(_)) => {
                anyhow::bail!("several environments match `{}`; use a name or an id", self.environment)
            }
        };
        Ok((client, format!("/api/config/environments/{}/variables", id(environment)?)))
    }

    async fn patch(&self, body: Value) -> anyhow::Result<()> {
        let (client, path) = self.variables().await?;
        let generation = client.call(reqwest::Method::PATCH, &path, Body::Json(body)).await?;
        output::item(self.remote.output, &generation, &GENERATION)
    }
}

fn assignment(text: &str, secret: bool, required: bool, kind: Option<&str>) -> anyhow::Result<Value> {
    let (key, value) = text.split_once('=').with_context(|| format!("`{text}` is not KEY=VALUE"))?;
    let value = match value.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
        None if value == "-" => std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?,
        None => value.to_owned(),
    };
    // What is not said stays as it is.
    let mut variable = json!({ "key": key, "value": value });
    if required {
        variable["isRequired"] = true.into();
    }
    if secret {
        variable["isEncrypted"] = true.into();
    }
    if let Some(kind) = kind.or(secret.then_some("secret")) {
        variable["variableType"] = kind.into();
    }
    Ok(variable)
}
