//! Where a secret must not be found.

use outrigger_protocol::message::ApplyState;

use crate::plane::{Plane, plain, secret};
use crate::sandbox::{Running, Sandbox, contains, text};

const CANARY: &str = "canary-7f3a9c-in-the-coal-mine";

#[test]
fn a_secret_is_in_the_programs_environment_and_nowhere_else() {
    let said = goes_through_everything("text");
    assert!(said.contains("program started"), "it did talk: {said}");
}

#[test]
fn a_log_of_json_tells_as_much_and_no_secret() {
    let said = goes_through_everything("json");
    let mut started = 0;
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for member in ["timestamp", "level", "target", "message"] {
            assert!(line[member].is_string(), "no {member} in {line}");
        }
        started += usize::from(line["message"] == "program started" && line["fields"].is_object());
    }
    assert_eq!(started, 1, "{said}");
}

/// Has a secret go through everything, looks for it everywhere, and answers what the agent said.
fn goes_through_everything(format: &str) -> String {
    let plane = Plane::offering(vec![secret("PASSWORD", CANARY), plain("OTHER", "x")]);
    let sandbox = Sandbox::new(&plane);
    let token = plane.token();
    let options = ["--log-level", "trace", "--log-format", format, "--bake-time", "100ms"];
    let script =
        "echo pid $$; echo \"the password is $PASSWORD\"; printf 'half: canary-7f3a'; printf '9c-in-the-coal-mine\\n'
        exec sleep 1000";
    let agent = Running::start(sandbox.run(&options, &["sh", "-c", script]));
    let program: u32 = agent.line().strip_prefix("pid ").unwrap().parse().unwrap();
    agent.expect_line(&format!("the password is {CANARY}"));
    agent.line();
    plane.wait("all lines were forwarded", |seen| {
        seen.logs.iter().any(|record| record.message.starts_with("half: ")).then_some(())
    });
    plane.report(ApplyState::Applied, 0);
    for record in &plane.seen().logs {
        assert!(!record.message.contains(CANARY), "{}", record.message);
    }
    plane.wait("the line is masked, not lost", |seen| {
        seen.logs.iter().any(|record| record.message == "the password is ***").then_some(())
    });

    let read = |pid: u32, file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
    assert!(contains(&read(program, "environ"), CANARY), "that is where it belongs");
    assert!(!contains(&read(program, "cmdline"), CANARY));
    assert!(!contains(&read(program, "environ"), &token));
    assert!(!contains(&read(agent.pid(), "cmdline"), CANARY));
    // Only root may look at an undumpable process at all.
    if let Ok(environ) = std::fs::read(format!("/proc/{}/environ", agent.pid())) {
        assert!(!contains(&environ, CANARY) && !contains(&environ, &token), "{}", text(&environ));
    }

    // The configuration is kept by now, sealed.
    crate::sandbox::eventually("it is kept", || sandbox.state_dir().join("last-good").exists());
    let mut files = 0;
    for entry in std::fs::read_dir(sandbox.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            assert!(!contains(&std::fs::read(&path).unwrap(), CANARY), "{}", path.display());
        }
    }
    assert!(files >= 3, "identity, lock and cache");

    let output = agent.stop();
    let said = text(&output.stderr);
    assert!(!said.contains(CANARY) && !said.contains(&**token), "{said}");
    said
}

#[test]
fn what_the_program_inherits_is_three_descriptors() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let sandbox = Sandbox::new(&plane);
    let run = sandbox.run(&[], &["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 7</dev/null; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    let output = crate::sandbox::finish(shell.env("OUTRIGGER_JOIN_TOKEN", &*plane.token()));
    // The fourth is the directory that ls reads.
    assert_eq!(text(&output.stdout), "0 1 2 3 ", "{}", text(&output.stderr));
}
