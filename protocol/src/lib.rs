//! What the agent and the control plane say to each other, and nothing else.
//!
//! Three layers, each in its own modules:
//!
//! - **The language**: typed [`id`]s, [`time`], the [`metric`] registry, [`sample`]s, [`histogram`]s,
//!   [`log`] records, the [`environment`], [`probe`]s, [`rule`]s and the control [`message`]s. Plain
//!   domain types: no serde, no I/O, no clock.
//! - **The bytes**: [`wire`] holds the versioned, serialisable counterparts of the language and the
//!   [`codec`] that frames them. A length is checked against its lane's limit before anything is allocated.
//! - **The road**: [`transport`] owns QUIC and TLS (the only user of quinn in the workspace), [`seal`] closes
//!   an environment to one agent's key, [`join_token`] and [`identity`] say who may come in.
//!
//! What must never be true: this crate never depends on another crate of the workspace, never trusts a
//! number that a peer sent, and never formats a secret.

pub mod codec;
pub mod environment;
pub mod fetch;
pub mod histogram;
pub mod id;
pub mod identity;
pub mod join_token;
pub mod limits;
pub mod log;
pub mod message;
pub mod metric;
pub mod probe;
pub mod rule;
pub mod sample;
pub mod seal;
pub mod time;
pub mod transport;
pub mod wire;
