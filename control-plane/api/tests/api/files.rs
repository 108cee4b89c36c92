use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Client};
use crate::world::{Shop, World};

fn path(shop: &Shop, rest: &str) -> String {
    format!("/api/config/environments/{}/{rest}", shop.environment)
}

async fn import(api: &Client, shop: &Shop, query: &str, file: &str) -> Answer {
    let request = api.request(Method::POST, &path(shop, &format!("import?{query}")));
    Answer::of(request.header("content-type", "text/plain").body(file.to_owned())).await
}

async fn export(api: &Client, shop: &Shop, query: &str) -> (u16, String) {
    let answer = api.request(Method::GET, &path(shop, &format!("export?{query}"))).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_file_is_looked_at_then_taken_over_in_one_generation() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("OLD"), json!({ "value": "stays" })).await.data(200);
    let file = "# of the shop\r\nexport HOST=db\r\nURL=\"postgres://${HOST}/app\"\r\nRAW='${HOST}'\r\n";
    let dry = import(api, &shop, "format=dotenv&dryRun=true", file).await.data(200);
    assert_eq!((&dry["dryRun"], &dry["generation"]), (&json!(true), &json!(1)));
    let keys = |answer: &serde_json::Value| -> Vec<String> {
        let differences = answer["differences"].as_array().unwrap().iter();
        differences.map(|one| one["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&dry), ["HOST", "RAW", "URL"]);
    assert_eq!(api.get(&shop.variables()).await.list().len(), 1, "nothing has changed");

    let done = import(api, &shop, "format=dotenv", file).await.data(200);
    assert_eq!((&done["generation"], keys(&done)), (&json!(2), keys(&dry)));
    let again = import(api, &shop, "format=dotenv", file).await.data(200);
    assert_eq!((&again["generation"], keys(&again).len()), (&json!(2), 0));
    let effective = api.get(&format!("{}?effective=true", shop.variables())).await.list();
    let values: Vec<_> = effective.iter().map(|one| one["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["db", "stays", "${HOST}", "postgres://db/app"]);

    let replaced = import(api, &shop, "format=json&mode=replace", r#"{"HOST":"db"}"#).await.data(200);
    assert_eq!(keys(&replaced), ["OLD", "RAW", "URL"]);
    let audit = api.get("/api/audit").await.list();
    assert!(audit.iter().any(|entry| entry["action"] == "import"));
}

#[tokio::test]
async fn every_wrong_line_is_named_and_nothing_is_changed() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    let wrong = import(api, &shop, "format=dotenv", "GOOD=1\n1BAD=2\nnonsense\n").await.wrong_fields();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].starts_with("line 2, ") && wrong[1].starts_with("line 3, "), "{wrong:?}");
    assert_eq!(import(api, &shop, "format=json", r#"{"A":"${NOTHING}"}"#).await.wrong_fields(), ["line 1: A"]);
    let beside_others = "GOOD=1\nZ=${NOTHING}\nB=2\nA=${Z}${NOWHERE}\n";
    for query in ["format=dotenv", "format=dotenv&dryRun=true"] {
        let wrong = import(api, &shop, query, beside_others).await.wrong_fields();
        assert_eq!(wrong, ["line 2: Z", "line 4: A"]);
    }
    assert_eq!(import(api, &shop, "format=toml&mode=maybe", "").await.wrong_fields(), ["format", "mode"]);
    assert!(api.get(&shop.variables()).await.list().is_empty());
}

#[tokio::test]
async fn secrets_are_exported_only_to_who_may_and_the_log_tells() {
    let world = World::new().await;
    let shop = Shop::new(&world.api).await;
    let api = &world.api;
    api.put(&shop.variable("HOST"), json!({ "value": "db" })).await.data(200);
    api.put(&shop.variable("TOKEN"), json!({ "value": "hunter2", "isEncrypted": true })).await.data(200);
    api.put(&shop.variable("URL"), json!({ "value": "http://${TOKEN}@${HOST}" })).await.data(200);
    for format in ["dotenv", "json", "yaml", "docker", "k8s"] {
        let (status, file) = export(api, &shop, &format!("format={format}&effective=true")).await;
        assert_eq!((status, file.contains("hunter2")), (200, false), "{format}: {file}");
        assert!(file.contains("db"), "{format}: {file}");
    }
    let audited = async || {
        let audit = api.get("/api/audit").await.list();
        audit.iter().filter(|entry| entry["action"] == "export").count()
    };
    assert_eq!(audited().await, 0);
    let (status, file) = export(api, &shop, "format=dotenv&effective=true&secrets=true").await;
    assert!(status == 200 && file.contains("http://hunter2@db"), "{file}");
    assert_eq!(audited().await, 1);

    // What was exported without its secrets can be taken back, and loses none.
    let (_, file) = export(api, &shop, "format=json&form=full").await;
    let back = import(api, &shop, "format=json&mode=replace", &file).await.data(200);
    assert_eq!(back["differences"], json!([]));
    let (status, file) = export(api, &shop, "format=docker").await;
    assert_eq!(status, 400, "a reference is nothing that docker resolves: {file}");
}
