//! Enrolment: a one-time token and a certificate request in, a certificate out.
//!
//! Asking again with the same key is answered again, because an answer can be lost after the token was consumed. A
//! token that shows up with another key is an alarm.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use outrigger_catalog::EnrollError;
use outrigger_protocol::message::{EnrollRefusal, EnrollRequest, EnrollResponse};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::Enrollment;
use tracing::{debug, info, warn};

use crate::authority::ProvenKey;
use crate::budget::Bucket;
use crate::config::EnrollLimits;
use crate::events::IngestEvent;
use crate::server::Inner;
use crate::shards::lock;
use crate::stats::{Count, Reject};

/// How often an address may ask.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    limits: EnrollLimits,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Doorkeeper {
    pub(crate) fn new(limits: EnrollLimits) -> Self {
        Self { limits, buckets: Mutex::default() }
    }

    /// Whether the address may ask now.
    pub(crate) fn admit(&self, address: IpAddr, now: Instant) -> bool {
        let address = network(address);
        let rate = self.limits.rate;
        let mut buckets = lock(&self.buckets);
        if !buckets.contains_key(&address) && buckets.len() >= self.limits.addresses {
            buckets.retain(|_, bucket| !bucket.is_full(rate, now));
            if buckets.len() >= self.limits.addresses {
                return false;
            }
        }
        buckets.entry(address).or_insert_with(|| Bucket::full(rate, now)).try_take(rate, 1.0, now)
    }

    /// Notes a refusal, which costs more than a good request.
    pub(crate) fn punish(&self, address: IpAddr, now: Instant) {
        if let Some(bucket) = lock(&self.buckets).get_mut(&network(address)) {
            bucket.take(self.limits.rate, self.limits.refusal_cost - 1.0, now);
        }
    }
}

/// Who is treated as one: an address, or the /64 that one IPv6 site may use as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// A refusal, as it is counted and as it is told.
struct Refused(Reject, EnrollRefusal, String);

/// Serves one enrolment connection.
pub(crate) async fn serve(ingest: Arc<Inner>, mut enrollment: Enrollment) {
    let address = enrollment.remote_address();
    let answer = if ingest.doorkeeper.admit(address.ip(), Instant::now()) {
        let request = match enrollment.request().await {
            Ok(request) => request,
            Err(error) => {
                if let Some(reject) = Reject::of(&error) {
                    ingest.stats.reject(reject);
                    ingest.doorkeeper.punish(address.ip(), Instant::now());
                }
                debug!(%address, error = &error as &dyn std::error::Error, "no enrolment request");
                return;
            }
        };
        enroll(&ingest, &request).await
    } else {
        Err(Refused(Reject::EnrollmentLimited, EnrollRefusal::TryLater, "asked too often".to_owned()))
    };
    let response = answer.unwrap_or_else(|Refused(reject, reason, message)| {
        ingest.stats.reject(reject);
        info!(%address, reason = %reject, "enrolment refused");
        if reason != EnrollRefusal::TryLater {
            ingest.doorkeeper.punish(address.ip(), Instant::now());
        }
        EnrollResponse::Refused { reason, message }
    });
    if let Err(error) = enrollment.respond(response).await {
        debug!(%address, error = &error as &dyn std::error::Error, "enrolment answer not delivered");
    }
}

