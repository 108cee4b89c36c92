//! The program's process tree: what its processes use together.
//!
//! `walk` finds the processes, `stat` reads one. The tree is the program, its descendants and the orphans that the
//! agent, a subreaper, adopted from it. At most `MAX_PROCESSES` are followed; of the first few the files stay
//! open.
//!
//! Processor time is added up from differences per process, so that a process that ends takes nothing back. What it
//! used between the last look and its end arrives with its parent's `cutime` (proc(5)), less what had been counted.

mod stat;
mod walk;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// The moment it started, in clock ticks: with the pid, its identity.
    start: Option<u64>,
    files: Option<Files>,
    /// Counted so far.
    counted: Totals,
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
    disk: Option<(u64, u64)>,
}

/// Growth over one reading, of all processes.
#[derive(Debug, Default)]
struct Growth {
    own_ticks: u64,
    reaped_ticks: u64,
    /// What had been counted of processes that are gone.
    gone_ticks: u64,
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
        let mut growth = Growth::default();
        let (path, page_bytes) = (&mut self.path, self.page_bytes);
        let mut largest_shared = 0;
        self.processes.retain_mut(|process| {
            let alive = process.read_times(path, scratch, &mut growth, &mut reading, page_bytes);
            if alive {
                process.count_descriptors(path, walk_overdue);
                add(&mut reading.descriptors, process.descriptors);
                if wanted.memory
                    && let Some((resident, shared)) = process.memory_pages(path, scratch)
                {
                    let private = resident.saturating_sub(shared).saturating_mul(page_bytes);
                    add(&mut reading.working_set_bytes, Some(private));
                    largest_shared = largest_shared.max(shared.saturating_mul(page_bytes));
                }
                if wanted.disk {
                    process.read_disk(path, scratch, &mut growth);
                }
                process.fresh = false;
            }
            alive
        });
        self.threads = reading.threads;
        if reading.processes == 0 {
            return None;
        }
        if reading.working_set_bytes.is_some() {
            add(&mut reading.working_set_bytes, Some(largest_shared));
        }
        if let Some(seconds) = elapsed.map(|elapsed| elapsed.as_secs_f64()).filter(|seconds| *seconds > 0.0) {
            let ticks = growth.own_ticks + growth.reaped_ticks.saturating_sub(growth.gone_ticks);
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
        Self { pid, start: None, files, counted: Totals::default(), fresh, descriptors: None }
    }

    /// Reads times, threads and resident memory; `false` when the process is gone.
    fn read_times(
        &mut self,
        path: &mut PathBuffer,
        scratch: &mut Scratch,
        growth: &mut Growth,
        reading: &mut TreeReading,
        page_bytes: u64,
    ) -> bool {
        let content = match &mut self.files {
            Some(files) => files.stat.read(scratch),
            None => scratch.read(path.of(format_args!("{}/stat", self.pid))),
        };
        let stat = content.and_then(Stat::parse).filter(|stat| self.start.is_none_or(|start| start == stat.start));
        let Some(stat) = stat else {
            growth.gone_ticks += self.counted.own_ticks + self.counted.reaped_ticks;
            return false;
        };
        self.start = Some(stat.start);
        if !self.fresh {
            growth.own_ticks += stat.own_ticks.saturating_sub(self.counted.own_ticks);
            growth.reaped_ticks += stat.reaped_ticks.saturating_sub(self.counted.reaped_ticks);
        }
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

    /// Bytes that reached block devices; unknown for a process of another user when the agent is not root.
    fn read_disk(&mut self, path: &mut PathBuffer, scratch: &mut Scratch, growth: &mut Growth) {
        let content = match &mut self.files {
            Some(files) => files.io.read(scratch),
            None => scratch.read(path.of(format_args!("{}/io", self.pid))),
        };
        let disk = content.and_then(|content| {
            text::keyed_colon(content, "read_bytes").zip(text::keyed_colon(content, "write_bytes"))
        });
        let Some((read, written)) = disk else { return };
        let before = match self.counted.disk.replace((read, written)) {
            Some(before) => before,
            None if self.fresh => (read, written),
            None => (0, 0),
        };
        let (r, w) = growth.disk.get_or_insert((0, 0));
        *r = r.saturating_add(read.saturating_sub(before.0));
        *w = w.saturating_add(written.saturating_sub(before.1));
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
