//! Bounds of the proxy, and how they are named on the command line.

use std::num::ParseIntError;
use std::time::Duration;

use super::network::Network;

/// All are checked by the proxy itself; the program sees only what is within them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Connections of clients at once; more wait in the listener's backlog.
    pub connections: u32,
    /// Requests under way at once, of all connections. More are answered with 503.
    pub requests: u32,
    /// Requests under way on one connection of HTTP/2. More wait with the client.
    pub streams: u32,
    /// Request line and header fields together, at least 8 KiB. More is answered with 431, as are more than 100 fields.
    pub head_bytes: usize,
    /// A request's body. More is answered with 413.
    pub body_bytes: u64,
    /// From the first byte of a head to its end. Then 408.
    pub head_timeout: Duration,
    /// A connection without a request. Longer than load balancers keep theirs (60 s), so that they close first.
    pub keep_alive: Duration,
    /// A body or an upgraded connection on which no byte moves.
    pub stall_timeout: Duration,
    /// Until the program accepts a connection. Then 504.
    pub connect_timeout: Duration,
    /// How long requests wait for a program that refuses connections because it is being restarted. Then 502, at once
    /// for everybody until it accepts again.
    pub restart_window: Duration,
    /// From the last byte of a request to the head of its answer, then 504; and between two pieces of a request's body, then
    /// 408.
    pub response_timeout: Duration,
    /// How long an unused connection to the program is kept: less than servers do (5 s is usual), so that they seldom
    /// close one that is being used.
    pub upstream_idle: Duration,
    /// Unused connections to the program.
    pub upstream_idle_connections: usize,
    /// For requests under way when the proxy is told to stop.
    pub drain_timeout: Duration,
    /// Who may say on whose behalf it asks, beside this machine.
    pub trusted: Vec<Network>,
}

/// What hyper needs for a head.
pub(super) const MIN_HEAD_BYTES: usize = 8 * 1024;
/// Every connection may come to hold a head.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// Each connection is a descriptor, and so is each request to a program that speaks HTTP/1.1.
const MAX_CONNECTIONS: u32 = 65_536;

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            requests: 1024,
            streams: 100,
            head_bytes: 16 * 1024,
            body_bytes: u64::MAX,
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(5),
            restart_window: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(4),
            upstream_idle_connections: 32,
            drain_timeout: Duration::from_secs(10),
            trusted: Vec::new(),
        }
    }
}

/// Why a limit cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("there is no limit `{0}`; there are {names}", names = NAMES.join(", "))]
    Unknown(String),
    #[error("{name}: expected {least} to {most}")]
    Range { name: &'static str, least: u64, most: u64 },
    #[error("{name}: not a whole number")]
    Number {
        name: &'static str,
        #[source]
        source: ParseIntError,
    },
    #[error("{name}: {why}")]
    Duration { name: &'static str, why: String },
}

const NAMES: [&str; 12] = [
    "connections",
    "requests",
    "streams",
    "head-bytes",
    "body-bytes",
    "head-time",
    "keep-alive",
    "idle-time",
    "connect-time",
    "restart-wait",
    "response-time",
    "drain-time",
];

impl ProxyLimits {
    /// Sets one limit. `duration` reads times.
    ///
    /// # Errors
    /// There is no such limit, or the value makes no sense for it.
    pub fn set<E: std::error::Error>(
        &mut self,
        name: &str,
        value: &str,
        duration: impl Fn(&str) -> Result<Duration, E>,
    ) -> Result<(), LimitError> {
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(LimitError::Unknown(name.to_owned()));
        };
        let number = |least: u64, most: u64| {
            let number = value.parse().map_err(|source| LimitError::Number { name, source })?;
            if (least..=most).contains(&number) { Ok(number) } else { Err(LimitError::Range { name, least, most }) }
        };
        let count = |most: u32| number(1, most.into()).map(|count| u32::try_from(count).unwrap_or(most));
        let time = || duration(value).map_err(|error| LimitError::Duration { name, why: error.to_string() });
        match name {
            "connections" => self.connections = count(MAX_CONNECTIONS)?,
            "requests" => self.requests = count(MAX_CONNECTIONS)?,
            "streams" => self.streams = count(10_000)?,
            "head-bytes" => {
                let bytes = number(MIN_HEAD_BYTES as u64, MAX_HEAD_BYTES as u64)?;
                self.head_bytes = usize::try_from(bytes).unwrap_or(MAX_HEAD_BYTES);
            }
            "body-bytes" => self.body_bytes = number(0, u64::MAX)?,
            "head-time" => self.head_timeout = time()?,
            "keep-alive" => self.keep_alive = time()?,
            "idle-time" => self.stall_timeout = time()?,
            "connect-time" => self.connect_timeout = time()?,
            "restart-wait" => self.restart_window = time()?,
            "response-time" => self.response_timeout = time()?,
            _ => self.drain_timeout = time()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<Duration, ParseIntError> {
        text.parse().map(Duration::from_secs)
    }

    #[test]
    fn every_name_sets_a_limit_of_its_own() {
        let mut seen = vec![ProxyLimits::default()];
        for name in NAMES {
            let mut limits = ProxyLimits::default();
            limits.set(name, "9999", seconds).unwrap();
            assert!(!seen.contains(&limits), "{name}");
            seen.push(limits);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        let mut limits = ProxyLimits::default();
        for (name, value, reason) in [
            ("conections", "5", "there are connections, requests"),
            ("connections", "0", "connections: expected 1 to 65536"),
            ("head-bytes", "100", "expected 8192 to 1048576"),
            ("requests", "many", "not a whole number"),
            ("idle-time", "soon", "idle-time: "),
        ] {
            let error = limits.set(name, value, seconds).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(limits, ProxyLimits::default());
    }
}
