//! One look at one deployment: read, ask, decide, write down.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{
    Actor, Decision, Deployment, DeploymentStatus, EventKind, Instance, InstancePhase, PolicyBinding, PolicyMode,
    ProposalRecord, ProposalSummary,
};
use outrigger_policy_host::{Breaker, BreakerState, ConfigError, Evaluation, Fault, Input, Needs, Policy, json};
use outrigger_protocol::id::{DeploymentId, InstanceId, PolicyId};
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::decide::Wish;
use outrigger_scaling::{Decided, PolicyOutcome, Verdict, View, decide};
use tokio::time::Instant;

use super::Looked;
use super::holds::{Holds, Kind};
use super::input::{Points, Scene, guards};
use crate::config::most_points;
use crate::core::Core;
use crate::error::EngineError;
use crate::policies::chain;
use crate::stats::{Count, Timing};
use crate::{lifecycle, readiness};

/// What is remembered of a deployment from look to look. None of it is needed to go on.
#[derive(Debug, Default)]
pub(super) struct Mind {
    bindings: HashMap<String, Habit>,
    holds: Holds,
}

/// What is remembered of one bound policy, as long as it is bound with this configuration.
#[derive(Debug)]
struct Habit {
    policy: PolicyId,
    config: String,
    /// Absent until the policy was asked what it needs.
    needs: Option<Needs>,
    /// What its last proposal left.
    state: Vec<u8>,
    breaker: Breaker,
}

/// Looks at a deployment, whatever state it is in.
pub(super) async fn look(core: &Arc<Core>, actor: &Actor, id: DeploymentId, mut mind: Mind) -> Looked {
    match look_closely(core, actor, id, &mut mind).await {
        Ok((again, wish)) => Looked { mind, again, wish },
        Err(EngineError::Catalog(CatalogError::NotFound { .. })) => {
            lifecycle::forget(core, id);
            Looked { mind, again: false, wish: None }
        }
        Err(EngineError::Catalog(CatalogError::Conflict { what })) => {
            core.stats.add(Count::Stale, 1);
            tracing::debug!(deployment = %id, what, "a decision was void");
            core.pokes.poke(id);
            Looked { mind, again: true, wish: None }
        }
        Err(error) => {
            core.stats.add(Count::LooksFailed, 1);
            tracing::warn!(deployment = %id, error = &error as &dyn std::error::Error, "a look at a deployment failed");
            Looked { mind, again: true, wish: None }
        }
    }
}

async fn look_closely(
    core: &Arc<Core>,
    actor: &Actor,
    id: DeploymentId,
    mind: &mut Mind,
) -> Result<(bool, Option<Duration>), EngineError> {
    let deployment = core.catalog.deployment(actor, id).await?;
    if core.board.saw(&deployment)
        && let Some(decision) = core.catalog.latest_decision(deployment.organization, id).await?
    {
        core.board.recalled(&decision);
    }
    if deployment.status != DeploymentStatus::Running {
        *mind = Mind::default();
        return Ok((lifecycle::advance(core, actor, id).await?, None));
    }
    let instances = present(core.catalog.instances(actor, id, false).await?);
    let ready = readiness::ready(core, &deployment, &instances);
    let asked = ask_all(core, &deployment, &instances, &ready, mind).await;
    let serving = u32::try_from(readiness::ready_replicas(&instances, &ready)).unwrap_or(u32::MAX);
    core.board.looked(id, serving, mind.breakers_open());
    let wish = asked.iter().filter_map(Asked::next_look).min();
    settle(core, actor, &deployment, &instances, &ready, asked, mind).await?;
    Ok((true, wish))
}

fn present(instances: Vec<Instance>) -> Vec<Instance> {
    let is_present = |instance: &Instance| matches!(instance.phase, InstancePhase::Creating | InstancePhase::Running);
    instances.into_iter().filter(is_present).collect()
}

