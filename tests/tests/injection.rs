//! What is set in the control plane arrives in the program, byte for byte, or the program does not start.

use anyhow::{Context as _, Result};
use outrigger_tests::{Agent, Server, ServerOptions, Workplace, binary, eventually, is_running, test_program};
use reqwest::Method;
use serde_json::{Value, json};

/// A control plane with one deployment that sandboxes from outside join.
struct Fixture {
    server: Server,
    workplace: Workplace,
    environment: String,
    deployment: String,
}

impl Fixture {
    /// The deployment is started.
    async fn with(variables: Value) -> Result<Self> {
        let fixture = Self::pending_with(variables).await?;
        fixture.call("/start").await?;
        Ok(fixture)
    }

    async fn pending_with(variables: Value) -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let (project, environment) = server.api().project_with(variables).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 10, "initial": 0 } });
        let deployment = server.api().deployment(&project, &["unused".to_owned()], external).await?;
        Ok(Self { server, workplace, environment, deployment })
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/deployments/{}{rest}", self.deployment)
    }

    async fn call(&self, what: &str) -> Result<Value> {
        self.server.api().post(&self.path(what), json!({})).await
    }

    async fn status(&self, wanted: &str) -> Result<()> {
        let (api, path) = (self.server.api(), self.path("/status"));
        eventually(wanted, || async { Ok((api.get(&path).await?["status"] == wanted).then_some(())) }).await
    }

    async fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/api/config/environments/{}/variables/{key}", self.environment);
        self.server.api().call(Method::PUT, &path, Some(json!({ "value": value }))).await.map(|_| ())
    }

    async fn token(&self, body: Value) -> Result<String> {
        let answer = self.server.api().post(&self.path("/join-tokens"), body).await?;
        answer["token"].as_str().map(str::to_owned).context("no token")
    }

    fn agent(&self, name: &str, token: Option<&str>, arguments: &[&str], program: &[String]) -> Result<Agent> {
        let address = self.server.agents_address();
        let arguments: Vec<&str> = ["--control-plane", &address].into_iter().chain(arguments.iter().copied()).collect();
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        Agent::run(&self.workplace.path().join(name), token, &arguments, &program)
    }
}

#[tokio::test]
async fn values_of_every_kind_arrive_byte_for_byte() -> Result<()> {
    let fixture = Fixture::with(json!([
        { "key": "PLAIN", "value": "plain" },
        { "key": "SECRET", "value": "s3cr3t=\"quoted\" $HOME", "isEncrypted": true },
        { "key": "EMPTY", "value": "" },
        { "key": "UNICODE", "value": "grüße 🚢" },
        { "key": "LINES", "value": "first\nsecond\n" },
        { "key": "PORT_NUMBER", "value": "8080", "variableType": "number" },
    ]))
    .await?;
    let token = fixture.token(json!({})).await?;
    let program =
        test_program(&["print", "PLAIN", "SECRET", "EMPTY", "UNICODE", "LINES", "PORT_NUMBER", "OUTRIGGER_JOIN_TOKEN"]);
    let mut agent = fixture.agent("agent", Some(&token), &[], &program)?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());
    let expected = "PLAIN=plain\nSECRET=s3cr3t=\"quoted\" $HOME\nEMPTY=\nUNICODE=grüße 🚢\nLINES=first\nsecond\n\n\
                    PORT_NUMBER=8080\nOUTRIGGER_JOIN_TOKEN=(unset)\n";
    assert_eq!(agent.stdout(), expected);
    Ok(())
}

#[tokio::test]
async fn required_variables_without_a_value_keep_everything_from_starting_and_are_all_named() -> Result<()> {
    let fixture = Fixture::pending_with(json!([
        { "key": "PRESENT", "value": "1" },
        { "key": "FIRST_MISSING", "isRequired": true },
        { "key": "SECOND_MISSING", "isRequired": true, "isEncrypted": true },
    ]))
    .await?;
    let refusal = fixture.server.api().try_call(Method::POST, &fixture.path("/start"), None).await?.unwrap_err();
    let text = refusal.body.to_string();
    assert_eq!(refusal.status, 400, "{text}");
    assert!(text.contains("FIRST_MISSING") && text.contains("SECOND_MISSING"), "{text}");

    // Whoever comes before the start is let in and gets nothing; its wait is bounded.
    let token = fixture.token(json!({})).await?;
    let program = test_program(&["print", "PRESENT", "FIRST_MISSING"]);
    let mut agent = fixture.agent("agent", Some(&token), &["--start-timeout", "2s"], &program)?;
    assert_eq!(agent.exit_code().await?, 1);
    let stderr = agent.stderr();
    assert!(stderr.contains("no configuration within 2s") && stderr.contains("offers none"), "{stderr}");
    assert_eq!(agent.stdout(), "", "nothing of the program ran");

    let mut agent = fixture.agent("agent", None, &[], &program)?;
    let (api, path) = (fixture.server.api(), fixture.path("/instances"));
    eventually("the agent waits", || async { Ok((api.get(&path).await?[0]["connected"] == true).then_some(())) })
        .await?;
    fixture.set("FIRST_MISSING", "2").await?;
    fixture.set("SECOND_MISSING", "3").await?;
    fixture.call("/start").await?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());
    assert_eq!(agent.stdout(), "PRESENT=1\nFIRST_MISSING=2\n");
    Ok(())
}

