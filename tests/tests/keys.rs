//! Keys are replaced by a real control plane that is killed again and again meanwhile, and by its command line.

use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, Server, ServerOptions, Workplace, binary, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

const ENVIRONMENTS: usize = 8;
const SECRETS: usize = 500;

struct Shop {
    project: String,
    environments: Vec<String>,
}

impl Shop {
    async fn new(api: &Api) -> Result<Self> {
        let project = text(&api.post("/api/projects", json!({ "name": "shop" })).await?, "id")?;
        let mut environments = Vec::new();
        for number in 0..ENVIRONMENTS {
            let path = format!("/api/config/projects/{project}/environments");
            let body = json!({ "environment": "production", "name": format!("e{number}") });
            let environment = text(&api.post(&path, body).await?, "id")?;
            let variable = |at: usize| json!({ "key": key(at), "value": value(number, at), "isEncrypted": true });
            let variables: Value = (0..SECRETS).map(variable).collect();
            let path = format!("/api/config/environments/{environment}/variables");
            api.call(Method::PATCH, &path, Some(json!({ "variables": variables }))).await?;
            environments.push(environment);
        }
        Ok(Self { project, environments })
    }

    /// Every secret is what it was set to.
    async fn assert_intact(&self, api: &Api) -> Result<()> {
        for (number, environment) in self.environments.iter().enumerate() {
            let path = format!("/api/config/environments/{environment}/export?format=json&secrets=true");
            let answer = api.request(Method::GET, &path).send().await?.error_for_status()?;
            let exported: Value = answer.json().await?;
            let found = exported.to_string();
            for at in 0..SECRETS {
                ensure!(found.contains(&value(number, at)), "{} of environment {number} is lost", key(at));
            }
        }
        Ok(())
    }
}

fn key(at: usize) -> String {
    format!("SECRET_{at}")
}

fn value(environment: usize, at: usize) -> String {
    format!("value <{environment}-{at}>")
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field].as_str().map(str::to_owned).with_context(|| format!("no `{field}` in {value}"))
}

async fn rotation(api: &Api, id: &str) -> Result<Value> {
    api.get(&format!("/api/admin/keys/rotations/{id}")).await
}

/// Kills the control plane whenever its rotation has come further, and starts it again, until it is over.
async fn kill_until_done(mut server: Server, id: &str, kills: usize) -> Result<Server> {
    let mut reached = 0;
    for _ in 0..kills {
        let api = server.api().clone();
        let state = eventually("the rotation goes on", || async {
            let found = rotation(&api, id).await?;
            let done = found["done"].as_u64().unwrap_or_default();
            Ok((found["state"] == "done" || done > reached).then_some((found["state"] == "done", done)))
        })
        .await?;
        if state.0 {
            break;
        }
        reached = state.1;
        server.kill().await?;
        server = server.restart().await?;
    }
    ensure!(reached > 0, "it was killed in the middle at least once");
    let api = server.api().clone();
    eventually("the rotation is over", || async { Ok((rotation(&api, id).await?["state"] == "done").then_some(())) })
        .await?;
    Ok(server)
}

#[tokio::test]
async fn a_rotation_goes_on_where_it_was_when_the_control_plane_is_killed() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let shop = Shop::new(server.api()).await?;
    let body = json!({ "kind": "data", "projectId": shop.project });
    let id = text(&server.api().post("/api/admin/keys/rotate", body).await?, "id")?;
    let server = kill_until_done(server, &id, 4).await?;
    shop.assert_intact(server.api()).await?;
    let found = rotation(server.api(), &id).await?;
    assert_eq!((&found["done"], &found["unreadable"]), (&json!(ENVIRONMENTS * SECRETS), &json!(0)));
    let keys = server.api().get(&format!("/api/admin/keys?projectId={}", shop.project)).await?;
    assert_eq!(keys[0]["keys"].as_array().map(Vec::len), Some(1), "the old key is destroyed");
    assert_eq!(keys[0]["keys"][0]["id"], json!(id));
    server.terminate().await
}

const NEXT: &str = "8f1d3c5b7a99e0d2c4f6a8b0d1e3f5a7c9b1d3e5f7091a2b3c4d5e6f70819203";

