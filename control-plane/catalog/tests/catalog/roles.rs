use std::time::Duration;

use bytes::Bytes;
use outrigger_catalog::model::{DeploymentStatus, PolicyBinding, PolicyMode, Role};
use outrigger_catalog::{CatalogError, EnvironmentUpdate, NewPolicy, NewProject, Page, ProjectUpdate};
use outrigger_protocol::id::AgentId;

use crate::world::{World, environment_of, owner, plain, spec, with_role};

macro_rules! assert_needs {
    ($role:expr => $($call:expr),+ $(,)?) => {$(
        match $call.await {
            Err(CatalogError::Forbidden { need }) if need == $role => {}
            other => panic!("{} should need {:?}, got {other:?}", stringify!($call), $role),
        }
    )+};
}

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() {
    let world = World::new().await;
    let owner = owner();
    let viewer = with_role(&owner, Role::Viewer);
    let catalog = &world.catalog;
    let deployment = world.deployment(&owner).await;
    let project = catalog.project(&owner, deployment.spec.project).await.unwrap();
    let environment = catalog.environment(&owner, deployment.spec.environment).await.unwrap();
    world.change(&owner, &environment, vec![plain("A", "1")]).await;
    let policy = world.policy(&owner, b"component").await;
    let binding =
        PolicyBinding { name: "p".to_owned(), policy: policy.id, config: "{}".to_owned(), mode: PolicyMode::Active };
    let new = NewPolicy { name: "p".to_owned(), version: "1".to_owned(), config_schema: "{}".to_owned() };

    catalog.list_projects(&viewer, Page::default()).await.unwrap();
    catalog.variables(&viewer, environment.id).await.unwrap();
    catalog.generations(&viewer, environment.id, Page::default()).await.unwrap();
    catalog.deployment(&viewer, deployment.id).await.unwrap();
    catalog.decisions(&viewer, deployment.id, Page::default()).await.unwrap();
    catalog.policies(&viewer).await.unwrap();
    catalog.audit(&viewer, Page::default()).await.unwrap();
    assert_needs!(Role::Developer =>
        catalog.change_variables(&viewer, environment.id, vec![plain("A", "2")], None, String::new()),
        catalog.create_deployment(&viewer, spec(&project, &environment)),
        catalog.update_deployment(&viewer, deployment.id, spec(&project, &environment)),
        catalog.delete_deployment(&viewer, deployment.id),
        catalog.bind_policy(&viewer, deployment.id, binding),
        catalog.unbind_policy(&viewer, deployment.id, "p"),
        catalog.set_status(&viewer, deployment.id, DeploymentStatus::Running, None),
        catalog.set_paused(&viewer, deployment.id, true),
        catalog.record_scaling(&viewer, world.scale_up(&deployment, 0, 1)),
        catalog.put_intents(&viewer, deployment.id, Vec::new(), Vec::new(), Vec::new()),
        catalog.create_join_token(&viewer, deployment.id, None, Duration::from_secs(60)),
        catalog.put_policy(&viewer, Bytes::from_static(b"x"), new),
        catalog.delete_policy(&viewer, policy.id),
    );
}

#[tokio::test]
async fn a_developer_neither_makes_nor_deletes_what_others_build_on_nor_sees_secrets() {
    let world = World::new().await;
    let owner = owner();
    let developer = with_role(&owner, Role::Developer);
    let catalog = &world.catalog;
    let project = world.project(&owner).await;
    let environment = world.environment(&owner, &project).await;
    world.change(&developer, &environment, vec![plain("A", "1")]).await;
    assert_needs!(Role::Admin =>
        catalog.create_project(&developer, NewProject { name: "x".to_owned(), description: String::new() }),
        catalog.update_project(&developer, project.id, ProjectUpdate::default()),
        catalog.delete_project(&developer, project.id),
        catalog.create_environment(&developer, environment_of(&project, "x")),
        catalog.update_environment(&developer, environment.id, EnvironmentUpdate::default()),
        catalog.delete_environment(&developer, environment.id),
        catalog.reveal(&developer, environment.id, "A"),
        catalog.revoke_agent(&developer, AgentId::generate()),
    );
    let admin = with_role(&owner, Role::Admin);
    assert_eq!(catalog.reveal(&admin, environment.id, "A").await.unwrap().expose(), "1");
}
