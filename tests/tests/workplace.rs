//! What a failing test leaves behind.

use anyhow::{Context as _, Result};
use outrigger_tests::{Server, ServerOptions, Workplace, eventually, is_running, parent_of, test_program};
use serde_json::json;

#[tokio::test]
async fn instances_that_a_failing_test_left_running_end_with_its_workplace() -> Result<()> {
    let workplace = Workplace::new()?;
    let server = Server::start(&workplace, &ServerOptions::default()).await?;
    let api = server.api();
    let (project, _) = api.project_with(json!([{ "key": "A", "value": "1" }])).await?;
    // The most stubborn program: nothing but a signal that it cannot ignore ends it.
    let deployment = api.deployment(&project, &test_program(&["ignore-term"]), json!({})).await?;
    api.post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
    let instances = format!("/api/deployments/{deployment}/instances");
    let program = eventually("the instance is ready", || async {
        let answer = api.get(&instances).await?;
        Ok(answer[0]["program"]["pid"].as_i64().filter(|_| answer[0]["ready"] == true))
    })
    .await?;
    let program = i32::try_from(program)?;
    let agent = parent_of(program).context("the program has a parent")?;

    drop(server);
    assert!(is_running(agent) && is_running(program), "instances outlive their control plane");
    let directory = workplace.path().to_owned();
    let failing = tokio::spawn(async move {
        let _kept = workplace;
        panic!("as a test does that fails");
    });
    assert!(failing.await.is_err_and(|failed| failed.is_panic()));
    assert!(!is_running(agent), "the agent is still there");
    assert!(!is_running(program), "the program is still there");
    assert!(!directory.exists(), "{} is still there", directory.display());
    Ok(())
}
