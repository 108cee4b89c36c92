//! One socket of somebody with a valid token.
//!
//! Three things go on side by side until one of them ends the session: what the client asks for is answered, what waits
//! for it is handed over, and its token is looked at again.

mod delivery;

pub(crate) use delivery::BUFFER;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outrigger_catalog::model::Actor;
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_secrets::SecretString;
use serde::Serialize;
use serde_json::Value;
use socketioxide::extract::SocketRef;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::config::LiveConfig;
use crate::hub::{Channel, Hubs, SessionId};
use crate::queue::{Queue, TooManyReplies};
use crate::request::{Malformed, Topic, Wish, shown};
use crate::source::Subject;
use crate::stats::{Counters, add};

/// What a client is told in answer to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Confirmed(Confirmation),
    Unsubscribed(Confirmation),
    Refused(Refusal),
    Error { message: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Confirmation {
    #[serde(rename = "type")]
    pub(crate) topic: &'static str,
    pub(crate) deployment_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    #[serde(rename = "type")]
    pub(crate) topic: &'static str,
    /// As it was asked for, so that the client can tell which request it was.
    pub(crate) deployment_id: Option<String>,
    pub(crate) message: String,
}

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Subscribe(Topic, Value),
    Unsubscribe(Topic, Value),
    Unknown(String),
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The client is gone, or this control plane is.
    Left,
    Behind,
    Flooding,
    TokenEnded(String),
}

/// What every session works with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) catalog: Catalog,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) config: LiveConfig,
    /// Cancelled when this control plane goes down.
    pub(crate) closing: CancellationToken,
    pub(crate) counters: Counters,
}

/// The way in: requests go here as they come, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    requests: mpsc::Sender<Request>,
    flooded: CancellationToken,
}

impl Mailbox {
    /// Never waits. A client that asks faster than it is answered has its session ended.
    pub(crate) fn put(&self, request: Request) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.requests.try_send(request) {
            self.flooded.cancel();
        }
    }
}

pub(crate) struct Session {
    id: SessionId,
    shared: Arc<Shared>,
    actor: Actor,
    token: SecretString,
    queue: Arc<Queue>,
    requests: mpsc::Receiver<Request>,
    flooded: CancellationToken,
    /// Cancelled when the client is gone.
    gone: CancellationToken,
}

impl Session {
    pub(crate) fn new(
        id: SessionId,
        shared: Arc<Shared>,
        actor: Actor,
        token: SecretString,
        gone: CancellationToken,
    ) -> (Self, Mailbox) {
        let config = &shared.config;
        let limits =
            crate::queue::Limits { updates: config.queue, bytes: config.queue_bytes, replies: config.requests };
        let queue = Arc::new(Queue::new(limits));
        let (sender, requests) = mpsc::channel(config.requests);
        let flooded = CancellationToken::new();
        let mailbox = Mailbox { requests: sender, flooded: flooded.clone() };
        (Self { id, shared, actor, token, queue, requests, flooded, gone }, mailbox)
    }

    /// Lives as long as the connection does.
    pub(crate) async fn run(self, socket: SocketRef) {
        let Self { id, shared, actor, token, queue, requests, flooded, gone } = self;
        add(&shared.counters.sessions, 1);
        let mut subscriptions = Subscriptions { id, shared: &shared, queue: &queue, channels: HashSet::new() };
        let end = tokio::select! {
            end = subscriptions.answer(&actor, requests) => end,
            end = delivery::hand_over(&socket, &queue, &shared) => end,
            end = watch_token(&shared, &token) => end,
            () = flooded.cancelled() => End::Flooding,
            () = gone.cancelled() => End::Left,
            () = shared.closing.cancelled() => End::Left,
        };
        drop(subscriptions);
        shared.counters.sessions.fetch_sub(1, Ordering::Relaxed);
        let missed = queue.clear();
        add(&shared.counters.missed, missed);
        if end == End::Left {
            debug!(session = id.0, organization = %actor.organization, "a live client has left");
        } else {
            add(&shared.counters.dropped, u64::from(end == End::Behind));
            info!(session = id.0, organization = %actor.organization, ?end, missed, "a live client was sent away");
        }
        if let Some(message) = end.message(&shared.config, missed) {
            tokio::select! {
                () = delivery::farewell(&socket, message, shared.config.grace) => {}
                () = gone.cancelled() => {}
            }
        }
    }
}

impl End {
    fn message(&self, config: &LiveConfig, missed: u64) -> Option<String> {
        match self {
            Self::Left => None,
            Self::Behind => {
                Some(format!("too slow: {} s behind, dropped; {missed} updates missed", config.patience.as_secs()))
            }
            Self::Flooding => Some(format!("too many requests: at most {} may be under way", config.requests)),
            Self::TokenEnded(reason) => Some(format!("Authentication failed: {reason}")),
        }
    }
}

