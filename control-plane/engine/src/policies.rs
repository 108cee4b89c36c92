//! The policies that were compiled, and all that is asked of them apart from decisions.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outrigger_catalog::model::{Actor, PolicyBinding, PolicyInfo};
use outrigger_catalog::{Catalog, FieldProblem, NewPolicy};
use outrigger_policy_host::{
    ConfigError, Evaluation, EvaluationPool, Fault, Input, LoadError, Needs, PendingEvaluation, Policy, PolicyHost,
    PolicyStats, PoolConfig, json,
};
use outrigger_protocol::id::PolicyId;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::{EngineError, StartError};

/// Policies that are kept compiled; the one that was used the longest ago goes first.
const KEPT: usize = 256;
/// Components that are compiled at the same time: compiling takes whole cores and a lot of memory.
const COMPILING: usize = 2;

/// Loads components from the catalog when they are needed, and asks them.
#[derive(Debug)]
pub(crate) struct PolicyRuntime {
    catalog: Catalog,
    host: Arc<PolicyHost>,
    pool: EvaluationPool,
    loaded: Mutex<Loaded>,
    compiling: Semaphore,
}

/// What the evaluations of one policy came to since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyActivity {
    pub id: PolicyId,
    pub name: String,
    pub version: String,
    pub stats: PolicyStats,
}

#[derive(Default)]
struct Loaded {
    policies: HashMap<PolicyId, (Arc<Policy>, u64)>,
    uses: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("policies", &self.policies.len()).finish_non_exhaustive()
    }
}

impl Loaded {
    fn find(&mut self, id: PolicyId) -> Option<Arc<Policy>> {
        self.uses += 1;
        let (policy, used) = self.policies.get_mut(&id)?;
        *used = self.uses;
        Some(Arc::clone(policy))
    }

    fn keep(&mut self, id: PolicyId, policy: Arc<Policy>) {
        self.uses += 1;
        self.policies.insert(id, (policy, self.uses));
        if self.policies.len() > KEPT
            && let Some(oldest) = self.policies.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id)
        {
            self.policies.remove(&oldest);
        }
    }
}

impl PolicyRuntime {
    pub(crate) fn new(catalog: Catalog, host: Arc<PolicyHost>, config: PoolConfig) -> Result<Self, StartError> {
        let pool = EvaluationPool::new(Arc::clone(&host), config).map_err(StartError::Threads)?;
        Ok(Self { catalog, host, pool, loaded: Mutex::default(), compiling: Semaphore::new(COMPILING) })
    }

    /// Puts the policies that ship with this program into the catalog, compiled and ready.
    pub(crate) async fn install_builtin(&self) -> Result<(), StartError> {
        for builtin in outrigger_builtin_policies::builtin() {
            let failed = |source: EngineError| StartError::Builtin { name: builtin.name, source: Box::new(source) };
            let component = Bytes::from_static(builtin.component);
            let policy = self.compile(component.clone()).await.map_err(failed)?;
            let schema = &policy.description().config_schema;
            let kept = self.catalog.ensure_builtin(builtin.name, builtin.version, component, schema).await;
            let info = kept.map_err(|error| failed(error.into()))?;
            self.loaded().keep(info.id, policy);
        }
        Ok(())
    }

    /// The policy, compiled now unless it is at hand.
    pub(crate) async fn policy(&self, id: PolicyId) -> Result<Arc<Policy>, EngineError> {
        if let Some(policy) = self.loaded().find(id) {
            return Ok(policy);
        }
        let _one_of_few = self.permit().await?;
        // Somebody may have loaded it while this waited.
        if let Some(policy) = self.loaded().find(id) {
            return Ok(policy);
        }
        let component = self.catalog.policy_component(id).await?;
        let policy = self.compile_now(component).await.map_err(|error| match error {
            EngineError::Invalid(problems) => {
                let reason = problems.first().map(|problem| problem.problem.clone()).unwrap_or_default();
                EngineError::UnusablePolicy { reason }
            }
            other => other,
        })?;
        self.loaded().keep(id, Arc::clone(&policy));
        Ok(policy)
    }

    /// Compiles a component, has it describe itself, and keeps it.
    pub(crate) async fn upload(&self, actor: &Actor, component: Bytes) -> Result<PolicyInfo, EngineError> {
        let policy = self.compile(component.clone()).await?;
        let description = policy.description();
        let new = NewPolicy {
            name: description.name.clone(),
            version: description.version.clone(),
            config_schema: description.config_schema.clone(),
        };
        let info = self.catalog.put_policy(actor, component, new).await?;
        self.loaded().keep(info.id, policy);
        Ok(info)
    }

