//! How long a line takes from the program that writes it to somebody who follows: agent, control plane, server-sent event.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use reqwest::{Method, Response};
use tokio::time::timeout;

use crate::figure::Figure;
use crate::programs::Programs;
use crate::sandbox::{JOIN_TOKEN, Sandbox};
use crate::statistics::Measurements;

/// The subcommand that writes the lines.
pub const COMMAND: &str = "write-lines";

/// Lines a second: what a busy service prints.
const RATE: u32 = 200;
const LINES: usize = 4_000;
/// The first come in a rush, because the program starts before anybody follows.
const WARM_UP: usize = 400;
const LIMIT: Duration = Duration::from_secs(60);

const GOAL_MS: f64 = 50.0;

/// Writes a line with the time in it, at a steady rate, until nobody reads. The other end of the pipe is an agent.
///
/// # Errors
/// Nobody reads.
pub fn write_lines() -> Result<()> {
    let mut out = std::io::stdout().lock();
    let (start, beat) = (Instant::now(), Duration::from_secs(1) / RATE);
    for number in 0_u32.. {
        std::thread::sleep((start + beat * number).saturating_duration_since(Instant::now()));
        writeln!(out, "INFO line {number} written at {}", unix_micros())?;
    }
    Ok(())
}

fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// # Errors
/// The agent does not start, or its lines do not come.
pub async fn measure(programs: &Programs, directory: &Path) -> Result<Vec<Figure>> {
    let sandbox = Sandbox::new(programs, &directory.join("logs")).await?;
    let mut command = sandbox.agent(programs, &directory.join("logs-agent"));
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    command.arg("--").arg(own).arg(COMMAND).env(JOIN_TOKEN, sandbox.join_token().await?);
    let request = sandbox.api().request(Method::GET, &sandbox.path("/logs?follow=true&contains=written"));
    let mut events = request.send().await?.error_for_status()?;
    let agent = Running::start_apart(command)?;
    let delays = timeout(LIMIT, delays(&mut events)).await.context("the lines do not come in time")??;
    agent.stop().await?;
    let delays = Measurements::new(delays).context("no line came")?;
    Ok(vec![
        Figure::new(format!("logs: line written to event received at {RATE} lines/s, p99"), "ms", delays.p99())
            .at_most(GOAL_MS),
        Figure::new(format!("logs: line written to event received at {RATE} lines/s, median"), "ms", delays.median()),
    ])
}

/// Milliseconds that each line took.
async fn delays(events: &mut Response) -> Result<Vec<f64>> {
    let (mut delays, mut rest) = (Vec::new(), String::new());
    while delays.len() < WARM_UP + LINES {
        let chunk = events.chunk().await?.context("the stream ended")?;
        let now = unix_micros();
        rest.push_str(std::str::from_utf8(&chunk).context("an event that is no text")?);
        while let Some((line, after)) = rest.split_once('\n') {
            if let Some(micros) = written_at(line) {
                ensure!(micros <= now, "a line of the future");
                delays.push((now - micros) as f64 / 1e3);
            }
            rest = after.to_owned();
        }
    }
    Ok(delays.split_off(WARM_UP))
}

fn written_at(line: &str) -> Option<u64> {
    let time = line.strip_prefix("data: ")?.split_once("written at ")?.1;
    time.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_out_of_an_event() {
        assert_eq!(
            written_at(r#"data: {"message":"INFO line 7 written at 1700000000000001","x":1}"#),
            Some(1_700_000_000_000_001)
        );
        assert_eq!(written_at("id: 7"), None);
    }
}
