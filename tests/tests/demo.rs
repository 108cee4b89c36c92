//! `outrigger demo`, as a newcomer sees it: on a pipe, and on a terminal.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use outrigger_tests::{OnTerminal, Workplace, binary, command_lines};

/// What has to have been shown by then is promised for this long.
const SHOW: Duration = Duration::from_secs(45);

fn demo(data: &Path) -> Command {
    let mut command = Command::new(binary("outrigger"));
    // Under cargo it would build an agent, where the one beside it is to be shown.
    command.arg("demo").arg("--data-dir").arg(data).env_remove("CARGO").stderr(Stdio::inherit());
    command
}

fn left_over(data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    command_lines().into_iter().filter(|line| line.contains(&data)).collect()
}

#[test]
fn in_45_seconds_it_shows_a_scale_up_a_push_and_a_scale_down_and_leaves_nothing() -> Result<()> {
    let workplace = Workplace::new()?;
    let data = workplace.data();
    let output = demo(&data).arg("--duration").arg(SHOW.as_secs().to_string()).output()?;
    let shown = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {shown}", output.status);
    for wanted in
        ["scaled up 1 -> 3: ", "scaled down 3 -> 2: ", "config generation 2 running on 3 of 3", "the service answers"]
    {
        ensure!(shown.contains(wanted), "`{wanted}` is missing:\n{shown}");
    }
    let curls: Vec<&str> = shown.lines().filter(|line| line.starts_with("curl ")).collect();
    ensure!(curls.len() == 3, "three lines to try:\n{shown}");
    ensure!(left_over(&data).is_empty(), "still running: {:?}", left_over(&data));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_on_a_terminal_ends_it_cleanly() -> Result<()> {
    let workplace = Workplace::new()?;
    let data = workplace.data();
    let mut demo = OnTerminal::start(demo(&data))?;
    demo.shows("RUNNING").await?;
    // What a terminal in raw mode passes on for ctrl-c.
    demo.type_in("\x03")?;
    let status = demo.ended().await?;
    ensure!(status.success(), "{status}");
    ensure!(demo.shown().contains("stopping: "), "it says what it does");
    ensure!(left_over(&data).is_empty(), "still running: {:?}", left_over(&data));
    Ok(())
}
