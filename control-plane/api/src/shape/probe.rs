//! Probes of a deployment, and how they stand in an instance.

use std::ops::RangeInclusive;

use outrigger_protocol::probe::{
    self, HttpTarget, Port, ProbeKind, ProbeLevel, ProbeStatus, ProbeTarget, ProbeVerdict,
};
use outrigger_protocol::time::write_duration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DURATION, Problems};
use crate::text::parse_duration;

/// The agent has no TLS towards the program.
const SCHEME: &str = "http";

/// A port's number, or `$` and the name of the variable that tells the program its port, such as `$PORT`.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "has to be a port's number, or $ and the name of a variable")]
pub(crate) enum ProbePort {
    Number(u16),
    Variable(String),
}

#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProbeHeader {
    name: String,
    value: String,
}

/// A GET whose redirects are not followed.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpProbe {
    /// An IP address or a name; 127.0.0.1 by default.
    #[serde(default = "default_host")]
    host: String,
    port: ProbePort,
    /// Path and query; / by default.
    #[serde(default = "default_path")]
    path: String,
    /// http
    #[serde(default = "default_scheme")]
    scheme: String,
    /// Not for secrets: whoever may see the deployment sees them.
    #[serde(default)]
    headers: Vec<ProbeHeader>,
    /// A status or a range of them; 200-399 by default.
    #[serde(default = "default_status")]
    expected_status: String,
}

/// A connection that is accepted.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TcpProbe {
    /// An IP address or a name; 127.0.0.1 by default.
    #[serde(default = "default_host")]
    host: String,
    port: ProbePort,
}

fn default_host() -> String {
    ProbeTarget::HOST.to_owned()
}

fn default_path() -> String {
    ProbeTarget::PATH.to_owned()
}

fn default_scheme() -> String {
    SCHEME.to_owned()
}

fn default_status() -> String {
    write_status(&ProbeTarget::EXPECTED)
}

/// Exactly one of `http`, `tcp` and `command` says what is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewProbe {
    /// Unique in the deployment; by default its kind and level, such as readiness-service.
    name: Option<String>,
    /// startup, liveness or readiness
    kind: String,
    /// service (default), application, infrastructure or dependency: a label
    level: Option<String>,
    http: Option<HttpProbe>,
    tcp: Option<TcpProbe>,
    /// A program and its arguments, run as the program's user and with its environment, without a shell.
    command: Option<Vec<String>>,
    /// From the program's start until the first attempt; 0s by default.
    initial_delay: Option<String>,
    /// 10s by default.
    period: Option<String>,
    /// 1s by default.
    timeout: Option<String>,
    /// Successes in a row that make it pass; 1 by default, and always for startup and liveness.
    success_threshold: Option<u32>,
    /// Failures in a row that make it fail; 3 by default.
    failure_threshold: Option<u32>,
}

impl NewProbe {
    /// What its own text says; whether that may be is the catalog's to check.
    pub(crate) fn check(self, at: usize, problems: &mut Problems) -> Option<probe::Probe> {
        let field = |name: &str| format!("probes[{at}].{name}");
        let kind = problems.parse(&field("kind"), Some(&self.kind), "one of startup, liveness, readiness", |text| {
            ProbeKind::ALL.iter().copied().find(|kind| kind.name() == text)
        });
        let levels = "one of service, application, infrastructure, dependency";
        let level = problems.parse(&field("level"), self.level.as_deref(), levels, |text| {
            ProbeLevel::ALL.iter().copied().find(|level| level.name() == text)
        });
        let mut duration = |name: &str, text: &Option<String>, default| {
            problems.parse(&field(name), text.as_deref(), DURATION, parse_duration).unwrap_or(default)
        };
        let initial_delay = duration("initialDelay", &self.initial_delay, probe::Probe::INITIAL_DELAY);
        let period = duration("period", &self.period, probe::Probe::PERIOD);
        let timeout = duration("timeout", &self.timeout, probe::Probe::TIMEOUT);
        let target = match (self.http, self.tcp, self.command) {
            (Some(http), None, None) => http.check(&field("http"), problems),
            (None, Some(tcp), None) => Some(ProbeTarget::Tcp { host: tcp.host, port: tcp.port.into() }),
            (None, None, Some(command)) => Some(ProbeTarget::Command(command)),
            _ => {
                problems.add(format!("probes[{at}]"), "has to have exactly one of http, tcp, command");
                None
            }
        };
        let (kind, level) = (kind?, level.unwrap_or_default());
        Some(probe::Probe {
            name: self.name.unwrap_or_else(|| probe::Probe::default_name(kind, level)),
            initial_delay,
            period,
            timeout,
            success_threshold: self.success_threshold.unwrap_or(probe::Probe::SUCCESS_THRESHOLD),
            failure_threshold: self.failure_threshold.unwrap_or(probe::Probe::FAILURE_THRESHOLD),
            ..probe::Probe::new(kind, level, target?)
        })
    }
}