async fn enroll(ingest: &Inner, request: &EnrollRequest) -> Result<EnrollResponse, Refused> {
    let later = |message: &str| Refused(Reject::EnrollmentLimited, EnrollRefusal::TryLater, message.to_owned());
    if ingest.is_draining() {
        return Err(later("the control plane goes down for a while"));
    }
    // A pair of signatures and a commit each: more at once would only wait for each other.
    let _permit = ingest.enrolling.acquire().await.map_err(|_| later("the control plane goes down for a while"))?;
    let key = ProvenKey::from_csr(&request.csr)
        .map_err(|error| Refused(Reject::BadEnrollment, EnrollRefusal::BadRequest, error.to_string()))?;
    let now = UnixMillis::now();
    let grant = ingest.catalog.enroll(request.token, &request.secret, key.fingerprint(), now).await;
    let agent = match grant {
        Ok(grant) if !grant.agent.revoked => grant.agent,
        Ok(_) => {
            let message = "the agent that this token made was revoked".to_owned();
            return Err(Refused(Reject::Revoked, EnrollRefusal::UsedToken, message));
        }
        Err(error) => return Err(refusal(ingest, request, &error)),
    };
    let issued = ingest.authority.issue_agent(agent.id, &key, ingest.config.certificate_lifetime, now);
    let issued = issued.map_err(|error| {
        warn!(agent = %agent.id, error = &error as &dyn std::error::Error, "cannot issue a certificate");
        later("no certificate can be issued now")
    })?;
    ingest.stats.add(Count::Enrolled, 1);
    info!(agent = %agent.id, instance = %agent.instance, deployment = %agent.deployment, "agent enrolled");
    Ok(EnrollResponse::Issued {
        agent: agent.id,
        instance: agent.instance,
        deployment: agent.deployment,
        chain: issued.chain,
        not_after: issued.not_after,
    })
}

fn refusal(ingest: &Inner, request: &EnrollRequest, error: &EnrollError) -> Refused {
    let (reject, reason) = match error {
        EnrollError::Unknown => (Reject::TokenUnknown, EnrollRefusal::UnknownToken),
        EnrollError::Expired => (Reject::TokenExpired, EnrollRefusal::ExpiredToken),
        EnrollError::UsedByOther => {
            warn!(token = %request.token, "a join token was shown by a second key");
            ingest.tell(IngestEvent::TokenMisused { token: request.token });
            (Reject::TokenUsed, EnrollRefusal::UsedToken)
        }
        EnrollError::Unavailable { .. } => {
            warn!(token = %request.token, error = error as &dyn std::error::Error, "cannot enrol");
            (Reject::EnrollmentLimited, EnrollRefusal::TryLater)
        }
    };
    Refused(reject, reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::Rate;

    const LIMITS: EnrollLimits =
        EnrollLimits { rate: Rate { per_second: 1.0, burst: 4.0 }, refusal_cost: 4.0, addresses: 2, concurrency: 1 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_asks_too_often_waits_and_others_do_not() {
        let door = Doorkeeper::new(LIMITS);
        let now = Instant::now();
        assert!((0..4).all(|_| door.admit(ip("10.0.0.1"), now)));
        assert!(!door.admit(ip("10.0.0.1"), now));
        assert!(!door.admit(ip("::ffff:10.0.0.1"), now), "the same address in another dress");
        assert!(door.admit(ip("10.0.0.2"), now));
        assert!(door.admit(ip("10.0.0.1"), now + Duration::from_secs(1)));
    }

    #[test]
    fn refusals_use_up_the_rate_faster() {
        let door = Doorkeeper::new(LIMITS);
        let now = Instant::now();
        assert!(door.admit(ip("10.0.0.1"), now));
        door.punish(ip("10.0.0.1"), now);
        assert!(!door.admit(ip("10.0.0.1"), now));
    }

    #[test]
    fn an_ipv6_site_is_one_address() {
        let door = Doorkeeper::new(LIMITS);
        let now = Instant::now();
        assert!((0..4).all(|host| door.admit(ip(&format!("2001:db8::{host}")), now)));
        assert!(!door.admit(ip("2001:db8::ffff"), now));
        assert!(door.admit(ip("2001:db8:0:1::1"), now));
    }

    #[test]
    fn the_table_is_bounded_and_recovers() {
        let door = Doorkeeper::new(LIMITS);
        let now = Instant::now();
        assert!(door.admit(ip("10.0.0.1"), now) && door.admit(ip("10.0.0.2"), now));
        assert!(!door.admit(ip("10.0.0.3"), now));
        assert!(door.admit(ip("10.0.0.3"), now + Duration::from_secs(2)));
    }
}