/// What a bound policy was asked and said.
struct Asked {
    name: String,
    shadow: bool,
    digest: [u8; 32],
    /// As it was given to the policy; absent when it was not asked.
    input: Option<Arc<Input>>,
    outcome: Result<outrigger_policy_host::Proposal, String>,
    elapsed: Duration,
    fuel: u64,
}

impl Asked {
    fn refused(binding: &PolicyBinding, digest: [u8; 32], reason: String) -> Self {
        let (name, shadow) = (binding.name.clone(), binding.mode == PolicyMode::Shadow);
        Self { name, shadow, digest, input: None, outcome: Err(reason), elapsed: Duration::ZERO, fuel: 0 }
    }

    fn next_look(&self) -> Option<Duration> {
        self.outcome.as_ref().ok()?.next_look
    }
}

/// A policy that may be asked now.
struct Admitted<'a> {
    binding: &'a PolicyBinding,
    policy: Arc<Policy>,
    state: Vec<u8>,
}

async fn ask_all(
    core: &Arc<Core>,
    deployment: &Deployment,
    instances: &[Instance],
    ready: &HashSet<InstanceId>,
    mind: &mut Mind,
) -> Vec<Asked> {
    let bindings: Vec<&PolicyBinding> =
        deployment.spec.policies.iter().filter(|binding| binding.mode != PolicyMode::Disabled).collect();
    mind.bindings.retain(|name, _| bindings.iter().any(|binding| binding.name == *name));
    let (mut asked, mut admitted, mut needs) = (Vec::new(), Vec::new(), Needs::default());
    for binding in bindings {
        match admit(core, binding, mind).await {
            Ok((one, its_needs)) => {
                needs = needs.union(&its_needs);
                admitted.push(one);
            }
            Err(refused) => asked.push(refused),
        }
    }
    if admitted.is_empty() {
        return asked;
    }
    let scene = Scene { now: core.ambient().now(), deployment, instances, ready };
    let points = Points { usual: core.config.scaler.points, most: most_points() };
    let shared = core.ingest.window(deployment.id, |window| scene.input(Some(window), &needs, points));
    let shared = shared.unwrap_or_else(|| scene.input(None, &needs, points));
    // All of them are queued before the first is awaited.
    let pending: Vec<_> = admitted
        .into_iter()
        .map(|Admitted { binding, policy, state }| {
            let input = Arc::new(Input { config: binding.config.clone(), state, ..shared.clone() });
            let answer = core.policies.ask(Arc::clone(&policy), Arc::clone(&input));
            (binding, policy, input, answer)
        })
        .collect();
    for (binding, policy, input, answer) in pending {
        let evaluation = answer.await;
        asked.push(judge(core, deployment, binding, &policy, input, evaluation, mind).await);
    }
    // In the order of the bindings, whichever was refused.
    let place = |asked: &Asked| deployment.spec.policies.iter().position(|binding| binding.name == asked.name);
    asked.sort_by_key(place);
    asked
}

/// The policy of a binding, unless it cannot be used or keeps failing.
async fn admit<'a>(
    core: &Arc<Core>,
    binding: &'a PolicyBinding,
    mind: &mut Mind,
) -> Result<(Admitted<'a>, Needs), Asked> {
    let policy = match core.policies.policy(binding.policy).await {
        Ok(policy) => policy,
        Err(error) => return Err(Asked::refused(binding, [0; 32], chain(&error))),
    };
    let digest = *policy.digest().as_bytes();
    let habit = mind.habit(binding, core);
    if let Err(open) = habit.breaker.admit(Instant::now().into_std()) {
        return Err(Asked::refused(binding, digest, open.to_string()));
    }
    if habit.needs.is_none() {
        match core.policies.needs(Arc::clone(&policy), binding.config.clone()).await {
            Ok(Ok(needs)) => habit.needs = Some(needs),
            Ok(Err(error)) => {
                if matches!(error, ConfigError::Fault(_)) {
                    habit.breaker.failed(Instant::now().into_std());
                } else {
                    habit.breaker.abandoned(Instant::now().into_std());
                }
                return Err(Asked::refused(binding, digest, chain(&error)));
            }
            Err(error) => {
                habit.breaker.abandoned(Instant::now().into_std());
                return Err(Asked::refused(binding, digest, chain(&error)));
            }
        }
    }
    let needs = habit.needs.clone().unwrap_or_default();
    Ok((Admitted { binding, policy, state: habit.state.clone() }, needs))
}

