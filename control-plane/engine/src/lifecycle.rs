//! Deployments from their start to their end.
//!
//! ```text
//!            start                 ready                stop               all gone
//! PENDING ─────────▶ PROVISIONING ───────▶ RUNNING ─────────▶ STOPPING ─────────▶ STOPPED
//! STOPPED, FAILED ──▶    │  │                                    ▲
//!                        │  └──────────── stop ──────────────────┘
//!                        └── cannot be provisioned, or not in time ──▶ FAILED
//! ```
//!
//! A transition is a row in the catalog, its consequences are intents, and whatever is interrupted between the two is
//! taken up again by the next look: the look at a deployment in transition asks for what is missing to complete it.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use outrigger_catalog::model::{
    Actor, Decision, Deployment, DeploymentStatus, EventKind, Instance, InstancePhase, Intent, IntentKind, Role,
};
use outrigger_catalog::{CatalogError, ScalingRecord};
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_scaling::Verdict;

use crate::core::Core;
use crate::error::EngineError;
use crate::reconciler::{counts, new_instance};
use crate::stats::Count;
use crate::{executor, readiness, rollouts};

/// How a call of a person is refused before anything is read.
fn require(core: &Core, actor: &Actor) -> Result<(), EngineError> {
    if core.cancel.is_cancelled() {
        return Err(EngineError::Draining);
    }
    if actor.role < Role::Developer {
        return Err(CatalogError::Forbidden { need: Role::Developer }.into());
    }
    Ok(())
}

/// Several mutations follow from one request here, so that its idempotency key cannot stand for one of them. Every one
/// of these calls can be repeated as it is: starting what starts changes nothing.
fn without_key(actor: &Actor) -> Actor {
    Actor { idempotency: None, ..actor.clone() }
}

pub(crate) async fn start(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
    require(core, actor)?;
    let actor = without_key(actor);
    let _turn = core.turn(id).await;
    let deployment = core.catalog.deployment(&actor, id).await?;
    match deployment.status {
        DeploymentStatus::Pending | DeploymentStatus::Stopped | DeploymentStatus::Failed => {}
        DeploymentStatus::Provisioning | DeploymentStatus::Building | DeploymentStatus::Running => {
            return Ok(deployment);
        }
        status @ (DeploymentStatus::Stopping | DeploymentStatus::Destroyed) => {
            return Err(EngineError::state(format!("the deployment is {} and cannot be started", status.name())));
        }
    }
    if core.driver_of(&deployment).is_none() {
        let problem = format!("there is no driver `{}` here", deployment.spec.driver);
        return Err(EngineError::invalid("driver", problem));
    }
    let begun = core.catalog.begin_deployment(&actor, id).await.map_err(|error| match error {
        CatalogError::Validation(problems) => EngineError::Invalid(problems),
        error => error.into(),
    })?;
    core.crash_loops.forget(id);
    core.roster.enter(id, deployment.organization);
    core.tell_deployment(&begun);
    provision(core, &actor, &begun).await
}

/// Has the first instances made. The caller has the deployment's turn.
async fn provision(core: &Arc<Core>, actor: &Actor, deployment: &Deployment) -> Result<Deployment, EngineError> {
    let spec = &deployment.spec;
    let wanted = spec.initial_replicas.max(spec.min_replicas);
    if wanted == deployment.desired_replicas {
        core.pokes.poke(deployment.id);
        return Ok(deployment.clone());
    }
    resize(core, actor, deployment, wanted, format!("started by {}", actor.subject)).await
}

pub(crate) async fn stop(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
    require(core, actor)?;
    let actor = without_key(actor);
    let _turn = core.turn(id).await;
    let deployment = core.catalog.deployment(&actor, id).await?;
    match deployment.status {
        DeploymentStatus::Provisioning
        | DeploymentStatus::Building
        | DeploymentStatus::Running
        | DeploymentStatus::Failed => {}
        DeploymentStatus::Pending | DeploymentStatus::Stopping | DeploymentStatus::Stopped => return Ok(deployment),
        DeploymentStatus::Destroyed => return Err(EngineError::state("the deployment is destroyed")),
    }
    let stopping = core.catalog.set_status(&actor, id, DeploymentStatus::Stopping, None).await?;
    core.tell_deployment(&stopping);
    empty(core, &actor, &stopping, format!("stopped by {}", actor.subject)).await
}

