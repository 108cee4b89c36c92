//! One question to the control plane from somebody without a certificate.

use std::net::SocketAddr;
use std::time::Instant;

use outrigger_protocol::transport::{ClientEndpoint, TransportError};

use crate::control_plane::{ControlPlane, ControlPlaneError, resolve};
use crate::probe;

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

/// A peer's text beside our own words: one line, whatever it sends.
pub(crate) fn detail(message: &str) -> String {
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if message.trim().is_empty() { String::new() } else { format!(" ({})", message.trim()) }
}

/// Asks at the control plane's next address. `attempt` counts from 0: names with several addresses take turns.
///
/// # Errors
/// It cannot be resolved or reached, says that nobody listens, or did not answer before `deadline`.
pub(crate) async fn once<A>(
    control_plane: &ControlPlane,
    attempt: usize,
    deadline: Instant,
    ask: impl AsyncFnOnce(&ClientEndpoint, SocketAddr) -> Result<A, TransportError>,
) -> Result<A, AttemptError> {
    let asking = async {
        let address = resolve(&control_plane.address, attempt).await?;
        let endpoint = ClientEndpoint::towards(address)?;
        tokio::select! {
            answer = ask(&endpoint, address) => Ok(answer?),
            source = probe::refused(address) => Err(AttemptError::Refused { address, source }),
        }
    };
    tokio::time::timeout_at(deadline.into(), asking).await.unwrap_or(Err(AttemptError::Silence))
}
