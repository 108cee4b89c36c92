use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::world::{Shop, World};

const TEMPLATES: &str = "/api/config/templates";

fn document() -> Value {
    json!({
        "id": "shop", "name": "The shop", "category": "own", "version": "1.0.0",
        "variables": [
            { "key": "HOST", "kind": "string", "required": true, "example": "db.example.com" },
            { "key": "PORT", "kind": "number", "required": true, "default": 5432 },
            { "key": "MODE", "kind": "string", "values": ["a", "b"], "default": { "staging": "a", "production": "b" } },
            { "key": "TOKEN", "kind": "secret", "required": true, "generate": { "kind": "hex", "bytes": 32 } },
            { "key": "NOTE", "kind": "string" },
        ],
    })
}

async fn apply(api: &Client, shop: &Shop, more: Value) -> Answer {
    let mut body = json!({ "templateId": "shop", "environment": "production" });
    let (Value::Object(fields), Value::Object(more)) = (&mut body, more) else { panic!("both are objects") };
    fields.extend(more);
    api.post(&format!("/api/config/projects/{}/apply-template", shop.project), body).await
}

fn names(answer: &Value, list: &str) -> Vec<String> {
    let name = |one: &Value| one["key"].as_str().or(one.as_str()).unwrap().to_owned();
    answer[list].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn official_templates_are_listed_shown_and_left_alone() {
    let world = World::new().await;
    let api = &world.api;
    let all = api.get(&format!("{TEMPLATES}?limit=200")).await.list();
    for (id, name) in [
        ("nodejs", "Node.js / Express"),
        ("django", "Django"),
        ("flask", "Flask"),
        ("nextjs", "React / Next.js"),
        ("docker", "Docker"),
        ("postgresql", "PostgreSQL"),
        ("redis", "Redis"),
        ("mongodb", "MongoDB"),
        ("aws", "AWS"),
        ("google-cloud", "Google Cloud"),
        ("azure", "Azure"),
        ("sentry", "Sentry"),
        ("new-relic", "New Relic"),
        ("datadog", "Datadog"),
    ] {
        let listed = all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id} is not listed"));
        assert_eq!(
            (&listed["name"], &listed["official"], &listed["usageCount"]),
            (&json!(name), &json!(true), &json!(0))
        );
        assert!(listed["variableCount"].as_u64().unwrap() > 0 && listed.get("variables").is_none());
    }
    let databases = api.get(&format!("{TEMPLATES}?category=database")).await.list();
    assert_eq!(
        databases.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["mongodb", "postgresql", "redis"]
    );
    let first = api.get(&format!("{TEMPLATES}?limit=1")).await;
    let next = first.body["page"]["next"].as_str().expect("there are more").to_owned();
    assert_eq!(api.get(&format!("{TEMPLATES}?limit=1&cursor={next}")).await.list()[0], all[1]);
    assert_eq!(api.get(&format!("{TEMPLATES}?sort=name")).await.wrong_fields(), ["sort"]);

    let shown = api.get(&format!("{TEMPLATES}/django")).await;
    assert!(shown.headers.get("etag").is_none(), "it has no revisions");
    let django = shown.data(200);
    let secret = django["variables"].as_array().unwrap().iter().find(|one| one["key"] == "SECRET_KEY").unwrap().clone();
    assert_eq!((&secret["secret"], &secret["generate"]["kind"]), (&json!(true), &json!("custom")));
    assert!(django["variables"].to_string().contains("example.com"), "with examples");
    api.delete(&format!("{TEMPLATES}/django")).await.refused(409, "conflict");
    let mut mine = document();
    mine["id"] = json!("django");
    api.put(&format!("{TEMPLATES}/django"), mine.clone()).await.refused(409, "conflict");
    api.post(TEMPLATES, mine).await.refused(409, "conflict");
    for path in ["nothing", "No%20Slug", &"x".repeat(2_000)] {
        api.get(&format!("{TEMPLATES}/{path}")).await.not_found();
    }
}

