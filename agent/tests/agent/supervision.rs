//! How a program lives and ends under the agent.

use std::time::{Duration, Instant};

use outrigger_protocol::message::{AgentMessage, ProgramState, ServerMessage};
use rustix::process::Signal;

use crate::plane::{Plane, plain};
use crate::sandbox::{Running, Sandbox, children_states, eventually, finish, processes, text, unique_sleep};

fn sandbox() -> (Plane, Sandbox) {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let sandbox = Sandbox::new(&plane);
    (plane, sandbox)
}

/// A duration that only this test's processes sleep for, in a file, so that it stands in no other command line.
fn marked_sleep(sandbox: &Sandbox) -> String {
    let sleep = unique_sleep();
    std::fs::write(sandbox.file("sleep"), &sleep).unwrap();
    sleep
}

#[test]
fn the_programs_exit_code_is_the_agents() {
    let (plane, sandbox) = sandbox();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(sandbox.script(&[], script).status.code(), Some(code), "{script}");
    }
    let exited = |code| move |message: &AgentMessage| *message == AgentMessage::Program(ProgramState::Exited { code });
    for code in [0, 42, 137, 143] {
        plane.wait("the exit is told", |seen| seen.messages.iter().any(exited(code)).then_some(()));
    }
    plane.wait("the goodbye", |seen| {
        (seen.messages.iter().filter(|message| matches!(message, AgentMessage::Goodbye { .. })).count() == 4)
            .then_some(())
    });
}

#[test]
fn what_cannot_be_executed_gives_a_shells_codes_and_one_sentence() {
    let (_plane, sandbox) = sandbox();
    let plain_file = sandbox.file("not-executable");
    std::fs::write(&plain_file, "hello").unwrap();
    let script = sandbox.file("no-interpreter");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (program, code, words) in [
        ("no-such-program", 127, "cannot start `no-such-program`: not found in the PATH of its environment"),
        ("/no/such/program", 127, "cannot start `/no/such/program`: not found"),
        (script.to_str().unwrap(), 127, "the interpreter that it names is not"),
        (plain_file.to_str().unwrap(), 126, "Permission denied"),
    ] {
        let output = finish(&mut sandbox.run(&[], &[program]));
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        assert!(complaint.contains(words) && complaint.lines().count() == 1, "{complaint}");
    }
    for options in [["--nonsense", "x"], ["--sample-interval", "1ms"], ["--stop-grace", "10"]] {
        let mut run = sandbox.run(&options, &["true"]);
        assert_eq!(finish(&mut run).status.code(), Some(2), "{options:?}");
    }
}

#[test]
fn a_signal_reaches_the_program_and_its_answer_is_heard() {
    let (_plane, sandbox) = sandbox();
    let script = "trap 'echo one' USR1; trap 'echo two' HUP; trap 'echo end; exit 7' TERM; echo ready
        while :; do sleep 0.05; done";
    let agent = sandbox.start(&[], script);
    agent.expect_line("ready");
    agent.signal(Signal::USR1);
    agent.expect_line("one");
    agent.signal(Signal::HUP);
    agent.expect_line("two");
    agent.signal(Signal::TERM);
    agent.expect_line("end");
    assert_eq!(agent.wait().status.code(), Some(7));
}

