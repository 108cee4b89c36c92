//! What a process used goes over to its parent when the parent waits for it: into `cutime` and into `io`, where what was
//! counted of it while it lived would be counted a second time.
//!
//! The two may fall into different readings: a parent that is read just before it waits shows what it took over only the
//! next time. So what is owed is kept for one more reading, and forgotten then: a parent that ignores SIGCHLD takes
//! nothing over (wait(2)).

use super::{Growth, Process};

/// Ticks and bytes that were counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent {
    pub ticks: u64,
    pub read: u64,
    pub written: u64,
}

/// A process that is gone since the previous reading.
#[derive(Debug)]
pub(super) struct Ended {
    pub pid: u32,
    pub parent: u32,
    pub spent: Spent,
}

impl Spent {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            ticks: self.ticks.saturating_add(other.ticks),
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
        }
    }

    /// Takes as much as there is of it off `growth`, and returns the rest.
    fn taken_off(self, growth: &mut Growth) -> Self {
        let take = |owed: u64, from: &mut u64| {
            let taken = owed.min(*from);
            *from -= taken;
            owed - taken
        };
        // Unknown growth takes nothing: the other end of the difference is unknown, too.
        let mut none = (0, 0);
        let (read, written) = growth.disk.as_mut().unwrap_or(&mut none);
        Self {
            ticks: take(self.ticks, &mut growth.reaped_ticks),
            read: take(self.read, read),
            written: take(self.written, written),
        }
    }
}

/// The sum of what the processes of the tree added, nothing twice. `processes` are ascending by pid.
pub(super) fn settle(processes: &mut [Process], ended: &[Ended]) -> Growth {
    for gone in ended {
        // Of parents that ended with their children, the next one that lives takes over all of it. One outside of the tree,
        // such as the agent that adopted an orphan, tells of nothing.
        let mut heir = gone.parent;
        for _ in 0..ended.len() {
            match ended.iter().find(|other| other.pid == heir) {
                Some(other) => heir = other.parent,
                None => break,
            }
        }
        if let Ok(place) = processes.binary_search_by_key(&heir, |process| process.pid) {
            let process = &mut processes[place];
            process.newly_owed = process.newly_owed.and(gone.spent);
        }
    }
    let mut sum = Growth::default();
    for process in processes {
        // What is left of the older debt is forgotten.
        process.owed.taken_off(&mut process.growth);
        process.owed = std::mem::take(&mut process.newly_owed).taken_off(&mut process.growth);
        let Growth { own_ticks, reaped_ticks, disk } = process.growth;
        sum.own_ticks = sum.own_ticks.saturating_add(own_ticks);
        sum.reaped_ticks = sum.reaped_ticks.saturating_add(reaped_ticks);
        if let Some((read, written)) = disk {
            let (r, w) = sum.disk.get_or_insert((0, 0));
            (*r, *w) = (r.saturating_add(read), w.saturating_add(written));
        }
    }
    sum
}
