//! Effects that wait for their turn. Pure.
//!
//! Those of one instance follow each other; those of different instances do not wait for each other. A destruction
//! that arrives while the creation before it still tries tells it to give up.

use std::collections::{HashMap, VecDeque};

use outrigger_catalog::model::{Intent, IntentKind};
use outrigger_protocol::id::{InstanceId, IntentId};
use outrigger_protocol::time::UnixMillis;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One effect to carry out.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) intent: Intent,
    /// When the newest sample behind it was received, for a decision that samples led to.
    pub(crate) sampled: Option<UnixMillis>,
    /// Cancelled when a later effect of the same instance makes this one pointless.
    pub(super) overtaken: CancellationToken,
}

impl Job {
    pub(crate) fn new(intent: Intent, sampled: Option<UnixMillis>) -> Self {
        Self { intent, sampled, overtaken: CancellationToken::new() }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Submitted {
    Queued,
    /// It waits, runs, or rests after a failure.
    Known,
    /// There is no room. It is in the store, and comes again.
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    limit: usize,
    lanes: HashMap<InstanceId, Lane>,
    /// Instances whose first effect may begin, in the order in which they came.
    ready: VecDeque<InstanceId>,
    /// Intents that failed and are not taken again before their time.
    resting: HashMap<IntentId, Instant>,
    jobs: usize,
}

#[derive(Debug, Default)]
struct Lane {
    running: Option<Job>,
    waiting: VecDeque<Job>,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn submit(&mut self, job: Job, now: Instant) -> Submitted {
        self.resting.retain(|_, until| *until > now);
        let instance = job.intent.instance;
        let lane = self.lanes.get(&instance);
        let same = |known: &Job| known.intent.id == job.intent.id;
        let known = lane.is_some_and(|lane| lane.running.iter().chain(&lane.waiting).any(same));
        if known || self.resting.contains_key(&job.intent.id) {
            return Submitted::Known;
        }
        if self.jobs >= self.limit {
            return Submitted::Full;
        }
        let lane = self.lanes.entry(instance).or_default();
        if job.intent.kind == IntentKind::Destroy {
            let creations = lane.running.iter().chain(&lane.waiting);
            creations
                .filter(|known| known.intent.kind == IntentKind::Create)
                .for_each(|known| known.overtaken.cancel());
        }
        if lane.running.is_none() && lane.waiting.is_empty() {
            self.ready.push_back(instance);
        }
        lane.waiting.push_back(job);
        self.jobs += 1;
        Submitted::Queued
    }

    /// The next effect to begin.
    pub(super) fn start(&mut self) -> Option<Job> {
        let instance = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&instance)?;
        let job = lane.waiting.pop_front()?;
        lane.running = Some(job.clone());
        Some(job)
    }

    /// The effect of an instance that was begun has ended; if it failed, it is not taken again before `rest_until`.
    pub(super) fn ended(&mut self, instance: InstanceId, rest_until: Option<Instant>) {
        let Some(lane) = self.lanes.get_mut(&instance) else { return };
        if let Some(job) = lane.running.take() {
            self.jobs -= 1;
            self.resting.extend(rest_until.map(|until| (job.intent.id, until)));
        }
        if lane.waiting.is_empty() {
            self.lanes.remove(&instance);
        } else {
            self.ready.push_back(instance);
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.jobs
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::{DeploymentId, IntentId, OrganizationId};

    use super::*;

    fn job(instance: InstanceId, kind: IntentKind) -> Job {
        let intent = Intent {
            id: IntentId::generate(),
            organization: OrganizationId::generate(),
            deployment: DeploymentId::generate(),
            instance,
            kind,
            attempts: 0,
            created_at: UnixMillis::EPOCH,
        };
        Job::new(intent, None)
    }

    #[test]
    fn effects_of_one_instance_follow_each_other_and_others_do_not_wait() {
        let mut queue = Queue::new(10);
        let (one, other) = (InstanceId::generate(), InstanceId::generate());
        let create = job(one, IntentKind::Create);
        let now = Instant::now();
        queue.submit(create, now);
        queue.submit(job(one, IntentKind::Destroy), now);
        queue.submit(job(other, IntentKind::Create), now);
        let first = queue.start().unwrap();
        assert_eq!((first.intent.instance, first.intent.kind), (one, IntentKind::Create));
        assert!(first.overtaken.is_cancelled(), "the destruction told it");
        assert_eq!(queue.start().unwrap().intent.instance, other);
        assert!(queue.start().is_none());
        queue.ended(one, None);
        assert_eq!(queue.start().unwrap().intent.kind, IntentKind::Destroy);
        queue.ended(one, None);
        queue.ended(other, None);
        assert_eq!((queue.len(), queue.lanes.len()), (0, 0));
    }

    #[test]
    fn an_effect_is_queued_once_and_not_beyond_the_limit() {
        let mut queue = Queue::new(2);
        let (create, now) = (job(InstanceId::generate(), IntentKind::Create), Instant::now());
        assert_eq!(queue.submit(create.clone(), now), Submitted::Queued);
        assert_eq!(queue.submit(create.clone(), now), Submitted::Known);
        queue.start();
        assert_eq!(queue.submit(create, now), Submitted::Known, "it runs");
        assert_eq!(queue.submit(job(InstanceId::generate(), IntentKind::Create), now), Submitted::Queued);
        assert_eq!(queue.submit(job(InstanceId::generate(), IntentKind::Create), now), Submitted::Full);
    }

    #[test]
    fn an_effect_that_failed_rests() {
        let (mut queue, now) = (Queue::new(2), Instant::now());
        let destroy = job(InstanceId::generate(), IntentKind::Destroy);
        let rest = std::time::Duration::from_secs(5);
        queue.submit(destroy.clone(), now);
        queue.start();
        queue.ended(destroy.intent.instance, Some(now + rest));
        assert_eq!(queue.submit(destroy.clone(), now + rest / 2), Submitted::Known);
        assert_eq!(queue.submit(destroy, now + rest), Submitted::Queued);
    }
}
