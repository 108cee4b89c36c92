//! Every bound of a template, in one place. What a value may be is the kernel's to say (`outrigger_protocol::limits`).

/// A template's file.
pub const FILE_BYTES: usize = 128 * 1024;
/// Mappings and lists within each other; the format needs four.
pub const FILE_DEPTH: usize = 8;
pub const VARIABLES: usize = 256;
/// Problems that are told one by one; the others are counted.
pub const PROBLEMS: usize = 256;
/// Identifiers of templates and categories.
pub const SLUG_BYTES: usize = 64;
pub const NAME_CHARS: usize = 100;
pub const VERSION_BYTES: usize = 32;
/// Names of variables, as everywhere in the control plane.
pub const KEY_BYTES: usize = 128;
/// Of a template.
pub const DESCRIPTION_BYTES: usize = 2048;
/// Of each variable, as everywhere in the control plane: a longer one could not be applied.
pub const VARIABLE_DESCRIPTION_BYTES: usize = 512;
pub const URL_BYTES: usize = 2048;
/// A default, and an example: enough for a certificate chain or a JSON document.
pub const TEXT_BYTES: usize = 16 * 1024;
/// Allowed values of one variable.
pub const VALUES: usize = 64;
pub const VALUE_BYTES: usize = 256;
pub const PATTERN_BYTES: usize = 256;
/// A compiled pattern, in bytes: bounds what repetitions of repetitions may cost. Some repeated classes of all Unicode's
/// letters fit.
pub const PATTERN_PROGRAM_BYTES: usize = 256 * 1024;
/// Groups and repetitions of a pattern within each other.
pub const PATTERN_DEPTH: u32 = 16;

/// What a generated secret has at least: out of reach of any search (NIST SP 800-57 part 1, 5.6).
pub const MIN_ENTROPY_BITS: u32 = 128;
/// Random bytes, or drawn characters, of a generated secret.
pub const GENERATED_LENGTH: usize = 1024;
