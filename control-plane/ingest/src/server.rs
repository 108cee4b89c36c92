//! What all sessions share, and the loop that lets agents in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_catalog::Catalog;
use outrigger_catalog::model::Deployment;
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::message::AgentSettings;
use outrigger_protocol::probe::Probe;
use outrigger_protocol::transport::{Accepted, IncomingAgent, ServerEndpoint};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::authority::Authority;
use crate::certificate::CertificateEnd;
use crate::config::IngestConfig;
use crate::enroll::{self, Doorkeeper};
use crate::environments::Environments;
use crate::events::{BACKLOG, IngestEvent, SessionEnd};
use crate::fetch;
use crate::registry::{Peer, Registry};
use crate::session;
use crate::shards::Shards;
use crate::sink::Sink;
use crate::stats::{Reject, Stats};
use crate::windows::Windows;

/// The interval of a deployment that has no settings here yet: the agents' own default.
const DEFAULT_SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: IngestConfig,
    pub(crate) catalog: Catalog,
    sinks: Vec<Arc<dyn Sink>>,
    pub(crate) authority: Authority,
    pub(crate) endpoint: ServerEndpoint,
    pub(crate) certificate_end: CertificateEnd,
    pub(crate) registry: Registry,
    pub(crate) windows: Windows,
    pub(crate) environments: Environments,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) stats: Stats,
    pub(crate) events: broadcast::Sender<IngestEvent>,
    settings: Shards<DeploymentId, Arc<AgentSettings>>,
    /// As many as there are cores.
    pub(crate) sealing: Arc<Semaphore>,
    pub(crate) enrolling: Semaphore,
    pub(crate) tasks: TaskTracker,
    pub(crate) draining: AtomicBool,
    /// Nobody is let in any more and background work ends.
    pub(crate) closed: CancellationToken,
    started: Instant,
}

impl Inner {
    pub(crate) fn new(
        config: IngestConfig,
        catalog: Catalog,
        sinks: Vec<Arc<dyn Sink>>,
        authority: Authority,
        endpoint: ServerEndpoint,
        certificate_end: CertificateEnd,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            catalog,
            sinks,
            authority,
            endpoint,
            certificate_end,
            registry: Registry::new(),
            windows: Windows::new(config.windows),
            environments: Environments::new(config.environments_bytes),
            doorkeeper: Doorkeeper::new(config.enroll),
            stats: Stats::default(),
            events: broadcast::Sender::new(BACKLOG),
            settings: Shards::new(),
            sealing: Arc::new(Semaphore::new(cores)),
            enrolling: Semaphore::new(config.enroll.concurrency),
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            closed: CancellationToken::new(),
            started: Instant::now(),
            config,
        }
    }

    /// How long this server runs: a clock that nobody can set.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn tell(&self, event: IngestEvent) {
        // Fails when nobody listens, which is nobody's loss.
        let _ = self.events.send(event);
    }

    pub(crate) fn sinks(&self) -> impl Iterator<Item = &dyn Sink> {
        self.sinks.iter().map(AsRef::as_ref)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The agents' settings as the deployment's specification has them. When they are others than before, the
    /// connected agents are told.
    pub(crate) fn apply_settings(&self, deployment: &Deployment) -> Arc<AgentSettings> {
        let (settings, changed) = self.note_settings(deployment);
        if changed {
            for session in self.registry.of_deployment(deployment.id).iter().filter_map(|peer| peer.session()) {
                session.outbox.settings((*settings).clone());
            }
        }
        settings
    }

    fn note_settings(&self, deployment: &Deployment) -> (Arc<AgentSettings>, bool) {
        let spec = &deployment.spec;
        let settings = AgentSettings {
            sample_interval: spec.sample_interval,
            heartbeat_interval: self.config.heartbeat_interval,
            apply: spec.apply,
            allowed_names: spec.allowed_names.clone(),
            start_only: spec.start_only.clone(),
            bake_time: spec.bake_time,
            probes: spec.probes.clone(),
        };
        let mut known = self.settings.of(&deployment.id);
        match known.get(&deployment.id) {
            Some(known) if **known == settings => (Arc::clone(known), false),
            before => {
                let changed = before.is_some();
                let settings = Arc::new(settings);
                known.insert(deployment.id, Arc::clone(&settings));
                (settings, changed)
            }
        }
    }

    pub(crate) fn sample_interval(&self, deployment: DeploymentId) -> Duration {
        self.settings.find(&deployment).map_or(DEFAULT_SAMPLE_INTERVAL, |settings| settings.sample_interval)
    }

    /// Whether instances of a deployment have probes to pass before they are ready.
    pub(crate) fn is_gated(&self, deployment: DeploymentId) -> bool {
        self.settings.find(&deployment).is_some_and(|settings| settings.probes.iter().any(Probe::is_gate))
    }

    /// An instance is gone for good: its last samples mean nothing any more.
    pub(crate) fn part(&self, peer: &Peer) {
        self.windows.remove_instance(peer.deployment, peer.instance);
        self.sinks().for_each(|sink| sink.instance_gone(peer.source()));
    }

    /// Drops everything that is kept of a deployment.
    pub(crate) fn forget(&self, deployment: DeploymentId) {
        for peer in self.registry.forget(deployment) {
            if let Some(session) = peer.session() {
                session.end(SessionEnd::Revoked);
            }
        }
        self.windows.forget(deployment);
        self.settings.remove(&deployment);
        self.sinks().for_each(|sink| sink.deployment_gone(deployment));
    }
}

/// Lets agents in until the server is closed. The endpoint turns away whoever is too many.
pub(crate) async fn accept(ingest: Arc<Inner>) {
    loop {
        let incoming = tokio::select! {
            incoming = ingest.endpoint.accept() => incoming,
            () = ingest.closed.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        if ingest.is_draining() {
            incoming.refuse();
            continue;
        }
        ingest.tasks.spawn(admit(Arc::clone(&ingest), incoming));
    }
}

/// From a first packet to the end of the connection.
async fn admit(ingest: Arc<Inner>, incoming: IncomingAgent) {
    let address = incoming.remote_address();
    // Boxed, because the connection lives on in this future long after its handshake.
    match Box::pin(incoming.handshake()).await {
        Ok(Accepted::Agent(connection)) => session::serve(ingest, connection).await,
        Ok(Accepted::Enrollment(enrollment)) => Box::pin(enroll::serve(ingest, enrollment)).await,
        Ok(Accepted::Fetch(fetch)) => Box::pin(fetch::serve(ingest, fetch)).await,
        Err(error) => {
            ingest.stats.reject(Reject::of(&error).unwrap_or(Reject::Handshake));
            debug!(%address, error = &error as &dyn std::error::Error, "handshake failed");
        }
    }
}
