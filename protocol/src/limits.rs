//! Every bound of the protocol, in one place. A limit is checked before anything of that size is allocated.

/// One `KEY=VALUE` string that the kernel accepts: `MAX_ARG_STRLEN`, 32 pages (execve(2)).
pub const ENVIRONMENT_ENTRY_BYTES: usize = 128 * 1024;
/// All entries of an environment. The kernel takes argv and envp together up to a quarter of the stack limit,
/// 2 MiB at the usual 8 MiB (execve(2)); the rest is left to argv and what the sandbox inherits.
pub const ENVIRONMENT_BYTES: usize = 1536 * 1024;
pub const ENVIRONMENT_ENTRIES: usize = 4096;

/// Largest frame, in bytes after the length prefix, per lane and direction.
pub const CONTROL_TO_SERVER_BYTES: u32 = 64 * 1024;
/// An offer carries a whole sealed environment.
pub const CONTROL_TO_AGENT_BYTES: u32 = 2 * 1024 * 1024;
pub const METRICS_BYTES: u32 = 256 * 1024;
pub const LOGS_BYTES: u32 = 1024 * 1024;
pub const ENROLL_BYTES: u32 = 32 * 1024;
pub const FETCH_BYTES: u32 = 8 * 1024;

pub const LOG_LINE_BYTES: usize = 64 * 1024;
pub const LOG_RECORDS_PER_BATCH: usize = 4096;
pub const SAMPLES_PER_BATCH: usize = 600;
pub const VALUES_PER_SAMPLE: usize = 128;
pub const CUSTOM_METRICS_PER_SAMPLE: usize = 64;
pub const METRIC_NAME_BYTES: usize = 128;
/// Rules about a program's own metrics: more would make every line of every answer slow.
pub const METRIC_RULES: usize = 64;
/// Longer is not a selector that anybody wrote.
pub const SELECTOR_BYTES: usize = 1024;
/// Texts in messages: versions, reasons, errors.
pub const TEXT_BYTES: usize = 1024;
/// Dangerous names that a deployment allows.
pub const ALLOWED_NAMES: usize = 256;
/// Probes of a deployment.
pub const PROBES: usize = 16;
pub const PROBE_NAME_BYTES: usize = 64;
pub const PROBE_PATH_BYTES: usize = 1024;
pub const PROBE_HEADERS: usize = 16;
/// Name and value together.
pub const PROBE_HEADER_BYTES: usize = 1024;
pub const PROBE_ARGUMENTS: usize = 64;
/// All arguments together.
pub const PROBE_COMMAND_BYTES: usize = 8 * 1024;
/// Why an attempt failed.
pub const PROBE_ERROR_BYTES: usize = 256;
/// A host's name (RFC 1035, 2.3.4, without the length octets).
pub const HOST_BYTES: usize = 253;
/// Names of variables that are read at a program's start alone.
pub const START_ONLY_NAMES: usize = 256;
pub const CSR_BYTES: usize = 8 * 1024;
pub const CHAIN_CERTIFICATES: usize = 4;
pub const CERTIFICATE_BYTES: usize = 8 * 1024;
