//! `outrigger rollout …`

mod progress;
mod watch;

use outrigger_protocol::id::RolloutId;
use serde_json::{Value, json};

use super::{id, output, resolve};
use crate::cli::{Output, Remote};
use crate::client::Client;
use crate::console;

pub(crate) use watch::follow;

/// Which rollout a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// A rollout by its id, or a deployment by id or name for its newest rollout
    #[arg(value_name = "ROLLOUT|DEPLOYMENT")]
    rollout: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum RolloutCommand {
    /// List a deployment's rollouts, newest first
    List {
        /// Id or name
        deployment: String,
        /// At most this many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show where a rollout stands and what happened
    Show(Target),
    /// Follow a rollout until it has ended; exits with 1 when it was rolled back or has failed
    Watch(Target),
    /// Go on to the next step without waiting for the gate
    Promote {
        /// To the last step, not to the next
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Roll back
    Abort(Target),
    /// Take no further step until `resume`; what fails meanwhile is rolled back all the same
    Pause(Target),
    /// Go on with a paused rollout
    Resume(Target),
    /// Go on although a gate has failed, or whatever the gates will say; this is written to the audit log
    Override(Target),
}

const ROLLOUTS: [output::Column; 9] = [
    ("id", "/id"),
    ("generation", "/generation"),
    ("from", "/from"),
    ("strategy", "/strategy"),
    ("state", "/state"),
    ("step", "/progress"),
    ("instances", "/instances"),
    ("started", "/startedAt"),
    ("reason", "/reason"),
];
const ROLLOUT: [output::Column; 15] = [
    ("id", "/id"),
    ("deployment", "/deploymentId"),
    ("generation", "/generation"),
    ("from", "/from"),
    ("strategy", "/strategy"),
    ("state", "/state"),
    ("reason", "/reason"),
    ("step", "/progress"),
    ("instances", "/instances"),
    ("touched", "/touched"),
    ("restored as", "/restoredAs"),
    ("paused by", "/pausedBy"),
    ("overridden by", "/overriddenBy"),
    ("started", "/startedAt"),
    ("ended", "/endedAt"),
];
const FAILED: [output::Column; 2] = [("instance", "/instanceId"), ("error", "/error")];
const TIMELINE: [output::Column; 2] = [("at", "/at"), ("what happened", "/message")];

pub(crate) async fn run(command: RolloutCommand) -> anyhow::Result<()> {
    use RolloutCommand as C;
    match command {
        C::List { deployment, limit, remote } => {
            let client = remote.client()?;
            let path = format!("{}?limit={}", rollouts_of(&client, &deployment).await?, limit.clamp(1, PAGE));
            let mut rollouts = client.list_up_to(&path, limit).await?;
            if remote.output == Output::Table {
                rollouts.iter_mut().for_each(describe);
            }
            output::list(remote.output, &rollouts, &ROLLOUTS)
        }
        C::Show(target) => {
            let (client, id) = target.find().await?;
            let rollout = client.get(&path(&id)).await?;
            show(target.remote.output, rollout)
        }
        C::Watch(target) => {
            if target.is_rollout() {
                return follow(&target.remote.client()?, target.rollout, None, target.remote.output).await;
            }
            let client = target.remote.client()?;
            let id = watch::begun(&client, &target.rollout).await?;
            follow(&client, id, Some(&target.rollout), target.remote.output).await
        }
        C::Promote { all, target } => target.act("promote", json!({ "to": if all { "all" } else { "next" } })).await,
        C::Abort(target) => target.act("abort", json!({})).await,
        C::Pause(target) => target.act("pause", json!({})).await,
        C::Resume(target) => target.act("resume", json!({})).await,
        C::Override(target) => target.act("override", json!({})).await,
    }
}

/// The most that the API answers in one page.
const PAGE: usize = 200;

fn path(id: &str) -> String {
    format!("/api/rollouts/{id}")
}

/// The list of a deployment's rollouts.
async fn rollouts_of(client: &Client, deployment: &str) -> anyhow::Result<String> {
    let deployment = resolve(client, "/api/deployments", deployment, "deployment").await?;
    Ok(format!("/api/deployments/{}/rollouts", id(&deployment)?))
}

/// The one that began last.
async fn newest(client: &Client, deployment: &str) -> anyhow::Result<Option<Value>> {
    let path = format!("{}?limit=1", rollouts_of(client, deployment).await?);
    Ok(client.list_up_to(&path, 1).await?.pop())
}

/// Shows one to a person with everything that it tells, or to a program.
pub(crate) fn show(output: Output, mut rollout: Value) -> anyhow::Result<()> {
    if output == Output::Json {
        return output::json(&rollout);
    }
    describe(&mut rollout);
    output::item(output, &rollout, &ROLLOUT)?;
    for (part, columns) in [("failed", &FAILED), ("timeline", &TIMELINE)] {
        if let Some(rows) = rollout[part].as_array().filter(|rows| !rows.is_empty()) {
            console::line(format_args!(""))?;
            output::list(output, rows, columns)?;
        }
    }
    Ok(())
}

/// Adds what a person reads as one.
fn describe(rollout: &mut Value) {
    let (step, instances) = (progress::step(rollout), progress::instances(rollout));
    rollout["progress"] = step.into();
    rollout["instances"] = instances.into();
}

impl Target {
    fn is_rollout(&self) -> bool {
        self.rollout.parse::<RolloutId>().is_ok()
    }

    /// The client, and the id of the rollout.
    async fn find(&self) -> anyhow::Result<(Client, String)> {
        let client = self.remote.client()?;
        if self.is_rollout() {
            return Ok((client, self.rollout.clone()));
        }
        match newest(&client, &self.rollout).await? {
            Some(rollout) => Ok((client, id(&rollout)?.to_owned())),
            None => anyhow::bail!("nothing has been rolled out to `{}` yet", self.rollout),
        }
    }

    async fn act(&self, what: &str, body: Value) -> anyhow::Result<()> {
        let (client, id) = self.find().await?;
        show(self.remote.output, client.post(&format!("{}/{what}", path(&id)), body).await?)
    }
}
