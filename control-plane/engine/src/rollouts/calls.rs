//! What people ask for.

use std::sync::Arc;

use outrigger_catalog::model::{self, Actor, Deployment, DeploymentStatus, Role};
use outrigger_catalog::{CatalogError, Page};
use outrigger_protocol::id::{DeploymentId, RolloutId};
use outrigger_rollout::Command;
use tokio::sync::oneshot;

use super::{Handle, Message, RolloutView};
use crate::core::Core;
use crate::error::EngineError;

/// Failures that one answer names.
const FAILURES_TOLD: usize = 100;

/// The newest rollout of a deployment as it is now; `None` unless it is started.
pub(crate) async fn view_of(
    core: &Core,
    actor: &Actor,
    deployment: &Deployment,
) -> Result<Option<RolloutView>, CatalogError> {
    if !deployment.status.is_started() {
        return Ok(None);
    }
    let rollout = match core.rollouts.shown(deployment.id) {
        Some(shown) => Some(shown),
        // The control plane has just been started, or the deployment has.
        None => {
            let newest = Page { limit: Some(1), cursor: None };
            core.catalog.rollouts(actor, deployment.id, newest).await?.items.pop()
        }
    };
    Ok(rollout.map(|rollout| viewed(core, rollout)))
}

/// With what the agents say.
fn viewed(core: &Core, rollout: model::Rollout) -> RolloutView {
    let newest = rollout.restored_as.unwrap_or(rollout.generation);
    let live = core.ingest.live(rollout.deployment);
    let refused = live.into_iter().filter_map(|live| {
        let failure = live.config.last_failed.filter(|failure| failure.config.generation == newest)?;
        Some((live.instance, failure.error))
    });
    RolloutView { failed: refused.take(FAILURES_TOLD).collect(), rollout }
}

/// A rollout of any time.
pub(crate) async fn read(core: &Core, actor: &Actor, id: RolloutId) -> Result<RolloutView, EngineError> {
    let kept = core.catalog.rollout(actor, id).await?;
    let shown = core.rollouts.shown(kept.deployment).filter(|shown| shown.id == id);
    Ok(viewed(core, shown.unwrap_or(kept)))
}

/// Somebody decides about a rollout.
pub(crate) async fn command(
    core: &Arc<Core>,
    actor: &Actor,
    id: RolloutId,
    command: Command,
) -> Result<RolloutView, EngineError> {
    require(core, actor)?;
    let deployment = core.catalog.rollout(actor, id).await?.deployment;
    let over = || EngineError::state(format!("cannot {}: the rollout has ended", command.name()));
    let handle = core.rollouts.of(core, deployment).ok_or_else(over)?;
    let rollout =
        ask(&handle, |answer| Message::Command { id, command, actor: Box::new(actor.clone()), answer }).await?;
    Ok(viewed(core, rollout))
}

/// Somebody asks for a push.
pub(crate) async fn push_now(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<RolloutView, EngineError> {
    require(core, actor)?;
    let deployment = core.catalog.deployment(actor, id).await?;
    if deployment.status != DeploymentStatus::Running {
        let status = deployment.status.name();
        return Err(EngineError::state(format!("the deployment is {status}: only a RUNNING one can be pushed to")));
    }
    core.roster.enter(id, deployment.organization);
    let handle = core.rollouts.of(core, id).ok_or(EngineError::Draining)?;
    let rollout = ask(&handle, |answer| Message::Push { answer }).await?;
    Ok(viewed(core, rollout))
}

fn require(core: &Core, actor: &Actor) -> Result<(), EngineError> {
    if core.cancel.is_cancelled() {
        return Err(EngineError::Draining);
    }
    if actor.role < Role::Developer {
        return Err(CatalogError::Forbidden { need: Role::Developer }.into());
    }
    Ok(())
}

async fn ask(
    handle: &Handle,
    message: impl FnOnce(super::Answer<model::Rollout>) -> Message,
) -> Result<model::Rollout, EngineError> {
    let (answer, answered) = oneshot::channel();
    handle.say(message(answer)).await?;
    answered.await.map_err(|_| EngineError::Interrupted { operation: "rolling out a configuration" })?
}