/// Ends every instance that a driver made. The caller has the deployment's turn.
async fn empty(
    core: &Arc<Core>,
    actor: &Actor,
    deployment: &Deployment,
    reason: String,
) -> Result<Deployment, EngineError> {
    let instances = core.catalog.instances(actor, deployment.id, false).await?;
    let destroys: Vec<InstanceId> =
        instances.iter().filter(|instance| counts(instance)).map(|instance| instance.id).collect();
    record_by_hand(core, actor, deployment, 0, reason, Vec::new(), destroys).await
}

pub(crate) async fn scale(
    core: &Arc<Core>,
    actor: &Actor,
    id: DeploymentId,
    replicas: u32,
    reason: &str,
) -> Result<Deployment, EngineError> {
    require(core, actor)?;
    let _turn = core.turn(id).await;
    let deployment = core.catalog.deployment(actor, id).await?;
    if deployment.status != DeploymentStatus::Running {
        let status = deployment.status.name();
        return Err(EngineError::state(format!("the deployment is {status}: only a RUNNING one can be scaled")));
    }
    let (min, max) = (deployment.spec.min_replicas, deployment.spec.max_replicas);
    if !(min..=max).contains(&replicas) {
        return Err(EngineError::invalid("replicas", format!("must be {min} to {max}, not {replicas}")));
    }
    if replicas == deployment.desired_replicas {
        return Ok(deployment);
    }
    let by = format!("scaled by {}", actor.subject);
    let reason = if reason.trim().is_empty() { by } else { format!("{by}: {reason}") };
    resize(core, actor, &deployment, replicas, reason).await
}

pub(crate) async fn set_paused(
    core: &Arc<Core>,
    actor: &Actor,
    id: DeploymentId,
    paused: bool,
) -> Result<Deployment, EngineError> {
    require(core, actor)?;
    let _turn = core.turn(id).await;
    let deployment = core.catalog.set_paused(actor, id, paused).await?;
    core.tell_deployment(&deployment);
    core.pokes.poke(id);
    Ok(deployment)
}

pub(crate) async fn delete(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<(), EngineError> {
    require(core, actor)?;
    let _turn = core.turn(id).await;
    let deployment = core.catalog.deployment(actor, id).await?;
    let instances = core.catalog.instances(actor, id, false).await?;
    // Otherwise the catalog refuses, and whoever is from outside has lost nothing.
    let may_go =
        matches!(deployment.status, DeploymentStatus::Stopped | DeploymentStatus::Failed | DeploymentStatus::Pending);
    if may_go && instances.iter().all(|instance| instance.outside) {
        core.catalog.revoke_outside(actor, id).await?;
    }
    let gone = core.catalog.delete_deployment(actor, id).await?;
    core.tell_deployment(&gone);
    forget(core, id);
    Ok(())
}

/// Drops all that memory holds of a deployment that is destroyed.
pub(crate) fn forget(core: &Core, id: DeploymentId) {
    core.ingest.forget(id);
    core.roster.leave(id);
    core.board.forget(id);
    core.crash_loops.forget(id);
    core.rollouts.forget(id);
}

/// Brings a deployment to another size by somebody's word. The caller has its turn.
async fn resize(
    core: &Arc<Core>,
    actor: &Actor,
    deployment: &Deployment,
    to: u32,
    reason: String,
) -> Result<Deployment, EngineError> {
    let (creates, destroys) = effects(core, actor, deployment, to).await?;
    record_by_hand(core, actor, deployment, to, reason, creates, destroys).await
}

/// What has to be made and ended to bring a deployment from what it wants now to `to`.
pub(crate) async fn effects(
    core: &Core,
    actor: &Actor,
    deployment: &Deployment,
    to: u32,
) -> Result<(Vec<Instance>, Vec<InstanceId>), CatalogError> {
    let from = deployment.desired_replicas;
    if to >= from {
        return Ok(((from..to).map(|_| new_instance(core, deployment)).collect(), Vec::new()));
    }
    let instances = core.catalog.instances(actor, deployment.id, false).await?;
    let ready = readiness::ready(core, deployment, &instances);
    let present: Vec<&Instance> = instances.iter().filter(|instance| counts(instance)).collect();
    Ok((Vec::new(), surplus(&present, &ready, to)))
}

/// Which instances go when `keep` are left: first those that do not serve anyway, then the youngest, which have the
/// least in their caches (the order of the Kubernetes ReplicaSet).
fn surplus(present: &[&Instance], ready: &HashSet<InstanceId>, keep: u32) -> Vec<InstanceId> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let mut by_worth: Vec<&&Instance> = present.iter().collect();
    by_worth.sort_by_key(|instance| {
        let creating = instance.phase == InstancePhase::Creating;
        (Reverse(creating), ready.contains(&instance.id), Reverse(instance.created_at), instance.id)
    });
    let surplus = present.len().saturating_sub(keep);
    by_worth.into_iter().take(surplus).map(|instance| instance.id).collect()
}

