//! The agent: one process beside the program of a sandbox.
//!
//! What flows through: an environment comes in sealed ([`session`] → [`environment`]), becomes a running program
//! ([`lifecycle`] decides, [`supervisor`] does, [`probes`] ask), and what is seen of that program goes out again ([`sampler`],
//! [`requests`], [`logs`] → [`spool`] → [`session`]). [`app`] composes them on one thread.
//!
//! - [`exec`] is the other way in: a person's environment for one program, in this process's own place.
//! - Who the agent is lives in [`identity`] and [`state_dir`]; it gets there by [`enroll`].
//! - What it started with last is in [`last_good`]; what it says about itself locally is [`status`].
//! - [`clock`] is by what the control plane is told when something was.
//! - [`hardening`] runs before anything else, [`config`] is what the operator asked for.
//!
//! What must never be true: a second thread while a process is forked; a queue without a bound; a secret in an
//! argument, a log line, an error, a file, or this process's own environment; a program that outlives its agent.

pub mod app;
pub mod attempt;
pub mod clock;
pub mod config;
pub mod console;
pub mod control_plane;
pub mod enroll;
pub mod entropy;
pub mod environment;
pub mod exec;
pub mod hardening;
pub mod identity;
pub mod last_good;
pub mod lifecycle;
pub mod logging;
pub mod logs;
mod probe;
pub mod probes;
pub mod requests;
pub mod sampler;
pub mod session;
pub mod spool;
pub mod state_dir;
pub mod status;
pub mod supervisor;
