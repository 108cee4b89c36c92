use std::time::Duration;

use outrigger_catalog::model::{
    AuditAction, Deployment, DeploymentStatus, EventKind, PolicyBinding, PolicyMode, Resources,
};
use outrigger_catalog::{CatalogError, IntentOutcome, Page};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::probe::{Probe, ProbeKind, ProbeLevel, ProbeTarget};

use crate::world::{World, assert_error, environment_of, foreign_deployment, owner, spec};

#[tokio::test]
async fn every_problem_of_a_specification_is_named_at_once() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let mut bad = spec(&project, &environment);
    bad.name = "  ".to_owned();
    bad.driver = "Process!".to_owned();
    bad.command = Vec::new();
    bad.resources = Resources { cpu_cores: Some(f64::NAN), memory_bytes: Some(1) };
    (bad.min_replicas, bad.max_replicas, bad.initial_replicas) = (5, 2, 9);
    bad.apply = ApplyStrategy::Signal { signal: 99 };
    bad.sample_interval = Duration::ZERO;
    bad.guards.max_step_up = Some(0);
    bad.bake_time = Some(Duration::MAX);
    bad.start_only = vec!["A=B".to_owned()];
    let command = ProbeTarget::Command(Vec::new());
    bad.probes = vec![Probe::new(ProbeKind::Liveness, ProbeLevel::Service, command); 2];
    bad.allowed_names = vec![String::new()];
    let Err(CatalogError::Validation(problems)) = world.catalog.create_deployment(&actor, bad).await else {
        panic!("expected a validation error")
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    let expected = [
        "name",
        "driver",
        "command",
        "resources.cpu",
        "resources.memory",
        "replicas.min",
        "replicas.initial",
        "applyStrategy.signal",
        "applyStrategy.bakeTime",
        "applyStrategy.needsRestart",
        "probes[0].command",
        "probes[1].command",
        "probes[1].name",
        "sampleInterval",
        "scaling.maxStepUp",
        "allowedNames",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn a_problem_of_a_binding_is_named_with_its_place_in_the_list() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let policy = world.policy(&actor, b"component").await.id;
    let binding = |name: &str, config: &str| PolicyBinding {
        name: name.to_owned(),
        policy,
        config: config.to_owned(),
        mode: PolicyMode::Active,
    };
    let mut bad = spec(&project, &environment);
    bad.guards.freshness = Duration::ZERO;
    bad.policies = vec![binding("load", "{}"), binding("load", "{}"), binding("", "{")];
    let Err(CatalogError::Validation(problems)) = world.catalog.create_deployment(&actor, bad).await else {
        panic!("expected a validation error")
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["scaling.freshness", "policies[1].name", "policies[2].name", "policies[2].config"]);
    assert!(problems[1].problem.contains("policies[0]"), "{}", problems[1]);
}

#[tokio::test]
async fn an_environment_of_another_project_is_refused() {
    let world = World::new().await;
    let actor = owner();
    let (project, other) = (world.project(&actor).await, world.project(&actor).await);
    let environment = world.environment(&actor, &other).await;
    let refused = world.catalog.create_deployment(&actor, spec(&project, &environment)).await;
    assert_error!(refused, CatalogError::Validation(problems) if problems[0].field == "environment");
}

#[tokio::test]
async fn a_deployment_is_destroyed_only_when_nothing_of_it_runs() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let delete = async || world.catalog.delete_deployment(&actor, deployment.id).await;
    let status = async |status| world.catalog.set_status(&actor, deployment.id, status, None).await.unwrap();
    status(DeploymentStatus::Running).await;
    assert_error!(delete().await, CatalogError::Conflict { what } if what.contains("RUNNING"));
    status(DeploymentStatus::Stopped).await;
    assert_error!(delete().await, CatalogError::Conflict { what } if what.contains("1 instances"));
    world.catalog.finish_intent(&recorded.intents[0], IntentOutcome::Destroyed, None).await.unwrap();

    let project = deployment.spec.project;
    assert_error!(world.catalog.delete_project(&actor, project).await, CatalogError::Conflict { .. });
    let environment = deployment.spec.environment;
    assert_error!(world.catalog.delete_environment(&actor, environment).await, CatalogError::Conflict { .. });
    let gone = delete().await.unwrap();
    assert_eq!((gone.status, gone.desired_replicas), (DeploymentStatus::Destroyed, 0));
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap(), gone);
    assert!(world.catalog.list_deployments(&actor, None, Page::default()).await.unwrap().items.is_empty());
    assert!(world.catalog.list_deployments(&actor, Some(project), Page::default()).await.unwrap().items.is_empty());
    assert!(world.catalog.all_deployments().await.unwrap().is_empty());
    assert_error!(delete().await, CatalogError::Conflict { .. });
    let late = world.catalog.set_status(&actor, deployment.id, DeploymentStatus::Running, None).await;
    assert_error!(late, CatalogError::Conflict { .. });
    assert_eq!(world.catalog.decisions(&actor, deployment.id, Page::default()).await.unwrap().items.len(), 1);
    world.catalog.delete_environment(&actor, environment).await.unwrap();
    world.catalog.delete_project(&actor, project).await.unwrap();
}

