//! What can be wrong with what is given to this crate.

use crate::limits;

/// Bytes that are no row, or not one that this version reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a row of {0} bytes: at most {limit} are read", limit = limits::ROW_BYTES)]
    TooLong(usize),
    #[error("not a row of history: it does not begin as one")]
    NotARow,
    #[error("a row of version {0}; this program reads version {known}", known = crate::row::VERSION)]
    Version(u8),
    #[error("a damaged row: its checksum is {found:#010x} and not {expected:#010x}")]
    Checksum { expected: u32, found: u32 },
    #[error("a row that ends too early")]
    Truncated,
    #[error("a row with {claimed} {what}: at most {limit} are read")]
    TooMany { what: &'static str, claimed: u64, limit: usize },
    #[error("a row that contradicts itself: {0}")]
    Malformed(&'static str),
}

/// A block that cannot be: what it is made of contradicts itself or is too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("a block without a sample")]
    Empty,
    #[error("a block of {0} samples: at most {limit}", limit = limits::SAMPLES)]
    TooManySamples(usize),
    #[error("a block with more than {limit} series", limit = limits::COLUMNS)]
    TooManyColumns,
    #[error("the times of a block have to ascend, and sample {0} is not after the one before it")]
    Order(usize),
    #[error("{values} values for {samples} samples")]
    Length { values: usize, samples: usize },
    #[error("a metric name of {0} bytes: 1 to {limit}", limit = limits::NAME_BYTES)]
    Name(usize),
    #[error("only blocks of the same source can be joined")]
    Source,
    #[error("blocks have to be packed in the order of their sources, each source once")]
    SourceOrder,
}

/// Tiers that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    #[error("no tier: history needs at least one")]
    None,
    #[error("tier {0}: the step has to be at least a millisecond, in whole milliseconds")]
    Step(usize),
    #[error("tier {0}: the step has to be a larger multiple of the step of the tier before")]
    Multiple(usize),
    #[error("tier {0}: the retention has to be at least one step, and not shorter than that of the tier before")]
    Retention(usize),
}

/// A query that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the range ends before it begins: `to` has to be after `from`")]
    Range,
    #[error("the step has to be at least a millisecond")]
    Step,
    #[error("{points} points: at most {limit}; use a larger step or a shorter range", limit = limits::POINTS)]
    TooManyPoints { points: u64 },
    #[error("a rate is that of a counter, and this metric is a level: use avg, min, max, sum or last")]
    RateOfGauge,
    #[error("a quantile is between 0 and 1")]
    Quantile,
}
