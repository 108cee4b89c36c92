//! The directory of one instance, and the lock by which its agent is known.
//!
//! ```text
//! ins_…/lock           the agent holds a record lock on it; its first line is the agent's process id, its second
//!                      what the driver chose for it (JSON): ports, control groups, the boot
//!       join-token     0600
//!       state/         the agent's: identity, last known good configuration
//!       work/          the working directory of the agent and its program
//!       statsd.sock    while an agent runs whose program sends StatsD
//!       agent.log      what both wrote to stdout and stderr; agent.log.1 is what was cut off
//! ```
//!
//! The lock file is written by the one who holds the lock, between fork and exec, so that it always speaks of the
//! agent that runs or ran last, and never of one that lost the race.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use outrigger_protocol::id::InstanceId;
use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};
use serde::{Deserialize, Serialize};

use super::exit::Agent;
use super::ports::PortPair;
use crate::DriverError;

/// What the driver has to know again after a restart of the control plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    boot: String,
    pub(super) ports: Option<PortPair>,
    /// Requests come in by the first of the ports. Otherwise the program has the second for its metrics alone.
    #[serde(default = "serves_by_default")]
    pub(super) serves: bool,
    pub(super) groups: Vec<PathBuf>,
}

const RECORD_VERSION: u32 = 1;
/// `sun_path` without its NUL (unix(7)).
const SOCKET_PATH_BYTES: usize = 107;
/// Larger than any record; what is larger is not ours.
const RECORD_BYTES: u64 = 64 * 1024;

/// In records from before a program had a port for other than requests.
const fn serves_by_default() -> bool {
    true
}

impl Record {
    pub(super) fn new(ports: Option<PortPair>, serves: bool, groups: Vec<PathBuf>) -> Self {
        Self { version: RECORD_VERSION, boot: boot_id(), ports, serves, groups }
    }

    /// The second line of the lock file.
    pub(super) fn to_line(&self) -> Result<Vec<u8>, DriverError> {
        let mut line = serde_json::to_vec(self)
            .map_err(|failed| DriverError::permanent("write an instance's record", failed.to_string()))?;
        line.push(b'\n');
        Ok(line)
    }

    /// Process ids of another boot mean nothing.
    pub(super) fn is_of_this_boot(&self) -> bool {
        self.boot == boot_id()
    }
}

/// Of random(4): one value per boot.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The agent that wrote the lock file.
#[derive(Debug, Clone)]
pub(super) struct LastAgent {
    /// Also its session.
    pub(super) pid: Pid,
    pub(super) record: Record,
}

/// One instance's directory, which need not exist.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) instance: InstanceId,
    path: PathBuf,
}

pub(super) fn prepare_root(root: &Path) -> Result<(), DriverError> {
    make_directory(root).map_err(|source| failed("create the directory of the instances", root, source))
}

impl Home {
    pub(super) fn of(root: &Path, instance: InstanceId) -> Self {
        Self { instance, path: root.join(instance.to_string()) }
    }

    /// Every directory that is named like an instance.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>, DriverError> {
        let entries = fs::read_dir(root).map_err(|source| failed("list the instances", root, source))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).map(|instance| Self::of(root, instance)).collect())
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("agent.log")
    }

    pub(super) fn join_token(&self) -> PathBuf {
        self.path.join("join-token")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Where the agent listens for StatsD, beside UDP. Absent where the path is longer than a socket's may be, or no text.
    pub(super) fn statsd(&self) -> Option<String> {
        let path = self.path.join("statsd.sock").into_os_string().into_string().ok()?;
        (path.len() <= SOCKET_PATH_BYTES).then_some(path)
    }

    /// Where the agent puts the environment for programs that read it from a file. In memory where that can be had:
    /// it holds secrets. Named by the driver so that the driver can remove it when the agent could not.
    pub(super) fn env_file(&self) -> PathBuf {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory.join(format!("outrigger-{}.env", self.instance)) } else { self.path.join("env") }
    }

    /// Makes what an agent needs to start; what is there stays, above all the agent's identity.
    pub(super) fn prepare(&self, join_token: &str) -> Result<(), DriverError> {
        let make = || {
            for directory in [&self.path, &self.state(), &self.work()] {
                make_directory(directory)?;
            }
            let mut file = private().write(true).create(true).truncate(true).open(self.join_token())?;
            file.write_all(join_token.as_bytes())
        };
        make().map_err(|source| failed("prepare an instance's directory", &self.path, source))
    }

    /// The agent that ran last, or runs. Absent when none ever took the lock.
    pub(super) fn last_agent(&self) -> Option<LastAgent> {
        let mut text = String::new();
        File::open(self.lock()).ok()?.take(RECORD_BYTES).read_to_string(&mut text).ok()?;
        let (pid, record) = text.split_once('\n')?;
        let record: Record = serde_json::from_str(record).ok()?;
        let pid = pid.parse().ok().and_then(Pid::from_raw)?;
        (record.version == RECORD_VERSION).then_some(LastAgent { pid, record })
    }

    /// The agent that holds the lock: the one that runs.
    pub(super) fn holder(&self) -> Option<Agent> {
        let file = OpenOptions::new().read(true).write(true).open(self.lock()).ok()?;
        let held_by =
            || fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok().flatten().and_then(|lock| lock.pid);
        let pid = held_by()?;
        let agent = Agent::open(pid)?;
        // The lock is asked again once the process is pinned: if it still holds, the number was not reused meanwhile.
        (held_by() == Some(pid)).then_some(agent)
    }

    /// Cuts a log that has grown too long. The agent appends, so that it goes on at the new end; what it writes
    /// between the copy and the cut is lost.
    pub(super) fn trim_log(&self, limit: u64) {
        let trim = || -> io::Result<()> {
            let mut log = OpenOptions::new().read(true).write(true).open(self.log())?;
            let length = log.metadata()?.len();
            if length > limit {
                log.seek(SeekFrom::Start(length - limit))?;
                let aside = self.log().with_extension("log.1");
                let mut aside = private().write(true).create(true).truncate(true).open(aside)?;
                io::copy(&mut (&log).take(limit), &mut aside)?;
                log.set_len(0)?;
            }
            Ok(())
        };
        match trim() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(instance = %self.instance, error = %error, "cannot cut the agent's log");
            }
            _ => {}
        }
    }

    pub(super) fn remove(&self) -> Result<(), DriverError> {
        // Not there, unless the agent was killed.
        let _ = fs::remove_file(self.env_file());
        match fs::remove_dir_all(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove an instance's directory", &self.path, source))
            }
            _ => Ok(()),
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> DriverError {
    DriverError::system(operation, path.display().to_string(), source)
}
