//! `outrigger env all`, `update` and `delete`: environments themselves, not their variables.

use reqwest::Method;
use serde_json::{Map, Value};

use super::{ENVIRONMENT, Target};
use crate::cli::{Output, Remote};
use crate::client::Body;
use crate::commands::{change, id, output, resolve};
use crate::console;

#[derive(Debug, clap::Args)]
pub(crate) struct AllArguments {
    /// Project, by id or name
    #[arg(long, short, value_name = "PROJECT", env = "OUTRIGGER_PROJECT")]
    project: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub(crate) struct UpdateArguments {
    /// What it is called from now on
    #[arg(long, group = "change")]
    name: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", group = "change")]
    description: Option<String>,
    /// Whether its stage alone may stand for it
    #[arg(long, value_name = "BOOL", group = "change")]
    active: Option<bool>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    target: Target,
}

const ALL: [output::Column; 8] = [
    ("stage", "/environment"),
    ("name", "/name"),
    ("id", "/id"),
    ("active", "/isActive"),
    ("extends", "/extends"),
    ("generation", "/generation"),
    ("approval from", "/approval/from"),
    ("description", "/description"),
];

pub(super) async fn all(arguments: AllArguments) -> anyhow::Result<()> {
    let client = arguments.remote.client()?;
    let project = resolve(&client, "/api/projects", &arguments.project, "project").await?;
    let mut environments = client.list(&format!("/api/config/projects/{}/environments", id(&project)?)).await?;
    if arguments.remote.output == Output::Table {
        name_bases(&mut environments);
    }
    output::list(arguments.remote.output, &environments, &ALL)
}

pub(super) async fn update(arguments: UpdateArguments) -> anyhow::Result<()> {
    let (client, path) = arguments.target.path().await?;
    let given = [
        ("name", arguments.name.map(Value::from)),
        ("description", arguments.description.map(Value::from)),
        ("isActive", arguments.active.map(Value::from)),
    ];
    let body: Map<String, Value> =
        given.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))).collect();
    let environment = client.call(Method::PUT, &path, Body::Json(Value::Object(body))).await?;
    change::told(arguments.target.remote.output, &environment, &ENVIRONMENT)
}

pub(super) async fn delete(arguments: DeleteArguments) -> anyhow::Result<()> {
    let (client, path) = arguments.target.path().await?;
    client.call(Method::DELETE, &path, Body::None).await?;
    console::line(format_args!("deleted {}", arguments.target.environment))?;
    Ok(())
}

/// Names what environments extend instead of giving its id.
fn name_bases(environments: &mut [Value]) {
    let labels: Vec<(Value, String)> =
        environments.iter().map(|environment| (environment["id"].clone(), super::label(environment))).collect();
    for environment in environments {
        if let Some((_, label)) = labels.iter().find(|(id, _)| *id == environment["extends"]) {
            environment["extends"] = label.as_str().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_base_is_told_by_its_name() {
        let mut environments = vec![
            json!({ "id": "env_1", "environment": "production", "name": "base", "extends": null }),
            json!({ "id": "env_2", "environment": "staging", "name": "eu", "extends": "env_1" }),
            json!({ "id": "env_3", "environment": "staging", "name": "us", "extends": "env_4" }),
        ];
        name_bases(&mut environments);
        let bases: Vec<&Value> = environments.iter().map(|environment| &environment["extends"]).collect();
        assert_eq!(bases, [&Value::Null, &json!("production/base"), &json!("env_4")]);
    }
}