async fn record_by_hand(
    core: &Arc<Core>,
    actor: &Actor,
    deployment: &Deployment,
    to: u32,
    reason: String,
    creates: Vec<Instance>,
    destroys: Vec<InstanceId>,
) -> Result<Deployment, EngineError> {
    let decision = Decision {
        id: core.ambient().decision_id(),
        organization: deployment.organization,
        deployment: deployment.id,
        at: core.ambient().now(),
        from_replicas: deployment.desired_replicas,
        to_replicas: to,
        verdict: Verdict::Approve { target: to },
        reason,
        proposals: Vec::new(),
        guards: Vec::new(),
        input: "{}".to_owned(),
        reaction: None,
        repeats: 0,
    };
    Ok(record(core, actor, decision, creates, destroys).await?)
}

/// Writes a decision down with everything that follows from it, tells of it, and has it carried out. The caller has the
/// deployment's turn.
pub(crate) async fn record(
    core: &Arc<Core>,
    actor: &Actor,
    decision: Decision,
    creates: Vec<Instance>,
    destroys: Vec<InstanceId>,
) -> Result<Deployment, CatalogError> {
    let event = scaled(core, &decision);
    let sampled = decision.reaction.map(|reaction| decision.at.saturating_sub(reaction));
    let (from, to) = (decision.from_replicas, decision.to_replicas);
    tracing::info!(deployment = %decision.deployment, from, to, reason = decision.reason, "scaled");
    let record = ScalingRecord {
        decision: decision.clone(),
        creates,
        destroys,
        events: event.clone().into_iter().collect(),
        expect_desired: from,
    };
    let destroys = record.destroys.clone();
    let recorded = core.catalog.record_scaling(actor, record).await?;
    rollouts::departing(core, recorded.deployment.id, destroys).await;
    count_intents(core, &recorded.intents);
    executor::submit(core, recorded.intents, sampled);
    core.tell_decision(decision);
    if let Some(event) = event {
        core.tell_event(&event);
    }
    core.tell_deployment(&recorded.deployment);
    core.pokes.poke(recorded.deployment.id);
    Ok(recorded.deployment)
}

/// Counts effects that were written down just now.
pub(crate) fn count_intents(core: &Core, intents: &[Intent]) {
    for intent in intents {
        let count = match intent.kind {
            IntentKind::Create => Count::IntentsCreate,
            IntentKind::Destroy => Count::IntentsDestroy,
        };
        core.stats.add(count, 1);
    }
}

fn scaled(core: &Core, decision: &Decision) -> Option<outrigger_catalog::model::Event> {
    let (from, to) = (decision.from_replicas, decision.to_replicas);
    let (kind, direction) = match to {
        to if to > from => (EventKind::ScaledUp { from, to }, "up"),
        to if to < from => (EventKind::ScaledDown { from, to }, "down"),
        _ => return None,
    };
    let message = format!("scaled {direction} {from} -> {to}: {}", decision.reason);
    Some(core.ambient().event(decision.organization, decision.deployment, kind, message, Some(decision.id)))
}

/// A driver says that a deployment's instances cannot be made, now or later. One that has never run is given up.
pub(crate) async fn cannot_provision(core: &Arc<Core>, id: DeploymentId, reason: &str) {
    let Some(actor) = core.roster.actor(id) else { return };
    let _turn = core.turn(id).await;
    let given_up = async {
        let deployment = core.catalog.deployment(&actor, id).await?;
        if deployment.status == DeploymentStatus::Provisioning {
            fail(core, &actor, &deployment, reason.to_owned()).await?;
        }
        Ok::<(), EngineError>(())
    };
    if let Err(error) = given_up.await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(deployment = %id, error, "cannot write down that a deployment failed");
    }
}

/// The caller has the deployment's turn.
async fn fail(core: &Arc<Core>, actor: &Actor, deployment: &Deployment, reason: String) -> Result<(), EngineError> {
    tracing::warn!(deployment = %deployment.id, reason, "a deployment failed");
    let failed = core.catalog.set_status(actor, deployment.id, DeploymentStatus::Failed, Some(reason.clone())).await?;
    core.tell_deployment(&failed);
    empty(core, actor, &failed, reason).await?;
    Ok(())
}

