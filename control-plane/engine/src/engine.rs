//! The handle.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_catalog::model::{Actor, Deployment, DeploymentSpec, Instance, PolicyBinding, PolicyInfo};
use outrigger_catalog::{Catalog, FieldProblem};
use outrigger_drivers::Driver;
use outrigger_ingest::{Ingest, LiveInstance};
use outrigger_policy_host::{Evaluation, PolicyHost};
use outrigger_protocol::id::{DeploymentId, PolicyId, RolloutId};
use outrigger_rollout::Command;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::board::Standing;
use crate::config::EngineConfig;
use crate::core::Core;
use crate::error::{EngineError, StartError};
use crate::news::News;
use crate::policies::{PolicyActivity, PolicyRuntime};
use crate::rollouts::RolloutView;
use crate::stats::EngineStats;
use crate::task::{TaskKind, Tasks};
use crate::{executor, lifecycle, readiness, reconciler, rollouts, rotation, scaler};

/// Between two sweeps of what is past its time.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Everything that acts on deployments. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
    tasks: Tasks,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("core", &self.core).finish_non_exhaustive()
    }
}

/// A deployment with what its agents say at this moment.
#[derive(Debug, Clone)]
pub struct DeploymentView {
    pub deployment: Deployment,
    /// Replicas that serve. What joined from outside is none.
    pub ready: u32,
    pub instances: Vec<InstanceView>,
    /// The newest one; `None` unless it is started.
    pub rollout: Option<RolloutView>,
}

#[derive(Debug, Clone)]
pub struct InstanceView {
    pub instance: Instance,
    /// Absent when no agent of it is or was just connected.
    pub live: Option<LiveInstance>,
    /// It serves: its agent says so, or its driver, which has no agents, has made it.
    pub ready: bool,
}

impl Engine {
    /// Puts the built-in policies into the catalog, brings what is written down and what there is together, and begins.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// Two drivers have one name, a built-in policy does not load, or the catalog cannot be read.
    pub async fn start(
        config: EngineConfig,
        catalog: Catalog,
        ingest: Ingest,
        host: Arc<PolicyHost>,
        drivers: Vec<Arc<dyn Driver>>,
    ) -> Result<Self, StartError> {
        let mut by_name = BTreeMap::new();
        for driver in drivers {
            let name = driver.name();
            if by_name.insert(name, driver).is_some() {
                return Err(StartError::Drivers { name });
            }
        }
        let policies = PolicyRuntime::new(catalog.clone(), host, config.policies)?;
        policies.install_builtin().await?;
        let core = Arc::new(Core::new(config, catalog, ingest, policies, by_name));
        let started = Instant::now();
        // Before any deployment is looked at, so that nothing which runs is taken for missing.
        reconciler::round(&core, started).await.map_err(StartError::Read)?;
        let tasks = Tasks::new(core.cancel.clone(), Arc::clone(&core.stats));
        let engine = Self { core, tasks };
        engine.keep(TaskKind::Executor, executor::run);
        engine.keep(TaskKind::Reconciler, move |core| reconciler::run(core, started));
        engine.keep(TaskKind::Changes, rollouts::follow_changes);
        engine.keep(TaskKind::Agents, rollouts::follow_agents);
        engine.keep(TaskKind::Scaler, scaler::run);
        engine.keep(TaskKind::Janitor, sweep);
        engine.keep(TaskKind::Rotator, rotation::run);
        Ok(engine)
    }

    fn keep<F>(&self, kind: TaskKind, run: impl Fn(Arc<Core>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let core = Arc::clone(&self.core);
        self.tasks.keep(kind, move || run(Arc::clone(&core)));
    }

    /// Has a deployment's instances made. One that runs already, or is about to, is left as it is. Developer.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] names every required variable without a value and whatever else keeps the program from
    /// being started; [`EngineError::State`] while it stops.
    pub async fn start_deployment(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
        lifecycle::start(&self.core, actor, id).await
    }

    /// Has all of a deployment's instances ended. What joined from outside is not ours to end: it goes on with what it
    /// has, and is offered nothing until the deployment is started again. Developer.
    ///
    /// # Errors
    /// [`EngineError::State`] when it is destroyed.
    pub async fn stop_deployment(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
        lifecycle::stop(&self.core, actor, id).await
    }

    /// Brings a running deployment to a size within its bounds. Policies may change it again, unless it is paused.
    /// Developer.
    ///
    /// # Errors
    /// [`EngineError::State`] unless it runs; [`EngineError::Invalid`] for a size out of bounds.
    pub async fn scale(
        &self,
        actor: &Actor,
        id: DeploymentId,
        replicas: u32,
        reason: &str,
    ) -> Result<Deployment, EngineError> {
        lifecycle::scale(&self.core, actor, id, replicas, reason).await
    }

    /// Switches automatic scaling off. Developer.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn pause(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
        lifecycle::set_paused(&self.core, actor, id, true).await
    }

