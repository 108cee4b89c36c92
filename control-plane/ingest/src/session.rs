//! One agent's connection, from its certificate to its last word.
//!
//! A session is one task. Inside it run, side by side, the control reader, the writer and the two lanes; whichever
//! ends first ends the session. None of them owns a queue: what is to be said waits in the [`Outbox`], what is heard
//! is dealt with before the next frame is read, so that QUIC's windows carry the back-pressure to the one agent that
//! causes it.
//!
//! Who the agent is comes from its certificate alone. No id in any frame is ever looked at.

mod lanes;
mod open;
mod talk;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

#[cfg(test)]
use outrigger_protocol::message::AgentMessage;
use outrigger_protocol::message::ServerMessage;
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{AgentConnection, TransportError, Writer};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::clock::ClockOffset;
use crate::events::{IngestEvent, SessionEnd};
use crate::outbox::{Next, Outbox};
use crate::registry::Peer;
use crate::server::Inner;
use crate::shards::lock;
use crate::stats::{Count, Reject};

/// An agent that talks all the time is asked this often all the same: the answer says how its clock stands.
const CLOCK_CHECK: Duration = Duration::from_secs(60);
/// How long an agent that was told of a drain may take to leave by itself.
const LEAVE_GRACE: Duration = Duration::from_secs(2);

/// A connection that has been given its agent's place.
#[derive(Debug)]
pub(crate) struct Session {
    connection: AgentConnection,
    /// To which environments are sealed.
    pub(crate) seal_key: [u8; 32],
    pub(crate) outbox: Outbox,
    /// When the agent was last heard and last asked, in milliseconds of the server's uptime: no clock that can be set
    /// decides who is silent.
    heard: AtomicU64,
    asked: AtomicU64,
    certificate_ends: AtomicU64,
    clock: Mutex<ClockOffset>,
    /// Samples came with unbelievable times: the clock has to be measured again.
    clock_doubted: AtomicBool,
    end: OnceLock<SessionEnd>,
}

/// What the sweep finds out about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// Quiet for an interval or in doubt about its clock, and not asked in this interval.
    Ask,
    Silent,
    CertificateExpired,
}

impl Session {
    fn new(connection: AgentConnection, seal_key: [u8; 32], clock: ClockOffset, uptime: Duration) -> Self {
        let certificate_ends = AtomicU64::new(connection.peer().not_after.as_millis());
        let now = millis(uptime);
        Self {
            connection,
            seal_key,
            outbox: Outbox::default(),
            heard: AtomicU64::new(now),
            asked: AtomicU64::new(now),
            certificate_ends,
            clock: Mutex::new(clock),
            clock_doubted: AtomicBool::new(false),
            end: OnceLock::new(),
        }
    }

    fn hear(&self, uptime: Duration) {
        self.heard.store(millis(uptime), Ordering::Relaxed);
    }

    /// Learns from one more measurement, or from a sample's time, and says what is known now.
    fn learn_clock(&self, learn: impl FnOnce(ClockOffset) -> ClockOffset) -> ClockOffset {
        let mut clock = lock(&self.clock);
        *clock = learn(*clock);
        *clock
    }

