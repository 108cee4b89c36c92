//! Probes of a real program.

use std::time::Duration;

use outrigger_protocol::message::{AgentMessage, AgentSettings, ApplyState, ProgramState, ServerMessage};
use outrigger_protocol::probe::{Probe, ProbeKind, ProbeLevel, ProbeStatus, ProbeTarget, ProbeVerdict};
use outrigger_protocol::transport::CloseCode;

use crate::plane::{Plane, Seen, plain, restart_at_once, secret, settings};
use crate::sandbox::{Sandbox, eventually, processes, text, unique_sleep};

const STAY: &str = "echo \"$MODE\"; exec sleep 1000";

/// As often as there may be, so that a test does not wait for it.
fn probe(kind: ProbeKind, script: &str) -> Probe {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    Probe {
        period: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        ..Probe::new(kind, ProbeLevel::Application, ProbeTarget::Command(command))
    }
}

fn with(probes: &[Probe]) -> AgentSettings {
    AgentSettings { probes: probes.to_vec(), ..settings(restart_at_once()) }
}

fn probed(probes: &[Probe], mode: &str) -> (Plane, Sandbox) {
    let plane = Plane::offering(vec![secret("MODE", mode)]);
    plane.allow(with(probes));
    let sandbox = Sandbox::new(&plane);
    (plane, sandbox)
}

/// The newest report about a probe of this kind.
fn newest(seen: &Seen, kind: ProbeKind) -> Option<ProbeStatus> {
    let reports = seen.messages.iter().rev().filter_map(|message| match message {
        AgentMessage::Probes(statuses) => statuses.iter().find(|status| status.kind == kind).cloned(),
        _ => None,
    });
    reports.into_iter().next()
}

fn states(seen: &Seen) -> Vec<ApplyState> {
    let state = |message: &AgentMessage| match message {
        AgentMessage::ConfigReport { state, .. } => Some(*state),
        _ => None,
    };
    seen.messages.iter().filter_map(state).collect()
}

#[test]
fn configuration_is_applied_when_the_program_is_ready_with_it() {
    let plane = Plane::offering(vec![plain("MODE", "slow")]);
    let sandbox = Sandbox::new(&plane);
    let ready = sandbox.file("ready");
    let patient =
        Probe { failure_threshold: 1_000, ..probe(ProbeKind::Readiness, &format!("test -e {}", ready.display())) };
    plane.allow(with(&[patient]));
    let agent = sandbox.start(&[], STAY);
    agent.expect_line("slow");
    plane.report(ApplyState::Applying, 0);
    plane.wait("the probe fails twice", |seen| {
        newest(seen, ProbeKind::Readiness).filter(|one| one.consecutive_failures >= 2)
    });
    assert_eq!(states(&plane.seen()), [ApplyState::Applying], "nothing is applied yet");
    std::fs::write(&ready, "").unwrap();
    let status = plane.report(ApplyState::Applied, 0);
    assert_eq!(status.running.map(|config| config.generation), Some(1));
    plane.wait("it passes", |seen| {
        newest(seen, ProbeKind::Readiness)
            .filter(|one| one.verdict == ProbeVerdict::Passing && one.last_error.is_none())
    });
    let shown = text(&sandbox.status("table").stdout);
    assert!(shown.contains("readiness-application (readiness, application) passing"), "{shown}");
}

#[test]
fn a_value_with_which_the_program_is_not_ready_is_rolled_back_and_the_probe_named() {
    // With the program's own environment, secrets included.
    let (plane, sandbox) = probed(&[probe(ProbeKind::Readiness, "test \"$MODE\" != bad")], "good");
    let agent = sandbox.start(&[], STAY);
    agent.expect_line("good");
    plane.report(ApplyState::Applied, 0);
    plane.offer(2, vec![secret("MODE", "bad")]);
    agent.expect_line("bad");
    agent.expect_line("good");
    let status = plane.report(ApplyState::Failed, 0);
    assert_eq!(status.running.map(|config| config.generation), Some(1));
    let failed = status.last_failed.expect("it says what failed");
    assert_eq!(failed.config.generation, 2);
    let words = "readiness probe `readiness-application` failed 3 times in a row: the command ended with exit code 1";
    assert_eq!(failed.error, words);
    plane.wait("the old content is ready again", |seen| {
        newest(seen, ProbeKind::Readiness).filter(|one| one.verdict == ProbeVerdict::Passing)
    });
    plane.offer(2, vec![secret("MODE", "bad")]);
    plane.report(ApplyState::Failed, 1);
    plane.offer(3, vec![secret("MODE", "better")]);
    agent.expect_line("better");
    plane.report(ApplyState::Applied, 1);
}

