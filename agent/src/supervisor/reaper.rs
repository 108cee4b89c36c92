//! The one place that waits for processes. Whoever else waited could take away the exit status that this one needs.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

/// Exits that one call collects, so that a storm of them cannot hold the agent.
const PER_CALL: usize = 4096;

/// What is left to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remaining {
    /// No child at all.
    None,
    /// Children that run. The next exit wakes the agent.
    Alive,
    /// Perhaps exits that no signal will announce again: ask once more.
    Unknown,
}

/// Collects every process that ended or stopped, the program's orphans included, without waiting for one.
pub(super) fn reap(mut seen: impl FnMut(Pid, WaitStatus)) -> Remaining {
    for _ in 0..PER_CALL {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) => seen(pid, status),
            Err(Errno::INTR) => {}
            // ECHILD: nothing left. Nothing else can be wrong with these arguments.
            Err(_) => return Remaining::None,
            Ok(None) => return Remaining::Alive,
        }
    }
    Remaining::Unknown
}

/// Sends a signal to every child, whatever its process group: whoever left the program's group is found here, because
/// orphans become children of the subreaper.
pub(super) fn signal_children(signal: Signal) {
    for child in children() {
        // It may have ended meanwhile; it is still ours to reap, so the number is not somebody else's.
        let _ = kill_process(child, signal);
    }
}

fn children() -> Vec<Pid> {
    listed_children().unwrap_or_else(scan_children)
}

/// `/proc/PID/task/TID/children` (CONFIG_PROC_CHILDREN), which costs one file per thread.
fn listed_children() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let listed = std::fs::read_to_string(task.ok()?.path().join("children")).ok()?;
        children.extend(listed.split_ascii_whitespace().filter_map(parse_pid));
    }
    Some(children)
}

/// Every process of the machine whose parent is this one.
fn scan_children() -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = getpid().as_raw_pid();
    processes
        .flatten()
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
            parent_of(&stat) == Some(own)
        })
        .collect()
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

/// The fourth field of proc_pid_stat(5). The second, the name, is in brackets and may contain anything.
fn parent_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("17 (a) b) S 4 17 17 0 -1"), Some(4));
        assert_eq!(parent_of("17 (sh"), None);
    }
}
