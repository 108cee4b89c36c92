//! Starting a process: everything that happens between fork and exec, and the only unsafe code of the supervisor.
//!
//! The child executes itself instead of leaving that to the standard library: the environment goes from zeroised
//! buffers straight to the kernel, without copies that nobody would wipe, and the search along PATH is the one of the
//! program's own environment. Between fork and exec nothing is allocated and nothing is locked.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString, c_char};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::{Account, Terminal};
use crate::environment::Prepared;

/// Where programs are looked for when the environment has no PATH (confstr(3), `_CS_PATH`, and the local tree).
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// Who receives the program's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    pub stdout: bool,
    pub stderr: bool,
}

/// What every start of a program has in common.
#[derive(Debug)]
pub struct Program {
    /// Never empty.
    pub command: Vec<OsString>,
    pub account: Option<Account>,
    pub core_limit: Rlimit,
    pub capture: Capture,
}

/// A program that was started. The pipes are there when they were asked for.
#[derive(Debug)]
pub struct Launched {
    pub pid: Pid,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot start `{program}`: not found{whereabouts}")]
    NotFound { program: String, whereabouts: &'static str },
    #[error("cannot start `{program}`")]
    NotExecutable {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "cannot start `{program}`: its arguments and environment are more than the kernel takes (E2BIG, execve(2))"
    )]
    TooLarge { program: String },
    #[error("cannot create a process for `{program}`")]
    Process {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("an argument of the command contains a NUL byte")]
    Nul,
}

impl SpawnError {
    /// What a shell would answer: 127 not found, 126 found and not executable; 1 when it was not the program's fault.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } | Self::TooLarge { .. } => 126,
            Self::Process { .. } | Self::Nul => 1,
        }
    }
}

/// Makes this process immune to TTOU, so that it may hand the terminal over and take it back from the background.
pub(super) fn ignore_background_output() {
    // SAFETY: replaces a disposition; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
}

/// Starts the program in a process group of its own.
pub(super) fn spawn(program: &Program, environment: &Prepared, terminal: Terminal) -> Result<Launched, SpawnError> {
    let exec = Exec::new(program, environment)?;
    let mut command = Command::new(OsStr::from_bytes(exec.candidates[0].as_bytes()));
    command.env_clear().process_group(0);
    command.stdout(if program.capture.stdout { Stdio::piped() } else { Stdio::inherit() });
    command.stderr(if program.capture.stderr { Stdio::piped() } else { Stdio::inherit() });
    let account = program.account.clone();
    let core_limit = program.core_limit;
    let foreground = terminal.is_owned();
    let agent = rustix::process::getpid();
    // SAFETY: the closure runs in the forked child. It makes system calls and reads memory that was prepared before the
    // fork; it neither allocates nor takes a lock. What `exec` points to outlives the call of `spawn` below.
    unsafe {
        command.pre_exec(move || {
            prepare_child(account.as_ref(), core_limit, foreground, agent)?;
            Err(exec.run())
        });
    }
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| classify(program, environment, error))?;
    Ok(Launched {
        pid: Pid::from_child(&child),
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
    })
}

/// In the child: a clean signal state, the terminal, limits, and last the other user.
fn prepare_child(account: Option<&Account>, core_limit: Rlimit, foreground: bool, agent: Pid) -> io::Result<()> {
    if foreground {
        rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())?;
    }
    // SAFETY: plain calls on a local set; both are async-signal-safe (signal-safety(7)).
    unsafe {
        libc::signal(libc::SIGTTOU, libc::SIG_DFL);
        let mut nothing: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut nothing);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const nothing, ptr::null_mut());
    }
    rustix::process::setrlimit(Resource::Core, core_limit)?;
    if let Some(account) = account {
        rustix::thread::set_thread_groups(&account.groups)?;
        rustix::thread::set_thread_res_gid(account.gid, account.gid, account.gid)?;
        rustix::thread::set_thread_res_uid(account.uid, account.uid, account.uid)?;
    }
    // Nothing outlives its supervisor. After the change of user, which clears it; and the agent may be gone by now.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().is_some_and(|parent| parent != agent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// The arguments of execve(2), laid out before the fork.
struct Exec {
    /// Never empty. The files to try, in the order of PATH.
    candidates: Vec<CString>,
    /// What `arguments` points to.
    _owned: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

// SAFETY: the pointers are read by the one thread of the forked child alone. `arguments` points into `_owned`;
// `environment` points into the `Prepared` that `spawn` borrows until the child was executed or has failed.
unsafe impl Send for Exec {}
// SAFETY: as above.
unsafe impl Sync for Exec {}

impl Exec {
    fn new(program: &Program, environment: &Prepared) -> Result<Self, SpawnError> {
        let name = program.command[0].as_bytes();
        let candidates = candidates(name, environment)?;
        let owned: Vec<CString> = program
            .command
            .iter()
            .map(|argument| CString::new(argument.as_bytes()).map_err(|_| SpawnError::Nul))
            .collect::<Result<_, _>>()?;
        let arguments = owned.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
        let environment = environment.strings().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { candidates, _owned: owned, arguments, environment })
    }

    /// Tries one file after the other, as execvp(3) does. Returns only when none could be executed.
    fn run(&self) -> io::Error {
        let mut denied = false;
        for candidate in &self.candidates {
            // SAFETY: all three point to NUL-terminated strings, in NULL-terminated arrays.
            unsafe { libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => {}
                Some(libc::EACCES) => denied = true,
                _ => return error,
            }
        }
        io::Error::from_raw_os_error(if denied { libc::EACCES } else { libc::ENOENT })
    }
}

fn candidates(name: &[u8], environment: &Prepared) -> Result<Vec<CString>, SpawnError> {
    let file = |path: Vec<u8>| CString::new(path).map_err(|_| SpawnError::Nul);
    if name.contains(&b'/') || name.is_empty() {
        return Ok(vec![file(name.to_vec())?]);
    }
    let path = environment.value(b"PATH").unwrap_or(DEFAULT_PATH);
    path.split(|byte| *byte == b':')
        .map(|directory| match directory {
            b"" => file(name.to_vec()),
            directory => file([directory, b"/", name].concat()),
        })
        .collect()
}

fn classify(program: &Program, environment: &Prepared, source: io::Error) -> SpawnError {
    let name = &program.command[0];
    let shown = name.to_string_lossy().into_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT) => {
            let files = candidates(name.as_bytes(), environment).unwrap_or_default();
            let exists = files.iter().any(|file| Path::new(OsStr::from_bytes(file.as_bytes())).exists());
            let whereabouts = if exists {
                " (the file is there, but the interpreter that it names is not)"
            } else if name.as_bytes().contains(&b'/') {
                ""
            } else {
                " in the PATH of its environment"
            };
            SpawnError::NotFound { program: shown, whereabouts }
        }
        Some(libc::E2BIG) => SpawnError::TooLarge { program: shown },
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EPERM | libc::ESRCH) | None => {
            SpawnError::Process { program: shown, source }
        }
        Some(_) => SpawnError::NotExecutable { program: shown, source },
    }
}
