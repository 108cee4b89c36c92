use std::time::Duration;

use outrigger_ingest::test_support::Fleet;
use outrigger_protocol::message::ConfigStatus;
use outrigger_protocol::sample::Sample;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::world::{SERVER_NAME, Shop, World, eventually};

#[tokio::test]
async fn what_is_left_out_of_the_settings_is_shown_with_its_default() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let made = world.api.post("/api/deployments", shop.spec(json!({}))).await.data(201);
    let mut expected = json!({
        "strategy": { "type": "all-at-once" },
        "finalBake": "2m", "maxUnhealthy": { "percent": 100.0 }, "minReady": "10s", "answerTimeout": "1m",
        "patience": "10m", "onSilence": "tolerate", "toleratedFailures": { "count": 0 }, "onFailure": "roll-back",
        "onInconclusive": "promote",
        "gates": {
            "probeFailures": 5, "restarts": 3, "warmUp": "10s",
            "errorRate": { "minRequests": 100, "floor": 0.01, "ratio": 1.5, "z": 3.0 },
            "latency": { "quantile": 0.95, "minRequests": 200, "floor": "20ms", "ratio": 1.25, "z": 3.0 },
        },
    });
    assert_eq!(made["rollout"], expected);
    let path = format!("/api/deployments/{}", made["id"].as_str().unwrap());
    let again = world.api.put(&path, shop.spec(json!({ "rollout": expected }))).await.data(200);
    assert_eq!(again["rollout"], expected, "what is shown can be sent");

    let strategies = [
        json!({ "type": "linear", "percent": 20.0, "interval": "30s" }),
        json!({ "type": "exponential", "initial": 2.0, "factor": 2.0, "interval": "5m" }),
        json!({ "type": "canary", "percent": 10.0, "bake": "1m", "rest": { "type": "all-at-once" } }),
        json!({
            "type": "canary", "percent": 12.5, "bake": "1m", "rest": { "type": "linear", "percent": 25.0, "interval": "10s" },
        }),
        json!({
            "type": "canary", "percent": 1.0, "bake": "1h", "rest": { "type": "exponential", "factor": 3.0, "interval": "0s" },
        }),
    ];
    for strategy in strategies {
        let changed = world.api.put(&path, shop.spec(json!({ "rollout": { "strategy": strategy } }))).await.data(200);
        expected["strategy"] = strategy;
        expected["maxUnhealthy"] = json!({ "percent": 25.0 });
        expected["onSilence"] = json!("fail");
        assert_eq!(changed["rollout"], expected);
    }

    let changes = json!({ "rollout": {
        "strategy": { "type": "canary", "percent": 10, "bake": "60s" },
        "maxUnhealthy": { "count": 3 }, "toleratedFailures": { "percent": 5.0 }, "onSilence": "tolerate",
        "onFailure": "hold", "onInconclusive": "roll-back",
        "gates": { "errorRate": null, "latency": { "quantile": 0.99 } },
    } });
    let rollout = world.api.put(&path, shop.spec(changes)).await.data(200)["rollout"].clone();
    assert_eq!(rollout["strategy"]["rest"], json!({ "type": "all-at-once" }));
    assert_eq!(
        (&rollout["maxUnhealthy"], &rollout["toleratedFailures"]),
        (&json!({ "count": 3 }), &json!({ "percent": 5.0 }))
    );
    assert_eq!(rollout["gates"]["errorRate"], Value::Null, "it is not compared");
    assert_eq!(rollout["gates"]["latency"]["quantile"], 0.99);
    assert_eq!(rollout["gates"]["latency"]["minRequests"], 200, "the rest of the gate has its defaults");
    let words = [&rollout["onSilence"], &rollout["onFailure"], &rollout["onInconclusive"]];
    assert_eq!(words, ["tolerate", "hold", "roll-back"]);
}

