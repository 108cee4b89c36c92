//! `outrigger project …`

use serde_json::json;

use super::{id, output, resolve};
use crate::cli::Remote;
use crate::client::Body;
use crate::console;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ProjectCommand {
    /// List the projects
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a project
    Create {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete a project that has no deployments, and with it its secrets for good
    Delete {
        /// Id or name
        project: String,
        #[command(flatten)]
        remote: Remote,
    },
}

const COLUMNS: [output::Column; 4] =
    [("id", "/id"), ("name", "/name"), ("description", "/description"), ("created", "/createdAt")];

pub(crate) async fn run(command: ProjectCommand) -> anyhow::Result<()> {
    match command {
        ProjectCommand::List { remote } => {
            let projects = remote.client()?.list("/api/projects").await?;
            output::list(remote.output, &projects, &COLUMNS)
        }
        ProjectCommand::Create { name, description, remote } => {
            let body = json!({ "name": name, "description": description });
            let project = remote.client()?.post("/api/projects", body).await?;
            output::item(remote.output, &project, &COLUMNS)
        }
        ProjectCommand::Delete { project, remote } => {
            let client = remote.client()?;
            let project = resolve(&client, "/api/projects", &project, "project").await?;
            let path = format!("/api/projects/{}", id(&project)?);
            client.call(reqwest::Method::DELETE, &path, Body::None).await?;
            console::line(format_args!("deleted {}", id(&project)?))?;
            Ok(())
        }
    }
}
