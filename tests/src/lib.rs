//! A harness for end-to-end tests: both real binaries, real QUIC on loopback, real processes and files.
//!
//! Nothing here reaches into the programs: they are started, talked to over the admin API, signalled and killed, and
//! what they left on disk is read. A wait is always for a predicate, with a deadline.

mod api;
mod process;
mod server;
mod wait;

pub use api::{Api, Refusal};
pub use process::{Agent, binary, command_lines, is_running, test_program};
pub use server::{Server, ServerOptions};
pub use wait::{PATIENCE, eventually};
