use outrigger_catalog::CatalogError;

use crate::world::{World, owner, plain, secret, spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_that_expect_the_same_state_exactly_one_wins() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (catalog, actor) = (world.catalog.clone(), actor.clone());
            let changes = vec![plain("A", &writer.to_string())];
            tokio::spawn(async move {
                catalog.change_variables(&actor, environment.id, changes, Some(0), String::new()).await
            })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(generation) => {
                assert_eq!(generation.number, 1);
                won += 1;
            }
            Err(CatalogError::Conflict { what }) => assert!(what.contains("generation 1"), "{what}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_expect_nothing_all_get_through_and_lose_nothing() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (catalog, actor) = (world.catalog.clone(), actor.clone());
            let changes = vec![secret(&format!("V{writer}"), "x")];
            tokio::spawn(
                async move { catalog.change_variables(&actor, environment.id, changes, None, String::new()).await },
            )
        })
        .collect();
    let mut numbers = Vec::new();
    for writer in writers {
        numbers.push(writer.await.unwrap().unwrap().number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<u64>>());
    assert_eq!(world.catalog.variables(&actor, environment.id).await.unwrap().len(), 16);
    assert_eq!(world.catalog.encryptions(&actor, project.id).await.unwrap(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_is_never_deleted_under_a_deployment_that_is_being_made() {
    let world = World::new().await;
    let actor = owner();
    for _ in 0..16 {
        let project = world.project(&actor).await;
        let environment = world.environment(&actor, &project).await;
        let (catalog, creator) = (world.catalog.clone(), actor.clone());
        let spec = spec(&project, &environment);
        let create = tokio::spawn(async move { catalog.create_deployment(&creator, spec).await });
        let deleted = world.catalog.delete_project(&actor, project.id).await;
        match (create.await.unwrap(), deleted) {
            (Ok(_), Err(CatalogError::Conflict { .. })) => {
                world.catalog.environment(&actor, environment.id).await.unwrap();
            }
            (Err(CatalogError::NotFound { .. }), Ok(())) => {}
            other => panic!("one of the two must lose: {other:?}"),
        }
    }
}
