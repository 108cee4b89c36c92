//! What a program wrote last, and how long the agent stays for it.

use std::time::{Duration, Instant};

use outrigger_protocol::message::{AgentMessage, ProgramState};
use outrigger_protocol::transport::CloseCode;
use rustix::process::Signal;

use crate::plane::{Plane, Seen, plain};
use crate::sandbox::{Running, Sandbox, text};

/// Longer than any test waits: only what is under test can end it sooner.
const FOR_EVER: [&str; 2] = ["--flush-timeout", "1h"];
const LOST: &str = "may not have reached the control plane";

fn deaf() -> (Plane, Sandbox) {
    let plane = Plane::offering(vec![plain("A", "1")]);
    plane.be_deaf_to_logs();
    let sandbox = Sandbox::new(&plane);
    (plane, sandbox)
}

/// An agent whose program has ended, and whose lines are with a control plane that does not confirm them.
fn flushing() -> (Plane, Sandbox, Running) {
    let (plane, sandbox) = deaf();
    let agent = sandbox.start(&FOR_EVER, "echo last words; exit 3");
    let said = |seen: &Seen| seen.logs.iter().any(|record| record.message == "last words");
    let ended = AgentMessage::Program(ProgramState::Exited { code: 3 });
    plane.wait("the last words", |seen| (said(seen) && seen.messages.contains(&ended)).then_some(()));
    (plane, sandbox, agent)
}

#[test]
fn last_lines_are_waited_for_as_long_as_the_operator_says() {
    let (_plane, sandbox) = deaf();
    let begun = Instant::now();
    let output = sandbox.script(&["--flush-timeout", "600ms"], "echo one; echo two; exit 3");
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    // The two of the program, and that it was started and that it ended.
    assert!(complaint.contains(LOST) && complaint.contains("lines=4"), "{complaint}");
    assert!(complaint.contains("not confirmed within --flush-timeout"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn once_everything_is_confirmed_nothing_is_waited_for() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let output = Sandbox::new(&plane).script(&FOR_EVER, "seq 1 3000");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    let seen = plane.seen();
    assert!(seen.logs.iter().any(|record| record.message == "3000"), "the last line arrived");
}

#[test]
fn a_program_that_wrote_nothing_is_not_waited_for() {
    let (_plane, sandbox) = deaf();
    let output = sandbox.script(&FOR_EVER, "exit 3");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(3), ""));
}

#[test]
fn without_a_connection_there_is_nothing_to_wait_for() {
    let mut plane = Plane::offering(vec![plain("A", "1")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], "exit 0").status.success());
    plane.shut_down();
    let output = sandbox.script(&FOR_EVER, "echo unheard; exit 3");
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(complaint.contains(LOST) && complaint.contains("not connected"), "{complaint}");
}

#[test]
fn a_connection_that_is_lost_meanwhile_ends_the_wait() {
    let (plane, _sandbox, agent) = flushing();
    plane.close_all(CloseCode::Overloaded);
    let output = agent.wait();
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(complaint.contains(LOST) && complaint.contains("not connected"), "{complaint}");
}

#[test]
fn whoever_is_in_a_hurry_may_end_the_wait() {
    let (_plane, _sandbox, agent) = flushing();
    agent.signal(Signal::TERM);
    let output = agent.wait();
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "the program's exit code all the same");
    assert!(complaint.contains(LOST) && complaint.contains("a signal came"), "{complaint}");
}
