//! A control plane that cannot start says why in one sentence, exits with 1 and leaves the data as it was.

#![allow(clippy::unwrap_used, reason = "a test's own set-up")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn server(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command
        .args(["server", "--http-listen", "127.0.0.1:0", "--agents-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        .args(arguments)
        .current_dir(data.parent().expect("the data directory is in a temporary one"));
    command
}

/// Runs to the end, which has to come by itself.
fn refused(command: &mut Command, words: &[&str]) -> Output {
    let output = command.output().expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("outrigger: "), "the last line is the reason: {stderr}");
    for word in words {
        assert!(last.contains(word), "`{word}` is missing: {last}");
    }
    output
}

/// Starts a control plane on a fresh directory and ends it again, so that there is a database.
fn made(data: &Path) {
    use std::io::{BufRead as _, BufReader};
    let mut child = server(data, &[]).stdout(std::process::Stdio::piped()).spawn().expect("the program runs");
    let stdout = child.stdout.take().expect("it is piped");
    let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line.starts_with("agents "));
    child.kill().expect("it still runs");
    child.wait().expect("it can be waited for");
    assert!(ready, "the control plane came up");
}

#[test]
fn a_setting_with_a_slip_names_file_key_and_the_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("outrigger.yaml");
    std::fs::write(&config, "http:\n  lisen: 127.0.0.1:1\n").unwrap();
    let mut command = server(&directory.path().join("data"), &["--config", config.to_str().unwrap()]);
    refused(&mut command, &["outrigger.yaml", "http.lisen", "did you mean `http.listen`"]);
    assert!(!directory.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(["server", "--agents-listen", "127.0.0.1:0", "--http-listen", &address, "--data-dir"]);
    refused(command.arg(directory.path().join("data")), &[&address, "in use"]);
    assert!(!directory.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_directory_that_is_a_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::write(&data, "not a directory").unwrap();
    refused(&mut server(&data, &[]), &[data.to_str().unwrap()]);
}

#[test]
fn a_wrong_or_missing_master_key_opens_nothing_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    made(&data);
    let before = std::fs::read(data.join("outrigger.redb")).unwrap();
    let wrong = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let output = refused(server(&data, &[]).env("OUTRIGGER_MASTER_KEY", wrong), &["master key"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(wrong));
    assert!(before == std::fs::read(data.join("outrigger.redb")).unwrap(), "the database was not touched");

    std::fs::rename(data.join("master.key"), data.join("elsewhere")).unwrap();
    refused(&mut server(&data, &[]), &["master.key", "missing"]);
    assert!(!data.join("master.key").exists(), "no key is made over an existing database");
}

#[test]
fn a_file_that_is_not_our_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    made(&data);
    let foreign = b"this is somebody's thesis".repeat(1000);
    let path = data.join("outrigger.redb");
    std::fs::write(&path, &foreign).unwrap();
    refused(&mut server(&data, &[]), &["outrigger.redb"]);
    assert_eq!(std::fs::read(&path).unwrap(), foreign);
}

#[test]
fn usage_errors_exit_with_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(["server", "--no-such-flag"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