impl HttpProbe {
    fn check(self, field: &str, problems: &mut Problems) -> Option<ProbeTarget> {
        let expected = "http: the agent has no TLS towards the program";
        let is_http = |text: &str| text.eq_ignore_ascii_case(SCHEME).then_some(());
        let scheme = problems.parse(&format!("{field}.scheme"), Some(&self.scheme), expected, is_http);
        let expected = "a status such as 204, or a range such as 200-399";
        let status = Some(self.expected_status.as_str());
        let status = problems.parse(&format!("{field}.expectedStatus"), status, expected, parse_status);
        scheme?;
        Some(ProbeTarget::Http(HttpTarget {
            host: self.host,
            port: self.port.into(),
            path: self.path,
            headers: self.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            expected: status?,
        }))
    }
}

impl From<ProbePort> for Port {
    /// A text that is not the name of a variable is one that the catalog names as a problem.
    fn from(port: ProbePort) -> Self {
        match port {
            ProbePort::Number(number) => Self::Number(number),
            ProbePort::Variable(text) => match (text.strip_prefix('$'), text.parse()) {
                (Some(name), _) => Self::Variable(name.to_owned()),
                (None, Ok(number)) => Self::Number(number),
                (None, Err(_)) => Self::Variable(format!("${text}")),
            },
        }
    }
}

impl From<Port> for ProbePort {
    fn from(port: Port) -> Self {
        match port {
            Port::Number(number) => Self::Number(number),
            Port::Variable(name) => Self::Variable(format!("${name}")),
        }
    }
}

/// `204`, or `200-399`.
fn parse_status(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn write_status(range: &RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// A probe with everything that was left out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    name: String,
    kind: &'static str,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpProbe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    initial_delay: String,
    period: String,
    timeout: String,
    success_threshold: u32,
    failure_threshold: u32,
}

impl From<probe::Probe> for Probe {
    fn from(probe: probe::Probe) -> Self {
        let (mut http, mut tcp, mut command) = (None, None, None);
        match probe.target {
            ProbeTarget::Http(target) => {
                http = Some(HttpProbe {
                    host: target.host,
                    port: target.port.into(),
                    path: target.path,
                    scheme: SCHEME.to_owned(),
                    headers: target.headers.into_iter().map(|(name, value)| ProbeHeader { name, value }).collect(),
                    expected_status: write_status(&target.expected),
                });
            }
            ProbeTarget::Tcp { host, port } => tcp = Some(TcpProbe { host, port: port.into() }),
            ProbeTarget::Command(arguments) => command = Some(arguments),
        }
        Self {
            name: probe.name,
            kind: probe.kind.name(),
            level: probe.level.name(),
            http,
            tcp,
            command,
            initial_delay: write_duration(probe.initial_delay),
            period: write_duration(probe.period),
            timeout: write_duration(probe.timeout),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        }
    }
}

/// How a probe of an instance stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceProbe {
    name: String,
    /// startup, liveness or readiness
    kind: &'static str,
    level: &'static str,
    /// null until it has passed or failed for the first time since the program was started
    healthy: Option<bool>,
    consecutive_failures: u32,
    /// Why the last attempt failed, until one succeeds.
    last_error: Option<String>,
}

impl From<&ProbeStatus> for InstanceProbe {
    fn from(status: &ProbeStatus) -> Self {
        Self {
            name: status.name.clone(),
            kind: status.kind.name(),
            level: status.level.name(),
            healthy: match status.verdict {
                ProbeVerdict::Pending => None,
                ProbeVerdict::Passing => Some(true),
                ProbeVerdict::Failing => Some(false),
            },
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error.clone(),
        }
    }
}
