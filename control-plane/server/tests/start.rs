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
    comes_up(&mut server(data, &[]));
}

fn comes_up(command: &mut Command) {
    use std::io::{BufRead as _, BufReader};
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("the program runs");
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

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[test]
fn the_first_source_that_has_a_master_key_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("key");
    let sources = |file: &Path, variable: Option<&str>, printed: &str| {
        let mut command = server(&data, &["--master-key-file", file.to_str().unwrap()]);
        command.args(["--master-key-command", &format!(r#"["printf", "%s\\n", "{printed}"]"#)]);
        command.envs(variable.map(|key| ("OUTRIGGER_MASTER_KEY", key)));
        command
    };
    comes_up(&mut sources(&file, None, KEY));
    assert!(!file.exists() && !data.join("master.key").exists(), "no key is written anywhere");
    comes_up(&mut sources(&file, Some(KEY), OTHER_KEY));
    refused(&mut sources(&file, Some(OTHER_KEY), KEY), &["master key"]);
    std::fs::write(&file, KEY).unwrap();
    comes_up(&mut sources(&file, Some(OTHER_KEY), OTHER_KEY));
    std::fs::write(&file, "no key").unwrap();
    refused(&mut sources(&file, Some(KEY), KEY), &["key", "neither hexadecimal nor base64"]);
}

#[test]
fn a_master_key_command_is_bounded_runs_without_a_shell_and_shows_only_its_messages() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let fails = format!("echo {KEY}; echo no access >&2; echo for you >&2; exit 3");
    for (command, words) in [
        (vec!["sh", "-c", &fails], ["exit status: 3", "no access for you"]),
        (vec!["sh", "-c", "sleep 600 & sleep 600"], ["did not end within 1s", "killed"]),
        (vec!["cat", "/dev/zero"], ["more than 1024 bytes", "no master key"]),
        (vec!["echo", "$HOME; exit"], ["neither hexadecimal", "echo"]),
        (vec!["/no/such/program"], ["cannot run", "/no/such/program"]),
    ] {
        let list = command.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(",");
        let arguments = ["--master-key-command-timeout", "1s", "--master-key-command", &format!("[{list}]")];
        let output = refused(&mut server(&data, &arguments), &words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains(KEY));
        assert!(!data.join("outrigger.redb").exists(), "nothing was made");
    }
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