#[tokio::test]
async fn the_master_key_beside_the_database_is_replaced_by_the_command_line() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let data = workplace.data();
    let shop = Shop::new(server.api()).await?;

    let refused = keys(&server, &data, &["rotate", "--master", "--wait"]).await?;
    ensure!(!refused.status.success(), "there is no next key yet");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("next-master.key") && said.contains("openssl rand -hex 32"), "{said}");

    std::fs::write(data.join("next-master.key"), NEXT)?;
    let done = keys(&server, &data, &["rotate", "--master", "--wait", "--output", "json"]).await?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(done.status.success(), "{said}");
    ensure!(said.contains("master key: ") && said.contains("100%"), "{said}");
    let rotation: Value = serde_json::from_slice(&done.stdout)?;
    assert_eq!((&rotation["kind"], &rotation["state"]), (&json!("master"), &json!("done")));
    shop.assert_intact(server.api()).await?;

    // What is there is not what it runs with: a second one could not be taken up again after a crash.
    std::fs::write(data.join("next-master.key"), NEXT.replace('8', "9"))?;
    let refused = keys(&server, &data, &["rotate", "--master"]).await?;
    ensure!(!refused.status.success());
    std::fs::write(data.join("next-master.key"), NEXT)?;

    let server = server.restart().await?;
    shop.assert_intact(server.api()).await?;
    assert_eq!(std::fs::read_to_string(data.join("master.key"))?.trim(), NEXT, "the files were renamed");
    assert!(!data.join("next-master.key").exists());
    let old = std::fs::read_dir(&data)?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("old-master-"));
    assert_eq!(old.count(), 1, "the old key is kept for older copies of the database");

    let listed = keys(&server, &data, &["list"]).await?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    ensure!(listed.contains("shop") && listed.contains("active") && listed.contains("master key "), "{listed}");
    let rotated = keys(&server, &data, &["rotate", "--all", "--wait"]).await?;
    ensure!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    shop.assert_intact(server.api()).await?;
    server.terminate().await
}

#[tokio::test]
async fn a_half_replaced_master_key_needs_both_keys_and_says_so() -> Result<()> {
    let workplace = Workplace::new()?;
    let mut server = Server::start(&workplace, &ServerOptions::default()).await?;
    let data = workplace.data();
    let shop = Shop::new(server.api()).await?;
    // Something to be sealed anew for a while: what requests were answered is kept for each idempotency key.
    for number in 0..300 {
        let request =
            server.api().request(Method::POST, "/api/projects").json(&json!({ "name": format!("p{number}") }));
        request.header("idempotency-key", format!("k{number}")).send().await?.error_for_status()?;
    }
    std::fs::write(data.join("next-master.key"), NEXT)?;
    let id = text(&server.api().post("/api/admin/keys/rotate", json!({ "kind": "master" })).await?, "id")?;
    server.kill().await?;
    std::fs::rename(data.join("next-master.key"), data.join("elsewhere"))?;
    let refused = Server::start(&workplace, &ServerOptions::default()).await;
    let said = format!("{:#}", refused.err().context("it does not start with the old key alone")?);
    // Nearly always in the middle; when it was over that soon, the old key is none of this database any more.
    let is_half = said.contains("being replaced") && said.contains("the new one") && said.contains("master_key_file");
    ensure!(is_half || said.contains("not the one that protects this database, which is"), "{said}");
    std::fs::rename(data.join("elsewhere"), data.join("next-master.key"))?;
    let server = server.restart().await?;
    let api = server.api().clone();
    eventually("the rotation is over", || async { Ok((rotation(&api, &id).await?["state"] == "done").then_some(())) })
        .await?;
    shop.assert_intact(&api).await?;
    server.terminate().await
}

async fn keys(server: &Server, data: &Path, arguments: &[&str]) -> Result<Output> {
    let token = std::fs::read_to_string(data.join("operator-token"))?;
    let mut command = Command::new(binary("outrigger"));
    command.arg("keys").args(arguments).env("OUTRIGGER_URL", server.api().base()).env("OUTRIGGER_TOKEN", token.trim());
    command.env("XDG_CONFIG_HOME", data.join("no-config"));
    Ok(command.output().await?)
}
