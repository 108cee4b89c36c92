//! `outrigger rollout watch`: what happens, as it happens.

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{progress, resolve};
use crate::cli::Output;
use crate::client::{Client, ClientError};
use crate::console::{self, ConsoleError};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);
/// How long the control plane may be away, for a restart.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a terminal that does not say how wide it is.
const USUAL_WIDTH: usize = 80;

/// How long a rollout may take to begin after its generation was published.
const BEGINNING: Duration = Duration::from_secs(10);

/// The rollout of the newest generation of a deployment's environment: somebody may have published it just now.
///
/// # Errors
/// When it does not begin.
pub(super) async fn begun(client: &Client, deployment: &str) -> anyhow::Result<String> {
    let found = resolve(client, "/api/deployments", deployment, "deployment").await?;
    let environment = found["environmentId"].as_str().context("a deployment without an environment")?;
    let environment = client.get(&format!("/api/config/environments/{environment}")).await?;
    let generation = environment["generation"].as_u64().unwrap_or_default();
    let deadline = Instant::now() + BEGINNING;
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let newest = super::newest(client, deployment).await?;
        let reached = |rollout: &&Value| {
            let numbers = [&rollout["generation"], &rollout["restoredAs"]];
            numbers.into_iter().filter_map(Value::as_u64).any(|number| number >= generation)
        };
        if let Some(rollout) = newest.as_ref().filter(reached) {
            return Ok(super::id(rollout)?.to_owned());
        }
        if Instant::now() > deadline {
            let status = &found["status"].as_str().unwrap_or_default();
            bail!("generation {generation} is not rolled out to `{deployment}`, which is {status}");
        }
    }
}

/// Follows a rollout until it has ended, and of a `deployment` also those that supersede it.
///
/// # Errors
/// When it was rolled back or has failed, or cannot be followed any further.
pub(crate) async fn follow(
    client: &Client,
    mut id: String,
    deployment: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    loop {
        let ended = until_ended(client, &id, &mut Screen::open(output)).await?;
        let next = match deployment {
            Some(deployment) if is(&ended, "superseded") => super::newest(client, deployment).await?,
            _ => None,
        };
        match next.map(|next| super::id(&next).map(str::to_owned)).transpose()?.filter(|next| *next != id) {
            Some(next) => id = next,
            None => return conclude(&ended, output),
        }
    }
}

fn is(rollout: &Value, state: &str) -> bool {
    rollout["state"] == state
}

async fn until_ended(client: &Client, id: &str, screen: &mut Screen) -> anyhow::Result<Value> {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away_since = None;
    loop {
        looks.tick().await;
        match client.get(&super::path(id)).await {
            Ok(rollout) => {
                away_since = None;
                screen.show(&rollout)?;
                if !rollout["endedAt"].is_null() {
                    return Ok(rollout);
                }
            }
            Err(error) if is_away(&error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it may be back soon.
fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { status, .. } => status.as_u16() == 503,
        _ => false,
    }
}

fn conclude(rollout: &Value, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        super::output::json(rollout)?;
    }
    let reason = rollout["reason"].as_str().unwrap_or("no reason given");
    let generation = &rollout["generation"];
    if is(rollout, "rolled-back") {
        let restored = &rollout["restoredAs"];
        bail!("generation {generation} was rolled back, as generation {restored}: {reason}");
    }
    if is(rollout, "failed") {
        bail!("generation {generation} has failed: {reason}");
    }
    Ok(())
}

/// Where it is shown.
enum Screen {
    /// Lines, and below them one that is written over.
    Terminal(Story),
    Lines(Story),
    /// A program reads the end.
    Silent,
}

impl Screen {
    fn open(output: Output) -> Self {
        match output {
            Output::Json => Self::Silent,
            Output::Table if stdout().is_terminal() => Self::Terminal(Story::default()),
            Output::Table => Self::Lines(Story::default()),
        }
    }

    fn show(&mut self, rollout: &Value) -> Result<(), ConsoleError> {
        match self {
            Self::Silent => Ok(()),
            Self::Lines(story) => {
                story.news(rollout).into_iter().try_for_each(|line| console::line(format_args!("{line}")))
            }
            Self::Terminal(story) => {
                let told: String = story.news(rollout).into_iter().map(|line| format!("{line}\n")).collect();
                // The last column stays free: some terminals wrap when it is written.
                let line = if rollout["endedAt"].is_null() {
                    progress::line(rollout, width().saturating_sub(1))
                } else {
                    String::new()
                };
                console::text(&format!("{ERASE_LINE}{told}{line}"))
            }
        }
    }
}

/// To the first column, and everything from there on is erased (ECMA-48: CR, EL).
const ERASE_LINE: &str = "\r\x1b[K";

fn width() -> usize {
    let width = rustix::termios::tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_col));
    if width == 0 { USUAL_WIDTH } else { width }
}

/// What of a timeline was told already.
#[derive(Debug, Default)]
struct Story {
    last: Option<Value>,
}

impl Story {
    /// A line for each entry that is new. A long timeline loses entries in its middle, so they are not counted.
    fn news(&mut self, rollout: &Value) -> Vec<String> {
        let entries = rollout["timeline"].as_array().map_or(&[][..], Vec::as_slice);
        let told = self.last.as_ref().and_then(|last| entries.iter().rposition(|entry| entry == last));
        let new = &entries[told.map_or(0, |at| at + 1)..];
        self.last = entries.last().cloned();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        new.iter().map(|entry| format!("{:24}  {}", text(&entry["at"]), text(&entry["message"]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(number: u32) -> Value {
        json!({ "at": format!("2026-01-31T12:00:00.00{number}Z"), "message": format!("thing {number}") })
    }

    #[test]
    fn every_entry_is_told_once_also_when_the_middle_is_forgotten() {
        let mut story = Story::default();
        assert_eq!(story.news(&json!({ "timeline": [entry(1), entry(2)] })).len(), 2);
        assert!(story.news(&json!({ "timeline": [entry(1), entry(2)] })).is_empty());
        let news = story.news(&json!({ "timeline": [entry(1), entry(2), entry(3)] }));
        assert_eq!(news, ["2026-01-31T12:00:00.003Z  thing 3"]);
        let news = story.news(&json!({ "timeline": [entry(1), entry(3), entry(4), entry(5)] }));
        assert_eq!(news, ["2026-01-31T12:00:00.004Z  thing 4", "2026-01-31T12:00:00.005Z  thing 5"]);
    }

    #[test]
    fn a_rollback_and_a_failure_are_failures_of_the_command() {
        let ended = |state: &str| {
            let rollout = json!({ "state": state, "generation": 4, "restoredAs": 5, "reason": "it crashed" });
            conclude(&rollout, Output::Table).map_err(|error| error.to_string())
        };
        assert_eq!(ended("completed"), Ok(()));
        assert_eq!(ended("superseded"), Ok(()));
        let told = "generation 4 was rolled back, as generation 5: it crashed";
        assert_eq!(ended("rolled-back"), Err(told.to_owned()));
        assert_eq!(ended("failed"), Err("generation 4 has failed: it crashed".to_owned()));
    }
}
