//! New configuration, on its way to the deployments that run with it.
//!
//! ```text
//! catalog: an environment has a new generation ─┐
//! ingest: agents come, go, report, serve ───────┼─▶ worker of the deployment ─▶ state machine ─▶ what to do
//! people: promote, abort, pause, reload ────────┘                                                  │
//!                         offers by ingest, a rollback by the catalog, events ◀── written down ◀───┘
//! ```
//!
//! Which instance gets which generation, and when, the state machine of `outrigger_rollout` decides. Here is what it
//! needs around it: a worker for each deployment, which feeds it, writes down what must not be forgotten *before* it does
//! what follows, and does it. A worker waits for nothing but the store and its inbox, so a deployment whose rollout is
//! slow, or broken, holds up no other.
//!
//! What must never be true: an offer that a restart would not know of while a rollout is under way; two workers of one
//! deployment; an inbox that grows (what is too much is dropped and everything looked at again).

mod baseline;
mod calls;
mod current;
mod follow;
mod ledger;
mod missed;
mod plan;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_catalog::model::{self, Actor};
use outrigger_protocol::id::{DeploymentId, InstanceId, RolloutId};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Command, Event, Span, Traffic};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::core::Core;
use crate::error::EngineError;
use crate::stats::Count;
use baseline::{Baseline, Served};
use worker::Worker;

pub(crate) use calls::{command, push_now, read, view_of};
pub(crate) use follow::{follow_agents, follow_changes};

/// Messages that wait for one worker. As many as a fleet of ten thousand sends while one write is under way.
const INBOX: usize = 16_384;
/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Between the end of a worker that panicked and the next.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A rollout as it is at this moment.
#[derive(Debug, Clone)]
pub struct RolloutView {
    pub rollout: model::Rollout,
    /// Who refused the newest generation or went back from it, and why, without a value; at most 100 of them.
    pub failed: Vec<(InstanceId, String)>,
}

type Answer<T> = oneshot::Sender<Result<T, EngineError>>;

/// What a worker is told.
#[derive(Debug)]
enum Message {
    /// The deployment or its environment may be another than before.
    Look,
    /// Boxed, because the inbox keeps room for some dozen messages for ever, in every deployment.
    Happened(Box<Event>),
    /// These are about to be stopped on purpose.
    Departing(Vec<InstanceId>),
    Command {
        id: RolloutId,
        command: Command,
        actor: Box<Actor>,
        answer: Answer<model::Rollout>,
    },
    /// Somebody wants everybody to have the newest generation, also who did not answer it.
    Push {
        answer: Answer<model::Rollout>,
    },
}

/// What a worker shares with whoever asks how its rollout stands.
#[derive(Debug, Default)]
struct Shared {
    /// The newest rollout.
    shown: Mutex<Option<model::Rollout>>,
    /// Something was not told, because the inbox was full.
    missed: AtomicBool,
    /// What the deployment has served lately.
    baseline: Mutex<Baseline>,
    /// A rollout is under way, which wants to know who serves what. Otherwise nobody is woken for it.
    judges: AtomicBool,
}