    /// Everything that is wrong with a binding; nothing when it can be used.
    pub(crate) async fn problems_of(
        &self,
        actor: &Actor,
        binding: &PolicyBinding,
    ) -> Result<Vec<FieldProblem>, EngineError> {
        // By the actor, so that another tenant's policy is not there.
        self.catalog.policy(actor, binding.policy).await?;
        let policy = self.policy(binding.policy).await?;
        Ok(match self.needs(policy, binding.config.clone()).await? {
            Ok(_) => Vec::new(),
            Err(error) => config_problems(&error),
        })
    }

    /// What a policy needs to see with a configuration, which is checked by that.
    pub(crate) async fn needs(
        &self,
        policy: Arc<Policy>,
        config: String,
    ) -> Result<Result<Needs, ConfigError>, EngineError> {
        let host = Arc::clone(&self.host);
        let checked = tokio::task::spawn_blocking(move || host.validate(&policy, &config)).await;
        match checked.map_err(|_| EngineError::Interrupted { operation: "checking a configuration" })? {
            Err(ConfigError::Fault(Fault::Overloaded { .. })) => Err(EngineError::Overloaded),
            answer => Ok(answer),
        }
    }

    /// Asks a policy about an input that somebody wrote down; nothing follows from it.
    pub(crate) async fn evaluate(
        &self,
        actor: &Actor,
        id: PolicyId,
        config: &str,
        input: &str,
    ) -> Result<Evaluation, EngineError> {
        self.catalog.policy(actor, id).await?;
        let input = json::input_from_json(input).map_err(|error| EngineError::invalid("input", chain(&error)))?;
        let policy = self.policy(id).await?;
        if let Err(error) = self.needs(Arc::clone(&policy), config.to_owned()).await? {
            return Err(EngineError::Invalid(config_problems(&error)));
        }
        let evaluation = self.ask(policy, Arc::new(Input { config: config.to_owned(), ..input })).await;
        match evaluation.outcome {
            Err(Fault::Overloaded { .. }) => Err(EngineError::Overloaded),
            Err(Fault::InvalidInput(error)) => Err(EngineError::invalid("input", error.to_string())),
            _ => Ok(evaluation),
        }
    }

    /// Never waits; the answer does.
    pub(crate) fn ask(&self, policy: Arc<Policy>, input: Arc<Input>) -> PendingEvaluation {
        self.pool.evaluate(policy, input)
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<Policy>, EngineError> {
        let _one_of_few = self.permit().await?;
        self.compile_now(component).await
    }

    async fn compile_now(&self, component: Bytes) -> Result<Arc<Policy>, EngineError> {
        let host = Arc::clone(&self.host);
        let loaded = tokio::task::spawn_blocking(move || host.load(&component)).await;
        match loaded.map_err(|_| EngineError::Interrupted { operation: "compiling a policy" })? {
            Ok(policy) => Ok(policy),
            Err(LoadError::Describe(Fault::Overloaded { .. })) => Err(EngineError::Overloaded),
            Err(error) => Err(EngineError::invalid("component", chain(&error))),
        }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, EngineError> {
        self.compiling.acquire().await.map_err(|_| EngineError::Draining)
    }

    /// What the evaluations of each policy that is at hand came to, in the order of the ids.
    pub(crate) fn activity(&self) -> Vec<PolicyActivity> {
        let activity = |(id, (policy, _)): (&PolicyId, &(Arc<Policy>, u64))| PolicyActivity {
            id: *id,
            name: policy.description().name.clone(),
            version: policy.description().version.clone(),
            stats: policy.stats(),
        };
        let mut all: Vec<_> = self.loaded().policies.iter().map(activity).collect();
        all.sort_by_key(|one| one.id);
        all
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The problems of a configuration as those of a binding's field: `/rules/0/above` is `config.rules.0.above`.
fn config_problems(error: &ConfigError) -> Vec<FieldProblem> {
    match error {
        ConfigError::Invalid { problems } if !problems.is_empty() => problems
            .iter()
            .map(|one| {
                let field = format!("config{}", one.path.replace('/', "."));
                FieldProblem { field, problem: one.message.clone() }
            })
            .collect(),
        other => vec![FieldProblem { field: "config".to_owned(), problem: chain(other) }],
    }
}

/// An error with all that led to it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
