//! The two tasks that bring the news to the workers.

use std::sync::Arc;

use outrigger_catalog::Change;
use outrigger_ingest::{IngestEvent, SessionEnd};
use outrigger_protocol::id::DeploymentId;
use outrigger_rollout::{Arrival, Departure, Event};
use tokio::sync::broadcast::error::RecvError;

use super::baseline::Served;
use super::{Message, RETRY};
use crate::core::Core;

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
                tell(&core, id, Message::Look);
            }
            Ok(Change::Environment { organization, id, .. }) => {
                match core.catalog.deployments_of_environment(organization, id).await {
                    Ok(deployments) => deployments.iter().for_each(|one| tell(&core, one.id, Message::Look)),
                    Err(error) => {
                        tracing::warn!(
                            environment = %id, error = &error as &dyn std::error::Error,
                            "who runs with a changed environment cannot be read",
                        );
                        look_at_everything(&core).await;
                    }
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

/// Until it has been done: nobody tells a second time what has changed.
async fn look_at_everything(core: &Arc<Core>) {
    let deployments = loop {
        match core.catalog.all_deployments().await {
            Ok(deployments) => break deployments,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the deployments cannot be read");
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    for deployment in &deployments {
        core.roster.enter(deployment.id, deployment.organization);
        core.pokes.poke(deployment.id);
        if deployment.status.is_started() {
            tell(core, deployment.id, Message::Look);
        }
    }
}

fn tell(core: &Arc<Core>, deployment: DeploymentId, message: Message) {
    if let Some(handle) = core.rollouts.of(core, deployment) {
        handle.tell(message);
    }
}

/// The task that follows the agents.
pub(crate) async fn follow_agents(core: Arc<Core>) {
    let mut events = core.ingest.subscribe();
    // Whoever came before this moment is found by looking.
    core.rollouts.miss();
    loop {
        match events.recv().await {
            Ok(event) => {
                if matches!(event, IngestEvent::AgentLost { .. }) {
                    core.reconcile.notify_one();
                }
                heard(&core, event);
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "behind with what agents tell: everybody is looked at again");
                core.rollouts.miss();
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells the worker whom an event concerns what it means, if anything.
fn heard(core: &Arc<Core>, event: IngestEvent) {
    let (deployment, event) = match event {
        IngestEvent::AgentConnected { deployment, instance, status, program, .. } => {
            (deployment, Event::Joined(Arrival { instance, status, program }))
        }
        IngestEvent::AgentLost { deployment, instance, end, .. } => {
            let departure = match end {
                SessionEnd::Left { .. } => Departure::Planned,
                _ => Departure::Lost,
            };
            (deployment, Event::Left { instance, departure })
        }
        IngestEvent::Program { deployment, instance, state } => (deployment, Event::Program { instance, state }),
        IngestEvent::ConfigReport { deployment, instance, state, status } => {
            (deployment, Event::Report { instance, state, status })
        }
        IngestEvent::Probes { deployment, instance, health } => {
            (deployment, Event::Probes { instance, probes: health.probes.clone() })
        }
        IngestEvent::Traffic { deployment, instance, since, until, requests, errors, latency } => {
            if let Some(handle) = core.rollouts.of(core, deployment) {
                handle.served(instance, since, until, &Served { requests, errors, latency });
            }
            return;
        }
        IngestEvent::TokenMisused { .. } => return,
    };
    tell(core, deployment, Message::Happened(Box::new(event)));
}