#[tokio::test]
async fn a_template_is_kept_shown_as_it_was_sent_changed_and_deleted() {
    let world = World::new().await;
    let api = &world.api;
    let created = api.post(TEMPLATES, document()).await;
    assert_eq!(created.header("etag"), "\"1\"");
    let created = created.data(201);
    assert_eq!(
        (&created["official"], &created["author"], &created["revision"]),
        (&json!(false), &json!("operator"), &json!(1))
    );
    assert_eq!(created["variables"][1]["default"], "5432");
    assert_eq!(created["variables"][2]["default"], json!({ "staging": "a", "production": "b" }));
    assert_eq!(api.get(&format!("{TEMPLATES}/shop")).await.data(200), created);
    let again = api.keyed("k", Method::POST, TEMPLATES, document()).await.refused(409, "conflict");
    assert!(again.contains("shop"), "{again}");

    // The document of an answer is taken back.
    let mut sent = created.clone();
    for more in ["official", "usageCount", "revision", "author", "createdAt", "updatedAt"] {
        sent.as_object_mut().unwrap().remove(more).expect("a field of the answer");
    }
    let same = api.put(&format!("{TEMPLATES}/shop"), sent.clone()).await.data(200);
    assert_eq!(same["revision"], 1);
    sent["version"] = json!("1.1.0");
    let put = |if_match: &str, body: &Value| {
        Answer::of(api.request(Method::PUT, &format!("{TEMPLATES}/shop")).header("if-match", if_match).json(body))
    };
    assert_eq!(put("\"1\"", &sent).await.data(200)["revision"], 2);
    assert!(put("\"1\"", &sent).await.refused(409, "conflict").contains("revision 2"));
    sent["id"] = json!("other");
    assert_eq!(put("*", &sent).await.wrong_fields(), ["id"]);

    let delete = |if_match: &str| {
        Answer::of(api.request(Method::DELETE, &format!("{TEMPLATES}/shop")).header("if-match", if_match))
    };
    delete("\"1\"").await.refused(409, "conflict");
    delete("\"2\"").await.data(200);
    api.get(&format!("{TEMPLATES}/shop")).await.not_found();
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_template_is_named_with_its_place() {
    let world = World::new().await;
    let post = async |text: &str| {
        let request = world.api.request(Method::POST, TEMPLATES).header("content-type", "application/yaml");
        Answer::of(request.body(text.to_owned())).await
    };
    let wrong =
        post("id: Shop\nname: T\ncategory: own\nversion: '1'\nvariables:\n  - {key: A, kind: strnig, exampel: x}\n")
            .await;
    let details = wrong.body["details"].as_array().unwrap().clone();
    assert_eq!(wrong.wrong_fields(), ["id", "variables[0].kind", "variables[0].exampel"]);
    assert!(
        details[2]["problem"].as_str().unwrap().contains("line 6, column 28: unknown; did you mean `example`?"),
        "{details:?}"
    );
    for (text, field) in [("", "template"), ("{", "template"), ("[]", "template"), ("{}", "id")] {
        assert_eq!(post(text).await.wrong_fields()[0], field, "{text}");
    }
    let request = world.api.request(Method::POST, TEMPLATES).body(vec![0xff, 0xfe]);
    Answer::of(request).await.refused(400, "malformed");
    let large = post(&"#".repeat(200_000)).await.wrong_fields();
    assert_eq!(large, ["template"]);
    let emoji = r#"{"id":"emoji","name":"\ud83d\ude00","category":"own","version":"1","variables":[{"key":"A","kind":"string"}]}"#;
    assert_eq!(post(emoji).await.data(201)["name"], "😀");
}

#[tokio::test]
async fn all_missing_variables_are_named_at_once() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let missing = apply(&world.api, &shop, json!({ "templateId": "django" })).await;
    let details = missing.body["details"].clone();
    let fields = missing.wrong_fields();
    assert_eq!(fields, ["DJANGO_SETTINGS_MODULE", "ALLOWED_HOSTS", "DATABASE_URL"]);
    assert!(details[0]["problem"].as_str().unwrap().contains("is required"), "{details}");
    let without = apply(&world.api, &shop, json!({ "templateId": "django", "generate": false })).await.wrong_fields();
    assert!(without.contains(&"SECRET_KEY".to_owned()), "{without:?}");
    assert!(world.api.get(&shop.variables()).await.list().is_empty());
}

