//! The agent on a terminal, and secrets in what its program shows.

use anyhow::{Context as _, Result};
use outrigger_tests::{Agent, OnTerminal, Server, ServerOptions, Workplace, binary};
use rustix::process::Signal;
use serde_json::json;

const CANARY: &str = "canary-9d27 of the key";

/// A control plane with one started deployment that sandboxes from outside join.
struct Fixture {
    server: Server,
    workplace: Workplace,
    deployment: String,
}

impl Fixture {
    async fn new() -> Result<Self> {
        let workplace = Workplace::new()?;
        let server = Server::start(&workplace, &ServerOptions::default()).await?;
        let variables = json!([
            { "key": "KEY", "value": CANARY, "isEncrypted": true },
            { "key": "PEM", "value": "-----BEGIN KEY-----\nMIIE-first-line\nMIIE-second-line\n", "isEncrypted": true },
        ]);
        let (project, _) = server.api().project_with(variables).await?;
        let external = json!({ "driver": "dry-run", "replicas": { "min": 0, "max": 10, "initial": 0 } });
        let deployment = server.api().deployment(&project, &["unused".to_owned()], external).await?;
        server.api().post(&format!("/api/deployments/{deployment}/start"), json!({})).await?;
        Ok(Self { server, workplace, deployment })
    }

    async fn token(&self) -> Result<String> {
        let path = format!("/api/deployments/{}/join-tokens", self.deployment);
        let answer = self.server.api().post(&path, json!({})).await?;
        answer["token"].as_str().map(str::to_owned).context("no token")
    }

    /// Runs a script to its end with its output in files.
    async fn run(&self, options: &[&str], script: &str) -> Result<(i32, String, String)> {
        let address = self.server.agents_address();
        let options: Vec<&str> = ["--control-plane", &address].into_iter().chain(options.iter().copied()).collect();
        let token = self.token().await?;
        let name = format!("agent-{}", &token[token.len() - 8..]);
        let directory = self.workplace.path().join(name);
        let mut agent = Agent::run(&directory, Some(&token), &options, &["/bin/sh", "-c", script])?;
        Ok((agent.exit_code().await?, agent.stdout(), agent.stderr()))
    }

    /// Runs a script on a terminal, in the foreground of a session of its own.
    async fn on_terminal(&self, options: &[&str], script: &str) -> Result<OnTerminal> {
        let token = self.token().await?;
        let mut command = OnTerminal::in_session(&binary("outrigger-agent"));
        command.arg("run");
        command.args(["--control-plane", &self.server.agents_address(), "--flush-timeout", "0s"]).args(options);
        command.arg("--state-dir").arg(self.workplace.path().join(format!("state-{}", &token[token.len() - 8..])));
        command.args(["--", "/bin/sh", "-c", script]).env("OUTRIGGER_JOIN_TOKEN", token);
        OnTerminal::start(command)
    }
}

#[tokio::test]
async fn the_program_has_a_terminal_of_its_own_with_the_size_of_the_agent_s() -> Result<()> {
    let fixture = Fixture::new().await?;
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all; tty; stty size; \
                  trap 'stty size' WINCH; echo ready; \
                  until read answer; do :; done; echo \"answer=$answer\"; exit 7";
    let mut terminal = fixture.on_terminal(&[], script).await?;
    terminal.shows("ready").await?;
    let shown = terminal.shown();
    assert!(shown.contains("all\r\n") && shown.contains("40 120\r\n"), "{shown:?}");
    assert!(!shown.contains(terminal.name()), "another than the agent's own {}: {shown:?}", terminal.name());
    assert!(terminal.is_raw()?, "keys are the program's");
    terminal.resize(50, 100)?;
    terminal.shows("50 100").await?;
    terminal.type_in("yes\r")?;
    terminal.shows("answer=yes").await?;
    assert_eq!(terminal.exit_code().await?, Some(7));
    assert!(!terminal.is_raw()?, "as it was");
    Ok(())
}

