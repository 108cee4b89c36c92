//! What a row may hold at most. Everything that sizes an allocation is held against one of these first.

/// Bytes of a row that is read at all.
pub const ROW_BYTES: usize = 16 << 20;
/// Samples of one source in a row: 18 hours of seconds. A column in memory is at most eight times as many bytes.
pub const SAMPLES: usize = 1 << 16;
/// Columns of one source in a row.
pub const COLUMNS: usize = 4_096;
/// Values that a block may have when it is decoded as a whole: 64 MiB of them. Single columns can always be read.
pub const CELLS: usize = 1 << 23;
/// Bytes of the name of a program's own metric.
pub const NAME_BYTES: usize = 255;
/// Points of an answer to a query, as many as Prometheus answers.
pub const POINTS: usize = 11_000;
