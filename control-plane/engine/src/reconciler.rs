//! Holds what is written down against what there is, and brings the two together.
//!
//! At the start, every few seconds, and when something has died: intents that were not finished are carried out again,
//! instances that ended on their own are written off and replaced ([`crash_loop`] says how soon), sandboxes that nobody
//! wrote down are ended. What joined from outside is watched like the rest; it is never ended and never replaced, and
//! one that was taken for lost is taken back when its agent is heard again.
//!
//! What to do is a plan, made by a pure function ([`plan`]); a driver that cannot be asked takes no part in it, so that
//! an outage of the driver looks like nothing at all and not like the loss of everything.

mod crash_loop;
mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, Deployment, Instance, InstancePhase};
use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_protocol::time::UnixMillis;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::core::Core;
use crate::stats::Count;
use crate::{executor, lifecycle};
use crash_loop::CrashLoop;
use plan::{Known, Lost, Plan, World, plan};

/// The crash loops of all deployments that have one.
#[derive(Debug, Default)]
pub(crate) struct CrashLoops(Mutex<HashMap<DeploymentId, CrashLoop>>);

impl CrashLoops {
    fn wait(&self, deployment: DeploymentId, now: Instant) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&deployment)?.wait(now)
    }

    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&deployment);
    }
}

/// An instance of the deployment is gone, or never came to be, after it `lived` for so long.
pub(crate) fn died(core: &Core, deployment: DeploymentId, lived: Duration) {
    let mut loops = core.crash_loops.0.lock().unwrap_or_else(PoisonError::into_inner);
    let dice = core.ambient().dice();
    loops.entry(deployment).or_default().lost(lived, Instant::now(), &core.config.reconciler, dice);
}

/// The task.
pub(crate) async fn run(core: Arc<Core>, started: Instant) {
    let config = core.config.reconciler;
    loop {
        let round = round(&core, started).await;
        core.stats.add(if round.is_ok() { Count::Rounds } else { Count::RoundsFailed }, 1);
        let next = match round {
            Ok(wish) => wish.unwrap_or(config.interval).clamp(config.min_interval, config.interval),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a reconciliation came to nothing");
                config.interval
            }
        };
        tokio::time::sleep(config.min_interval.min(next)).await;
        tokio::select! {
            () = tokio::time::sleep(next.saturating_sub(config.min_interval)) => {}
            () = core.reconcile.notified() => {}
        }
    }
}

/// One round; returns when the next would be good, if something waits for a moment.
pub(crate) async fn round(core: &Arc<Core>, started: Instant) -> Result<Option<Duration>, CatalogError> {
    // Drivers first, catalog after: whatever a driver has by then is written down.
    let observed = observe(core).await;
    let intents = core.catalog.pending_intents().await?;
    let world = world(core, observed, &intents, started.elapsed()).await?;
    executor::submit(core, intents, None);
    let plan = plan(&world);
    let organizations: HashMap<DeploymentId, OrganizationId> =
        world.deployments.iter().map(|known| (known.deployment.id, known.deployment.organization)).collect();
    let wish = carry_out(core, &plan, &organizations).await?;
    clear_away(core, &world, plan).await;
    Ok(wish)
}

/// What each driver has. A driver that does not answer is left out.
async fn observe(core: &Core) -> HashMap<String, Vec<outrigger_drivers::Observed>> {
    let mut observed = HashMap::new();
    for (name, driver) in &core.drivers {
        match tokio::time::timeout(core.config.executor.call_timeout, driver.list()).await {
            Ok(Ok(list)) => {
                observed.insert((*name).to_owned(), list);
            }
            Ok(Err(error)) => {
                tracing::warn!(
                    driver = name,
                    error = &error as &dyn std::error::Error,
                    "a driver cannot list its instances"
                );
            }
            Err(_) => tracing::warn!(driver = name, "a driver does not list its instances in time"),
        }
    }
    observed
}

