//! The one writer: a thread that takes whatever is waiting, and writes it with one synchronisation.
//!
//! While a write is being synchronised, requests gather in the queue; the next write takes them all, within the
//! limits of a group. So a lone request waits for nothing but the disk, and many share its cost. Nobody is
//! answered before the write is durable, also those who were refused: what refused them may be part of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::engine::Engine;
use super::group::{Group, Retention};
use super::stop::Stop;
use crate::error::StoreError;

/// What the queue, a group and the change log may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriterLimits {
    pub(super) queue_requests: usize,
    pub(super) queue_bytes: u32,
    pub(super) group_requests: usize,
    pub(super) group_bytes: usize,
    pub(super) retention: Retention,
}

/// What every request costs in the queue, besides its content.
const REQUEST_BYTES: usize = 256;

/// Something to do in a group, and someone to tell.
trait Request: Send {
    /// Does it. An error concerns the whole group; a refusal is kept for the answer.
    fn apply(&mut self, group: &mut Group<'_>) -> Result<(), Stop>;

    /// Tells the outcome, given what became of the group.
    fn answer(self: Box<Self>, written: Result<(), StoreError>);
}

struct Pending<T, W> {
    work: W,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Request for Pending<T, W>
where
    T: Send,
    W: FnMut(&mut Group<'_>) -> Result<T, Stop> + Send,
{
    fn apply(&mut self, group: &mut Group<'_>) -> Result<(), Stop> {
        if self.reply.is_closed() {
            return Ok(());
        }
        self.result = Some(match (self.work)(group) {
            Ok(done) => Ok(done),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(stop @ Stop::Storage(_)) => return Err(stop),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, written: Result<(), StoreError>) {
        let Self { result, reply, .. } = *self;
        // Whoever asked may have gone away, and then nothing was done for them.
        let _gone = reply.send(written.and_then(|()| result.unwrap_or(Err(StoreError::Closed))));
    }
}

struct Queued {
    request: Box<dyn Request>,
    bytes: usize,
    room: OwnedSemaphorePermit,
}

enum Message {
    Request(Queued),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The queue's end outside the thread.
#[derive(Debug)]
pub(super) struct WriterHandle {
    engine: Arc<Engine>,
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    queue_bytes: u32,
}

impl WriterHandle {
    /// Starts the thread. It ends, and closes the engine, when it is told to or when the handle is dropped.
    pub(super) fn start(engine: Arc<Engine>, limits: WriterLimits) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(limits.queue_requests);
        let writer = Writer { engine: Arc::clone(&engine), waiting, limits, closers: Vec::new() };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run())?;
        let room = Arc::new(Semaphore::new(limits.queue_bytes as usize));
        Ok(Self { engine, queue, room, queue_bytes: limits.queue_bytes })
    }

    /// Queues `work`, of about `bytes`, and waits until it is durable.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnMut(&mut Group<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, StoreError> {
        let bytes = bytes + REQUEST_BYTES;
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.queue_bytes);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(wanted) else { return Err(self.overloaded()) };
        let (reply, answer) = oneshot::channel();
        let request = Box::new(Pending { work, result: None, reply });
        let counters = &self.engine.counters;
        counters.queued.fetch_add(1, Ordering::Relaxed);
        counters.queued_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Err(refused) = self.queue.try_send(Message::Request(Queued { request, bytes, room })) {
            counters.queued.fetch_sub(1, Ordering::Relaxed);
            counters.queued_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
            return Err(match refused {
                mpsc::error::TrySendError::Full(_) => self.overloaded(),
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            });
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    fn overloaded(&self) -> StoreError {
        self.engine.counters.overloads.fetch_add(1, Ordering::Relaxed);
        StoreError::Overloaded
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok()
            && let Ok(outcome) = closed.await
        {
            return outcome;
        }
        // Somebody else was first: wait for the end all the same. The engine outlives its progress.
        let mut follow = self.engine.follow();
        let _outlived = follow.wait_for(|progress| progress.closed).await;
        Ok(())
    }
}

struct Writer {
    engine: Arc<Engine>,
    waiting: mpsc::Receiver<Message>,
    limits: WriterLimits,
    closers: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let group = self.gather(first);
            self.write(group);
            if !self.closers.is_empty() {
                // What is queued already is still written; after it, `blocking_recv` finds the end.
                self.waiting.close();
            }
        }
        let outcome = self.engine.close();
        for closer in self.closers {
            let _gone = closer.send(outcome.clone());
        }
    }

    fn gather(&mut self, first: Message) -> Vec<Queued> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Request(queued) => {
                    bytes += queued.bytes;
                    group.push(queued);
                }
                Message::Close(done) => self.closers.push(done),
            }
            let room = group.len() < self.limits.group_requests && bytes < self.limits.group_bytes;
            next = if room { self.waiting.try_recv().ok() } else { None };
        }
        let counters = &self.engine.counters;
        counters.queued.fetch_sub(group.len() as u64, Ordering::Relaxed);
        counters.queued_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        group
    }

    fn write(&self, mut requests: Vec<Queued>) {
        if requests.is_empty() {
            return;
        }
        let started = Instant::now();
        let written = self.engine.write(|write| {
            let mut group = Group::open(write)?;
            for queued in &mut requests {
                queued.request.apply(&mut group)?;
            }
            group.finish(self.limits.retention)
        });
        let count = requests.len() as u64;
        let counters = &self.engine.counters;
        match &written {
            Ok(()) => counters.wrote(count, started.elapsed()),
            Err(StoreError::Full) => drop(counters.full.fetch_add(count, Ordering::Relaxed)),
            Err(_) => drop(counters.failures.fetch_add(count, Ordering::Relaxed)),
        }
        for Queued { request, room, .. } in requests {
            // Whoever is answered may ask again at once, and finds the room that they left.
            drop(room);
            request.answer(written.clone());
        }
    }
}