#[tokio::test]
async fn a_change_that_a_running_deployment_could_not_run_with_is_refused() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    let path = format!("/api/config/environments/{}/variables", fixture.environment);
    let change = json!({ "variables": [
        { "key": "MISSING", "isRequired": true },
        { "key": "NODE_OPTIONS", "value": "--inspect" },
    ]});
    let refusal = fixture.server.api().try_call(Method::PATCH, &path, Some(change.clone())).await?.unwrap_err();
    let text = refusal.body.to_string();
    assert_eq!(refusal.status, 400, "{text}");
    assert!(["MISSING", "NODE_OPTIONS", "under-test"].iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(fixture.server.api().get(&path).await?.as_array().map(Vec::len), Some(1), "nothing was changed");

    fixture.call("/stop").await?;
    fixture.status("STOPPED").await?;
    fixture.server.api().call(Method::PATCH, &path, Some(change)).await?;
    let refusal = fixture.server.api().try_call(Method::POST, &fixture.path("/start"), None).await?.unwrap_err();
    assert_eq!(refusal.status, 400, "{}", refusal.body);
    Ok(())
}

#[tokio::test]
async fn an_agent_from_outside_outlives_a_stop_and_loses_its_identity_with_the_deployment() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "first" }])).await?;
    let token = fixture.token(json!({})).await?;
    let mut waiting = fixture.agent("waiting", Some(&token), &[], &test_program(&["wait"]))?;
    let (api, path) = (fixture.server.api(), fixture.path("/instances"));
    let ready = || async { Ok((api.get(&path).await?[0]["ready"] == true).then_some(())) };
    eventually("its program runs", ready).await?;
    let last_good = fixture.workplace.path().join("waiting/state/last-good");
    eventually("its configuration has proved itself", || std::future::ready(Ok(last_good.exists().then_some(()))))
        .await?;

    fixture.call("/stop").await?;
    fixture.status("STOPPED").await?;
    fixture.set("A", "second").await?;
    assert_eq!(api.get(&path).await?[0]["ready"], true, "a stop ends nothing that we did not make");
    // Its identity is as good as before, it is offered nothing: what it has is what it starts with.
    waiting.signal(rustix::process::Signal::TERM)?;
    waiting.exit_code().await?;
    let program = test_program(&["print", "A"]);
    let mut again = fixture.agent("waiting", None, &[], &program)?;
    assert_eq!(again.exit_code().await?, 0, "{}", again.stderr());
    assert_eq!(again.stdout(), "A=first\n");

    fixture.call("/start").await?;
    let mut again = fixture.agent("waiting", None, &["--require-fresh"], &program)?;
    assert_eq!(again.exit_code().await?, 0, "{}", again.stderr());
    assert_eq!(again.stdout(), "A=second\n");

    fixture.call("/stop").await?;
    fixture.status("STOPPED").await?;
    api.call(Method::DELETE, &fixture.path(""), None).await?;
    let mut turned_away = fixture.agent("waiting", None, &[], &program)?;
    assert_eq!(turned_away.exit_code().await?, 1);
    assert_eq!(turned_away.stdout(), "", "{}", turned_away.stderr());
    Ok(())
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused_when_it_is_written() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    let path = format!("/api/config/environments/{}/variables", fixture.environment);
    let wrong = json!({ "variables": [
        { "key": "COUNT", "value": "many", "variableType": "number" },
        { "key": "FLAG", "value": "perhaps", "variableType": "boolean" },
        { "key": "1BAD", "value": "x" },
    ]});
    let refusal = fixture.server.api().try_call(Method::PATCH, &path, Some(wrong)).await?.unwrap_err();
    let text = refusal.body.to_string();
    assert_eq!(refusal.status, 400, "{text}");
    assert!(["COUNT", "FLAG", "1BAD"].iter().all(|key| text.contains(key)), "every problem at once: {text}");
    assert!(!text.contains("perhaps") && !text.contains("many"), "no value is repeated: {text}");
    let variables = fixture.server.api().get(&path).await?;
    assert_eq!(variables.as_array().map(Vec::len), Some(1), "nothing was changed");
    Ok(())
}

