//! The handle: start, look, offer, stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_catalog::model::Deployment;
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId, JoinTokenId};
use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{CloseCode, ServerEndpoint, ServerOptions, TransportError};
use outrigger_scaling::window::DeploymentWindow;
use outrigger_secrets::SecretBytes;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;
use zeroize::Zeroizing;

use crate::authority::{Authority, AuthorityError};
use crate::certificate::{self, CertificateEnd};
use crate::config::IngestConfig;
use crate::environments::EnvironmentError;
use crate::events::{IngestEvent, SessionEnd};
use crate::presence;
use crate::registry::LiveInstance;
use crate::server::{self, Inner};
use crate::sink::Sink;
use crate::stats::IngestStats;

const AUTHORITY_BLOB: &str = "agents-ca";
const ENDPOINT_BLOB: &str = "agents-endpoint";
/// How long connections may take to be closed properly.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
const RESET_KEY: usize = 64;
const TOKEN_KEY: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("no server name is configured for agents")]
    NoServerName,
    #[error("cannot keep {what}")]
    Keep {
        what: &'static str,
        #[source]
        source: CatalogError,
    },
    #[error("the stored keys of the agents' endpoint are damaged")]
    DamagedEndpointKeys,
    #[error("no randomness")]
    Randomness(#[source] getrandom::Error),
    #[error("cannot set up the certificate authority")]
    Authority(#[source] AuthorityError),
    #[error("cannot listen for agents")]
    Listen(#[source] TransportError),
}

/// The server's side of the agent wire. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
    address: SocketAddr,
}

impl Ingest {
    /// Opens the authority, binds, and lets agents in; what they tell goes to all of `sinks`. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, a name cannot stand in a certificate, or the kept keys cannot be read.
    pub async fn start(config: IngestConfig, catalog: Catalog, sinks: Vec<Arc<dyn Sink>>) -> Result<Self, IngestError> {
        if config.server_names.is_empty() {
            return Err(IngestError::NoServerName);
        }
        let now = UnixMillis::now();
        let authority = open_authority(&catalog, now).await?;
        let keys = endpoint_keys(&catalog).await?;
        let (reset_key, token_key) = split(keys.expose()).ok_or(IngestError::DamagedEndpointKeys)?;
        let certificate = certificate::issue(&authority, &config, now).map_err(IngestError::Authority)?;
        let endpoint = ServerEndpoint::bind(ServerOptions {
            listen: config.listen,
            chain: certificate.chain,
            key: certificate.key,
            client_ca: authority.certificate().clone(),
            reset_key,
            token_key,
            limits: config.endpoint,
        })
        .map_err(IngestError::Listen)?;
        let address = endpoint.local_addr().map_err(IngestError::Listen)?;
        info!(%address, certificate_ends = %certificate.not_after, "listening for agents");
        let certificate_end = CertificateEnd::new(certificate.not_after);
        let inner = Arc::new(Inner::new(config, catalog, sinks, authority, endpoint, certificate_end));
        inner.tasks.spawn(server::accept(Arc::clone(&inner)));
        inner.tasks.spawn(certificate::keep_valid(Arc::clone(&inner)));
        inner.tasks.spawn(presence::watch(Arc::clone(&inner)));
        Ok(Self { inner, address })
    }

    /// Where agents connect; the port is the real one when 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of the CA's certificate, DER: what join tokens pin.
    #[must_use]
    pub fn ca_fingerprint(&self) -> [u8; 32] {
        self.inner.authority.fingerprint()
    }

    /// The CA's certificate, DER, for agents that pin a file.
    #[must_use]
    pub fn ca_certificate(&self) -> &[u8] {
        self.inner.authority.certificate()
    }

    #[cfg(test)]
    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    #[cfg(test)]
    pub(crate) fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    /// The text that is handed to one agent. Whoever has it can enrol once.
    #[must_use]
    pub fn join_token_text(&self, id: JoinTokenId, secret: &[u8; 32]) -> Zeroizing<String> {
        JoinToken { id, secret: *secret, ca_fingerprint: self.ca_fingerprint() }.reveal()
    }

    /// The instances of a deployment that are connected, or were until a moment ago.
    #[must_use]
    pub fn live(&self, deployment: DeploymentId) -> Vec<LiveInstance> {
        let gated = self.inner.is_gated(deployment);
        self.inner.registry.live_instances(deployment, UnixMillis::now(), self.inner.uptime(), gated)
    }

    /// Of each connected agent of a deployment, the generation that its program runs with; `None` before it runs with
    /// any.
    #[must_use]
    pub fn connected(&self, deployment: DeploymentId) -> Vec<Option<u64>> {
        self.inner.registry.connected(deployment)
    }

    /// Agents with a session, over all deployments.
    #[must_use]
    pub fn live_agents_count(&self) -> usize {
        self.inner.registry.live()
    }

    /// Looks at a deployment's recent samples; `None` before the first one. `read` runs under the window's lock: it
    /// must be short and must not wait.
    pub fn window<R>(&self, deployment: DeploymentId, read: impl FnOnce(&DeploymentWindow) -> R) -> Option<R> {
        self.inner.windows.read(deployment, read)
    }

    /// Waits until something is new in some deployments (samples, an agent that came, left or reported), and takes
    /// them. For one reader: each mark is taken once.
    pub async fn dirty(&self) -> Vec<DeploymentId> {
        self.inner.windows.dirty().await
    }

    /// Drops everything that is kept of a deployment. Its agents are sent away for good.
    pub fn forget(&self, deployment: DeploymentId) {
        self.inner.forget(deployment);
    }

    /// Offers a generation of the deployment's environment to those of its instances that are connected. Returns once it
    /// is loaded; it is sealed and sent in the background, for many instances of one call on all cores. The answers are
    /// told as [`IngestEvent::ConfigReport`].
    ///
    /// An instance that is not connected is skipped: [`IngestEvent::AgentConnected`] tells when it is. So is one that was
    /// offered, or has received, something of a higher generation. The same generation may be offered again. The agents'
    /// settings are not touched: see [`apply_settings`](Self::apply_settings).
    ///
    /// # Errors
    /// The generation cannot be read, or its content is not the one that `config` names.
    pub async fn offer(
        &self,
        deployment: &Deployment,
        config: ConfigRef,
        instances: &[InstanceId],
    ) -> Result<(), EnvironmentError> {
        self.inner.offer(deployment, config, instances).await
    }

    /// Tells the agents of a deployment their settings (interval, apply strategy, allowed names, probes) when its
    /// specification has changed them.
    pub fn apply_settings(&self, deployment: &Deployment) {
        self.inner.apply_settings(deployment);
    }

    /// What happens from now on. A reader that is far behind misses events, and finds in [`live`](Self::live) what they
    /// came to.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<IngestEvent> {
        self.inner.events.subscribe()
    }

    /// Ends the session of an agent that the catalog has revoked. It is not let in again, and from now on neither its
    /// samples nor its configuration count. Returns whether it had a session.
    pub fn revoke(&self, agent: AgentId) -> bool {
        let Some(peer) = self.inner.registry.of_agent(agent) else { return false };
        let session = peer.session();
        if let Some(session) = &session {
            session.end(SessionEnd::Revoked);
        }
        // Also when there is a session, which may be ending for another reason at this moment.
        self.inner.part(&peer);
        session.is_some()
    }

    #[must_use]
    pub fn stats(&self) -> IngestStats {
        let inner = &self.inner;
        inner.stats.read(inner.registry.live(), inner.endpoint.open_connections(), inner.certificate_end.read())
    }

    /// Lets nobody in any more, tells every agent to come back later, and closes when they have left or `deadline` has
    /// passed. What agents had not been acknowledged they send again.
    pub async fn drain(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let inner = &self.inner;
        inner.draining.store(true, Ordering::Relaxed);
        let sessions: Vec<_> = inner.registry.peers().iter().filter_map(|peer| peer.session()).collect();
        info!(agents = sessions.len(), "draining agents");
        for session in &sessions {
            session.outbox.drain();
        }
        drop(sessions);
        inner.closed.cancel();
        inner.tasks.close();
        let left = timeout_at(end, inner.tasks.wait()).await.is_ok();
        inner.endpoint.close(CloseCode::Drain, "");
        // For the word to leave this machine. Peers that are dead already are not worth their time-outs.
        let idle = timeout(CLOSE_GRACE, inner.endpoint.wait_idle()).await.is_ok();
        info!(left, idle, "agents drained");
    }
}