#[tokio::test]
async fn a_template_is_looked_at_then_applied_in_one_generation() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.post(TEMPLATES, document()).await.data(201);
    api.put(&shop.variable("MODE"), json!({ "value": "mine" })).await.data(200);
    let look = json!({ "overrides": { "HOST": "db" }, "dryRun": true });
    let dry = apply(api, &shop, look).await.data(200);
    assert_eq!((&dry["dryRun"], &dry["generation"]), (&json!(true), &json!(1)));
    assert_eq!(names(&dry, "differences"), ["HOST", "PORT", "TOKEN"]);
    assert_eq!(api.get(&shop.variables()).await.list().len(), 1, "nothing has changed");

    let path = format!("/api/config/projects/{}/apply-template", shop.project);
    let body = json!({ "templateId": "shop", "environment": "production", "overrides": { "HOST": "db" } });
    let done = api.keyed("k", Method::POST, &path, body.clone()).await;
    assert_eq!(done.header("etag"), "\"2\"");
    let done = done.data(200);
    let origins: Vec<&str> =
        done["written"].as_array().unwrap().iter().map(|one| one["origin"].as_str().unwrap()).collect();
    assert_eq!((names(&done, "written"), origins), (names(&dry, "written"), vec!["override", "default", "generated"]));
    assert_eq!((names(&done, "kept"), names(&done, "unset")), (vec!["MODE".to_owned()], vec!["NOTE".to_owned()]));
    assert_eq!((&done["environment"]["id"], &done["environment"]["isNew"]), (&json!(shop.environment), &json!(false)));
    assert_eq!(api.keyed("k", Method::POST, &path, body).await.data(200), done, "a repeated request");
    assert_eq!(api.get(&format!("{TEMPLATES}/shop")).await.data(200)["usageCount"], 1);
    let token = done["differences"].as_array().unwrap().iter().find(|one| one["key"] == "TOKEN").unwrap();
    assert_eq!((&token["after"]["masked"], &token["after"]["value"]), (&json!(true), &Value::Null));

    let refused = apply(api, &shop, json!({ "overrides": { "HOST": "other" } })).await.wrong_fields();
    assert_eq!(refused, ["overrides.HOST"]);
    let over = json!({ "overrides": { "HOST": "other", "PORT": 1 }, "mode": "overwrite", "generate": false });
    let over = apply(api, &shop, over).await.data(200);
    assert_eq!(
        (names(&over, "differences"), names(&over, "kept")),
        (vec!["HOST".to_owned(), "MODE".to_owned(), "PORT".to_owned()], vec!["TOKEN".to_owned()])
    );
    let again = apply(api, &shop, json!({})).await.data(200);
    assert_eq!((&again["generation"], names(&again, "differences").len()), (&json!(3), 0));
}

#[tokio::test]
async fn a_project_without_an_environment_of_the_stage_gets_one() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.post(TEMPLATES, document()).await.data(201);
    let staging = json!({ "environment": "staging", "overrides": { "HOST": "db" } });
    let mut look = staging.clone();
    look["dryRun"] = json!(true);
    let dry = apply(api, &shop, look).await.data(200);
    assert_eq!(dry["environment"], json!({ "id": null, "environment": "staging", "name": "staging", "isNew": true }));
    let mut named = staging.clone();
    named["name"] = json!("stagign");
    apply(api, &shop, named).await.not_found();
    let made = apply(api, &shop, staging).await.data(200);
    assert_eq!((&made["generation"], &made["environment"]["isNew"]), (&json!(1), &json!(true)));
    let id = made["environment"]["id"].as_str().unwrap();
    let variables = api.get(&format!("/api/config/environments/{id}/variables")).await.list();
    assert_eq!(variables.iter().find(|one| one["key"] == "MODE").unwrap()["value"], "a", "the default of the stage");
}

#[tokio::test]
async fn a_body_is_taken_at_its_word() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    for (more, field) in [
        (json!({ "environment": "prod" }), "environment"),
        (json!({ "mode": "merge" }), "mode"),
        (json!({ "overwrite": true }), "overwrite"),
        (json!({ "overrides": ["A"] }), "overrides"),
        (json!({ "overrides": { "A": null } }), "overrides.A"),
        (json!({ "generate": "no" }), "generate"),
    ] {
        assert_eq!(apply(api, &shop, more.clone()).await.wrong_fields(), [field], "{more}");
    }
    let path = format!("/api/config/projects/{}/apply-template", shop.project);
    assert_eq!(api.post(&path, json!({})).await.wrong_fields(), ["templateId"]);
    let twice = r#"{"templateId":"redis","environment":"production","overrides":{"A":"1","A":"2"}}"#;
    let request = api.request(Method::POST, &path).header("content-type", "application/json").body(twice);
    assert!(Answer::of(request).await.refused(400, "validation_failed").contains("given twice"));
    apply(api, &shop, json!({ "templateId": "nothing" })).await.not_found();
    let stranger = world.register("bob@example.org").await;
    apply(&stranger, &shop, json!({ "templateId": "redis" })).await.not_found();
}

#[tokio::test]
async fn another_organisations_templates_are_not_there() {
    let world = World::new().await;
    let (ada, bob) = (world.register("ada@example.org").await, world.register("bob@example.org").await);
    ada.post(TEMPLATES, document()).await.data(201);
    let path = format!("{TEMPLATES}/shop");
    bob.get(&path).await.not_found();
    bob.put(&path, document()).await.not_found();
    bob.delete(&path).await.not_found();
    assert!(bob.get(&format!("{TEMPLATES}?category=own")).await.list().is_empty());
    let his = Shop::new(&bob).await;
    apply(&bob, &his, json!({})).await.not_found();
    bob.post(TEMPLATES, document()).await.data(201);
    assert_eq!(ada.get(&path).await.data(200)["usageCount"], 0);
}
