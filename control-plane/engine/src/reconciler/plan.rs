//! What is written down against what there is: a plan, as data. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use outrigger_catalog::model::{Deployment, Instance, InstancePhase};
use outrigger_drivers::Observed;
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::time::UnixMillis;

use super::counts;

/// Everything that is known at one moment. Drivers were asked first and the catalog after them: whatever a driver
/// made before it was asked is then in the catalog.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: UnixMillis,
    pub(super) deployments: Vec<Known>,
    /// What each driver that could be asked has, by the driver's name.
    pub(super) observed: HashMap<String, Vec<Observed>>,
    /// Instances that an intent is about.
    pub(super) intended: HashSet<InstanceId>,
    /// When agents were seen last, for instances that have or had one since this process runs.
    pub(super) seen: HashMap<InstanceId, UnixMillis>,
    /// How long this process has run: agents of before had as long to come back.
    pub(super) uptime: Duration,
    pub(super) lost_after: Duration,
}

/// One deployment with all of its instances that are not gone.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) deployment: Deployment,
    pub(super) instances: Vec<Instance>,
    /// Whose agents are connected at this moment.
    pub(super) connected: Vec<InstanceId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) deployment: DeploymentId,
    pub(super) instance: InstanceId,
    /// It was not ours, so nothing of ours crashed, and its agent may come back.
    pub(super) outside: bool,
    pub(super) lived: Duration,
    pub(super) message: String,
    /// The driver still has something of it that has to be cleared away.
    pub(super) remains: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) lost: Vec<Lost>,
    /// What a driver has and nobody wants, with the driver's name.
    pub(super) strays: Vec<(String, InstanceId)>,
    /// Replicas that are missing once the lost ones are gone.
    pub(super) missing: Vec<(DeploymentId, u32)>,
    /// Instances whose agents are connected and that are not listed. One that joined from outside and was taken for lost
    /// is taken back; any other has just come, or was just written off and is about to lose its connection.
    pub(super) returned: Vec<(DeploymentId, InstanceId)>,
}

pub(super) fn plan(world: &World) -> Plan {
    let mut plan = Plan::default();
    let mut wanted: HashSet<InstanceId> = HashSet::new();
    for known in &world.deployments {
        wanted.extend(known.instances.iter().map(|instance| instance.id));
        let returned = known.connected.iter().filter(|id| !wanted.contains(id));
        plan.returned.extend(returned.map(|id| (known.deployment.id, *id)));
        plan_deployment(world, known, &mut plan);
    }
    for (driver, observed) in &world.observed {
        let strays = observed.iter().filter(|seen| !wanted.contains(&seen.instance));
        let strays = strays.filter(|seen| !world.intended.contains(&seen.instance));
        plan.strays.extend(strays.map(|seen| (driver.clone(), seen.instance)));
    }
    plan
}

fn plan_deployment(world: &World, known: &Known, plan: &mut Plan) {
    let Known { deployment, instances, .. } = known;
    // A driver that could not be asked says nothing about its instances.
    let Some(observed) = world.observed.get(&deployment.spec.driver) else { return };
    let observed: HashMap<InstanceId, bool> = observed.iter().map(|seen| (seen.instance, seen.running)).collect();
    let mut kept = 0_u32;
    for instance in instances {
        let found = observed.get(&instance.id).copied();
        let verdict = match (instance.phase, found) {
            (InstancePhase::Running, Some(false)) => Some("its agent is dead".to_owned()),
            (InstancePhase::Running, None) if instance.agent.is_none() => unknown(world, instance),
            (InstancePhase::Running, None) => silent(world, instance),
            _ => None,
        };
        match verdict.filter(|_| !world.intended.contains(&instance.id)) {
            Some(reason) => plan.lost.push(Lost {
                deployment: deployment.id,
                instance: instance.id,
                outside: instance.outside,
                lived: world.now.since(instance.created_at),
                message: format!("{} lost: {reason}", instance.id),
                remains: found.is_some(),
            }),
            None if counts(instance) => kept += 1,
            None => {}
        }
    }
    let missing = deployment.desired_replicas.saturating_sub(kept);
    if deployment.status.is_started() && missing > 0 {
        plan.missing.push((deployment.id, missing));
    }
}

/// Drivers were asked a moment before the catalog: an instance this young may have come in between.
const SETTLED: Duration = Duration::from_secs(5);

/// Why an instance that its driver does not know, and that no agent ever joined as, is lost.
fn unknown(world: &World, instance: &Instance) -> Option<String> {
    (world.now.since(instance.updated_at) >= SETTLED).then(|| "its driver does not know it".to_owned())
}

/// Why an instance that joined from outside, or whose driver has forgotten it, is lost.
fn silent(world: &World, instance: &Instance) -> Option<String> {
    let silence = match world.seen.get(&instance.id) {
        Some(seen) => world.now.since(*seen),
        None => world.now.since(instance.updated_at).min(world.uptime),
    };
    let is_lost = silence >= world.lost_after;
    let unknown = if instance.outside { "" } else { "its driver does not know it and " };
    is_lost.then(|| format!("{unknown}its agent was not heard for {} s", silence.as_secs()))
}

#[cfg(test)]
mod tests;
