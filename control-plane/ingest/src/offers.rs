//! Environments on their way to agents.
//!
//! Each agent gets its own ciphertext. Sealing takes about a tenth of a millisecond, so two thousand agents are sealed
//! for in chunks on the blocking pool, as many at a time as there are cores; the session's writers send each as it is
//! ready.
//!
//! Offers of different generations to one agent may be under way at the same time, and the higher one may be ready first.
//! An agent that was offered, or has received, something of a higher generation is not offered a lower one any more.

use std::sync::Arc;

use outrigger_catalog::model::Deployment;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ConfigOffer, ConfigRef};
use outrigger_protocol::seal::{self, SealContext, SealError};
use tracing::{debug, warn};

use crate::environments::{Effective, EnvironmentError};
use crate::registry::{Peer, PeerState};
use crate::server::Inner;
use crate::session::Session;
use crate::stats::Count;

/// Agents sealed for before another task gets the core: about 3 ms.
const CHUNK: usize = 32;

type Receiver = (Arc<Peer>, Arc<Session>);

impl Inner {
    /// Offers a generation to those of the instances that are connected. Returns once the offers are under way.
    pub(crate) async fn offer(
        self: &Arc<Self>,
        deployment: &Deployment,
        config: ConfigRef,
        instances: &[InstanceId],
    ) -> Result<(), EnvironmentError> {
        let receivers = self.receivers(deployment, instances);
        if receivers.is_empty() {
            return Ok(());
        }
        let (organization, environment) = (deployment.organization, deployment.spec.environment);
        let load = || async {
            let found = self.catalog.effective_at(organization, environment, config.generation).await;
            found.map(|(_, content)| content)
        };
        let effective = self.environments.find(environment, config, self.uptime(), load).await?;
        let (generation, agents) = (config.generation, receivers.len());
        debug!(deployment = %deployment.id, generation, agents, "configuration offered");
        self.deliver(effective, receivers);
        Ok(())
    }

    fn receivers(&self, deployment: &Deployment, instances: &[InstanceId]) -> Vec<Receiver> {
        let peers = instances.iter().filter_map(|instance| self.registry.of_instance(*instance));
        let peers = peers.filter(|peer| peer.deployment == deployment.id);
        peers.filter_map(|peer| peer.session().map(|session| (peer, session))).collect()
    }

    /// Seals and offers, in the background.
    fn deliver(self: &Arc<Self>, effective: Arc<Effective>, mut receivers: Vec<Receiver>) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            while !receivers.is_empty() {
                let chunk = receivers.split_off(receivers.len().saturating_sub(CHUNK));
                // Closed only together with the server: nobody is left to offer to.
                let Ok(permit) = Arc::clone(&inner.sealing).acquire_owned().await else { return };
                let (inner, effective) = (Arc::clone(&inner), Arc::clone(&effective));
                tokio::task::spawn_blocking(move || {
                    for (peer, session) in &chunk {
                        inner.offer_to(&effective, peer, session);
                    }
                    drop(permit);
                });
            }
        });
    }

    fn offer_to(&self, effective: &Effective, peer: &Peer, session: &Arc<Session>) {
        let config = effective.config;
        let overtaken = || debug!(agent = %peer.agent, generation = config.generation, "offer overtaken");
        // Also before the work.
        if !peer.with(|known| may_offer(known, session, config)) {
            return overtaken();
        }
        let context = SealContext { agent: peer.agent, deployment: peer.deployment, generation: config.generation };
        let offer = match prepare(effective, session, &context) {
            Ok(offer) => offer,
            Err(error) => {
                self.stats.add(Count::OffersFailed, 1);
                warn!(agent = %peer.agent, error = &error as &dyn std::error::Error, "no offer for an agent");
                return;
            }
        };
        // Noted and handed over under one lock: whoever comes later with a lower generation finds it.
        let handed_over = peer.with(|known| {
            let may = may_offer(known, session, config);
            if may {
                known.offered = config.generation;
                session.outbox.offer(offer);
            }
            may
        });
        if handed_over {
            self.stats.add(Count::OffersSealed, 1);
        } else {
            overtaken();
        }
    }
}

/// Whether the session is still the agent's, and nothing of a higher generation has got there first.
fn may_offer(known: &PeerState, session: &Arc<Session>, config: ConfigRef) -> bool {
    let received = known.config.last_received.map_or(0, |received| received.generation);
    known.is_served_by(session) && known.offered.max(received) <= config.generation
}

#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("cannot seal to the agent's key")]
    Seal(#[source] SealError),
    #[error("no randomness for a nonce")]
    Nonce(#[source] getrandom::Error),
}

fn prepare(effective: &Effective, session: &Session, context: &SealContext) -> Result<ConfigOffer, PrepareError> {
    let sealed = seal::seal(&session.seal_key, &effective.plaintext, context).map_err(PrepareError::Seal)?;
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(PrepareError::Nonce)?;
    Ok(ConfigOffer { config: effective.config, nonce, sealed })
}
