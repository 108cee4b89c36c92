//! `outrigger-agent exec` against a real control plane: a developer's token in, a command with its environment out.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Server, ServerOptions, Workplace, binary, test_program};
use reqwest::Method;
use serde_json::json;

const CANARY: &str = "canary-5e1c-of-the-database";

struct Fixture {
    server: Server,
    workplace: Workplace,
    environment: String,
    token: String,
    fingerprint: String,
}

impl Fixture {
    async fn new() -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let api = server.api();
        let variables = json!([
            { "key": "DATABASE_URL", "value": CANARY, "isEncrypted": true },
            { "key": "LINES", "value": "first\nsecond\n" },
        ]);
        let (_, environment) = api.project_with(variables).await?;
        let me = api.get("/api/auth/me").await?;
        let fingerprint = me["caFingerprint"].as_str().context("a fingerprint")?.to_owned();
        ensure!(me["agentsAddress"] == server.agents_address().as_str(), "{me}");
        let token = std::fs::read_to_string(workplace.data().join("operator-token"))?.trim().to_owned();
        Ok(Self { server, workplace, environment, token, fingerprint })
    }

    fn exec(&self, options: &[&str], program: &[String]) -> Result<Output> {
        let mut command = Command::new(binary("outrigger-agent"));
        command.arg("exec").args(["--control-plane", &self.server.agents_address(), "--environment", "production"]);
        command.args(options).arg("--").args(program);
        command.env("OUTRIGGER_TOKEN", &self.token).env("OUTRIGGER_CA_FINGERPRINT", &self.fingerprint);
        Ok(command.env("XDG_CACHE_HOME", self.cache()).output()?)
    }

    fn cache(&self) -> std::path::PathBuf {
        self.workplace.path().join("cache")
    }

    fn kept(&self) -> usize {
        std::fs::read_dir(self.cache().join("outrigger-agent")).map_or(0, Iterator::count)
    }

    async fn set(&self, value: &str) -> Result<()> {
        let path = format!("/api/config/environments/{}/variables/DATABASE_URL", self.environment);
        let body = json!({ "value": value, "isEncrypted": true });
        self.server.api().call(Method::PUT, &path, Some(body)).await.map(|_| ())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn holds(directory: &Path, marker: &str) -> Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => holds(&path, marker)?,
            false => std::fs::read(&path)?.windows(marker.len()).any(|window| window == marker.as_bytes()),
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test]
async fn a_developer_s_command_gets_the_environment_byte_for_byte_and_the_audit_log_tells() -> Result<()> {
    let fixture = Fixture::new().await?;
    let program = test_program(&["print", "DATABASE_URL", "LINES", "OUTRIGGER_TOKEN", "OUTRIGGER_GENERATION"]);
    let output = fixture.exec(&["--project", "test"], &program)?;
    let expected =
        format!("DATABASE_URL={CANARY}\nLINES=first\nsecond\n\nOUTRIGGER_TOKEN=(unset)\nOUTRIGGER_GENERATION=1\n");
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(fixture.exec(&[], &test_program(&["exit", "42"]))?.status.code(), Some(42));

    let audit = fixture.server.api().get("/api/audit").await?;
    let exports: Vec<_> =
        audit.as_array().context("a list")?.iter().filter(|entry| entry["action"] == "export").collect();
    assert_eq!(exports.len(), 2, "{audit}");
    assert_eq!(exports[0]["target"], fixture.environment.as_str());
    assert!(exports[0]["userAgent"].as_str().is_some_and(|agent| agent.starts_with("outrigger-agent/")), "{audit}");
    assert!(!holds(fixture.workplace.path(), CANARY)?, "neither the cache nor the server's files have it in clear");
    Ok(())
}

#[tokio::test]
async fn what_is_kept_serves_its_age_and_an_absent_control_plane_and_ends_with_the_token() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let program = test_program(&["print", "DATABASE_URL"]);
    let shown = |output: Output| (text(&output.stdout), text(&output.stderr));
    fixture.exec(&[], &program)?;
    fixture.set("changed").await?;
    let (stdout, stderr) = shown(fixture.exec(&["--max-age", "1h"], &program)?);
    assert_eq!(stdout, format!("DATABASE_URL={CANARY}\n"), "{stderr}");
    assert_eq!(shown(fixture.exec(&[], &program)?).0, "DATABASE_URL=changed\n");

    fixture.server.kill().await?;
    let (stdout, stderr) = shown(fixture.exec(&[], &program)?);
    assert_eq!(stdout, "DATABASE_URL=changed\n", "{stderr}");
    assert!(stderr.contains("the control plane is away"), "{stderr}");
    let output = fixture.exec(&["--require-fresh", "--start-timeout", "2s"], &program)?;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert_eq!(fixture.kept(), 1);
    Ok(())
}

#[tokio::test]
async fn who_is_refused_gets_nothing_and_keeps_nothing() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let program = test_program(&["print", "DATABASE_URL"]);
    fixture.exec(&[], &program)?;
    assert_eq!(fixture.kept(), 1);
    // Another tenant, with the right to all of its own.
    let account = json!({ "email": "eve@example.org", "password": "correct horse battery", "name": "Eve" });
    let anonymous = fixture.server.api().with_token(None);
    let eve = anonymous.post("/api/auth/register", account).await?["token"].as_str().context("a token")?.to_owned();
    let ours = std::mem::replace(&mut fixture.token, eve);
    let output = fixture.exec(&[], &program)?;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("no such environment"), "{}", text(&output.stderr));

    fixture.token = ours;
    let path = format!("/api/config/environments/{}", fixture.environment);
    fixture.server.api().call(Method::DELETE, &path, None).await?;
    let output = fixture.exec(&[], &program)?;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert_eq!(fixture.kept(), 0, "what is gone there is gone here");
    fixture.token = "ogr_nonsense".to_owned();
    let output = fixture.exec(&[], &program)?;
    assert!(text(&output.stderr).contains("sign in again"), "{}", text(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn whoami_shows_how_the_control_plane_is_known() -> Result<()> {
    let fixture = Fixture::new().await?;
    let output = Command::new(binary("outrigger"))
        .arg("whoami")
        .env("OUTRIGGER_URL", fixture.server.api().base())
        .env("OUTRIGGER_TOKEN", &fixture.token)
        .output()?;
    let shown = text(&output.stdout);
    assert!(shown.contains(&fixture.fingerprint) && shown.contains(&fixture.server.agents_address()), "{shown}");
    Ok(())
}
