//! A queue that never makes anybody wait: what is too much pushes out the oldest, and is counted.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::stats::add;

/// Something that waits to be sent.
pub(crate) trait Load {
    /// Samples or lines.
    fn points(&self) -> usize;
    /// About how much memory it takes, and room in a request.
    fn bytes(&self) -> usize;
}

/// When a batch is complete: by any of these. One that is larger than the bounds by itself is a batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    pub(crate) points: usize,
    pub(crate) bytes: usize,
    pub(crate) linger: Duration,
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    /// Something is there, or a batch is full.
    filled: Notify,
    capacity_bytes: usize,
    limits: BatchLimits,
    /// Points that were pushed out.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<Arc<T>>,
    points: usize,
    bytes: usize,
}

impl<T: Load> Queue<T> {
    pub(crate) fn new(capacity_bytes: usize, limits: BatchLimits) -> Self {
        let waiting = Mutex::new(Waiting { items: VecDeque::new(), points: 0, bytes: 0 });
        Self { waiting, filled: Notify::new(), capacity_bytes, limits, dropped: AtomicU64::new(0) }
    }

    pub(crate) fn push(&self, item: Arc<T>) {
        let mut waiting = self.waiting();
        let was_empty = waiting.items.is_empty();
        waiting.points += item.points();
        waiting.bytes += item.bytes();
        waiting.items.push_back(item);
        let mut lost = 0;
        while waiting.bytes > self.capacity_bytes
            && let Some(oldest) = waiting.pop()
        {
            lost += oldest.points();
        }
        let wake = was_empty || waiting.is_full(&self.limits);
        drop(waiting);
        if lost > 0 {
            add(&self.dropped, lost);
        }
        if wake {
            self.filled.notify_one();
        }
    }

    /// Waits for a batch. `None` when the queue is empty and `closing` says that nothing more will come; from then on
    /// nothing lingers.
    pub(crate) async fn next_batch(&self, closing: &CancellationToken) -> Option<Vec<Arc<T>>> {
        while self.waiting().items.is_empty() {
            if closing.is_cancelled() {
                return None;
            }
            tokio::select! {
                () = self.filled.notified() => {}
                () = closing.cancelled() => {}
            }
        }
        let linger = sleep(self.limits.linger);
        tokio::pin!(linger);
        while !self.waiting().is_full(&self.limits) {
            tokio::select! {
                () = self.filled.notified() => {}
                () = &mut linger => break,
                () = closing.cancelled() => break,
            }
        }
        Some(self.waiting().take(&self.limits))
    }

    /// Points and bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.points, waiting.bytes)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Drops everything that waits, and says how many points that were.
    pub(crate) fn abandon(&self) -> usize {
        let points =
            std::mem::replace(&mut *self.waiting(), Waiting { items: VecDeque::new(), points: 0, bytes: 0 }).points;
        add(&self.dropped, points);
        points
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Load> Waiting<T> {
    fn pop(&mut self) -> Option<Arc<T>> {
        let item = self.items.pop_front()?;
        self.points -= item.points();
        self.bytes -= item.bytes();
        Some(item)
    }

    const fn is_full(&self, limits: &BatchLimits) -> bool {
        self.points >= limits.points || self.bytes >= limits.bytes
    }

    fn take(&mut self, limits: &BatchLimits) -> Vec<Arc<T>> {
        let (mut batch, mut points, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = self.items.front() {
            points += next.points();
            bytes += next.bytes();
            if !batch.is_empty() && (points > limits.points || bytes > limits.bytes) {
                break;
            }
            batch.extend(self.pop());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Parcel(u32, usize);

    impl Load for Parcel {
        fn points(&self) -> usize {
            1
        }
        fn bytes(&self) -> usize {
            self.1
        }
    }

    fn queue(capacity: usize, points: usize) -> Queue<Parcel> {
        Queue::new(capacity, BatchLimits { points, bytes: 1_000, linger: Duration::from_secs(5) })
    }

    fn numbers(batch: Option<Vec<Arc<Parcel>>>) -> Vec<u32> {
        batch.into_iter().flatten().map(|parcel| parcel.0).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_company_but_not_for_ever() {
        let (queue, closing) = (queue(100, 3), CancellationToken::new());
        (0..4).for_each(|n| queue.push(Arc::new(Parcel(n, 1))));
        let start = tokio::time::Instant::now();
        assert_eq!(numbers(queue.next_batch(&closing).await), [0, 1, 2]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(numbers(queue.next_batch(&closing).await), [3]);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_pushes_out_the_oldest_and_is_counted() {
        let (queue, closing) = (queue(100, 50), CancellationToken::new());
        (0..13).for_each(|n| queue.push(Arc::new(Parcel(n, 10))));
        assert_eq!((queue.dropped(), queue.queued()), (3, (10, 100)));
        assert_eq!(numbers(queue.next_batch(&closing).await), (3..13).collect::<Vec<_>>());
        queue.push(Arc::new(Parcel(99, 101)));
        assert_eq!((queue.dropped(), queue.queued()), (4, (0, 0)), "larger than everything");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_ends_before_it_has_too_many_bytes() {
        let (queue, closing) = (queue(10_000, 50), CancellationToken::new());
        [600, 300, 200, 5_000, 1].into_iter().zip(0..).for_each(|(bytes, n)| queue.push(Arc::new(Parcel(n, bytes))));
        assert_eq!(numbers(queue.next_batch(&closing).await), [0, 1]);
        assert_eq!(numbers(queue.next_batch(&closing).await), [2]);
        assert_eq!(numbers(queue.next_batch(&closing).await), [3], "alone");
        closing.cancel();
        assert_eq!(numbers(queue.next_batch(&closing).await), [4]);
        assert!(queue.next_batch(&closing).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_abandoned_is_counted() {
        let queue = queue(100, 50);
        (0..3).for_each(|n| queue.push(Arc::new(Parcel(n, 10))));
        assert_eq!((queue.abandon(), queue.dropped(), queue.queued()), (3, 3, (0, 0)));
    }
}
