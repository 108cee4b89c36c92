//! The server's own certificate, by which agents know it. It is made anew at every start, for a key that is never
//! stored, and again before its end for as long as the server runs. Agents that are connected do not notice: a
//! certificate is looked at when a connection is made, and all of them come from the same authority.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::TransportError;
use tokio::time::sleep;
use tracing::{error, info};

use crate::authority::{Authority, AuthorityError, ServerCertificate};
use crate::config::IngestConfig;
use crate::server::Inner;

/// Longest sleep before a look at the clock, which may be set meanwhile, or have stood still with the machine.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts. A lifetime of no length is no reason to do nothing else.
const SOONEST: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error("cannot issue it")]
    Issue(#[source] AuthorityError),
    #[error("cannot use it")]
    Use(#[source] TransportError),
}

/// When the certificate that is shown runs out.
#[derive(Debug)]
pub(crate) struct CertificateEnd(AtomicU64);

impl CertificateEnd {
    pub(crate) const fn new(end: UnixMillis) -> Self {
        Self(AtomicU64::new(end.as_millis()))
    }

    pub(crate) fn read(&self) -> UnixMillis {
        UnixMillis::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, end: UnixMillis) {
        self.0.store(end.as_millis(), Ordering::Relaxed);
    }
}

/// A certificate for the names that this server is configured with.
///
/// # Errors
/// A name is neither a DNS name nor an IP address.
pub(crate) fn issue(
    authority: &Authority,
    config: &IngestConfig,
    now: UnixMillis,
) -> Result<ServerCertificate, AuthorityError> {
    authority.issue_server(&config.server_names, config.server_certificate_lifetime, now)
}

/// Renews the certificate whenever two thirds of its life are over, until the server is closed.
pub(crate) async fn keep_valid(ingest: Arc<Inner>) {
    loop {
        let (now, lifetime) = (UnixMillis::now(), ingest.config.server_certificate_lifetime);
        let wait = match due(ingest.certificate_end.read(), lifetime, now) {
            Some(wait) => wait,
            None => match renew(&ingest, now) {
                Ok(end) => {
                    info!(%end, "the server's certificate is renewed");
                    SOONEST
                }
                Err(error) => {
                    let end = ingest.certificate_end.read();
                    let error = &error as &dyn std::error::Error;
                    error!(error, %end, "the server's certificate cannot be renewed; agents will refuse it after its end");
                    LOOK_EVERY
                }
            },
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = ingest.closed.cancelled() => return,
        }
    }
}

/// How long to sleep before the next look at a certificate of this lifetime; nothing when it is to be renewed now.
fn due(end: UnixMillis, lifetime: Duration, now: UnixMillis) -> Option<Duration> {
    let due = end.saturating_sub(lifetime / 3);
    (now < due).then(|| due.since(now).min(LOOK_EVERY))
}

fn renew(ingest: &Inner, now: UnixMillis) -> Result<UnixMillis, RenewalError> {
    let certificate = issue(&ingest.authority, &ingest.config, now).map_err(RenewalError::Issue)?;
    ingest.endpoint.renew(certificate.chain, certificate.key).map_err(RenewalError::Use)?;
    ingest.certificate_end.set(certificate.not_after);
    Ok(certificate.not_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
        let at = UnixMillis::from_millis;
        let (end, lifetime) = (at(9_000), Duration::from_secs(9));
        assert_eq!(due(end, lifetime, at(5_999)), Some(Duration::from_millis(1)));
        for late in [6_000, 8_999, 10_000] {
            assert_eq!(due(end, lifetime, at(late)), None);
        }
    }

    #[test]
    fn the_clock_is_looked_at_again_long_before_a_certificate_is_due() {
        let year = Duration::from_secs(365 * 24 * 3600);
        let now = UnixMillis::from_millis(1_800_000_000_000);
        assert_eq!(due(now.saturating_add(year), year, now), Some(LOOK_EVERY));
        assert_eq!(due(now, Duration::ZERO, now), None);
    }
}
