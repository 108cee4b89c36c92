//! The driver whose sandboxes are processes of this machine: an agent each, which runs the program.
//!
//! Every instance has a directory of its own below [`ProcessConfig::root`], named by its id, and its agent holds a
//! record lock on a file in it for as long as it lives ([`home`]). That lock, which the kernel gives up when the agent
//! dies and at no other time, is the only truth about what runs: the driver keeps no list that a crash of the control
//! plane could lose, and a second agent for the same instance cannot start.
//!
//! Agents lead a session of their own, so they outlive the control plane, and go on serving until it is back. Where the
//! kernel lets us, each has a control group of its own ([`cgroup`]), which carries its limits and makes its whole tree
//! one thing to kill; elsewhere the tree is found by descent and session ([`tree`]).

mod cgroup;
mod exit;
mod home;
mod launch;
mod ports;
mod tree;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use outrigger_protocol::id::InstanceId;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{Created, Driver, DriverError, DriverFuture, InstanceSpec, Observed};
pub use cgroup::CgroupRoot;
use cgroup::Cgroups;
use exit::Exit;
use home::{Home, Record};
use launch::Launch;
use ports::{PortPair, Ports};

/// How agents are run on this machine.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    pub agent_binary: PathBuf,
    /// One directory per instance is made below it.
    pub root: PathBuf,
    pub cgroups: CgroupRoot,
    /// Where programs are served.
    pub address: IpAddr,
    /// Two ports of these per instance that serves. By default below 32768, where Linux begins to hand out ports to
    /// outgoing connections: under load those would take a port between the look and the bind.
    pub ports: RangeInclusive<u16>,
    /// An agent that ends this soon after it was started did not start.
    pub settle: Duration,
    /// The agent's log is cut when it is longer, whenever the instances are listed; as much again is kept aside.
    pub log_bytes: u64,
}

impl ProcessConfig {
    #[must_use]
    pub fn new(agent_binary: PathBuf, root: PathBuf) -> Self {
        Self {
            agent_binary,
            root,
            cgroups: CgroupRoot::Auto,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: 20_000..=29_999,
            settle: Duration::from_millis(250),
            log_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Starts of one agent before the driver gives up: another process may take a port between the look and the bind.
const ATTEMPTS: u32 = 3;
/// Locks that calls about the same instance share.
const STRIPES: usize = 64;
/// From KILL to the end of a tree; only a process in an uninterruptible wait takes longer.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// From the lock to the record: two system calls.
const RECORD_PATIENCE: Duration = Duration::from_secs(1);
const RECORD_PAUSE: Duration = Duration::from_millis(2);

/// See the module's head. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProcessDriver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ProcessConfig,
    cgroups: Cgroups,
    ports: Ports,
    /// Calls about one instance take turns. A call goes on when its caller stops waiting, so the lock is with it.
    stripes: Vec<Arc<Mutex<()>>>,
}

impl ProcessDriver {
    pub const NAME: &'static str = "process";

    /// # Errors
    /// The agent's program is not there or not executable, or the directory cannot be used.
    pub fn new(mut config: ProcessConfig) -> Result<Self, DriverError> {
        // Agents are started in directories of their own, where a relative path means something else.
        for path in [&mut config.agent_binary, &mut config.root] {
            *path = std::path::absolute(&*path)
                .map_err(|error| DriverError::permanent("find the process driver's paths", error.to_string()))?;
        }
        launch::check_binary(&config.agent_binary)?;
        home::prepare_root(&config.root)?;
        let ports = Ports::new(config.address, config.ports.clone());
        for home in Home::all(&config.root)? {
            if let Some(pair) = home.last_agent().and_then(|last| last.record.ports) {
                ports.claim(home.instance, pair);
            }
        }
        let cgroups = Cgroups::find(&config.cgroups);
        let stripes = (0..STRIPES).map(|_| Arc::default()).collect();
        Ok(Self { shared: Arc::new(Shared { config, cgroups, ports, stripes }) })
    }
}

impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> DriverFuture<'a, Created> {
        let (shared, spec) = (Arc::clone(&self.shared), spec.clone());
        Box::pin(to_its_end("create an instance", async move {
            let _turn = shared.turn(spec.instance).await;
            shared.create(spec).await
        }))
    }

    fn destroy(&self, instance: InstanceId, grace: Duration) -> DriverFuture<'_, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(to_its_end("destroy an instance", async move {
            let _turn = shared.turn(instance).await;
            shared.destroy(instance, grace).await
        }))
    }

    fn list(&self) -> DriverFuture<'_, Vec<Observed>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(blocking("list the instances", move || shared.list()))
    }
}

impl Shared {
    async fn turn(&self, instance: InstanceId) -> OwnedMutexGuard<()> {
        let bytes = instance.to_bytes();
        let stripe = usize::from(bytes[15]) % self.stripes.len();
        Arc::clone(&self.stripes[stripe]).lock_owned().await
    }

