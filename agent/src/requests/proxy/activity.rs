//! What happens on a client's connection: bytes, requests, and why it has to end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use super::refusal::Refusal;

/// What a connection is doing, as far as its deadlines are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No request is under way.
    Idle,
    /// A head has begun to arrive.
    Head,
    /// The program has a request; how long it may take is the upstream's business.
    Waiting,
    /// Answers flow back.
    Answering,
}

/// Shared by everything that handles the connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// A head has begun to arrive while nothing else happened.
    head: AtomicBool,
    /// Requests whose answer is not complete; HTTP/2 has many.
    open: AtomicU32,
    /// Of these, the ones whose answer has not begun.
    waiting: AtomicU32,
    /// Requests that are over; wraps.
    ended: AtomicU32,
    /// Reads and writes that moved something; wraps.
    progress: AtomicU32,
    /// Requests that the client gave up, less those that it saw to their end.
    abandoned: AtomicU32,
    /// The bytes are no longer HTTP/1.1.
    raw: AtomicBool,
    refused: AtomicBool,
    refusal: Mutex<Option<Refusal>>,
    /// Of a refused connection: who waits for its requests to end.
    waiter: Mutex<Option<Waker>>,
}

impl Activity {
    pub(super) fn phase(&self) -> Phase {
        if self.open.load(Ordering::Relaxed) > 0 {
            if self.waiting.load(Ordering::Relaxed) > 0 { Phase::Waiting } else { Phase::Answering }
        } else if self.head.load(Ordering::Relaxed) {
            Phase::Head
        } else {
            Phase::Idle
        }
    }

    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// Part of a head is there.
    pub(super) fn head_begun(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            self.head.store(true, Ordering::Relaxed);
        }
    }

    /// A request begins, whose answer is waited for.
    pub(super) fn request_begun(&self) {
        self.head.store(false, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer of one request begins.
    pub(super) fn answer_begun(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request whose answer has begun ends, complete or given up by the client.
    pub(super) fn request_ended(&self, complete: bool) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        let abandoned = if complete { abandoned.saturating_sub(1) } else { abandoned.saturating_add(1) };
        self.abandoned.store(abandoned, Ordering::Relaxed);
        if self.is_refused()
            && let Some(waiter) = self.waiter.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            waiter.wake();
        }
    }

    /// How many requests are over; wraps. Of a refused connection, the end of another one wakes the caller.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> u32 {
        *self.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn abandoned(&self) -> u32 {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// From here on, bytes pass as they are.
    pub(super) fn enter_raw(&self) {
        self.raw.store(true, Ordering::Relaxed);
        self.head.store(false, Ordering::Relaxed);
        // What came early was no head.
        self.refused.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_raw(&self) -> bool {
        self.raw.load(Ordering::Relaxed)
    }

    /// No further request is taken, and the client is told why with the last bytes. The first reason counts.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
        self.refused.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
