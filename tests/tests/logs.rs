//! What a program prints, from its process to the API, a file and the command line, over a restart of the control plane.

use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::{Api, PATIENCE, Running, Server, ServerOptions, Workplace, binary, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

/// A line of each kind, and then one that counts, for ever.
const SCRIPT: &str = r#"
echo 'INFO starting'
echo 'ERROR disk is full' >&2
echo '{"level":"warn","msg":"from json"}'
printf '\033[31mred\033[0m and \007\n'
n=0
while :; do n=$((n+1)); echo "DEBUG tick $n"; sleep 0.02; done
"#;

struct Fixture {
    server: Server,
    token: String,
    deployment: String,
}

impl Fixture {
    async fn new(workplace: &Workplace) -> Result<Self> {
        let server = Server::start(workplace, &ServerOptions::default()).await?;
        let api = server.api();
        let (project, _) = api.project_with(json!([{ "key": "GREETING", "value": "hello" }])).await?;
        let command = ["/bin/sh", "-c", SCRIPT].map(str::to_owned);
        let deployment = api.deployment(&project, &command, json!({})).await?;
        api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        let token = std::fs::read_to_string(workplace.data().join("operator-token"))?.trim().to_owned();
        Ok(Self { server, token, deployment })
    }

    fn api(&self) -> &Api {
        self.server.api()
    }

    async fn logs(&self, query: &str) -> Result<Vec<Value>> {
        let lines = self.api().get(&format!("/api/deployments/{}/logs?{query}", self.deployment)).await?;
        lines.as_array().cloned().context("a list")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("outrigger"));
        command
            .arg("logs")
            .args(arguments)
            .env("OUTRIGGER_URL", self.api().base())
            .env("OUTRIGGER_TOKEN", &self.token)
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// What `outrigger logs` prints, when it is not followed.
    async fn printed(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let Output { status, stdout, stderr } = self.command(arguments).output().await?;
        ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?.lines().map(str::to_owned).collect())
    }

    fn follow(&self, arguments: &[&str]) -> Result<(Running, Lines<BufReader<ChildStdout>>)> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped());
        let mut following = Running::start(command)?;
        let stdout = following.stdout().context("standard output is piped")?;
        Ok((following, BufReader::new(stdout).lines()))
    }
}

/// The number at the end of `DEBUG tick N`.
fn tick(text: &str) -> Option<u64> {
    text.split_once("tick ")?.1.split(['"', ' ']).next()?.parse().ok()
}

async fn next_tick(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<u64> {
    let line = timeout(PATIENCE, lines.next_line()).await.context("a line in time")??;
    let line = line.context("the stream goes on")?;
    tick(&line).with_context(|| format!("a tick: {line}"))
}

#[tokio::test]
async fn what_a_program_prints_can_be_read_searched_downloaded_and_followed() -> Result<()> {
    let workplace = Workplace::new()?;
    let fixture = Fixture::new(&workplace).await?;
    eventually("ten ticks", || async { Ok((fixture.logs("contains=tick&limit=10").await?.len() == 10).then_some(())) })
        .await?;

    let errors = fixture.logs("level=error&order=asc").await?;
    assert_eq!((&errors[0]["message"], &errors[0]["stream"]), (&json!("ERROR disk is full"), &json!("stderr")));
    let warnings = fixture.logs("level=warn&contains=json").await?;
    assert_eq!(warnings[0]["level"], "warn");

    let path = format!("/api/deployments/{}/logs?download=true", fixture.deployment);
    let file = fixture.api().request(Method::GET, &path).send().await?.error_for_status()?.text().await?;
    assert!(file.lines().any(|line| line.ends_with("stderr ERROR disk is full")), "{file}");
    assert!(!file.contains('\u{1b}') && !file.contains('\u{7}'), "nothing in it does anything to a terminal");

    let printed = fixture.printed(&["under-test", "--level", "error", "--since", "1h"]).await?;
    assert!(
        printed.iter().any(|line| line.contains(" error ") && line.ends_with(" ERROR disk is full")),
        "{printed:?}"
    );
    let printed =
        fixture.printed(&[&fixture.deployment, "--contains", "tick", "--tail", "3", "--output", "json"]).await?;
    let ticks: Vec<Option<u64>> = printed.iter().map(|line| tick(line)).collect();
    assert!(ticks.len() == 3 && ticks.windows(2).all(|pair| pair[0] < pair[1]), "{printed:?}");
    assert_eq!(fixture.printed(&["under-test", "--until", "1h"]).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn following_goes_on_over_a_restart_and_ends_with_the_deployment() -> Result<()> {
    let workplace = Workplace::new()?;
    let mut fixture = Fixture::new(&workplace).await?;
    let (mut following, mut lines) = fixture.follow(&["under-test", "-f", "--contains", "tick", "--since", "1h"])?;
    let mut last = next_tick(&mut lines).await?;
    assert_eq!(last, 1, "from the first line on");
    let ticks_to = async |lines: &mut Lines<BufReader<ChildStdout>>, last: &mut u64, to: u64| {
        while *last < to {
            let tick = next_tick(lines).await?;
            // What the agent sends again because it had no answer in time may come twice; nothing may be missing.
            ensure!(tick <= *last + 1, "{tick} after {last}");
            *last = tick.max(*last);
        }
        Ok(())
    };
    ticks_to(&mut lines, &mut last, 20).await?;
    fixture.server = fixture.server.restart().await?;
    ticks_to(&mut lines, &mut last, 120).await?;

    let path = format!("/api/deployments/{}", fixture.deployment);
    fixture.api().post(&format!("{path}/stop"), json!({})).await?;
    eventually("the deployment is stopped", || async {
        Ok((fixture.api().get(&path).await?["status"] == "STOPPED").then_some(()))
    })
    .await?;
    fixture.api().call(Method::DELETE, &path, None).await?;
    let rest = async { while let Ok(Some(_)) = lines.next_line().await {} };
    timeout(PATIENCE, rest).await.context("the stream ends")?;
    assert!(timeout(PATIENCE, following.ended()).await??.success());
    fixture.server.terminate().await
}