#[tokio::test]
async fn a_change_of_status_is_an_event_and_staying_is_none() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    for _ in 0..2 {
        let reason = Some("no such program".to_owned());
        let failed = world.catalog.set_status(&actor, deployment.id, DeploymentStatus::Failed, reason).await.unwrap();
        assert_eq!(failed.status_reason.as_deref(), Some("no such program"));
    }
    let events = world.catalog.events(&actor, deployment.id, Page::default()).await.unwrap().items;
    let kinds: Vec<_> = events.iter().map(|event| &event.kind).collect();
    assert_eq!(kinds, [&EventKind::StatusChanged { from: "PENDING".to_owned(), to: "FAILED".to_owned() }]);
    assert_eq!(events[0].message, "PENDING -> FAILED: no such program");
    let destroyed = world.catalog.set_status(&actor, deployment.id, DeploymentStatus::Destroyed, None).await;
    assert_error!(destroyed, CatalogError::Conflict { .. });
    let absent = world.catalog.set_status(&actor, foreign_deployment(), DeploymentStatus::Failed, None).await;
    assert_error!(absent, CatalogError::NotFound { .. });
}

#[tokio::test]
async fn policies_are_bound_changed_and_unbound_by_name() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let policy = world.policy(&actor, b"component").await;
    let mut binding =
        PolicyBinding { name: "main".to_owned(), policy: policy.id, config: "{}".to_owned(), mode: PolicyMode::Active };
    let bind = async |binding: &PolicyBinding| world.catalog.bind_policy(&actor, deployment.id, binding.clone()).await;
    bind(&binding).await.unwrap();
    binding.mode = PolicyMode::Shadow;
    let bound = bind(&binding).await.unwrap();
    assert_eq!(bound.spec.policies, [binding.clone()]);
    let audited = world.catalog.audit(&actor, Page::default()).await.unwrap().items.len();
    assert_eq!(bind(&binding).await.unwrap(), bound, "the same binding again is no change");
    assert_eq!(world.catalog.audit(&actor, Page::default()).await.unwrap().items.len(), audited);
    binding.config = "{".to_owned();
    assert_error!(bind(&binding).await, CatalogError::Validation(problems) if problems[0].field == "config");

    assert_error!(world.catalog.delete_policy(&actor, policy.id).await, CatalogError::Conflict { .. });
    world.catalog.unbind_policy(&actor, deployment.id, "main").await.unwrap();
    let absent = world.catalog.unbind_policy(&actor, deployment.id, "main").await;
    assert_error!(absent, CatalogError::NotFound { what: "policy binding" });
    world.catalog.delete_policy(&actor, policy.id).await.unwrap();
}

#[tokio::test]
async fn a_deployment_moves_to_another_environment_of_its_project() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let project = world.catalog.project(&actor, deployment.spec.project).await.unwrap();
    let new = environment_of(&project, "other");
    let other = world.catalog.create_environment(&actor, new).await.unwrap();
    let spec = spec(&project, &other);
    let moved = world.catalog.update_deployment(&actor, deployment.id, spec.clone()).await.unwrap();
    assert_eq!(moved.spec, spec);
    let of = async |environment| -> Vec<Deployment> {
        world.catalog.deployments_of_environment(actor.organization, environment).await.unwrap()
    };
    assert_eq!(of(other.id).await, [moved]);
    assert!(of(deployment.spec.environment).await.is_empty());
    world.catalog.delete_environment(&actor, deployment.spec.environment).await.unwrap();
    assert_error!(world.catalog.delete_environment(&actor, other.id).await, CatalogError::Conflict { .. });
}

#[tokio::test]
async fn pausing_is_audited_and_idempotent() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    for _ in 0..2 {
        assert!(world.catalog.set_paused(&actor, deployment.id, true).await.unwrap().paused);
    }
    assert!(!world.catalog.set_paused(&actor, deployment.id, false).await.unwrap().paused);
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    let updates = audit.iter().filter(|entry| entry.action == AuditAction::Update).count();
    assert_eq!(updates, 2);
}
