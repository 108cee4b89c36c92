//! The program's process tree: what its processes use together.
//!
//! `walk` finds the processes, `stat` reads one. The tree is the program, its descendants and the orphans that the
//! agent, a subreaper, adopted from it. At most `MAX_PROCESSES` are followed; of the first few the files stay
//! open.
//!
//! Processor time and disk traffic are added up from differences per process, so that a process that ends takes nothing
//! back. What it used between the last look and its end arrives with its parent, whose `cutime` and `io` take over what
//! children used that it has waited for (proc(5)), less what had been counted: `inheritance` keeps that apart.

mod inheritance;
mod stat;
mod walk;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::inheritance::{Ended, Spent, settle};
use self::stat::Stat;
pub(super) use self::stat::parent;
use self::walk::Walk;
use super::kept_file::{KeptFile, Scratch};
use super::text;

const MAX_PROCESSES: usize = 256;
/// Processes whose files stay open: three descriptors each, of the 1024 that a sandbox usually allows.
const KEPT_PROCESSES: usize = 16;
/// Trees of more threads than this are searched for new processes only every [`WALK_INTERVAL`]: each thread is a file.
const THREADS_WALKED_EVERY_TIME: u64 = 64;
const WALK_INTERVAL: Duration = Duration::from_secs(10);

/// Which of the dearer readings are wanted: those that a cgroup of the sandbox's own does not give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub memory: bool,
    pub disk: bool,
}

/// What the tree's processes use together. `None` is unknown.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct TreeReading {
    pub processes: u64,
    pub threads: u64,
    pub descriptors: Option<u64>,
    /// Since the previous reading.
    pub cpu_cores: Option<f64>,
    /// Resident memory of all processes; pages that several share are counted in each.
    pub rss_bytes: Option<u64>,
    /// Private resident memory of all processes and the largest shared part among them, which for a forking server is
    /// near the truth, where the sum of resident memory is a multiple of it.
    pub working_set_bytes: Option<u64>,
    pub disk_read_per_second: Option<f64>,
    pub disk_write_per_second: Option<f64>,
}

pub(super) struct ProcessTree {
    agent: u32,
    walk: Walk,
    /// Ascending by pid.
    processes: Vec<Process>,
    path: PathBuffer,
    ticks_per_second: f64,
    page_bytes: u64,
    threads: u64,
    last_reading: Option<Instant>,
    last_walk: Option<Instant>,
}

struct Process {
    pid: u32,
    parent: u32,
    /// The moment it started, in clock ticks: with the pid, its identity.
    start: Option<u64>,
    files: Option<Files>,
    /// Counted so far, children that it has waited for included.
    counted: Totals,
    /// Since the previous reading.
    growth: Growth,
    /// What was counted of its children that have ended, and is to arrive with it once more: of those that ended before
    /// the previous reading, and of those that ended since.
    owed: Spent,
    newly_owed: Spent,
    /// The first reading only says where to count from: when it was spent is unknown.
    fresh: bool,
    descriptors: Option<u64>,
}

struct Files {
    stat: KeptFile,
    statm: KeptFile,
    io: KeptFile,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    own_ticks: u64,
    reaped_ticks: u64,
    /// Bytes read and written.
    disk: Option<(u64, u64)>,
}

/// What one process added since the previous reading.
#[derive(Debug, Default, Clone, Copy)]
struct Growth {
    own_ticks: u64,
    /// Of children that it waited for.
    reaped_ticks: u64,
    /// Own and of children that it waited for: the kernel keeps one sum.
    disk: Option<(u64, u64)>,
}

impl ProcessTree {
    /// `agent` is the agent's number in the PID namespace of `proc`; it is never part of the tree.
    pub(super) fn new(proc: &Path, agent: u32) -> Self {
        Self {
            agent,
            walk: Walk::new(),
            processes: Vec::new(),
            path: PathBuffer::new(proc),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as u64,
            threads: 0,
            last_reading: None,
            last_walk: None,
        }
    }

    /// Forgets the processes: the program is not running.
    pub(super) fn clear(&mut self) {
        self.processes.clear();
        self.threads = 0;
        self.last_reading = None;
        self.last_walk = None;
    }

