//! Starts without a control plane, and connections that come back.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use outrigger_agent::status::Report;
use outrigger_protocol::message::{AgentMessage, ServerMessage};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::transport::CloseCode;
use rustix::process::Signal;

use crate::plane::{Plane, Seen, plain};
use crate::sandbox::{Sandbox, eventually, finish, text};

const SHOW: &str = "echo \"$MODE\"";

#[test]
fn with_the_control_plane_away_the_last_good_configuration_is_used() {
    let mut plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert_eq!(text(&sandbox.script(&[], SHOW).stdout), "good\n");
    plane.shut_down();
    let begun = Instant::now();
    let output = sandbox.script(&[], SHOW);
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
    assert!(begun.elapsed() < Duration::from_secs(2), "a refusal is not waited for: {:?}", begun.elapsed());
    assert!(text(&output.stderr).contains("last known good"), "{}", text(&output.stderr));

    let output = sandbox.script(&["--require-fresh", "--start-timeout", "500ms"], SHOW);
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(complaint.contains("no configuration within 500ms"), "{complaint}");
    assert!(complaint.contains("nothing listens at") && complaint.contains("--require-fresh forbids"), "{complaint}");
}

#[test]
fn a_silent_control_plane_is_waited_for_a_bounded_time() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    let address = plane.address;
    drop(plane);
    let _silent = UdpSocket::bind(address).unwrap();
    let output = sandbox.script(&["--start-timeout", "1s"], SHOW);
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
    std::fs::remove_file(sandbox.state_dir().join("last-good")).unwrap();
    let output = sandbox.script(&["--start-timeout", "1s"], SHOW);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("does not answer") && complaint.contains("no last known good"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn a_connected_control_plane_without_a_configuration_is_told_apart() {
    let plane = Plane::start();
    let output = Sandbox::new(&plane).script(&["--start-timeout", "1s"], SHOW);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is connected and offers none"), "{}", text(&output.stderr));
}

#[test]
fn who_was_shut_out_does_not_go_on_with_old_secrets() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    let cache = sandbox.state_dir().join("last-good");
    assert!(cache.exists());
    plane.turn_away(CloseCode::Revoked);
    let output = sandbox.script(&[], SHOW);
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(complaint.contains("refuses this agent's identity (revoked)"), "{complaint}");
    assert!(!cache.exists());
}

#[test]
fn a_signal_during_the_wait_is_obeyed() {
    let plane = Plane::start();
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], SHOW);
    plane.wait("the agent is connected", |seen| (seen.connections == 1).then_some(()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().status.code(), Some(143));
}

#[test]
fn a_broken_identity_is_told_and_left_alone() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    let identity = sandbox.state_dir().join("identity");
    std::fs::write(&identity, "outrigger-agent identity 1\nsigning-key hello\n").unwrap();
    let output = sandbox.script(&[], SHOW);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is damaged"), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(&identity).unwrap().contains("hello"));
}

#[test]
fn an_agent_tells_about_itself_and_keeps_others_out() {
    let plane = Plane::offering(vec![plain("MODE", "value of a variable")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    eventually("the status command answers", || sandbox.status("json").status.success());
    let json = text(&sandbox.status("json").stdout);
    let report: Report = serde_json::from_str(&json).unwrap();
    assert!(report.connected);
    assert_eq!(report.agent_pid, agent.pid());
    assert_eq!(report.control_plane, plane.address.to_string());
    assert_eq!(report.configuration.running_generation, Some(1));
    assert_eq!(report.program.state, "running");
    assert!(std::path::Path::new("/proc").join(report.program.pid.unwrap().to_string()).exists());
    let table = text(&sandbox.status("table").stdout);
    assert!(table.contains("generation 1 runs") && table.contains("connected to"), "{table}");
    assert!(!json.contains("value of a variable") && !table.contains("value of a variable"));

    let second = finish(&mut sandbox.run(&[], &["true"]));
    let complaint = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1));
    assert!(complaint.contains(&format!("process {}", agent.pid())), "{complaint}");

    agent.stop();
    let gone = sandbox.status("table");
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("no agent runs"), "{}", text(&gone.stderr));
}

