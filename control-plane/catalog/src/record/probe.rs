use outrigger_protocol::probe::{HttpTarget, Port, Probe, ProbeKind, ProbeLevel, ProbeTarget};

use super::v1;

impl From<ProbeKind> for v1::ProbeKind {
    fn from(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::Startup => Self::Startup,
            ProbeKind::Liveness => Self::Liveness,
            ProbeKind::Readiness => Self::Readiness,
        }
    }
}

impl From<v1::ProbeKind> for ProbeKind {
    fn from(kind: v1::ProbeKind) -> Self {
        match kind {
            v1::ProbeKind::Startup => Self::Startup,
            v1::ProbeKind::Liveness => Self::Liveness,
            v1::ProbeKind::Readiness => Self::Readiness,
        }
    }
}

impl From<ProbeLevel> for v1::ProbeLevel {
    fn from(level: ProbeLevel) -> Self {
        match level {
            ProbeLevel::Service => Self::Service,
            ProbeLevel::Application => Self::Application,
            ProbeLevel::Infrastructure => Self::Infrastructure,
            ProbeLevel::Dependency => Self::Dependency,
        }
    }
}

impl From<v1::ProbeLevel> for ProbeLevel {
    fn from(level: v1::ProbeLevel) -> Self {
        match level {
            v1::ProbeLevel::Service => Self::Service,
            v1::ProbeLevel::Application => Self::Application,
            v1::ProbeLevel::Infrastructure => Self::Infrastructure,
            v1::ProbeLevel::Dependency => Self::Dependency,
        }
    }
}

impl From<&Port> for v1::Port {
    fn from(port: &Port) -> Self {
        match port {
            Port::Number(number) => Self::Number(*number),
            Port::Variable(name) => Self::Variable(name.clone()),
        }
    }
}

impl From<v1::Port> for Port {
    fn from(port: v1::Port) -> Self {
        match port {
            v1::Port::Number(number) => Self::Number(number),
            v1::Port::Variable(name) => Self::Variable(name),
        }
    }
}

impl From<&ProbeTarget> for v1::ProbeTarget {
    fn from(target: &ProbeTarget) -> Self {
        match target {
            ProbeTarget::Http(http) => Self::Http(v1::HttpTarget {
                host: http.host.clone(),
                port: (&http.port).into(),
                path: http.path.clone(),
                headers: http.headers.clone(),
                expected: (*http.expected.start(), *http.expected.end()),
            }),
            ProbeTarget::Tcp { host, port } => Self::Tcp(v1::TcpTarget { host: host.clone(), port: port.into() }),
            ProbeTarget::Command(command) => Self::Command(command.clone()),
        }
    }
}

impl From<v1::ProbeTarget> for ProbeTarget {
    fn from(target: v1::ProbeTarget) -> Self {
        match target {
            v1::ProbeTarget::Http(http) => Self::Http(HttpTarget {
                host: http.host,
                port: http.port.into(),
                path: http.path,
                headers: http.headers,
                expected: http.expected.0..=http.expected.1,
            }),
            v1::ProbeTarget::Tcp(v1::TcpTarget { host, port }) => Self::Tcp { host, port: port.into() },
            v1::ProbeTarget::Command(command) => Self::Command(command),
        }
    }
}

impl From<&Probe> for v1::Probe {
    fn from(probe: &Probe) -> Self {
        Self {
            name: probe.name.clone(),
            kind: probe.kind.into(),
            level: probe.level.into(),
            target: (&probe.target).into(),
            initial_delay: probe.initial_delay.into(),
            period: probe.period.into(),
            timeout: probe.timeout.into(),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        }
    }
}

impl From<v1::Probe> for Probe {
    fn from(stored: v1::Probe) -> Self {
        Self {
            name: stored.name,
            kind: stored.kind.into(),
            level: stored.level.into(),
            target: stored.target.into(),
            initial_delay: stored.initial_delay.into(),
            period: stored.period.into(),
            timeout: stored.timeout.into(),
            success_threshold: stored.success_threshold,
            failure_threshold: stored.failure_threshold,
        }
    }
}