#[test]
fn a_program_that_ignores_term_is_killed_after_the_grace() {
    let (_plane, sandbox) = sandbox();
    let agent = sandbox.start(&["--stop-grace", "300ms"], "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    agent.expect_line("ready");
    let asked = Instant::now();
    let output = agent.stop();
    assert_eq!(output.status.code(), Some(137));
    assert!(asked.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_control_plane_can_stop_it() {
    let (plane, sandbox) = sandbox();
    let agent = sandbox.start(&["--restart", "always"], "echo ready; exec sleep 1000");
    agent.expect_line("ready");
    plane.say(&ServerMessage::Stop { reason: "scaled down".to_owned() });
    assert_eq!(agent.wait().status.code(), Some(143));
}

#[test]
fn orphans_end_with_the_program_wherever_they_went() {
    let (_plane, sandbox) = sandbox();
    let sleep = marked_sleep(&sandbox);
    let go = sandbox.file("go");
    // One in the program's group, one that left it, one whose parent ignores TERM.
    let script = format!(
        "export S=$(cat {0}); sleep $S & setsid sleep $S & sh -c 'trap \"\" TERM; sleep $S' & \
         while [ ! -e {1} ]; do sleep 0.02; done; exit 3",
        sandbox.file("sleep").display(),
        go.display()
    );
    let agent = sandbox.start(&[], &script);
    eventually("three of them sleep", || processes(&sleep).len() >= 3);
    std::fs::write(go, "").unwrap();
    assert_eq!(agent.wait().status.code(), Some(3));
    assert_eq!(processes(&sleep), Vec::<u32>::new());
}

#[test]
fn a_crowd_of_orphans_is_no_problem() {
    let (_plane, sandbox) = sandbox();
    let sleep = marked_sleep(&sandbox);
    let script = format!(
        "S=$(cat {}); i=0; while [ $i -lt 200 ]; do (setsid sleep $S &) ; i=$((i+1)); done; exit 0",
        sandbox.file("sleep").display()
    );
    assert_eq!(sandbox.script(&[], &script).status.code(), Some(0));
    assert_eq!(processes(&sleep), Vec::<u32>::new());
}

#[test]
fn orphans_that_end_are_reaped_while_the_program_runs() {
    let (_plane, sandbox) = sandbox();
    let agent = sandbox
        .start(&[], "i=0; while [ $i -lt 50 ]; do (sleep 0.0$i &) ; i=$((i+1)); done; echo ready; exec sleep 1000");
    agent.expect_line("ready");
    eventually("one child is left, and no zombie", || {
        let states = children_states(agent.pid());
        states.len() == 1 && states[0] != 'Z'
    });
    assert_eq!(agent.stop().status.code(), Some(143));
}

#[test]
fn a_program_does_not_outlive_a_killed_agent() {
    let (_plane, sandbox) = sandbox();
    let sleep = marked_sleep(&sandbox);
    let agent = sandbox.start(&[], &format!("exec sleep $(cat {})", sandbox.file("sleep").display()));
    eventually("the program runs", || processes(&sleep).len() == 1);
    agent.signal(Signal::KILL);
    agent.wait();
    eventually("nothing is left", || processes(&sleep).is_empty());
}

#[test]
fn a_program_that_crashes_is_started_again_after_growing_pauses() {
    let (plane, sandbox) = sandbox();
    let agent = Running::start(sandbox.run(&["--restart", "on-failure"], &["sh", "-c", "echo run; exit 1"]));
    let begun = Instant::now();
    for _ in 0..3 {
        agent.expect_line("run");
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_000), "0.4 s and 0.8 s at the least");
    plane.wait("the back-off is told", |seen| {
        seen.messages.contains(&AgentMessage::Program(ProgramState::Backoff { restarts: 1 })).then_some(())
    });
    let status = text(&sandbox.status("table").stdout);
    assert!(status.contains("restarts"), "{status}");
    // In a pause or not: who asks the agent to leave is obeyed.
    assert!(matches!(agent.stop().status.code(), Some(1 | 143)));
}

#[test]
fn a_success_is_no_reason_to_start_again_on_failure_only() {
    let (_plane, sandbox) = sandbox();
    assert_eq!(sandbox.script(&["--restart", "on-failure"], "exit 0").status.code(), Some(0));
}

#[test]
fn output_arrives_whole_and_unchanged() {
    let (_plane, sandbox) = sandbox();
    let output = sandbox.script(&[], "seq 1 20000; printf '\\033[1mbold\\033[0m, no end'; echo oops >&2");
    let seen = text(&output.stdout);
    assert!(seen.starts_with("1\n2\n") && seen.ends_with("20000\n\u{1b}[1mbold\u{1b}[0m, no end"));
    assert_eq!(seen.lines().count(), 20_001);
    assert_eq!(text(&output.stderr), "oops\n");
}

#[test]
fn lines_are_forwarded_while_the_program_runs() {
    let (plane, sandbox) = sandbox();
    let running = sandbox.start(&[], "echo fine; echo oops >&2; exec sleep 600");
    plane.wait("both lines arrive", |seen| {
        let heard = |line: &str| seen.logs.iter().any(|record| record.message == line);
        (heard("fine") && heard("oops")).then_some(())
    });
    assert_eq!(running.stop().status.code(), Some(128 + 15));
}

#[test]
fn another_user_is_really_another_user() {
    let (_plane, sandbox) = sandbox();
    let output = sandbox.script(&["--user", "nobody"], "id -un; echo $HOME $USER");
    if rustix::process::geteuid().is_root() {
        let seen = text(&output.stdout);
        assert!(seen.starts_with("nobody\n") && seen.ends_with(" nobody\n"), "{seen} {}", text(&output.stderr));
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("only root"), "{}", text(&output.stderr));
    }
}
