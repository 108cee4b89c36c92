//! The largest of everything. A request beyond one of these is refused whole, before it is queued.

/// Longest key, log name, lease name or lease holder, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// Longest value of a key or of a log entry, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// Most compares in one transaction.
pub const MAX_COMPARES: usize = 1024;

/// Most operations in one transaction.
pub const MAX_OPS: usize = 4096;

/// Most keys that one transaction may change, deletions by range included.
pub const MAX_CHANGES: usize = 8192;

/// Most bytes (keys, names and values together) in one transaction.
pub const MAX_TRANSACTION_BYTES: usize = 8 * 1024 * 1024;

/// Most entries in one answer of a range or log read; a larger `limit` is cut to this one.
pub const MAX_PAGE_ENTRIES: usize = 10_000;

/// Bytes after which a page is closed even though its limit is not reached. One entry is always returned.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Longest time a lease may be asked for in one go.
pub const MAX_LEASE_TTL: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
