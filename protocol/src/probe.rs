//! How a program is probed, and what came of it.
//!
//! Kinds, fields, defaults and meaning are those of Kubernetes' probes
//! (<https://kubernetes.io/docs/concepts/workloads/pods/probes/>); durations are finer than its seconds. Both sides hold a
//! probe to the same rules ([`check`]): the control plane when a deployment is written, with every problem named, and
//! the decoder when one arrives.
//!
//! What must never be true: a probe that shows a header's value when it is formatted; an error that quotes what a
//! program answered.

mod rules;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use rules::check;

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether the program has started. Until it passes, no other probe runs; when it fails, the program is restarted.
    Startup,
    /// Whether the program still works. When it fails, the program is restarted.
    Liveness,
    /// Whether the program can serve. When it fails, the instance is not ready, and nothing is restarted.
    Readiness,
}

impl ProbeKind {
    pub const ALL: &'static [Self] = &[Self::Startup, Self::Liveness, Self::Readiness];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a probe looks at: a label for whoever reads its result, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProbeLevel {
    #[default]
    Service,
    Application,
    Infrastructure,
    /// Something that the program needs and somebody else runs.
    Dependency,
}

impl ProbeLevel {
    pub const ALL: &'static [Self] = &[Self::Service, Self::Application, Self::Infrastructure, Self::Dependency];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Application => "application",
            Self::Infrastructure => "infrastructure",
            Self::Dependency => "dependency",
        }
    }
}

impl fmt::Display for ProbeLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    Number(u16),
    /// What this variable of the program's environment says, for programs that are told their port.
    Variable(String),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Variable(name) => write!(f, "${name}"),
        }
    }
}

/// A GET without redirects, over plain HTTP/1.1.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// An IP address or a name, as the sandbox resolves it.
    pub host: String,
    pub port: Port,
    /// Path and query.
    pub path: String,
    /// Names and values, in this order; they replace what is sent otherwise.
    pub headers: Vec<(String, String)>,
    /// Status codes that are a success.
    pub expected: RangeInclusive<u16>,
}

/// Values of headers may be credentials.
impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTarget")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("path", &self.path)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("expected", &self.expected)
            .finish()
    }
}

/// How the question is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeTarget {
    Http(HttpTarget),
    /// A connection that is accepted is a success.
    Tcp {
        host: String,
        port: Port,
    },
    /// A program and its arguments, run beside the program as its user and with its environment, without a shell. Exit code 0
    /// is a success.
    Command(Vec<String>),
}

impl ProbeTarget {
    /// Where it asks when nothing else is said: the sandbox itself.
    pub const HOST: &'static str = "127.0.0.1";
    pub const PATH: &'static str = "/";
    /// Redirects are answers: they are not followed.
    pub const EXPECTED: RangeInclusive<u16> = 200..=399;
}

/// One probe of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Unique within the deployment.
    pub name: String,
    pub kind: ProbeKind,
    pub level: ProbeLevel,
    pub target: ProbeTarget,
    /// From the start of the program until the first attempt.
    pub initial_delay: Duration,
    /// From the beginning of one attempt to the beginning of the next.
    pub period: Duration,
    /// After which an attempt has failed.
    pub timeout: Duration,
    /// Successes in a row that make it pass; 1 for startup and liveness.
    pub success_threshold: u32,
    /// Failures in a row that make it fail.
    pub failure_threshold: u32,
}

impl Probe {
    pub const INITIAL_DELAY: Duration = Duration::ZERO;
    pub const PERIOD: Duration = Duration::from_secs(10);
    pub const TIMEOUT: Duration = Duration::from_secs(1);
    pub const SUCCESS_THRESHOLD: u32 = 1;
    pub const FAILURE_THRESHOLD: u32 = 3;

    /// A probe with the defaults, called after its kind and level.
    #[must_use]
    pub fn new(kind: ProbeKind, level: ProbeLevel, target: ProbeTarget) -> Self {
        Self {
            name: Self::default_name(kind, level),
            kind,
            level,
            target,
            initial_delay: Self::INITIAL_DELAY,
            period: Self::PERIOD,
            timeout: Self::TIMEOUT,
            success_threshold: Self::SUCCESS_THRESHOLD,
            failure_threshold: Self::FAILURE_THRESHOLD,
        }
    }

    #[must_use]
    pub fn default_name(kind: ProbeKind, level: ProbeLevel) -> String {
        format!("{kind}-{level}")
    }

    /// Whether an instance waits for it before it serves.
    #[must_use]
    pub const fn is_gate(&self) -> bool {
        matches!(self.kind, ProbeKind::Startup | ProbeKind::Readiness)
    }
}

/// What a probe has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// Not decided yet: the program has just been started, is being stopped, or does not run.
    Pending,
    Passing,
    Failing,
}

/// How a probe of an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStatus {
    pub name: String,
    pub kind: ProbeKind,
    pub level: ProbeLevel,
    pub verdict: ProbeVerdict,
    /// Attempts that have failed since the last one that did not, also across restarts of the program with the same
    /// configuration.
    pub consecutive_failures: u32,
    /// Why the last failed attempt failed, until one succeeds: in words, at most
    /// [`PROBE_ERROR_BYTES`](crate::limits::PROBE_ERROR_BYTES), and nothing of what the program answered or printed.
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headers_value_is_never_formatted() {
        let target = HttpTarget {
            host: ProbeTarget::HOST.to_owned(),
            port: Port::Number(80),
            path: ProbeTarget::PATH.to_owned(),
            headers: vec![("Authorization".to_owned(), "Bearer canary".to_owned())],
            expected: ProbeTarget::EXPECTED,
        };
        let probe = Probe::new(ProbeKind::Liveness, ProbeLevel::Service, ProbeTarget::Http(target));
        let shown = format!("{probe:?}");
        assert!(shown.contains("Authorization") && !shown.contains("canary"), "{shown}");
    }
}
