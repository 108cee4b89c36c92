//! One task looks after all sessions, once a second: who is silent is asked, who stays silent is let go, whose
//! certificate has run out is closed, who is gone for long is forgotten. A timer in every session would cost more
//! memory and say no more.

use std::sync::Arc;
use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::events::SessionEnd;
use crate::server::Inner;
use crate::session::Health;

const EVERY: Duration = Duration::from_secs(1);
/// Plaintext that nobody has asked for since is forgotten; loading it again takes a millisecond.
const ENVIRONMENT_UNUSED: Duration = Duration::from_secs(60);

/// Sweeps until the server is closed.
pub(crate) async fn watch(ingest: Arc<Inner>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ingest.closed.cancelled() => return,
        }
        sweep(&ingest, UnixMillis::now(), ingest.uptime());
    }
}

fn sweep(ingest: &Inner, now: UnixMillis, uptime: Duration) {
    let config = &ingest.config;
    for peer in ingest.registry.peers() {
        let Some(session) = peer.session() else {
            if ingest.registry.remove_absent(&peer, now, config.absent_after) {
                debug!(agent = %peer.agent, instance = %peer.instance, "absent agent forgotten");
                ingest.part(&peer);
            }
            continue;
        };
        match session.examine(now, uptime, config.heartbeat_interval, config.silence()) {
            Health::Well => {}
            Health::Ask => session.outbox.heartbeat(now),
            Health::Silent => session.end(SessionEnd::Unresponsive),
            Health::CertificateExpired => session.end(SessionEnd::CertificateExpired),
        }
    }
    ingest.environments.forget_unused(uptime, ENVIRONMENT_UNUSED);
}
