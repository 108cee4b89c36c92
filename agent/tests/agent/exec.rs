//! One command with a person's environment, in the agent's own place.

use std::process::{Command, Output, Stdio};

use outrigger_protocol::environment::{Entry, VariableKind};
use outrigger_protocol::fetch::FetchRefusal;

use crate::plane::{API_TOKEN, Plane, plain, secret};
use crate::sandbox::{Sandbox, contains, finish, text};

const CANARY: &str = "canary-4b1d-in-the-environment";

fn offering() -> Plane {
    Plane::offering(vec![secret("PASSWORD", CANARY), plain("LINES", "one\ntwo")])
}

fn script(sandbox: &Sandbox, plane: &Plane, options: &[&str], script: &str) -> Output {
    finish(&mut sandbox.exec(plane, options, &["sh", "-c", script]))
}

fn kept(sandbox: &Sandbox) -> usize {
    std::fs::read_dir(sandbox.cache_dir()).map_or(0, Iterator::count)
}

#[test]
fn the_command_takes_the_agents_place_with_its_environment() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let child = "echo $$; echo \"$PASSWORD\"; echo \"$LINES\"; echo $MINE $OUTRIGGER_GENERATION; exit 42";
    let mut exec = sandbox.exec(&plane, &["--project", "shop"], &["sh", "-c", child]);
    let child = exec.env("MINE", "inherited").stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), format!("{pid}\n{CANARY}\none\ntwo\ninherited 1\n"));
    assert_eq!(output.status.code(), Some(42));
    let seen = plane.seen();
    assert_eq!(seen.fetches, [(Some("shop".to_owned()), "staging".to_owned())]);
    assert_eq!(seen.enrolments + seen.connections, 0, "no identity is made for it");
}

#[test]
fn the_token_reaches_neither_the_command_nor_a_command_line_nor_a_disk() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let output = script(&sandbox, &plane, &["--log-level", "trace"], "tr '\\0' '\\n' </proc/self/environ");
    let seen = text(&output.stdout);
    assert!(seen.contains("PASSWORD=") && seen.contains("OUTRIGGER_ENVIRONMENT_ID=env_"), "{seen}");
    assert!(!seen.contains("OUTRIGGER_TOKEN") && !seen.contains("canary-of-the-token"), "{seen}");
    let said = text(&output.stderr);
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(kept(&sandbox), 1);
    for entry in std::fs::read_dir(sandbox.cache_dir()).unwrap() {
        let path = entry.unwrap().path();
        assert!(!contains(&std::fs::read(&path).unwrap(), "canary"), "{}", path.display());
        assert!(!path.display().to_string().contains("0123456789abcdef"));
    }
}

#[test]
fn a_token_file_and_a_ca_file_do_as_well() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let (token, ca) = (sandbox.file("token"), sandbox.file("ca.der"));
    std::fs::write(&token, format!("{API_TOKEN}\n")).unwrap();
    std::fs::write(&ca, plane.ca()).unwrap();
    let options = ["--token-file", token.to_str().unwrap(), "--ca-file", ca.to_str().unwrap()];
    let mut exec = sandbox.exec(&plane, &options, &["sh", "-c", "echo $PASSWORD"]);
    let output = finish(exec.env_remove("OUTRIGGER_TOKEN"));
    assert_eq!(text(&output.stdout), format!("{CANARY}\n"), "{}", text(&output.stderr));
}

#[test]
fn another_ca_is_not_even_talked_to() {
    let (plane, other) = (offering(), Plane::start());
    let sandbox = Sandbox::new(&plane);
    let output = script(&sandbox, &other, &["--start-timeout", "1s"], "echo started");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert_eq!(plane.seen().fetches.len(), 0);
}

#[test]
fn what_is_missing_on_the_command_line_is_told() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let output = finish(sandbox.exec(&plane, &[], &["true"]).env_remove("OUTRIGGER_TOKEN"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("give --token-file or OUTRIGGER_TOKEN"), "{}", text(&output.stderr));
    let mut exec = Command::new(env!("CARGO_BIN_EXE_outrigger-agent"));
    exec.args(["exec", "--control-plane", "127.0.0.1:1", "--environment", "staging", "--", "true"]);
    let output = finish(exec.env("OUTRIGGER_TOKEN", API_TOKEN));
    assert!(text(&output.stderr).contains("--ca-fingerprint"), "{}", text(&output.stderr));
    let output = finish(&mut sandbox.exec(&plane, &["--ca-fingerprint", "sha256:12"], &["true"]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn within_its_age_what_is_kept_is_used_without_asking_and_else_the_newest_is() {
    let mut plane = offering();
    let sandbox = Sandbox::new(&plane);
    script(&sandbox, &plane, &[], "true");
    plane.offer(2, vec![secret("PASSWORD", "changed")]);
    let young = || script(&sandbox, &plane, &["--max-age", "1h"], "echo $PASSWORD $OUTRIGGER_GENERATION");
    assert_eq!(text(&young().stdout), format!("{CANARY} 1\n"));
    assert_eq!(plane.seen().fetches.len(), 1, "nobody was asked");
    assert_eq!(text(&script(&sandbox, &plane, &[], "echo $PASSWORD").stdout), "changed\n");
    assert_eq!(plane.seen().fetches.len(), 2);
    assert_eq!(text(&young().stdout), "changed 2\n", "what came last is what is kept");
    plane.shut_down();
    let output = script(&sandbox, &plane, &["--max-age", "1h"], "echo $PASSWORD");
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("changed\n", ""));
}

#[test]
fn with_the_control_plane_away_what_is_kept_is_used_unless_it_has_to_be_fresh() {
    let mut plane = offering();
    let sandbox = Sandbox::new(&plane);
    script(&sandbox, &plane, &[], "true");
    plane.shut_down();
    let output = script(&sandbox, &plane, &[], "echo $PASSWORD");
    assert_eq!(text(&output.stdout), format!("{CANARY}\n"));
    assert!(text(&output.stderr).contains("the control plane is away"), "{}", text(&output.stderr));
    let output = script(&sandbox, &plane, &["--require-fresh", "--start-timeout", "1s"], "echo $PASSWORD");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("cannot get the environment"), "{}", text(&output.stderr));
    let mut other = sandbox.exec(&plane, &["--start-timeout", "1s"], &["sh", "-c", "echo $PASSWORD"]);
    let output = finish(other.env("OUTRIGGER_TOKEN", "another-token"));
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "nothing is kept for it");
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let output = script(&sandbox, &plane, &["--no-cache"], "echo $PASSWORD");
    assert_eq!(text(&output.stdout), format!("{CANARY}\n"));
    assert_eq!(kept(&sandbox), 0);
}

