//! From the operating system to a [`Sample`]: processor, memory, pressure, disk, network, processes.
//!
//! Once an interval, [`Sampler::sample`] reads a handful of files that stay open and turns counters into rates. Where
//! each figure comes from:
//!
//! - **Usage** (`cpu`, `memory`, `disk`) comes from the control group when the group is the sandbox's own (see
//!   `cgroup::ownership`), and then includes the agent's own few MiB. From a group that others share it would
//!   be the neighbours' usage too: then it is the sum over the program's process tree.
//! - **The limit** is the smallest of what the groups up to the top of the hierarchy allow, what the configuration
//!   says, the processors the program may run on, and what the host has. `cpu` and `memory` are percent of it.
//! - **Throttling** is that of the group the program runs in, shared or not. **OOM kills** are counted only in a group
//!   of its own.
//! - **Pressure** is the group's where version 2 accounts it, otherwise the kernel's.
//! - **Host** figures come from sysinfo.
//!
//! Groups, limits and ownership are looked up again every [`SamplerConfig::limits_interval`], and at once when the
//! program is another process.
//!
//! What must never be true: a file that is missing reported as zero, a counter that was reset reported as a jump, or a
//! line in the log for every sample that lacks something.

mod cgroup;
mod counter;
mod kept_file;
mod network;
mod pressure;
mod process;
mod system;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use self::cgroup::locate::Groups;
use self::cgroup::{CpuAccount, CpuReading, DiskAccount, MemoryAccount, limits, ownership};
use self::counter::Counter;
use self::kept_file::Scratch;
use self::network::Network;
use self::pressure::Pressure;
use self::process::{ProcessTree, TreeReading, Wanted};
use self::system::Host;

/// Values of a full sample, requests included: one allocation instead of six.
const USUAL_VALUES: usize = 40;

/// Which process the program is, as its supervisor says. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ProgramPid(Arc<AtomicU32>);

impl ProgramPid {
    /// `None` while the program is not running.
    pub fn set(&self, pid: Option<u32>) {
        self.0.store(pid.unwrap_or(0), Ordering::Relaxed);
    }

    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }
}

#[derive(Debug, Clone)]
pub struct SamplerConfig {
    /// The directory below which `proc` and the mount points of control groups are: `/`, or a tree of test files.
    pub root: PathBuf,
    pub program: ProgramPid,
    /// A limit that the kernel does not know of, in cores.
    pub cpu_limit_cores: Option<f64>,
    pub memory_limit_bytes: Option<u64>,
    /// How long limits, groups and ownership are believed.
    pub limits_interval: Duration,
}

impl SamplerConfig {
    /// The system's files, no limits beyond the kernel's, looked up every 15 s.
    #[must_use]
    pub fn new(program: ProgramPid) -> Self {
        Self {
            root: PathBuf::from("/"),
            program,
            cpu_limit_cores: None,
            memory_limit_bytes: None,
            limits_interval: Duration::from_secs(15),
        }
    }
}

/// Reads samples. Not to be shared: rates are differences to the previous call.
pub struct Sampler {
    config: SamplerConfig,
    proc: PathBuf,
    /// The agent in the PID namespace of `proc`.
    agent: u32,
    scratch: Scratch,
    host: Host,
    network: Network,
    tree: ProcessTree,
    sandbox: Sandbox,
    looked_up: Option<(Instant, Option<u32>)>,
    counters: Counters,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The control groups the program is in and what they allow.
#[derive(Default)]
struct Sandbox {
    groups: Groups,
    cpu: Option<CpuAccount>,
    memory: Option<MemoryAccount>,
    disk: Option<DiskAccount>,
    pressure: Option<Pressure>,
    owns_cpu: bool,
    owns_memory: bool,
    owns_disk: bool,
    /// Of the groups alone: without one nothing is throttled.
    cpu_quota: Option<f64>,
    cpu_limit: Option<f64>,
    memory_limit: Option<u64>,
}

#[derive(Default)]
struct Counters {
    cpu_ns: Counter,
    periods: Counter,
    throttled: Counter,
    oom_kills: Counter,
    disk_read: Counter,
    disk_written: Counter,
}

impl Sampler {
    /// Opens what it can; what is missing is absent from the samples.
    #[must_use]
    pub fn new(config: SamplerConfig) -> Self {
        let proc = config.root.join("proc");
        let agent = std::fs::read_link(proc.join("self"))
            .ok()
            .and_then(|link| link.to_str()?.parse().ok())
            .unwrap_or_else(std::process::id);
        Self {
            host: Host::open(&proc),
            network: Network::open(&proc),
            tree: ProcessTree::new(&proc, agent),
            scratch: Scratch::new(),
            sandbox: Sandbox::default(),
            looked_up: None,
            counters: Counters::default(),
            agent,
            proc,
            config,
        }
    }