impl Mind {
    /// Bound policies that are not asked because they keep failing, or are on trial.
    fn breakers_open(&self) -> u32 {
        let open = self.bindings.values().filter(|habit| habit.breaker.state() != BreakerState::Closed);
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    }

    /// What is known of a binding; nothing when its policy or configuration has changed.
    fn habit(&mut self, binding: &PolicyBinding, core: &Core) -> &mut Habit {
        let fresh = || Habit {
            policy: binding.policy,
            config: binding.config.clone(),
            needs: None,
            state: Vec::new(),
            breaker: Breaker::new(core.config.breaker),
        };
        let habit = self.bindings.entry(binding.name.clone()).or_insert_with(fresh);
        if habit.policy != binding.policy || habit.config != binding.config {
            *habit = fresh();
        }
        habit
    }
}

/// Takes an answer in: feeds the breaker, keeps the policy's state, and tells of a policy that is given up on.
async fn judge(
    core: &Core,
    deployment: &Deployment,
    binding: &PolicyBinding,
    policy: &Policy,
    input: Arc<Input>,
    evaluation: Evaluation,
    mind: &mut Mind,
) -> Asked {
    let habit = mind.habit(binding, core);
    let now = Instant::now().into_std();
    let Evaluation { outcome, fuel, elapsed, .. } = evaluation;
    match &outcome {
        Ok(proposal) => {
            habit.breaker.succeeded();
            habit.state.clone_from(&proposal.state);
        }
        Err(fault) => {
            habit.state.clear();
            core.stats.add(Count::PolicyFaults, 1);
            if !fault.blames_policy() {
                habit.breaker.abandoned(now);
            } else if habit.breaker.failed(now) {
                given_up_on(core, deployment, binding, fault).await;
            }
        }
    }
    Asked {
        name: binding.name.clone(),
        shadow: binding.mode == PolicyMode::Shadow,
        digest: *policy.digest().as_bytes(),
        input: Some(input),
        outcome: outcome.map_err(|fault| fault.to_string()),
        elapsed,
        fuel,
    }
}

async fn given_up_on(core: &Core, deployment: &Deployment, binding: &PolicyBinding, fault: &Fault) {
    core.stats.add(Count::BreakersOpened, 1);
    let policy = &binding.name;
    tracing::warn!(deployment = %deployment.id, policy, %fault, "a policy keeps failing and is not asked for a while");
    let kind = EventKind::PolicyFaulted { policy: binding.name.clone() };
    let message = format!("the policy {} keeps failing and is not asked for a while: {fault}", binding.name);
    core.put_event(core.ambient().event(deployment.organization, deployment.id, kind, message, None)).await;
}

