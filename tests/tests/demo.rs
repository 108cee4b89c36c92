//! `outrigger demo`, as a newcomer sees it: on a pipe, and on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use outrigger_tests::{Workplace, binary, command_lines, eventually};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What has to have been shown by then is promised for this long.
const SHOW: Duration = Duration::from_secs(45);

fn demo(data: &Path) -> Command {
    let mut command = Command::new(binary("outrigger"));
    // Under cargo it would build an agent, where the one beside it is to be shown.
    command.arg("demo").arg("--data-dir").arg(data).env_remove("CARGO").stderr(Stdio::inherit());
    command
}

fn left_over(data: &Path) -> Vec<String> {
    let data = data.display().to_string();
    command_lines().into_iter().filter(|line| line.contains(&data)).collect()
}

#[test]
fn in_45_seconds_it_shows_a_scale_up_a_push_and_a_scale_down_and_leaves_nothing() -> Result<()> {
    let workplace = Workplace::new()?;
    let data = workplace.data();
    let output = demo(&data).arg("--duration").arg(SHOW.as_secs().to_string()).output()?;
    let shown = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {shown}", output.status);
    for wanted in
        ["scaled up 1 -> 3: ", "scaled down 3 -> 2: ", "config generation 2 running on 3 of 3", "the service answers"]
    {
        ensure!(shown.contains(wanted), "`{wanted}` is missing:\n{shown}");
    }
    let curls: Vec<&str> = shown.lines().filter(|line| line.starts_with("curl ")).collect();
    ensure!(curls.len() == 3, "three lines to try:\n{shown}");
    ensure!(left_over(&data).is_empty(), "still running: {:?}", left_over(&data));
    Ok(())
}

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    fn start(mut command: Command) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 })?;
        let slave = rustix::fs::open(ptsname(&master, Vec::new())?, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        let end = || -> Result<OwnedFd> { Ok(slave.try_clone()?) };
        let child = command.stdin(end()?).stdout(end()?).stderr(end()?).env("TERM", "xterm").spawn()?;
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone()?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&shown);
        // Ends with an error when the last program has let go of the terminal.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                writer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self { child, keyboard, shown })
    }

    fn has_shown(&self, text: &str) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).contains(text)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn ctrl_c_on_a_terminal_ends_it_cleanly() -> Result<()> {
    let workplace = Workplace::new()?;
    let data = workplace.data();
    let mut demo = OnTerminal::start(demo(&data))?;
    eventually("the demo shows its instances", async || Ok(demo.has_shown("RUNNING").then_some(()))).await?;
    // What a terminal in raw mode passes on for ctrl-c.
    demo.keyboard.write_all(b"\x03")?;
    let child = &mut demo.child;
    let ended = Mutex::new(child);
    let status =
        eventually("the demo ends", async || Ok(ended.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?))
            .await?;
    ensure!(status.success(), "{status}");
    ensure!(demo.has_shown("stopping: "), "it says what it does");
    ensure!(left_over(&data).is_empty(), "still running: {:?}", left_over(&data));
    Ok(())
}
