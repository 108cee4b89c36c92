use serde_json::{Value, json};

use crate::world::{Shop, World};

#[tokio::test]
async fn a_deployment_is_created_with_defaults_read_listed_and_deleted() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let body = json!({
        "name": "web", "projectId": shop.project, "environment": "production", "driver": "dry-run", "command": ["serve"],
    });
    let made = api.post("/api/deployments", body).await.data(201);
    assert_eq!((&made["status"], &made["environmentId"]), (&json!("PENDING"), &json!(shop.environment)));
    assert_eq!(made["replicas"], json!({ "min": 1, "max": 1, "initial": 1 }));
    assert_eq!(made["applyStrategy"], json!({ "type": "restart", "jitter": "5s" }));
    assert_eq!(made["resources"], json!({ "cpu": null, "memory": null }));
    assert_eq!(made["observe"], json!({ "scrape": null, "statsd": false, "metrics": [] }));
    assert_eq!((&made["sampleInterval"], &made["http"], &made["paused"]), (&json!("1s"), &json!(false), &json!(false)));
    assert_eq!((&made["desiredReplicas"], &made["readyReplicas"]), (&json!(0), &json!(0)));
    let path = format!("/api/deployments/{}", made["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.data(200), made);
    assert_eq!(api.get("/api/deployments").await.list(), std::slice::from_ref(&made));
    let of_project = format!("/api/deployments?projectId={}", shop.project);
    assert_eq!(api.get(&of_project).await.list(), [made]);
    let status = api.get(&format!("{path}/status")).await.data(200);
    assert_eq!(
        (&status["status"], &status["config"], &status["lastDecision"]),
        (&json!("PENDING"), &Value::Null, &Value::Null)
    );
    assert_eq!(status["metrics"], json!({ "cpu": null, "memory": null, "requests": null, "responseTime": null }));

    api.delete(&path).await.data(200);
    assert_eq!(api.get(&path).await.data(200)["status"], "DESTROYED");
    assert!(api.get("/api/deployments").await.list().is_empty());
    assert!(api.get(&of_project).await.list().is_empty());
    api.delete(&path).await.refused(409, "conflict");
    api.put(&path, shop.spec(json!({}))).await.refused(409, "conflict");
    api.post(&format!("{path}/start"), json!({})).await.refused(409, "conflict");
}

#[tokio::test]
async fn every_setting_comes_back_as_it_was_given() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let settings = json!({
        "name": "api", "environment": shop.environment, "http": true, "sampleInterval": "500ms",
        "resources": { "cpu": 0.5, "memory": "256MiB" }, "replicas": { "min": 2, "max": 9, "initial": 3 },
        "applyStrategy": { "type": "signal", "signal": "HUP" }, "allowedNames": ["NODE_OPTIONS"],
        "scaling": { "combine": "weighted", "freshness": "20s", "cooldownUp": "0s", "cooldownDown": "10m", "maxStepUp": 2 },
    });
    let made = world.api.post("/api/deployments", shop.spec(settings)).await.data(201);
    assert_eq!(made["resources"], json!({ "cpu": 0.5, "memory": 256 << 20 }));
    assert_eq!(made["replicas"], json!({ "min": 2, "max": 9, "initial": 3 }));
    assert_eq!(made["applyStrategy"], json!({ "type": "signal", "signal": "HUP" }));
    assert_eq!((&made["allowedNames"], &made["sampleInterval"]), (&json!(["NODE_OPTIONS"]), &json!("500ms")));
    let scaling = json!({
        "combine": "weighted", "freshness": "20s", "cooldownUp": "0s", "cooldownDown": "10m", "maxStepUp": 2,
        "maxStepDown": null,
    });
    assert_eq!(made["scaling"], scaling);

    let path = format!("/api/deployments/{}", made["id"].as_str().unwrap());
    let strategies = [
        json!({ "type": "file" }),
        json!({ "type": "file", "needsRestart": ["POOL_SIZE"], "bakeTime": "1m" }),
        json!({ "type": "signal", "signal": "HUP", "needsRestart": ["POOL_SIZE"] }),
        json!({ "type": "none", "bakeTime": "0s" }),
        json!({ "type": "restart", "jitter": "0s", "bakeTime": "30s" }),
    ];
    for strategy in strategies {
        let changed = world.api.put(&path, shop.spec(json!({ "applyStrategy": strategy }))).await.data(200);
        assert_eq!(changed["applyStrategy"], strategy);
        assert_eq!(changed["replicas"]["max"], 5, "the specification was replaced");
    }
}

