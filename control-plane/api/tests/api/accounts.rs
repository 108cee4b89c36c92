use serde_json::json;

use crate::world::{PASSWORD, World};

#[tokio::test]
async fn somebody_registers_signs_in_and_is_told_who_they_are() {
    let world = World::new().await;
    let account = json!({ "email": "Ada@Example.org", "password": PASSWORD, "name": "Ada" });
    let registered = world.stranger.post("/api/auth/register", account).await.data(201);
    let user = &registered["user"];
    assert_eq!(
        (&user["email"], &user["name"], &user["role"]),
        (&json!("ada@example.org"), &json!("Ada"), &json!("owner"))
    );
    user["createdAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();

    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    let signed_in = world.stranger.post("/api/auth/login", login).await.data(200);
    assert_eq!(&signed_in["user"], user);
    assert_ne!(signed_in["token"], registered["token"]);
    for token in [&registered["token"], &signed_in["token"]] {
        let me = world.stranger.with_token(token.as_str().unwrap()).get("/api/auth/me").await.data(200);
        assert_eq!((&me["id"], &me["subject"]), (&user["id"], &json!("user")));
        assert_eq!(me["organizationId"], user["organizationId"]);
    }
    let operator = world.api.get("/api/auth/me").await.data(200);
    assert_eq!((&operator["subject"], &operator["role"]), (&json!("operator"), &json!("owner")));
}

#[tokio::test]
async fn bad_accounts_are_refused_with_every_problem() {
    let world = World::new().await;
    let register = async |body| world.stranger.post("/api/auth/register", body).await;
    assert_eq!(register(json!({ "email": "nobody", "password": "short" })).await.wrong_fields(), ["email", "password"]);
    assert_eq!(register(json!({ "email": "a@b.c" })).await.wrong_fields(), ["password"]);
    assert_eq!(register(json!({ "email": "a\u{0}@b.c", "password": PASSWORD })).await.wrong_fields(), ["email"]);
    let refused = register(json!({ "email": "a@b.c", "password": 123_456_789_012_u64 })).await;
    let error = refused.refused(400, "validation_failed");
    assert!(error.contains("password has to be a string") && !error.contains("123456789012"), "{error}");
    let more = json!({ "email": "a@b.c", "password": PASSWORD, "role": "operator" });
    assert_eq!(register(more).await.wrong_fields(), ["role"]);

    let account = json!({ "email": "ada@example.org", "password": PASSWORD });
    register(account.clone()).await.data(201);
    assert!(register(account).await.refused(409, "conflict").contains("e-mail"));
}

#[tokio::test]
async fn a_wrong_address_and_a_wrong_password_look_the_same() {
    let world = World::new().await;
    world.register("ada@example.org").await;
    let login = async |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        world.stranger.post("/api/auth/login", body).await
    };
    let wrong_password = login("ada@example.org", "not this one").await.refused(401, "unauthorized");
    assert!(wrong_password.contains("Invalid credentials"));
    let long = format!("{}@example.org", "x".repeat(10_000));
    for email in ["bob@example.org", "operator", "ada\u{0}@example.org", &long] {
        assert_eq!(login(email, PASSWORD).await.refused(401, "unauthorized"), wrong_password);
    }
    assert_eq!(login("", "").await.wrong_fields(), ["email", "password"]);
}

#[tokio::test]
async fn only_a_valid_bearer_token_opens_the_door() {
    let world = World::new().await;
    let missing = world.stranger.get("/api/projects").await;
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    assert!(missing.refused(401, "unauthorized").contains("Authorization"));
    for value in ["", "Bearer", "Bearer  ", "Basic dXNlcjpwYXNz", "Bearer nonsense", "Bearer ogr_00_x", "Bearer \u{e9}"]
    {
        let request = world.stranger.request(reqwest::Method::GET, "/api/projects");
        let request = request.header("authorization", value.as_bytes());
        crate::client::Answer::of(request).await.refused(401, "unauthorized");
    }
    let long = world.stranger.with_token(&"x".repeat(4_000));
    long.get("/api/projects").await.refused(401, "unauthorized");
    // Before anything else is said: neither the path nor the body of a stranger is looked at.
    world.stranger.get("/api/projects/nonsense").await.refused(401, "unauthorized");
    world.stranger.post("/api/projects", json!({ "nonsense": 1 })).await.refused(401, "unauthorized");
    world.stranger.upload(b"nonsense").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn an_owner_gives_somebody_else_an_account_in_the_same_organisation() {
    let world = World::new().await;
    let api = &world.api;
    let grace = |role: &str| json!({ "email": "grace@example.org", "password": PASSWORD, "role": role });
    assert_eq!(api.post("/api/users", grace("boss")).await.wrong_fields(), ["role"]);
    let added = api.post("/api/users", grace("admin")).await.data(201);
    let me = api.get("/api/auth/me").await.data(200);
    assert_eq!((&added["role"], &added["organizationId"]), (&json!("admin"), &me["organizationId"]));
    api.post("/api/users", grace("admin")).await.refused(409, "conflict");

    let body = json!({ "email": "grace@example.org", "password": PASSWORD });
    let signed_in = world.stranger.post("/api/auth/login", body).await.data(200);
    let admin = world.stranger.with_token(signed_in["token"].as_str().unwrap());
    assert_eq!(admin.get("/api/auth/me").await.data(200)["role"], "admin");
    let other = json!({ "email": "ada@example.org", "password": PASSWORD, "role": "viewer" });
    admin.post("/api/users", other).await.refused(403, "forbidden");
}
