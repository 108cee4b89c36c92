//! What waits for one socket.
//!
//! Bounded in number and in bytes. Whoever puts something in never waits: what does not fit is counted, and the client
//! is told how much that was at the place where it is missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::session::Reply;
use crate::update::Update;

/// The next thing for a client.
#[derive(Debug)]
pub(crate) enum Entry {
    Update(Arc<Update>),
    Reply(Reply),
    /// So many updates are missing here.
    Missed(u64),
}

/// More answers wait than a client may have asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyReplies;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) updates: usize,
    pub(crate) bytes: usize,
    pub(crate) replies: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    updates: usize,
    bytes: usize,
    replies: usize,
    /// Updates that belong behind the last entry and were not kept.
    missed: u64,
    /// Since when it has not been empty after it was full.
    behind: Option<Instant>,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { state: Mutex::default(), filled: Notify::new(), limits }
    }

    /// Appends an update, or counts it as missed when there is no room.
    pub(crate) fn push(&self, update: &Arc<Update>, now: Instant) {
        let bytes = update.text_bytes();
        let mut state = self.lock();
        // One that is larger than all the room there is still passes when it is alone.
        let fits = state.updates == 0
            || (state.updates < self.limits.updates && state.bytes.saturating_add(bytes) <= self.limits.bytes);
        if fits {
            state.note_missed();
            state.updates += 1;
            state.bytes += bytes;
            state.entries.push_back(Entry::Update(Arc::clone(update)));
        } else {
            state.missed = state.missed.saturating_add(1);
            state.behind.get_or_insert(now);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Updates are missing that never came this far.
    pub(crate) fn push_missed(&self, count: u64) {
        let mut state = self.lock();
        state.missed = state.missed.saturating_add(count);
        drop(state);
        self.filled.notify_one();
    }

    pub(crate) fn push_reply(&self, reply: Reply) -> Result<(), TooManyReplies> {
        let mut state = self.lock();
        if state.replies >= self.limits.replies {
            return Err(TooManyReplies);
        }
        state.note_missed();
        state.replies += 1;
        state.entries.push_back(Entry::Reply(reply));
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for the next entry. For one reader.
    pub(crate) async fn next(&self) -> Entry {
        loop {
            if let Some(entry) = self.pop() {
                return entry;
            }
            self.filled.notified().await;
        }
    }

    fn pop(&self) -> Option<Entry> {
        let mut state = self.lock();
        if state.entries.is_empty() {
            state.note_missed();
        }
        let entry = state.entries.pop_front();
        match &entry {
            Some(Entry::Update(update)) => {
                state.updates -= 1;
                state.bytes -= update.text_bytes();
            }
            Some(Entry::Reply(_)) => state.replies -= 1,
            Some(Entry::Missed(_)) => {}
            None => state.behind = None,
        }
        entry
    }

    /// How long it has not been empty since it was full; zero when it was not.
    pub(crate) fn behind(&self, now: Instant) -> Duration {
        self.lock().behind.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Throws away what waits, and says how many updates are missing with it.
    pub(crate) fn clear(&self) -> u64 {
        let state = std::mem::take(&mut *self.lock());
        let told = state.entries.iter().map(|entry| match entry {
            Entry::Missed(count) => *count,
            Entry::Update(_) => 1,
            Entry::Reply(_) => 0,
        });
        told.fold(state.missed, u64::saturating_add)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that runs under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_missed(&mut self) {
        if self.missed > 0 {
            self.entries.push_back(Entry::Missed(std::mem::take(&mut self.missed)));
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::{DeploymentId, InstanceId};
    use outrigger_protocol::log::{Level, LogStream};
    use outrigger_protocol::time::UnixMillis;

    use super::*;
    use crate::update::LogUpdate;

    const LIMITS: Limits = Limits { updates: 3, bytes: 10, replies: 1 };

    fn line(message: &str) -> Arc<Update> {
        Arc::new(Update::Log(LogUpdate {
            deployment_id: DeploymentId::generate(),
            instance_id: InstanceId::generate(),
            timestamp: UnixMillis::EPOCH,
            level: Level::Info,
            stream: LogStream::Stdout,
            message: message.to_owned(),
            truncated: false,
            number: 0,
            dropped: None,
        }))
    }

    fn told(queue: &Queue) -> Vec<String> {
        let entries = std::iter::from_fn(|| queue.pop());
        entries
            .map(|entry| match entry {
                Entry::Update(update) => match &*update {
                    Update::Log(log) => log.message.clone(),
                    other => format!("{other:?}"),
                },
                Entry::Missed(count) => format!("-{count}"),
                Entry::Reply(reply) => format!("{reply:?}"),
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_is_counted_at_its_place() {
        let queue = Queue::new(LIMITS);
        let now = Instant::now();
        for message in ["1", "2", "3", "4", "5"] {
            queue.push(&line(message), now);
        }
        assert!(matches!(queue.pop(), Some(Entry::Update(_))));
        queue.push(&line("6"), now);
        assert_eq!(told(&queue), ["2", "3", "-2", "6"]);
        queue.push_missed(7);
        assert_eq!(told(&queue), ["-7"]);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_long_line_passes() {
        let queue = Queue::new(LIMITS);
        let now = Instant::now();
        queue.push(&line(&"x".repeat(99)), now);
        queue.push(&line("y"), now);
        assert_eq!(told(&queue), ["x".repeat(99), "-1".to_owned()]);
        queue.push(&line("123456"), now);
        queue.push(&line("12345"), now);
        assert_eq!(told(&queue), ["123456", "-1"]);
    }

    #[test]
    fn a_client_is_behind_from_the_first_miss_until_it_has_caught_up() {
        let queue = Queue::new(LIMITS);
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        for _ in 0..4 {
            queue.push(&line("x"), start);
        }
        assert_eq!(queue.behind(later), Duration::from_secs(5));
        queue.pop();
        assert_eq!(queue.behind(later), Duration::from_secs(5), "what is left is still to be read");
        told(&queue);
        assert_eq!(queue.behind(later), Duration::ZERO);
    }

    #[test]
    fn answers_are_bounded_by_themselves() {
        let queue = Queue::new(LIMITS);
        queue.push_reply(Reply::Error { message: "1".to_owned() }).unwrap();
        assert_eq!(queue.push_reply(Reply::Error { message: "2".to_owned() }), Err(TooManyReplies));
        queue.push(&line("x"), Instant::now());
        assert_eq!(queue.clear(), 1);
        assert!(told(&queue).is_empty());
    }
}
