//! Every bound of this crate, in one place.
//!
//! The constants are part of the contract with plugin authors (`wit/policy.wit` and `docs/policies.md` state them).
//! What an operator may tune is in [`Limits`].

use std::time::Duration;

/// A component as uploaded. A JavaScript guest with its engine is 12 MB, a Python one 18 MB.
pub const COMPONENT_BYTES: usize = 32 * 1024 * 1024;
/// A component as compiled.
pub const COMPILED_BYTES: usize = 256 * 1024 * 1024;
/// A configuration, as JSON text.
pub const CONFIG_BYTES: usize = 64 * 1024;
/// The JSON Schema of a configuration.
pub const SCHEMA_BYTES: usize = 64 * 1024;
/// Nodes of a schema once every reference in it is followed; what bounds the work of checking against it.
pub const SCHEMA_NODES: usize = 16 * 1024;
/// What a policy keeps from one evaluation to the next.
pub const STATE_BYTES: usize = 64 * 1024;
/// An input as it lies in a guest's memory.
pub const INPUT_BYTES: usize = 4 * 1024 * 1024;
/// All that one call may hand back to the host, or hand to it in one call of `log`.
pub const OUTPUT_BYTES: usize = 2 * 1024 * 1024;
/// The name of a policy, and its version.
pub const NAME_BYTES: usize = 64;
/// The name of a metric with its suffix, or of a signal.
pub const METRIC_BYTES: usize = 160;
/// A reason, a summary, a problem, a failure.
pub const TEXT_BYTES: usize = 1024;
pub const SIGNALS: usize = 64;
/// Problems of one configuration that are reported; further ones are dropped.
pub const PROBLEMS: usize = 64;
/// Metrics that a policy may ask for.
pub const WINDOWS: usize = 64;
/// More replicas than this are nonsense whatever the deployment.
pub const REPLICAS: u32 = 1_000_000;
/// Log lines of one call that are kept.
pub const LOG_LINES: usize = 64;
/// Bytes of them that are kept.
pub const LOG_BYTES: usize = 16 * 1024;
/// Log lines of one call after which it is stopped.
pub const LOG_LINES_FATAL: usize = 1024;
/// Bytes of log after which a call is stopped.
pub const LOG_BYTES_FATAL: usize = 1024 * 1024;

/// Fuel that an evaluation gets on top for each value of its input. An interpreter spends it to be handed the value,
/// looked at or not: 800 units in QuickJS, 2,000 in CPython.
pub const FUEL_PER_VALUE: u64 = 4_000;

/// What one call of a policy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The judge, before [`FUEL_PER_VALUE`] is added. One unit is about one WebAssembly instruction; 20 million stop a
    /// spin in 10 to 20 ms.
    pub fuel: u64,
    /// The backstop, for what fuel does not count, such as a host that is starved of CPU. Loose on purpose: a tight
    /// one kills innocent calls on a loaded machine.
    pub deadline: Duration,
    /// Linear memory of an instance, all its memories together. At most [`MAX_MEMORY_BYTES`].
    pub memory_bytes: usize,
}

/// The most that [`Limits::memory_bytes`] may be: one slot of the instance pool.
pub const MAX_MEMORY_BYTES: usize = 64 * 1024 * 1024;

impl Limits {
    /// The fuel of an evaluation of an input of so many values. The same on every machine, so a replay ends the same way.
    #[must_use]
    pub(crate) fn fuel_for(&self, values: usize) -> u64 {
        self.fuel.saturating_add(FUEL_PER_VALUE.saturating_mul(values as u64))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { fuel: 20_000_000, deadline: Duration::from_secs(1), memory_bytes: 16 * 1024 * 1024 }
    }
}
