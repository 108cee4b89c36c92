//! The real agent binary against a small control plane on loopback.
//!
//! The control plane here is made of the protocol's server side alone: what it says and what it hears is under the
//! test's control. Waits are for a predicate, with a deadline that only a failure reaches.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "agent/authority.rs"]
mod authority;
#[path = "agent/env_file.rs"]
mod env_file;
#[path = "agent/exec.rs"]
mod exec;
#[path = "agent/flush.rs"]
mod flush;
#[path = "agent/injection.rs"]
mod injection;
#[path = "agent/observed.rs"]
mod observed;
#[path = "agent/pace.rs"]
mod pace;
#[path = "agent/plane.rs"]
mod plane;
#[path = "agent/probes.rs"]
mod probes;
#[path = "agent/rejoin.rs"]
mod rejoin;
#[path = "agent/reload.rs"]
mod reload;
#[path = "agent/sandbox.rs"]
mod sandbox;
#[path = "agent/secrecy.rs"]
mod secrecy;
#[path = "agent/start.rs"]
mod start;
#[path = "agent/storm.rs"]
mod storm;
#[path = "agent/supervision.rs"]
mod supervision;
