use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::world::{Shop, World};

const CANARY: &str = "canary-7f3a";

async fn matching(api: &Client, etag: &str, method: Method, path: &str, body: Value) -> Answer {
    Answer::of(api.request(method, path).header("if-match", etag).json(&body)).await
}

#[tokio::test]
async fn variables_are_put_read_and_deleted_one_generation_at_a_time() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let put = api.put(&shop.variable("GREETING"), json!({ "value": "hello", "description": "says" })).await;
    assert_eq!(put.header("etag"), "\"1\"");
    let put = put.data(200);
    assert_eq!((&put["key"], &put["value"], &put["generation"]), (&json!("GREETING"), &json!("hello"), &json!(1)));
    let list = api.get(&shop.variables()).await;
    assert_eq!(list.header("etag"), "\"1\"");
    let variable = list.list()[0].clone();
    assert_eq!((&variable["variableType"], &variable["changedIn"]), (&json!("string"), &json!(1)));
    assert_eq!((&variable["masked"], &variable["isEncrypted"]), (&json!(false), &json!(false)));

    let same = api.put(&shop.variable("GREETING"), json!({ "value": "hello" })).await.data(200);
    assert_eq!((&same["generation"], &same["description"]), (&json!(1), &json!("says")), "nothing has changed");
    let deleted = api.delete(&shop.variable("GREETING")).await.data(200);
    assert_eq!((&deleted["generation"], &deleted["message"]), (&json!(2), &json!("delete GREETING")));
    let gone = api.delete(&shop.variable("GREETING")).await.not_found();
    assert!(gone.contains("variable `GREETING`"), "{gone}");
    assert!(api.get(&shop.variables()).await.list().is_empty());
}

#[tokio::test]
async fn a_secret_is_shown_by_reveal_alone_and_stays_one() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let path = shop.variable("API_KEY");
    let put = api.put(&path, json!({ "value": "first", "isEncrypted": true, "isRequired": true })).await.data(200);
    assert_eq!((&put["value"], &put["masked"], &put["variableType"]), (&Value::Null, &json!(true), &json!("secret")));
    // A new value says nothing about secrecy, and so does a patch.
    let put = api.put(&path, json!({ "value": CANARY })).await.data(200);
    assert_eq!((&put["value"], &put["masked"], &put["isRequired"]), (&Value::Null, &json!(true), &json!(true)));
    let patch = json!({ "variables": [{ "key": "API_KEY", "description": "of the shop" }] });
    api.patch(&shop.variables(), patch).await.data(200);
    let revealed = api.post(&format!("{path}/reveal"), json!({})).await.data(200);
    assert_eq!(revealed, json!({ "key": "API_KEY", "value": CANARY }));
    for read in [&shop.variables(), "/api/audit", &format!("/api/config/environments/{}/versions", shop.environment)] {
        assert!(!api.get(read).await.body.to_string().contains(CANARY), "{read}");
    }
    let audit = api.get("/api/audit").await.list();
    let reveal = audit.iter().find(|entry| entry["action"] == "reveal").expect("it is audited");
    assert!(reveal["target"].as_str().unwrap().ends_with("/API_KEY"));

    // Not without knowing the value, and then by wish alone.
    api.put(&path, json!({ "isEncrypted": false })).await.refused(400, "validation_failed");
    let plain = api.put(&path, json!({ "isEncrypted": false, "value": "public" })).await.data(200);
    assert_eq!((&plain["value"], &plain["variableType"]), (&json!("public"), &json!("string")));
    api.post(&format!("{}/reveal", shop.variable("NONE")), json!({})).await.not_found();
}

#[tokio::test]
async fn a_secret_without_a_value_is_told_from_a_masked_one() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let path = shop.variable("API_KEY");
    let declared = world.api.put(&path, json!({ "isEncrypted": true, "isRequired": true })).await.data(200);
    assert_eq!((&declared["value"], &declared["masked"]), (&Value::Null, &json!(false)));
    assert_eq!((&declared["isEncrypted"], &declared["variableType"]), (&json!(true), &json!("secret")));
    let set = world.api.put(&path, json!({ "value": CANARY })).await.data(200);
    assert_eq!((&set["value"], &set["masked"], &set["isEncrypted"]), (&Value::Null, &json!(true), &json!(true)));
    assert_eq!(world.api.get(&shop.variables()).await.list()[0]["masked"], true);
}