#[tokio::test]
async fn the_program_s_exit_code_is_the_agent_s() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    for (mode, expected) in [(&["exit", "42"][..], 42), (&["crash"][..], 128 + 6)] {
        let token = fixture.token(json!({})).await?;
        let mut agent = fixture.agent(mode[0], Some(&token), &[], &test_program(mode))?;
        assert_eq!(agent.exit_code().await?, expected, "{}", agent.stderr());
    }
    Ok(())
}

#[tokio::test]
async fn what_the_program_leaves_behind_is_ended_with_it() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    let token = fixture.token(json!({})).await?;
    let mut agent = fixture.agent("agent", Some(&token), &[], &test_program(&["orphans"]))?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());
    let orphan: i32 = agent.stdout().trim().parse().context("the program prints the pid that it leaves behind")?;
    eventually("the orphan is gone", || std::future::ready(Ok((!is_running(orphan)).then_some(())))).await
}

#[tokio::test]
async fn only_a_fresh_right_token_lets_an_agent_in() -> Result<()> {
    let fixture = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    let program = test_program(&["print", "A"]);
    let refused = async |name: &str, token: &str, words: &[&str]| -> Result<()> {
        let mut agent = fixture.agent(name, Some(token), &["--start-timeout", "10s"], &program)?;
        let code = agent.exit_code().await?;
        let stderr = agent.stderr();
        assert_eq!((code, agent.stdout().as_str()), (1, ""), "{name}: {stderr}");
        assert!(words.iter().any(|word| stderr.contains(word)), "{name}: {stderr}");
        assert!(!stderr.contains(token), "{name}: the token is not repeated");
        Ok(())
    };

    let used = fixture.token(json!({})).await?;
    let mut first = fixture.agent("first", Some(&used), &[], &program)?;
    assert_eq!(first.exit_code().await?, 0, "{}", first.stderr());
    refused("used", &used, &["used"]).await?;

    let short = fixture.token(json!({ "ttl": "1s" })).await?;
    let made = std::time::Instant::now();
    let over = || std::future::ready(Ok((made.elapsed() > std::time::Duration::from_secs(1)).then_some(())));
    eventually("the token's time is over", over).await?;
    refused("expired", &short, &["expired"]).await?;

    refused("garbage", "ogr_join_garbage", &["token"]).await?;
    Ok(())
}

#[tokio::test]
async fn an_identity_of_another_control_plane_is_a_stranger() -> Result<()> {
    let ours = Fixture::with(json!([{ "key": "A", "value": "1" }])).await?;
    let theirs = Fixture::with(json!([{ "key": "A", "value": "2" }])).await?;
    let token = theirs.token(json!({})).await?;
    let program = test_program(&["print", "A"]);
    let mut agent = theirs.agent("agent", Some(&token), &[], &program)?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());

    // The same state directory, pointed at us.
    let state = theirs.workplace.path().join("agent");
    let address = ours.server.agents_address();
    let words: Vec<&str> = program.iter().map(String::as_str).collect();
    let arguments = ["--control-plane", address.as_str(), "--require-fresh", "--start-timeout", "5s"];
    let mut agent = Agent::run(&state, None, &arguments, &words)?;
    assert_eq!(agent.exit_code().await?, 1);
    assert_eq!(agent.stdout(), "", "{}", agent.stderr());
    Ok(())
}

#[tokio::test]
async fn with_the_control_plane_away_the_last_known_good_environment_starts_the_program() -> Result<()> {
    let mut fixture = Fixture::with(json!([{ "key": "A", "value": "kept", "isEncrypted": true }])).await?;
    let token = fixture.token(json!({})).await?;
    let program = test_program(&["print", "A"]);
    let mut agent = fixture.agent("agent", Some(&token), &[], &program)?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());

    fixture.server.kill().await?;
    let mut agent = fixture.agent("agent", None, &["--start-timeout", "10s"], &program)?;
    assert_eq!(agent.exit_code().await?, 0, "{}", agent.stderr());
    assert_eq!(agent.stdout(), "A=kept\n");

    let mut agent = fixture.agent("agent", None, &["--require-fresh", "--start-timeout", "3s"], &program)?;
    assert_eq!(agent.exit_code().await?, 1);
    assert_eq!(agent.stdout(), "", "{}", agent.stderr());
    Ok(())
}

#[tokio::test]
async fn agent_usage_errors_exit_with_2() -> Result<()> {
    let output =
        tokio::process::Command::new(binary("outrigger-agent")).arg("run").arg("--no-such-flag").output().await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}
