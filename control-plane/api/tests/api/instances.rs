use std::time::Duration;

use outrigger_ingest::test_support::Fleet;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::probe::{Probe, ProbeStatus, ProbeVerdict};
use outrigger_protocol::sample::Sample;
use serde_json::{Value, json};

use crate::world::{SERVER_NAME, Shop, World, eventually};

#[tokio::test]
async fn instances_are_listed_as_they_are() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.running(&world.api, json!({ "replicas": { "min": 2, "max": 2 } })).await;
    let instances = world.api.get(&format!("{path}/instances")).await.list();
    assert_eq!(instances.len(), 2);
    for instance in &instances {
        assert_eq!((&instance["phase"], &instance["connected"]), (&json!("RUNNING"), &json!(false)));
        assert_eq!(instance["ready"], true, "its driver has no agents: made is ready");
        assert_eq!(
            (&instance["agentId"], &instance["program"], &instance["lastSeen"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(instance["config"], json!({ "running": null, "lastReceived": null, "lastFailed": null }));
    }
    assert_eq!(world.api.get(&format!("{path}/instances?limit=1")).await.wrong_fields(), ["limit"]);
}

#[tokio::test]
async fn an_agent_joins_with_a_token_from_the_api_and_is_seen() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
    let path = shop.running(api, json!({})).await;
    let token = api.post(&format!("{path}/join-tokens"), json!({ "ttl": "5m" })).await.data(201);
    let command = token["command"].as_str().unwrap();
    assert!(command.starts_with("outrigger-agent run ") && command.contains(&world.ingest.local_addr().to_string()));
    assert!(!command.contains(token["token"].as_str().unwrap()), "the token does not belong on a command line");

    let fleet = Fleet::new(world.ingest.local_addr(), SERVER_NAME, 1).unwrap();
    let agent = fleet.enroll(token["token"].as_str().unwrap()).await.unwrap();
    let mut session = fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    let playing = tokio::spawn(async move {
        let sample = |at| {
            let mut sample = Sample::new(at);
            sample.set(Metric::Cpu, 42.0);
            Some(sample)
        };
        session.run(Duration::from_millis(200), Duration::ZERO, sample, |_| {}).await;
    });
    let seen = async || {
        let instances = api.get(&format!("{path}/instances")).await.list();
        instances.into_iter().find(|one| one["agentId"] == agent.agent.to_string().as_str())
    };
    eventually("its configuration and metrics", async || {
        seen().await.is_some_and(|one| one["config"]["running"] == 1 && one["metrics"]["cpu"] == 42.0)
    })
    .await;
    let instance = seen().await.unwrap();
    assert_eq!((&instance["id"], &instance["connected"]), (&json!(agent.instance.to_string()), &json!(true)));
    assert!(instance["agentVersion"].as_str().unwrap().starts_with("test-agent"));
    let status = api.get(&format!("{path}/status")).await.data(200);
    assert_eq!((&status["connectedReplicas"], &status["metrics"]["cpu"]), (&json!(1), &json!(42.0)));
    assert_eq!(status["config"], json!({ "generation": 1, "running": 1, "total": 1, "failed": [] }));
    eventually("a point of its CPU", async || {
        let series = api.get(&format!("{path}/metrics?metric=cpu")).await.list();
        series[0]["points"].as_array().unwrap().iter().any(|point| point[1] == 42.0)
    })
    .await;

    fleet.enroll(token["token"].as_str().unwrap()).await.unwrap_err();
    playing.abort();
}

#[tokio::test]
async fn how_its_probes_stand_is_shown_with_an_instance() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
    let probes =
        json!([{ "kind": "readiness", "http": { "port": 80 } }, { "kind": "liveness", "tcp": { "port": 80 } }]);
    let path = shop.running(api, json!({ "probes": probes })).await;
    let token = api.post(&format!("{path}/join-tokens"), json!({})).await.data(201);
    let fleet = Fleet::new(world.ingest.local_addr(), SERVER_NAME, 1).unwrap();
    let agent = fleet.enroll(token["token"].as_str().unwrap()).await.unwrap();
    let mut session = fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
    let offer = session.next_offer().await.unwrap();
    session.apply(&offer).await.unwrap();
    let [readiness, liveness] = session.settings.probes.clone().try_into().unwrap();
    let status = |probe: Probe, verdict, consecutive_failures, last_error: Option<&str>| ProbeStatus {
        name: probe.name,
        kind: probe.kind,
        level: probe.level,
        verdict,
        consecutive_failures,
        last_error: last_error.map(str::to_owned),
    };
    session.say(&AgentMessage::Program(ProgramState::Running { pid: 7, restarts: 0 })).await.unwrap();
    let said = vec![
        status(readiness, ProbeVerdict::Failing, 4, Some("status 503, expected 200 to 399")),
        status(liveness, ProbeVerdict::Pending, 0, None),
    ];
    session.say(&AgentMessage::Probes(said)).await.unwrap();
    let expected = json!([
        {
            "name": "readiness-service", "kind": "readiness", "level": "service", "healthy": false,
            "consecutiveFailures": 4, "lastError": "status 503, expected 200 to 399",
        },
        {
            "name": "liveness-service", "kind": "liveness", "level": "service", "healthy": null,
            "consecutiveFailures": 0, "lastError": null,
        },
    ]);
    eventually("its probes", async || {
        let instances = api.get(&format!("{path}/instances")).await.list();
        let id = agent.agent.to_string();
        instances.into_iter().any(|one| {
            one["agentId"] == id.as_str()
                && one["probes"] == expected
                && one["ready"] == false
                && one["connected"] == true
        })
    })
    .await;
}

#[tokio::test]
async fn a_bad_wish_for_a_token_is_refused() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.deployment(&world.api, json!({})).await + "/join-tokens";
    for ttl in [json!("soon"), json!("0s"), json!("25h"), json!(600), json!("99999999999999999999s")] {
        assert_eq!(world.api.post(&path, json!({ "ttl": ttl })).await.wrong_fields(), ["ttl"]);
    }
    assert_eq!(world.api.post(&path, json!({ "instance": "x" })).await.wrong_fields(), ["instance"]);
    let token = world.api.post(&path, json!({})).await.data(201);
    assert!(token["expiresAt"].as_str().unwrap().ends_with('Z'));
    let absent = "/api/deployments/dep_01890000000070008000000000000000/join-tokens";
    world.api.post(absent, json!({})).await.not_found();
    let events = world.api.get("/api/audit").await.body.to_string();
    assert!(!events.contains(token["token"].as_str().unwrap()));
}
