//! Probes, and how they stand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::millis;
use crate::codec::CodecError;
use crate::limits;
use crate::probe as domain;
use crate::wire::bounded::{Seq, within};

#[derive(Serialize, Deserialize)]
enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

#[derive(Serialize, Deserialize)]
enum ProbeLevel {
    Service,
    Application,
    Infrastructure,
    Dependency,
}

#[derive(Serialize, Deserialize)]
enum ProbeVerdict {
    Pending,
    Passing,
    Failing,
}

#[derive(Serialize, Deserialize)]
enum Port<'a> {
    Number(u16),
    Variable(&'a str),
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize, Deserialize)]
enum ProbeTarget<'a> {
    Http {
        host: &'a str,
        #[serde(borrow)]
        port: Port<'a>,
        path: &'a str,
        #[serde(borrow)]
        headers: Seq<Header<'a>, { limits::PROBE_HEADERS }>,
        first_status: u16,
        last_status: u16,
    },
    Tcp {
        host: &'a str,
        port: Port<'a>,
    },
    Command(#[serde(borrow)] Seq<&'a str, { limits::PROBE_ARGUMENTS }>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Probe<'a> {
    name: &'a str,
    kind: ProbeKind,
    level: ProbeLevel,
    #[serde(borrow)]
    target: ProbeTarget<'a>,
    initial_delay_ms: u64,
    period_ms: u64,
    timeout_ms: u64,
    success_threshold: u32,
    failure_threshold: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ProbeStatus<'a> {
    name: &'a str,
    kind: ProbeKind,
    level: ProbeLevel,
    verdict: ProbeVerdict,
    consecutive_failures: u32,
    last_error: Option<&'a str>,
}

/// Holds the probes of a deployment to the rules that the control plane has for them.
pub(super) fn valid(probes: &[domain::Probe]) -> Result<(), CodecError> {
    let mut is_valid = true;
    domain::check(probes, |_, _| is_valid = false);
    if is_valid { Ok(()) } else { Err(CodecError::Invalid { what: "a probe" }) }
}

// Whatever is checked by `valid` is only turned from one form into the other here.

impl<'a> From<&'a domain::Probe> for Probe<'a> {
    fn from(probe: &'a domain::Probe) -> Self {
        Self {
            name: &probe.name,
            kind: probe.kind.into(),
            level: probe.level.into(),
            target: (&probe.target).into(),
            initial_delay_ms: millis(probe.initial_delay),
            period_ms: millis(probe.period),
            timeout_ms: millis(probe.timeout),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        }
    }
}

impl TryFrom<Probe<'_>> for domain::Probe {
    type Error = CodecError;

    fn try_from(probe: Probe<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            name: probe.name.to_owned(),
            kind: probe.kind.into(),
            level: probe.level.into(),
            target: probe.target.try_into()?,
            initial_delay: Duration::from_millis(probe.initial_delay_ms),
            period: Duration::from_millis(probe.period_ms),
            timeout: Duration::from_millis(probe.timeout_ms),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        })
    }
}

impl<'a> From<&'a domain::ProbeTarget> for ProbeTarget<'a> {
    fn from(target: &'a domain::ProbeTarget) -> Self {
        match target {
            domain::ProbeTarget::Http(http) => Self::Http {
                host: &http.host,
                port: (&http.port).into(),
                path: &http.path,
                headers: Seq::unbounded(http.headers.iter().map(|(name, value)| Header { name, value }).collect()),
                first_status: *http.expected.start(),
                last_status: *http.expected.end(),
            },
            domain::ProbeTarget::Tcp { host, port } => Self::Tcp { host, port: port.into() },
            domain::ProbeTarget::Command(command) => {
                Self::Command(Seq::unbounded(command.iter().map(String::as_str).collect()))
            }
        }
    }
}

impl TryFrom<ProbeTarget<'_>> for domain::ProbeTarget {
    type Error = CodecError;

    fn try_from(target: ProbeTarget<'_>) -> Result<Self, CodecError> {
        Ok(match target {
            ProbeTarget::Http { host, port, path, headers, first_status, last_status } => {
                let headers = headers.into_items("headers of a probe")?;
                Self::Http(domain::HttpTarget {
                    host: host.to_owned(),
                    port: port.into(),
                    path: path.to_owned(),
                    headers: headers.into_iter().map(|one| (one.name.to_owned(), one.value.to_owned())).collect(),
                    expected: first_status..=last_status,
                })
            }
            ProbeTarget::Tcp { host, port } => Self::Tcp { host: host.to_owned(), port: port.into() },
            ProbeTarget::Command(command) => {
                let command = command.into_items("arguments of a probe")?;
                Self::Command(command.into_iter().map(str::to_owned).collect())
            }
        })
    }
}

impl<'a> From<&'a domain::Port> for Port<'a> {
    fn from(port: &'a domain::Port) -> Self {
        match port {
            domain::Port::Number(number) => Self::Number(*number),
            domain::Port::Variable(name) => Self::Variable(name),
        }
    }
}

impl From<Port<'_>> for domain::Port {
    fn from(port: Port<'_>) -> Self {
        match port {
            Port::Number(number) => Self::Number(number),
            Port::Variable(name) => Self::Variable(name.to_owned()),
        }
    }
}

impl<'a> TryFrom<&'a domain::ProbeStatus> for ProbeStatus<'a> {
    type Error = CodecError;

    fn try_from(status: &'a domain::ProbeStatus) -> Result<Self, CodecError> {
        within("name of a probe", status.name.len(), limits::PROBE_NAME_BYTES)?;
        let clipped = |error: &'a str| &error[..error.floor_char_boundary(limits::PROBE_ERROR_BYTES)];
        Ok(Self {
            name: &status.name,
            kind: status.kind.into(),
            level: status.level.into(),
            verdict: status.verdict.into(),
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error.as_deref().map(clipped),
        })
    }
}

impl TryFrom<ProbeStatus<'_>> for domain::ProbeStatus {
    type Error = CodecError;

    fn try_from(status: ProbeStatus<'_>) -> Result<Self, CodecError> {
        within("name of a probe", status.name.len(), limits::PROBE_NAME_BYTES)?;
        if let Some(error) = status.last_error {
            within("error of a probe", error.len(), limits::PROBE_ERROR_BYTES)?;
        }
        Ok(Self {
            name: status.name.to_owned(),
            kind: status.kind.into(),
            level: status.level.into(),
            verdict: status.verdict.into(),
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error.map(str::to_owned),
        })
    }
}

macro_rules! same_variants {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl From<domain::$name> for $name {
            fn from(value: domain::$name) -> Self {
                match value { $(domain::$name::$variant => Self::$variant,)+ }
            }
        }

        impl From<$name> for domain::$name {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => Self::$variant,)+ }
            }
        }
    )+};
}

same_variants! {
    ProbeKind { Startup, Liveness, Readiness }
    ProbeLevel { Service, Application, Infrastructure, Dependency }
    ProbeVerdict { Pending, Passing, Failing }
}
