use outrigger_catalog::model::{AuditAction, EventKind, InstancePhase, IntentKind};
use outrigger_catalog::{CatalogError, DECISIONS_KEPT, IntentOutcome, MAX_EFFECTS, Page, ScalingRecord};
use outrigger_protocol::id::InstanceId;

use crate::world::{World, assert_error, owner};

#[tokio::test]
async fn a_decision_and_all_that_follows_from_it_are_written_together() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let record = world.scale_up(&deployment, 0, 3);
    let recorded = world.catalog.record_scaling(&actor, record.clone()).await.unwrap();

    assert_eq!(recorded.deployment.desired_replicas, 3);
    assert_eq!(recorded.deployment.last_scale_up, Some(record.decision.at));
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap(), recorded.deployment);
    assert_eq!(world.catalog.pending_intents().await.unwrap().len(), 3);
    let instances = world.catalog.instances(&actor, deployment.id, false).await.unwrap();
    assert!(instances.len() == 3 && instances.iter().all(|one| one.phase == InstancePhase::Creating));
    let latest = world.catalog.latest_decision(actor.organization, deployment.id).await.unwrap();
    assert_eq!(latest, Some(record.decision));
    let events = world.catalog.events(&actor, deployment.id, Page::default()).await.unwrap().items;
    assert_eq!(events[0].kind, EventKind::ScaledUp { from: 0, to: 3 });
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert_eq!((audit[0].action, audit[0].detail.as_str()), (AuditAction::Scale, "0 -> 3: from 0 to 3"));
}

#[tokio::test]
async fn a_decision_about_another_number_than_the_present_is_void_as_a_whole() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let stale = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 5)).await;
    match stale {
        Err(CatalogError::Conflict { what }) => assert_eq!(what, "the deployment wants 1 replicas now, no longer 0"),
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(world.catalog.pending_intents().await.unwrap().len(), 1);
    let unknown = ScalingRecord {
        decision: world.decision(&deployment, 1, 0),
        creates: Vec::new(),
        destroys: vec![InstanceId::generate()],
        events: Vec::new(),
        expect_desired: 1,
    };
    assert_error!(world.catalog.record_scaling(&actor, unknown).await, CatalogError::NotFound { what: "instance" });
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap().desired_replicas, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_decisions_at_once_one_is_carried_out() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let decisions: Vec<_> = (0..4)
        .map(|_| {
            let (catalog, actor, record) = (world.catalog.clone(), actor.clone(), world.scale_up(&deployment, 0, 2));
            tokio::spawn(async move { catalog.record_scaling(&actor, record).await.is_ok() })
        })
        .collect();
    let mut recorded = 0;
    for decision in decisions {
        recorded += usize::from(decision.await.unwrap());
    }
    assert_eq!(recorded, 1);
    assert_eq!(world.catalog.pending_intents().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_instance_lives_through_its_intents() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let created = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let intent = &created.intents[0];
    assert_eq!(world.catalog.retry_intent(intent).await.unwrap().attempts, 1);
    let outcome = IntentOutcome::Created { endpoint: Some("127.0.0.1:4000".to_owned()) };
    let event = world.event(&deployment, EventKind::InstanceCreated { instance: intent.instance });
    let running = world.catalog.finish_intent(intent, outcome.clone(), Some(event)).await.unwrap();
    assert_eq!((running.phase, running.endpoint.as_deref()), (InstancePhase::Running, Some("127.0.0.1:4000")));
    assert!(world.catalog.pending_intents().await.unwrap().is_empty());
    // Finishing again, as after a crash between the two, changes nothing.
    assert_eq!(world.catalog.finish_intent(intent, outcome, None).await.unwrap(), running);
    assert_error!(world.catalog.retry_intent(intent).await, CatalogError::NotFound { .. });

    let down = ScalingRecord {
        decision: world.decision(&deployment, 1, 0),
        creates: Vec::new(),
        destroys: vec![intent.instance],
        events: Vec::new(),
        expect_desired: 1,
    };
    let leaving = world.catalog.record_scaling(&actor, down).await.unwrap();
    assert_eq!(leaving.deployment.last_scale_down, Some(world.now()));
    let destroy = &leaving.intents[0];
    assert_eq!(destroy.kind, IntentKind::Destroy);
    // Destroying what is on its way already plans nothing new.
    let again = world.catalog.put_intents(&actor, deployment.id, Vec::new(), vec![intent.instance], Vec::new()).await;
    assert!(again.unwrap().is_empty());
    // What could not be destroyed may still run: it is not forgotten.
    let failed = IntentOutcome::Failed { reason: "no answer".to_owned() };
    let still = world.catalog.finish_intent(destroy, failed, None).await.unwrap();
    assert_eq!(still.phase, InstancePhase::Destroying);
    assert_eq!(world.catalog.pending_intents().await.unwrap()[0].attempts, 1);
    let gone = world.catalog.finish_intent(destroy, IntentOutcome::Destroyed, None).await.unwrap();
    assert_eq!(gone.phase, InstancePhase::Gone);
    assert!(world.catalog.instances(&actor, deployment.id, false).await.unwrap().is_empty());
    assert_eq!(world.catalog.instances(&actor, deployment.id, true).await.unwrap(), [gone]);
}

#[tokio::test]
async fn a_lost_instance_is_told_once_and_replaced_by_an_intent() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let created = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 1)).await.unwrap();
    let lost = created.intents[0].instance;
    for _ in 0..2 {
        world.catalog.instance_lost(actor.organization, lost, "exit code 1").await.unwrap();
    }
    let events = world.catalog.events(&actor, deployment.id, Page::default()).await.unwrap().items;
    let told = events.iter().filter(|event| event.kind == EventKind::InstanceLost { instance: lost }).count();
    assert_eq!(told, 1);
    let replacement = world.new_instance(&deployment);
    let intents = world.catalog.put_intents(&actor, deployment.id, vec![replacement.clone()], Vec::new(), Vec::new());
    assert_eq!(intents.await.unwrap()[0].instance, replacement.id);
    assert_eq!(world.catalog.deployment(&actor, deployment.id).await.unwrap().desired_replicas, 1);
}

