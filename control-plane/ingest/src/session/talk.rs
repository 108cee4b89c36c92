//! What an agent says on its control stream.

use std::sync::Arc;
use std::time::Instant;

use outrigger_protocol::message::{AgentMessage, ApplyState, ConfigStatus, ProgramState};
use outrigger_protocol::probe::ProbeStatus;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::Reader;
use tokio::time::sleep;
use tracing::warn;

use super::{Live, end_of};
use crate::authority::ProvenKey;
use crate::budget::{LaneBudget, Toll};
use crate::clock::ClockOffset;
use crate::events::{IngestEvent, SessionEnd};
use crate::health::InstanceHealth;
use crate::registry::PeerState;
use crate::stats::{Count, Reject};

/// What a control message costs of the byte budget when it carries nothing that grows.
const MESSAGE_BYTES: usize = 128;

impl Live<'_> {
    /// Listens to the control stream until the agent leaves or breaks a rule.
    pub(super) async fn listen(&self, mut reader: Reader<AgentMessage>) -> SessionEnd {
        let limits = &self.ingest.config.control;
        let mut budget = LaneBudget::new(limits, Instant::now());
        loop {
            let message = match reader.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return SessionEnd::Lost,
                Err(error) => return end_of(&error),
            };
            self.hear();
            match budget.charge(limits, weight(&message), Instant::now()) {
                Toll::Pass => {}
                Toll::Wait(wait) => sleep(wait).await,
                Toll::Exhausted => return SessionEnd::Refused(Reject::OverBudget),
            }
            if let Err(end) = self.hear_message(message) {
                return end;
            }
        }
    }

    pub(super) fn hear_message(&self, message: AgentMessage) -> Result<(), SessionEnd> {
        match message {
            AgentMessage::Hello { .. } => return Err(SessionEnd::Refused(Reject::UnexpectedMessage)),
            AgentMessage::Heartbeat { now } => {
                let measured = ClockOffset::measure(UnixMillis::now(), now);
                self.session.learn_clock(|known| known.updated(measured));
            }
            // An answer is known by what it says of which configuration, not by its nonce.
            AgentMessage::ConfigReport { nonce: _, state, status } => self.take_report(state, status),
            AgentMessage::Program(state) => self.take_program(state),
            AgentMessage::Probes(probes) => self.take_probes(probes),
            AgentMessage::Renew { csr } => return self.renew(&csr),
            AgentMessage::Goodbye { reason } => return Err(SessionEnd::Left { reason }),
        }
        Ok(())
    }

    /// Notes what the agent says of itself and tells it, as long as its place is this session's. What was read from a
    /// connection that another has replaced meanwhile is older than that one's hello: it would overwrite the newer word
    /// with the older, and nothing would put it right. Told under the lock, so that the two are told in their order.
    fn learn<R>(&self, note: impl FnOnce(&mut PeerState) -> (IngestEvent, R)) -> Option<R> {
        let Self { ingest, session, peer } = self;
        peer.with(|known| {
            known.is_served_by(session).then(|| {
                let (event, learnt) = note(known);
                ingest.tell(event);
                learnt
            })
        })
    }

    fn take_report(&self, state: ApplyState, status: ConfigStatus) {
        let Self { ingest, peer, .. } = self;
        ingest.stats.add(Count::ConfigReports, 1);
        let (deployment, instance) = (peer.deployment, peer.instance);
        let learnt = self.learn(|known| {
            known.config = status.clone();
            known.apply = Some(state);
            (IngestEvent::ConfigReport { deployment, instance, state, status }, ())
        });
        if learnt.is_some() {
            ingest.windows.mark(deployment);
        }
    }

    fn take_program(&self, state: ProgramState) {
        let Self { ingest, peer, .. } = self;
        let (deployment, instance) = (peer.deployment, peer.instance);
        let learnt = self.learn(|known| {
            known.set_program(state);
            (IngestEvent::Program { deployment, instance, state }, ())
        });
        if learnt.is_some() {
            ingest.windows.mark(deployment);
        }
    }

    fn take_probes(&self, probes: Vec<ProbeStatus>) {
        let Self { ingest, peer, .. } = self;
        let (deployment, instance) = (peer.deployment, peer.instance);
        let health = Arc::new(InstanceHealth { reported_at: UnixMillis::now(), probes });
        let turned = self.learn(|known| {
            let before = known.health.replace(Arc::clone(&health));
            let turned = before.is_none_or(|before| before.is_ready() != health.is_ready());
            (IngestEvent::Probes { deployment, instance, health }, turned)
        });
        // Counts alone are no reason to look at the deployment.
        if turned == Some(true) {
            ingest.windows.mark(deployment);
        }
    }

    /// Renews the certificate for the key that enrolled: whoever wants another key enrols again.
    fn renew(&self, csr: &[u8]) -> Result<(), SessionEnd> {
        let Self { ingest, session, peer } = self;
        let key = ProvenKey::from_csr(csr).map_err(|error| {
            warn!(agent = %peer.agent, %error, "renewal refused");
            SessionEnd::Refused(Reject::BadEnrollment)
        })?;
        if key.fingerprint() != peer.key_fingerprint {
            return Err(SessionEnd::Refused(Reject::ForeignKey));
        }
        let lifetime = ingest.config.certificate_lifetime;
        let issued = ingest.authority.issue_agent(peer.agent, &key, lifetime, UnixMillis::now()).map_err(|error| {
            warn!(agent = %peer.agent, error = &error as &dyn std::error::Error, "cannot renew a certificate");
            SessionEnd::Internal
        })?;
        session.renewed_until(issued.not_after);
        session.outbox.renewed(issued.chain);
        ingest.stats.add(Count::Renewed, 1);
        Ok(())
    }
}

/// About the bytes that a message took.
fn weight(message: &AgentMessage) -> usize {
    MESSAGE_BYTES
        + match message {
            AgentMessage::Hello { agent_version, .. } => agent_version.len(),
            AgentMessage::ConfigReport { status, .. } => {
                status.last_failed.as_ref().map_or(0, |failure| failure.error.len())
            }
            AgentMessage::Renew { csr } => csr.len(),
            AgentMessage::Goodbye { reason } => reason.len(),
            AgentMessage::Probes(probes) => {
                let text = |probe: &ProbeStatus| probe.name.len() + probe.last_error.as_ref().map_or(0, String::len);
                probes.iter().map(text).sum()
            }
            AgentMessage::Program(_) | AgentMessage::Heartbeat { .. } => 0,
        }
}
