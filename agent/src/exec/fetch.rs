//! Asking the control plane.

use std::time::{Duration, Instant};

use outrigger_protocol::fetch::{FetchRefusal, FetchRequest, FetchResponse};
use outrigger_protocol::seal::{FetchContext, SealError, SealKeyPair};
use outrigger_protocol::transport::Trust;
use tokio::time::timeout;

use super::Fetched;
use super::cache::Scope;
use crate::attempt::{self, AttemptError, detail};
use crate::config::{ExecConfig, ServerTrust};
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::entropy;
use crate::session::Reconnect;

/// For the goodbye to leave this machine, before its socket is closed by execve(2).
const FAREWELL: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    #[error("cannot make a key for the environment")]
    Key(#[source] SealError),
    #[error("the control plane refused: {}{}", words(*.reason), detail(.message))]
    Refused { reason: FetchRefusal, message: String },
    #[error("the environment that came cannot be opened")]
    Open(#[source] SealError),
    #[error("cannot get the environment")]
    Unreachable(#[source] AttemptError),
}

const fn words(reason: FetchRefusal) -> &'static str {
    match reason {
        FetchRefusal::BadToken => "the API token is not good; sign in again with `outrigger login`",
        FetchRefusal::Forbidden => "the API token's owner may not have the values of an environment",
        FetchRefusal::NotFound => "there is no such environment for this API token (--environment, --project)",
        FetchRefusal::BadRequest => "it does not know which environment is meant, or cannot lend it",
        FetchRefusal::TryLater => "it asks to come back later",
    }
}

impl FetchError {
    /// Whether the control plane is merely not there, so that what is kept may be used.
    pub(super) const fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// What the refusal says about what is kept: who was shut out does not go on with old secrets.
    pub(super) const fn forgets(&self) -> Option<Scope> {
        match self {
            Self::Refused { reason: FetchRefusal::BadToken | FetchRefusal::Forbidden, .. } => Some(Scope::Token),
            Self::Refused { reason: FetchRefusal::NotFound | FetchRefusal::BadRequest, .. } => Some(Scope::Environment),
            _ => None,
        }
    }
}

/// Asks, with as many attempts as fit before `deadline`; with only one when there is something to fall back to.
pub(super) fn ask(config: &ExecConfig, deadline: Instant, once: bool) -> Result<Fetched, FetchError> {
    // Dropped with all that it started before the command is executed.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(FetchError::Runtime)?;
    let fetched = runtime.block_on(exchange(config, deadline, once));
    runtime.shutdown_background();
    fetched
}

async fn exchange(config: &ExecConfig, deadline: Instant, once: bool) -> Result<Fetched, FetchError> {
    let (ca_file, pinned) = match &config.trust {
        ServerTrust::CaFile(path) => (Some(path.as_path()), None),
        ServerTrust::Fingerprint(fingerprint) => (None, Some(*fingerprint)),
    };
    let control_plane = ControlPlane::new(config.control_plane.clone(), config.server_name.clone(), ca_file)?;
    let trust = match (&control_plane.ca, pinned) {
        (Some(ca), _) => Trust::Ca(ca.clone()),
        (None, pinned) => Trust::Fingerprint(pinned.unwrap_or_default()),
    };
    let key = SealKeyPair::generate().map_err(FetchError::Key)?;
    let request = FetchRequest {
        token: config.token.reveal().clone(),
        project: config.project.clone(),
        environment: config.environment.clone(),
        seal_key: key.public(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut reconnect = Reconnect::default();
    let mut attempts = 0;
    loop {
        let asked = attempt::once(&control_plane, attempts, deadline, async |endpoint, address| {
            let answer = endpoint.fetch(address, &control_plane.server_name, &trust, request.clone()).await;
            let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
            answer
        });
        let error = match asked.await {
            Ok(FetchResponse::Lent { project, environment, config, sealed }) => {
                let context = FetchContext { project, environment, generation: config.generation };
                let plaintext = key.open(&sealed, &context).map_err(FetchError::Open)?;
                return Ok(Fetched { project, environment, config, plaintext });
            }
            Ok(FetchResponse::Refused { reason: FetchRefusal::TryLater, .. }) => AttemptError::TryLater,
            Ok(FetchResponse::Refused { reason, message }) => return Err(FetchError::Refused { reason, message }),
            Err(error) => error,
        };
        attempts += 1;
        let again = Instant::now() + reconnect.next(entropy::uniform());
        if once || again >= deadline {
            return Err(FetchError::Unreachable(error));
        }
        tracing::info!(%error, attempts, "no environment yet, trying again");
        tokio::time::sleep_until(again.into()).await;
    }
}