#[tokio::test]
async fn probes_come_back_with_what_was_left_out() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let probes = json!([
        { "kind": "startup", "command": ["pg_isready", "-q"], "failureThreshold": 30, "period": "1s" },
        { "kind": "liveness", "level": "dependency", "name": "database", "tcp": { "host": "db", "port": 5432 } },
        { "kind": "readiness", "http": { "port": "$PORT" } },
        {
            "kind": "readiness", "level": "application", "initialDelay": "5s", "timeout": "250ms", "successThreshold": 2,
            "http": {
                "host": "::1", "port": "8080", "path": "/healthz?full=1", "scheme": "HTTP", "expectedStatus": "204",
                "headers": [{ "name": "X-Probe", "value": "1" }],
            },
        },
    ]);
    let made = world.api.post("/api/deployments", shop.spec(json!({ "probes": probes }))).await.data(201);
    let expected = json!([
        {
            "name": "startup-service", "kind": "startup", "level": "service", "command": ["pg_isready", "-q"],
            "initialDelay": "0s", "period": "1s", "timeout": "1s", "successThreshold": 1, "failureThreshold": 30,
        },
        {
            "name": "database", "kind": "liveness", "level": "dependency", "tcp": { "host": "db", "port": 5432 },
            "initialDelay": "0s", "period": "10s", "timeout": "1s", "successThreshold": 1, "failureThreshold": 3,
        },
        {
            "name": "readiness-service", "kind": "readiness", "level": "service",
            "http": {
                "host": "127.0.0.1", "port": "$PORT", "path": "/", "scheme": "http", "headers": [],
                "expectedStatus": "200-399",
            },
            "initialDelay": "0s", "period": "10s", "timeout": "1s", "successThreshold": 1, "failureThreshold": 3,
        },
        {
            "name": "readiness-application", "kind": "readiness", "level": "application",
            "http": {
                "host": "::1", "port": 8080, "path": "/healthz?full=1", "scheme": "http", "expectedStatus": "204",
                "headers": [{ "name": "X-Probe", "value": "1" }],
            },
            "initialDelay": "5s", "period": "10s", "timeout": "250ms", "successThreshold": 2, "failureThreshold": 3,
        },
    ]);
    assert_eq!(made["probes"], expected);
    let path = format!("/api/deployments/{}", made["id"].as_str().unwrap());
    let again = world.api.put(&path, shop.spec(json!({ "probes": expected }))).await.data(200);
    assert_eq!(again["probes"], expected, "what is shown can be sent");
    assert_eq!(world.api.put(&path, shop.spec(json!({}))).await.data(200)["probes"], json!([]), "it was replaced");
}

#[tokio::test]
async fn what_a_program_says_of_itself_comes_back_with_what_was_left_out() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let observe = json!({ "scrape": {}, "statsd": true, "metrics": ["queue_depth=jobs{state=\"waiting\"}"] });
    let made = world.api.post("/api/deployments", shop.spec(json!({ "observe": observe }))).await.data(201);
    let shown = json!({
        "scrape": { "port": "$PORT", "path": "/metrics", "interval": null },
        "statsd": true,
        "metrics": ["queue_depth=jobs{state=\"waiting\"}"],
    });
    assert_eq!(made["observe"], shown);
    let path = format!("/api/deployments/{}", made["id"].as_str().unwrap());
    let again = world.api.put(&path, shop.spec(json!({ "observe": shown }))).await.data(200);
    assert_eq!(again["observe"], shown, "what is shown can be written");
    let observe = json!({ "scrape": { "port": 9090, "path": "/stats?all=1", "interval": "5s" } });
    let changed = world.api.put(&path, shop.spec(json!({ "observe": observe }))).await.data(200);
    assert_eq!(changed["observe"]["scrape"], observe["scrape"]);
    assert_eq!(changed["observe"]["statsd"], false, "the specification was replaced");
}