    async fn create(self: &Arc<Self>, spec: InstanceSpec) -> Result<Created, DriverError> {
        let spec = Arc::new(spec);
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let (shared, planned) = (Arc::clone(self), Arc::clone(&spec));
            let started = blocking("start the agent", move || shared.start(&planned, attempt)).await?;
            let (created, exit) = match started {
                Started::Running(created) => return Ok(created),
                Started::New(created, child) => (created, Exit::watch(*child)?),
            };
            match exit.within(self.config.settle).await {
                None => return Ok(created),
                Some(status) => last = Some(status),
            }
        }
        let log = Home::of(&self.config.root, spec.instance).log();
        let status = last.unwrap_or_else(|| "no status".to_owned());
        let reason = format!("it ended at once, {ATTEMPTS} times ({status}); see {}", log.display());
        Err(DriverError::transient("start the agent", reason))
    }

    /// One attempt, on a thread that may wait.
    fn start(&self, spec: &InstanceSpec, attempt: u32) -> Result<Started, DriverError> {
        let home = Home::of(&self.config.root, spec.instance);
        if home.holder().is_some() {
            return self.running(&home);
        }
        // The agent is dead; its program may not be.
        self.end_leftovers(&home)?;
        home.prepare(spec.join_token.expose())?;
        let ports = if spec.has_port() { Some(self.ports.reserve(spec.instance, attempt)?) } else { None };
        let groups = self.cgroups.create(spec.instance, spec.limits);
        let record = Record::new(ports, spec.http, groups);
        let launch = Launch { agent: &self.config.agent_binary, home: &home, spec, address: self.config.address };
        match launch.spawn(&record)? {
            Ok(child) => Ok(Started::New(self.created(&record), Box::new(child))),
            // The lock is held: a former control plane forked this agent with its last breath.
            Err(_) if home.holder().is_some() => self.running(&home),
            Err(source) => {
                Err(DriverError::system("start the agent", self.config.agent_binary.display().to_string(), source))
            }
        }
    }

    /// An agent that was there already. It writes its record right after it has taken the lock.
    fn running(&self, home: &Home) -> Result<Started, DriverError> {
        let deadline = Instant::now() + RECORD_PATIENCE;
        loop {
            if let Some(last) = home.last_agent() {
                if let Some(pair) = last.record.ports {
                    self.ports.claim(home.instance, pair);
                }
                return Ok(Started::Running(self.created(&last.record)));
            }
            if Instant::now() >= deadline {
                return Err(DriverError::transient("find an instance's record", home.lock().display().to_string()));
            }
            thread::sleep(RECORD_PAUSE);
        }
    }

    fn created(&self, record: &Record) -> Created {
        let serve = |pair: PortPair| SocketAddr::new(self.config.address, pair.listen).to_string();
        Created { endpoint: record.ports.filter(|_| record.serves).map(serve) }
    }

    async fn destroy(self: &Arc<Self>, instance: InstanceId, grace: Duration) -> Result<(), DriverError> {
        let home = Home::of(&self.config.root, instance);
        if let Some(agent) = home.holder() {
            agent.terminate();
            if agent.ended_within(grace).await? {
                tracing::debug!(instance = %instance, "the agent ended when it was asked to");
            } else {
                tracing::warn!(instance = %instance, grace = ?grace, "the agent did not end when it was asked to");
            }
        }
        let shared = Arc::clone(self);
        blocking("remove an instance", move || shared.remove(&home)).await
    }

    /// Kills whatever is left and removes every trace.
    fn remove(&self, home: &Home) -> Result<(), DriverError> {
        let groups = self.groups(home);
        if let Some(agent) = home.holder()
            && !tree::kill(&agent, &groups, KILL_PATIENCE)
        {
            return Err(DriverError::transient("kill an agent", format!("process {} does not end", agent.pid())));
        }
        self.end_leftovers(home)?;
        cgroup::remove(&groups);
        home.remove()?;
        self.ports.release(home.instance);
        Ok(())
    }

    /// What an agent that died left running.
    fn end_leftovers(&self, home: &Home) -> Result<(), DriverError> {
        let session = home.last_agent().filter(|last| last.record.is_of_this_boot()).map(|last| last.pid);
        if tree::kill_orphans(session, &self.groups(home), KILL_PATIENCE) {
            return Ok(());
        }
        Err(DriverError::transient("kill what a dead agent left", format!("processes of {} do not end", home.instance)))
    }

    /// The control groups of an instance: those that were recorded, and those that a control plane made which did not
    /// live to start the agent.
    fn groups(&self, home: &Home) -> Vec<PathBuf> {
        let mut groups = home.last_agent().map(|last| last.record.groups).unwrap_or_default();
        for group in self.cgroups.of(home.instance) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    fn list(&self) -> Result<Vec<Observed>, DriverError> {
        let homes = Home::all(&self.config.root)?;
        Ok(homes
            .iter()
            .map(|home| {
                home.trim_log(self.config.log_bytes);
                Observed { instance: home.instance, running: home.holder().is_some() }
            })
            .collect())
    }
}

/// What an attempt found or made.
enum Started {
    Running(Created),
    New(Created, Box<std::process::Child>),
}

/// Runs a call that must not stop half-way because its caller stopped waiting.
async fn to_its_end<T: Send + 'static>(
    operation: &'static str,
    call: impl Future<Output = Result<T, DriverError>> + Send + 'static,
) -> Result<T, DriverError> {
    tokio::spawn(call).await.unwrap_or_else(|failed| Err(DriverError::transient(operation, failed.to_string())))
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    call: impl FnOnce() -> Result<T, DriverError> + Send + 'static,
) -> Result<T, DriverError> {
    let done = tokio::task::spawn_blocking(call).await;
    done.unwrap_or_else(|failed| Err(DriverError::transient(operation, failed.to_string())))
}

#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
