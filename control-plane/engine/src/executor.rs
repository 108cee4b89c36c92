//! Carries intents out: calls drivers, tries again, and writes down what came of it.
//!
//! An intent is in the store before it gets here, so everything in memory may be lost at any moment: what was not
//! finished is brought back by the reconciler, and drivers are idempotent. Effects of one instance follow each other
//! ([`queue`]); the number of calls at the same time is bounded; so is what waits.

mod effect;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_catalog::model::Intent;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::time::UnixMillis;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::ExecutorConfig;
use crate::core::Core;
use crate::stats::Count;
use queue::{Job, Queue, Submitted};

/// The queue of effects, and the effects under way.
#[derive(Debug)]
pub(crate) struct Executor {
    queue: Mutex<Queue>,
    bell: Notify,
    calls: Arc<Semaphore>,
    under_way: TaskTracker,
}

impl Executor {
    pub(crate) fn new(config: &ExecutorConfig) -> Self {
        Self {
            queue: Mutex::new(Queue::new(config.queue)),
            bell: Notify::new(),
            calls: Arc::new(Semaphore::new(config.concurrency.max(1))),
            under_way: TaskTracker::new(),
        }
    }

    /// Effects that wait or are under way.
    pub(crate) fn len(&self) -> usize {
        self.queue().len()
    }

    /// Waits for the effects under way, at most this long. What is left is in the store.
    pub(crate) async fn ended_within(&self, deadline: Duration) -> bool {
        self.under_way.close();
        tokio::time::timeout(deadline, self.under_way.wait()).await.is_ok()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Job {
        loop {
            let rung = self.bell.notified();
            if let Some(job) = self.queue().start() {
                return job;
            }
            rung.await;
        }
    }

    fn ended(&self, job: &Job, rest_until: Option<Instant>) {
        self.queue().ended(job.intent.instance, rest_until);
        self.bell.notify_one();
    }
}

/// Brings intents to the executor. Each is taken once, however often it is brought. `sampled` is when the newest sample
/// behind them was received.
pub(crate) fn submit(core: &Core, intents: impl IntoIterator<Item = Intent>, sampled: Option<UnixMillis>) {
    let mut deferred = 0;
    {
        let mut queue = core.executor.queue();
        for intent in intents {
            if queue.submit(Job::new(intent, sampled), Instant::now()) == Submitted::Full {
                deferred += 1;
            }
        }
    }
    if deferred > 0 {
        core.stats.add(Count::EffectsDeferred, deferred);
        tracing::warn!(deferred, "too many effects at once: some wait in the store");
    }
    core.executor.bell.notify_one();
}

/// The task that hands effects out.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&core.executor.calls).acquire_owned().await else { return };
        let job = core.executor.next().await;
        let core = Arc::clone(&core);
        core.executor.under_way.clone().spawn(async move {
            let ending = Ending { core: &core, job: &job, rest_until: None };
            effect::carry_out(ending).await;
            drop(permit);
        });
    }
}

/// An effect that was begun. However it ends, also by a panic, the next one of its instance gets its turn.
struct Ending<'a> {
    core: &'a Arc<Core>,
    job: &'a Job,
    /// The same intent is not taken again before this.
    rest_until: Option<Instant>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.core.executor.ended(self.job, self.rest_until);
    }
}

/// Ends a sandbox that nobody wrote down, or what a lost one left. Nothing is written: there is nothing to write to.
pub(crate) async fn clear(core: &Arc<Core>, driver: &str, instance: InstanceId) {
    effect::clear(core, driver, instance).await;
}
