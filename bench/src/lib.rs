//! Measures what the product promises, with what ships, and says how far it is from what is possible.
//!
//! What flows through: a measurement ([`injection`], [`agent`], [`proxy`], [`canary`], [`fleet`], [`reaction`],
//! [`push`], [`policy`], [`store`], [`keys`], [`codec`], [`logs`], [`log_storm`], [`history_file`]) starts the release
//! binaries as processes of their own, or calls a crate in this one, and returns [`figure::Figure`]s: what was
//! promised, what came out, and what a peer or the bare operating system needs for the same in the same run.
//! [`report::Report`] prints them as one table, with the [`machine`] they were taken on.
//!
//! The load generator is [`agents`]: thousands of them in this process, each with its own key, certificate and QUIC
//! connection, on a [`stage`] with a real control plane on loopback.
//!
//! What must never be true: that a figure is compared with one of another run or another machine; that a goal is bent to
//! what was measured; that anything which a measurement started is still running after it.

pub mod agent;
pub mod agents;
pub mod bare_endpoint;
pub mod canary;
pub mod codec;
pub mod control_plane;
pub mod figure;
pub mod fleet;
pub mod history;
pub mod history_file;
pub mod injection;
pub mod keys;
pub mod log_storm;
pub mod logs;
pub mod machine;
pub mod peers;
pub mod policy;
pub mod process;
pub mod procfs;
pub mod programs;
pub mod prometheus;
pub mod proxy;
pub mod push;
pub mod reaction;
pub mod report;
pub mod sandbox;
pub mod stage;
pub mod statistics;
pub mod store;
pub mod workload;
