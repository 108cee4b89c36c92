//! The shell around scaling: everything that waits, asks, writes and acts, so that what decides can be pure.
//!
//! What flows through, for each deployment that runs:
//!
//! ```text
//! samples ─▶ window ─▶ scaler ─▶ policies ─▶ decide (pure) ─▶ catalog ─▶ executor ─▶ driver
//!            (ingest)                                         decision    intents
//!                                                             and intents │
//!                                reconciler ◀─────────────────────────────┘
//!                                what is written down against what there is
//! ```
//!
//! - The `scaler` looks at a deployment as soon as something is new about it, asks its policies, and has the decision
//!   written down in one transaction with the intents that follow from it.
//! - The `executor` carries intents out by drivers: bounded, retried, in order per instance.
//! - The `reconciler` brings back what a crash interrupted, replaces what died, and clears away what nobody wants.
//! - The `lifecycle` starts and stops deployments; `rollouts` take new configuration to them.
//! - `policies` holds the components that were compiled.
//! - `rotation` replaces keys in the background.
//!
//! What must never be true: an effect on the outside that was not written down first; two looks at one deployment at
//! the same time; a panic, a fault or a slow policy of one deployment that another one notices; a queue that grows with
//! the trouble; a replica given up because something was not known.

mod ambient;
mod backoff;
mod board;
mod config;
mod core;
mod engine;
mod error;
mod executor;
#[cfg(test)]
mod fixtures;
mod lifecycle;
mod news;
mod policies;
mod readiness;
mod reconciler;
mod rollouts;
mod rotation;
mod scaler;
mod stats;
mod task;

pub use ambient::{Ambient, Entropy};
pub use board::{Direction, LastDecision, Standing};
pub use config::{EngineConfig, ExecutorConfig, ReconcilerConfig, ScalerConfig};
pub use engine::{DeploymentView, Engine, InstanceView};
pub use error::{EngineError, StartError};
pub use news::News;
pub use policies::PolicyActivity;
pub use rollouts::RolloutView;
pub use stats::{Counted, EngineStats, Timing};
