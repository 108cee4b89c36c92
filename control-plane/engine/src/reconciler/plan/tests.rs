use outrigger_catalog::model::{DeploymentSpec, Resources};
use outrigger_protocol::id::{AgentId, EnvironmentId, OrganizationId, ProjectId};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_scaling::{Combine, GuardConfig};

use super::*;

const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn deployment(desired: u32, status: DeploymentStatus) -> Deployment {
    let spec = DeploymentSpec {
        name: "web".to_owned(),
        project: ProjectId::generate(),
        environment: EnvironmentId::generate(),
        driver: "process".to_owned(),
        command: vec!["true".to_owned()],
        resources: Resources::default(),
        min_replicas: 1,
        max_replicas: 10,
        initial_replicas: 1,
        apply: ApplyStrategy::None,
        allowed_names: Vec::new(),
        http: false,
        sample_interval: Duration::from_secs(1),
        guards: GuardConfig::default(),
        combine: Combine::Max,
        policies: Vec::new(),
    };
    Deployment {
        id: DeploymentId::generate(),
        organization: OrganizationId::generate(),
        spec,
        status,
        status_reason: None,
        desired_replicas: desired,
        paused: false,
        last_scale_up: None,
        last_scale_down: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn instance(of: &Deployment, phase: InstancePhase) -> Instance {
    Instance {
        id: InstanceId::generate(),
        organization: of.organization,
        deployment: of.id,
        phase,
        endpoint: None,
        agent: None,
        created_at: NOW.saturating_sub(2 * MINUTE),
        updated_at: NOW.saturating_sub(2 * MINUTE),
    }
}

fn joined(instance: Instance) -> Instance {
    Instance { agent: Some(AgentId::generate()), ..instance }
}

fn seen(instance: &Instance, running: bool) -> Observed {
    Observed { instance: instance.id, running }
}

fn world(deployment: Deployment, instances: Vec<Instance>, observed: Vec<Observed>) -> World {
    World {
        now: NOW,
        deployments: vec![Known { deployment, instances }],
        observed: HashMap::from([("process".to_owned(), observed)]),
        uptime: 10 * MINUTE,
        lost_after: MINUTE,
        ..World::default()
    }
}

#[test]
fn what_is_as_it_should_be_needs_nothing() {
    let deployment = deployment(1, DeploymentStatus::Running);
    let one = instance(&deployment, InstancePhase::Running);
    let plan = plan(&world(deployment, vec![one.clone()], vec![seen(&one, true)]));
    assert_eq!(plan, Plan { managed: HashSet::from([one.id]), ..Plan::default() });
}

#[test]
fn a_dead_instance_is_lost_cleared_away_and_missing() {
    let deployment = deployment(2, DeploymentStatus::Running);
    let (dead, alive) = (instance(&deployment, InstancePhase::Running), instance(&deployment, InstancePhase::Running));
    let id = deployment.id;
    let plan =
        plan(&world(deployment, vec![dead.clone(), alive.clone()], vec![seen(&dead, false), seen(&alive, true)]));
    assert_eq!(plan.lost.len(), 1);
    assert_eq!((plan.lost[0].instance, plan.lost[0].remains, plan.lost[0].lived), (dead.id, true, 2 * MINUTE));
    assert_eq!(plan.missing, [(id, 1)]);
    assert!(plan.strays.is_empty());
}

#[test]
fn an_instance_that_no_driver_knows_is_lost_only_after_its_agent_was_silent_for_long() {
    let deployment = deployment(1, DeploymentStatus::Running);
    let one = joined(instance(&deployment, InstancePhase::Running));
    let at = |silence: Duration| {
        let mut world = world(deployment.clone(), vec![one.clone()], Vec::new());
        world.seen.insert(one.id, NOW.saturating_sub(silence));
        plan(&world).lost.len()
    };
    assert_eq!((at(Duration::ZERO), at(MINUTE - Duration::from_secs(1)), at(MINUTE)), (0, 0, 1));
    // After a restart, agents get as long to come back.
    let mut fresh = world(deployment.clone(), vec![one.clone()], Vec::new());
    fresh.uptime = Duration::from_secs(5);
    assert!(plan(&fresh).lost.is_empty());
    fresh.uptime = MINUTE;
    assert_eq!(plan(&fresh).lost.len(), 1);
}

#[test]
fn what_joined_from_outside_neither_counts_nor_is_managed() {
    let deployment = deployment(1, DeploymentStatus::Running);
    let (outside, own) = (instance(&deployment, InstancePhase::Running), instance(&deployment, InstancePhase::Running));
    let outside = joined(outside);
    let id = deployment.id;
    let mut world = world(deployment, vec![outside.clone(), own.clone()], vec![seen(&own, true)]);
    world.seen.insert(outside.id, NOW);
    let with_own = plan(&world);
    assert_eq!((with_own.missing.len(), with_own.managed.contains(&outside.id)), (0, false));
    world.deployments[0].instances.retain(|instance| instance.id == outside.id);
    assert_eq!(plan(&world).missing, [(id, 1)]);
}

#[test]
fn an_instance_without_an_agent_that_its_driver_has_forgotten_is_lost_at_once() {
    let deployment = deployment(1, DeploymentStatus::Running);
    let old = instance(&deployment, InstancePhase::Running);
    let young = Instance { updated_at: NOW, ..old.clone() };
    let forgotten = plan(&world(deployment.clone(), vec![old], Vec::new()));
    assert_eq!((forgotten.lost.len(), forgotten.missing.len()), (1, 1));
    let just_made = plan(&world(deployment, vec![young], Vec::new()));
    assert_eq!((just_made.lost.len(), just_made.missing.len()), (0, 0), "the driver was asked before it was made");
}

#[test]
fn a_sandbox_that_nobody_wrote_down_is_a_stray_unless_an_intent_is_about_it() {
    let deployment = deployment(0, DeploymentStatus::Stopped);
    let (stray, leaving) =
        (instance(&deployment, InstancePhase::Gone), instance(&deployment, InstancePhase::Destroying));
    let mut world = world(deployment, vec![leaving.clone()], vec![seen(&stray, true), seen(&leaving, true)]);
    assert_eq!(plan(&world).strays, [("process".to_owned(), stray.id)]);
    world.intended.insert(stray.id);
    assert!(plan(&world).strays.is_empty());
}

#[test]
fn a_driver_that_cannot_be_asked_changes_nothing() {
    let deployment = deployment(3, DeploymentStatus::Running);
    let one = instance(&deployment, InstancePhase::Running);
    let world = World { observed: HashMap::new(), ..world(deployment, vec![one], Vec::new()) };
    assert_eq!(plan(&world), Plan::default());
}

#[test]
fn what_an_intent_is_about_is_left_to_the_intent() {
    let deployment = deployment(1, DeploymentStatus::Running);
    let creating = instance(&deployment, InstancePhase::Creating);
    let dead = instance(&deployment, InstancePhase::Running);
    let mut world =
        world(deployment, vec![creating.clone(), dead.clone()], vec![seen(&creating, false), seen(&dead, false)]);
    world.intended.extend([creating.id, dead.id]);
    let plan = plan(&world);
    assert!(plan.lost.is_empty() && plan.missing.is_empty() && plan.strays.is_empty());
    assert!(plan.managed.contains(&creating.id));
}

#[test]
fn a_deployment_that_does_not_run_is_not_filled_up() {
    for status in
        [DeploymentStatus::Stopping, DeploymentStatus::Stopped, DeploymentStatus::Failed, DeploymentStatus::Pending]
    {
        assert!(plan(&world(deployment(2, status), Vec::new(), Vec::new())).missing.is_empty());
    }
    assert_eq!(plan(&world(deployment(2, DeploymentStatus::Provisioning), Vec::new(), Vec::new())).missing.len(), 1);
}