/// Decides, and has written down what was decided.
async fn settle(
    core: &Arc<Core>,
    actor: &Actor,
    deployment: &Deployment,
    instances: &[Instance],
    ready: &HashSet<InstanceId>,
    asked: Vec<Asked>,
    mind: &mut Mind,
) -> Result<(), EngineError> {
    let (config, now) = (guards(deployment), core.ambient().now());
    let scene = Scene { now, deployment, instances, ready };
    let seen =
        core.ingest.window(deployment.id, |window| (scene.view(Some(window), config.freshness), window.received()));
    let (view, received) = seen.unwrap_or_else(|| (scene.view(None, config.freshness), None));
    let active: Vec<PolicyOutcome> = asked.iter().filter(|one| !one.shadow).map(outcome).collect();
    let decided = decide(&view, &config, deployment.spec.combine, &active);
    core.stats.add(counted(&decided), 1);
    if decided.verdict == Verdict::Hold {
        let failed = asked.iter().filter(|one| one.outcome.is_err()).map(|one| one.name.clone()).collect();
        let kind = Kind { replicas: view.replicas, cause: decided.cause, failed };
        let Some(repeats) = mind.holds.consider(&kind, now, core.config.scaler.repeat_holds) else { return Ok(()) };
        let decision = Decision { repeats, ..decision(core, deployment, &view, decided, asked, received) };
        match core.catalog.record_hold(decision).await {
            Ok(written) => core.tell_decision(written),
            // Somebody scaled it while it was being looked at; the next look is about what there is now.
            Err(CatalogError::Conflict { .. }) => mind.holds.reset(),
            Err(error) => return Err(error.into()),
        }
    } else {
        mind.holds.reset();
        let _turn = core.turn(deployment.id).await;
        let target = decided.target;
        let decision = decision(core, deployment, &view, decided, asked, received);
        let (creates, destroys) = lifecycle::effects(core, actor, deployment, target).await?;
        still_runs(core, actor, deployment).await?;
        lifecycle::record(core, actor, decision, creates, destroys).await?;
    }
    if let Some(received) = received {
        core.stats.time(Timing::SampleToDecision, core.ambient().now().since(received));
    }
    Ok(())
}

/// What was read before the deployment's turn came may no longer be so; its size is compared when it is written.
async fn still_runs(core: &Core, actor: &Actor, deployment: &Deployment) -> Result<(), CatalogError> {
    let now = core.catalog.deployment(actor, deployment.id).await?;
    if now.status == DeploymentStatus::Running && now.paused == deployment.paused && now.spec == deployment.spec {
        return Ok(());
    }
    Err(CatalogError::Conflict { what: "the deployment has changed meanwhile".to_owned() })
}

fn counted(decided: &Decided) -> Count {
    match decided.verdict {
        Verdict::Approve { .. } => Count::Approved,
        Verdict::Clamp { .. } => Count::Clamped,
        Verdict::Hold => Count::Held,
    }
}

fn outcome(asked: &Asked) -> PolicyOutcome {
    let result = asked.outcome.clone().map(|proposal| Wish {
        desired: proposal.replicas,
        confidence: proposal.confidence,
        reason: proposal.reason,
    });
    PolicyOutcome { name: asked.name.clone(), result }
}

fn decision(
    core: &Core,
    deployment: &Deployment,
    view: &View,
    decided: Decided,
    asked: Vec<Asked>,
    received: Option<UnixMillis>,
) -> Decision {
    let at = core.ambient().now();
    Decision {
        id: core.ambient().decision_id(),
        organization: deployment.organization,
        deployment: deployment.id,
        at,
        from_replicas: view.replicas,
        to_replicas: decided.target,
        verdict: decided.verdict,
        reason: decided.reason,
        guards: decided.guards,
        input: inputs(&asked),
        reaction: received.map(|received| at.since(received)),
        repeats: 0,
        proposals: asked.into_iter().map(proposal).collect(),
    }
}

fn proposal(asked: Asked) -> ProposalRecord {
    let outcome = asked.outcome.map(|proposal| ProposalSummary {
        desired: proposal.replicas,
        confidence: proposal.confidence,
        reason: proposal.reason,
        signals: proposal.signals,
    });
    let Asked { name, shadow, digest, elapsed, fuel, .. } = asked;
    ProposalRecord { policy: name, digest, shadow, outcome, elapsed, fuel }
}

/// The inputs by the bindings' names. Each is what `outrigger policy eval` takes.
fn inputs(asked: &[Asked]) -> String {
    let inputs = asked.iter().filter_map(|one| Some((one.name.clone(), json::input_to_json(one.input.as_deref()?))));
    serde_json::Value::Object(inputs.collect()).to_string()
}
