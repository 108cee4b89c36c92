//! Evaluations on threads of their own, so that no policy ever holds up the runtime, or another policy.
//!
//! Jobs queue per policy, and policies take turns. One policy never has all the threads: with N threads it runs on at
//! most N - 1 (on one if there is only one), so a policy that takes its whole second each time slows nobody but
//! itself. Queues are bounded, and a job that waited too long is answered without being run: its input is stale.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::host::PolicyHost;
use crate::input::Input;
use crate::policy::Policy;
use crate::proposal::Evaluation;

/// The size of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// At least 1; 2 or more keep a slow policy from holding up the others.
    pub threads: usize,
    /// Jobs that may wait for one policy.
    pub queued_per_policy: usize,
    /// Jobs that may wait altogether.
    pub queued: usize,
    /// A job that waited longer is not run any more.
    pub queue_deadline: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { threads: cores.max(2), queued_per_policy: 4096, queued: 16_384, queue_deadline: Duration::from_secs(2) }
    }
}

/// The threads and what waits for them. Dropping it refuses what still waits and joins the threads, which takes at
/// most as long as the evaluations under way.
#[derive(Debug)]
pub struct EvaluationPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    host: Arc<PolicyHost>,
    config: PoolConfig,
    queues: Mutex<Queues>,
    /// Rung when a job came, a thread of a policy became free, or the pool closes.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Queues {
    lanes: HashMap<Digest, Lane>,
    /// Policies with waiting jobs, in the order of their turns.
    turns: VecDeque<Digest>,
    waiting: usize,
    closed: bool,
}

/// What one policy has in the pool. It exists as long as it has anything.
#[derive(Debug, Default)]
struct Lane {
    jobs: VecDeque<Job>,
    running: usize,
}

#[derive(Debug)]
struct Job {
    policy: Arc<Policy>,
    input: Arc<Input>,
    since: Instant,
    answer: oneshot::Sender<Evaluation>,
}

/// An evaluation that will be there. Dropping it withdraws the job if it has not begun.
#[derive(Debug)]
pub struct PendingEvaluation(oneshot::Receiver<Evaluation>);

impl Future for PendingEvaluation {
    type Output = Evaluation;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Evaluation> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| overloaded("the evaluation was abandoned")))
    }
}

impl PendingEvaluation {
    /// Waits on this thread, which must not be one of an async runtime.
    #[must_use]
    pub fn wait(self) -> Evaluation {
        self.0.blocking_recv().unwrap_or_else(|_| overloaded("the evaluation was abandoned"))
    }
}

impl EvaluationPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system has none to give.
    pub fn new(host: Arc<PolicyHost>, config: PoolConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared { host, config, queues: Mutex::new(Queues::default()), bell: Condvar::new() });
        let mut pool = Self { shared, threads: Vec::new() };
        for number in 0..config.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name(format!("policy-{number}")).spawn(move || shared.work())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Queues an evaluation. Never blocks: where there is no room, the answer is [`Fault::Overloaded`] at once.
    pub fn evaluate(&self, policy: Arc<Policy>, input: Arc<Input>) -> PendingEvaluation {
        let (answer, pending) = oneshot::channel();
        let job = Job { policy, input, since: Instant::now(), answer };
        if let Err((job, what)) = self.shared.lock().push(job, &self.shared.config) {
            job.refuse(what);
        } else {
            self.shared.bell.notify_one();
        }
        PendingEvaluation(pending)
    }

    /// The host that the threads ask.
    #[must_use]
    pub fn host(&self) -> &Arc<PolicyHost> {
        &self.shared.host
    }
}

impl Drop for EvaluationPool {
    fn drop(&mut self) {
        {
            let mut queues = self.shared.lock();
            queues.closed = true;
            // The senders go with the jobs, and that is what the receivers hear.
            queues.turns.clear();
            queues.lanes.values_mut().for_each(|lane| lane.jobs.clear());
        }
        self.shared.bell.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // The queues are consistent between any two statements that could panic.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn work(&self) {
        let per_policy = self.config.threads.saturating_sub(1).max(1);
        while let Some(job) = self.next(per_policy) {
            let digest = job.policy.digest();
            // A defect of the engine must not cost a thread. The caller hears that its job was abandoned.
            if std::panic::catch_unwind(AssertUnwindSafe(|| self.run(job))).is_err() {
                tracing::error!(%digest, "the policy engine panicked during an evaluation");
            }
            self.lock().finished(digest);
            // A turn that was passed over because its policy had all its threads may be taken now.
            self.bell.notify_one();
        }
    }

    fn next(&self, per_policy: usize) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return None;
            }
            if let Some(job) = queues.pop(per_policy) {
                return Some(job);
            }
            queues = self.bell.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, job: Job) {
        if job.answer.is_closed() {
            return;
        }
        if job.since.elapsed() > self.config.queue_deadline {
            job.refuse("it waited too long for a thread");
            return;
        }
        let evaluation = self.host.evaluate(&job.policy, &job.input);
        // Nobody may be waiting any more.
        let _ = job.answer.send(evaluation);
    }
}

impl Queues {
    fn push(&mut self, job: Job, config: &PoolConfig) -> Result<(), (Job, &'static str)> {
        if self.waiting >= config.queued {
            return Err((job, "too many evaluations wait"));
        }
        let digest = job.policy.digest();
        let lane = self.lanes.entry(digest).or_default();
        if lane.jobs.len() >= config.queued_per_policy {
            return Err((job, "too many evaluations of this policy wait"));
        }
        if lane.jobs.is_empty() {
            self.turns.push_back(digest);
        }
        lane.jobs.push_back(job);
        self.waiting += 1;
        Ok(())
    }

    /// The next job of the first policy in turn that has a thread left.
    fn pop(&mut self, per_policy: usize) -> Option<Job> {
        let turn = self
            .turns
            .iter()
            .position(|digest| self.lanes.get(digest).is_some_and(|lane| lane.running < per_policy))?;
        let digest = self.turns.remove(turn)?;
        let lane = self.lanes.get_mut(&digest)?;
        let job = lane.jobs.pop_front()?;
        lane.running += 1;
        self.waiting -= 1;
        if !lane.jobs.is_empty() {
            self.turns.push_back(digest);
        }
        Some(job)
    }

    fn finished(&mut self, digest: Digest) {
        if let Some(lane) = self.lanes.get_mut(&digest) {
            lane.running -= 1;
            if lane.running == 0 && lane.jobs.is_empty() {
                self.lanes.remove(&digest);
            }
        }
    }
}

impl Job {
    fn refuse(self, what: &str) {
        let _ = self.answer.send(overloaded(what));
    }
}

fn overloaded(what: &str) -> Evaluation {
    Evaluation::refused(Fault::Overloaded { what: what.to_owned() })
}
