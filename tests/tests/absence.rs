//! A control plane that is killed, and what an agent tells the next one of the time in between.

use std::path::Path;

use anyhow::{Context as _, Result};
use outrigger_tests::{Agent, Api, Server, ServerOptions, Workplace, binary, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

/// Numbered lines, fifty a second.
const PROGRAM: &str = "i=0; while :; do i=$((i+1)); echo \"line $i\"; sleep 0.02; done";
/// Samples that have to wait before the control plane comes back: three seconds of them.
const AWAY: u64 = 30;

async fn status(directory: &Path) -> Result<Value> {
    let mut status = Command::new(binary("outrigger-agent"));
    status.args(["status", "--output", "json", "--state-dir"]).arg(directory.join("state"));
    let output = status.output().await.context("cannot ask the agent")?;
    serde_json::from_slice(&output.stdout).context("the agent does not say how it is")
}

/// The program's lines in the order in which they are kept, with their times.
async fn lines(api: &Api, deployment: &str) -> Result<Vec<(u64, String)>> {
    let request = api.request(reqwest::Method::GET, &format!("/api/deployments/{deployment}/logs?download=true"));
    let text = request.send().await?.error_for_status()?.text().await?;
    let number = |line: &str| line.rsplit_once("stdout line ")?.1.parse().ok();
    Ok(text
        .lines()
        .filter_map(|line| Some((number(line)?, line.split(' ').next().unwrap_or_default().to_owned())))
        .collect())
}

#[tokio::test]
async fn what_was_seen_while_the_control_plane_was_dead_is_told_afterwards_in_order_and_once() -> Result<()> {
    let workplace = Workplace::new()?;
    let mut server = Server::start(&workplace, &ServerOptions::default()).await?;
    let api = server.api().clone();
    let (project, _) = api.project_with(json!([{ "key": "A", "value": "1" }])).await?;
    let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 2, "initial": 0 } });
    let deployment = api.deployment(&project, &["unused".to_owned()], external).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let token = api.post(&format!("/api/deployments/{deployment}/join-tokens"), json!({})).await?;
    let token = token["token"].as_str().context("a token")?.to_owned();
    let directory = tempfile::tempdir()?;
    let address = server.agents_address();
    let arguments = ["--control-plane", &address, "--sample-interval", "100ms"];
    let _agent = Agent::run(directory.path(), Some(&token), &arguments, &["sh", "-c", PROGRAM])?;
    eventually("its lines are kept", || async { Ok((lines(&api, &deployment).await?.len() > 25).then_some(())) })
        .await?;

    server.kill().await?;
    let killed = status(directory.path()).await?["spool"]["linesDropped"].clone();
    eventually("samples wait", || async {
        let waiting = status(directory.path()).await?["spool"]["samplesWaiting"].as_u64();
        Ok((waiting > Some(AWAY)).then_some(()))
    })
    .await?;
    let server = server.restart().await?;
    let api = server.api().clone();
    eventually("everything was told", || async {
        let agent = status(directory.path()).await?;
        let spool = &agent["spool"];
        let told = spool["samplesWaiting"].as_u64() <= Some(1) && spool["linesWaiting"].as_u64() <= Some(1);
        Ok((agent["connected"] == true && told).then_some(()))
    })
    .await?;
    let away = eventually("lines of afterwards are kept", || async {
        let kept = lines(&api, &deployment).await?;
        // 50 a second for at least as long as the samples waited.
        Ok((kept.len() > 25 + 100).then_some(kept))
    })
    .await?;

    let numbers: Vec<u64> = away.iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice: {numbers:?}");
    assert!(away.is_sorted_by_key(|(_, time)| time.clone()), "their times too: {away:?}");
    // What the dead one had acknowledged and not yet written down is gone: at most five seconds of it, and in one piece.
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(holes.len() <= 1, "nothing that was printed while nobody listened is missing: {holes:?}");
    assert_eq!(status(directory.path()).await?["spool"]["linesDropped"], killed, "nor was anything dropped");
    server.terminate().await
}