#[tokio::test]
async fn ctrl_c_is_for_whatever_is_in_the_program_s_foreground() -> Result<()> {
    let fixture = Fixture::new().await?;
    let mut terminal = fixture.on_terminal(&["--restart", "always"], "echo ready; exec sleep 1000").await?;
    terminal.shows("ready").await?;
    terminal.type_in("\x03")?;
    assert_eq!(terminal.exit_code().await?, Some(130), "{:?}", terminal.shown());
    assert!(!terminal.is_raw()?);

    // A shell that controls jobs puts each into the foreground, and lives on.
    let mut terminal = fixture.on_terminal(&[], "exec bash --norc --noediting -i").await?;
    for (job, key, shown_as, code) in [(1, "\x03", "^C", 130), (2, "\x1a", "^Z", 148)] {
        // Echoed, and answered by the job: only then is the signal its own, and not the shell's.
        terminal.type_in(&format!("cat\rof {job}\r"))?;
        terminal.shows_times(&format!("of {job}\r\n"), 2).await?;
        terminal.type_in(key)?;
        // The kernel drops what was typed before.
        terminal.shows(shown_as).await?;
        terminal.type_in("echo code=$?\r")?;
        terminal.shows(&format!("code={code}\r\n")).await?;
    }
    // The first is answered by a word about the job that is stopped.
    terminal.type_in("exit 5\rexit 5\r")?;
    assert_eq!(terminal.exit_code().await?, Some(5), "{:?}", terminal.shown());
    assert!(!terminal.is_raw()?);
    Ok(())
}

#[tokio::test]
async fn the_terminal_is_as_it_was_when_the_agent_is_ended() -> Result<()> {
    let fixture = Fixture::new().await?;
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = fixture.on_terminal(&[], "echo ready; exec sleep 1000").await?;
        terminal.shows("ready").await?;
        assert!(terminal.is_raw()?);
        terminal.signal(signal)?;
        assert_eq!(terminal.exit_code().await?, Some(128 + signal.as_raw()), "{:?}", terminal.shown());
        assert!(!terminal.is_raw()?, "{signal:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_terminal_is_handed_over_when_nothing_is_to_be_read_or_that_is_asked_for() -> Result<()> {
    let fixture = Fixture::new().await?;
    for options in [&["--no-logs"][..], &["--pty", "never"]] {
        let mut terminal = fixture.on_terminal(options, "tty; echo ready; exec sleep 1000").await?;
        terminal.shows("ready").await?;
        assert!(terminal.shown().contains(terminal.name()), "{:?}", terminal.shown());
        assert!(!terminal.is_raw()?);
        terminal.type_in("\x03")?;
        assert_eq!(terminal.exit_code().await?, Some(130));
    }
    // And without a terminal there is one when that is asked for.
    let (code, stdout, _) = fixture.run(&["--pty", "always"], "test -t 1 && stty size <&1; exit 3").await?;
    assert_eq!((code, stdout.as_str()), (3, "24 80\r\n"));
    Ok(())
}

#[tokio::test]
async fn secrets_are_masked_on_the_screen_and_prompts_are_not_held_back() -> Result<()> {
    let fixture = Fixture::new().await?;
    // The prompt ends as a secret begins.
    let script = "echo \"key: $KEY.\"; printf 'Name of the canary-'; read name; echo \"hello $name\"; echo \"$PEM\"";
    let mut terminal = fixture.on_terminal(&["--mask-output"], script).await?;
    terminal.shows("Name of the canary-").await?;
    terminal.type_in("bird\r")?;
    terminal.shows("hello bird").await?;
    assert_eq!(terminal.exit_code().await?, Some(0));
    let shown = terminal.shown();
    assert!(shown.contains("key: ***."), "{shown:?}");
    assert!(!shown.contains("canary-9d27") && !shown.contains("MIIE"), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn output_is_masked_where_that_is_asked_for_in_every_form_and_across_writes() -> Result<()> {
    let fixture = Fixture::new().await?;
    let script = "echo \"$KEY\"; printf '%s' \"$KEY\" | base64; printf 'canary-'; printf '9d27 of '; printf 'the key\\n'; \
                  echo 'canary-9d27%20of%20the%20key'; echo \"$PEM\"; echo \"$KEY\" >&2; printf 'the end: canary-9d27'";
    let (code, stdout, stderr) = fixture.run(&["--mask-output"], script).await?;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "***\n***\n***\n***\n***\n***\n***\n\nthe end: canary-9d27", "nothing else is lost");
    assert_eq!(stderr, "***\n");
    let (_, stdout, _) = fixture.run(&[], "echo \"$KEY\"").await?;
    assert_eq!(stdout, format!("{CANARY}\n"), "whoever runs the agent sees what the program printed");
    Ok(())
}
