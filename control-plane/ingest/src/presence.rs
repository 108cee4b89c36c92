//! One task looks after all sessions, once a second: who is silent is asked, who stays silent is let go, whose
//! certificate has run out is closed, who is gone for long is forgotten. A timer in every session would cost more
//! memory and say no more.

use std::sync::Arc;
use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

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
    let mut certificate_is_old = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ingest.closed.cancelled() => return,
        }
        let now = UnixMillis::now();
        sweep(&ingest, now, ingest.uptime());
        if !certificate_is_old && is_old(ingest.certificate_ends, ingest.config.server_certificate_lifetime, now) {
            certificate_is_old = true;
            warn!(ends = %ingest.certificate_ends, "the server's certificate runs out: a restart makes a new one");
        }
    }
}

/// Whether less than a third of a certificate's lifetime is left.
fn is_old(ends: UnixMillis, lifetime: Duration, now: UnixMillis) -> bool {
    now.saturating_add(lifetime / 3) >= ends
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_old_in_its_last_third() {
        let (ends, lifetime) = (UnixMillis::from_millis(9_000), Duration::from_secs(9));
        assert!(!is_old(ends, lifetime, UnixMillis::from_millis(5_999)));
        assert!(is_old(ends, lifetime, UnixMillis::from_millis(6_000)));
        assert!(is_old(ends, lifetime, UnixMillis::from_millis(10_000)));
    }
}
