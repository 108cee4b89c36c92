//! The one thread that advances the engine's epoch. A call arms its own deadline, in ticks from now.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// Ticks in one deadline. A call is stopped between one and one and a tenth of it.
const TICKS_PER_DEADLINE: u32 = 10;

pub(crate) struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine, deadline: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let tick = (deadline / TICKS_PER_DEADLINE).max(Duration::from_millis(1));
        let engine = engine.clone();
        let thread = std::thread::Builder::new().name("policy-epoch".to_owned()).spawn(move || {
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// What a call passes to `Store::set_epoch_deadline`. The tick that is under way does not count as a whole one.
    pub(crate) const fn ticks_to_deadline(&self) -> u64 {
        TICKS_PER_DEADLINE as u64 + 1
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has no way to panic, and nothing could be done about it here.
            let _ = thread.join();
        }
    }
}
