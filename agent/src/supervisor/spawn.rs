//! Starting a process: everything that happens between fork and exec.
//!
//! The child executes itself instead of leaving that to the standard library: the environment goes from zeroised
//! buffers straight to the kernel, without copies that nobody would wipe, and the search along PATH is the one of the
//! program's own environment. Between fork and exec nothing is allocated and nothing is locked.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::exec::{Exec, SpawnError};
use super::{Account, Terminal};
use crate::console::Pty;
use crate::environment::Prepared;

/// What one of the program's standard streams is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The agent's own.
    Inherited,
    /// A pipe that the agent reads.
    Pipe,
    /// The program's own terminal.
    Terminal,
}

/// All three of them. When there is a terminal, stdout is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    pub stdin: Stream,
    pub stdout: Stream,
    pub stderr: Stream,
}

/// How a child stands to the agent's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// In a group of its own, in the background.
    Apart,
    /// In a group of its own, which is put in front.
    Foreground,
    /// In a session of its own, on the terminal that its stdout is.
    OwnTerminal,
}

/// What every start of a program has in common.
#[derive(Debug)]
pub struct Program {
    /// Never empty.
    pub command: Vec<OsString>,
    pub account: Option<Account>,
    pub core_limit: Rlimit,
    pub streams: Streams,
}

/// A program that was started. The pipes, and the agent's end of its terminal, are there when they were asked for.
#[derive(Debug)]
pub struct Launched {
    pub pid: Pid,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
}

/// Makes this process immune to TTOU, so that it may hand the terminal over and take it back from the background.
pub(super) fn ignore_background_output() {
    // SAFETY: replaces a disposition; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
}

/// Starts the program in a process group of its own, or in a session of its own on a terminal of its own.
pub(super) fn spawn(program: &Program, environment: &Prepared, terminal: Terminal) -> Result<Launched, SpawnError> {
    let Streams { stdin, stdout, stderr } = program.streams;
    let failed = |source| SpawnError::classify(&program.command[0], environment, source);
    let owner = program.account.as_ref().map(|account| (account.uid, account.gid));
    let pty = (stdout == Stream::Terminal).then(|| Pty::open(owner)).transpose().map_err(SpawnError::Terminal)?;
    let standing = match &pty {
        Some(_) => Standing::OwnTerminal,
        None if terminal.is_handed_over() => Standing::Foreground,
        None => Standing::Apart,
    };
    let stdio = |stream| -> io::Result<Stdio> {
        Ok(match (stream, &pty) {
            (Stream::Pipe, _) => Stdio::piped(),
            (Stream::Terminal, Some(pty)) => pty.far.try_clone()?.into(),
            (Stream::Inherited, _) | (Stream::Terminal, None) => Stdio::inherit(),
        })
    };
    let streams = [stdio(stdin).map_err(failed)?, stdio(stdout).map_err(failed)?, stdio(stderr).map_err(failed)?];
    let mut child = execute(&program.command, program, environment, standing, streams)?;
    Ok(Launched {
        pid: Pid::from_child(&child),
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
        terminal: pty.map(|pty| pty.near),
    })
}

/// Starts a command beside the program, as the same user and with the same environment, in a process group of its own.
/// It has nothing to read, and nobody hears what it says.
pub(super) fn spawn_aside(command: &[OsString], program: &Program, environment: &Prepared) -> Result<Pid, SpawnError> {
    let child = execute(command, program, environment, Standing::Apart, [Stdio::null(), Stdio::null(), Stdio::null()])?;
    Ok(Pid::from_child(&child))
}

/// `streams` are stdin, stdout and stderr.
fn execute(
    arguments: &[OsString],
    program: &Program,
    environment: &Prepared,
    standing: Standing,
    streams: [Stdio; 3],
) -> Result<Child, SpawnError> {
    let exec = Exec::new(arguments, environment)?;
    let mut command = Command::new(OsStr::from_bytes(exec.first().to_bytes()));
    command.env_clear();
    // A leader of a group cannot begin a session, which comes with a group of its own.
    if standing != Standing::OwnTerminal {
        command.process_group(0);
    }
    let [stdin, stdout, stderr] = streams;
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let account = program.account.clone();
    let core_limit = program.core_limit;
    let agent = rustix::process::getpid();
    // SAFETY: the closure runs in the forked child. It makes system calls and reads memory that was prepared before the
    // fork; it neither allocates nor takes a lock. What `exec` points to outlives the call of `spawn` below.
    unsafe {
        command.pre_exec(move || {
            prepare_child(account.as_ref(), core_limit, standing, agent)?;
            Err(exec.run())
        });
    }
    command.spawn().map_err(|error| SpawnError::classify(&arguments[0], environment, error))
}

/// In the child: a clean signal state, the terminal, limits, and last the other user.
fn prepare_child(account: Option<&Account>, core_limit: Rlimit, standing: Standing, agent: Pid) -> io::Result<()> {
    match standing {
        Standing::Apart => {}
        Standing::Foreground => rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())?,
        Standing::OwnTerminal => {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdout())?;
        }
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