/// One look at a deployment that is on its way from one state to another. Returns whether it is worth looking again.
pub(crate) async fn advance(core: &Arc<Core>, actor: &Actor, id: DeploymentId) -> Result<bool, EngineError> {
    let _turn = core.turn(id).await;
    let deployment = core.catalog.deployment(actor, id).await?;
    match deployment.status {
        DeploymentStatus::Provisioning | DeploymentStatus::Building => {
            advance_provisioning(core, actor, &deployment).await?;
            Ok(true)
        }
        DeploymentStatus::Stopping => advance_stopping(core, actor, &deployment).await,
        DeploymentStatus::Failed => {
            let left = of_drivers(core.catalog.instances(actor, id, false).await?);
            if deployment.desired_replicas > 0 || left.iter().any(counts) {
                empty(core, actor, &deployment, "the deployment failed".to_owned()).await?;
            }
            Ok(!left.is_empty())
        }
        DeploymentStatus::Running => Ok(true),
        DeploymentStatus::Pending | DeploymentStatus::Stopped => Ok(false),
        DeploymentStatus::Destroyed => {
            forget(core, id);
            Ok(false)
        }
    }
}

async fn advance_provisioning(core: &Arc<Core>, actor: &Actor, deployment: &Deployment) -> Result<(), EngineError> {
    if deployment.desired_replicas == 0 && deployment.spec.initial_replicas.max(deployment.spec.min_replicas) > 0 {
        // Interrupted between the status and the first instances.
        provision(core, actor, deployment).await?;
        return Ok(());
    }
    let instances = core.catalog.instances(actor, deployment.id, false).await?;
    let ready = readiness::ready_replicas(&instances, &readiness::ready(core, deployment, &instances));
    let wanted = usize::try_from(deployment.desired_replicas).unwrap_or(usize::MAX);
    if ready >= wanted {
        let running = core.catalog.set_status(actor, deployment.id, DeploymentStatus::Running, None).await?;
        tracing::info!(deployment = %deployment.id, ready, "a deployment runs");
        core.tell_deployment(&running);
        core.pokes.poke(deployment.id);
        return Ok(());
    }
    let waited = core.ambient().now().since(deployment.updated_at);
    if waited >= core.config.scaler.provision_timeout {
        let seconds = waited.as_secs();
        let reason = format!("only {ready} of {wanted} replicas became ready within {seconds} s");
        fail(core, actor, deployment, reason).await?;
    }
    Ok(())
}

/// What joined from outside stays, whatever becomes of the deployment.
fn of_drivers(mut instances: Vec<Instance>) -> Vec<Instance> {
    instances.retain(|instance| !instance.outside);
    instances
}

async fn advance_stopping(core: &Arc<Core>, actor: &Actor, deployment: &Deployment) -> Result<bool, EngineError> {
    let left = of_drivers(core.catalog.instances(actor, deployment.id, false).await?);
    if deployment.desired_replicas > 0 || left.iter().any(counts) {
        // Interrupted between the status and the intents.
        empty(core, actor, deployment, "the deployment is stopped".to_owned()).await?;
        return Ok(true);
    }
    if left.is_empty() {
        let stopped = core.catalog.set_status(actor, deployment.id, DeploymentStatus::Stopped, None).await?;
        tracing::info!(deployment = %deployment.id, "a deployment is stopped");
        core.tell_deployment(&stopped);
        core.crash_loops.forget(deployment.id);
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::{NOW, deployment, instance};

    #[test]
    fn what_does_not_serve_goes_first_and_then_the_youngest() {
        let of = deployment(DeploymentStatus::Running, 4);
        let aged = |seconds, phase| {
            let created_at = NOW.saturating_sub(Duration::from_secs(seconds));
            Instance { created_at, ..instance(&of, phase) }
        };
        let old = aged(900, InstancePhase::Running);
        let young = aged(10, InstancePhase::Running);
        let broken = aged(500, InstancePhase::Running);
        let creating = aged(600, InstancePhase::Creating);
        let present = [&old, &young, &broken, &creating];
        let ready = HashSet::from([old.id, young.id]);
        let go = |keep| surplus(&present, &ready, keep);
        assert_eq!(go(3), [creating.id]);
        assert_eq!(go(2), [creating.id, broken.id]);
        assert_eq!(go(1), [creating.id, broken.id, young.id]);
        assert_eq!(go(9), []);
        assert_eq!(go(0).len(), 4);
    }
}