#[test]
fn a_refusal_ends_it_and_deletes_what_is_kept() {
    for (refusal, words) in [
        (FetchRefusal::BadToken, "sign in again"),
        (FetchRefusal::Forbidden, "may not have the values"),
        (FetchRefusal::NotFound, "no such environment"),
        (FetchRefusal::BadRequest, "which environment is meant"),
    ] {
        let mut plane = offering();
        let sandbox = Sandbox::new(&plane);
        script(&sandbox, &plane, &[], "true");
        assert_eq!(kept(&sandbox), 1);
        plane.seen().fetch_refusal = Some(refusal);
        let output = script(&sandbox, &plane, &[], "echo started");
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{said}");
        assert!(said.contains(words) && said.contains("said by the test"), "{said}");
        assert_eq!(kept(&sandbox), 0, "{refusal:?}");
        plane.shut_down();
        let output = script(&sandbox, &plane, &["--start-timeout", "1s"], "echo started");
        assert_eq!(text(&output.stdout), "", "not even offline");
    }
}

#[test]
fn a_control_plane_that_is_busy_is_as_good_as_away() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    script(&sandbox, &plane, &[], "true");
    plane.seen().fetch_refusal = Some(FetchRefusal::TryLater);
    let output = script(&sandbox, &plane, &[], "echo $PASSWORD");
    assert_eq!(text(&output.stdout), format!("{CANARY}\n"), "{}", text(&output.stderr));
    assert_eq!(kept(&sandbox), 1);
}

#[test]
fn what_breaks_a_rule_is_all_named_and_nothing_is_started_or_kept() {
    let missing = Entry { value: None, required: true, ..plain("NEEDED", "") };
    let number = Entry { kind: VariableKind::Number, ..secret("PORT", CANARY) };
    let plane = Plane::offering(vec![missing, number, plain("LD_PRELOAD", "/x.so"), plain("NODE_OPTIONS", "--x")]);
    let sandbox = Sandbox::new(&plane);
    let output = script(&sandbox, &plane, &["--allow-env", "NODE_OPTIONS"], "echo started");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{said}");
    assert!(["`NEEDED`", "`PORT`", "`LD_PRELOAD`"].iter().all(|name| said.contains(name)), "{said}");
    assert!(!said.contains("NODE_OPTIONS") && !said.contains("canary"), "{said}");
    assert_eq!(kept(&sandbox), 0);
}

#[test]
fn descriptors_and_dispositions_are_the_starters() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let exec = sandbox.exec(&plane, &[], &["sh", "-c", "cat <&7; grep -E 'SigIgn|SigBlk' /proc/self/status"]);
    let mut shell = Command::new("sh");
    let script = "echo by descriptor >\"$0\"; trap '' HUP; exec 7<\"$0\"; exec \"$@\"";
    shell.args(["-c", script]).arg(sandbox.file("seven")).arg(exec.get_program()).args(exec.get_args());
    shell.env("OUTRIGGER_TOKEN", API_TOKEN).env("XDG_CACHE_HOME", sandbox.file("."));
    let output = finish(&mut shell);
    let seen = text(&output.stdout);
    assert!(seen.starts_with("by descriptor\n"), "{seen} {}", text(&output.stderr));
    let ignored = seen.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & 1, 1, "HUP stays ignored: {seen}");
    assert_eq!(ignored >> (libc::SIGPIPE - 1) & 1, 0, "PIPE is not: {seen}");
}

#[test]
fn what_cannot_be_executed_is_what_a_shell_says() {
    let plane = offering();
    let sandbox = Sandbox::new(&plane);
    let not_found = finish(&mut sandbox.exec(&plane, &[], &["no-such-command-4b1d"]));
    assert_eq!(not_found.status.code(), Some(127), "{}", text(&not_found.stderr));
    let not_executable = finish(&mut sandbox.exec(&plane, &[], &["/etc/passwd"]));
    assert_eq!(not_executable.status.code(), Some(126), "{}", text(&not_executable.stderr));
}
