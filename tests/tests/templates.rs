//! `outrigger template` against a real control plane, and that a random secret which it makes is told to nobody.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Server, ServerOptions, Workplace, binary};
use reqwest::Method;
use serde_json::{Value, json};

struct Fixture {
    server: Server,
    workplace: Workplace,
    token: String,
}

impl Fixture {
    /// A control plane with a project `shop` that has no environment.
    async fn new() -> Result<Self> {
        let workplace = Workplace::new()?;
        let options =
            ServerOptions { arguments: vec!["--log-level".to_owned(), "debug".to_owned()], ..Default::default() };
        let server = Server::start(&workplace, &options).await?;
        server.api().post("/api/projects", json!({ "name": "shop" })).await?;
        let token = std::fs::read_to_string(workplace.data().join("operator-token"))?.trim().to_owned();
        Ok(Self { server, workplace, token })
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(binary("outrigger"));
        command.arg("template").args(arguments);
        command.env("OUTRIGGER_URL", self.server.api().base()).env("OUTRIGGER_TOKEN", &self.token);
        command.env("OUTRIGGER_PROJECT", "shop").env("HOME", self.workplace.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // One that reads no input may have ended: what it says of that is what counts.
        let _ = child.stdin.take().context("standard input is piped")?.write_all(input.as_bytes());
        Ok(child.wait_with_output()?)
    }

    /// The standard output of a command that does well.
    fn told(&self, arguments: &[&str]) -> Result<String> {
        self.told_with(arguments, "")
    }

    fn told_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.run(arguments, input)?;
        ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// The standard error of a command that fails.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, "")?;
        ensure!(output.status.code() == Some(1), "{arguments:?}: {}", text(&output.stdout));
        Ok(text(&output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.told(&[arguments, &["--output", "json"]].concat())?)?)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files_with(directory: &Path, needle: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files_with(&path, needle, found)?;
        } else if path.is_file() && std::fs::read(&path)?.windows(needle.len()).any(|w| w == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_template_of_ones_own_is_made_of_an_official_one_changed_and_deleted() -> Result<()> {
    let fixture = Fixture::new().await?;
    let listed = fixture.told(&["list", "--category", "framework"])?;
    assert!(listed.contains("django") && listed.contains("Node.js / Express") && !listed.contains("redis"), "{listed}");
    let shown = fixture.told(&["show", "django"])?;
    assert!(shown.contains("SECRET_KEY") && shown.contains("(generated)"), "{shown}");

    let yaml = fixture.told(&["show", "flask", "--yaml"])?;
    let mine = yaml.replace("id: flask", "id: our-flask").replace("name: Flask", "name: Our Flask");
    let file = fixture.workplace.path().join("our-flask.yaml");
    std::fs::write(&file, &mine)?;
    let file = file.to_str().context("a path in UTF-8")?;
    assert!(fixture.told(&["create", file])?.contains("our-flask"));
    assert!(fixture.refused(&["create", file])?.contains("there is a template with the id our-flask"));
    assert_eq!(fixture.told(&["show", "our-flask", "--yaml"])?, mine);

    std::fs::write(file, mine.replace("1.0.0", "1.1.0"))?;
    let updated = fixture.json(&["update", "our-flask", file, "--if-match", "1"])?;
    assert_eq!((&updated["revision"], &updated["version"]), (&json!(2), &json!("1.1.0")));
    assert!(fixture.refused(&["update", "our-flask", file, "--if-match", "1"])?.contains("revision 2"));
    std::fs::write(file, mine.replace("category: framework", "categroy: framework"))?;
    let wrong = fixture.refused(&["update", "our-flask", file])?;
    assert!(wrong.contains("categroy: line 3, column 1: unknown; did you mean `category`?"), "{wrong}");
    fixture.told(&["delete", "our-flask"])?;
    assert!(fixture.refused(&["show", "our-flask"])?.contains("not found"));
    assert!(fixture.refused(&["delete", "flask"])?.contains("official"));
    assert!(fixture.refused(&["show", "../projects"])?.contains("letters, digits"));
    fixture.server.terminate().await
}

#[tokio::test]
async fn a_template_is_looked_at_applied_and_its_secrets_are_told_to_nobody() -> Result<()> {
    let fixture = Fixture::new().await?;
    let apply = ["apply", "django", "--environment", "staging"];
    let missing = fixture.refused(&apply)?;
    for key in ["DJANGO_SETTINGS_MODULE", "ALLOWED_HOSTS", "DATABASE_URL"] {
        assert!(missing.contains(&format!("\n  {key}: is required")), "{missing}");
    }
    let url = "postgres://app:canary-91d2@db.internal:5432/app";
    let set = ["--set", "DJANGO_SETTINGS_MODULE=shop.settings", "--set", "ALLOWED_HOSTS=shop.internal"];
    let set = [&set[..], &["--set", "DATABASE_URL"]].concat();
    let dry = fixture.told_with(&[&apply[..], &set, &["--dry-run"]].concat(), &format!("{url}\n"))?;
    assert!(dry.contains("would make staging/staging") && dry.contains("SECRET_KEY"), "{dry}");
    let applied = fixture.told_with(&[&apply[..], &set].concat(), &format!("{url}\n"))?;
    assert!(applied.contains("made staging/staging, generation 1") && applied.contains("(hidden)"), "{applied}");
    let again = fixture.told(&apply)?;
    assert!(again.contains("nothing is different from generation 1 of staging/staging"), "{again}");

    let api = fixture.server.api();
    let project = api.get("/api/projects").await?[0]["id"].as_str().context("an id")?.to_owned();
    let environments = format!("/api/config/projects/{project}/environments");
    let environment = api.get(&environments).await?[0]["id"].as_str().context("an id")?.to_owned();
    let variables = format!("/api/config/environments/{environment}/variables");
    let reveal = async |key: &str| -> Result<String> {
        let revealed = api.post(&format!("{variables}/{key}/reveal"), json!({})).await?;
        Ok(revealed["value"].as_str().context("a value")?.to_owned())
    };
    assert_eq!(reveal("DATABASE_URL").await?, url, "the end of the line was not part of it");
    let secret = reveal("SECRET_KEY").await?;
    assert_eq!(secret.len(), 50);

    let as_json = fixture.json(&[&apply[..], &["--overwrite", "--dry-run"]].concat())?;
    assert!(as_json["differences"].to_string().contains("SECRET_KEY"), "{as_json}");
    let mut told = vec![dry, applied, again, as_json.to_string(), fixture.server.log()];
    for path in [
        environments,
        variables.clone(),
        format!("{variables}?effective=true"),
        format!("/api/config/environments/{environment}/versions"),
        format!("/api/config/environments/{environment}/diff?from=0&to=1"),
        "/api/config/templates".to_owned(),
        "/api/config/templates/django".to_owned(),
        "/api/audit".to_owned(),
    ] {
        told.push(api.request(Method::GET, &path).send().await?.text().await?);
    }
    for needle in [secret.as_str(), "canary-91d2"] {
        assert!(told.iter().all(|text| !text.contains(needle)), "{needle} is told");
        let mut found = Vec::new();
        files_with(fixture.workplace.path(), needle, &mut found)?;
        assert_eq!(found, Vec::<String>::new(), "files with a secret in clear");
    }
    fixture.server.terminate().await
}
