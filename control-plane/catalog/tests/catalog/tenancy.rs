use std::time::Duration;

use outrigger_catalog::model::{Actor, DeploymentStatus, InstancePhase, PolicyBinding, PolicyMode};
use outrigger_catalog::{CatalogError, EnvironmentUpdate, Page, ProjectUpdate, ScalingRecord};
use outrigger_protocol::id::AgentId;

use crate::world::{World, assert_error, environment_of, owner, plain, secret, spec};

/// What every server needs of the futures: that a thread may hand them to another.
fn handed_around<F: Future + Send>(call: F) -> F {
    call
}

macro_rules! assert_absent {
    ($($call:expr),+ $(,)?) => {$(
        match handed_around($call).await {
            Err(CatalogError::NotFound { .. }) => {}
            other => panic!("{} should not be found, got {other:?}", stringify!($call)),
        }
    )+};
}

#[tokio::test]
async fn another_tenants_rows_are_not_there_for_any_method() {
    let world = World::new().await;
    let (mine, other) = (owner(), owner());
    let catalog = &world.catalog;
    let deployment = world.deployment(&mine).await;
    let project = catalog.project(&mine, deployment.spec.project).await.unwrap();
    let environment = catalog.environment(&mine, deployment.spec.environment).await.unwrap();
    world.change(&mine, &environment, vec![secret("TOKEN", "hunter2")]).await;
    let policy = world.policy(&mine, b"component").await;
    let recorded = catalog.record_scaling(&mine, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let instance = recorded.intents[0].instance;
    let (token, secret) =
        catalog.create_join_token(&mine, deployment.id, Some(instance), Duration::from_secs(60)).await.unwrap();
    let agent = catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap().agent;
    let binding =
        PolicyBinding { name: "p".to_owned(), policy: policy.id, config: "{}".to_owned(), mode: PolicyMode::Active };
    let theirs = world.deployment(&other).await;
    let their_project = catalog.project(&other, theirs.spec.project).await.unwrap();

    assert_absent!(
        catalog.project(&other, project.id),
        catalog.update_project(&other, project.id, ProjectUpdate { name: Some("x".to_owned()), description: None }),
        catalog.delete_project(&other, project.id),
        catalog.encryptions(&other, project.id),
        catalog.create_environment(&other, environment_of(&project, "x")),
        catalog.list_environments(&other, project.id, Page::default()),
        catalog.environment(&other, environment.id),
        catalog.update_environment(&other, environment.id, EnvironmentUpdate::default()),
        catalog.delete_environment(&other, environment.id),
        catalog.variables(&other, environment.id),
        catalog.change_variables(&other, environment.id, vec![plain("A", "1")], None, String::new()),
        catalog.reveal(&other, environment.id, "TOKEN"),
        catalog.generations(&other, environment.id, Page::default()),
        catalog.generation(&other, environment.id, 1),
        catalog.effective(other.organization, environment.id),
        catalog.create_deployment(&other, spec(&project, &environment)),
        catalog.create_deployment(&other, spec(&their_project, &environment)),
        catalog.list_deployments(&other, Some(project.id), Page::default()),
        catalog.deployment(&other, deployment.id),
        catalog.update_deployment(&other, deployment.id, spec(&project, &environment)),
        catalog.bind_policy(&other, deployment.id, binding.clone()),
        catalog.bind_policy(&other, theirs.id, binding.clone()),
        catalog.unbind_policy(&other, deployment.id, "p"),
        catalog.set_status(&other, deployment.id, DeploymentStatus::Running, None),
        catalog.set_paused(&other, deployment.id, true),
        catalog.delete_deployment(&other, deployment.id),
        catalog.record_scaling(&other, world.scale_up(&deployment, 1, 2)),
        catalog.put_intents(&other, deployment.id, Vec::new(), vec![instance], Vec::new()),
        catalog.put_intents(&other, theirs.id, Vec::new(), vec![instance], Vec::new()),
        catalog.decisions(&other, deployment.id, Page::default()),
        catalog.events(&other, deployment.id, Page::default()),
        catalog.instances(&other, deployment.id, true),
        catalog.instance(&other, instance),
        catalog.instance_lost(other.organization, instance, "x"),
        catalog.create_join_token(&other, deployment.id, None, Duration::from_secs(60)),
        catalog.create_join_token(&other, theirs.id, Some(instance), Duration::from_secs(60)),
        catalog.revoke_agent(&other, agent.id),
        catalog.revoke_agent(&other, AgentId::generate()),
        catalog.policy(&other, policy.id),
        catalog.delete_policy(&other, policy.id),
    );
    assert!(catalog.latest_decision(other.organization, deployment.id).await.unwrap().is_none());
    assert!(catalog.deployments_of_environment(other.organization, environment.id).await.unwrap().is_empty());
    assert!(catalog.policies(&other).await.unwrap().is_empty());
    let listed = catalog.list_projects(&other, Page::default()).await.unwrap().items;
    assert_eq!(listed, vec![their_project]);
    let listed = catalog.list_deployments(&other, None, Page::default()).await.unwrap().items;
    assert_eq!(listed, vec![theirs]);

    // And nothing of it has changed.
    assert_eq!(catalog.project(&mine, project.id).await.unwrap(), project);
    assert_eq!(catalog.instance(&mine, instance).await.unwrap().phase, InstancePhase::Creating);
    assert!(!catalog.agent(agent.id).await.unwrap().unwrap().revoked);
}

#[tokio::test]
async fn a_scaling_record_cannot_carry_rows_of_another_tenant() {
    let world = World::new().await;
    let (mine, other) = (owner(), owner());
    let (deployment, foreign) = (world.deployment(&mine).await, world.deployment(&other).await);
    let smuggled = ScalingRecord { creates: vec![world.new_instance(&foreign)], ..world.scale_up(&deployment, 0, 1) };
    assert_error!(world.catalog.record_scaling(&mine, smuggled).await, CatalogError::NotFound { .. });
    let mut decision = world.decision(&deployment, 0, 1);
    decision.organization = foreign.organization;
    let smuggled = ScalingRecord { decision, ..world.scale_up(&deployment, 0, 1) };
    assert_error!(world.catalog.record_scaling(&mine, smuggled).await, CatalogError::NotFound { .. });
    assert!(world.catalog.instances(&other, foreign.id, true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cursor_of_another_tenant_continues_ones_own_list() {
    let world = World::new().await;
    let (mine, other) = (owner(), owner());
    for actor in [&mine, &mine, &other, &other] {
        world.project(actor).await;
    }
    let page = |cursor| Page { limit: Some(1), cursor };
    let theirs = world.catalog.list_projects(&other, page(None)).await.unwrap();
    let continued = world.catalog.list_projects(&mine, page(theirs.next)).await.unwrap();
    assert!(continued.items.iter().all(|project| project.organization == mine.organization));
}

#[tokio::test]
async fn the_system_is_the_owner_of_one_organisation_only() {
    let world = World::new().await;
    let mine = owner();
    let deployment = world.deployment(&mine).await;
    let system = Actor::system(mine.organization);
    assert_eq!(world.catalog.deployment(&system, deployment.id).await.unwrap(), deployment);
    let elsewhere = Actor::system(owner().organization);
    assert_error!(world.catalog.deployment(&elsewhere, deployment.id).await, CatalogError::NotFound { .. });
}
