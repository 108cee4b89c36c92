use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::wait::eventually;

/// What a terminal has before anybody says otherwise.
const SIZE: (u16, u16) = (40, 120);

/// A program on a pseudo-terminal of its own. Dropping it kills the program.
#[derive(Debug)]
pub struct OnTerminal {
    program: Child,
    keyboard: File,
    /// What the program has as its terminal.
    far: OwnedFd,
    name: String,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl OnTerminal {
    /// Starts a program with the terminal as its input and outputs. For keys to become signals, it has to make that its
    /// controlling terminal: see [`in_session`](Self::in_session).
    ///
    /// # Errors
    /// There is no terminal, or the program cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&near)?;
        unlockpt(&near)?;
        tcsetwinsize(&near, size(SIZE.0, SIZE.1))?;
        let name = ptsname(&near, Vec::new())?;
        let far = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        let end = || -> Result<OwnedFd> { Ok(far.try_clone()?) };
        let program = command.stdin(end()?).stdout(end()?).stderr(Stdio::from(end()?)).env("TERM", "xterm").spawn()?;
        let keyboard = File::from(near);
        let mut screen = keyboard.try_clone()?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&shown);
        // Ends with an error when the last one has let go of the terminal.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                writer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self { program, keyboard, far, name: name.to_string_lossy().into_owned(), shown })
    }

    /// A command that runs `program` in the foreground of a session of its own, whose terminal it has.
    #[must_use]
    pub fn in_session(program: &std::path::Path) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program);
        command
    }

    /// All that the terminal has shown.
    #[must_use]
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until it has shown a text.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn shows(&self, text: &str) -> Result<()> {
        self.shows_times(text, 1).await
    }

    /// Waits until it has shown a text so many times.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn shows_times(&self, text: &str, times: usize) -> Result<()> {
        let found = eventually(text, async || Ok((self.shown().matches(text).count() >= times).then_some(()))).await;
        found.with_context(|| format!("shown: {:?}", self.shown()))
    }

    /// # Errors
    /// The terminal is gone.
    pub fn type_in(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// # Errors
    /// The terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.keyboard, size(rows, columns))?)
    }

    /// What the terminal is called, `/dev/pts/7`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// The terminal is gone.
    pub fn modes(&self) -> Result<Termios> {
        Ok(tcgetattr(&self.far)?)
    }

    /// Whether keys go to the program as they are, unseen.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn is_raw(&self) -> Result<bool> {
        let modes = self.modes()?.local_modes;
        Ok(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG))
    }

    /// Waits for the program to end.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let program = Mutex::new(&mut self.program);
        let ended = eventually("the program ends", async || {
            Ok(program.lock().unwrap_or_else(PoisonError::into_inner).try_wait()?)
        });
        ended.await
    }

    /// Waits for the program's exit code; there is none when a signal ended it.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn exit_code(&mut self) -> Result<Option<i32>> {
        Ok(self.ended().await?.code())
    }

    /// # Errors
    /// The program has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.program.id().try_into()?).context("a process")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

const fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
