//! Finding the processes of the tree.
//!
//! From the roots down by `/proc/PID/task/TID/children`, which costs one small file a thread (a child is listed with
//! the thread that forked it). Kernels without that file (`CONFIG_PROC_CHILDREN` off, gVisor) are searched for the
//! parents of all processes instead, seldom.

use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir};

use super::super::kept_file::Scratch;
use super::super::text;
use super::{PathBuffer, parent};

/// Threads whose children are asked for in one walk.
const MAX_THREADS: usize = 4096;
/// Processes of the machine that are looked at where `children` does not exist.
const MAX_SCANNED: usize = 4096;
/// Descriptors counted one by one.
const MAX_COUNTED: usize = 65_536;

pub(super) struct Walk {
    found: Vec<u32>,
    /// Threads of the process at hand, or the parents of all processes.
    numbers: Vec<u32>,
    parents: Vec<(u32, u32)>,
    has_children_files: bool,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { found: Vec::new(), numbers: Vec::new(), parents: Vec::new(), has_children_files: true }
    }

    /// Whether a walk costs in proportion to the tree and not to the machine.
    pub(super) fn is_cheap(&self) -> bool {
        self.has_children_files
    }

    /// The processes of the last walk: `program` and whatever descends from it or from `agent`.
    pub(super) fn found(&self) -> &[u32] {
        &self.found
    }

    pub(super) fn run(&mut self, program: u32, agent: u32, limit: usize, path: &mut PathBuffer, scratch: &mut Scratch) {
        self.found.clear();
        self.found.push(program);
        if self.has_children_files {
            let existed = read_children(program, program, path, scratch, |_| {});
            // Without the process there is nothing to learn about its files.
            self.has_children_files = existed || scratch.read(path.of(format_args!("{program}/stat"))).is_none();
        }
        if self.has_children_files {
            self.descend(agent, limit, path, scratch);
        } else {
            self.scan(agent, limit, path, scratch);
        }
    }

    fn descend(&mut self, agent: u32, limit: usize, path: &mut PathBuffer, scratch: &mut Scratch) {
        let mut threads_left = MAX_THREADS;
        let mut next = 0;
        let mut parent = agent;
        loop {
            self.numbers.clear();
            let most = threads_left;
            if parent == agent {
                // It has one thread (docs/adr/0004), and its children are all that is asked of it.
                self.numbers.push(agent);
            } else {
                each_number(path.of(format_args!("{parent}/task")), most, |thread| self.numbers.push(thread));
            }
            threads_left -= self.numbers.len();
            for thread in &self.numbers {
                read_children(parent, *thread, path, scratch, |child| {
                    if child != agent && self.found.len() < limit && !self.found.contains(&child) {
                        self.found.push(child);
                    }
                });
            }
            let Some(process) = self.found.get(next).filter(|_| threads_left > 0) else { return };
            parent = *process;
            next += 1;
        }
    }

    fn scan(&mut self, agent: u32, limit: usize, path: &mut PathBuffer, scratch: &mut Scratch) {
        self.numbers.clear();
        self.parents.clear();
        each_number(path.of(format_args!("")), MAX_SCANNED, |pid| self.numbers.push(pid));
        for pid in &self.numbers {
            if let Some(parent) = scratch.read(path.of(format_args!("{pid}/stat"))).and_then(parent) {
                self.parents.push((*pid, parent));
            }
        }
        // Each round finds one more generation.
        loop {
            let before = self.found.len();
            for (pid, parent) in &self.parents {
                let related = *parent == agent || self.found.contains(parent);
                if related && *pid != agent && self.found.len() < limit && !self.found.contains(pid) {
                    self.found.push(*pid);
                }
            }
            if self.found.len() == before {
                return;
            }
        }
    }
}

/// `false` when the file does not exist.
fn read_children(
    pid: u32,
    thread: u32,
    path: &mut PathBuffer,
    scratch: &mut Scratch,
    mut each: impl FnMut(u32),
) -> bool {
    let Some(content) = scratch.read(path.of(format_args!("{pid}/task/{thread}/children"))) else { return false };
    text::words(content).filter_map(text::number).filter_map(|child| u32::try_from(child).ok()).for_each(&mut each);
    true
}

/// Entries of a directory whose names are numbers; `None` when it cannot be read.
pub(super) fn count_numbers(dir: &Path) -> Option<u64> {
    let mut count = 0;
    each_number(dir, MAX_COUNTED, |_| count += 1).then_some(count)
}

/// At most `most` of the entries whose names are numbers; `false` when the directory cannot be read.
fn each_number(dir: &Path, most: usize, mut each: impl FnMut(u32)) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(descriptor) = rustix::fs::openat(CWD, dir, flags, Mode::empty()) else { return false };
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&descriptor, &mut buffer);
    let mut left = most;
    while left > 0 {
        match entries.next() {
            Some(Ok(entry)) => {
                let number = text::number(entry.file_name().to_bytes()).and_then(|number| u32::try_from(number).ok());
                if let Some(number) = number {
                    each(number);
                    left -= 1;
                }
            }
            Some(Err(rustix::io::Errno::INTR)) => {}
            Some(Err(_)) => return false,
            None => break,
        }
    }
    true
}