#[test]
fn a_program_that_is_not_alive_is_restarted() {
    let plane = Plane::offering(vec![plain("MODE", "run")]);
    let sandbox = Sandbox::new(&plane);
    let dead = sandbox.file("dead").display().to_string();
    plane.allow(AgentSettings {
        bake_time: Some(Duration::ZERO),
        ..with(&[probe(ProbeKind::Liveness, &format!("test ! -e {dead}"))])
    });
    let agent = sandbox.start(&["--restart", "on-failure"], &format!("rm -f {dead}; {STAY}"));
    agent.expect_line("run");
    plane.wait("it is alive", |seen| {
        newest(seen, ProbeKind::Liveness).filter(|one| one.verdict == ProbeVerdict::Passing)
    });
    std::fs::write(&dead, "").unwrap();
    agent.expect_line("run");
    plane.wait("the restart is told", |seen| {
        let restarted = |message: &AgentMessage| {
            matches!(message, AgentMessage::Program(ProgramState::Running { restarts: 1, .. }))
        };
        seen.messages.iter().any(restarted).then_some(())
    });
    plane.wait("three failures were told", |seen| {
        let failing = |message: &AgentMessage| match message {
            AgentMessage::Probes(statuses) => statuses.iter().any(|one| one.consecutive_failures == 3),
            _ => false,
        };
        seen.messages.iter().any(failing).then_some(())
    });
    plane.wait("it is alive again", |seen| {
        newest(seen, ProbeKind::Liveness).filter(|one| one.verdict == ProbeVerdict::Passing)
    });
}

#[test]
fn readiness_that_is_lost_after_the_trial_is_told_and_restarts_nothing() {
    let plane = Plane::offering(vec![plain("MODE", "run")]);
    let sandbox = Sandbox::new(&plane);
    let busy = sandbox.file("busy").display().to_string();
    plane.allow(AgentSettings {
        bake_time: Some(Duration::ZERO),
        ..with(&[probe(ProbeKind::Readiness, &format!("test ! -e {busy}"))])
    });
    let agent = sandbox.start(&["--restart", "always"], STAY);
    agent.expect_line("run");
    plane.report(ApplyState::Applied, 0);
    eventually("it has proven itself", || sandbox.state_dir().join("last-good").exists());
    std::fs::write(&busy, "").unwrap();
    plane.wait("it is told", |seen| {
        newest(seen, ProbeKind::Readiness)
            .filter(|one| one.verdict == ProbeVerdict::Failing && one.consecutive_failures >= 5)
    });
    assert_eq!(states(&plane.seen()), [ApplyState::Applying, ApplyState::Applied]);
    assert_eq!(text(&agent.stop().stdout), "", "it was not started again");
}

#[test]
fn another_connection_hears_how_the_probes_stand() {
    let (plane, sandbox) = probed(&[probe(ProbeKind::Readiness, "true")], "run");
    let _agent = sandbox.start(&[], STAY);
    plane.report(ApplyState::Applied, 0);
    let passing = |seen: &Seen| newest(seen, ProbeKind::Readiness).filter(|one| one.verdict == ProbeVerdict::Passing);
    plane.wait("it is ready", passing);
    plane.seen().messages.clear();
    plane.close_all(CloseCode::Internal);
    plane.wait("it says so again", passing);
    assert!(matches!(plane.seen().messages.first(), Some(AgentMessage::Hello { .. })));
}

