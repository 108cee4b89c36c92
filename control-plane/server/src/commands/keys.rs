//! `outrigger keys …`

mod progress;

use std::time::Duration;

use anyhow::{Context as _, bail};
use outrigger_protocol::id::ProjectId;
use serde_json::{Value, json};

use self::progress::Progress;
use super::{id, output, resolve};
use crate::cli::{Output, Remote};
use crate::client::{Client, ClientError};
use crate::console;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeysCommand {
    /// List the master key and the data keys of all projects: what they have sealed, and which should be replaced
    List {
        /// Only this project's: id, or the name of one of your own
        #[arg(long)]
        project: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Replace a key; what is sealed under the old one is sealed anew in the background
    Rotate {
        #[command(flatten)]
        wanted: Wanted,
        /// Wait until the old key is not needed any more, and show how far that is
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Wanted {
    /// The data key of this project: id, or the name of one of your own
    #[arg(long)]
    project: Option<String>,
    /// The data keys of all projects, one after the other
    #[arg(long)]
    all: bool,
    /// The master key; the control plane reads the next one from where its settings say
    #[arg(long)]
    master: bool,
}

const KEYS: &str = "/api/admin/keys";
/// Between two looks at a rotation.
const LOOK: Duration = Duration::from_millis(300);
/// How long a control plane may be away while it is waited for: it goes on where it was.
const AWAY: Duration = Duration::from_secs(60);

const COLUMNS: [output::Column; 8] = [
    ("project", "/project"),
    ("key", "/id"),
    ("state", "/state"),
    ("created", "/createdAt"),
    ("encryptions", "/encryptions"),
    ("rows", "/rows"),
    ("due", "/due"),
    ("rotation", "/rotation"),
];

const ROTATION: [output::Column; 6] = [
    ("rotation", "/id"),
    ("kind", "/kind"),
    ("project", "/projectId"),
    ("state", "/state"),
    ("sealed anew", "/done"),
    ("unreadable", "/unreadable"),
];

pub(crate) async fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::List { project, remote } => list(project.as_deref(), &remote).await,
        KeysCommand::Rotate { wanted, wait, remote } => rotate(&wanted, wait, &remote).await,
    }
}

async fn list(project: Option<&str>, remote: &Remote) -> anyhow::Result<()> {
    let client = remote.client()?;
    let path = match project {
        Some(wanted) => format!("{KEYS}?projectId={}", project_id(&client, wanted).await?),
        None => KEYS.to_owned(),
    };
    let projects = client.list(&path).await?;
    let master = client.get(&format!("{KEYS}/master")).await?;
    if remote.output == Output::Json {
        return output::json(&json!({ "master": master, "projects": projects }));
    }
    output::list(Output::Table, &projects.iter().flat_map(rows).collect::<Vec<_>>(), &COLUMNS)?;
    let name = master["name"].as_str().context("the answer has no master key")?;
    match (master["retiring"].as_str(), told(&master["rotation"])) {
        (Some(old), how_far) => {
            console::line(format_args!(
                "\nmaster key {name}, taking over from {old}: {}",
                how_far.unwrap_or_default()
            ))?;
        }
        (None, _) => console::line(format_args!("\nmaster key {name}"))?,
    }
    Ok(())
}

/// A row for each key of a project; what becomes of them stands beside the one that is brought in.
fn rows(project: &Value) -> Vec<Value> {
    let keys = project["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |key: &Value| {
        let mut row = key.clone();
        row["project"] = project["project"].clone();
        row["due"] = if key["due"] == true { json!("due") } else { Value::Null };
        if key["id"] == project["rotation"]["id"] {
            row["rotation"] = json!(told(&project["rotation"]));
        }
        row
    };
    keys.iter().map(row).collect()
}

/// How far a rotation is; nothing when it is over.
fn told(rotation: &Value) -> Option<String> {
    if rotation["state"] != "running" {
        return None;
    }
    Some(match rotation["total"].as_u64() {
        Some(total) => format!("{} of {total}", rotation["done"]),
        None => "counting".to_owned(),
    })
}

async fn rotate(wanted: &Wanted, wait: bool, remote: &Remote) -> anyhow::Result<()> {
    let client = remote.client()?;
    let mut bodies = Vec::new();
    if let Some(project) = &wanted.project {
        let id = project_id(&client, project).await?;
        bodies.push((project.clone(), json!({ "kind": "data", "projectId": id })));
    } else if wanted.all {
        for project in client.list(KEYS).await? {
            let id = project["projectId"].as_str().context("the answer has no project")?;
            let name = project["project"].as_str().unwrap_or(id).to_owned();
            bodies.push((name, json!({ "kind": "data", "projectId": id })));
        }
    } else {
        bodies.push(("master key".to_owned(), json!({ "kind": "master" })));
    }
    let mut rotations = Vec::with_capacity(bodies.len());
    for (what, body) in bodies {
        let mut rotation = client.post(&format!("{KEYS}/rotate"), body).await?;
        if wait {
            rotation = finished(&client, rotation, &what).await?;
        }
        rotations.push(rotation);
    }
    match (remote.output, rotations.as_slice()) {
        (output, [one]) if !wanted.all => output::item(output, one, &ROTATION)?,
        (output, all) => output::list(output, all, &ROTATION)?,
    }
    if wanted.master && wait && remote.output == Output::Table {
        eprintln!(
            "\nThe next master key is the master key now. Start the control plane again before the next rotation, with \
             this key as the present one in its settings; where the keys lie in the data directory, that start renames \
             them. Keep the old key for as long as there are backups from its time."
        );
    }
    let unreadable: u64 = rotations.iter().filter_map(|rotation| rotation["unreadable"].as_u64()).sum();
    if unreadable > 0 {
        bail!("{unreadable} rows do not open and are left as they were; the control plane's log tells more");
    }
    Ok(())
}

/// Waits for the end of a rotation.
async fn finished(client: &Client, mut rotation: Value, what: &str) -> anyhow::Result<Value> {
    let path = format!("{KEYS}/rotations/{}", id(&rotation)?);
    let mut progress = Progress::to_stderr(what);
    let mut seen = tokio::time::Instant::now();
    while rotation["state"] == "running" {
        progress.show(rotation["done"].as_u64().unwrap_or_default(), rotation["total"].as_u64())?;
        tokio::time::sleep(LOOK).await;
        match client.get(&path).await {
            Ok(found) => {
                rotation = found;
                seen = tokio::time::Instant::now();
            }
            Err(ClientError::Unreachable { .. }) if seen.elapsed() < AWAY => {}
            Err(error) => return Err(error.into()),
        }
    }
    progress.end(rotation["done"].as_u64().unwrap_or_default())?;
    Ok(rotation)
}

/// An id as it is, or the id of a project of the caller's own organisation by its name.
async fn project_id(client: &Client, wanted: &str) -> anyhow::Result<String> {
    if wanted.parse::<ProjectId>().is_ok() {
        return Ok(wanted.to_owned());
    }
    Ok(id(&resolve(client, "/api/projects", wanted, "project").await?)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_row_and_a_rotation_stands_beside_the_new_one() {
        let project = json!({
            "project": "shop",
            "keys": [
                { "id": "key_1", "state": "retiring", "due": false },
                { "id": "key_2", "state": "active", "due": true },
            ],
            "rotation": { "id": "key_2", "state": "running", "done": 3, "total": 10 },
        });
        let rows = rows(&project);
        assert_eq!(
            (&rows[0]["project"], &rows[0]["rotation"], &rows[0]["due"]),
            (&json!("shop"), &Value::Null, &Value::Null)
        );
        assert_eq!((&rows[1]["rotation"], &rows[1]["due"]), (&json!("3 of 10"), &json!("due")));
        assert_eq!(told(&json!({ "state": "running", "done": 0, "total": null })).as_deref(), Some("counting"));
        assert_eq!(told(&json!({ "state": "done", "done": 3, "total": 3 })), None);
        assert_eq!(told(&Value::Null), None);
    }
}