/// What one session has subscribed to. Dropping it ends all of it.
struct Subscriptions<'a> {
    id: SessionId,
    shared: &'a Shared,
    queue: &'a Arc<Queue>,
    channels: HashSet<Channel>,
}

impl Subscriptions<'_> {
    async fn answer(&mut self, actor: &Actor, mut requests: mpsc::Receiver<Request>) -> End {
        while let Some(request) = requests.recv().await {
            let answered = match request {
                Request::Subscribe(topic, asked) => self.subscribe(actor, topic, asked).await,
                Request::Unsubscribe(topic, asked) => self.unsubscribe(actor, topic, asked),
                Request::Unknown(event) => self.queue.push_reply(Reply::Error { message: unknown(&event) }),
            };
            if answered == Err(TooManyReplies) {
                return End::Flooding;
            }
        }
        End::Left
    }

    async fn subscribe(&mut self, actor: &Actor, topic: Topic, asked: Value) -> Result<(), TooManyReplies> {
        let deployment_id = asked["deploymentId"].as_str().map(|id| shown(id, 1));
        let refuse = |message| Reply::Refused(Refusal { topic: topic.name(), deployment_id, message });
        match self.admit(actor, topic, asked).await {
            Ok((channel, filter)) => {
                // Before the first update of it.
                self.queue.push_reply(Reply::Confirmed(channel.confirmation()))?;
                self.channels.insert(channel);
                self.shared.hubs.subscribe(channel, self.id, filter, self.queue);
                Ok(())
            }
            Err(refused) => self.queue.push_reply(refuse(refused.to_string())),
        }
    }

    async fn admit(
        &self,
        actor: &Actor,
        topic: Topic,
        asked: Value,
    ) -> Result<(Channel, crate::request::Filter), Refused> {
        let wish = Wish::read(topic, asked)?;
        let most = self.shared.config.subscriptions;
        let subject = Subject { organization: actor.organization, deployment: wish.deployment };
        let channel = Channel { topic, subject };
        if !self.channels.contains(&channel) && self.channels.len() >= most {
            return Err(Refused::TooMany(most));
        }
        match self.shared.catalog.deployment(actor, wish.deployment).await {
            Ok(_) => Ok((channel, wish.filter)),
            Err(error @ CatalogError::NotFound { .. }) => Err(Refused::NotFound(error)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a subscription could not be checked");
                Err(Refused::Unavailable)
            }
        }
    }

    /// Of what is not subscribed to, there is nothing to end: that is confirmed as well.
    fn unsubscribe(&mut self, actor: &Actor, topic: Topic, asked: Value) -> Result<(), TooManyReplies> {
        let deployment_id = asked["deploymentId"].as_str().map(|id| shown(id, 1));
        match Wish::read(topic, asked) {
            Ok(wish) => {
                let subject = Subject { organization: actor.organization, deployment: wish.deployment };
                let channel = Channel { topic, subject };
                if self.channels.remove(&channel) {
                    self.shared.hubs.unsubscribe(channel, self.id);
                }
                self.queue.push_reply(Reply::Unsubscribed(channel.confirmation()))
            }
            Err(error) => {
                let message = error.to_string();
                self.queue.push_reply(Reply::Refused(Refusal { topic: topic.name(), deployment_id, message }))
            }
        }
    }
}

impl Drop for Subscriptions<'_> {
    fn drop(&mut self) {
        for channel in self.channels.drain() {
            self.shared.hubs.unsubscribe(channel, self.id);
        }
    }
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    NotFound(CatalogError),
    #[error("too many subscriptions: this connection has {0}, which is all one may have")]
    TooMany(usize),
    #[error("unavailable: try again a little later")]
    Unavailable,
}

impl Channel {
    fn confirmation(self) -> Confirmation {
        Confirmation { topic: self.topic.name(), deployment_id: self.subject.deployment.to_string() }
    }
}

fn unknown(event: &str) -> String {
    let known = Topic::ALL.map(|topic| format!("{}, {}", topic.subscribe(), topic.unsubscribe())).join(", ");
    format!("unknown event `{}`; known: {known}", shown(event, 1))
}

/// Looks again and again whether the token is still good, and returns when it is not.
async fn watch_token(shared: &Shared, token: &SecretString) -> End {
    let every = shared.config.recheck;
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match shared.catalog.authenticate(token.expose()).await {
            Err(CatalogError::Unauthenticated(reason)) => return End::TokenEnded(reason.to_string()),
            Ok(_) => {}
            // Nothing is known of the token: it is asked about again.
            Err(error) => debug!(error = &error as &dyn std::error::Error, "a token could not be checked"),
        }
    }
}