#[tokio::test]
async fn everything_that_is_wrong_with_the_settings_is_named() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let unreadable = json!({
        "strategy": { "type": "canary", "percent": 10, "bake": "long", "rest": { "type": "linear", "percent": 5, "interval": "x" } },
        "gates": { "warmUp": "y", "latency": { "floor": "z" } },
        "finalBake": "soon", "maxUnhealthy": {}, "toleratedFailures": { "percent": 1, "count": 1 },
        "onSilence": "shout", "onFailure": "panic", "onInconclusive": "guess",
    });
    let fields = [
        "rollout.strategy.bake",
        "rollout.strategy.rest.interval",
        "rollout.gates.warmUp",
        "rollout.gates.latency.floor",
        "rollout.finalBake",
        "rollout.maxUnhealthy",
        "rollout.onSilence",
        "rollout.toleratedFailures",
        "rollout.onFailure",
        "rollout.onInconclusive",
    ];
    let answer = world.api.post("/api/deployments", shop.spec(json!({ "rollout": unreadable }))).await;
    assert_eq!(answer.wrong_fields(), fields);

    let impossible = json!({
        "strategy": { "type": "canary", "percent": 110, "bake": "60s", "rest": { "type": "exponential", "factor": 1, "interval": "1m" } },
        "maxUnhealthy": { "count": 0 }, "answerTimeout": "0s",
        "gates": { "latency": { "ratio": 0.5 }, "probeFailures": 0 },
    });
    let mut fields = vec![
        "rollout.answerTimeout",
        "rollout.gates.latency.ratio",
        "rollout.gates.probeFailures",
        "rollout.maxUnhealthy.count",
        "rollout.strategy.percent",
        "rollout.strategy.rest.factor",
    ];
    let mut wrong =
        world.api.post("/api/deployments", shop.spec(json!({ "rollout": impossible }))).await.wrong_fields();
    wrong.sort();
    fields.sort_unstable();
    assert_eq!(wrong, fields);

    for (settings, field) in [
        (json!({ "strategy": { "type": "blue-green" } }), "rollout.strategy.type"),
        (json!({ "strategy": { "type": "linear", "percent": 20 } }), "rollout.strategy.interval"),
        (json!({ "strategy": { "type": "all-at-once", "percent": 20 } }), "rollout.strategy.percent"),
        (json!({ "bake": "1m" }), "rollout.bake"),
        (json!({ "maxUnhealthy": { "share": 1 } }), "rollout.maxUnhealthy.share"),
        (json!({ "gates": { "errors": null } }), "rollout.gates.errors"),
        (json!({ "gates": { "errorRate": { "minRequests": -1 } } }), "rollout.gates.errorRate.minRequests"),
        (json!({ "finalBake": 120 }), "rollout.finalBake"),
    ] {
        let answer = world.api.post("/api/deployments", shop.spec(json!({ "rollout": settings }))).await;
        assert_eq!(answer.wrong_fields(), [field], "{settings}");
    }
    assert!(world.api.get("/api/deployments").await.list().is_empty(), "nothing was made");
}

/// Two agents that apply whatever they are offered, on a deployment whose canary is one of them and waits for a person.
struct Fixture {
    world: World,
    shop: Shop,
    path: String,
    agents: Vec<JoinHandle<()>>,
}

impl Fixture {
    async fn new() -> Self {
        let world = World::new().await;
        let shop = Shop::new(&world.api).await;
        world.api.put(&shop.variable("A"), json!({ "value": "1" })).await.data(200);
        let rollout = json!({
            "strategy": { "type": "canary", "percent": 50, "bake": "1h" }, "finalBake": "0s", "minReady": "0s",
        });
        let path = shop.running(&world.api, json!({ "rollout": rollout })).await;
        let fleet = Fleet::new(world.ingest.local_addr(), SERVER_NAME, 1).unwrap();
        let mut agents = Vec::new();
        for _ in 0..2 {
            let token = world.api.post(&format!("{path}/join-tokens"), json!({})).await.data(201);
            let agent = fleet.enroll(token["token"].as_str().unwrap()).await.unwrap();
            let mut session = fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
            agents.push(tokio::spawn(async move {
                let sample = |at| Some(Sample::new(at));
                session.run(Duration::from_millis(200), Duration::ZERO, sample, |_| {}).await;
            }));
        }
        let fixture = Self { world, shop, path, agents };
        fixture
            .reaches("the first generation is everywhere", |rollout| {
                rollout["state"] == "completed" && rollout["applied"] == 2
            })
            .await;
        fixture
    }

    fn api(&self) -> &Client {
        &self.world.api
    }

    async fn newest(&self) -> Option<Value> {
        self.api().get(&format!("{}/rollouts?limit=1", self.path)).await.list().first().cloned()
    }

    async fn reaches(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || self.shown().await.is_some_and(|rollout| is_so(&rollout))).await;
        self.shown().await.unwrap()
    }

    /// The newest rollout, with its story.
    async fn shown(&self) -> Option<Value> {
        let id = self.newest().await?["id"].as_str().unwrap().to_owned();
        Some(self.api().get(&format!("/api/rollouts/{id}")).await.data(200))
    }

    /// Publishes a value, and waits until the canary has it. Returns the path of the rollout.
    async fn publish(&self, value: &str) -> String {
        let changed = self.api().put(&self.shop.variable("A"), json!({ "value": value })).await.data(200);
        let baking = |rollout: &Value| rollout["generation"] == changed["generation"] && rollout["applied"] == 1;
        let rollout = self.reaches("the canary bakes", baking).await;
        format!("/api/rollouts/{}", rollout["id"].as_str().unwrap())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.agents.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test]
