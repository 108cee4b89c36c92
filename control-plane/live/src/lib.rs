//! Live streams: what deployments log, how they are and what they use, told to whoever listens, over Socket.IO.
//!
//! What flows through:
//!
//! ```text
//! source ─▶ hub ─▶ queue ─▶ session ─▶ Socket.IO ─▶ client
//! one per          one per socket,
//! deployment       bounded
//! and topic
//! ```
//!
//! - The `door` lets connections in: so many that have not shown a token yet, so many with one, so many of one user.
//! - A `session` is one socket of somebody with a valid token. It answers what the client asks for ([`request`]), in
//!   the order in which it asked, hands over what is in its [`queue`], and ends when its token does.
//! - A [`hub`] is one deployment's logs, status or metrics while somebody has subscribed to them: one task that takes
//!   each update from the [`Source`] once and puts it into the queues of those whose filter it passes.
//! - The [`telemetry`] of the control plane is the source: the log book, the engine, the windows of ingest.
//!
//! What must never be true: a client that does not read makes anything wait but its own session; a queue grows without
//! a bound; an update goes missing without the client being told how many; somebody hears of a deployment of another
//! organisation, or can tell it from one that does not exist; a connection is told anything for longer than
//! [`LiveConfig::recheck`] after its token has ended; a token is logged.

#![allow(rustdoc::private_intra_doc_links, reason = "the head is a map of the crate for those who work in it")]

mod config;
mod door;
mod hub;
mod live;
mod queue;
mod request;
mod session;
mod source;
mod stats;
mod telemetry;
mod update;

pub use config::LiveConfig;
pub use live::Live;
pub use request::Topic;
pub use source::{Feed, Source, Subject};
pub use stats::LiveStats;
pub use telemetry::Telemetry;
pub use update::{LogUpdate, Metrics, MetricsUpdate, StatusUpdate, Update};