    /// `None` when no process of the tree can be read.
    pub(super) fn read(
        &mut self,
        program: u32,
        at: Instant,
        wanted: Wanted,
        scratch: &mut Scratch,
    ) -> Option<TreeReading> {
        let elapsed = self.last_reading.map(|last| at.saturating_duration_since(last));
        let walk_overdue = self.last_walk.is_none_or(|last| at.saturating_duration_since(last) >= WALK_INTERVAL);
        let small = self.threads <= THREADS_WALKED_EVERY_TIME && self.walk.is_cheap();
        if walk_overdue || small {
            // A process that was not there at the previous reading spent all of its time since then.
            let walked_last_time = self.last_walk.is_some() && self.last_walk == self.last_reading;
            self.walk.run(program, self.agent, MAX_PROCESSES, &mut self.path, scratch);
            self.adopt(!walked_last_time);
            self.last_walk = Some(at);
        }
        self.last_reading = Some(at);

        let mut reading = TreeReading::default();
        let (path, page_bytes) = (&mut self.path, self.page_bytes);
        let mut largest_shared = 0;
        let mut ended = Vec::new();
        self.processes.retain_mut(|process| {
            if !process.read_times(path, scratch, &mut reading, page_bytes) {
                ended.push(process.end());
                return false;
            }
            process.count_descriptors(path, walk_overdue);
            add(&mut reading.descriptors, process.descriptors);
            if wanted.memory
                && let Some((resident, shared)) = process.memory_pages(path, scratch)
            {
                let private = resident.saturating_sub(shared).saturating_mul(page_bytes);
                add(&mut reading.working_set_bytes, Some(private));
                largest_shared = largest_shared.max(shared.saturating_mul(page_bytes));
            }
            process.growth.disk = if wanted.disk { process.read_disk(path, scratch) } else { None };
            process.fresh = false;
            true
        });
        let growth = settle(&mut self.processes, &ended);
        self.threads = reading.threads;
        if reading.processes == 0 {
            return None;
        }
        if reading.working_set_bytes.is_some() {
            add(&mut reading.working_set_bytes, Some(largest_shared));
        }
        if let Some(seconds) = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|seconds| *seconds > 0.0) {
            let ticks = growth.own_ticks.saturating_add(growth.reaped_ticks);
            reading.cpu_cores = Some(ticks as f64 / self.ticks_per_second / seconds);
            reading.disk_read_per_second = growth.disk.map(|(read, _)| read as f64 / seconds);
            reading.disk_write_per_second = growth.disk.map(|(_, written)| written as f64 / seconds);
        }
        Some(reading)
    }

    /// Takes up the processes that the walk found and the tree does not follow yet.
    fn adopt(&mut self, fresh: bool) {
        for pid in self.walk.found() {
            if let Err(place) = self.processes.binary_search_by_key(pid, |process| process.pid)
                && self.processes.len() < MAX_PROCESSES
            {
                let kept = self.processes.iter().filter(|process| process.files.is_some()).count();
                let files = (kept < KEPT_PROCESSES).then(|| Files::open(&self.path.proc.join(pid.to_string())));
                self.processes.insert(place, Process::new(*pid, files, fresh));
            }
        }
    }
}

impl Files {
    fn open(dir: &Path) -> Self {
        let file = |name: &str| KeptFile::open(dir.join(name));
        Self { stat: file("stat"), statm: file("statm"), io: file("io") }
    }
}

impl Process {
    fn new(pid: u32, files: Option<Files>, fresh: bool) -> Self {
        Self {
            pid,
            parent: 0,
            start: None,
            files,
            counted: Totals::default(),
            growth: Growth::default(),
            owed: Spent::default(),
            newly_owed: Spent::default(),
            fresh,
            descriptors: None,
        }
    }

    /// What is left of a process that is gone.
    fn end(&self) -> Ended {
        let Totals { own_ticks, reaped_ticks, disk } = self.counted;
        let (read, written) = disk.unwrap_or_default();
        let counted = Spent { ticks: own_ticks.saturating_add(reaped_ticks), read, written };
        // What was to arrive with it arrives with its parent.
        Ended { pid: self.pid, parent: self.parent, spent: counted.and(self.owed) }
    }

