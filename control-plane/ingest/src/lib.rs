//! The server's side of the agent wire: who may come in, what they say, what they are told.
//!
//! What flows through:
//!
//! - **In.** An agent enrols once (`enroll`: token and certificate request to certificate, signed by our own
//!   `authority`) and then connects as long as it lives. Each connection is a `session` of one task. Samples pass a
//!   `budget`, are counted once per batch (`dedup`), corrected for the sandbox's `clock` and put into their
//!   deployment's window (`windows`), which marks the deployment dirty for the engine; the requests in them are told as
//!   counts (`traffic`). Whoever else wants samples or log lines has a `sink`.
//! - **Out.** A generation of an `environment` is sealed to each agent that is to have it and offered (`offers`). Who is
//!   to have which, and what follows from the answers, is not decided here. Whatever else an agent is told waits in its
//!   `outbox`, the latest of each kind.
//! - **For people.** A developer's token gets one environment, sealed to a key of that call (`fetch`).
//! - **Beside.** The `registry` knows who is here, `presence` notices who is not, `stats` counts, `events` tell, and the
//!   server's own `certificate` is renewed before its end.
//!
//! What must never be true: an id from a frame decides anything (identity is the certificate's alone); a queue grows
//! because an agent reads slowly or writes fast; one agent's mistake, lie or flood touches another deployment's window
//! or another agent's session; a batch is acknowledged before it is in the window; a session is offered a lower generation
//! after a higher one, or something else under a generation's name; a plaintext environment leaves this process, or is
//! formatted.

mod authority;
mod budget;
mod certificate;
mod clock;
mod config;
mod dedup;
mod enroll;
mod environments;
mod events;
mod fetch;
mod health;
mod ingest;
mod offers;
mod outbox;
mod presence;
mod registry;
mod server;
mod session;
mod shards;
mod sink;
mod stats;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
#[cfg(test)]
mod tests;
mod traffic;
mod windows;

pub use authority::AuthorityError;
pub use budget::{LaneLimits, Rate};
pub use config::{EnrollLimits, IngestConfig};
pub use environments::EnvironmentError;
pub use events::{IngestEvent, SessionEnd};
pub use health::InstanceHealth;
pub use ingest::{Ingest, IngestError};
pub use registry::LiveInstance;
pub use sink::{Sink, Source};
pub use stats::{Count, IngestStats, Reject};
