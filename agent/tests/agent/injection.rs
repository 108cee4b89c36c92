//! What a program finds when it is started.

use outrigger_protocol::environment::{Entry, VariableKind};
use outrigger_protocol::message::{AgentMessage, ApplyState, ApplyStrategy};

use crate::plane::{Plane, plain, secret, settings};
use crate::sandbox::{Sandbox, finish, text};

#[test]
fn the_program_gets_its_variables_and_nothing_of_the_machine() {
    let plane = Plane::offering(vec![plain("GREETING", "hello\nworld"), secret("TOKEN", "t0p-secret")]);
    let sandbox = Sandbox::new(&plane);
    let mut run = sandbox.run(&["--env", "EXTRA=given=by hand"], &["env"]);
    run.env("HOST_SECRET", "x").env("TZ", "Europe/Paris").env("OUTRIGGER_LOG_LEVEL", "warn");
    let output = finish(&mut run);
    let seen = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for line in ["GREETING=hello\nworld\n", "TOKEN=t0p-secret\n", "EXTRA=given=by hand\n", "TZ=Europe/Paris\n", "PATH="]
    {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
    for name in ["HOST_SECRET", "OUTRIGGER_JOIN_TOKEN", "OUTRIGGER_LOG_LEVEL", "CARGO"] {
        assert!(!seen.contains(name), "{name} in {seen}");
    }
    assert!(seen.contains("OUTRIGGER_INSTANCE_ID=ins_") && seen.contains("OUTRIGGER_DEPLOYMENT_ID=dep_"), "{seen}");
    assert_eq!(text(&output.stderr), "", "nothing to complain about");
}

#[test]
fn every_way_to_hand_over_a_token_works_and_one_time_is_enough() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let file = Sandbox::new(&plane);
    std::fs::write(file.file("token"), format!("{}\n", *plane.token())).unwrap();
    let path = file.file("token").display().to_string();
    let command = ["sh", "-c", "echo $A"];
    assert_eq!(text(&finish(&mut file.without_token(&["--join-token-file", &path], &command)).stdout), "1\n");
    assert_eq!(text(&finish(&mut file.without_token(&[], &command)).stdout), "1\n", "the identity is on disk");
    assert_eq!(plane.seen().enrolments, 1);

    let descriptor = Sandbox::new(&plane);
    let run = descriptor.without_token(&["--join-token-fd", "9"], &command);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$@\" 9<\"$0\"", &path]).arg(run.get_program()).args(run.get_args());
    assert_eq!(text(&finish(&mut shell).stdout), "1\n");
    assert_eq!(plane.seen().enrolments, 2);
}

#[test]
fn without_an_identity_and_without_a_token_the_way_out_is_told() {
    let plane = Plane::start();
    let sandbox = Sandbox::new(&plane);
    let output = finish(&mut sandbox.without_token(&[], &["true"]));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("no join token") && complaint.contains("--join-token-file"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn a_wrong_token_is_refused_in_words_and_not_shown() {
    let (plane, other) = (Plane::start(), Plane::start());
    let sandbox = Sandbox::new(&plane);
    let mut forged: outrigger_protocol::join_token::JoinToken = plane.token().parse().unwrap();
    forged.secret = [1; 32];
    let mut run = sandbox.run(&[], &["true"]);
    let output = finish(run.env("OUTRIGGER_JOIN_TOKEN", &*forged.reveal()));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("refused the join token: it is not known there"), "{complaint}");
    // A token of another control plane pins another CA: this server is not even talked to.
    let mut run = sandbox.run(&["--start-timeout", "1s"], &["true"]);
    let output = finish(run.env("OUTRIGGER_JOIN_TOKEN", &*other.token()));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("cannot enrol"), "{complaint}");
    assert!(!complaint.contains(other.token().as_str()));
    let output = finish(sandbox.run(&[], &["true"]).env("OUTRIGGER_JOIN_TOKEN", "nonsense"));
    assert!(text(&output.stderr).contains("not a join token"), "{}", text(&output.stderr));
}

#[test]
fn an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_key() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    plane.lose_answers(2);
    let sandbox = Sandbox::new(&plane);
    let output = sandbox.script(&[], "echo $A");
    assert_eq!(text(&output.stdout), "1\n", "{}", text(&output.stderr));
    assert_eq!(plane.seen().enrolments, 3);
    let agents = plane.seen().messages.iter().filter(|message| matches!(message, AgentMessage::Hello { .. })).count();
    assert_eq!(agents, 1);
}

#[test]
fn missing_and_mistyped_variables_are_all_named_and_nothing_is_started() {
    let missing = |name: &str| Entry { value: None, required: true, ..plain(name, "") };
    let number = Entry { kind: VariableKind::Number, ..secret("PORT", "very secret port") };
    let plane =
        Plane::offering(vec![missing("DATABASE_URL"), missing("API_KEY"), number, plain("LD_PRELOAD", "/x.so")]);
    let sandbox = Sandbox::new(&plane);
    let marker = sandbox.file("started");
    let output = sandbox.script(&["--restart", "always"], &format!("touch {}", marker.display()));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    for name in ["`DATABASE_URL`", "`API_KEY`", "`PORT`", "`LD_PRELOAD`"] {
        assert!(complaint.contains(name), "{name} in {complaint}");
    }
    assert!(!complaint.contains("very secret"), "{complaint}");
    assert!(!marker.exists());
    let status = plane.report(ApplyState::Failed, 0);
    assert!(status.last_failed.is_some_and(|failed| failed.error.contains("`API_KEY`")));
}

#[test]
fn a_dangerous_name_passes_when_the_deployment_allows_it() {
    let plane = Plane::offering(vec![plain("NODE_OPTIONS", "--x")]);
    let mut allowing = settings(ApplyStrategy::None);
    allowing.allowed_names = vec!["NODE_OPTIONS".to_owned()];
    plane.allow(allowing);
    let output = Sandbox::new(&plane).script(&[], "echo $NODE_OPTIONS");
    assert_eq!(text(&output.stdout), "--x\n", "{}", text(&output.stderr));
}

#[test]
fn what_the_kernel_would_not_take_is_refused_with_the_numbers() {
    let entries = (0..3).map(|i| plain(&format!("BIG_{i}"), &"x".repeat(100_000))).collect();
    let plane = Plane::offering(entries);
    let sandbox = Sandbox::new(&plane);
    let run = sandbox.run(&[], &["true"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -s 512; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    let output = finish(shell.env("OUTRIGGER_JOIN_TOKEN", &*plane.token()));
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("the kernel allows 131072"), "{complaint}");
    let output = sandbox.script(&[], "echo ${#BIG_2}");
    assert_eq!(text(&output.stdout), "100000\n", "with the usual limit it fits");
}
