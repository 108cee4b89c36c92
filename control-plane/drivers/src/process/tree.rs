//! Killing an agent with all that came from it.
//!
//! A control group names its members; without one they are found as descendants of the agent, who is the reaper of
//! every orphan below it, and as members of its session. The agent is stopped first, so that it cannot start anything
//! while its children are counted, and killed last, so that its orphans stay below it until they are dead.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cgroup;
use super::exit::Agent;

/// Between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// One line of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    zombie: bool,
    /// Clock ticks after boot; with the pid, one process for ever.
    started: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in brackets, may hold anything, brackets and blanks included.
    fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = (stat.split_once(' ')?.0, stat.rsplit_once(')')?.1);
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self {
            pid: head.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: number(1)?,
            session: number(3)?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::read).collect()
    }

    /// Kills exactly this process, or nothing.
    fn kill(self) {
        let pinned = Pid::from_raw(self.pid).and_then(Agent::open);
        if let Some(pinned) = pinned
            && Self::read(self.pid).is_some_and(|now| now.started == self.started)
        {
            pinned.signal(Signal::KILL);
        }
    }
}

/// Kills the agent's whole tree; whether it is gone within `patience`.
pub(super) fn kill(agent: &Agent, groups: &[PathBuf], patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let root = agent.pid().as_raw_nonzero().get();
    agent.signal(Signal::STOP);
    let emptied = until(deadline, || {
        let mut members = descendants(&Process::all(), root);
        members.extend(grouped(groups).into_iter().filter(|member| member.pid != root));
        members
    });
    agent.signal(Signal::KILL);
    emptied & agent.ended_within_blocking(deadline.saturating_duration_since(Instant::now()))
}

/// Kills what an agent left when it died: the members of its groups, and of its session when nobody else has taken
/// the number. Whether all are gone within `patience`.
pub(super) fn kill_orphans(session: Option<Pid>, groups: &[PathBuf], patience: Duration) -> bool {
    let session = session.map(|pid| pid.as_raw_nonzero().get());
    until(Instant::now() + patience, || {
        let all = Process::all();
        // The kernel gives no process a number that is still the number of a session: a living process with it means
        // that the session is gone, and that a new one may bear the number.
        let reused = all.iter().any(|process| Some(process.pid) == session && !process.zombie);
        let mut members = grouped(groups);
        if !reused {
            members.extend(all.iter().filter(|process| Some(process.session) == session && !process.zombie));
        }
        members
    })
}

/// Kills what `members` finds, again and again, until it finds nothing.
fn until(deadline: Instant, mut members: impl FnMut() -> Vec<Process>) -> bool {
    loop {
        let members = members();
        if members.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        members.into_iter().for_each(Process::kill);
        thread::sleep(PAUSE);
    }
}

fn grouped(groups: &[PathBuf]) -> Vec<Process> {
    cgroup::members(groups).into_iter().filter_map(Process::read).filter(|process| !process.zombie).collect()
}

/// Everything below `root`, and its session, without `root` itself.
fn descendants(all: &[Process], root: i32) -> Vec<Process> {
    let mut found: Vec<i32> = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|process| process.parent == parent || process.session == parent);
        let new: Vec<i32> = children.map(|process| process.pid).filter(|pid| !found.contains(pid)).collect();
        found.extend(new);
        next += 1;
    }
    all.iter()
        .filter(|process| process.pid != root && found.contains(&process.pid) && !process.zombie)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "17 (a) b (c)) S 3 17 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let expected = Process { pid: 17, parent: 3, session: 9, zombie: false, started: 4242 };
        assert_eq!(Process::parse(stat), Some(expected));
        assert_eq!(Process::parse("17 (x"), None);
        assert_eq!(Process::parse(""), None);
    }

    #[test]
    fn descendants_are_found_through_generations_and_sessions() {
        let process = |pid, parent, session| Process { pid, parent, session, zombie: false, started: 0 };
        let all = [
            process(1, 0, 1),
            process(5, 1, 5),
            process(6, 5, 5),
            process(7, 6, 7),
            process(8, 1, 7),
            process(9, 1, 9),
        ];
        let pids: Vec<i32> = descendants(&all, 5).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [6, 7, 8]);
    }

    #[test]
    fn this_process_is_read_from_the_kernel() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.parent > 0 && own.started > 0 && !own.zombie);
    }
}
