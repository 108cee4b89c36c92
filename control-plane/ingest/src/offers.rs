//! Environments on their way to agents.
//!
//! Each agent gets its own ciphertext. Sealing takes about a tenth of a millisecond, so two thousand agents are sealed
//! for in chunks on the blocking pool, as many at a time as there are cores; the session's writers send each as it is
//! ready. A chunk of a rollout that has been overtaken by a newer one is dropped.

use std::sync::Arc;

use outrigger_catalog::model::{Actor, Deployment};
use outrigger_protocol::message::{ConfigOffer, ConfigStatus};
use outrigger_protocol::seal::{self, SealContext};
use outrigger_protocol::time::UnixMillis;
use tracing::{debug, info, warn};

use crate::environments::{Effective, EnvironmentError};
use crate::registry::Peer;
use crate::rollout::wants;
use crate::server::Inner;
use crate::session::Session;
use crate::stats::Count;

/// Agents sealed for before another task gets the core: about 3 ms.
const CHUNK: usize = 32;

type Receiver = (Arc<Peer>, Arc<Session>);

impl Inner {
    /// Makes the newest generation the target of a deployment and offers it to every agent that does not run it,
    /// also to those that have refused it before. Returns once the offers are under way.
    pub(crate) async fn push(self: &Arc<Self>, deployment: &Deployment) -> Result<(), EnvironmentError> {
        let effective = self.newest(deployment).await?;
        self.apply_settings(deployment);
        if !self.begin(deployment, &effective) {
            return Ok(());
        }
        let target = effective.config;
        let receivers: Vec<_> = self
            .receivers(deployment)
            .filter(|(peer, _)| peer.with(|known| known.config.running.is_none_or(|runs| runs.hash != target.hash)))
            .collect();
        info!(
            deployment = %deployment.id, generation = target.generation, agents = receivers.len(),
            "configuration pushed"
        );
        self.deliver(effective, receivers);
        Ok(())
    }

    /// Counts an agent that has just come, and offers it the newest generation if it should run it. While its deployment is
    /// not started it is offered nothing; whoever starts it pushes.
    pub(crate) async fn greet(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        session: &Arc<Session>,
        deployment: &Deployment,
    ) -> Result<(), EnvironmentError> {
        if !self.is_started(deployment).await? {
            let status = peer.with(|known| known.config.clone());
            self.rollouts.report(peer.deployment, peer.instance, None, &status);
            return Ok(());
        }
        let effective = self.newest(deployment).await?;
        let target = self.rollouts.target(deployment.id);
        if target.is_none_or(|target| target.generation < effective.config.generation) {
            // The first agent to meet a new generation takes the others along.
            if self.begin(deployment, &effective) {
                let others = self.receivers(deployment).filter(|(other, _)| !Arc::ptr_eq(other, peer));
                let others = others.filter(|(other, _)| other.with(|known| wants(effective.config, &known.config)));
                self.deliver(Arc::clone(&effective), others.collect());
            }
        }
        let status = peer.with(|known| known.config.clone());
        self.rollouts.report(peer.deployment, peer.instance, None, &status);
        if wants(effective.config, &status) {
            self.deliver(effective, vec![(Arc::clone(peer), Arc::clone(session))]);
        }
        Ok(())
    }

    /// Whether a deployment was started, now that its agent has its place: a start that was not seen before that finds the
    /// agent and pushes to it.
    async fn is_started(&self, deployment: &Deployment) -> Result<bool, EnvironmentError> {
        if deployment.status.is_started() {
            return Ok(true);
        }
        let now = self.catalog.deployment(&Actor::system(deployment.organization), deployment.id).await;
        Ok(now.map_err(EnvironmentError::Read)?.status.is_started())
    }

    async fn newest(&self, deployment: &Deployment) -> Result<Arc<Effective>, EnvironmentError> {
        let environment = deployment.spec.environment;
        self.environments.newest(&self.catalog, deployment.organization, environment, self.uptime()).await
    }

    /// Returns whether the generation is the deployment's target now.
    fn begin(&self, deployment: &Deployment, effective: &Effective) -> bool {
        let members = || -> Vec<(_, ConfigStatus)> {
            let connected = self.receivers(deployment);
            connected.map(|(peer, _)| (peer.instance, peer.with(|known| known.config.clone()))).collect()
        };
        let target = self.rollouts.begin(deployment.id, effective.config, members, UnixMillis::now());
        target == effective.config
    }

    fn receivers(&self, deployment: &Deployment) -> impl Iterator<Item = Receiver> + use<> {
        let peers = self.registry.of_deployment(deployment.id);
        peers.into_iter().filter_map(|peer| peer.session().map(|session| (peer, session)))
    }

    /// Seals and offers, in the background.
    fn deliver(self: &Arc<Self>, effective: Arc<Effective>, mut receivers: Vec<Receiver>) {
        if receivers.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            while !receivers.is_empty() {
                let chunk = receivers.split_off(receivers.len().saturating_sub(CHUNK));
                // Closed only together with the server: nobody is left to offer to.
                let Ok(permit) = Arc::clone(&inner.sealing).acquire_owned().await else { return };
                let (inner, effective) = (Arc::clone(&inner), Arc::clone(&effective));
                tokio::task::spawn_blocking(move || {
                    for (peer, session) in &chunk {
                        inner.offer(&effective, peer, session);
                    }
                    drop(permit);
                });
            }
        });
    }

    fn offer(&self, effective: &Effective, peer: &Peer, session: &Session) {
        let config = effective.config;
        if self.rollouts.target(peer.deployment).is_some_and(|target| target.generation > config.generation) {
            debug!(agent = %peer.agent, generation = config.generation, "offer overtaken");
            return;
        }
        let context = SealContext { agent: peer.agent, deployment: peer.deployment, generation: config.generation };
        let mut nonce = [0; 16];
        let sealed = seal::seal(&session.seal_key, &effective.plaintext, &context);
        match (sealed, getrandom::fill(&mut nonce)) {
            (Ok(sealed), Ok(())) => {
                self.stats.add(Count::OffersSealed, 1);
                peer.with(|known| known.offered = Some((config, nonce)));
                session.outbox.offer(ConfigOffer { config, nonce, sealed });
            }
            (Err(error), _) => {
                self.stats.add(Count::OffersFailed, 1);
                warn!(agent = %peer.agent, %error, "cannot seal to an agent's key");
            }
            (_, Err(error)) => {
                self.stats.add(Count::OffersFailed, 1);
                warn!(agent = %peer.agent, %error, "no randomness for a nonce");
            }
        }
    }
}
