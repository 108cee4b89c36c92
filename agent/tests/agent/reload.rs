//! Configuration that changes while the program runs.

use outrigger_protocol::message::{ApplyState, ApplyStrategy};

use crate::plane::{Plane, plain, secret};
use crate::sandbox::{Sandbox, eventually, text};

/// Prints what it was started with, and stays.
const SHOW: &str = "echo \"$MODE\"; exec sleep 1000";

#[test]
fn a_new_generation_is_applied_by_a_restart() {
    let plane = Plane::offering(vec![secret("MODE", "first value")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], SHOW);
    agent.expect_line("first value");
    plane.offer(2, vec![secret("MODE", "second value")]);
    agent.expect_line("second value");
    let status = plane.report(ApplyState::Applied, 1);
    assert_eq!(status.running.map(|config| config.generation), Some(2));
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn equal_content_is_answered_and_nothing_is_restarted() {
    let plane = Plane::offering(vec![plain("MODE", "same")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], SHOW);
    agent.expect_line("same");
    plane.offer(2, vec![plain("MODE", "same")]);
    assert_eq!(plane.report(ApplyState::Applied, 1).running.map(|config| config.generation), Some(2));
    let output = agent.stop();
    assert_eq!(text(&output.stdout), "", "it did not start again");
}

#[test]
fn a_new_generation_is_applied_by_a_signal_and_a_file() {
    let plane = Plane::offering(vec![plain("MODE", "it's one")]);
    plane.apply_by(ApplyStrategy::Signal { signal: libc::SIGHUP });
    let sandbox = Sandbox::new(&plane);
    let file = sandbox.file("program.env");
    let script = "trap '. \"$OUTRIGGER_ENV_FILE\"; echo \"$MODE\"' HUP; . \"$OUTRIGGER_ENV_FILE\"; echo \"$MODE\" $$
        while :; do sleep 0.05; done";
    let agent = sandbox.start(&["--env-file", file.to_str().unwrap()], script);
    assert!(agent.line().starts_with("it's one "));
    plane.offer(2, vec![plain("MODE", "two\nlines")]);
    agent.expect_line("two");
    agent.expect_line("lines");
    assert_eq!(plane.report(ApplyState::Applied, 1).running.map(|config| config.generation), Some(2));
    assert_eq!(agent.stop().status.code(), Some(143));
    assert!(!file.exists(), "plaintext does not stay behind");
}

#[test]
fn content_that_kills_the_program_is_rolled_back_and_reported() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo \"$MODE\"; [ \"$MODE\" = bad ] && exit 9; exec sleep 1000");
    agent.expect_line("good");
    plane.offer(2, vec![plain("MODE", "bad")]);
    agent.expect_line("bad");
    agent.expect_line("good");
    let status = plane.report(ApplyState::Failed, 0);
    assert_eq!(status.running.map(|config| config.generation), Some(1));
    let failed = status.last_failed.expect("it says what failed");
    assert_eq!(failed.config.generation, 2);
    assert!(failed.error.contains("exit code 9"), "{}", failed.error);
    // The same is not tried again; something new is.
    plane.offer(2, vec![plain("MODE", "bad")]);
    plane.report(ApplyState::Failed, 1);
    plane.offer(3, vec![plain("MODE", "better")]);
    agent.expect_line("better");
    let shown = text(&sandbox.status("table").stdout);
    assert!(shown.contains("generation 3 runs") && shown.contains("generation 2: "), "{shown}");
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn content_that_breaks_a_rule_leaves_the_program_alone() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], SHOW);
    agent.expect_line("good");
    plane.offer(2, vec![plain("1NVALID", "x")]);
    let status = plane.report(ApplyState::Failed, 0);
    assert_eq!(status.running.map(|config| config.generation), Some(1));
    assert_eq!(text(&agent.stop().stdout), "");
}

#[test]
fn with_no_strategy_it_is_kept_for_the_next_start() {
    let plane = Plane::offering(vec![plain("MODE", "one")]);
    plane.apply_by(ApplyStrategy::None);
    let sandbox = Sandbox::new(&plane);
    let end = sandbox.file("end");
    let script = format!("echo \"$MODE\"; while [ ! -e {0} ]; do sleep 0.02; done; rm {0}; exit 1", end.display());
    let agent = sandbox.start(&["--restart", "always"], &script);
    agent.expect_line("one");
    plane.offer(2, vec![plain("MODE", "two")]);
    plane.report(ApplyState::PendingRestart, 0);
    std::fs::write(&end, "").unwrap();
    agent.expect_line("two");
    plane.report(ApplyState::Applied, 1);
    eventually("the marker is consumed", || !end.exists());
}