    /// One reading. Rates need a previous one, so the first sample lacks them.
    pub fn sample(&mut self, now: UnixMillis, at: Instant) -> Sample {
        let program = self.config.program.pid();
        let is_fresh =
            |(when, whose)| whose == program && at.saturating_duration_since(when) < self.config.limits_interval;
        if !self.looked_up.is_some_and(is_fresh) {
            self.look_up(program);
            self.looked_up = Some((at, program));
        }
        let mut sample = Sample::new(now);
        sample.values.reserve_exact(USUAL_VALUES);
        let tree = self.read_tree(program, at);
        self.record_cpu(tree.as_ref(), at, &mut sample);
        self.record_memory(tree.as_ref(), at, &mut sample);
        self.record_disk(tree.as_ref(), at, &mut sample);
        if let Some(pressure) = &mut self.sandbox.pressure {
            pressure.record(at, &mut self.scratch, &mut sample);
        }
        self.network.record(at, &mut self.scratch, &mut sample);
        self.host.record(&mut self.scratch, &mut sample);
        sample
    }

    fn read_tree(&mut self, program: Option<u32>, at: Instant) -> Option<TreeReading> {
        let Some(program) = program else {
            self.tree.clear();
            return None;
        };
        let wanted = Wanted { memory: !self.sandbox.owns_memory, disk: !self.sandbox.owns_disk };
        self.tree.read(program, at, wanted, &mut self.scratch)
    }

    fn record_cpu(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let scratch = &mut self.scratch;
        let reading = self.sandbox.cpu.as_mut().map_or_else(CpuReading::default, |account| account.read(scratch));
        let own = self.counters.cpu_ns.per_second(reading.usage_ns, at).map(|ns_per_second| ns_per_second / 1e9);
        let cores = if self.sandbox.owns_cpu { own } else { tree.and_then(|tree| tree.cpu_cores) };
        if let Some(cores) = cores {
            sample.set(Metric::CpuUsage, cores);
        }
        if let Some(limit) = self.sandbox.cpu_limit {
            sample.set(Metric::CpuLimit, limit);
            if let Some(cores) = cores {
                sample.set(Metric::Cpu, cores / limit * 100.0);
            }
        }
        let periods = self.counters.periods.added(reading.periods, at);
        let throttled = self.counters.throttled.added(reading.throttled_periods, at);
        if let (Some(periods), Some(throttled), Some(_)) = (periods, throttled, self.sandbox.cpu_quota) {
            // No period passes while nothing runs.
            let share = if periods == 0 { 0.0 } else { throttled as f64 / periods as f64 };
            sample.set(Metric::CpuThrottled, (share * 100.0).min(100.0));
        }
        if let Some(tree) = tree {
            sample.set(Metric::Processes, tree.processes as f64);
            sample.set(Metric::Threads, tree.threads as f64);
            if let Some(descriptors) = tree.descriptors {
                sample.set(Metric::FileDescriptors, descriptors as f64);
            }
        }
    }