#[tokio::test]
async fn a_variable_is_named_by_the_path_or_by_its_key_and_never_by_both() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    for key in [json!("A"), json!("B"), Value::Null, json!(1)] {
        let named = world.api.put(&shop.variable("A"), json!({ "key": key, "value": "x" })).await;
        assert_eq!(named.wrong_fields(), ["key"]);
    }
    let body = json!({ "variables": [{ "value": "x" }, { "key": "A", "variableType": "float" }] });
    let fields = world.api.patch(&shop.variables(), body).await.wrong_fields();
    assert_eq!(fields, ["variables[0].key", "variables[1].variableType"], "both at once");
    let body = json!({ "variables": [{ "key": null, "value": "x" }] });
    assert_eq!(world.api.patch(&shop.variables(), body).await.wrong_fields(), ["variables[0].key"]);
    assert_eq!(world.api.get(&shop.variables()).await.header("etag"), "\"0\"");
}

#[tokio::test]
async fn many_changes_are_one_generation_or_none() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let variables = json!([
        { "key": "PORT", "value": 8080, "variableType": "number" }, { "key": "RATIO", "value": 0.5 },
        { "key": "DEBUG", "value": true, "variableType": "boolean" }, { "key": "LATER", "isRequired": true },
    ]);
    let patched = api.patch(&shop.variables(), json!({ "variables": variables, "message": "first" })).await.data(200);
    assert_eq!((&patched["generation"], &patched["message"]), (&json!(1), &json!("first")));
    assert_eq!(patched["contentHash"].as_str().unwrap().len(), 64);
    let values: Vec<Value> = api.get(&shop.variables()).await.list().iter().map(|one| one["value"].clone()).collect();
    assert_eq!(values, [json!("true"), Value::Null, json!("8080"), json!("0.5")]);

    for (change, field) in [
        (json!({ "key": "GOOD", "value": "x", "variableType": "float" }), "variables[1].variableType"),
        (json!({ "key": "PORT", "value": "many" }), "PORT"),
        (json!({ "key": "A=B", "value": "x" }), "A=B"),
        (json!({ "key": "A\u{0}", "value": "x" }), "A\u{fffd}"),
        (json!({ "key": "A", "value": "x\u{0}y" }), "A"),
        (json!({ "key": "A", "value": ["secret"] }), "variables[1].value"),
        (json!({ "key": "A", "value": 123_456_789_012_345_678_901_234_567_890_f64 }), "variables[1].value"),
        (json!({ "value": "x" }), "variables[1].key"),
        (json!({ "key": "A", "value": "x", "secret": true }), "variables[1].secret"),
        (json!({ "key": "FINE", "value": "x" }), "FINE"),
    ] {
        let body = json!({ "variables": [{ "key": "FINE", "value": "1" }, change], "delete": ["RATIO"] });
        let fields = api.patch(&shop.variables(), body).await.wrong_fields();
        assert!(fields.contains(&field.to_owned()), "{field}: {fields:?}");
    }
    api.patch(&shop.variables(), json!({ "delete": ["NONE"] })).await.not_found();
    assert_eq!(api.get(&shop.variables()).await.header("etag"), "\"1\"", "nothing was changed");
    let deleted = api.patch(&shop.variables(), json!({ "delete": ["PORT", "RATIO"] })).await.data(200);
    assert_eq!(deleted["generation"], 2);
}

#[tokio::test]
async fn a_stale_if_match_changes_nothing() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let path = shop.variable("A");
    matching(api, "\"0\"", Method::PUT, &path, json!({ "value": "1" })).await.data(200);
    let stale = matching(api, "\"0\"", Method::PUT, &path, json!({ "value": "2" })).await;
    assert!(stale.refused(409, "conflict").contains("generation 1"));
    let patch = json!({ "variables": [{ "key": "A", "value": "2" }] });
    matching(api, "\"0\"", Method::PATCH, &shop.variables(), patch).await.refused(409, "conflict");
    matching(api, "\"7\"", Method::DELETE, &path, json!({})).await.refused(409, "conflict");
    for nonsense in ["", "\"", "\"\"", "W/\"1\"", "\"+1\"", "one", "\"1\", \"2\"", "\"99999999999999999999999\""] {
        matching(api, nonsense, Method::DELETE, &path, json!({})).await.refused(400, "malformed");
    }
    let twice = api.request(Method::DELETE, &path).header("if-match", "\"1\"").header("if-match", "\"2\"");
    Answer::of(twice).await.refused(400, "malformed");
    assert_eq!(api.get(&shop.variables()).await.list()[0]["value"], "1");
    matching(api, "*", Method::PUT, &path, json!({ "value": "2" })).await.data(200);
    matching(api, "\"2\"", Method::DELETE, &path, json!({})).await.data(200);
}

