//! Agents that were shut out, and how they come back: with another token, once.

use outrigger_protocol::message::AgentMessage;
use rustix::process::Signal;

use crate::plane::{Plane, Seen, plain};
use crate::sandbox::{Running, Sandbox, eventually, finish, text};

const SHOW: &str = "echo \"$MODE\"";

/// A sandbox whose agent has joined, run a program to its end, and was then revoked.
fn revoked() -> (Plane, Sandbox) {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    plane.revoke_everyone();
    (plane, sandbox)
}

/// A value out of the identity file.
fn line(sandbox: &Sandbox, name: &str) -> String {
    sandbox.identity().lines().find(|line| line.starts_with(name)).unwrap().to_owned()
}

fn greetings(seen: &Seen) -> usize {
    seen.messages.iter().filter(|message| matches!(message, AgentMessage::Hello { .. })).count()
}

#[test]
fn a_revoked_agent_joins_anew_with_a_new_token() {
    let (plane, sandbox) = revoked();
    let before = ["agent", "signing-key", "sealing-key"].map(|name| line(&sandbox, name));
    let token = plane.another_token();
    let output = finish(&mut sandbox.run_with_token(&token, &[], SHOW));
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("joining anew"), "{}", text(&output.stderr));
    let after = ["agent", "signing-key", "sealing-key"].map(|name| line(&sandbox, name));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "who was revoked is gone, with its keys");

    let kept = sandbox.identity();
    assert!(!kept.contains(token.as_str()) && !text(&output.stderr).contains(token.as_str()));
    let output = finish(&mut sandbox.run_with_token(&token, &[], SHOW));
    assert_eq!(text(&output.stdout), "good\n", "an identity that is accepted needs no token");
    assert_eq!((sandbox.identity() == kept, plane.seen().shown.len()), (true, 2));
}

#[test]
fn the_token_that_made_a_revoked_identity_is_not_shown_again() {
    let (plane, sandbox) = revoked();
    let output = sandbox.script(&[], SHOW);
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    for words in ["identity (revoked)", "nothing was started", "used up", "make another token", "--join-token-file"] {
        assert!(complaint.contains(words), "{words} in {complaint}");
    }
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(plane.seen().shown.len(), 1, "only at the first enrolment");
}

#[test]
fn a_revoked_agent_without_a_token_says_what_to_do() {
    let (plane, sandbox) = revoked();
    let output = finish(&mut sandbox.without_token(&[], &["sh", "-c", SHOW]));
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    for words in ["identity (revoked)", "nothing was started", "No join token", "outrigger deployment join-token"] {
        assert!(complaint.contains(words), "{words} in {complaint}");
    }
    let absent = sandbox.file("token").display().to_string();
    let output = finish(&mut sandbox.without_token(&["--join-token-file", &absent], &["sh", "-c", SHOW]));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("identity (revoked)") && complaint.contains(&absent), "{complaint}");
    assert_eq!(plane.seen().shown.len(), 1);
}

#[test]
fn a_new_token_that_is_refused_is_tried_once() {
    let (plane, sandbox) = revoked();
    let output = finish(&mut sandbox.run_with_token(&plane.forged_token(), &[], SHOW));
    let complaint = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    for words in ["identity (revoked)", "nothing was started", "refused the join token: it is not known there"] {
        assert!(complaint.contains(words), "{words} in {complaint}");
    }
    assert_eq!(plane.seen().shown.len(), 2);
    // A token that is good is still a way in.
    let output = finish(&mut sandbox.run_with_token(&plane.another_token(), &[], SHOW));
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
}

#[test]
fn joining_anew_survives_a_lost_answer() {
    let (plane, sandbox) = revoked();
    plane.lose_answers(1);
    let output = finish(&mut sandbox.run_with_token(&plane.another_token(), &[], SHOW));
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
    assert_eq!(plane.seen().shown.len(), 3);
    assert_eq!(greetings(&plane.seen()), 2, "the same key was answered again: one agent before, one after");
}

#[test]
fn a_program_that_runs_is_left_alone_until_the_agent_is_started_again() {
    let plane = Plane::offering(vec![plain("MODE", "good")]);
    let sandbox = Sandbox::new(&plane);
    assert!(sandbox.script(&[], SHOW).status.success());
    let token = plane.another_token();
    let agent = Running::start(sandbox.run_with_token(&token, &["--bake-time", "0s"], "echo ready; exec sleep 1000"));
    agent.expect_line("ready");
    plane.revoke_everyone();
    eventually("what it was given is forgotten", || !sandbox.state_dir().join("last-good").exists());
    let output = agent.stop();
    assert_eq!(output.status.code(), Some(143), "the program ran until it was stopped");
    assert!(text(&output.stderr).contains("with a new join token"), "{}", text(&output.stderr));
    assert_eq!(plane.seen().shown.len(), 1);
    let output = finish(&mut sandbox.run_with_token(&token, &[], SHOW));
    assert_eq!(text(&output.stdout), "good\n", "{}", text(&output.stderr));
}

#[test]
fn a_signal_while_joining_anew_is_obeyed() {
    let (plane, sandbox) = revoked();
    plane.lose_answers(usize::MAX);
    let agent = Running::start(sandbox.run_with_token(&plane.another_token(), &[], SHOW));
    plane.wait("the new token is shown", |seen| (seen.shown.len() > 1).then_some(()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().status.code(), Some(143));
}
