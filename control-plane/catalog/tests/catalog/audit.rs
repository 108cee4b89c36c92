use std::time::Duration;

use outrigger_catalog::model::{Actor, AuditAction, DeploymentStatus, Origin, PolicyBinding, PolicyMode, Stage};
use outrigger_catalog::{EnvironmentUpdate, IntentOutcome, Page, ProjectUpdate};
use outrigger_protocol::id::TokenId;

use crate::world::{World, delete, owner, plain, secret, spec};

/// Runs a call and answers what the audit log says of it.
async fn told<T>(world: &World, actor: &Actor, call: impl Future<Output = T>) -> Vec<(AuditAction, String)> {
    let page = || Page { limit: Some(200), cursor: None };
    let before = world.catalog.audit(actor, page()).await.unwrap().items.len();
    call.await;
    let entries = world.catalog.audit(actor, page()).await.unwrap().items;
    let new = entries.len() - before;
    entries.into_iter().take(new).map(|entry| (entry.action, entry.target)).collect()
}

#[tokio::test]
async fn every_mutation_tells_of_itself_once() {
    let world = World::new().await;
    let actor = owner();
    let catalog = &world.catalog;
    let deployment = world.deployment(&actor).await;
    let project = catalog.project(&actor, deployment.spec.project).await.unwrap();
    let environment = catalog.environment(&actor, deployment.spec.environment).await.unwrap();
    let policy = world.policy(&actor, b"component").await;
    let audit = catalog.audit(&actor, Page::default()).await.unwrap().items;
    let created: Vec<_> = audit.iter().rev().map(|entry| (entry.action, entry.target.clone())).collect();
    let made = [project.id.to_string(), environment.id.to_string(), deployment.id.to_string(), policy.id.to_string()];
    assert_eq!(created, made.map(|id| (AuditAction::Create, id)));

    macro_rules! assert_tells {
        ($call:expr, $action:ident, $target:expr) => {
            let told = told(&world, &actor, async { $call.await.unwrap() }).await;
            assert_eq!(told, [(AuditAction::$action, $target.to_string())], "{}", stringify!($call));
        };
    }
    let rename = ProjectUpdate { name: Some("store".to_owned()), description: None };
    assert_tells!(catalog.update_project(&actor, project.id, rename.clone()), Update, project.id);
    let restage = EnvironmentUpdate { stage: Some(Stage::Staging), ..EnvironmentUpdate::default() };
    assert_tells!(catalog.update_environment(&actor, environment.id, restage), Update, environment.id);
    let path = |name: &str| format!("{}/{name}", environment.id);
    let change = |changes| catalog.change_variables(&actor, environment.id, changes, None, String::new());
    assert_tells!(change(vec![plain("A", "1")]), Create, path("A"));
    assert_tells!(change(vec![secret("A", "2")]), Update, path("A"));
    assert_tells!(catalog.reveal(&actor, environment.id, "A"), Reveal, path("A"));
    assert_tells!(change(vec![delete("A")]), Delete, path("A"));
    let mut changed = spec(&project, &environment);
    changed.http = true;
    assert_tells!(catalog.update_deployment(&actor, deployment.id, changed), Update, deployment.id);
    let binding =
        PolicyBinding { name: "p".to_owned(), policy: policy.id, config: "{}".to_owned(), mode: PolicyMode::Active };
    assert_tells!(catalog.bind_policy(&actor, deployment.id, binding), Update, deployment.id);
    assert_tells!(catalog.unbind_policy(&actor, deployment.id, "p"), Update, deployment.id);
    assert_tells!(catalog.set_status(&actor, deployment.id, DeploymentStatus::Running, None), Update, deployment.id);
    assert_tells!(catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)), Scale, deployment.id);
    let intent = catalog.pending_intents().await.unwrap().remove(0);
    let created = IntentOutcome::Created { endpoint: None };
    assert_tells!(catalog.finish_intent(&intent, created, None), Create, intent.instance);
    let (token, secret) =
        catalog.create_join_token(&actor, deployment.id, Some(intent.instance), Duration::from_secs(60)).await.unwrap();
    let enrolled = told(&world, &actor, async {
        catalog.enroll(token.id, &secret, [1; 32], world.now()).await.unwrap();
    });
    let agent = {
        let told = enrolled.await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, AuditAction::Enroll);
        told[0].1.parse().unwrap()
    };
    assert_tells!(catalog.revoke_agent(&actor, agent), Update, agent);
    assert_tells!(catalog.instance_lost(actor.organization, intent.instance, "gone"), Delete, intent.instance);
    assert_tells!(catalog.set_status(&actor, deployment.id, DeploymentStatus::Stopped, None), Update, deployment.id);
    assert_tells!(catalog.delete_deployment(&actor, deployment.id), Delete, deployment.id);
    assert_tells!(catalog.delete_policy(&actor, policy.id), Delete, policy.id);
    assert_tells!(catalog.delete_environment(&actor, environment.id), Delete, environment.id);
    assert_tells!(catalog.delete_project(&actor, project.id), Delete, project.id);
    let nothing = told(&world, &actor, catalog.update_project(&actor, project.id, rename)).await;
    assert!(nothing.is_empty(), "what failed did not happen: {nothing:?}");

    // Policies are the organisation's; everything else happens in a project.
    let all = catalog.audit(&actor, Page { limit: Some(200), cursor: None }).await.unwrap().items;
    for entry in all {
        let expected = (entry.target != policy.id.to_string()).then_some(project.id);
        assert_eq!(entry.project, expected, "{entry:?}");
    }
}

#[tokio::test]
async fn an_entry_says_who_when_and_from_where() {
    let world = World::new().await;
    let origin = Origin {
        address: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("curl/8".to_owned()),
        request_id: Some("r1".to_owned()),
        session: Some(TokenId::generate()),
    };
    let actor = Actor { origin: origin.clone(), ..owner() };
    world.project(&actor).await;
    let entry = world.catalog.audit(&actor, Page::default()).await.unwrap().items.remove(0);
    assert_eq!((entry.actor, entry.at, entry.origin), (actor.subject.to_string(), world.now(), origin));
}