    fn record_memory(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let scratch = &mut self.scratch;
        let (working_set, rss) = match &mut self.sandbox.memory {
            Some(account) if self.sandbox.owns_memory => {
                let reading = account.read(scratch);
                if let Some(kills) = self.counters.oom_kills.added(reading.oom_kills, at) {
                    sample.set(Metric::OomKills, kills as f64);
                }
                (reading.working_set, reading.rss)
            }
            _ => (tree.and_then(|tree| tree.working_set_bytes), tree.and_then(|tree| tree.rss_bytes)),
        };
        if let Some(bytes) = working_set {
            sample.set(Metric::MemoryWorkingSet, bytes as f64);
        }
        if let Some(bytes) = rss {
            sample.set(Metric::MemoryRss, bytes as f64);
        }
        if let Some(limit) = self.sandbox.memory_limit {
            sample.set(Metric::MemoryLimit, limit as f64);
            if let Some(bytes) = working_set {
                sample.set(Metric::Memory, bytes as f64 / limit as f64 * 100.0);
            }
        }
    }

    fn record_disk(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let scratch = &mut self.scratch;
        let (read, write) = match &mut self.sandbox.disk {
            Some(account) if self.sandbox.owns_disk => {
                let (read, written) = account.read(scratch).unzip();
                (self.counters.disk_read.per_second(read, at), self.counters.disk_written.per_second(written, at))
            }
            _ => (tree.and_then(|tree| tree.disk_read_per_second), tree.and_then(|tree| tree.disk_write_per_second)),
        };
        if let Some(rate) = read {
            sample.set(Metric::DiskRead, rate);
        }
        if let Some(rate) = write {
            sample.set(Metric::DiskWrite, rate);
        }
    }

    /// Finds groups, limits and ownership of the program, or of the agent while there is none.
    fn look_up(&mut self, program: Option<u32>) {
        let process = self.proc.join(program.unwrap_or(self.agent).to_string());
        let scratch = &mut self.scratch;
        let groups = Groups::of(&process, &self.config.root, scratch);
        if self.sandbox.groups == groups && self.sandbox.pressure.is_some() {
            self.sandbox.reopen();
        } else {
            self.sandbox = Sandbox::open(groups, &self.proc);
            // Another group's counters have nothing to do with those before.
            self.counters = Counters::default();
        }
        let sandbox = &mut self.sandbox;
        let (proc, agent) = (&self.proc, self.agent);
        let mut owns = |group: &Option<_>| group.as_ref().is_some_and(|g| ownership::is_own(g, proc, agent, scratch));
        sandbox.owns_cpu = owns(&sandbox.groups.usage);
        sandbox.owns_memory = owns(&sandbox.groups.memory);
        sandbox.owns_disk = owns(&sandbox.groups.disk);

        sandbox.cpu_quota = sandbox.groups.bandwidth.as_ref().and_then(|group| limits::cpu_cores(group, scratch));
        let configured = self.config.cpu_limit_cores.filter(|cores| cores.is_finite() && *cores > 0.0);
        let allowed = limits::allowed_processors(&process, scratch);
        sandbox.cpu_limit =
            [sandbox.cpu_quota, configured, allowed, self.host.cores()].into_iter().flatten().reduce(f64::min);

        let memory = sandbox.groups.memory.as_ref().and_then(|group| limits::memory_bytes(group, scratch));
        let configured = self.config.memory_limit_bytes.filter(|bytes| *bytes > 0);
        sandbox.memory_limit = [memory, configured, self.host.memory_bytes()].into_iter().flatten().min();
    }
}

impl Sandbox {
    fn open(groups: Groups, proc: &Path) -> Self {
        let pressure = match &groups.pressure {
            Some(group) if group.dir.join("cpu.pressure").exists() => Pressure::of_cgroup(&group.dir),
            _ => Pressure::of_kernel(proc),
        };
        Self {
            cpu: groups.usage.as_ref().map(|usage| CpuAccount::open(usage, groups.bandwidth.as_ref())),
            memory: groups.memory.as_ref().map(MemoryAccount::open),
            disk: groups.disk.as_ref().map(DiskAccount::open),
            pressure: Some(pressure),
            groups,
            ..Self::default()
        }
    }

    fn reopen(&mut self) {
        self.cpu.iter_mut().for_each(CpuAccount::reopen);
        self.memory.iter_mut().for_each(MemoryAccount::reopen);
        self.disk.iter_mut().for_each(DiskAccount::reopen);
        self.pressure.iter_mut().for_each(Pressure::reopen);
    }
}

#[cfg(test)]
mod tests;
