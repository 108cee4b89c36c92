//! The arithmetic of scaling decisions, and nothing but arithmetic.
//!
//! What flows through: samples into [`window`]s, windows into the policies' input (built by the engine, which also
//! runs them), proposals through [`combine`] and [`guard`]s into a [`Verdict`]. What must never be true: this crate
//! never reads a clock, never draws a random number, never waits and never does I/O. The same arguments give the same
//! decision, which is what makes replay possible.

pub mod combine;
pub mod decide;
pub mod guard;
pub mod window;

pub use combine::Combine;
pub use decide::{Cause, Decided, PolicyOutcome, Verdict, View, Wish, decide};
pub use guard::{GuardConfig, GuardOutcome, GuardReport};
pub use window::{DeploymentWindow, Usage, WindowConfig};
