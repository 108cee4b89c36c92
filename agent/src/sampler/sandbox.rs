//! Which control groups the program is in, which of them are the sandbox's own, and what they allow.

use std::path::{Path, PathBuf};

use super::SamplerConfig;
use super::cgroup::disk::DiskAccount;
use super::cgroup::limits::{self, Quota};
use super::cgroup::locate::{Group, Groups, Version};
use super::cgroup::{CpuAccount, MemoryAccount, ownership};
use super::counter::Counter;
use super::kept_file::{KeptFile, Scratch};
use super::pressure::Pressure;
use super::process::disk_bytes;
use super::system::Host;

/// What the groups account of the sandbox, and its limits. An account that is `None` is to be taken from the process
/// tree.
#[derive(Default)]
pub(super) struct Sandbox {
    groups: Groups,
    pub cpu: Option<CpuAccounting>,
    pub memory: Option<MemoryAccounting>,
    pub disk: Option<DiskAccounting>,
    pub pressure: Option<Pressure>,
    pub limits: Limits,
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The smallest of the quota, the configuration, the processors the program may run on and what the host has.
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub tasks: Option<u64>,
}

/// An account of processor time, with the counters that go with its files.
pub(super) struct CpuAccounting {
    usage: Option<Group>,
    quota: Option<PathBuf>,
    pub account: CpuAccount,
    pub usage_ns: Counter,
    pub periods: Counter,
    pub throttled: Counter,
}

pub(super) struct MemoryAccounting {
    pub account: MemoryAccount,
    pub oom_kills: Counter,
}

pub(super) struct DiskAccounting {
    pub account: DiskAccount,
    pub read: Counter,
    pub written: Counter,
}

/// Who asks, where.
pub(super) struct Seat<'a> {
    pub config: &'a SamplerConfig,
    pub proc: &'a Path,
    /// The agent in the PID namespace of `proc`.
    pub agent: u32,
    /// The directory in `proc` of the program, or of the agent while there is none or it may not be read.
    pub process: &'a Path,
    pub host: &'a Host,
}

impl Sandbox {
    /// Looks groups, limits and ownership up again. Counters go on as long as their files are the same.
    pub(super) fn look_up(&mut self, groups: Groups, seat: &Seat<'_>, scratch: &mut Scratch) {
        if self.groups != groups {
            // Another group's counters have nothing to do with those before.
            *self = Self { groups, ..Self::default() };
        }
        let groups = &self.groups;
        let quota = groups.bandwidth.as_ref().and_then(|group| limits::quota(group, scratch));
        self.limits = Limits::of(groups, quota.as_ref(), seat, scratch);

        let group = groups.pressure.as_ref().map(|group| &*group.dir);
        match &mut self.pressure {
            Some(pressure) if pressure.is_of(group) => pressure.reopen(),
            pressure => *pressure = Some(Pressure::of(group, seat.proc)),
        }
        let mut own = |group: &Option<Group>| {
            group.clone().filter(|group| ownership::is_own(group, seat.proc, seat.agent, scratch))
        };
        let (usage, memory, disk) = (own(&groups.usage), own(&groups.memory), own(&groups.disk));
        CpuAccounting::keep(&mut self.cpu, usage, quota.map(|quota| quota.dir));
        MemoryAccounting::keep(&mut self.memory, memory.as_ref());
        // Version 1 accounts no write that went through the page cache (Documentation/admin-guide/cgroup-v1/
        // blkio-controller.rst), processes do.
        let disk = disk.filter(|group| group.version == Version::V2 || !tells_of_disk(seat.process, scratch));
        DiskAccounting::keep(&mut self.disk, disk.as_ref(), &seat.config.root);
    }

    /// Whether a file of an account could no longer be read: its group was removed, or the program moved out of it first.
    pub(super) fn has_lost_a_group(&self) -> bool {
        self.cpu.as_ref().is_some_and(|cpu| cpu.owns_usage() && !cpu.account.has_usage())
            || self.memory.as_ref().is_some_and(|memory| !memory.account.has_usage())
            || self.disk.as_ref().is_some_and(|disk| !disk.account.has_usage())
    }
}

impl Limits {
    fn of(groups: &Groups, quota: Option<&Quota>, seat: &Seat<'_>, scratch: &mut Scratch) -> Self {
        let configured = seat.config.cpu_limit_cores.filter(|cores| cores.is_finite() && *cores > 0.0);
        let allowed = limits::allowed_processors(seat.process, scratch);
        let cpu_cores = [quota.map(|quota| quota.cores), configured, allowed, seat.host.cores()]
            .into_iter()
            .flatten()
            .reduce(f64::min);
        let memory = groups.memory.as_ref().and_then(|group| limits::memory_bytes(group, scratch));
        let configured = seat.config.memory_limit_bytes.filter(|bytes| *bytes > 0);
        let memory_bytes = [memory, configured, seat.host.memory_bytes()].into_iter().flatten().min();
        let tasks = groups.tasks.as_ref().and_then(|group| limits::tasks(group, scratch));
        Self { cpu_cores, memory_bytes, tasks }
    }
}

impl CpuAccounting {
    fn keep(kept: &mut Option<Self>, usage: Option<Group>, quota: Option<PathBuf>) {
        let usage = usage.filter(CpuAccount::accounts);
        if let Some(same) = kept.as_mut().filter(|kept| kept.usage == usage && kept.quota == quota) {
            same.account.reopen();
            return;
        }
        let usage_ns = match kept.take() {
            Some(before) if before.usage == usage => before.usage_ns,
            _ => Counter::default(),
        };
        *kept = (usage.is_some() || quota.is_some()).then(|| Self {
            account: CpuAccount::open(usage.as_ref(), quota.as_deref()),
            usage,
            quota,
            usage_ns,
            periods: Counter::default(),
            throttled: Counter::default(),
        });
    }

    /// Whether the group's processor time is the sandbox's.
    pub(super) fn owns_usage(&self) -> bool {
        self.usage.is_some()
    }
}

impl MemoryAccounting {
    fn keep(kept: &mut Option<Self>, group: Option<&Group>) {
        if let (Some(same), Some(_)) = (kept.as_mut(), group) {
            same.account.reopen();
        } else {
            *kept = group.map(|group| Self { account: MemoryAccount::open(group), oom_kills: Counter::default() });
        }
        kept.take_if(|kept| !kept.account.has_usage());
    }
}

impl DiskAccounting {
    fn keep(kept: &mut Option<Self>, group: Option<&Group>, root: &Path) {
        if let (Some(same), Some(_)) = (kept.as_mut(), group) {
            same.account.reopen();
        } else {
            *kept = group.map(|group| Self {
                account: DiskAccount::open(group, root),
                read: Counter::default(),
                written: Counter::default(),
            });
        }
        kept.take_if(|kept| !kept.account.has_usage());
    }
}

/// Whether the kernel lets the agent see what a process read and wrote.
fn tells_of_disk(process: &Path, scratch: &mut Scratch) -> bool {
    KeptFile::open(process.join("io")).read(scratch).and_then(disk_bytes).is_some()
}