#[tokio::test]
async fn every_problem_of_the_probes_is_named() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let unreadable = json!([
        { "kind": "alive", "level": "top", "tcp": { "port": 1 }, "period": "often" },
        { "kind": "liveness" },
        { "kind": "liveness", "tcp": { "port": 1 }, "command": ["true"] },
        { "kind": "liveness", "http": { "port": 1, "scheme": "https", "expectedStatus": "2xx" } },
    ]);
    let fields = [
        "probes[0].kind",
        "probes[0].level",
        "probes[0].period",
        "probes[1]",
        "probes[2]",
        "probes[3].http.scheme",
        "probes[3].http.expectedStatus",
    ];
    let answer = world.api.post("/api/deployments", shop.spec(json!({ "probes": unreadable }))).await;
    assert_eq!(answer.wrong_fields(), fields);
    let impossible = json!([
        { "kind": "liveness", "successThreshold": 2, "tcp": { "port": 0 }, "timeout": "0s" },
        { "kind": "liveness", "http": { "port": "http", "path": "healthz" } },
    ]);
    let fields = [
        "probes[0].timeout",
        "probes[0].successThreshold",
        "probes[0].tcp.port",
        "probes[1].http.port",
        "probes[1].http.path",
        "probes[1].name",
    ];
    let answer = world.api.post("/api/deployments", shop.spec(json!({ "probes": impossible }))).await;
    assert_eq!(answer.wrong_fields(), fields);
    for (probe, field) in [
        (json!({ "kind": "liveness", "tcp": { "port": 70_000 } }), "probes[0].tcp.port"),
        (json!({ "kind": "liveness", "tcp": {} }), "probes[0].tcp.port"),
        (json!({ "kind": "liveness", "exec": ["true"] }), "probes[0].exec"),
    ] {
        let answer = world.api.post("/api/deployments", shop.spec(json!({ "probes": [probe] }))).await;
        assert_eq!(answer.wrong_fields(), [field], "{probe}");
    }
}

