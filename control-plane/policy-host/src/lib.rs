//! Runs scaling policies: WebAssembly components that anybody may have written.
//!
//! What flows through:
//!
//! ```text
//! bytes ─▶ compile (own process, limits) ─▶ cache ─▶ Policy ─┐
//!                                                            ├─▶ evaluate ─▶ Evaluation { Proposal | Fault }
//! Input, checked ────────────────────────────────────────────┘
//! ```
//!
//! A [`Policy`] is a component that was compiled, whose imports and exports fit `wit/policy.wit`, and that has said
//! who it is. [`PolicyHost::evaluate`] puts it into a fresh instance, hands it an [`Input`] and judges what comes
//! back. [`EvaluationPool`] does that on threads of its own, fairly between policies, and [`Breaker`] stops asking a
//! policy that keeps failing.
//!
//! What must never be true:
//!
//! - that a policy reaches anything but its input and `log`: no WASI is linked, no clock, no randomness;
//! - that a policy's answer leaves this crate unjudged: NaN, 10^18 replicas or a gigabyte of reasons end as a
//!   [`Fault`], and so do a loop, a trap and memory without end;
//! - that anything of one evaluation is left for the next, but the state that the caller carries over;
//! - that machine code is run which this host did not compile: users upload components, never compiled ones, and the
//!   cache believes nothing that does not carry its seal;
//! - that another crate uses wasmtime.

mod bindings;
mod breaker;
mod cache;
mod compile;
mod context;
mod description;
mod digest;
mod engine;
mod fault;
mod host;
mod input;
pub mod json;
mod judge;
pub mod limits;
mod policy;
mod pool;
mod proposal;
mod schema;
mod stats;
mod ticker;

pub use breaker::{Breaker, BreakerConfig, BreakerOpen, BreakerState};
pub use cache::{CacheConfig, CacheError, CacheKey};
pub use compile::{CompileError, CompileLimits, Compiler, compile_worker};
pub use description::{Description, MetricWindow, Needs};
pub use digest::{Digest, ParseDigestError};
pub use fault::{FailureReason, Fault, FaultKind};
pub use host::{ConfigError, HostConfig, HostError, LoadError, PolicyHost};
pub use input::{Column, Deployment, Input, InputError, Instances, LocalTime, Series};
pub use limits::Limits;
pub use policy::Policy;
pub use pool::{EvaluationPool, PendingEvaluation, PoolConfig};
pub use proposal::{Evaluation, Log, LogLevel, LogLine, Proposal};
pub use schema::{Problem, SchemaError};
pub use stats::PolicyStats;
