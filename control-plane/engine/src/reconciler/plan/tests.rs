use outrigger_catalog::model::DeploymentStatus;

use super::*;
use crate::fixtures::{AGE, NOW, deployment, instance, joined, outside};

const MINUTE: Duration = Duration::from_secs(60);

fn seen(instance: &Instance, running: bool) -> Observed {
    Observed { instance: instance.id, running }
}

fn world(deployment: Deployment, instances: Vec<Instance>, observed: Vec<Observed>) -> World {
    World {
        now: NOW,
        deployments: vec![Known { deployment, instances, connected: Vec::new() }],
        observed: HashMap::from([("process".to_owned(), observed)]),
        uptime: 10 * MINUTE,
        lost_after: MINUTE,
        ..World::default()
    }
}

#[test]
fn what_is_as_it_should_be_needs_nothing() {
    let deployment = deployment(DeploymentStatus::Running, 1);
    let one = instance(&deployment, InstancePhase::Running);
    let plan = plan(&world(deployment, vec![one.clone()], vec![seen(&one, true)]));
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_dead_instance_is_lost_cleared_away_and_missing() {
    let deployment = deployment(DeploymentStatus::Running, 2);
    let (dead, alive) = (instance(&deployment, InstancePhase::Running), instance(&deployment, InstancePhase::Running));
    let id = deployment.id;
    let plan =
        plan(&world(deployment, vec![dead.clone(), alive.clone()], vec![seen(&dead, false), seen(&alive, true)]));
    assert_eq!(plan.lost.len(), 1);
    assert_eq!((plan.lost[0].instance, plan.lost[0].remains, plan.lost[0].lived), (dead.id, true, AGE));
    assert_eq!(plan.missing, [(id, 1)]);
    assert!(plan.strays.is_empty());
}

#[test]
fn an_instance_that_no_driver_knows_is_lost_only_after_its_agent_was_silent_for_long() {
    let deployment = deployment(DeploymentStatus::Running, 1);
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
fn what_joined_from_outside_counts_for_no_replica() {
    let deployment = deployment(DeploymentStatus::Running, 1);
    let (outside, own) = (outside(&deployment), instance(&deployment, InstancePhase::Running));
    let id = deployment.id;
    let mut world = world(deployment, vec![outside.clone(), own.clone()], vec![seen(&own, true)]);
    world.seen.insert(outside.id, NOW);
    assert_eq!(plan(&world), Plan::default());
    world.deployments[0].instances.retain(|instance| instance.id == outside.id);
    assert_eq!(plan(&world).missing, [(id, 1)]);
}

#[test]
fn what_its_driver_has_forgotten_counts_for_as_long_as_its_agent_is_heard() {
    let deployment = deployment(DeploymentStatus::Running, 1);
    let one = joined(instance(&deployment, InstancePhase::Running));
    let mut world = world(deployment, vec![one.clone()], Vec::new());
    world.seen.insert(one.id, NOW);
    assert_eq!(plan(&world), Plan::default(), "nothing is given up because something is not known");
}

#[test]
fn an_agent_from_outside_that_was_taken_for_lost_and_is_heard_again_is_taken_back() {
    let deployment = deployment(DeploymentStatus::Stopped, 0);
    let (listed, away) = (outside(&deployment), InstanceId::generate());
    let id = deployment.id;
    let mut world = world(deployment, vec![listed.clone()], Vec::new());
    world.seen.insert(listed.id, NOW);
    world.deployments[0].connected = vec![listed.id, away];
    assert_eq!(plan(&world), Plan { returned: vec![(id, away)], ..Plan::default() });
}

#[test]
fn an_instance_without_an_agent_that_its_driver_has_forgotten_is_lost_at_once() {
    let deployment = deployment(DeploymentStatus::Running, 1);
    let old = instance(&deployment, InstancePhase::Running);
    let young = Instance { updated_at: NOW, ..old.clone() };
    let forgotten = plan(&world(deployment.clone(), vec![old], Vec::new()));
    assert_eq!((forgotten.lost.len(), forgotten.missing.len()), (1, 1));
    let just_made = plan(&world(deployment, vec![young], Vec::new()));
    assert_eq!((just_made.lost.len(), just_made.missing.len()), (0, 0), "the driver was asked before it was made");
}

#[test]
fn a_sandbox_that_nobody_wrote_down_is_a_stray_unless_an_intent_is_about_it() {
    let deployment = deployment(DeploymentStatus::Stopped, 0);
    let (stray, leaving) =
        (instance(&deployment, InstancePhase::Gone), instance(&deployment, InstancePhase::Destroying));
    let mut world = world(deployment, vec![leaving.clone()], vec![seen(&stray, true), seen(&leaving, true)]);
    assert_eq!(plan(&world).strays, [("process".to_owned(), stray.id)]);
    world.intended.insert(stray.id);
    assert!(plan(&world).strays.is_empty());
}

#[test]
fn a_driver_that_cannot_be_asked_changes_nothing() {
    let deployment = deployment(DeploymentStatus::Running, 3);
    let one = instance(&deployment, InstancePhase::Running);
    let world = World { observed: HashMap::new(), ..world(deployment, vec![one], Vec::new()) };
    assert_eq!(plan(&world), Plan::default());
}

#[test]
fn what_an_intent_is_about_is_left_to_the_intent() {
    let deployment = deployment(DeploymentStatus::Running, 1);
    let creating = instance(&deployment, InstancePhase::Creating);
    let dead = instance(&deployment, InstancePhase::Running);
    let mut world =
        world(deployment, vec![creating.clone(), dead.clone()], vec![seen(&creating, false), seen(&dead, false)]);
    world.intended.extend([creating.id, dead.id]);
    let plan = plan(&world);
    assert!(plan.lost.is_empty() && plan.missing.is_empty() && plan.strays.is_empty());
}

#[test]
fn a_deployment_that_does_not_run_is_not_filled_up() {
    for status in
        [DeploymentStatus::Stopping, DeploymentStatus::Stopped, DeploymentStatus::Failed, DeploymentStatus::Pending]
    {
        assert!(plan(&world(deployment(status, 2), Vec::new(), Vec::new())).missing.is_empty());
    }
    assert_eq!(plan(&world(deployment(DeploymentStatus::Provisioning, 2), Vec::new(), Vec::new())).missing.len(), 1);
}
