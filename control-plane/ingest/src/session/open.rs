//! From a verified certificate to a session: the agent's record, its hello, its place, the welcome.

use std::sync::Arc;

use outrigger_catalog::CatalogError;
use outrigger_catalog::model::{Actor, Agent, Deployment, DeploymentStatus};
use outrigger_protocol::message::{AgentMessage, ServerMessage};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{AgentConnection, CloseCode, Reader, TransportError, Writer};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{LEAVE_GRACE, Session, give_back};
use crate::clock::ClockOffset;
use crate::events::{IngestEvent, SessionEnd};
use crate::registry::{Hello, Peer};
use crate::server::Inner;
use crate::stats::{Count, Reject};

/// A session that may begin.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    pub(super) peer: Arc<Peer>,
    pub(super) reader: Reader<AgentMessage>,
    pub(super) writer: Writer<ServerMessage>,
}

/// Why none begins.
enum Closed {
    Refused(Reject),
    Lost(TransportError),
    Catalog(CatalogError),
}

struct Candidate {
    record: Agent,
    deployment: Deployment,
    reader: Reader<AgentMessage>,
    writer: Writer<ServerMessage>,
    hello: Hello,
}

/// Opens a session, or turns the agent away with the code that says why.
pub(super) async fn open(ingest: &Arc<Inner>, connection: AgentConnection) -> Option<Opened> {
    let agent = connection.peer().agent;
    let candidate = timeout(ingest.config.hello_timeout, examine(ingest, &connection)).await;
    let refused = match candidate.unwrap_or(Err(Closed::Refused(Reject::NoHello))) {
        Ok(candidate) => match begin(ingest, connection, candidate).await {
            Ok(opened) => return Some(opened),
            Err(end) => {
                if let SessionEnd::Refused(reject) = end {
                    ingest.stats.reject(reject);
                }
                info!(%agent, ?end, "agent turned away");
                return None;
            }
        },
        Err(Closed::Refused(reject)) => reject,
        Err(Closed::Lost(error)) => Reject::of(&error)?,
        Err(Closed::Catalog(error)) => {
            warn!(%agent, error = &error as &dyn std::error::Error, "cannot look up an agent");
            connection.close(CloseCode::Internal, "");
            return None;
        }
    };
    ingest.stats.reject(refused);
    info!(%agent, address = %connection.remote_address(), reason = %refused, "agent turned away");
    connection.close(SessionEnd::Refused(refused).code(), refused.name());
    None
}

async fn examine(ingest: &Inner, connection: &AgentConnection) -> Result<Candidate, Closed> {
    let record = ingest.catalog.agent(connection.peer().agent).await.map_err(Closed::Catalog)?;
    let record = record.ok_or(Closed::Refused(Reject::UnknownAgent))?;
    if record.revoked {
        return Err(Closed::Refused(Reject::Revoked));
    }
    let deployment = ingest.catalog.deployment(&Actor::system(record.organization), record.deployment).await;
    let deployment = match deployment {
        Ok(deployment) if deployment.status != DeploymentStatus::Destroyed => deployment,
        // Whatever it was enrolled for is gone, and its configuration with it.
        Ok(_) | Err(CatalogError::NotFound { .. }) => return Err(Closed::Refused(Reject::Revoked)),
        Err(error) => return Err(Closed::Catalog(error)),
    };
    let (mut reader, mut writer) = connection.accept_control().await.map_err(Closed::Lost)?;
    if ingest.registry.live() >= ingest.config.sessions {
        let message = ServerMessage::RetryAfter { delay: ingest.config.retry_after };
        writer.send(&message).await.map_err(Closed::Lost)?;
        writer.finish().await.map_err(Closed::Lost)?;
        let _ = timeout(LEAVE_GRACE, connection.closed()).await;
        return Err(Closed::Refused(Reject::Full));
    }
    match reader.next().await.map_err(Closed::Lost)? {
        Some(AgentMessage::Hello { agent_version, epoch, now, seal_key, status, program }) => {
            let hello = Hello { agent_version, epoch, now, seal_key, status, program };
            Ok(Candidate { record, deployment, reader, writer, hello })
        }
        Some(_) => Err(Closed::Refused(Reject::UnexpectedMessage)),
        None => Err(Closed::Refused(Reject::NoHello)),
    }
}

async fn begin(ingest: &Arc<Inner>, connection: AgentConnection, candidate: Candidate) -> Result<Opened, SessionEnd> {
    let Candidate { record, deployment, reader, mut writer, hello } = candidate;
    let now = UnixMillis::now();
    let clock = ClockOffset::measure(now, hello.now);
    let session = Arc::new(Session::new(connection, hello.seal_key, clock, ingest.uptime()));
    let (status, program) = (hello.status.clone(), hello.program);
    let peer = match ingest.registry.attach(&record, &session, hello) {
        Ok(peer) => peer,
        Err(reject) => {
            let end = SessionEnd::Refused(reject);
            session.end(end.clone());
            return Err(end);
        }
    };
    if let Err(end) = welcome(ingest, &peer, &deployment, &mut writer, now).await {
        let end = session.end.get().cloned().unwrap_or(end);
        session.end(end.clone());
        // Also when nobody was told of this session: it may have taken the place of one that was.
        give_back(ingest, &peer, &session, end.clone());
        return Err(end);
    }
    ingest.stats.add(Count::SessionsOpened, 1);
    let (deployment, instance, agent) = (peer.deployment, peer.instance, peer.agent);
    let connected = IngestEvent::AgentConnected { deployment, instance, agent, status, program };
    // Under the lock under which the end of a session is told, so that the two are told in their order. A session that was
    // replaced meanwhile says nothing: the next one does.
    peer.with(|known| {
        if known.is_served_by(&session) {
            ingest.tell(connected);
        }
    });
    ingest.windows.mark(deployment);
    Ok(Opened { session, peer, reader, writer })
}

async fn welcome(
    ingest: &Inner,
    peer: &Peer,
    deployment: &Deployment,
    writer: &mut Writer<ServerMessage>,
    now: UnixMillis,
) -> Result<(), SessionEnd> {
    let settings = ingest.apply_settings(deployment);
    let welcome = ServerMessage::Welcome {
        agent: peer.agent,
        instance: peer.instance,
        deployment: peer.deployment,
        now,
        settings: (*settings).clone(),
    };
    writer.send(&welcome).await.map_err(|error| super::end_of(&error))
}
