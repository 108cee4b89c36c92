//! What the kernel says about a process: memory, processor time, threads (proc(5)).

use std::fs;
use std::io;
use std::time::Duration;

/// `USER_HZ`, the unit of /proc/PID/stat: 100 on every Linux that this runs on (time(7)).
const TICKS_PER_SECOND: u64 = 100;

/// Why a process cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} has no `{field}`")]
    Field { path: String, field: &'static str },
}

/// A process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory, KiB.
    pub rss_kib: f64,
    /// Resident memory, shared pages divided by how many share them, KiB; absent where the kernel does not add it up.
    pub pss_kib: Option<f64>,
    pub threads: u32,
    /// Processor time of all its threads so far, those that have ended included where the clock is coarse.
    pub cpu: Duration,
}

/// Reads process `pid`.
///
/// # Errors
/// It is gone, or /proc does not look as proc(5) says.
pub fn usage(pid: u32) -> Result<Usage, ProcError> {
    let path = format!("/proc/{pid}/status");
    let status = read(&path)?;
    let missing = |field| ProcError::Field { path: path.clone(), field };
    let rss_kib = kib(&status, "VmRSS:").ok_or_else(|| missing("VmRSS"))?;
    let threads = field(&status, "Threads:").and_then(|text| text.parse().ok()).ok_or_else(|| missing("Threads"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let pss_kib = rollup.and_then(|text| kib(&text, "Pss:"));
    Ok(Usage { rss_kib, pss_kib, threads, cpu: cpu_time(pid)? })
}

/// Nanoseconds from the scheduler for all living threads, where it keeps them, or else ticks of 10 ms.
fn cpu_time(pid: u32) -> Result<Duration, ProcError> {
    if let Some(time) = scheduled(pid) {
        return Ok(time);
    }
    let path = format!("/proc/{pid}/stat");
    ticks(&read(&path)?).ok_or(ProcError::Field { path, field: "utime and stime" })
}

fn scheduled(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut total = Duration::ZERO;
    for task in tasks {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += schedstat(&text)?;
    }
    Some(total)
}

fn read(path: &str) -> Result<String, ProcError> {
    fs::read_to_string(path).map_err(|source| ProcError::Read { path: path.to_owned(), source })
}

/// The first word after a label at the beginning of a line.
pub(crate) fn field<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label))?.split_whitespace().next()
}

pub(crate) fn kib(text: &str, label: &str) -> Option<f64> {
    field(text, label)?.parse().ok()
}

/// The time on a processor: the first of three numbers, in nanoseconds.
fn schedstat(text: &str) -> Option<Duration> {
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// utime and stime: fields 14 and 15. The name before them may contain blanks and parentheses.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(user.saturating_add(system).saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// Processor time between two readings, in percent of one core over `elapsed`.
#[must_use]
pub fn percent_of_core(before: &Usage, after: &Usage, elapsed: Duration) -> f64 {
    100.0 * after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_by_its_labels() {
        let status = "Name:\tsleep\nVmPeak:\t    9000 kB\nVmRSS:\t    1904 kB\nThreads:\t1\n";
        assert_eq!(kib(status, "VmRSS:"), Some(1904.0));
        assert_eq!(field(status, "Threads:"), Some("1"));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100 9000 400";
        assert_eq!(ticks(stat), Some(Duration::from_millis(120)));
        assert_eq!(ticks("42 (x) S 1"), None);
        assert_eq!(schedstat("1500000 300 12\n"), Some(Duration::from_micros(1500)));
        assert_eq!(schedstat(""), None);
    }

    #[test]
    fn a_share_of_a_core_is_time_over_time() {
        let usage = |cpu| Usage { rss_kib: 1.0, pss_kib: None, threads: 1, cpu };
        let (before, after) = (usage(Duration::from_millis(10)), usage(Duration::from_millis(40)));
        assert_eq!(percent_of_core(&before, &after, Duration::from_secs(60)), 0.05);
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.rss_kib > 100.0 && usage.threads >= 1, "{usage:?}");
        assert!(super::usage(u32::MAX).is_err());
    }
}