#[test]
fn probes_may_change_while_the_program_runs() {
    let (plane, sandbox) = probed(&[], "run");
    let agent = sandbox.start(&[], STAY);
    agent.expect_line("run");
    plane.report(ApplyState::Applied, 0);
    let slow = Probe { name: "new".to_owned(), failure_threshold: 1_000, ..probe(ProbeKind::Readiness, "exit 4") };
    plane.say(&ServerMessage::Settings(with(&[slow])));
    let status = plane
        .wait("the new probe fails", |seen| newest(seen, ProbeKind::Readiness).filter(|one| one.last_error.is_some()));
    assert_eq!((status.name.as_str(), status.verdict), ("new", ProbeVerdict::Passing), "until its threshold");
    assert_eq!(status.last_error.as_deref(), Some("the command ended with exit code 4"));
    plane.say(&ServerMessage::Settings(with(&[])));
    plane.wait("there are none any more", |seen| {
        seen.messages
            .iter()
            .any(|message| matches!(message, AgentMessage::Probes(none) if none.is_empty()))
            .then_some(())
    });
    assert_eq!(text(&agent.stop().stdout), "");
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let sleep = unique_sleep();
    let slow = Probe {
        period: Duration::from_secs(3600),
        timeout: Duration::from_millis(200),
        failure_threshold: 1_000,
        ..probe(ProbeKind::Liveness, &format!("sleep {sleep} & sleep {sleep}; true"))
    };
    let (plane, sandbox) = probed(&[slow], "run");
    let agent = sandbox.start(&[], STAY);
    let status = plane
        .wait("it takes too long", |seen| newest(seen, ProbeKind::Liveness).filter(|one| one.last_error.is_some()));
    assert_eq!(status.last_error.as_deref(), Some("no answer within 200ms"));
    eventually("nothing of it is left", || processes(&sleep).is_empty());
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn a_command_ends_with_the_program_that_it_asks_about() {
    let sleep = unique_sleep();
    let slow =
        Probe { timeout: Duration::from_secs(300), ..probe(ProbeKind::Liveness, &format!("exec sleep {sleep}")) };
    let (_plane, sandbox) = probed(&[slow], "run");
    let agent = sandbox.start(&[], STAY);
    agent.expect_line("run");
    eventually("it is asked", || processes(&sleep).len() == 1);
    assert_eq!(agent.stop().status.code(), Some(143));
    assert!(processes(&sleep).is_empty());
}

#[test]
fn a_command_that_is_not_there_is_a_failure_like_any_other() {
    let target = ProbeTarget::Command(vec!["no-such-program".to_owned()]);
    let absent = Probe { target, failure_threshold: 1_000, ..probe(ProbeKind::Liveness, "") };
    let (plane, sandbox) = probed(&[absent], "run");
    let _agent = sandbox.start(&[], STAY);
    let status =
        plane.wait("it fails", |seen| newest(seen, ProbeKind::Liveness).filter(|one| one.last_error.is_some()));
    let error = status.last_error.unwrap();
    assert!(error.starts_with("the command cannot be run: cannot start `no-such-program`: not found"), "{error}");
}

#[test]
fn a_start_without_the_control_plane_is_probed_all_the_same() {
    let (mut plane, sandbox) = probed(&[probe(ProbeKind::Readiness, "true")], "run");
    let agent = sandbox.start(&["--bake-time", "0s"], STAY);
    agent.expect_line("run");
    eventually("it has proven itself", || sandbox.state_dir().join("last-good").exists());
    agent.stop();
    plane.shut_down();
    let agent = sandbox.start(&[], STAY);
    agent.expect_line("run");
    eventually("the probe passes", || {
        text(&sandbox.status("table").stdout).contains("readiness-application (readiness, application) passing")
    });
    agent.stop();
}

#[test]
fn content_that_fails_at_the_first_start_makes_room_for_what_was_good_before() {
    let (plane, sandbox) = probed(&[probe(ProbeKind::Startup, "test \"$MODE\" != bad")], "good");
    let agent = sandbox.start(&["--bake-time", "0s"], STAY);
    agent.expect_line("good");
    eventually("it has proven itself", || sandbox.state_dir().join("last-good").exists());
    agent.stop();
    plane.offer(2, vec![secret("MODE", "bad")]);
    let agent = sandbox.start(&["--restart", "always"], STAY);
    agent.expect_line("bad");
    agent.expect_line("good");
    let status = plane.report(ApplyState::Failed, 0);
    assert_eq!(status.running.map(|config| config.generation), Some(1));
    assert!(status.last_failed.is_some_and(|failed| failed.error.contains("startup probe `startup-application`")));
}
