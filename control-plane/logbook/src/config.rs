//! What an installation may set, and the defaults with their reasons.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBookConfig {
    /// Compressed bytes that a deployment keeps; beyond them the oldest lines go. Default 64 MiB.
    pub keep_bytes: u64,
    /// How long lines are kept. Default 7 days.
    pub keep_for: Duration,
    /// How long a line waits at most before it is written: what a crash can take. Default 1 s.
    pub write_every: Duration,
    /// How often what is too old is looked for. Default 10 min.
    pub sweep_every: Duration,
    /// Bytes of lines of one deployment that may wait for the store. Default 8 MiB, some seconds of a storm.
    pub unwritten_bytes: usize,
    /// The same for all deployments together. Beyond it each keeps one segment. Default 64 MiB.
    pub all_unwritten_bytes: usize,
    /// Bytes of the newest lines that stay in memory while somebody follows a deployment. Default 1 MiB: a follower that is
    /// further behind has to read from the store.
    pub followed_bytes: usize,
}

impl Default for LogBookConfig {
    fn default() -> Self {
        Self {
            keep_bytes: 64 * MIB as u64,
            keep_for: Duration::from_secs(7 * 24 * 3600),
            write_every: Duration::from_secs(1),
            sweep_every: Duration::from_secs(600),
            unwritten_bytes: 8 * MIB,
            all_unwritten_bytes: 64 * MIB,
            followed_bytes: MIB,
        }
    }
}