async fn people_pause_promote_and_read_a_rollout() {
    let fixture = Fixture::new().await;
    let api = fixture.api();
    let path = fixture.publish("2").await;
    let rollout = api.get(&path).await.data(200);
    assert_eq!(
        (&rollout["state"], &rollout["strategy"], &rollout["generation"], &rollout["from"]),
        (&json!("progressing"), &json!("canary"), &json!(2), &json!(1))
    );
    assert_eq!((&rollout["step"], &rollout["steps"], &rollout["share"]), (&json!(1), &json!(2), &json!(50.0)));
    let counts = ["total", "applied", "deferred", "refused", "pending", "silent", "waiting", "touched"];
    assert_eq!(counts.map(|count| rollout[count].as_u64().unwrap()), [2, 1, 0, 0, 0, 0, 1, 1], "{rollout}");
    assert_eq!((&rollout["failed"], &rollout["endedAt"]), (&json!([]), &Value::Null));
    let timeline = rollout["timeline"].to_string();
    assert!(timeline.contains("step 1 of 2: 50 %, 1 of 2 instances"), "{timeline}");

    let status = api.get(&format!("{}/status", fixture.path)).await.data(200);
    assert_eq!((&status["rollout"]["id"], &status["rollout"]["state"]), (&rollout["id"], &json!("progressing")));
    assert_eq!(status["config"], json!({ "generation": 2, "running": 1, "total": 2, "failed": [] }));
    assert_eq!(status["rollout"].get("timeline"), None);

    let call = async |what: &str, body| api.post(&format!("{path}/{what}"), body).await;
    assert_eq!(call("promote", json!({ "to": "sideways" })).await.wrong_fields(), ["to"]);
    assert_eq!(call("pause", json!({ "until": "later" })).await.wrong_fields(), ["until"]);
    assert!(call("resume", json!({})).await.refused(409, "conflict").contains("not paused"));
    let paused = call("pause", json!({})).await.data(200);
    assert_eq!((&paused["state"], paused["pausedBy"].is_string()), (&json!("paused"), true), "{paused}");
    assert!(call("promote", json!({})).await.refused(409, "conflict").contains("resume it first"));
    assert_eq!(call("resume", json!({})).await.data(200)["state"], "progressing");
    call("promote", json!({ "to": "all" })).await.data(200);
    let ended = |rollout: &Value| rollout["state"] == "completed" && rollout["applied"] == 2;
    let rollout = fixture.reaches("everybody has it", ended).await;
    assert!(rollout["endedAt"].is_string());
    for what in ["promote", "abort", "pause", "resume", "override"] {
        assert!(call(what, json!({})).await.refused(409, "conflict").contains("ended"), "{what}");
    }

    let rollouts = api.get(&format!("{}/rollouts", fixture.path)).await.list();
    assert_eq!(rollouts.iter().map(|one| one["generation"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
    assert!(rollouts.iter().all(|one| one.get("timeline").is_none() && one.get("failed").is_none()));
    let page = api.get(&format!("{}/rollouts?limit=1", fixture.path)).await;
    let next = page.body["page"]["next"].as_str().expect("there is more").to_owned();
    let second = api.get(&format!("{}/rollouts?limit=1&cursor={next}", fixture.path)).await.list();
    assert_eq!(second, rollouts[1..]);
    let audit = api.get("/api/audit").await.list();
    for action in ["pause", "resume", "promote"] {
        let told = |entry: &Value| {
            entry.to_string().contains(&rollouts[0]["id"].as_str().unwrap()[4..]) && entry.to_string().contains(action)
        };
        assert!(audit.iter().any(told), "{action} is not in the audit log: {audit:#?}");
    }
}

#[tokio::test]
async fn an_abort_goes_back_in_a_new_generation_once_per_idempotency_key() {
    let fixture = Fixture::new().await;
    let api = fixture.api();
    let path = fixture.publish("2").await;
    let abort = async || api.keyed("k", Method::POST, &format!("{path}/abort"), json!({})).await.data(200);
    let first = abort().await;
    assert_eq!(abort().await, first);
    let back = |rollout: &Value| rollout["state"] == "rolled-back" && rollout["applied"] == 2;
    let rollout = fixture.reaches("everybody is back", back).await;
    assert_eq!((&rollout["restoredAs"], &rollout["touched"]), (&json!(3), &json!(1)), "{rollout}");
    assert!(rollout["reason"].as_str().unwrap().contains("aborted by"), "{rollout}");
    let variable = api.get(&fixture.shop.variables()).await.list();
    assert_eq!(variable[0]["value"], "1", "the old content is the newest generation");
    let status = api.get(&format!("{}/status", fixture.path)).await.data(200);
    assert_eq!(status["config"], json!({ "generation": 3, "running": 2, "total": 2, "failed": [] }));
}

#[tokio::test]
async fn a_rollout_of_somebody_else_is_not_there() {
    let fixture = Fixture::new().await;
    let path = fixture.publish("2").await;
    let ada = fixture.world.register("ada@example.org").await;
    ada.get(&path).await.not_found();
    ada.get(&format!("{}/rollouts", fixture.path)).await.not_found();
    for what in ["promote", "abort", "pause", "resume", "override"] {
        ada.post(&format!("{path}/{what}"), json!({})).await.not_found();
    }
    assert_eq!(fixture.api().get(&path).await.data(200)["state"], "progressing", "nothing happened to it");
    let api = fixture.api();
    api.get("/api/rollouts/nonsense").await.not_found();
    api.get("/api/deployments/dep_01890000000070008000000000000000/rollouts").await.not_found();
    assert_eq!(api.get(&format!("{}/rollouts?state=held", fixture.path)).await.wrong_fields(), ["state"]);
}
