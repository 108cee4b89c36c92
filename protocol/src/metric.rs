//! The registry of metrics: one name, one unit, one code on the wire.
//!
//! Codes are append-only. A receiver drops a code it does not know and keeps the rest of the sample, so an
//! agent may be newer than its control plane.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// How far apart samples may be. More often costs more than it tells; more seldom, what an agent says is no longer about
/// the moment in which it is decided on.
pub const SAMPLE_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100, and above where a limit can be exceeded.
    Percent,
    Cores,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Milliseconds,
    Seconds,
    Count,
}

impl Unit {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Cores => "cores",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::PerSecond => "1/s",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Count => "count",
        }
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $unit:ident;)+) => {
        /// A metric that every agent of this version knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Metric { $($(#[$doc])* $variant = $code,)+ }

        impl Metric {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[must_use]
            pub const fn code(self) -> u16 { self as u16 }

            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Computed by the receiver (from a histogram), so a value of it never travels.
            #[must_use]
            pub const fn is_derived(self) -> bool {
                matches!(self, Self::ResponseTimeP50 | Self::ResponseTimeP95 | Self::ResponseTimeP99)
            }

            /// The name in the API, in policies and in queries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit,)+ }
            }
        }

        impl FromStr for Metric {
            type Err = UnknownMetric;
            fn from_str(name: &str) -> Result<Self, UnknownMetric> {
                match name { $($name => Ok(Self::$variant),)+ _ => Err(UnknownMetric) }
            }
        }
    };
}

/// A name that is not in the registry; it may still be a custom metric of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric")]
pub struct UnknownMetric;

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

metrics! {
    /// CPU in percent of the limit that really applies: the cgroup's quota, or the host's cores.
    Cpu = 1, "cpu", Percent;
    CpuUsage = 2, "cpu_usage_cores", Cores;
    CpuLimit = 3, "cpu_limit_cores", Cores;
    /// Share of the enforcement periods in which the cgroup was throttled.
    CpuThrottled = 4, "cpu_throttled", Percent;
    /// Working set in percent of the limit that really applies.
    Memory = 10, "memory", Percent;
    /// Usage less inactive file pages, as the kubelet computes it.
    MemoryWorkingSet = 11, "memory_working_set_bytes", Bytes;
    MemoryRss = 12, "memory_rss_bytes", Bytes;
    MemoryLimit = 13, "memory_limit_bytes", Bytes;
    /// OOM kills since the previous sample.
    OomKills = 14, "oom_kills", Count;
    /// Pages of the sandbox that were written out to swap.
    MemorySwap = 15, "memory_swap_bytes", Bytes;
    /// Pressure stall, share of wall time since the previous sample in which some or all tasks waited.
    PressureCpuSome = 20, "pressure_cpu_some", Percent;
    PressureCpuFull = 21, "pressure_cpu_full", Percent;
    PressureMemorySome = 22, "pressure_memory_some", Percent;
    PressureMemoryFull = 23, "pressure_memory_full", Percent;
    PressureIoSome = 24, "pressure_io_some", Percent;
    PressureIoFull = 25, "pressure_io_full", Percent;
    /// Processes of the program's tree.
    Processes = 30, "processes", Count;
    Threads = 31, "threads", Count;
    FileDescriptors = 32, "file_descriptors", Count;
    /// Threads of all processes together that the sandbox may have.
    ThreadsLimit = 33, "threads_limit", Count;
    DiskRead = 40, "disk_read", BytesPerSecond;
    DiskWrite = 41, "disk_write", BytesPerSecond;
    NetworkReceive = 42, "network_receive", BytesPerSecond;
    NetworkTransmit = 43, "network_transmit", BytesPerSecond;
    Requests = 50, "requests", PerSecond;
    RequestsInFlight = 51, "requests_in_flight", Count;
    /// Answers of class 5xx and upstream failures.
    RequestErrors = 52, "request_errors", PerSecond;
    /// Quantiles are computed by the receiver from the shipped histogram; these three never go over the wire.
    ResponseTimeP50 = 53, "response_time_p50", Milliseconds;
    ResponseTimeP95 = 54, "response_time_p95", Milliseconds;
    ResponseTimeP99 = 55, "response_time_p99", Milliseconds;
    QueueDepth = 56, "queue_depth", Count;
    HostCpu = 60, "host_cpu", Percent;
    HostMemory = 61, "host_memory", Percent;
    HostLoad1 = 62, "host_load1", Count;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_lead_back() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_code(metric.code()), Some(*metric));
            assert_eq!(metric.name().parse(), Ok(*metric));
        }
    }
}
