//! What is set in the control plane arrives in the program, byte for byte, or the program does not start.

use anyhow::{Context as _, Result};
use outrigger_tests::{Agent, Server, ServerOptions, binary, eventually, is_running, test_program};
use reqwest::Method;
use serde_json::{Value, json};

/// A control plane with one deployment that sandboxes from outside join.
struct Fixture {
    server: Server,
    directory: tempfile::TempDir,
    environment: String,
    deployment: String,
}

impl Fixture {
    async fn with(variables: Value) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let server = Server::start(&directory.path().join("data"), &ServerOptions::default()).await?;
        let (project, environment) = server.api().project_with(variables).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 10, "initial": 0 } });
        let deployment = server.api().deployment(&project, &["unused".to_owned()], external).await?;
        Ok(Self { server, directory, environment, deployment })
    }

    async fn token(&self, body: Value) -> Result<String> {
        let answer = self.server.api().post(&format!("/api/deployments/{}/join-tokens", self.deployment), body).await?;
        answer["token"].as_str().map(str::to_owned).context("no token")
    }

    fn agent(&self, name: &str, token: Option<&str>, arguments: &[&str], program: &[String]) -> Result<Agent> {
        let address = self.server.agents_address();
        let arguments: Vec<&str> = ["--control-plane", &address].into_iter().chain(arguments.iter().copied()).collect();
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        Agent::run(&self.directory.path().join(name), token, &arguments, &program)
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
async fn required_variables_without_a_value_keep_the_program_from_starting_and_are_all_named() -> Result<()> {
    let fixture = Fixture::with(json!([
        { "key": "PRESENT", "value": "1" },
        { "key": "FIRST_MISSING", "isRequired": true },
        { "key": "SECOND_MISSING", "isRequired": true, "isEncrypted": true },
    ]))
    .await?;
    let token = fixture.token(json!({})).await?;
    let mut agent = fixture.agent("agent", Some(&token), &[], &test_program(&["print", "PRESENT"]))?;
    assert_eq!(agent.exit_code().await?, 1);
    let stderr = agent.stderr();
    assert!(stderr.contains("FIRST_MISSING") && stderr.contains("SECOND_MISSING"), "{stderr}");
    assert_eq!(agent.stdout(), "", "nothing of the program ran");
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
    let state = theirs.directory.path().join("agent");
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
