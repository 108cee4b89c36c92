//! The engine's tasks, and what happens when one of them ends.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::stats::{Count, Stats};

/// A task that lives as long as the engine.
///
/// None of them may end by itself. One that does, or that panics, is logged, counted and started again after a pause:
/// each begins by reading the state of things from the catalog, so nothing is lost but its place. What becomes of it
/// when the engine is cancelled, its kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// Looks at deployments. Cancelled: a look is dropped; what it was about to write down is there or not, as one.
    Scaler,
    /// Hands out effects. Cancelled: begins no more; those that were begun are tasks of their own, which draining
    /// awaits, and what is left of them is in the store.
    Executor,
    /// Compares what is written down with what there is. Cancelled: the round is dropped, and done again next time.
    Reconciler,
    /// Follows the catalog's changes. Cancelled: dropped; a restart looks at everything again.
    Changes,
    /// Follows what agents tell. Cancelled: dropped; what it misses shows in the next round of the reconciler.
    Agents,
    /// Deletes what is past its time. Cancelled: dropped; it is still past its time later.
    Janitor,
    /// Replaces keys. Cancelled: a step is dropped, which has happened or not; the next start goes on from there.
    Rotator,
}

impl TaskKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scaler => "scaler",
            Self::Executor => "executor",
            Self::Reconciler => "reconciler",
            Self::Changes => "changes",
            Self::Agents => "agents",
            Self::Janitor => "janitor",
            Self::Rotator => "rotator",
        }
    }
}

/// Between the end of a task and its next start.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The tasks of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    stats: Arc<Stats>,
}

impl Tasks {
    pub(crate) fn new(cancel: CancellationToken, stats: Arc<Stats>) -> Self {
        Self { tracker: TaskTracker::new(), cancel, stats }
    }

    /// Runs a task until the engine is cancelled, and starts it again when it ends before.
    pub(crate) fn keep<F>(&self, kind: TaskKind, make: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (cancel, stats) = (self.cancel.clone(), Arc::clone(&self.stats));
        self.tracker.spawn(async move {
            loop {
                let mut run = Run(tokio::spawn(make()));
                let ended = tokio::select! {
                    () = cancel.cancelled() => return,
                    ended = &mut run.0 => ended,
                };
                match ended {
                    Err(failed) if failed.is_panic() => {
                        stats.add(Count::TaskPanics, 1);
                        tracing::error!(task = kind.name(), "a task panicked and is started again");
                    }
                    _ => tracing::warn!(task = kind.name(), "a task ended and is started again"),
                }
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(RESTART_PAUSE) => {}
                }
            }
        });
    }

    /// Waits for the end of all of them; they must have been cancelled.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A task that ends with whoever waits for it.
struct Run(JoinHandle<()>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_ends_is_started_again_until_it_is_cancelled() {
        let (cancel, stats, starts) =
            (CancellationToken::new(), Arc::new(Stats::default()), Arc::new(AtomicU32::new(0)));
        let tasks = Tasks::new(cancel.clone(), Arc::clone(&stats));
        let counted = Arc::clone(&starts);
        tasks.keep(TaskKind::Janitor, move || {
            let start = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match start {
                    0 => panic!("on purpose"),
                    1 => {}
                    _ => std::future::pending().await,
                }
            }
        });
        while starts.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(stats.get(Count::TaskPanics), 1);
        cancel.cancel();
        tasks.ended().await;
    }
}