impl Shared {
    fn shown(&self) -> MutexGuard<'_, Option<model::Rollout>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn baseline(&self) -> MutexGuard<'_, Baseline> {
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
struct Handle {
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Tells something that can be found out again.
    fn tell(&self, message: Message) {
        match self.inbox.try_send(message) {
            Ok(()) => {}
            // The worker has an inbox full of reasons to wake up, and will see the mark.
            Err(TrySendError::Full(_)) => self.shared.missed.store(true, Ordering::Relaxed),
            // It ends with its deployment.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Tells what an instance has served.
    fn served(&self, instance: InstanceId, since: UnixMillis, until: UnixMillis, traffic: &Served) {
        self.shared.baseline().add(until, traffic);
        if self.shared.judges.load(Ordering::Relaxed) {
            let Served { requests, errors, ref latency } = *traffic;
            let traffic = Traffic { requests, errors, latency: (**latency).clone() };
            self.tell(Message::Happened(Box::new(Event::Traffic { instance, span: Span { since, until, traffic } })));
        }
    }

    /// Tells something that must not be lost.
    async fn say(&self, message: Message) -> Result<(), EngineError> {
        self.inbox.send(message).await.map_err(|_| EngineError::Draining)
    }
}

/// The workers of all deployments.
#[derive(Debug, Default)]
pub(crate) struct Rollouts(Mutex<HashMap<DeploymentId, Handle>>);

impl Rollouts {
    /// The worker of a deployment, begun if there is none; `None` for a deployment that nobody knows.
    fn of(&self, core: &Arc<Core>, deployment: DeploymentId) -> Option<Handle> {
        let mut handles = self.handles();
        if let Some(handle) = handles.get(&deployment) {
            return Some(handle.clone());
        }
        let actor = core.roster.actor(deployment)?;
        let (inbox, messages) = mpsc::channel(INBOX);
        let handle = Handle { inbox, shared: Arc::default() };
        handles.insert(deployment, handle.clone());
        drop(handles);
        core.workers.spawn(keep(Arc::clone(core), actor, deployment, Arc::clone(&handle.shared), messages));
        Some(handle)
    }

    /// The deployment is destroyed. Its worker ends once it has done what it was told before.
    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.handles().remove(&deployment);
    }

    /// Something was not told, and nobody knows to whom: every worker looks at everything again.
    fn miss(&self) {
        for handle in self.handles().values() {
            handle.shared.missed.store(true, Ordering::Relaxed);
            handle.tell(Message::Look);
        }
    }

    /// What is shown of the newest rollout, if there has been one since the deployment was started.
    fn shown(&self, deployment: DeploymentId) -> Option<model::Rollout> {
        let handle = self.handles().get(&deployment).cloned();
        handle.and_then(|handle| handle.shared.shown().clone())
    }

    /// The newest generation that is or was rolled out, and how that stands.
    pub(crate) fn newest(&self, deployment: DeploymentId) -> Option<(u64, model::RolloutState)> {
        let handle = self.handles().get(&deployment).cloned()?;
        let shown = handle.shared.shown();
        shown.as_ref().map(|rollout| (rollout.restored_as.unwrap_or(rollout.generation), rollout.state))
    }

    fn handles(&self) -> MutexGuard<'_, HashMap<DeploymentId, Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// These instances are about to be stopped on purpose. To be told before anything is done about it, or the ends of their
/// programs count as crashes.
pub(crate) async fn departing(core: &Arc<Core>, deployment: DeploymentId, instances: Vec<InstanceId>) {
    if !instances.is_empty()
        && let Some(handle) = core.rollouts.of(core, deployment)
    {
        // Fails while everything is being shut down.
        let _ = handle.say(Message::Departing(instances)).await;
    }
}

/// Runs a worker until its deployment is destroyed or the engine is cancelled. One that panics is begun again with what
/// is written down.
async fn keep(
    core: Arc<Core>,
    actor: Actor,
    deployment: DeploymentId,
    shared: Arc<Shared>,
    messages: mpsc::Receiver<Message>,
) {
    let messages = Arc::new(tokio::sync::Mutex::new(messages));
    loop {
        let worker = Worker::new(Arc::clone(&core), actor.clone(), deployment, Arc::clone(&shared));
        let mut run = tokio::spawn(worker.run(Arc::clone(&messages)));
        let ended = tokio::select! {
            () = core.cancel.cancelled() => {
                run.abort();
                return;
            }
            ended = &mut run => ended,
        };
        match ended {
            Err(failed) if failed.is_panic() => {
                core.stats.add(Count::TaskPanics, 1);
                tracing::error!(%deployment, "the worker of a deployment's rollouts panicked and is started again");
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            _ => return,
        }
    }
}