    fn doubt_clock(&self) {
        self.clock_doubted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn silence(&self, uptime: Duration) -> Duration {
        Duration::from_millis(millis(uptime).saturating_sub(self.heard.load(Ordering::Relaxed)))
    }

    /// Judges the session, and notes that it is asked when that is the judgement.
    pub(crate) fn examine(&self, now: UnixMillis, uptime: Duration, interval: Duration, silence: Duration) -> Health {
        if now.as_millis() > self.certificate_ends.load(Ordering::Relaxed) {
            return Health::CertificateExpired;
        }
        let quiet = self.silence(uptime);
        if quiet > silence {
            return Health::Silent;
        }
        let since_asked = millis(uptime).saturating_sub(self.asked.load(Ordering::Relaxed));
        let doubted = self.clock_doubted.load(Ordering::Relaxed);
        let due = quiet >= interval || doubted || since_asked >= millis(CLOCK_CHECK);
        if due && since_asked >= millis(interval) {
            self.asked.store(millis(uptime), Ordering::Relaxed);
            self.clock_doubted.store(false, Ordering::Relaxed);
            return Health::Ask;
        }
        Health::Well
    }

    fn renewed_until(&self, not_after: UnixMillis) {
        self.certificate_ends.store(not_after.as_millis(), Ordering::Relaxed);
    }

    /// Ends the session from outside; the first reason stands.
    pub(crate) fn end(&self, end: SessionEnd) {
        let code = end.code();
        let _ = self.end.set(end);
        self.connection.close(code, "");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an error on a stream makes of the session.
fn end_of(error: &TransportError) -> SessionEnd {
    Reject::of(error).map_or(SessionEnd::Lost, SessionEnd::Refused)
}

/// Serves one agent until its connection is gone.
pub(crate) async fn serve(ingest: Arc<Inner>, connection: AgentConnection) {
    // Boxed, because a session lives on in this future long after it was opened.
    let Some(opened) = Box::pin(open::open(&ingest, connection)).await else { return };
    let open::Opened { session, peer, reader, writer } = opened;
    info!(agent = %peer.agent, instance = %peer.instance, deployment = %peer.deployment, "agent connected");
    let live = Live { ingest: &ingest, session: &session, peer: &peer };
    let end = tokio::select! {
        end = live.listen(reader) => end,
        end = live.speak(writer) => end,
        end = live.lanes() => end,
    };
    // A reason from outside explains the error that it caused.
    let end = session.end.get().cloned().unwrap_or(end);
    session.end(end.clone());
    live.finish(end);
}

/// Hears a message as if it had come by this session, whoever has its place.
#[cfg(test)]
pub(crate) fn hear_by(
    ingest: &Arc<Inner>,
    session: &Arc<Session>,
    peer: &Arc<Peer>,
    message: AgentMessage,
) -> Result<(), SessionEnd> {
    Live { ingest, session, peer }.hear_message(message)
}

/// A session under way.
struct Live<'a> {
    ingest: &'a Arc<Inner>,
    session: &'a Arc<Session>,
    peer: &'a Arc<Peer>,
}

impl Live<'_> {
    fn hear(&self) {
        self.session.hear(self.ingest.uptime());
    }

    /// Says what is in the outbox until the last word.
    async fn speak(&self, mut writer: Writer<ServerMessage>) -> SessionEnd {
        loop {
            let (message, last) = match self.session.outbox.next().await {
                Next::Say(message) => (message, false),
                Next::SayLast(message) => (message, true),
            };
            if let Err(error) = writer.send(&message).await {
                if let TransportError::Frame { source } = &error {
                    // Nothing was sent. Only what this side made can be wrong here.
                    warn!(agent = %self.peer.agent, error = %source, "a message to an agent cannot be framed");
                    return SessionEnd::Internal;
                }
                return SessionEnd::Lost;
            }
            if last {
                let _ = writer.finish().await;
                let _ = timeout(LEAVE_GRACE, self.session.connection.closed()).await;
                return SessionEnd::Drained;
            }
        }
    }

    /// Gives the place back and tells who wants to know.
    fn finish(&self, end: SessionEnd) {
        let Self { ingest, session, peer } = self;
        ingest.stats.add(Count::SessionsClosed, 1);
        if let SessionEnd::Refused(reject) = end {
            ingest.stats.reject(reject);
            warn!(agent = %peer.agent, deployment = %peer.deployment, reason = %reject, "session closed");
        } else {
            debug!(agent = %peer.agent, deployment = %peer.deployment, ?end, "session closed");
        }
        let for_good = matches!(end, SessionEnd::Left { .. } | SessionEnd::Revoked);
        if give_back(ingest, peer, session, end) && for_good {
            ingest.part(peer);
        }
    }
}

/// Gives the agent's place back, and tells so if the session still had it. Returns whether it had.
fn give_back(ingest: &Inner, peer: &Peer, session: &Arc<Session>, end: SessionEnd) -> bool {
    let (deployment, instance, agent) = (peer.deployment, peer.instance, peer.agent);
    let tell = || ingest.tell(IngestEvent::AgentLost { deployment, instance, agent, end });
    let had = ingest.registry.detach(peer, session, UnixMillis::now(), tell);
    if had {
        ingest.windows.mark(deployment);
    }
    had
}