async fn open_authority(catalog: &Catalog, now: UnixMillis) -> Result<Authority, IngestError> {
    let mut fresh = Authority::generate(now).map_err(IngestError::Authority)?;
    let kept = catalog.get_or_create_blob(AUTHORITY_BLOB, || std::mem::take(&mut *fresh)).await;
    let kept = kept.map_err(|source| IngestError::Keep { what: "the certificate authority", source })?;
    Authority::open(kept.expose()).map_err(IngestError::Authority)
}

/// Kept over restarts, so that agents of the last run learn at once that their connection is gone.
async fn endpoint_keys(catalog: &Catalog) -> Result<SecretBytes, IngestError> {
    let mut fresh = Zeroizing::new(vec![0; RESET_KEY + TOKEN_KEY]);
    getrandom::fill(&mut fresh).map_err(IngestError::Randomness)?;
    let kept = catalog.get_or_create_blob(ENDPOINT_BLOB, || std::mem::take(&mut *fresh)).await;
    kept.map_err(|source| IngestError::Keep { what: "the endpoint's keys", source })
}

fn split(keys: &[u8]) -> Option<([u8; RESET_KEY], [u8; TOKEN_KEY])> {
    let (reset, token) = keys.split_first_chunk::<RESET_KEY>()?;
    Some((*reset, token.try_into().ok()?))
}