    /// Switches automatic scaling on again. Developer.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn resume(&self, actor: &Actor, id: DeploymentId) -> Result<Deployment, EngineError> {
        lifecycle::set_paused(&self.core, actor, id, false).await
    }

    /// Destroys a deployment that does not run, and with it the identities of the agents that joined it from outside.
    /// Developer.
    ///
    /// # Errors
    /// [`outrigger_catalog::CatalogError::Conflict`] unless it is stopped, failed or pending and its instances are
    /// gone.
    pub async fn delete(&self, actor: &Actor, id: DeploymentId) -> Result<(), EngineError> {
        lifecycle::delete(&self.core, actor, id).await
    }

    /// Rolls the newest configuration out to a running deployment if that has not begun, asks those again that did
    /// not answer, and answers where the rollout stands at that moment. Developer.
    ///
    /// # Errors
    /// [`EngineError::State`] unless it runs.
    pub async fn push_config(&self, actor: &Actor, id: DeploymentId) -> Result<RolloutView, EngineError> {
        rollouts::push_now(&self.core, actor, id).await
    }

    /// A rollout, as it is or was.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn rollout(&self, actor: &Actor, id: RolloutId) -> Result<RolloutView, EngineError> {
        rollouts::read(&self.core, actor, id).await
    }

    /// Decides about a rollout that is under way. Audited. Developer.
    ///
    /// # Errors
    /// [`EngineError::State`] when the state of the rollout does not allow it.
    pub async fn command_rollout(
        &self,
        actor: &Actor,
        id: RolloutId,
        command: Command,
    ) -> Result<RolloutView, EngineError> {
        rollouts::command(&self.core, actor, id, command).await
    }

    /// How a deployment is doing.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn status(&self, actor: &Actor, id: DeploymentId) -> Result<DeploymentView, EngineError> {
        let core = &self.core;
        let deployment = core.catalog.deployment(actor, id).await?;
        let instances = core.catalog.instances(actor, id, false).await?;
        let ready = readiness::ready(core, &deployment, &instances);
        let replicas = readiness::ready_replicas(&instances, &ready);
        let mut live: BTreeMap<_, _> = core.ingest.live(id).into_iter().map(|live| (live.instance, live)).collect();
        let instances = instances
            .into_iter()
            .map(|instance| InstanceView {
                live: live.remove(&instance.id),
                ready: ready.contains(&instance.id),
                instance,
            })
            .collect();
        let ready = u32::try_from(replicas).unwrap_or(u32::MAX);
        let rollout = rollouts::view_of(core, actor, &deployment).await?;
        Ok(DeploymentView { deployment, ready, instances, rollout })
    }

    /// Asks a policy about an input that somebody wrote down. Nothing follows from it.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for an input or a configuration that the policy does not take.
    pub async fn evaluate_policy(
        &self,
        actor: &Actor,
        policy: PolicyId,
        config: &str,
        input: &str,
    ) -> Result<Evaluation, EngineError> {
        self.core.policies.evaluate(actor, policy, config, input).await
    }

    /// Compiles a component, has it describe itself, and keeps it. Developer.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] says what keeps it from being a policy.
    pub async fn upload_policy(&self, actor: &Actor, component: Bytes) -> Result<PolicyInfo, EngineError> {
        if actor.role < outrigger_catalog::model::Role::Developer {
            let need = outrigger_catalog::model::Role::Developer;
            return Err(outrigger_catalog::CatalogError::Forbidden { need }.into());
        }
        self.core.policies.upload(actor, component).await
    }

    /// Whether a policy takes a configuration.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] with every problem; [`outrigger_catalog::CatalogError::NotFound`] for the policy.
    pub async fn check_binding(&self, actor: &Actor, binding: &PolicyBinding) -> Result<(), EngineError> {
        invalid(self.core.policies.problems_of(actor, binding).await?)
    }

    /// What of a specification only the engine can tell: whether there is such a driver, and whether the policies take
    /// their configurations.
    ///
    /// # Errors
    /// As [`check_binding`](Self::check_binding).
    pub async fn check_spec(&self, actor: &Actor, spec: &DeploymentSpec) -> Result<(), EngineError> {
        let mut problems = Vec::new();
        if !self.core.drivers.contains_key(spec.driver.as_str()) {
            let known: Vec<&str> = self.core.drivers.keys().copied().collect();
            let problem = format!("is not a driver of this control plane, which has: {}", known.join(", "));
            problems.push(FieldProblem { field: "driver".to_owned(), problem });
        }
        for (at, binding) in spec.policies.iter().enumerate() {
            let found = self.core.policies.problems_of(actor, binding).await?;
            let named = found.into_iter().map(|one| {
                let field = format!("policies[{at}].{}", one.field);
                FieldProblem { field, problem: one.problem }
            });
            problems.extend(named);
        }
        invalid(problems)
    }

    /// What happens from now on. A reader that is far behind misses some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<News> {
        self.core.subscribe()
    }

    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.core.stats.read(self.core.roster.len(), self.core.executor.len())
    }

    /// The first `most` deployments, in the order of their creation, as they were seen last, of those that `include`
    /// accepts; and how many more there are. Out of memory: nothing is read.
    #[must_use]
    pub fn standings(&self, most: usize, include: impl Fn(&Standing) -> bool) -> (Vec<Standing>, usize) {
        let (mut shown, left_out) = self.core.board.read(most, include);
        for standing in &mut shown {
            standing.rollout = self.core.rollouts.newest(standing.id);
        }
        (shown, left_out)
    }

    /// What the policies that are at hand were asked, and what came of it.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyActivity> {
        self.core.policies.activity()
    }

    /// Begins nothing more, and waits for the driver calls that are under way, at most until `deadline`. Instances go
    /// on running; what is left undone is written down and done by the next start.
    pub async fn drain(&self, deadline: Duration) {
        self.core.cancel.cancel();
        self.tasks.ended().await;
        self.core.workers.close();
        self.core.workers.wait().await;
        let left = self.core.executor.len();
        let ended = self.core.executor.ended_within(deadline).await;
        tracing::info!(left, ended, "the engine is drained");
    }
}

fn invalid(problems: Vec<FieldProblem>) -> Result<(), EngineError> {
    if problems.is_empty() { Ok(()) } else { Err(EngineError::Invalid(problems)) }
}

/// The task that deletes what is past its time.
async fn sweep(core: Arc<Core>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        match core.catalog.sweep().await {
            Ok(swept) => tracing::debug!(?swept, "deleted what was past its time"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot delete what is past its time");
            }
        }
    }
}
