//! From the operating system to a [`Sample`]: processor, memory, pressure, disk, network, processes.
//!
//! Once an interval, [`Sampler::sample`] reads a handful of files that stay open and turns counters into rates. Where
//! each figure comes from, in short (docs/metrics.md has the long form):
//!
//! - **Usage** (`cpu`, `memory`, `disk`) comes from the control group when the group is the sandbox's own (see
//!   `cgroup::ownership`) and the kernel accounts it there; it then includes the agent's own few MiB. From a group that
//!   others share it would be the neighbours' usage too: then it is the sum over the program's process tree.
//! - **The limit** is the smallest of what the groups up to the top of the hierarchy allow, what the configuration
//!   says, the processors the program may run on, and what the host has. `cpu` and `memory` are percent of it.
//! - **Throttling** is that of the group whose quota applies, shared or not. **OOM kills** are counted only in a group
//!   of the sandbox's own.
//! - **Pressure** is the group's where version 2 accounts it, otherwise the kernel's.
//! - **Network** is the namespace's that the program is in.
//! - **Host** figures come from sysinfo.
//!
//! Groups, limits and ownership are looked up again every [`SamplerConfig::limits_interval`], and at once when the
//! program is another process or a group is gone. What may not be read of the program is read of the agent, beside which
//! it was started.
//!
//! What must never be true: a file that is missing reported as zero, a counter that was reset reported as a jump, a
//! duration by a clock that can be set, or a line in the log for every sample that lacks something.

mod cgroup;
mod counter;
mod kept_file;
mod network;
mod pressure;
mod process;
mod sandbox;
mod system;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use self::cgroup::locate::Groups;
use self::kept_file::Scratch;
use self::network::Network;
use self::process::{ProcessTree, TreeReading, Wanted};
use self::sandbox::{Sandbox, Seat};
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
    /// When, and of which program; `None` to look up with the next sample.
    looked_up: Option<(Instant, Option<u32>)>,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("config", &self.config).finish_non_exhaustive()
    }
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
            network: Network::open(&proc.join(agent.to_string())),
            tree: ProcessTree::new(&proc, agent),
            scratch: Scratch::new(),
            sandbox: Sandbox::default(),
            looked_up: None,
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
        self.host.record(at, &mut self.scratch, &mut sample);
        if self.sandbox.has_lost_a_group() {
            // Soon, and not for every sample: it may be a file that can be opened and never read.
            let soon = self.config.limits_interval / 10;
            self.looked_up.take_if(|(when, _)| at.saturating_duration_since(*when) >= soon);
        }
        sample
    }

    fn read_tree(&mut self, program: Option<u32>, at: Instant) -> Option<TreeReading> {
        let Some(program) = program else {
            self.tree.clear();
            return None;
        };
        let wanted = Wanted { memory: self.sandbox.memory.is_none(), disk: self.sandbox.disk.is_none() };
        self.tree.read(program, at, wanted, &mut self.scratch)
    }

    fn record_cpu(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let mut cores = tree.and_then(|tree| tree.cpu_cores);
        if let Some(cpu) = &mut self.sandbox.cpu {
            let reading = cpu.account.read(&mut self.scratch);
            if cpu.owns_usage() {
                cores = cpu.usage_ns.per_second(reading.usage_ns, at).map(|ns_per_second| ns_per_second / 1e9);
            }
            let periods = cpu.periods.added(reading.periods, at);
            let throttled = cpu.throttled.added(reading.throttled_periods, at);
            if let (Some(periods), Some(throttled)) = (periods, throttled) {
                // No period passes while nothing runs.
                let share = if periods == 0 { 0.0 } else { throttled as f64 / periods as f64 };
                sample.set(Metric::CpuThrottled, (share * 100.0).min(100.0));
            }
        }
        if let Some(cores) = cores {
            sample.set(Metric::CpuUsage, cores);
        }
        if let Some(limit) = self.sandbox.limits.cpu_cores {
            sample.set(Metric::CpuLimit, limit);
            if let Some(cores) = cores {
                sample.set(Metric::Cpu, cores / limit * 100.0);
            }
        }
        if let Some(tree) = tree {
            sample.set(Metric::Processes, tree.processes as f64);
            sample.set(Metric::Threads, tree.threads as f64);
            if let Some(descriptors) = tree.descriptors {
                sample.set(Metric::FileDescriptors, descriptors as f64);
            }
        }
        if let Some(tasks) = self.sandbox.limits.tasks {
            sample.set(Metric::ThreadsLimit, tasks as f64);
        }
    }

    fn record_memory(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let (working_set, rss) = match &mut self.sandbox.memory {
            Some(memory) => {
                let reading = memory.account.read(&mut self.scratch);
                if let Some(kills) = memory.oom_kills.added(reading.oom_kills, at) {
                    sample.set(Metric::OomKills, kills as f64);
                }
                if let Some(bytes) = reading.swap {
                    sample.set(Metric::MemorySwap, bytes as f64);
                }
                (reading.working_set, reading.rss)
            }
            None => (tree.and_then(|tree| tree.working_set_bytes), tree.and_then(|tree| tree.rss_bytes)),
        };
        if let Some(bytes) = working_set {
            sample.set(Metric::MemoryWorkingSet, bytes as f64);
        }
        if let Some(bytes) = rss {
            sample.set(Metric::MemoryRss, bytes as f64);
        }
        if let Some(limit) = self.sandbox.limits.memory_bytes {
            sample.set(Metric::MemoryLimit, limit as f64);
            if let Some(bytes) = working_set {
                sample.set(Metric::Memory, bytes as f64 / limit as f64 * 100.0);
            }
        }
    }

    fn record_disk(&mut self, tree: Option<&TreeReading>, at: Instant, sample: &mut Sample) {
        let (read, write) = match &mut self.sandbox.disk {
            Some(disk) => {
                let (read, written) = disk.account.read(&mut self.scratch).unzip();
                (disk.read.per_second(read, at), disk.written.per_second(written, at))
            }
            None => (tree.and_then(|tree| tree.disk_read_per_second), tree.and_then(|tree| tree.disk_write_per_second)),
        };
        if let Some(rate) = read {
            sample.set(Metric::DiskRead, rate);
        }
        if let Some(rate) = write {
            sample.set(Metric::DiskWrite, rate);
        }
    }

    /// Finds groups, limits, ownership and network of the program, or of the agent while there is none.
    fn look_up(&mut self, program: Option<u32>) {
        let agent = self.proc.join(self.agent.to_string());
        let program = program.map(|program| self.proc.join(program.to_string()));
        let scratch = &mut self.scratch;
        let of_program = program.and_then(|process| Some((Groups::of(&process, &self.config.root, scratch)?, process)));
        let (groups, process) = of_program.unwrap_or_else(|| {
            let groups = Groups::of(&agent, &self.config.root, scratch).unwrap_or_default();
            (groups, agent)
        });
        let seat =
            Seat { config: &self.config, proc: &self.proc, agent: self.agent, process: &process, host: &self.host };
        self.sandbox.look_up(groups, &seat, scratch);
        self.network.follow(&process);
    }
}

#[cfg(test)]
mod tests;