async fn world(
    core: &Core,
    observed: HashMap<String, Vec<outrigger_drivers::Observed>>,
    intents: &[outrigger_catalog::model::Intent],
    uptime: Duration,
) -> Result<World, CatalogError> {
    let mut deployments = Vec::new();
    let mut seen: HashMap<InstanceId, UnixMillis> = HashMap::new();
    let now = core.ambient().now();
    for deployment in core.catalog.all_deployments().await? {
        core.roster.enter(deployment.id, deployment.organization);
        let instances =
            match core.catalog.instances(&Actor::system(deployment.organization), deployment.id, false).await {
                Ok(instances) => instances,
                // Destroyed in between, which it only is without instances.
                Err(CatalogError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
        let mut connected = Vec::new();
        for live in core.ingest.live(deployment.id) {
            seen.insert(live.instance, if live.connected { now } else { live.last_seen });
            connected.extend(live.connected.then_some(live.instance));
        }
        deployments.push(Known { deployment, instances, connected });
    }
    Ok(World {
        now,
        deployments,
        observed,
        intended: intents.iter().map(|intent| intent.instance).collect(),
        seen,
        uptime,
        lost_after: core.config.reconciler.lost_after,
    })
}

async fn carry_out(
    core: &Arc<Core>,
    plan: &Plan,
    organizations: &HashMap<DeploymentId, OrganizationId>,
) -> Result<Option<Duration>, CatalogError> {
    for lost in &plan.lost {
        if let Some(organization) = organizations.get(&lost.deployment) {
            write_off(core, *organization, lost).await?;
        }
    }
    for (deployment, instance) in &plan.returned {
        if let Some(organization) = organizations.get(deployment) {
            take_back(core, *organization, *instance).await?;
        }
    }
    let mut wish: Option<Duration> = None;
    for (deployment, _) in &plan.missing {
        let Some(organization) = organizations.get(deployment) else { continue };
        if let Some(wait) = core.crash_loops.wait(*deployment, Instant::now()) {
            wish = Some(wish.map_or(wait, |wish| wish.min(wait)));
            continue;
        }
        replace(core, *organization, *deployment).await?;
    }
    Ok(wish)
}

async fn write_off(core: &Core, organization: OrganizationId, lost: &Lost) -> Result<(), CatalogError> {
    let instance = core.catalog.instance_lost(organization, lost.instance, &lost.message).await?;
    core.stats.add(Count::Lost, 1);
    tracing::warn!(deployment = %lost.deployment, reason = lost.message, "an instance is lost");
    if !lost.outside {
        if let Some(agent) = instance.agent {
            core.ingest.revoke(agent);
        }
        died(core, lost.deployment, lost.lived);
    }
    core.pokes.poke(lost.deployment);
    Ok(())
}

async fn take_back(core: &Core, organization: OrganizationId, instance: InstanceId) -> Result<(), CatalogError> {
    match core.catalog.instance_returned(organization, instance).await {
        Ok(instance) => {
            core.pokes.poke(instance.deployment);
            Ok(())
        }
        // Its deployment was destroyed in between, or its row is no longer kept.
        Err(CatalogError::NotFound { .. } | CatalogError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Plans as many instances as are missing at this moment.
async fn replace(core: &Core, organization: OrganizationId, id: DeploymentId) -> Result<(), CatalogError> {
    let _turn = core.turn(id).await;
    let actor = Actor::system(organization);
    let deployment = core.catalog.deployment(&actor, id).await?;
    if !deployment.status.is_started() {
        return Ok(());
    }
    let instances = core.catalog.instances(&actor, id, false).await?;
    let present = instances.iter().filter(|instance| counts(instance)).count();
    let missing = usize::try_from(deployment.desired_replicas).unwrap_or(usize::MAX).saturating_sub(present);
    if missing == 0 {
        return Ok(());
    }
    let creates: Vec<Instance> = (0..missing).map(|_| new_instance(core, &deployment)).collect();
    let intents = core.catalog.put_intents(&actor, id, creates, Vec::new(), Vec::new()).await?;
    lifecycle::count_intents(core, &intents);
    core.stats.add(Count::Replaced, missing as u64);
    tracing::info!(deployment = %id, missing, "replacing instances");
    executor::submit(core, intents, None);
    Ok(())
}

/// Whether an instance counts towards what is desired. What joined from outside was not asked for.
pub(crate) const fn counts(instance: &Instance) -> bool {
    !instance.outside && matches!(instance.phase, InstancePhase::Creating | InstancePhase::Running)
}

/// One more instance of a deployment, as it is written down before there is anything.
pub(crate) fn new_instance(core: &Core, deployment: &Deployment) -> Instance {
    let now = core.ambient().now();
    Instance {
        id: core.ambient().instance_id(),
        organization: deployment.organization,
        deployment: deployment.id,
        phase: InstancePhase::Creating,
        endpoint: None,
        agent: None,
        outside: false,
        created_at: now,
        updated_at: now,
    }
}

/// Ends what nobody wants, a few at a time.
async fn clear_away(core: &Arc<Core>, world: &World, plan: Plan) {
    core.stats.add(Count::Strays, plan.strays.len() as u64);
    let driver_of = |id: DeploymentId| {
        world
            .deployments
            .iter()
            .find(|known| known.deployment.id == id)
            .map(|known| known.deployment.spec.driver.clone())
    };
    let remains = plan.lost.iter().filter(|lost| lost.remains);
    let remains = remains.filter_map(|lost| Some((driver_of(lost.deployment)?, lost.instance)));
    let mut doomed: Vec<(String, InstanceId)> = remains.chain(plan.strays.iter().cloned()).collect();
    let mut clearing = JoinSet::new();
    while !doomed.is_empty() || !clearing.is_empty() {
        while clearing.len() < core.config.executor.concurrency.max(1)
            && let Some((driver, instance)) = doomed.pop()
        {
            let core = Arc::clone(core);
            clearing.spawn(async move { executor::clear(&core, &driver, instance).await });
        }
        clearing.join_next().await;
    }
}
