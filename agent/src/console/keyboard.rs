//! Keys, from the agent's terminal to the program's.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::watched::Watched;

/// More than anybody types at once; what is pasted comes in parts.
const CHUNK_BYTES: usize = 1024;

/// Passes keys on until one of the terminals is gone. No more is read than the program's terminal takes.
pub(super) async fn relay(keys: Watched, terminal: Arc<Watched>) {
    // Passwords are typed here.
    let mut buffer = Zeroizing::new([0; CHUNK_BYTES]);
    loop {
        let passed = match keys.read(buffer.as_mut_slice()).await {
            Ok(0) => return,
            Ok(read) => terminal.write_all(&buffer[..read]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = passed {
            tracing::debug!(%error, "keys are no longer passed on");
            return;
        }
    }
}
