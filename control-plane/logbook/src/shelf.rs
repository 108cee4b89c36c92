//! The lines of one deployment that are in memory: those that are not written yet, and while somebody follows, the newest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::time::UnixMillis;
use tokio::sync::watch;

use crate::line::{LogEntry, LogLine};
use crate::segment::SEGMENT_BYTES;

/// Lines that a follower takes at a time.
const TAKEN_AT_ONCE: usize = 1_024;

/// Bounds of a shelf, as they are at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes that are not written.
    pub(crate) unwritten: usize,
    /// Bytes for followers.
    pub(crate) followed: usize,
}

/// What became of lines that were put on a shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    /// There was nothing to be written before.
    pub(crate) is_first: bool,
    /// There is enough for a segment.
    pub(crate) is_plenty: bool,
    /// Bytes that wait for the store: now, less before.
    pub(crate) grown: isize,
    /// Lines that were dropped because too many wait.
    pub(crate) dropped: u64,
}

/// What a follower finds after its place.
#[derive(Debug)]
pub(crate) enum Tail {
    /// The lines after it, and the number of the last that was looked at.
    Lines(Vec<Arc<LogLine>>, u64),
    /// Some are not here any more; those from this number on are.
    Behind(u64),
    UpToDate,
    /// The deployment is deleted.
    Gone,
}

#[derive(Debug)]
struct State {
    /// Ascending. What is written comes before what is not.
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// Bytes of those that are not written.
    unwritten: usize,
    /// The last number that is durable, or was never there.
    written: u64,
    /// The last number that was given.
    last: u64,
    followers: usize,
    is_gone: bool,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) deployment: DeploymentId,
    state: Mutex<State>,
    /// Wakes followers. What it holds is the last number.
    changed: watch::Sender<u64>,
}

