//! Who listens to which deployment.
//!
//! While somebody has subscribed to a topic of a deployment there is a hub for it, with one task that takes every
//! update from the source once. The last one who leaves ends it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::queue::Queue;
use crate::request::{Filter, Topic};
use crate::session::Reply;
use crate::source::{Feed, Source, Subject};
use crate::update::Update;

/// Updates that are handed on without letting those who take them have their turn.
const AT_A_TIME: usize = 64;

/// What a hub is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    pub(crate) topic: Topic,
    pub(crate) subject: Subject,
}

/// The number of a session, which is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Hubs {
    source: Arc<dyn Source>,
    /// Locked before any hub is.
    hubs: Mutex<HashMap<Channel, Arc<Hub>>>,
}

#[derive(Debug, Default)]
struct Hub(Mutex<HubState>);

#[derive(Debug, Default)]
struct HubState {
    subscribers: Vec<Subscriber>,
    /// The newest status, for those who come later.
    latest: Option<Arc<Update>>,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Subscriber {
    session: SessionId,
    filter: Filter,
    queue: Arc<Queue>,
}

impl Hubs {
    pub(crate) fn new(source: Arc<dyn Source>) -> Arc<Self> {
        Arc::new(Self { source, hubs: Mutex::default() })
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// From now on, updates that pass the filter go into the queue. Subscribing again replaces the filter.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        channel: Channel,
        session: SessionId,
        filter: Filter,
        queue: &Arc<Queue>,
    ) {
        let mut hubs = self.lock();
        let hub = Arc::clone(hubs.entry(channel).or_default());
        let mut state = hub.lock();
        if let Some(latest) = &state.latest {
            queue.push(latest, Instant::now());
        }
        state.subscribers.retain(|subscriber| subscriber.session != session);
        state.subscribers.push(Subscriber { session, filter, queue: Arc::clone(queue) });
        if state.task.is_none() {
            // Here and not in the task: who has subscribed misses nothing of what comes after.
            let feed = self.source.updates(channel.topic, channel.subject);
            let task = tokio::spawn(Arc::clone(self).produce(channel, Arc::clone(&hub), feed));
            state.task = Some(task.abort_handle());
        }
    }

    pub(crate) fn unsubscribe(&self, channel: Channel, session: SessionId) {
        let mut hubs = self.lock();
        let Some(hub) = hubs.get(&channel) else { return };
        let mut state = hub.lock();
        state.subscribers.retain(|subscriber| subscriber.session != session);
        if state.subscribers.is_empty() {
            if let Some(task) = state.task.take() {
                task.abort();
            }
            drop(state);
            hubs.remove(&channel);
        }
    }

    async fn produce(self: Arc<Self>, channel: Channel, hub: Arc<Hub>, mut feed: BoxStream<'static, Feed>) {
        let mut handed_on = 0;
        while let Some(next) = feed.next().await {
            match next {
                Feed::Update(update) => hub.publish(channel.topic, update),
                Feed::Missed(count) => hub.lock().subscribers.iter().for_each(|one| one.queue.push_missed(count)),
            }
            handed_on += 1;
            if handed_on % AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.end(channel, &hub);
    }

    /// The source has no more.
    fn end(&self, channel: Channel, hub: &Arc<Hub>) {
        let mut hubs = self.lock();
        if hubs.get(&channel).is_some_and(|current| Arc::ptr_eq(current, hub)) {
            hubs.remove(&channel);
        }
        drop(hubs);
        let Channel { topic, subject } = channel;
        for subscriber in std::mem::take(&mut hub.lock().subscribers) {
            let message = format!("there is no more of the {} of {}", topic.name(), subject.deployment);
            // A client with too many answers under way is on its way out.
            let _ = subscriber.queue.push_reply(Reply::Error { message });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Channel, Arc<Hub>>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn publish(&self, topic: Topic, update: Update) {
        let update = Arc::new(update);
        let now = Instant::now();
        let mut state = self.lock();
        for subscriber in &state.subscribers {
            if subscriber.filter.passes(&update) {
                subscriber.queue.push(&update, now);
            }
        }
        if topic == Topic::Status {
            state.latest = Some(update);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