    /// Reads times, threads and resident memory; `false` when the process is gone.
    fn read_times(
        &mut self,
        path: &mut PathBuffer,
        scratch: &mut Scratch,
        reading: &mut TreeReading,
        page_bytes: u64,
    ) -> bool {
        let content = match &mut self.files {
            Some(files) => files.stat.read(scratch),
            None => scratch.read(path.of(format_args!("{}/stat", self.pid))),
        };
        let stat = content.and_then(Stat::parse).filter(|stat| self.start.is_none_or(|start| start == stat.start));
        let Some(stat) = stat else { return false };
        (self.start, self.parent) = (Some(stat.start), stat.parent);
        let before = if self.fresh {
            (stat.own_ticks, stat.reaped_ticks)
        } else {
            (self.counted.own_ticks, self.counted.reaped_ticks)
        };
        self.growth.own_ticks = stat.own_ticks.saturating_sub(before.0);
        self.growth.reaped_ticks = stat.reaped_ticks.saturating_sub(before.1);
        (self.counted.own_ticks, self.counted.reaped_ticks) = (stat.own_ticks, stat.reaped_ticks);
        reading.processes += 1;
        reading.threads = reading.threads.saturating_add(stat.threads);
        add(&mut reading.rss_bytes, Some(stat.resident_pages.saturating_mul(page_bytes)));
        true
    }

    /// Resident pages and those of them that are shared.
    fn memory_pages(&mut self, path: &mut PathBuffer, scratch: &mut Scratch) -> Option<(u64, u64)> {
        let content = match &mut self.files {
            Some(files) => files.statm.read(scratch),
            None => scratch.read(path.of(format_args!("{}/statm", self.pid))),
        }?;
        let mut words = text::words(content).skip(1).map(text::number);
        Some((words.next()??, words.next()??))
    }

    /// Bytes that reached block devices since the previous reading; unknown for a process of another user when the agent
    /// is not root.
    fn read_disk(&mut self, path: &mut PathBuffer, scratch: &mut Scratch) -> Option<(u64, u64)> {
        let content = match &mut self.files {
            Some(files) => files.io.read(scratch),
            None => scratch.read(path.of(format_args!("{}/io", self.pid))),
        };
        let (read, written) = content.and_then(disk_bytes)?;
        let before = match self.counted.disk.replace((read, written)) {
            Some(before) => before,
            None if self.fresh => (read, written),
            None => (0, 0),
        };
        Some((read.saturating_sub(before.0), written.saturating_sub(before.1)))
    }

    /// Open descriptors: the size of `/proc/PID/fd` since Linux 6.2, before that its entries, counted when `thorough`.
    fn count_descriptors(&mut self, path: &mut PathBuffer, thorough: bool) {
        let dir = path.of(format_args!("{}/fd", self.pid));
        match rustix::fs::stat(dir).map(|stat| u64::try_from(stat.st_size)) {
            Ok(Ok(count @ 1..)) => self.descriptors = Some(count),
            _ if thorough || self.descriptors.is_none() => self.descriptors = walk::count_numbers(dir),
            _ => {}
        }
    }
}

/// Bytes read and written in all, out of `/proc/PID/io`.
pub(super) fn disk_bytes(io: &[u8]) -> Option<(u64, u64)> {
    text::keyed_colon(io, "read_bytes").zip(text::keyed_colon(io, "write_bytes"))
}

fn add(sum: &mut Option<u64>, value: Option<u64>) {
    if let Some(value) = value {
        *sum = Some(sum.unwrap_or(0).saturating_add(value));
    }
}

/// Builds paths below procfs without an allocation each.
struct PathBuffer {
    proc: PathBuf,
    buffer: OsString,
}

impl PathBuffer {
    fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), buffer: OsString::new() }
    }

    fn of(&mut self, below: std::fmt::Arguments<'_>) -> &Path {
        self.buffer.clear();
        self.buffer.push(&self.proc);
        write!(self.buffer, "/{below}").expect("writing to an OsString cannot fail");
        Path::new(&self.buffer)
    }
}

#[cfg(test)]
mod tests;
