//! A program that writes as fast as it can, and everything else that goes on beside it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outrigger_protocol::log::LogStream;
use outrigger_protocol::message::{AgentMessage, ApplyState, ApplyStrategy, ServerMessage};
use outrigger_protocol::time::UnixMillis;

use crate::plane::{Plane, plain, settings};
use crate::sandbox::{Sandbox, eventually, text};

/// On a machine whose processors are all busy: far more than it takes, and far less than a storm's backlog would be.
const MOST_DELAY: Duration = Duration::from_millis(500);
/// What a storm may add: a second's burst of lines in the pipeline, batches on their way, and what the allocator keeps.
const MOST_GROWTH_KIB: u64 = 6 * 1024;
const ROUNDS: u64 = 20;

/// Killed when dropped, and its program with it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// With its own output going nowhere: nobody here reads as fast.
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn field(&self, file: &str, label: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn resident_kib(&self) -> u64 {
        self.field("status", "VmRSS:")
    }

    fn bytes_read(&self) -> u64 {
        self.field("io", "rchar:")
    }
}

fn heartbeats(plane: &Plane) -> usize {
    plane.seen().messages.iter().filter(|message| matches!(message, AgentMessage::Heartbeat { .. })).count()
}

/// From the question to the answer.
fn heartbeat(plane: &Plane) -> Duration {
    let before = heartbeats(plane);
    let asked = Instant::now();
    plane.say(&ServerMessage::Heartbeat { now: UnixMillis::now() });
    plane.wait("an answer", |seen| {
        let answers = seen.messages.iter().filter(|message| matches!(message, AgentMessage::Heartbeat { .. }));
        (answers.count() > before).then_some(())
    });
    asked.elapsed()
}

/// From the offer to the answer that it runs.
fn push(plane: &Plane, generation: u64) -> Duration {
    let offered = Instant::now();
    plane.offer(generation, vec![plain("A", &generation.to_string())]);
    plane.wait("an answer to the offer", |seen| {
        seen.messages.iter().find(|message| match message {
            AgentMessage::ConfigReport { state: ApplyState::Applied, status, .. } => {
                status.running.is_some_and(|running| running.generation == generation)
            }
            _ => false,
        })?;
        Some(())
    });
    offered.elapsed()
}

#[test]
fn a_storm_of_lines_delays_neither_heartbeats_nor_configuration_and_takes_no_memory() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    plane.allow(settings(ApplyStrategy::File));
    let sandbox = Sandbox::new(&plane);
    let (go, file) = (sandbox.file("go"), sandbox.file("env"));
    let line =
        "2026-01-01T00:00:00Z INFO a line of a hundred bytes, as a program writes them in a loop that went wrong";
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; exec yes '{line}'", go.display());
    let options = ["--env-file", file.to_str().unwrap(), "--bake-time", "0s"];
    let agent = Agent::start(sandbox.run(&options, &["sh", "-c", &script]));
    plane.report(ApplyState::Applied, 0);
    heartbeat(&plane);
    let calm = agent.resident_kib();

    std::fs::write(go, "").unwrap();
    let before = agent.bytes_read();
    // A second's burst passes the limit first; after it the storm is what it will be.
    eventually("the storm is read", || agent.bytes_read() > before + (32 << 20));
    let (mut beats, mut pushes, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        beats.push(heartbeat(&plane));
        pushes.push(push(&plane, 2 + round));
        resident.push(agent.resident_kib());
    }
    eventually("the storm goes on", || agent.bytes_read() > before + (64 << 20));
    for (what, delays) in [("heartbeats", &mut beats), ("pushes", &mut pushes)] {
        delays.sort_unstable();
        assert!(delays[delays.len() / 2] < MOST_DELAY, "{what}: {delays:?}");
    }
    let most = resident.iter().max().unwrap();
    assert!(most.saturating_sub(calm) < MOST_GROWTH_KIB, "{calm} KiB before the storm, in it {resident:?}");

    let lines: Vec<String> =
        plane.seen().logs.iter().filter(|r| r.stream == LogStream::Stdout).map(|r| r.message.clone()).collect();
    assert!(!lines.is_empty() && lines.iter().all(|got| got == line), "whole lines come through");
    let status: serde_json::Value = serde_json::from_str(&text(&sandbox.status("json").stdout)).unwrap();
    let dropped = status["spool"]["linesDropped"].as_u64().unwrap();
    assert!(dropped > 100_000, "{dropped} dropped and counted");
    assert!(status["spool"]["bytes"].as_u64().unwrap() < 8 << 20);
}
