//! What bounds a resolution, beside the kernel's limits on the result (`outrigger_protocol::limits`).

use outrigger_protocol::limits;

/// Environments in one chain of `extends`.
pub const CHAIN: usize = 16;
/// Environments that one resolution looks at: its own chain, those that are referred to, and their chains.
pub const ENVIRONMENTS: usize = 64;
/// References that lead through one another. No environment that the kernel takes has a longer chain of its own; only
/// one that winds through several environments meets this limit.
pub const DEPTH: usize = limits::ENVIRONMENT_ENTRIES;
/// All text that one resolution puts together: the result, and what it is made of.
pub const EXPANDED_BYTES: usize = 8 * limits::ENVIRONMENT_BYTES;
/// Problems that are told one by one; the others are counted.
pub const PROBLEMS: usize = 256;