#[tokio::test]
async fn bad_names_and_large_values_are_refused() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    for key in ["%00", "A%00B", "a%20b", "A%3DB", "%C3%A9", &"K".repeat(129)] {
        api.put(&shop.variable(key), json!({ "value": "x" })).await.refused(400, "validation_failed");
        api.delete(&shop.variable(key)).await;
        api.post(&format!("{}/reveal", shop.variable(key)), json!({})).await.not_found();
    }
    api.put(&shop.variable("%ff"), json!({ "value": "x" })).await.refused(400, "malformed");
    let large = "x".repeat(900 * 1024);
    let refused = api.put(&shop.variable("LARGE"), json!({ "value": large })).await;
    assert!(refused.body.to_string().len() < 2_000, "the value is not repeated");
    assert_eq!(refused.wrong_fields(), ["LARGE"]);
    let many: Vec<Value> = (0..1_001).map(|at| json!({ "key": format!("K{at}"), "value": "x" })).collect();
    api.patch(&shop.variables(), json!({ "variables": many })).await.refused(400, "validation_failed");
    assert_eq!(api.get(&shop.variables()).await.header("etag"), "\"0\"");
}

#[tokio::test]
async fn generations_are_listed_newest_first() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    for value in ["1", "2", "3"] {
        world.api.put(&shop.variable("A"), json!({ "value": value })).await.data(200);
    }
    let path = format!("/api/config/environments/{}/versions", shop.environment);
    let page = world.api.get(&format!("{path}?limit=2")).await;
    let next = page.body["page"]["next"].as_str().unwrap().to_owned();
    let numbers = |list: Vec<Value>| list.iter().map(|one| one["generation"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(page.list()), [3, 2]);
    assert_eq!(numbers(world.api.get(&format!("{path}?cursor={next}")).await.list()), [1]);
    let shown = world.api.get(&format!("{path}/2")).await.data(200);
    assert_eq!((&shown["generation"], &shown["message"]), (&json!(2), &json!("set A")));
    for absent in ["4", "-1", "two", "99999999999999999999999"] {
        world.api.get(&format!("{path}/{absent}")).await.not_found();
    }
}

#[tokio::test]
async fn what_is_inherited_is_removed_and_let_in_again() {
    let world = World::new().await;
    let (api, base) = (&world.api, Shop::new(&world.api).await);
    api.put(&base.variable("DEBUG"), json!({ "value": "1" })).await.data(200);
    let path = format!("/api/config/projects/{}/environments", base.project);
    let eu = json!({ "environment": "staging", "extends": base.environment });
    let eu = Shop { project: base.project.clone(), environment: api.post(&path, eu).await.id(201) };

    let removed = api.put(&eu.variable("DEBUG"), json!({ "removed": true })).await.data(200);
    assert_eq!(
        (&removed["removed"], &removed["value"], &removed["generation"]),
        (&json!(true), &json!(null), &json!(2))
    );
    assert_eq!(api.get(&eu.variables()).await.list()[0]["removed"], true);
    assert!(api.get(&format!("{}?effective=true", eu.variables())).await.list().is_empty());
    let diff = format!("/api/config/environments/{}/diff", eu.environment);
    let difference = api.get(&diff).await.list().remove(0);
    assert_eq!((&difference["change"], &difference["after"]["removed"]), (&json!("added"), &json!(true)));
    let export = format!("/api/config/environments/{}/export?format=yaml", eu.environment);
    let text = api.request(Method::GET, &export).send().await.unwrap().text().await.unwrap();
    assert!(text.starts_with("# DEBUG is removed here"), "{text}");

    let both = api.put(&eu.variable("DEBUG"), json!({ "removed": true, "value": "2" })).await;
    assert_eq!(both.wrong_fields(), ["removed"]);
    let many = json!({ "variables": [{ "key": "ABSENT", "removed": true }] });
    assert_eq!(api.patch(&eu.variables(), many).await.wrong_fields(), ["ABSENT"]);
    let many = json!({ "variables": [{ "key": "DEBUG", "removed": true, "isRequired": true }] });
    assert_eq!(api.patch(&eu.variables(), many).await.wrong_fields(), ["variables[0].removed"]);
    api.delete(&eu.variable("DEBUG")).await.data(200);
    assert_eq!(api.get(&format!("{}?effective=true", eu.variables())).await.list().len(), 1);
}