#[tokio::test]
async fn a_bad_specification_is_refused_with_its_fields() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    for (more, fields) in [
        (json!({ "name": "" }), vec!["name"]),
        (json!({ "projectId": "nonsense" }), vec!["projectId"]),
        (json!({ "environment": "qa" }), vec!["environment"]),
        (json!({ "environment": "staging" }), vec!["environment"]),
        (json!({ "driver": "kubernetes" }), vec!["driver"]),
        (json!({ "command": [] }), vec!["command"]),
        (json!({ "command": ["a\u{0}"] }), vec!["command"]),
        (json!({ "command": "serve" }), vec!["command"]),
        (json!({ "command": ["serve", 8080] }), vec!["command[1]"]),
        (json!({ "runtimeType": "node" }), vec!["runtimeType"]),
        (json!({ "replicas": { "min": 3, "max": 2 } }), vec!["replicas.min"]),
        (json!({ "replicas": { "max": 0, "min": 0 } }), vec!["replicas.max"]),
        (json!({ "replicas": { "max": 1001 } }), vec!["replicas.max"]),
        (json!({ "replicas": { "max": 4_294_967_296_u64 } }), vec!["replicas.max"]),
        (json!({ "replicas": { "max": -1 } }), vec!["replicas.max"]),
        (json!({ "replicas": { "max": 2.5 } }), vec!["replicas.max"]),
        (json!({ "resources": { "cpu": -0.5 } }), vec!["resources.cpu"]),
        (json!({ "resources": { "memory": "256MB" } }), vec!["resources.memory"]),
        (json!({ "resources": { "memory": true } }), vec!["resources.memory"]),
        (json!({ "resources": { "memory": "99999999999999999999GiB" } }), vec!["resources.memory"]),
        (json!({ "applyStrategy": { "type": "reload" } }), vec!["applyStrategy.type"]),
        (json!({ "applyStrategy": {} }), vec!["applyStrategy.type"]),
        (
            json!({ "applyStrategy": { "type": "restart", "jitter": "x", "bakeTime": "y" } }),
            vec!["applyStrategy.jitter", "applyStrategy.bakeTime"],
        ),
        (json!({ "applyStrategy": { "type": "file", "bakeTime": "2h" } }), vec!["applyStrategy.bakeTime"]),
        (json!({ "applyStrategy": { "type": "file", "needsRestart": [""] } }), vec!["applyStrategy.needsRestart"]),
        (json!({ "applyStrategy": { "type": "signal", "signal": "KILL" } }), vec!["applyStrategy.signal"]),
        (
            json!({ "sampleInterval": "soon", "scaling": { "combine": "sum" } }),
            vec!["sampleInterval", "scaling.combine"],
        ),
        (json!({ "sampleInterval": "99ms" }), vec!["sampleInterval"]),
        (json!({ "sampleInterval": "61s" }), vec!["sampleInterval"]),
        (json!({ "scaling": { "cooldownUp": 30 } }), vec!["scaling.cooldownUp"]),
        (
            json!({ "scaling": { "freshness": "1ms", "cooldownDown": "300d", "maxStepUp": 0 } }),
            vec!["scaling.freshness", "scaling.cooldownDown", "scaling.maxStepUp"],
        ),
        (
            json!({ "observe": { "scrape": { "port": "$METRICS", "interval": "often" } } }),
            vec!["observe.scrape.port", "observe.scrape.interval"],
        ),
        (
            json!({ "observe": { "scrape": { "port": 0, "path": "stats", "interval": "1ms" }, "metrics": ["cpu=x", "a{"] } }),
            vec![
                "observe.scrape.port",
                "observe.scrape.path",
                "observe.scrape.interval",
                "observe.metrics[0]",
                "observe.metrics[1]",
            ],
        ),
        (json!({ "observe": { "metrics": ["jobs"] } }), vec!["observe.metrics"]),
        (json!({ "http": true, "observe": { "statsd": true, "metrics": ["requests=x"] } }), vec!["observe.metrics[0]"]),
        (json!({ "observe": { "scrape": { "url": "http://10.0.0.1/" } } }), vec!["observe.scrape.url"]),
        (json!({ "observe": { "statsd": "0.0.0.0:8125" } }), vec!["observe.statsd"]),
        (json!({ "allowedNames": ["A=B"] }), vec!["allowedNames"]),
        (json!({ "policies": [{ "name": "a", "policyId": "tresholt" }] }), vec!["policies[0].policyId"]),
        (json!({ "policies": [{ "name": "a", "policyId": "threshold" }] }), vec!["policies[0].config"]),
        (json!({ "policies": [{ "name": "a", "policyId": "threshold", "mode": "on" }] }), vec!["policies[0].mode"]),
    ] {
        let answer = world.api.post("/api/deployments", shop.spec(more.clone())).await;
        assert_eq!(answer.wrong_fields(), fields, "{more}");
    }
    assert!(world.api.get("/api/deployments").await.list().is_empty(), "nothing was made");
    let absent = json!({ "projectId": "prj_01890000000070008000000000000000" });
    world.api.post("/api/deployments", shop.spec(absent)).await.not_found();
    for query in ["projectId=nonsense", "project=x", "limit=x"] {
        world.api.get(&format!("/api/deployments?{query}")).await.refused(400, "validation_failed");
    }
}

#[tokio::test]
async fn a_stage_with_several_environments_has_to_be_named_by_id() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let list = format!("/api/config/projects/{}/environments", shop.project);
    let green = world.api.post(&list, json!({ "environment": "production", "name": "green" })).await.id(201);
    let error = world.api.post("/api/deployments", shop.spec(json!({}))).await.refused(400, "validation_failed");
    assert!(error.contains(&green) && error.contains(&shop.environment), "{error}");
    let by_id = world.api.post("/api/deployments", shop.spec(json!({ "environment": green }))).await.data(201);
    assert_eq!(by_id["environmentId"], json!(green));
    world.api.put(&format!("/api/config/environments/{green}"), json!({ "isActive": false })).await.data(200);
    world.api.post("/api/deployments", shop.spec(json!({}))).await.data(201);
}
