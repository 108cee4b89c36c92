use outrigger_catalog::{CatalogError, Listing, Page};

use crate::world::{World, assert_error, environment_of, owner, plain, spec};

/// Reads a list to its end in pages of `limit`.
async fn read_all<T>(limit: usize, read: impl AsyncFn(Page) -> Result<Listing<T>, CatalogError>) -> Vec<T> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = read(Page { limit: Some(limit), cursor }).await.expect("a page");
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn lists_continue_without_a_gap_or_a_repetition() {
    let world = World::new().await;
    let actor = owner();
    let project = world.project(&actor).await;
    let environment = world.environment(&actor, &project).await;
    let mut projects = vec![project.clone()];
    let mut environments = vec![environment.clone()];
    let mut deployments = Vec::new();
    for round in 0..6 {
        world.pass(std::time::Duration::from_millis(1));
        projects.push(world.project(&actor).await);
        let new = environment_of(&project, &format!("e{round}"));
        environments.push(world.catalog.create_environment(&actor, new).await.unwrap());
        let spec = spec(&project, &environment);
        deployments.push(world.catalog.create_deployment(&actor, spec).await.unwrap());
        world.change(&actor, &environment, vec![plain("ROUND", &round.to_string())]).await;
    }
    let environments: Vec<_> = environments.iter().map(|one| one.id).collect();
    for limit in [1, 2, 3, 7, 50] {
        let catalog = &world.catalog;
        assert_eq!(read_all(limit, async |page| catalog.list_projects(&actor, page).await).await, projects);
        let listed = read_all(limit, async |page| catalog.list_environments(&actor, project.id, page).await).await;
        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), environments);
        let listed = read_all(limit, async |page| catalog.list_deployments(&actor, None, page).await).await;
        assert_eq!(listed, deployments);
        let of_project = Some(project.id);
        let listed = read_all(limit, async |page| catalog.list_deployments(&actor, of_project, page).await).await;
        assert_eq!(listed, deployments);
        let listed = read_all(limit, async |page| catalog.generations(&actor, environment.id, page).await).await;
        assert_eq!(listed.iter().map(|one| one.number).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);
    }
}

#[tokio::test]
async fn histories_continue_without_a_gap_or_a_repetition() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    for replicas in 0..7 {
        let record = world.scale_up(&deployment, replicas, replicas + 1);
        world.catalog.record_scaling(&actor, record).await.unwrap();
    }
    for limit in [1, 2, 3, 7, 50] {
        let catalog = &world.catalog;
        let listed = read_all(limit, async |page| catalog.decisions(&actor, deployment.id, page).await).await;
        let replicas: Vec<_> = listed.iter().map(|one| one.to_replicas).collect();
        assert_eq!(replicas, [7, 6, 5, 4, 3, 2, 1], "limit {limit}");
        let listed = read_all(limit, async |page| catalog.events(&actor, deployment.id, page).await).await;
        assert_eq!(listed.len(), 7);
        let listed = read_all(limit, async |page| catalog.audit(&actor, page).await).await;
        assert_eq!(listed.len(), 10);
    }
}

#[tokio::test]
async fn the_default_is_fifty_and_the_most_two_hundred() {
    let world = World::new().await;
    let actor = owner();
    let environment = world.environment(&actor, &world.project(&actor).await).await;
    let changes = (0..300).map(|index| plain(&format!("V{index}"), "x")).collect();
    world.change(&actor, &environment, changes).await;
    let audit = async |limit| world.catalog.audit(&actor, Page { limit, cursor: None }).await;
    assert_eq!(audit(None).await.unwrap().items.len(), 50);
    assert_eq!(audit(Some(10_000)).await.unwrap().items.len(), 200);
    assert_error!(audit(Some(0)).await, CatalogError::Validation(_));
    let bad = Page { limit: None, cursor: Some("nonsense!".to_owned()) };
    assert_error!(world.catalog.list_projects(&actor, bad).await, CatalogError::Validation(_));
}
