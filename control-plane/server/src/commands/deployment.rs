//! `outrigger deployment …`

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{id, output, resolve, rollout};
use crate::cli::Remote;
use crate::client::{Body, Client};
use crate::console;

/// Which deployment a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// Id or name
    deployment: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeploymentCommand {
    /// List the deployments
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Create a deployment from a file, YAML or JSON, with the fields of POST /api/deployments
    Create {
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Replace a deployment's specification by a file like that of `create`; new instances use it
    Update {
        #[command(flatten)]
        target: Target,
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show how a deployment is doing
    Status(Target),
    /// Start its instances
    Start(Target),
    /// Stop all its instances
    Stop(Target),
    /// Set the number of replicas by hand
    Scale {
        #[command(flatten)]
        target: Target,
        #[arg(long, short)]
        replicas: u32,
        /// Why, for the history
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Leave the number of replicas as it is until `resume`
    Pause(Target),
    /// Scale by policies again
    Resume(Target),
    /// Delete a stopped deployment
    Delete(Target),
    /// List its instances
    Instances(Target),
    /// List the newest decisions with their reasons
    Decisions(Target),
    /// List what happened
    Events(Target),
    /// Make a one-time token with which an agent can join
    JoinToken {
        #[command(flatten)]
        target: Target,
        /// How long it may be used, such as 10m
        #[arg(long)]
        ttl: Option<String>,
    },
    /// Push the newest configuration to its instances; who did not answer it is asked again
    Reload {
        #[command(flatten)]
        target: Target,
        /// Follow the rollout until it has ended; exits with 1 when it was rolled back or has failed
        #[arg(long)]
        wait: bool,
    },
}

const DEPLOYMENTS: [output::Column; 6] = [
    ("id", "/id"),
    ("name", "/name"),
    ("status", "/status"),
    ("ready", "/readyReplicas"),
    ("desired", "/desiredReplicas"),
    ("reason", "/statusReason"),
];
const STATUS: [output::Column; 16] = [
    ("status", "/status"),
    ("reason", "/statusReason"),
    ("desired", "/desiredReplicas"),
    ("ready", "/readyReplicas"),
    ("paused", "/paused"),
    ("generation", "/config/generation"),
    ("running it", "/config/running"),
    ("pending restart", "/rollout/deferred"),
    ("refused it", "/config/failed"),
    ("rollout", "/rollout/state"),
    ("rollout's reason", "/rollout/reason"),
    ("cpu %", "/metrics/cpu"),
    ("memory %", "/metrics/memory"),
    ("requests/s", "/metrics/requests"),
    ("p95 ms", "/metrics/responseTime"),
    ("last decision", "/lastDecision/reason"),
];
const INSTANCES: [output::Column; 9] = [
    ("id", "/id"),
    ("phase", "/phase"),
    ("ready", "/ready"),
    ("program", "/program/state"),
    ("config", "/config/running"),
    ("cpu %", "/metrics/cpu"),
    ("memory %", "/metrics/memory"),
    ("requests/s", "/metrics/requests"),
    ("endpoint", "/endpoint"),
];
const DECISIONS: [output::Column; 6] = [
    ("at", "/at"),
    ("from", "/from"),
    ("to", "/to"),
    ("verdict", "/verdict"),
    ("repeats", "/repeats"),
    ("reason", "/reason"),
];
const EVENTS: [output::Column; 3] = [("at", "/at"), ("kind", "/kind"), ("message", "/message")];
const JOIN_TOKEN: [output::Column; 4] =
    [("id", "/id"), ("expires", "/expiresAt"), ("token", "/token"), ("use it with", "/command")];

pub(crate) async fn run(command: DeploymentCommand) -> anyhow::Result<()> {
    use DeploymentCommand as C;
    match command {
        C::List { remote } => {
            let deployments = remote.client()?.list("/api/deployments").await?;
            output::list(remote.output, &deployments, &DEPLOYMENTS)
        }
        C::Create { file, remote } => {
            let deployment = remote.client()?.post("/api/deployments", specification(&file)?).await?;
            output::item(remote.output, &deployment, &DEPLOYMENTS)
        }
        C::Update { target, file } => {
            let (client, path) = target.path().await?;
            let body = Body::Json(specification(&file)?);
            let deployment = client.call(reqwest::Method::PUT, &path, body).await?;
            output::item(target.remote.output, &deployment, &DEPLOYMENTS)
        }
        C::Status(target) => target.show("status", &STATUS).await,
        C::Start(target) => target.act("start", json!({}), &DEPLOYMENTS).await,
        C::Stop(target) => target.act("stop", json!({}), &DEPLOYMENTS).await,
        C::Pause(target) => target.act("pause", json!({}), &DEPLOYMENTS).await,
        C::Resume(target) => target.act("resume", json!({}), &DEPLOYMENTS).await,
        C::Scale { target, replicas, reason } => {
            target.act("scale", json!({ "replicas": replicas, "reason": reason }), &DEPLOYMENTS).await
        }
        C::Delete(target) => {
            let (client, path) = target.path().await?;
            client.call(reqwest::Method::DELETE, &path, Body::None).await?;
            console::line(format_args!("deleted {}", target.deployment))?;
            Ok(())
        }
        C::Instances(target) => target.list("instances", &INSTANCES).await,
        C::Decisions(target) => target.newest("decisions", &DECISIONS).await,
        C::Events(target) => target.newest("events", &EVENTS).await,
        C::JoinToken { target, ttl } => {
            let body = ttl.map_or_else(|| json!({}), |ttl| json!({ "ttl": ttl }));
            target.act("join-tokens", body, &JOIN_TOKEN).await
        }
        C::Reload { target, wait } => {
            let (client, path) = target.path().await?;
            let path = path.replacen("/api/deployments/", "/api/config/deployments/", 1);
            let begun = client.post(&format!("{path}/reload"), json!({})).await?;
            if wait {
                let follows = Some(target.deployment.as_str());
                return rollout::follow(&client, id(&begun)?.to_owned(), follows, target.remote.output).await;
            }
            rollout::show(target.remote.output, begun)
        }
    }
}

fn specification(file: &PathBuf) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    // YAML contains JSON, so one parser reads both.
    serde_saphyr::from_str(&text).with_context(|| format!("{} is neither YAML nor JSON", file.display()))
}

impl Target {
    async fn path(&self) -> anyhow::Result<(Client, String)> {
        let client = self.remote.client()?;
        let deployment = resolve(&client, "/api/deployments", &self.deployment, "deployment").await?;
        let path = format!("/api/deployments/{}", id(&deployment)?);
        Ok((client, path))
    }

    async fn show(&self, what: &str, fields: &[output::Column]) -> anyhow::Result<()> {
        let (client, path) = self.path().await?;
        output::item(self.remote.output, &client.get(&format!("{path}/{what}")).await?, fields)
    }

    async fn act(&self, what: &str, body: Value, fields: &[output::Column]) -> anyhow::Result<()> {
        let (client, path) = self.path().await?;
        output::item(self.remote.output, &client.post(&format!("{path}/{what}"), body).await?, fields)
    }

    async fn list(&self, what: &str, columns: &[output::Column]) -> anyhow::Result<()> {
        let (client, path) = self.path().await?;
        output::list(self.remote.output, &client.list(&format!("{path}/{what}")).await?, columns)
    }

    /// The first page, which holds the newest.
    async fn newest(&self, what: &str, columns: &[output::Column]) -> anyhow::Result<()> {
        let (client, path) = self.path().await?;
        let page = client.get(&format!("{path}/{what}?limit=50")).await?;
        output::list(self.remote.output, page.as_array().map_or(&[], Vec::as_slice), columns)
    }
}
