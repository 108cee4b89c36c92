//! The host with real components: the built-in policies, and guests that were built to misbehave.

#![allow(clippy::unwrap_used)] // Clippy knows test functions, not what they share.

mod host {
    mod deciding;
    mod hostile;
    mod loading;
    mod pool;
    pub(crate) mod support;
}

use host::support;
