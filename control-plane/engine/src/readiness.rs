//! Which instances serve: one answer for everybody who asks.

use std::collections::HashSet;

use outrigger_catalog::model::{Deployment, Instance, InstancePhase};
use outrigger_protocol::id::InstanceId;

use crate::core::Core;
use crate::reconciler::counts;

/// Those of the instances that serve: their agents say so. Where a driver has no agents, its instances do as soon as they
/// were made; what joined from outside has an agent whatever the driver.
pub(crate) fn ready(core: &Core, deployment: &Deployment, instances: &[Instance]) -> HashSet<InstanceId> {
    let has_agents = core.driver_of(deployment).is_none_or(|driver| driver.has_agents());
    let said: HashSet<InstanceId> =
        core.ingest.live(deployment.id).into_iter().filter(|live| live.ready).map(|live| live.instance).collect();
    let serves = |instance: &&Instance| {
        // One whose creation is not finished may have a running program and no endpoint to reach it by.
        instance.phase == InstancePhase::Running && (said.contains(&instance.id) || !(has_agents || instance.outside))
    };
    instances.iter().filter(serves).map(|instance| instance.id).collect()
}

/// How many replicas serve: those of the ready instances that count as one.
pub(crate) fn ready_replicas(instances: &[Instance], ready: &HashSet<InstanceId>) -> usize {
    instances.iter().filter(|instance| counts(instance) && ready.contains(&instance.id)).count()
}
