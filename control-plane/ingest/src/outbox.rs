//! What is to be said to one agent: at most one message of each kind, the latest.
//!
//! There is no queue to overflow: an agent that reads slowly misses intermediate states and gets the last ones. An
//! offer replaces an older offer, an acknowledgement covers everything before it.

use std::sync::Mutex;

use outrigger_protocol::message::{AgentSettings, ConfigOffer, ServerMessage};
use outrigger_protocol::sample::BatchId;
use outrigger_protocol::time::UnixMillis;
use tokio::sync::Notify;

use crate::shards::lock;

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Say(ServerMessage),
    /// Say it, and nothing after it.
    SayLast(ServerMessage),
}

#[derive(Debug, Default)]
struct Pending {
    renewed: Option<Vec<Vec<u8>>>,
    settings: Option<Box<AgentSettings>>,
    offer: Option<Box<ConfigOffer>>,
    metrics: Option<BatchId>,
    logs: Option<BatchId>,
    heartbeat: Option<UnixMillis>,
    drain: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

impl Outbox {
    fn put(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut lock(&self.pending));
        self.wake.notify_one();
    }

    /// Replaces a waiting offer, unless that one is newer.
    pub(crate) fn offer(&self, offer: ConfigOffer) {
        self.put(|pending| {
            let waiting = pending.offer.as_ref().map(|waiting| waiting.config.generation);
            if waiting.is_none_or(|waiting| waiting <= offer.config.generation) {
                pending.offer = Some(Box::new(offer));
            }
        });
    }

    pub(crate) fn settings(&self, settings: AgentSettings) {
        self.put(|pending| pending.settings = Some(Box::new(settings)));
    }

    pub(crate) fn metrics_accepted(&self, id: BatchId) {
        self.put(|pending| pending.metrics = Some(id));
    }

    pub(crate) fn logs_accepted(&self, id: BatchId) {
        self.put(|pending| pending.logs = Some(id));
    }

    pub(crate) fn heartbeat(&self, now: UnixMillis) {
        self.put(|pending| pending.heartbeat = Some(now));
    }

    pub(crate) fn renewed(&self, chain: Vec<Vec<u8>>) {
        self.put(|pending| pending.renewed = Some(chain));
    }

    pub(crate) fn drain(&self) {
        self.put(|pending| pending.drain = true);
    }

    fn take(&self) -> Option<Next> {
        let mut pending = lock(&self.pending);
        let say = if let Some(chain) = pending.renewed.take() {
            ServerMessage::Renewed { chain }
        } else if let Some(id) = pending.metrics.take() {
            ServerMessage::MetricsAccepted { id }
        } else if let Some(id) = pending.logs.take() {
            ServerMessage::LogsAccepted { id }
        } else if pending.drain {
            return Some(Next::SayLast(ServerMessage::Drain));
        } else if let Some(settings) = pending.settings.take() {
            ServerMessage::Settings(*settings)
        } else if let Some(offer) = pending.offer.take() {
            ServerMessage::Offer(offer)
        } else if let Some(now) = pending.heartbeat.take() {
            ServerMessage::Heartbeat { now }
        } else {
            return None;
        };
        Some(Next::Say(say))
    }

    /// Waits for something to say. Cancel safe.
    pub(crate) async fn next(&self) -> Next {
        loop {
            // A permit is kept for a `put` between the look and the wait.
            if let Some(next) = self.take() {
                return next;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::message::ConfigRef;
    use outrigger_protocol::seal::Sealed;

    use super::*;

    fn offer(generation: u64) -> ConfigOffer {
        ConfigOffer {
            config: ConfigRef { generation, hash: [0; 32] },
            nonce: [0; 16],
            sealed: Sealed { encapsulated: [0; 32], ciphertext: Vec::new() },
        }
    }

    #[tokio::test]
    async fn the_latest_of_each_kind_is_said_once() {
        let outbox = Outbox::default();
        outbox.offer(offer(1));
        outbox.offer(offer(3));
        outbox.offer(offer(2));
        outbox.metrics_accepted(BatchId { epoch: 1, seq: 1 });
        outbox.metrics_accepted(BatchId { epoch: 1, seq: 2 });
        let accepted = ServerMessage::MetricsAccepted { id: BatchId { epoch: 1, seq: 2 } };
        assert_eq!(outbox.next().await, Next::Say(accepted));
        assert_eq!(outbox.next().await, Next::Say(ServerMessage::Offer(Box::new(offer(3)))));
        assert_eq!(outbox.take(), None);
    }

    #[tokio::test]
    async fn a_drain_is_the_last_word_and_comes_before_an_offer() {
        let outbox = Outbox::default();
        outbox.offer(offer(1));
        outbox.drain();
        assert_eq!(outbox.next().await, Next::SayLast(ServerMessage::Drain));
    }
}
