use std::sync::atomic::Ordering;

use bytes::Bytes;
use outrigger_builtin_policies::test_support::{CORE_MODULE, FOREIGN};
use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, EventKind, PolicyBinding, PolicyMode};
use outrigger_engine::EngineError;
use outrigger_protocol::id::{OrganizationId, PolicyId};
use outrigger_scaling::Verdict;

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_never_ends_holds_its_own_deployment_and_nobody_elses() {
    let world = World::new().await;
    let (spin, load) = (world.hostile("spin").await, world.threshold(PolicyMode::Active).await);
    let poor = world.running(|spec| (spec.policies, spec.initial_replicas) = (vec![spin], 2)).await;
    let environment = world.read(poor).await.spec.environment;
    let good = world.deployment_in(environment, |spec| spec.policies = vec![load]).await.id;
    world.engine.start_deployment(&world.actor, good).await.expect("it can be started");
    world.fleet.load.store(100, Ordering::Relaxed);
    eventually("the other deployment to scale", async || world.read(good).await.desired_replicas >= 3).await;
    eventually("the breaker to open", async || {
        let events = world.events(poor).await;
        events.iter().any(|event| matches!(&event.kind, EventKind::PolicyFaulted { policy } if policy == "hostile"))
    })
    .await;
    eventually("a hold that says that it is not asked", async || {
        world.decisions(poor).await[0].reason.contains("hostile")
    })
    .await;
    let decisions = world.decisions(poor).await;
    let holds = decisions.iter().filter(|decision| !decision.proposals.is_empty());
    assert!(holds.clone().count() > 0);
    assert!(holds.clone().all(|decision| decision.verdict == Verdict::Hold));
    assert!(holds.clone().any(|one| one.reason.contains("out of fuel")), "{decisions:?}");
    assert_eq!(world.read(poor).await.desired_replicas, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_beside_a_good_policy_blocks_only_scale_down() {
    let world = World::new().await;
    let (nan, load) = (world.hostile("nan").await, world.threshold(PolicyMode::Active).await);
    let id = world.running(|spec| spec.policies = vec![nan, load]).await;
    world.fleet.load.store(100, Ordering::Relaxed);
    eventually("three replicas", async || world.read(id).await.desired_replicas >= 3).await;
    world.fleet.load.store(0, Ordering::Relaxed);
    eventually("a hold because of the fault", async || {
        world.decisions(id).await.iter().any(|one| one.reason.contains("no scale-down while a policy fails: hostile"))
    })
    .await;
    assert!(world.read(id).await.desired_replicas >= 3);
    // Without it, the way down is free.
    world.catalog.unbind_policy(&world.actor, id, "hostile").await.expect("it is bound");
    eventually("one replica", async || world.read(id).await.desired_replicas == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_policy_is_not_kept() {
    let world = World::new().await;
    let before = world.catalog.policies(&world.actor).await.expect("a list").len();
    for (bytes, words) in [
        (Bytes::from_static(b"hello"), "not WebAssembly"),
        (Bytes::from_static(CORE_MODULE), "core WebAssembly module"),
        (Bytes::from_static(FOREIGN), "imports"),
    ] {
        match world.engine.upload_policy(&world.actor, bytes).await {
            Err(EngineError::Invalid(problems)) => assert!(problems[0].problem.contains(words), "{problems:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.catalog.policies(&world.actor).await.expect("a list").len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_is_checked_field_by_field() {
    let world = World::new().await;
    let threshold = world.builtin("threshold").await;
    let bind = |config: &str| PolicyBinding {
        name: "load".to_owned(),
        policy: threshold,
        config: config.to_owned(),
        mode: PolicyMode::Active,
    };
    let check = async |binding: PolicyBinding| world.engine.check_binding(&world.actor, &binding).await;
    check(world.threshold(PolicyMode::Active).await).await.expect("a good one");
    for config in ["{}", "[]", "{", r#"{"rules":[{"metric":"cpu","above":"high"}]}"#] {
        let Err(EngineError::Invalid(problems)) = check(bind(config)).await else { panic!("{config} is not valid") };
        assert!(problems.iter().all(|problem| problem.field.starts_with("config")), "{problems:?}");
    }
    let unknown = check(PolicyBinding { policy: PolicyId::generate(), ..bind("{}") }).await;
    assert!(matches!(unknown, Err(EngineError::Catalog(CatalogError::NotFound { .. }))));

    let hostile = world.hostile("nothing").await;
    let stranger = Actor::system(OrganizationId::generate());
    let foreign = world.engine.check_binding(&stranger, &hostile).await;
    assert!(matches!(foreign, Err(EngineError::Catalog(CatalogError::NotFound { .. }))), "{foreign:?}");

    let mut spec = world.deployment(|_| {}).await.spec;
    (spec.driver, spec.policies) = ("unknown".to_owned(), vec![bind("{}")]);
    let Err(EngineError::Invalid(problems)) = world.engine.check_spec(&world.actor, &spec).await else {
        panic!("two things are wrong");
    };
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert!(fields.len() == 2 && fields[0] == "driver" && fields[1].starts_with("policies[0].config"), "{fields:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_can_be_asked_about_an_input_that_somebody_wrote() {
    let world = World::new().await;
    let binding = world.threshold(PolicyMode::Active).await;
    let points = vec!["80"; 60].join(",");
    let deployment = r#"{"replicas":2,"min":1,"max":9}"#;
    let series = format!(r#"[{{"name":"requests","points":[{points}]}}]"#);
    let input = format!(r#"{{"now":1700000000000,"deployment":{deployment},"series":{series}}}"#);
    let ask = async |config: &str, input: &str| {
        world.engine.evaluate_policy(&world.actor, binding.policy, config, input).await
    };
    let evaluation = ask(&binding.config, &input).await.expect("it was asked");
    assert_eq!(evaluation.outcome.expect("a proposal").replicas, 4);
    assert!(matches!(ask("{}", &input).await, Err(EngineError::Invalid(_))));
    assert!(matches!(ask(&binding.config, "{}").await, Err(EngineError::Invalid(_))));
}
