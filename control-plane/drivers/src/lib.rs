//! The hands of the control plane: how an instance of a deployment comes into being and goes.
//!
//! A [`Driver`] is told what to make by an [`InstanceSpec`] and is asked what there is. It decides nothing. Every call
//! is idempotent by the instance's id, because the control plane writes down what it wants before it calls, may be
//! killed at any moment, and then asks for the same again: creating what exists answers with what exists, destroying
//! what is gone succeeds.
//!
//! - [`ProcessDriver`]: each instance is an agent with its program, as processes of this machine.
//! - [`DryRunDriver`]: remembers the calls and does nothing else.
//!
//! What must never be true: two sandboxes for one instance; a sandbox that a restart of the control plane forgets; a
//! join token or a variable of the control plane's own environment within reach of a sandbox.

mod dry_run;
mod error;
mod process;
mod spec;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;

pub use dry_run::{Call, DryRunDriver};
pub use error::{DriverError, FailureKind};
pub use process::{CgroupRoot, ProcessConfig, ProcessDriver};
pub use spec::{Created, InstanceSpec, Limits, Observation, Observed, Scrape};

/// What a driver's method gives: a future on the heap, so that drivers can be kept side by side.
pub type DriverFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, DriverError>> + Send + 'a>>;

/// A kind of sandbox.
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// What a deployment names it by.
    fn name(&self) -> &'static str;

    /// Whether an agent joins for each instance. Without one, an instance counts as ready once it was made.
    fn has_agents(&self) -> bool {
        true
    }

    /// Makes the instance, or finds that it is there. Returns once it has been started; its agent says when it is
    /// ready.
    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> DriverFuture<'a, Created>;

    /// Ends the instance and all that belongs to it: asks, waits for `grace`, then forces. An instance that is not
    /// there is a success.
    fn destroy(&self, instance: InstanceId, grace: Duration) -> DriverFuture<'_, ()>;

    /// Every instance that this driver holds anything of, running or not.
    fn list(&self) -> DriverFuture<'_, Vec<Observed>>;
}