#[test]
fn the_agent_comes_back_and_sends_what_was_not_acknowledged() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    plane.wait("samples arrive", |seen| {
        seen.samples.iter().any(|sample| sample.value(Metric::Processes).is_some()).then_some(())
    });
    plane.be_deaf(true);
    let heard = plane.seen().batches.len();
    let unacknowledged = plane.wait("a batch is heard", |seen| seen.batches.get(heard + 1).copied());
    let plane = plane.restart();
    let before = plane.seen().batches.len();
    plane.wait("the same batch comes again, in its order", |seen| {
        let again = &seen.batches[before..];
        again.contains(&unacknowledged).then(|| assert!(again.is_sorted(), "{again:?}"))
    });
    let hello = plane.wait("the agent tells what runs", |seen| {
        seen.messages.iter().find_map(|message| match message {
            AgentMessage::Hello { status, .. } => Some(status.clone()),
            _ => None,
        })
    });
    assert_eq!(hello.running.map(|config| config.generation), Some(1));
    let output = agent.stop();
    assert_eq!(text(&output.stdout), "", "the program did not notice");
}

#[test]
fn a_drain_brings_the_agent_back_and_a_replacement_does_not_stop_the_program() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    for (turn, code) in [CloseCode::Drain, CloseCode::Overloaded].into_iter().enumerate() {
        plane.wait("connected", |seen| (seen.connections == turn + 1).then_some(()));
        plane.close_all(code);
    }
    plane.wait("connected again", |seen| (seen.connections == 3).then_some(()));
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn a_redirect_is_followed() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let other = plane.sibling();
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    plane.say(&ServerMessage::Redirect { address: other.address.to_string() });
    other.wait("the agent comes to the other node", |seen| (seen.connections == 1).then_some(()));
    // When that one goes, the configured address is the one to come back to.
    other.close_all(CloseCode::Overloaded);
    plane.wait("the agent comes back", |seen| (seen.connections == 2).then_some(()));
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn a_certificate_is_renewed_before_it_runs_out() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    plane.certify(Duration::from_secs(900), Duration::from_secs(1_000));
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    // Of the certificate on disk 90 % of its life is over: renewal is due.
    let lines = || -> Vec<String> { sandbox.identity().lines().map(str::to_owned).collect() };
    let before = lines();
    plane.certify(Duration::ZERO, Duration::from_secs(86_400));
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    plane.wait("the agent asks", |seen| (renewals(seen) == 1).then_some(()));
    eventually("the renewed certificate is on disk", || lines() != before);
    let changed = before.iter().zip(lines()).filter(|(old, new)| *old != new).count();
    assert_eq!(changed, 1, "the leaf alone: the keys, the ids and the CA are the same");
    plane.close_all(CloseCode::Overloaded);
    plane.wait("the agent comes back with it", |seen| (seen.connections == 3).then_some(()));
    assert_eq!(agent.stop().status.code(), Some(143));
    assert_eq!(renewals(&plane.seen()), 1, "it is content with what it got");
}

fn renewals(seen: &Seen) -> usize {
    seen.messages.iter().filter(|message| matches!(message, AgentMessage::Renew { .. })).count()
}

#[test]
fn a_short_lived_certificate_is_not_old_because_it_begins_before_it_was_issued() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    // A minute to live, and five minutes of allowance for clocks that are behind.
    plane.certify(Duration::from_secs(300), Duration::from_secs(360));
    let sandbox = Sandbox::new(&plane);
    let agent = sandbox.start(&[], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    plane.wait("two seconds of samples", |seen| (seen.samples.len() >= 10).then_some(()));
    assert_eq!(renewals(&plane.seen()), 0);
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn an_agent_whose_certificate_has_expired_needs_a_new_token_and_nothing_else() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    plane.certify(Duration::from_secs(100), Duration::from_secs(50));
    let sandbox = Sandbox::new(&plane);
    let output = sandbox.script(&["--start-timeout", "2s"], SHOW);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("certificate has expired"), "{complaint}");
    let key = |text: String| text.lines().find(|line| line.starts_with("signing-key")).map(str::to_owned).unwrap();
    let before = key(sandbox.identity());
    plane.certify(Duration::ZERO, Duration::from_secs(86_400));
    assert_eq!(text(&sandbox.script(&[], SHOW).stdout), "good\n");
    assert_eq!(plane.seen().enrolments, 2);
    assert_eq!(key(sandbox.identity()), before);
}
