//! From a one-time token to an identity.
//!
//! The keys are on disk before the token is spent: when the answer is lost on its way, the next attempt asks with the
//! same key and is answered again, so a lost packet cannot brick a sandbox.

use std::net::SocketAddr;
use std::time::Instant;

use outrigger_protocol::identity::IdentityError;
use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::message::{EnrollRefusal, EnrollRequest, EnrollResponse};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{ClientEndpoint, TransportError, Trust};
use rustls_pki_types::CertificateDer;

use crate::control_plane::{ControlPlane, ControlPlaneError, is_trusted, resolve};
use crate::entropy;
use crate::identity::{Enrollment, Identity, IdentityFileError, Keys, TokenDigest};
use crate::probe;
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

/// Why one attempt failed. Another may succeed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    #[error(transparent)]
    Address(#[from] ControlPlaneError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the control plane asks to come back later")]
    TryLater,
    #[error("nothing listens at {address} (UDP)")]
    Refused {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("no answer in time")]
    Silence,
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

fn detail(message: &str) -> String {
    // A peer's text: one line, whatever it sends.
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if message.trim().is_empty() { String::new() } else { format!(" ({})", message.trim()) }
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
    let mut attempt = 0;
    loop {
        let error = match ask(control_plane, &trust, request.clone(), attempt, deadline).await {
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
        attempt += 1;
        let again = Instant::now() + reconnect.next(entropy::uniform());
        if again >= deadline {
            return Err(EnrollError::Unreachable(error));
        }
        tracing::info!(%error, attempt, "enrolment failed, trying again");
        tokio::time::sleep_until(again.into()).await;
    }
}

async fn ask(
    control_plane: &ControlPlane,
    trust: &Trust,
    request: EnrollRequest,
    attempt: usize,
    deadline: Instant,
) -> Result<EnrollResponse, AttemptError> {
    let asking = async {
        let address = resolve(&control_plane.address, attempt).await?;
        let endpoint = ClientEndpoint::towards(address)?;
        tokio::select! {
            answer = endpoint.enroll(address, &control_plane.server_name, trust, request) => Ok(answer?),
            source = probe::refused(address) => Err(AttemptError::Refused { address, source }),
        }
    };
    tokio::time::timeout_at(deadline.into(), asking).await.unwrap_or(Err(AttemptError::Silence))
}
