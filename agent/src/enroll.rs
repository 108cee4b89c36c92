//! From a one-time token to an identity.
//!
//! The keys are on disk before the token is spent: when the answer is lost on its way, the next attempt asks with the
//! same key and is answered again, so a lost packet cannot brick a sandbox.

use std::time::Instant;

use outrigger_protocol::identity::IdentityError;
use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::message::{EnrollRefusal, EnrollRequest, EnrollResponse};
use outrigger_protocol::time::UnixMillis;
use rustls_pki_types::CertificateDer;

use crate::attempt::{self, AttemptError, detail};
use crate::control_plane::{ControlPlane, is_trusted};
use crate::entropy;
use crate::identity::{Enrollment, Identity, IdentityFileError, Keys, TokenDigest};
use crate::session::Reconnect;
use crate::state_dir::StateDir;

#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    #[error("cannot sign a certificate request")]
    Request(#[source] IdentityError),
    #[error("the control plane refused the join token: {}{}", words(*.reason), detail(.message))]
    Refused { reason: EnrollRefusal, message: String },
    #[error("the control plane issued a certificate of another CA than the one that is trusted")]
    ForeignCa,
    #[error("cannot enrol")]
    Unreachable(#[source] AttemptError),
}

const fn words(reason: EnrollRefusal) -> &'static str {
    match reason {
        EnrollRefusal::UnknownToken => "it is not known there",
        EnrollRefusal::ExpiredToken => "it has expired",
        EnrollRefusal::UsedToken => "it was used already by another agent",
        EnrollRefusal::BadRequest => "the request was not understood",
        EnrollRefusal::TryLater => "it asks to come back later",
    }
}

/// Enrols, with as many attempts as fit before `deadline`.
///
/// # Errors
/// The token is refused, or no attempt succeeded in time: then the last one's error.
pub async fn enroll(
    control_plane: &ControlPlane,
    state: &StateDir,
    keys: Option<Keys>,
    token: &JoinToken,
    deadline: Instant,
) -> Result<Identity, EnrollError> {
    let keys = match keys {
        Some(keys) => keys,
        None => Keys::generate(state)?,
    };
    let csr = keys.signing.csr().map_err(EnrollError::Request)?;
    let request = EnrollRequest {
        token: token.id,
        secret: token.secret,
        csr,
        seal_key: keys.sealing.public(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let trust = control_plane.first_trust(token.ca_fingerprint);
    let mut reconnect = Reconnect::default();
    let mut attempts = 0;
    loop {
        let asked = attempt::once(control_plane, attempts, deadline, async |endpoint, address| {
            endpoint.enroll(address, &control_plane.server_name, &trust, request.clone()).await
        });
        let error = match asked.await {
            Ok(EnrollResponse::Issued { agent, instance, deployment, chain, .. }) => {
                let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
                if !chain.last().is_some_and(|ca| is_trusted(&trust, ca)) {
                    return Err(EnrollError::ForeignCa);
                }
                let token = Some(TokenDigest::of(token));
                let enrollment = Enrollment { agent, instance, deployment, chain, token };
                return Ok(Identity::establish(state, keys, enrollment, UnixMillis::now())?);
            }
            Ok(EnrollResponse::Refused { reason: EnrollRefusal::TryLater, .. }) => AttemptError::TryLater,
            Ok(EnrollResponse::Refused { reason, message }) => return Err(EnrollError::Refused { reason, message }),
            Err(error) => error,
        };
        attempts += 1;
        let again = Instant::now() + reconnect.next(entropy::uniform());
        if again >= deadline {
            return Err(EnrollError::Unreachable(error));
        }
        tracing::info!(%error, attempts, "enrolment failed, trying again");
        tokio::time::sleep_until(again.into()).await;
    }
}
