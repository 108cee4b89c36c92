//! Starting one agent.
//!
//! Between fork and exec the child leads a new session, joins its control groups and takes the lock of its instance.
//! It inherits the lock's descriptor and nothing else, and an environment that holds none of the control plane's own
//! variables: the master key may be among them.
#![allow(unsafe_code, reason = "what a child does between fork and exec")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock, ftruncate, open};
use rustix::process::{getpid, setsid};

use super::home::{Home, Record};
use super::ports::PortPair;
use crate::{DriverError, InstanceSpec, Observation, Scrape};

/// What an agent gets of the control plane's own environment.
const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// More than `PID_MAX_LIMIT` has.
const PID_DIGITS: usize = 16;

pub(super) struct Launch<'a> {
    pub(super) agent: &'a Path,
    pub(super) home: &'a Home,
    pub(super) spec: &'a InstanceSpec,
    pub(super) address: IpAddr,
}

/// # Errors
/// There is no file that can be executed.
pub(super) fn check_binary(path: &Path) -> Result<(), DriverError> {
    let shown = || path.display().to_string();
    let metadata = std::fs::metadata(path).map_err(|source| DriverError::system("find the agent", shown(), source))?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        return Ok(());
    }
    Err(DriverError::permanent("find the agent", format!("{} is not an executable file", shown())))
}

impl Launch<'_> {
    /// The inner error is that of the start itself, which a lock that is held explains.
    pub(super) fn spawn(&self, record: &Record) -> Result<io::Result<Child>, DriverError> {
        let line = record.to_line()?;
        Ok(self.fork(record, line))
    }

    fn fork(&self, record: &Record, line: Vec<u8>) -> io::Result<Child> {
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(self.home.log())?;
        let lock = CString::new(self.home.lock().as_os_str().as_bytes())?;
        let joins: Vec<File> = record
            .groups
            .iter()
            .filter_map(|group| OpenOptions::new().write(true).open(group.join("cgroup.procs")).ok())
            .collect();
        let mut command = self.command(record);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: the closure runs in the child of a process with several threads, where only async-signal-safe
        // functions are allowed. It makes system calls through rustix, which issues them directly; it neither
        // allocates nor frees nor takes a lock: paths and descriptors were prepared before, and are not dropped.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                for group in &joins {
                    // A group that cannot be joined limits nothing; the agent runs all the same.
                    let _ = rustix::io::write(group, b"0");
                }
                // Left open across exec on purpose: the lock lasts as long as this process.
                let _ = take_lock(&lock, &line)?.into_raw_fd();
                Ok(())
            });
        }
        command.spawn()
    }

    fn command(&self, record: &Record) -> Command {
        let Self { home, spec, .. } = self;
        let mut command = Command::new(self.agent);
        command.env_clear().envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.current_dir(home.work());
        command.arg("run").arg("--control-plane").arg(spec.agents_address.to_string());
        command.arg("--server-name").arg(&spec.server_name);
        command.arg("--join-token-file").arg(home.join_token());
        command.arg("--state-dir").arg(home.state());
        command.arg("--env-file").arg(home.env_file());
        command.arg("--stop-grace").arg(format!("{}ms", spec.stop_grace.as_millis()));
        command.args(["--restart", "always"]);
        if let Some(PortPair { listen, upstream }) = record.ports {
            if record.serves {
                command.arg("--proxy").arg(format!("{}={}", self.at(listen), self.at(upstream)));
            }
            command.arg("--env").arg(format!("PORT={upstream}"));
        }
        self.observe(record, &mut command);
        command.arg("--").args(&spec.command);
        command
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Where the program's own metrics are found. No two instances share an address.
    fn observe(&self, record: &Record, command: &mut Command) {
        let Observation { scrape, statsd, metrics } = &self.spec.observe;
        if let Some(Scrape { port, path, interval }) = scrape
            && let Some(port) = port.or(record.ports.map(|pair| pair.upstream))
        {
            command.arg("--scrape").arg(format!("http://{}{path}", self.at(port)));
            if let Some(interval) = interval {
                command.arg("--scrape-interval").arg(format!("{}ms", interval.as_millis()));
            }
            if !self.address.is_loopback() {
                // An address of this machine all the same: it is the one that programs serve on.
                command.arg("--scrape-remote");
            }
        }
        if *statsd {
            // The kernel picks a free port; the agent tells its program which.
            command.arg("--statsd").arg(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string());
            if let Some(path) = self.home.statsd() {
                command.arg("--statsd").arg(format!("unix:{path}"));
            }
        }
        // In one argument each, or a selector that begins with a dash would be read as a flag.
        command.args(metrics.iter().map(|rule| format!("--metric={rule}")));
    }
}

/// Opens and locks the file of an instance and writes the own process id and `record` into it. Async-signal-safe.
///
/// The lock is a record lock (fcntl(2)): it belongs to this process alone, survives exec, is not inherited by the
/// program that the agent will start, and the kernel tells whoever asks which process holds it.
fn take_lock(path: &CString, record: &[u8]) -> io::Result<OwnedFd> {
    let file = open(path, OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)?;
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    ftruncate(&file, 0)?;
    let mut text = [0; PID_DIGITS];
    let mut rest = &mut text[..];
    // Formatting a number into a buffer on the stack allocates nothing.
    writeln!(rest, "{}", getpid().as_raw_nonzero())?;
    let length = PID_DIGITS - rest.len();
    rustix::io::write(&file, &text[..length])?;
    rustix::io::write(&file, record)?;
    Ok(file)
}
