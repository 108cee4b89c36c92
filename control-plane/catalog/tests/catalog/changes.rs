use outrigger_catalog::Change;
use outrigger_catalog::model::DeploymentStatus;

use crate::world::{World, owner, plain};

#[tokio::test]
async fn environments_and_deployments_are_told_of_across_organisations() {
    let world = World::new().await;
    let (mine, other) = (owner(), owner());
    let (deployment, foreign) = (world.deployment(&mine).await, world.deployment(&other).await);
    let environment = world.catalog.environment(&mine, deployment.spec.environment).await.unwrap();
    let mut changes = world.catalog.changes();
    world.project(&mine).await;
    world.change(&mine, &environment, vec![plain("A", "1")]).await;
    world.catalog.set_paused(&other, foreign.id, true).await.unwrap();

    let (organization, id) = (mine.organization, environment.id);
    assert_eq!(changes.next().await.unwrap(), Change::Environment { organization, id, generation: 1 });
    let (organization, id) = (other.organization, foreign.id);
    assert_eq!(changes.next().await.unwrap(), Change::Deployment { organization, id });

    // Continued from where it was, nothing is missed.
    let mut continued = world.catalog.changes_after(changes.revision().unwrap());
    drop(changes);
    world.catalog.set_status(&mine, deployment.id, DeploymentStatus::Running, None).await.unwrap();
    let (organization, id) = (mine.organization, deployment.id);
    assert_eq!(continued.next().await.unwrap(), Change::Deployment { organization, id });
}

#[tokio::test]
async fn the_end_of_a_deployment_is_told_and_a_closed_store_is_an_error() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let mut changes = world.catalog.changes();
    world.catalog.delete_deployment(&actor, deployment.id).await.unwrap();
    let (organization, id) = (actor.organization, deployment.id);
    assert_eq!(changes.next().await.unwrap(), Change::Deployment { organization, id });
    world.store.close().await.unwrap();
    assert!(changes.next().await.is_err());
}
