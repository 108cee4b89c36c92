//! An upgraded connection: bytes in both directions, until both sides have ended, nothing moves, or the proxy stops. The end of
//! one side is passed on, and the other goes on.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::Stage;
use super::exchange::Client;
use super::watch::stalled;

/// What is read at once, per direction.
const COPY_BYTES: usize = 8 * 1024;

/// Connects both sides once their heads have been sent. `client` counts as a connection as long as this runs.
pub(super) async fn carry(client: Arc<Client>, to_client: OnUpgrade, to_program: OnUpgrade) {
    let mut stages = client.stages();
    let _counted = client.meter().tunnel();
    let copying = async {
        let (to_client, to_program) = match tokio::try_join!(to_client, to_program) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "an upgrade did not come about"),
        };
        let (mut to_client, mut to_program) = (TokioIo::new(to_client), TokioIo::new(to_program));
        let ended =
            tokio::io::copy_bidirectional_with_sizes(&mut to_client, &mut to_program, COPY_BYTES, COPY_BYTES).await;
        if let Err(error) = ended {
            tracing::debug!(%error, "an upgraded connection ended early");
        }
    };
    tokio::select! {
        () = copying => {}
        () = stalled(client.activity(), client.limits().stall_timeout) => {
            tracing::debug!("an upgraded connection is given up: nothing moved");
        }
        _closed = stages.wait_for(|stage| *stage == Stage::Closed) => {}
    }
}