impl Shelf {
    /// Numbers go on after `last`.
    pub(crate) fn new(deployment: DeploymentId, last: u64) -> Self {
        let state =
            State { lines: VecDeque::new(), bytes: 0, unwritten: 0, written: last, last, followers: 0, is_gone: false };
        Self { deployment, state: Mutex::new(state), changed: watch::Sender::new(last) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked in here left whole values behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers the records and puts them on, after a gap if `dropped` lines are missing before them.
    pub(crate) fn put(
        &self,
        instance: InstanceId,
        records: &[LogRecord],
        dropped: u64,
        received_at: UnixMillis,
        room: Room,
    ) -> Taken {
        let mut state = self.state();
        if state.is_gone || (records.is_empty() && dropped == 0) {
            return Taken::default();
        }
        let before = state.unwritten;
        if dropped > 0 {
            let at = records.first().map_or(received_at, |record| record.at);
            let (number, entry) = (state.last + 1, LogEntry::Dropped { lines: dropped });
            state.push(LogLine { number, at, instance, entry });
        }
        for record in records {
            let line = LogLine::new(state.last + 1, instance, record);
            state.push(line);
        }
        let dropped = state.make_room(room);
        self.changed.send_replace(state.last);
        Taken {
            is_first: before == 0,
            is_plenty: state.unwritten >= SEGMENT_BYTES,
            grown: state.unwritten.cast_signed() - before.cast_signed(),
            dropped,
        }
    }

    /// What is to be written after `number`, up to the size of a segment.
    pub(crate) fn unwritten_after(&self, number: u64) -> Vec<Arc<LogLine>> {
        let state = self.state();
        let start = state.place_after(number.max(state.written));
        let mut bytes = 0;
        let fits = |line: &&Arc<LogLine>| {
            let room = bytes < SEGMENT_BYTES;
            bytes += line.bytes();
            room
        };
        state.lines.iter().skip(start).take_while(fits).cloned().collect()
    }

    /// Everything that is not written, and the first number of it: whatever comes before is in the store.
    pub(crate) fn unwritten(&self) -> (Vec<Arc<LogLine>>, u64) {
        let state = self.state();
        let start = state.place_after(state.written);
        let lines: Vec<_> = state.lines.iter().skip(start).cloned().collect();
        let first = lines.first().map_or(state.last + 1, |line| line.number);
        (lines, first)
    }

    /// Everything up to `number` is durable. Returns how many bytes wait less, and whether more is to be written.
    pub(crate) fn wrote(&self, number: u64, followed: usize) -> (usize, bool) {
        let mut state = self.state();
        let before = state.unwritten;
        let (start, end) = (state.place_after(state.written), state.place_after(number));
        let bytes: usize = state.lines.range(start..end.max(start)).map(|line| line.bytes()).sum();
        state.unwritten -= bytes.min(before);
        state.written = state.written.max(number);
        state.let_go(followed);
        (before - state.unwritten, state.unwritten > 0)
    }

    /// What there is after `number`, for a follower.
    pub(crate) fn after(&self, number: u64) -> Tail {
        let state = self.state();
        if state.is_gone {
            return Tail::Gone;
        }
        if number >= state.last {
            return Tail::UpToDate;
        }
        let first = state.lines.front().map_or(state.last + 1, |line| line.number);
        if number + 1 < first {
            return Tail::Behind(first);
        }
        let start = state.place_after(number);
        let lines: Vec<_> = state.lines.iter().skip(start).take(TAKEN_AT_ONCE).cloned().collect();
        let through = lines.last().map_or(state.last, |line| line.number);
        Tail::Lines(lines, through)
    }

    pub(crate) fn last(&self) -> u64 {
        self.state().last
    }

    /// One more follower, until [`leave`](Self::leave). It is told of changes from now on.
    pub(crate) fn join(&self) -> watch::Receiver<u64> {
        self.state().followers += 1;
        self.changed.subscribe()
    }

    pub(crate) fn leave(&self, followed: usize) {
        let mut state = self.state();
        state.followers = state.followers.saturating_sub(1);
        state.let_go(followed);
    }

    /// The deployment is deleted. Returns how many bytes wait less.
    pub(crate) fn end(&self) -> usize {
        let mut state = self.state();
        state.is_gone = true;
        state.lines = VecDeque::new();
        state.bytes = 0;
        self.changed.send_replace(state.last);
        std::mem::take(&mut state.unwritten)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().is_gone
    }
}

impl State {
    fn push(&mut self, line: LogLine) {
        self.last = line.number;
        self.bytes += line.bytes();
        self.unwritten += line.bytes();
        self.lines.push_back(Arc::new(line));
    }

    /// The place of the first line after `number`.
    fn place_after(&self, number: u64) -> usize {
        self.lines.partition_point(|line| line.number <= number)
    }

    /// Holds what is not written to its bound: of the oldest, only how many they were is kept, in the place of the last of
    /// them. Returns how many more that are now.
    fn make_room(&mut self, room: Room) -> u64 {
        self.let_go(room.followed);
        let mut dropped = 0;
        // The newest line is kept, however large it is.
        while self.unwritten > room.unwritten && self.lines.len() - self.place_after(self.written) > 2 {
            // What followers still have is durable, and goes first.
            let written = self.place_after(self.written);
            for line in self.lines.drain(..written) {
                self.bytes -= line.bytes();
            }
            let (Some(oldest), Some(next)) = (self.lines.pop_front(), self.lines.pop_front()) else { break };
            let gap = next.swallow(&oldest);
            let is_new = |line: &LogLine| u64::from(matches!(line.entry, LogEntry::Written { .. }));
            dropped += is_new(&oldest) + is_new(&next);
            let freed = oldest.bytes() + next.bytes();
            self.bytes = self.bytes + gap.bytes() - freed;
            self.unwritten = self.unwritten + gap.bytes() - freed;
            self.lines.push_front(gap);
        }
        dropped
    }

    /// Forgets what is durable and nobody needs here.
    fn let_go(&mut self, followed: usize) {
        let keep = if self.followers == 0 { 0 } else { followed };
        while self.bytes > keep
            && let Some(oldest) = self.lines.front()
            && oldest.number <= self.written
        {
            self.bytes -= oldest.bytes();
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::log::{Level, LogStream};

    use super::*;

    const ROOM: Room = Room { unwritten: 1 << 20, followed: 1 << 20 };

    fn record(message: &str) -> LogRecord {
        let (at, stream, level) = (UnixMillis::from_millis(5), LogStream::Stdout, Level::Info);
        LogRecord { at, stream, level, message: message.to_owned(), truncated: false }
    }

    fn shelf() -> Shelf {
        Shelf::new(DeploymentId::from_bytes([1; 16]), 100)
    }

    fn put(shelf: &Shelf, messages: &[&str], dropped: u64, room: Room) -> Taken {
        let records: Vec<_> = messages.iter().map(|message| record(message)).collect();
        shelf.put(InstanceId::from_bytes([2; 16]), &records, dropped, UnixMillis::EPOCH, room)
    }

    fn after(shelf: &Shelf, number: u64) -> Vec<u64> {
        match shelf.after(number) {
            Tail::Lines(lines, _) => lines.iter().map(|line| line.number).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_numbered_and_what_is_missing_has_a_number_too() {
        let shelf = shelf();
        let taken = put(&shelf, &["a", "b"], 3, ROOM);
        assert!(taken.is_first && !taken.is_plenty && taken.grown > 0);
        let (lines, first) = shelf.unwritten();
        assert_eq!((first, lines.len(), &lines[0].entry), (101, 3, &LogEntry::Dropped { lines: 3 }));
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [101, 102, 103]);
        assert_eq!(lines[0].at, UnixMillis::from_millis(5), "where the gap is, not when it was told");
    }

    #[test]
    fn what_is_written_is_let_go_unless_somebody_follows() {
        let shelf = shelf();
        put(&shelf, &["a", "b", "c"], 0, ROOM);
        let (freed, more) = shelf.wrote(102, ROOM.followed);
        assert!(freed > 0 && more);
        assert!(matches!(shelf.after(100), Tail::Behind(103)));
        let _changes = shelf.join();
        assert_eq!(shelf.wrote(103, ROOM.followed), (freed / 2, false));
        assert_eq!(after(&shelf, 102), [103]);
        shelf.leave(ROOM.followed);
        assert!(matches!(shelf.after(102), Tail::Behind(104)));
        assert!(matches!(shelf.after(103), Tail::UpToDate));
    }

    #[test]
    fn a_store_that_does_not_keep_up_costs_the_oldest_lines_and_leaves_their_number() {
        let shelf = shelf();
        let room = Room { unwritten: 1_000, followed: 0 };
        let text = "x".repeat(300);
        let taken = put(&shelf, &[text.as_str(); 10], 2, room);
        let (lines, _) = shelf.unwritten();
        let LogEntry::Dropped { lines: missing } = lines[0].entry else { panic!("{lines:?}") };
        assert_eq!(missing, taken.dropped + 2, "with those that the agent had dropped");
        assert_eq!(missing + lines.len() as u64 - 1, 12);
        assert_eq!(lines[0].number + 1, lines[1].number);
        assert_eq!(lines.last().map(|line| line.number), Some(111));
        let (freed, more) = shelf.wrote(111, 0);
        assert_eq!((freed.cast_signed(), more), (taken.grown, false));
    }

    #[test]
    fn one_line_that_is_larger_than_the_bound_is_kept() {
        let shelf = shelf();
        let taken = put(&shelf, &["x"], 0, Room { unwritten: 1, followed: 0 });
        assert_eq!(taken.dropped, 0);
        assert_eq!(shelf.unwritten().0[0].message(), "x");
    }

    #[test]
    fn a_segments_worth_is_taken_at_a_time() {
        let shelf = shelf();
        let text = "x".repeat(64 * 1024);
        put(&shelf, &[text.as_str(); 9], 0, ROOM);
        let first = shelf.unwritten_after(0);
        assert_eq!(first.len(), 4);
        assert_eq!(shelf.unwritten_after(first[3].number).len(), 4);
        assert_eq!(shelf.unwritten_after(108).len(), 1);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let shelf = shelf();
        put(&shelf, &["a"], 0, ROOM);
        assert!(shelf.end() > 0);
        assert_eq!(put(&shelf, &["late"], 1, ROOM), Taken::default());
        assert!(matches!(shelf.after(0), Tail::Gone));
        assert!(shelf.unwritten().0.is_empty() && shelf.is_gone());
    }
}