#[tokio::test]
async fn intents_survive_a_restart() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let recorded = world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 2)).await.unwrap();
    let master = world.master.clone();
    let world = world.reopen(master).await.unwrap();
    let mut pending = world.catalog.pending_intents().await.unwrap();
    pending.sort_by_key(|intent| intent.id);
    let mut planned = recorded.intents;
    planned.sort_by_key(|intent| intent.id);
    assert_eq!(pending, planned);
    assert_eq!(world.catalog.all_deployments().await.unwrap(), [recorded.deployment]);
}

#[tokio::test]
async fn holds_that_repeat_are_counted_and_the_decision_before_is_kept() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 2)).await.unwrap();
    let hold = world.decision(&deployment, 2, 2);
    for _ in 0..3 {
        let mut again = hold.clone();
        again.reason = format!("cpu is at {}", again.at);
        world.catalog.record_hold(again).await.unwrap();
    }
    let mut many = hold.clone();
    many.repeats = 10;
    assert_eq!(world.catalog.record_hold(many).await.unwrap().repeats, 2 + 11);
    let decisions = world.catalog.decisions(&actor, deployment.id, Page::default()).await.unwrap().items;
    let seen: Vec<_> = decisions.iter().map(|one| (one.to_replicas, one.repeats)).collect();
    assert_eq!(seen, [(2, 13), (2, 0)]);
    // A hold is no mutation.
    let audit = world.catalog.audit(&actor, Page::default()).await.unwrap().items;
    assert_eq!(audit[0].action, AuditAction::Scale);
    assert_eq!(audit.len(), 4);
}

#[tokio::test]
async fn an_input_too_large_to_keep_is_left_out() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let mut hold = world.decision(&deployment, 0, 0);
    hold.input = "x".repeat(2 * 1024 * 1024);
    world.catalog.record_hold(hold).await.unwrap();
    let latest = world.catalog.latest_decision(actor.organization, deployment.id).await.unwrap().unwrap();
    assert!(latest.input.is_empty());
}

#[tokio::test]
async fn the_largest_step_fits_one_transaction_and_a_larger_one_is_refused() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let most = u32::try_from(MAX_EFFECTS).unwrap();
    let beyond = world.scale_up(&deployment, 0, most + 1);
    assert_error!(world.catalog.record_scaling(&actor, beyond).await, CatalogError::Validation(_));
    let mut up = world.scale_up(&deployment, 0, most);
    up.events = (0..64).map(|_| up.events[0].clone()).collect();
    let recorded = world.catalog.record_scaling(&actor, up).await.unwrap();
    let down = ScalingRecord {
        decision: world.decision(&deployment, most, 0),
        creates: Vec::new(),
        destroys: recorded.intents.iter().map(|intent| intent.instance).collect(),
        events: Vec::new(),
        expect_desired: most,
    };
    let recorded = world.catalog.record_scaling(&actor, down).await.unwrap();
    assert_eq!(recorded.intents.len(), MAX_EFFECTS);
}

#[tokio::test]
async fn a_hold_of_what_was_scaled_meanwhile_is_no_decision() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    let late = world.decision(&deployment, 0, 0);
    world.catalog.record_scaling(&actor, world.scale_up(&deployment, 0, 2)).await.unwrap();
    assert!(matches!(world.catalog.record_hold(late).await, Err(CatalogError::Conflict { .. })));
    let latest = world.catalog.latest_decision(actor.organization, deployment.id).await.unwrap().unwrap();
    assert_eq!(latest.to_replicas, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_bounded() {
    let world = World::new().await;
    let actor = owner();
    let deployment = world.deployment(&actor).await;
    for round in 0..DECISIONS_KEPT + 200 {
        // Each is another hold than the one before it.
        let hold = world.decision(&deployment, u32::try_from(round).unwrap(), 0);
        world.catalog.record_hold(hold).await.unwrap();
    }
    let mut kept = 0;
    let mut page = Page { limit: Some(200), cursor: None };
    loop {
        let listed = world.catalog.decisions(&actor, deployment.id, page).await.unwrap();
        kept += listed.items.len() as u64;
        match listed.next {
            Some(cursor) => page = Page { limit: Some(200), cursor: Some(cursor) },
            None => break,
        }
    }
    assert!((DECISIONS_KEPT..DECISIONS_KEPT + 70).contains(&kept), "{kept}");
}
