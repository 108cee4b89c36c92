//! When to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first TERM or INT (ctrl-c). Where handlers cannot be installed it never does, and the signals keep
/// their default effect.
pub(crate) async fn terminated() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
