//! New configuration, on its way to the deployments that run with it.
//!
//! The catalog tells which environment has changed; every deployment that runs with it is pushed to, and what its
//! agents report comes back as events. Which generation an agent runs is ingest's to know: here is only told what people
//! want to hear, once per generation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_catalog::model::{Actor, Deployment, DeploymentStatus, EventKind};
use outrigger_catalog::{CatalogError, Change};
use outrigger_ingest::{IngestEvent, Rollout};
use outrigger_protocol::id::DeploymentId;
use tokio::sync::broadcast::error::RecvError;

use crate::core::Core;
use crate::error::EngineError;
use crate::stats::Count;

/// Generations that were pushed and of which nobody has heard yet that they run.
#[derive(Debug, Default)]
pub(crate) struct Pushed(Mutex<HashMap<DeploymentId, u64>>);

impl Pushed {
    fn begun(&self, deployment: DeploymentId, generation: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(deployment, generation);
    }

    /// Whether this is the first time that the end of this push is told.
    fn ended(&self, deployment: DeploymentId, generation: u64) -> bool {
        let mut pushed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = pushed.get(&deployment) == Some(&generation);
        if is_it {
            pushed.remove(&deployment);
        }
        is_it
    }

    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&deployment);
    }
}

/// The task that follows the catalog.
pub(crate) async fn follow_changes(core: Arc<Core>) {
    let mut changes = core.catalog.changes();
    // Whatever changed before this moment is looked at once.
    look_at_everything(&core).await;
    loop {
        match changes.next().await {
            Ok(Change::Deployment { organization, id }) => {
                core.roster.enter(id, organization);
                core.pokes.poke(id);
                apply_settings(&core, &Actor::system(organization), id).await;
            }
            Ok(Change::Environment { organization, id, .. }) => {
                match core.catalog.deployments_of_environment(organization, id).await {
                    Ok(deployments) => push_to(&core, deployments).await,
                    Err(error) => tracing::warn!(
                        environment = %id, error = &error as &dyn std::error::Error,
                        "a changed environment is not pushed",
                    ),
                }
            }
            Ok(Change::Missed) => look_at_everything(&core).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the catalog's changes cannot be followed");
                return;
            }
        }
    }
}

async fn look_at_everything(core: &Arc<Core>) {
    match core.catalog.all_deployments().await {
        Ok(deployments) => {
            for deployment in &deployments {
                core.roster.enter(deployment.id, deployment.organization);
                core.pokes.poke(deployment.id);
            }
            let behind = deployments.into_iter().filter(|deployment| core.ingest.rollout(deployment.id).generation > 0);
            push_to(core, behind.collect()).await;
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the deployments cannot be read");
        }
    }
}

/// Agents learn of a changed interval or apply strategy without a restart.
async fn apply_settings(core: &Core, actor: &Actor, id: DeploymentId) {
    match core.catalog.deployment(actor, id).await {
        Ok(deployment) => core.ingest.apply_settings(&deployment),
        Err(CatalogError::NotFound { .. }) => {}
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(deployment = %id, error, "settings are not told to the agents");
        }
    }
}

/// A deployment was started. Agents that joined from outside before that have been waiting for it.
pub(crate) async fn begun(core: &Arc<Core>, deployment: &Deployment) {
    if core.ingest.live(deployment.id).iter().any(|live| live.connected) {
        push_to(core, vec![deployment.clone()]).await;
    }
}

async fn push_to(core: &Arc<Core>, deployments: Vec<Deployment>) {
    for deployment in deployments.into_iter().filter(|deployment| deployment.status.is_started()) {
        let before = core.ingest.rollout(deployment.id).generation;
        if let Err(error) = push(core, &deployment, before).await {
            tracing::warn!(
                deployment = %deployment.id, error = &error as &dyn std::error::Error, "a configuration is not pushed",
            );
        }
    }
}

/// Somebody asks for a push.
pub(crate) async fn push_now(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<Rollout, EngineError> {
    if core.cancel.is_cancelled() {
        return Err(EngineError::Draining);
    }
    if actor.role < outrigger_catalog::model::Role::Developer {
        let need = outrigger_catalog::model::Role::Developer;
        return Err(CatalogError::Forbidden { need }.into());
    }
    let deployment = core.catalog.deployment(actor, id).await?;
    if deployment.status != DeploymentStatus::Running {
        let status = deployment.status.name();
        return Err(EngineError::state(format!("the deployment is {status}: only a RUNNING one can be pushed to")));
    }
    push(core, &deployment, 0).await
}

/// Offers the newest generation to the agents of a deployment; tells of it when it is newer than `known`.
async fn push(core: &Arc<Core>, deployment: &Deployment, known: u64) -> Result<Rollout, EngineError> {
    // Before the push: the answers may be there before it returns.
    let actor = Actor::system(deployment.organization);
    let generation = core.catalog.environment(&actor, deployment.spec.environment).await?.generation;
    if generation > known {
        core.pushed.begun(deployment.id, generation);
    }
    let rollout = core.ingest.push(deployment).await.map_err(EngineError::Push)?;
    if rollout.generation > known && rollout.total > 0 {
        core.stats.add(Count::Pushes, 1);
        let kind = EventKind::ConfigPushed { generation: rollout.generation };
        let message = format!("config generation {} pushed to {}", rollout.generation, rollout.total);
        core.put_event(core.ambient().event(deployment.organization, deployment.id, kind, message, None)).await;
    }
    if rollout.is_complete() {
        // Nobody had to change anything, or everybody was quick.
        completed(core, deployment.id, &rollout).await;
    }
    Ok(rollout)
}

/// The task that follows the agents.
pub(crate) async fn follow_agents(core: Arc<Core>) {
    let mut events = core.ingest.subscribe();
    loop {
        match events.recv().await {
            Ok(IngestEvent::RolloutComplete { deployment, rollout }) => completed(&core, deployment, &rollout).await,
            Ok(IngestEvent::AgentLost { .. }) => core.reconcile.notify_one(),
            Ok(_) => {}
            // What was missed shows when the next generation is pushed, and in the rollout itself.
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "behind with what agents tell"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells how a push ended, once.
async fn completed(core: &Core, id: DeploymentId, rollout: &Rollout) {
    if rollout.total == 0 || !core.pushed.ended(id, rollout.generation) {
        return;
    }
    let Some(actor) = core.roster.actor(id) else { return };
    let generation = rollout.generation;
    for (instance, error) in rollout.failed.iter().take(FAILURES_TOLD) {
        let kind = EventKind::ConfigFailed { generation, instance: *instance };
        let message = format!("config generation {generation} failed on {instance}: {error}");
        core.put_event(core.ambient().event(actor.organization, id, kind, message, None)).await;
    }
    let kind = EventKind::ConfigRunning { generation, instances: rollout.applied };
    let message = format!("config generation {generation} running on {} of {}", rollout.applied, rollout.total);
    core.put_event(core.ambient().event(actor.organization, id, kind, message, None)).await;
}

/// Failures of one push that become events; the rollout names more.
const FAILURES_TOLD: usize = 10;
