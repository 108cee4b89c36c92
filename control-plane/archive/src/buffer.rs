//! What is in memory of each deployment: the samples that no row has yet, and which of its periods wait for work.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;

use crate::config::{HOUR, hour_of};
use crate::keys::{Period, Scope};

/// Deployments that are remembered to be deleted: agents that do not know it yet are refused.
const REMEMBERED_GONE: usize = 10_000;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked under a lock left whole values behind: every critical section is a few assignments.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The times of what is buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    pub(crate) const fn of(at: u64) -> Self {
        Self { from: at, to: at }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    fn hours(self) -> impl Iterator<Item = u64> {
        (hour_of(self.from)..=self.to).step_by(usize::try_from(HOUR).unwrap_or(usize::MAX))
    }
}

/// What one flush wrote of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The flush.
    pub(crate) number: u64,
    pub(crate) span: Span,
    pub(crate) records: Bytes,
}

/// When rows were added to a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Noted {
    /// How often.
    pub(crate) additions: u64,
    /// The last time.
    pub(crate) at: UnixMillis,
}

/// One deployment's part of the memory.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Records that no flush has taken yet.
    open: Vec<u8>,
    open_span: Option<Span>,
    segments: VecDeque<Segment>,
    /// When the oldest of it came in.
    since: Option<UnixMillis>,
    /// Periods of which rows are to be sealed or joined.
    pending: BTreeMap<Period, Noted>,
    /// Nothing may be written of it any more.
    pub(crate) gone: bool,
    /// The store knows that there are rows of it.
    pub(crate) listed: bool,
}

/// What a query needs of the memory.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    pub(crate) records: Vec<Bytes>,
    /// Hours whose roll-ups are not there, or not complete: they are answered from samples.
    pub(crate) unsealed: Vec<u64>,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> usize {
        self.open.len() + self.segments.iter().map(|segment| segment.records.len()).sum::<usize>()
    }

    pub(crate) fn since(&self) -> Option<UnixMillis> {
        self.since
    }

    /// Lets `write` append records; `span` is that of their times.
    pub(crate) fn append<R>(&mut self, now: UnixMillis, span: Span, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.open.len();
        let written = write(&mut self.open);
        if self.open.len() > before {
            self.since.get_or_insert(now);
            self.open_span = Some(self.open_span.map_or(span, |open| open.and(span)));
        }
        written
    }

    /// Takes what no flush has taken; it is to be given back by [`Buffer::keep`].
    pub(crate) fn take_open(&mut self) -> Option<(Vec<u8>, Span)> {
        let span = self.open_span.take()?;
        Some((std::mem::take(&mut self.open), span))
    }

    pub(crate) fn keep(&mut self, now: UnixMillis, segment: Segment) {
        self.since.get_or_insert(now);
        self.segments.push_back(segment);
    }

    /// The flushes that wrote what is here, the oldest.
    pub(crate) fn oldest_flush(&self) -> Option<u64> {
        self.segments.iter().map(|segment| segment.number).min()
    }

    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.segments.iter().cloned().collect()
    }

    /// Forgets segments that rows hold now, and notes the periods of those rows.
    pub(crate) fn cut(&mut self, through: u64, periods: impl IntoIterator<Item = Period>, now: UnixMillis) {
        self.segments.retain(|segment| segment.number > through);
        let empty = self.segments.is_empty() && self.open.is_empty();
        self.since = if empty { None } else { Some(now) };
        for period in periods {
            self.note(period, now);
        }
    }

    /// Rows were added to a period.
    pub(crate) fn note(&mut self, period: Period, now: UnixMillis) {
        let noted = self.pending.entry(period).or_default();
        *noted = Noted { additions: noted.additions.wrapping_add(1), at: now };
    }

    pub(crate) fn pending(&self) -> impl Iterator<Item = (Period, Noted)> + '_ {
        self.pending.iter().map(|(period, noted)| (*period, *noted))
    }

    /// Whether nothing was added to the period since, so that it is done.
    pub(crate) fn is_unchanged(&self, period: &Period, additions: u64) -> bool {
        self.pending.get(period).is_some_and(|noted| noted.additions == additions)
    }

    pub(crate) fn done(&mut self, period: &Period) {
        self.pending.remove(period);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.segments.is_empty() && self.open.is_empty()
    }

    pub(crate) fn recent(&self) -> Recent {
        let waiting = self.pending.keys().filter(|period| period.scope == Scope::Members && period.tier == 0);
        let spans = self.segments.iter().map(|segment| segment.span).chain(self.open_span);
        let mut unsealed: Vec<u64> = waiting.map(|period| period.start).chain(spans.flat_map(Span::hours)).collect();
        unsealed.sort_unstable();
        unsealed.dedup();
        let mut records: Vec<Bytes> = self.segments.iter().map(|segment| segment.records.clone()).collect();
        if !self.open.is_empty() {
            records.push(Bytes::copy_from_slice(&self.open));
        }
        Recent { records, unsealed }
    }
}

pub(crate) type SharedBuffer = Arc<Mutex<Buffer>>;

/// Why there is no buffer for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBuffer {
    Gone,
    Full,
}

/// The buffers of all deployments.
#[derive(Debug)]
pub(crate) struct Buffers {
    all: RwLock<HashMap<DeploymentId, SharedBuffer>>,
    gone: Mutex<(HashSet<DeploymentId>, VecDeque<DeploymentId>)>,
    limit: usize,
    /// Bytes of all of them.
    bytes: AtomicUsize,
}

impl Buffers {
    pub(crate) fn new(limit: usize) -> Self {
        Self { all: RwLock::default(), gone: Mutex::default(), limit, bytes: AtomicUsize::new(0) }
    }

    pub(crate) fn find(&self, deployment: DeploymentId) -> Option<SharedBuffer> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(&deployment).cloned()
    }

    pub(crate) fn of(&self, deployment: DeploymentId) -> Result<SharedBuffer, NoBuffer> {
        if let Some(found) = self.find(deployment) {
            return Ok(found);
        }
        if lock(&self.gone).0.contains(&deployment) {
            return Err(NoBuffer::Gone);
        }
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&deployment) && all.len() >= self.limit {
            return Err(NoBuffer::Full);
        }
        Ok(Arc::clone(all.entry(deployment).or_default()))
    }

    pub(crate) fn all(&self) -> Vec<(DeploymentId, SharedBuffer)> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(id, buffer)| (*id, Arc::clone(buffer))).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A deployment is deleted: nothing is taken in for it any more.
    pub(crate) fn bury(&self, deployment: DeploymentId) {
        {
            let (set, order) = &mut *lock(&self.gone);
            if set.insert(deployment) {
                order.push_back(deployment);
            }
            while order.len() > REMEMBERED_GONE {
                order.pop_front().map(|oldest| set.remove(&oldest));
            }
        }
        let found = self.all.write().unwrap_or_else(PoisonError::into_inner).remove(&deployment);
        if let Some(buffer) = found {
            let mut buffer = lock(&buffer);
            buffer.gone = true;
            self.shrunk(buffer.bytes());
        }
    }

    /// Nothing is kept of it any more, and nothing comes in. Whoever holds it at this moment keeps it.
    pub(crate) fn forget_idle(&self, deployment: DeploymentId) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(&deployment).is_some_and(|buffer| Arc::strong_count(buffer) == 1 && lock(buffer).is_idle()) {
            all.remove(&deployment);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn grown(&self, by: usize) {
        self.bytes.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn shrunk(&self, by: usize) {
        let less = |bytes: usize| Some(bytes.saturating_sub(by));
        let _before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}
