//! A canary secret goes through everything, and is found nowhere but in the program.

use std::path::Path;

use anyhow::{Context as _, Result};
use outrigger_tests::{Server, ServerOptions, Workplace, command_lines, eventually, test_program};
use reqwest::Method;
use serde_json::{Value, json};

const CANARY: &str = "canary-7f3a9c1e5b8d2046";
const SECOND_CANARY: &str = "canary-d41f6a8e0c5b9273";

/// Every file below `directory` that holds one of the canaries.
fn files_with_canary(directory: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files_with_canary(&path, found)?;
        } else if path.is_file() && has_canary(&std::fs::read(&path)?) {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

fn has_canary(bytes: &[u8]) -> bool {
    [CANARY, SECOND_CANARY].iter().any(|canary| bytes.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

#[tokio::test]
async fn a_secret_is_in_the_program_and_nowhere_else() -> Result<()> {
    goes_through_everything(&["--log-format", "text"]).await.map(drop)
}

#[tokio::test]
async fn a_log_of_json_tells_everything_and_no_secret() -> Result<()> {
    let log = goes_through_everything(&["--log-format", "json", "--log-level", "trace"]).await?;
    let mut requests = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z'), "not RFC 3339 with milliseconds: {time}");
        let request = line["spans"].as_array().into_iter().flatten().find(|span| span["name"] == "request");
        requests += usize::from(request.is_some_and(|span| span["fields"]["request_id"].is_string()));
    }
    assert!(requests > 10, "requests are told of with their ids");
    Ok(())
}

/// Has the canaries go through everything, looks for them everywhere, and answers the log.
async fn goes_through_everything(arguments: &[&str]) -> Result<String> {
    let workplace = Workplace::new()?;
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let server = Server::start(&workplace, &ServerOptions { arguments, ..ServerOptions::default() }).await?;
    let api = server.api();
    let variables = json!([{ "key": "API_KEY", "value": CANARY, "isEncrypted": true, "isRequired": true }]);
    let (project, environment) = api.project_with(variables).await?;
    let deployment = api.deployment(&project, &test_program(&["serve"]), json!({ "http": true })).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let instances = format!("/api/deployments/{deployment}/instances");
    let endpoint = eventually("the instance is ready", || async {
        let answer = api.get(&instances).await?;
        Ok(answer[0]["endpoint"].as_str().filter(|_| answer[0]["ready"] == true).map(str::to_owned))
    })
    .await?;
    let url = format!("http://{endpoint}/env/API_KEY");
    assert_eq!(reqwest::get(&url).await?.text().await?, CANARY, "the program has it");

    // A change, a refused change and a reload, so that errors and pushes have had it in hand too.
    let path = format!("/api/config/environments/{environment}/variables/API_KEY");
    let change = json!({ "value": SECOND_CANARY, "isEncrypted": true, "isRequired": true });
    api.call(Method::PUT, &path, Some(change)).await?;
    let bad = json!({ "value": SECOND_CANARY, "isEncrypted": true, "variableType": "number" });
    let refused = api.try_call(Method::PUT, &path, Some(bad)).await?.err().context("no number is taken")?;
    assert!(!has_canary(refused.body.to_string().as_bytes()), "an error repeats no value");
    eventually("the new value is effective", || async {
        let answer = match reqwest::get(&url).await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        Ok((answer == SECOND_CANARY).then_some(()))
    })
    .await?;

    for path in [
        "/api/auth/me".to_owned(),
        "/api/projects".to_owned(),
        format!("/api/config/projects/{project}/environments"),
        format!("/api/config/environments/{environment}"),
        format!("/api/config/environments/{environment}/variables"),
        format!("/api/deployments/{deployment}"),
        format!("/api/deployments/{deployment}/status"),
        instances.clone(),
        format!("/api/deployments/{deployment}/events"),
        format!("/api/deployments/{deployment}/decisions"),
        format!("/api/deployments/{deployment}/metrics"),
        "/api/policies".to_owned(),
        "/api/audit".to_owned(),
        "/api/openapi.json".to_owned(),
        "/metrics".to_owned(),
        "/readyz?verbose".to_owned(),
    ] {
        let answer = api.request(Method::GET, &path).send().await?.bytes().await?;
        assert!(!has_canary(&answer), "{path} shows the secret");
    }
    let revealed = api.post(&format!("{path}/reveal"), json!({})).await?;
    assert_eq!(revealed["value"].as_str().context("no value")?, SECOND_CANARY, "reveal is the one that may");

    for line in command_lines() {
        assert!(!has_canary(line.as_bytes()), "a command line shows the secret");
    }
    let mut found = Vec::new();
    files_with_canary(workplace.path(), &mut found)?;
    assert_eq!(found, Vec::<String>::new(), "files with the secret in clear");
    let log = server.log();
    assert!(!has_canary(log.as_bytes()), "the log shows the secret");

    api.post(&format!("/api/deployments/{deployment}/stop"), json!({})).await?;
    let status = format!("/api/deployments/{deployment}/status");
    eventually("it is stopped", || async { Ok((api.get(&status).await?["status"] == "STOPPED").then_some(())) })
        .await?;
    server.terminate().await?;
    Ok(log)
}
