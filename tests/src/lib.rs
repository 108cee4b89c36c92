//! A harness for end-to-end tests: both real binaries, real QUIC on loopback, real processes and files.
//!
//! Nothing here reaches into the programs: they are started, talked to over the admin API, signalled and killed, and
//! what they left on disk is read. A wait is always for a predicate, with a deadline. The one part of the product that
//! is called as a library is the process driver, to end what a failing test left behind ([`Workplace`]).

mod api;
mod process;
mod running;
mod server;
mod terminal;
mod wait;
mod workplace;

pub use api::{Api, Refusal};
pub use process::{Agent, binary, command_lines, is_running, parent_of, test_program};
pub use running::Running;
pub use server::{Addresses, Server, ServerOptions};
pub use terminal::OnTerminal;
pub use wait::{PATIENCE, eventually};
pub use workplace::Workplace;
