//! What all parts of the engine share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use outrigger_catalog::Catalog;
use outrigger_catalog::model::{Actor, Decision, Deployment, Event};
use outrigger_drivers::Driver;
use outrigger_ingest::Ingest;
use outrigger_protocol::id::{DeploymentId, OrganizationId};
use tokio::sync::{Notify, OwnedMutexGuard, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ambient::Ambient;
use crate::board::{Board, Direction};
use crate::config::EngineConfig;
use crate::executor::Executor;
use crate::news::News;
use crate::policies::PolicyRuntime;
use crate::reconciler::CrashLoops;
use crate::rollouts::Rollouts;
use crate::stats::{Count, Stats};

pub(crate) struct Core {
    pub(crate) config: EngineConfig,
    pub(crate) catalog: Catalog,
    pub(crate) ingest: Ingest,
    pub(crate) policies: PolicyRuntime,
    pub(crate) drivers: BTreeMap<&'static str, Arc<dyn Driver>>,
    pub(crate) executor: Executor,
    pub(crate) stats: Arc<Stats>,
    pub(crate) roster: Roster,
    pub(crate) board: Board,
    pub(crate) crash_loops: CrashLoops,
    pub(crate) rollouts: Rollouts,
    /// Those of the rollouts.
    pub(crate) workers: TaskTracker,
    /// Deployments that the scaler should look at.
    pub(crate) pokes: Pokes,
    /// Rung when the reconciler should not wait for its next round.
    pub(crate) reconcile: Notify,
    pub(crate) cancel: CancellationToken,
    news: broadcast::Sender<News>,
    turns: Turns,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(
        config: EngineConfig,
        catalog: Catalog,
        ingest: Ingest,
        policies: PolicyRuntime,
        drivers: BTreeMap<&'static str, Arc<dyn Driver>>,
    ) -> Self {
        Self {
            executor: Executor::new(&config.executor),
            config,
            catalog,
            ingest,
            policies,
            drivers,
            stats: Arc::default(),
            roster: Roster::default(),
            board: Board::default(),
            crash_loops: CrashLoops::default(),
            rollouts: Rollouts::default(),
            workers: TaskTracker::new(),
            pokes: Pokes::default(),
            reconcile: Notify::new(),
            cancel: CancellationToken::new(),
            news: broadcast::channel(crate::news::BACKLOG).0,
            turns: Turns::new(),
        }
    }

    pub(crate) fn ambient(&self) -> &Ambient {
        &self.config.ambient
    }

    pub(crate) fn driver_of(&self, deployment: &Deployment) -> Option<&Arc<dyn Driver>> {
        self.drivers.get(deployment.spec.driver.as_str())
    }

    /// One change of a deployment's size or status at a time: what was read under it is still so when it is written.
    pub(crate) async fn turn(&self, deployment: DeploymentId) -> OwnedMutexGuard<()> {
        self.turns.take(deployment).await
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    pub(crate) fn tell_decision(&self, decision: Decision) {
        self.board.decided(&decision);
        let count = match Direction::between(decision.from_replicas, decision.to_replicas) {
            Direction::Up => Count::Up,
            Direction::Down => Count::Down,
            Direction::None => Count::Level,
        };
        self.stats.add(count, 1);
        // Nobody may be listening.
        let _ = self.news.send(News::Decision(Arc::new(decision)));
    }

    pub(crate) fn tell_deployment(&self, deployment: &Deployment) {
        self.board.saw(deployment);
        let _ = self.news.send(News::Deployment(Arc::new(deployment.clone())));
    }

    pub(crate) fn tell_event(&self, event: &Event) {
        let _ = self.news.send(News::Event(Arc::new(event.clone())));
    }

    /// Writes an event down and tells it. An event that cannot be written is only logged: nothing depends on it.
    pub(crate) async fn put_event(&self, event: Event) {
        match self.catalog.put_event(event.clone()).await {
            Ok(()) => self.tell_event(&event),
            Err(error) => {
                let deployment = event.deployment;
                tracing::warn!(%deployment, error = &error as &dyn std::error::Error, "an event is not kept");
            }
        }
    }
}

/// Which deployments there are, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Roster(RwLock<HashMap<DeploymentId, OrganizationId>>);

impl Roster {
    pub(crate) fn enter(&self, deployment: DeploymentId, organization: OrganizationId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(deployment, organization);
    }

    pub(crate) fn leave(&self, deployment: DeploymentId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&deployment);
    }

    pub(crate) fn actor(&self, deployment: DeploymentId) -> Option<Actor> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&deployment).copied().map(Actor::system)
    }

    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A set of deployments that somebody should look at. However often one is named, it is in it once.
#[derive(Debug, Default)]
pub(crate) struct Pokes {
    named: Mutex<HashSet<DeploymentId>>,
    bell: Notify,
}

impl Pokes {
    pub(crate) fn poke(&self, deployment: DeploymentId) {
        self.named().insert(deployment);
        self.bell.notify_one();
    }

    /// Waits until there are some, and takes all. For one reader.
    pub(crate) async fn take(&self) -> Vec<DeploymentId> {
        loop {
            let rung = self.bell.notified();
            let named = std::mem::take(&mut *self.named());
            if !named.is_empty() {
                return named.into_iter().collect();
            }
            rung.await;
        }
    }

    fn named(&self) -> MutexGuard<'_, HashSet<DeploymentId>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bounded number of locks that deployments share.
struct Turns(Vec<Arc<tokio::sync::Mutex<()>>>);

impl Turns {
    const STRIPES: usize = 256;

    fn new() -> Self {
        Self((0..Self::STRIPES).map(|_| Arc::default()).collect())
    }

    async fn take(&self, deployment: DeploymentId) -> OwnedMutexGuard<()> {
        let [.., a, b] = deployment.to_bytes();
        let stripe = usize::from(u16::from_be_bytes([a, b])) % self.0.len();
        Arc::clone(&self.0[stripe]).lock_owned().await
    }
}