#[tokio::test]
async fn an_effective_value_is_revealed_where_it_is_not_written() {
    let world = World::new().await;
    let (api, base) = (&world.api, Shop::new(&world.api).await);
    api.put(&base.variable("TOKEN"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    let path = format!("/api/config/projects/{}/environments", base.project);
    let eu = json!({ "environment": "staging", "extends": base.environment });
    let eu = Shop { project: base.project.clone(), environment: api.post(&path, eu).await.id(201) };
    let reveal = format!("{}/reveal", eu.variable("TOKEN"));
    api.post(&reveal, json!({})).await.not_found();
    assert_eq!(api.post(&reveal, json!({ "effective": true })).await.data(200)["value"], "hunter2");
    let told = api.get("/api/audit?action=reveal").await.list();
    let targets: Vec<&str> = told.iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    assert_eq!(targets.len(), 2);
    for environment in [&base.environment, &eu.environment] {
        assert!(targets.contains(&format!("{environment}/TOKEN").as_str()), "{targets:?}");
    }
}

#[tokio::test]
async fn a_generation_says_which_variables_it_had() {
    let world = World::new().await;
    let (api, shop) = (&world.api, Shop::new(&world.api).await);
    api.put(&shop.variable("TOKEN"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    api.put(&shop.variable("HOST"), json!({ "value": "db" })).await.data(200);
    api.delete(&shop.variable("TOKEN")).await.data(200);
    let shown = api.get(&format!("/api/config/environments/{}/versions/2", shop.environment)).await.data(200);
    assert_eq!((&shown["generation"], &shown["message"]), (&json!(2), &json!("set HOST")));
    let variables = shown["variables"].as_array().unwrap();
    assert_eq!(
        (&variables[0]["key"], &variables[0]["value"], &variables[0]["changedIn"]),
        (&json!("HOST"), &json!("db"), &json!(2))
    );
    assert_eq!(
        (&variables[1]["key"], &variables[1]["value"], &variables[1]["masked"]),
        (&json!("TOKEN"), &json!(null), &json!(true))
    );
}

#[tokio::test]
async fn a_generation_without_a_message_says_what_it_changed() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let set = |keys: &[String]| keys.iter().map(|key| json!({ "key": key, "value": "x" })).collect::<Vec<_>>();
    let keys: Vec<String> = (0..7).map(|number| format!("K{number}")).collect();
    let many = api.patch(&shop.variables(), json!({ "variables": set(&keys) })).await.data(200);
    assert_eq!(many["message"], "set K0, K1, K2, K3, K4 and 2 more");
    let both = json!({ "variables": set(&["A".to_owned()]), "delete": ["K0", "K1"] });
    assert_eq!(api.patch(&shop.variables(), both).await.data(200)["message"], "set A; delete K0, K1");

    // The longest names that there may be do not make a message that is refused.
    let longest: Vec<String> = (0..20).map(|number| format!("{}{number:02}", "L".repeat(126))).collect();
    api.patch(&shop.variables(), json!({ "variables": set(&longest) })).await.data(200);

    let unknown = api.patch(&shop.variables(), json!({ "delete": ["K2", "NOPE"] })).await.not_found();
    assert!(unknown.contains("variable `NOPE`"), "{unknown}");
}

#[tokio::test]
async fn a_parameter_that_cannot_be_read_is_told_with_what_it_has_to_be() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    for (query, problem) in [
        ("generation=x", "generation has to be a whole number"),
        ("generation=", "generation has to be a whole number"),
        ("generation=99999999999999999999", "generation is too large a number"),
        ("effective=maybe", "effective has to be true or false"),
    ] {
        let answer = world.api.get(&format!("{}?{query}", shop.variables())).await;
        let words = answer.refused(400, "validation_failed");
        assert!(words.contains(problem), "{query}: {words}");
    }
}
