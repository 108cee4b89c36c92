//! The things the control plane keeps, as plain types.
//!
//! None of them is serialisable: the tables have their own versioned records and the HTTP API its own shapes, so
//! that a change here can break neither a file nor a client.

mod account;
mod actor;
mod approval;
mod audit;
mod decision;
mod deployment;
mod environment;
mod event;
mod instance;
mod policy;
mod project;
mod rollout;
mod rotation;
mod template;

pub use account::*;
pub use actor::*;
pub use approval::*;
pub use audit::*;
pub use decision::*;
pub use deployment::*;
pub use environment::*;
pub use event::*;
pub use instance::*;
pub use policy::*;
pub use project::*;
pub use rollout::*;
pub use rotation::*;
pub use template::*;
