//! What a probe may be. Every problem is told, with the path of its field as the API names it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{HttpTarget, Port, Probe, ProbeKind, ProbeTarget};
use crate::limits;

const INITIAL_DELAYS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3600));
/// More often would measure the probe.
const PERIODS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));
/// Longer runs mean nothing more.
const THRESHOLD: u32 = 1_000;
/// Status codes of RFC 9110, section 15.
const STATUS: RangeInclusive<u16> = 100..=599;

/// Says everything that is wrong with a deployment's probes: `probes[0].http.path` and the problem.
pub fn check(probes: &[Probe], mut tell: impl FnMut(String, String)) {
    if probes.len() > limits::PROBES {
        tell("probes".to_owned(), format!("must have at most {} elements, not {}", limits::PROBES, probes.len()));
    }
    let mut names = HashMap::new();
    for (at, probe) in probes.iter().enumerate() {
        let mut rules = Rules { path: format!("probes[{at}]"), tell: &mut tell };
        rules.probe(probe);
        if let Some(before) = names.insert(&probe.name, at) {
            rules.tell(".name", format!("`{}` is also the name of probes[{before}]: give each its own", probe.name));
        }
    }
}

struct Rules<'a, F> {
    path: String,
    tell: &'a mut F,
}

impl<F: FnMut(String, String)> Rules<'_, F> {
    fn tell(&mut self, field: &str, problem: String) {
        (self.tell)(format!("{}{field}", self.path), problem);
    }

    fn require(&mut self, holds: bool, field: &str, problem: impl FnOnce() -> String) {
        if !holds {
            self.tell(field, problem());
        }
    }

    fn probe(&mut self, probe: &Probe) {
        let named = !probe.name.is_empty()
            && probe.name.len() <= limits::PROBE_NAME_BYTES
            && probe.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        self.require(named, ".name", || {
            format!("must be 1 to {} letters, digits, `-`, `_` or `.`", limits::PROBE_NAME_BYTES)
        });
        self.span(".initialDelay", probe.initial_delay, INITIAL_DELAYS);
        self.span(".period", probe.period, PERIODS);
        self.span(".timeout", probe.timeout, TIMEOUTS);
        self.threshold(".successThreshold", probe.success_threshold);
        self.threshold(".failureThreshold", probe.failure_threshold);
        let once = matches!(probe.kind, ProbeKind::Startup | ProbeKind::Liveness);
        self.require(!once || probe.success_threshold <= 1, ".successThreshold", || {
            format!("must be 1 for a {} probe", probe.kind)
        });
        match &probe.target {
            ProbeTarget::Http(target) => self.http(target),
            ProbeTarget::Tcp { host, port } => {
                self.host(".tcp.host", host);
                self.port(".tcp.port", port);
            }
            ProbeTarget::Command(command) => self.command(command),
        }
    }

    fn span(&mut self, field: &str, span: Duration, (least, most): (Duration, Duration)) {
        self.require((least..=most).contains(&span), field, || {
            format!("must be {} to {} ms, not {}", least.as_millis(), most.as_millis(), span.as_millis())
        });
    }

    fn threshold(&mut self, field: &str, threshold: u32) {
        self.require((1..=THRESHOLD).contains(&threshold), field, || {
            format!("must be 1 to {THRESHOLD}, not {threshold}")
        });
    }

    fn http(&mut self, target: &HttpTarget) {
        self.host(".http.host", &target.host);
        self.port(".http.port", &target.port);
        let path = &target.path;
        let well_formed = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        self.require(well_formed, ".http.path", || {
            "must begin with `/` and have neither blanks nor `#` nor other than ASCII characters: encode them"
                .to_owned()
        });
        self.require(path.len() <= limits::PROBE_PATH_BYTES, ".http.path", || {
            format!("must have at most {} bytes, not {}", limits::PROBE_PATH_BYTES, path.len())
        });
        let (first, last) = (target.expected.start(), target.expected.end());
        self.require(first <= last && STATUS.contains(first) && STATUS.contains(last), ".http.expectedStatus", || {
            format!("must be a status or a range of them within {} to {}", STATUS.start(), STATUS.end())
        });
        self.require(target.headers.len() <= limits::PROBE_HEADERS, ".http.headers", || {
            format!("must have at most {} elements, not {}", limits::PROBE_HEADERS, target.headers.len())
        });
        for (at, (name, value)) in target.headers.iter().enumerate() {
            self.header(&format!(".http.headers[{at}]"), name, value);
        }
    }

    /// RFC 9110, 5.1 and 5.5: a token, and visible characters with blanks between them.
    fn header(&mut self, field: &str, name: &str, value: &str) {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        self.require(!name.is_empty() && name.bytes().all(token), &format!("{field}.name"), || {
            "must be the name of a header".to_owned()
        });
        // Both decide where a message ends, which is for the agent alone to say.
        let framing = ["content-length", "transfer-encoding", "connection", "upgrade", "trailer", "te"];
        self.require(!framing.contains(&name.to_ascii_lowercase().as_str()), &format!("{field}.name"), || {
            "is about the connection, which is the agent's own".to_owned()
        });
        let visible = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t');
        self.require(visible && value.trim() == value, &format!("{field}.value"), || {
            "must have visible ASCII characters, and blanks only between them".to_owned()
        });
        let length = name.len() + value.len();
        self.require(length <= limits::PROBE_HEADER_BYTES, field, || {
            format!("must have at most {} bytes, name and value together, not {length}", limits::PROBE_HEADER_BYTES)
        });
    }

    fn host(&mut self, field: &str, host: &str) {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let name = host.len() <= limits::HOST_BYTES && host.strip_suffix('.').unwrap_or(host).split('.').all(label);
        self.require(name || host.parse::<IpAddr>().is_ok(), field, || {
            "must be an IP address or a host's name, without a port".to_owned()
        });
    }

    fn port(&mut self, field: &str, port: &Port) {
        match port {
            Port::Number(number) => self.require(*number != 0, field, || "must be 1 to 65535".to_owned()),
            Port::Variable(name) => {
                let fits = name.len() <= limits::TEXT_BYTES
                    && name.bytes().enumerate().all(|(at, byte)| {
                        byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit())
                    })
                    && !name.is_empty();
                self.require(fits, field, || "must be a number, or `$` and the name of a variable".to_owned());
            }
        }
    }

    fn command(&mut self, command: &[String]) {
        self.require(command.first().is_some_and(|program| !program.is_empty()), ".command", || {
            "must begin with a program".to_owned()
        });
        self.require(command.len() <= limits::PROBE_ARGUMENTS, ".command", || {
            format!("must have at most {} elements, not {}", limits::PROBE_ARGUMENTS, command.len())
        });
        let bytes: usize = command.iter().map(String::len).sum();
        self.require(bytes <= limits::PROBE_COMMAND_BYTES, ".command", || {
            format!("must have at most {} bytes, not {bytes}", limits::PROBE_COMMAND_BYTES)
        });
        self.require(!command.iter().any(|argument| argument.contains('\0')), ".command", || {
            "must not contain a NUL byte".to_owned()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeLevel;

    fn http(change: impl FnOnce(&mut HttpTarget)) -> Probe {
        let mut target = HttpTarget {
            host: ProbeTarget::HOST.to_owned(),
            port: Port::Number(8080),
            path: "/healthz?full=1".to_owned(),
            headers: vec![("X-Probe".to_owned(), "a b".to_owned())],
            expected: ProbeTarget::EXPECTED,
        };
        change(&mut target);
        Probe::new(ProbeKind::Readiness, ProbeLevel::Service, ProbeTarget::Http(target))
    }

    fn tcp(host: &str, port: Port) -> Probe {
        Probe::new(ProbeKind::Liveness, ProbeLevel::Dependency, ProbeTarget::Tcp { host: host.to_owned(), port })
    }

    fn command(command: &[&str]) -> Probe {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Probe::new(ProbeKind::Startup, ProbeLevel::Application, ProbeTarget::Command(command))
    }

    fn fields(probes: &[Probe]) -> Vec<String> {
        let mut fields = Vec::new();
        check(probes, |field, _| fields.push(field));
        fields
    }

    #[test]
    fn what_may_be_is_not_complained_about() {
        let probes = [
            http(|target| target.port = Port::Variable("PORT".to_owned())),
            tcp("db.internal.", Port::Number(5432)),
            command(&["pg_isready", "-q"]),
        ];
        assert_eq!(fields(&probes), [""; 0]);
        for host in ["::1", "10.0.0.1", "localhost", "a_b.example"] {
            assert_eq!(fields(&[tcp(host, Port::Number(1))]), [""; 0], "{host}");
        }
    }

    #[test]
    fn every_problem_is_told_with_its_field() {
        let changed = |change: fn(&mut Probe)| {
            let mut probe = command(&["true"]);
            change(&mut probe);
            probe
        };
        let cases: [(&str, Probe); 20] = [
            ("name", changed(|probe| probe.name = "a b".to_owned())),
            ("name", changed(|probe| probe.name = String::new())),
            ("initialDelay", changed(|probe| probe.initial_delay = Duration::from_secs(3601))),
            ("period", changed(|probe| probe.period = Duration::from_millis(99))),
            ("timeout", changed(|probe| probe.timeout = Duration::ZERO)),
            ("successThreshold", changed(|probe| probe.success_threshold = 2)),
            ("failureThreshold", changed(|probe| probe.failure_threshold = 0)),
            ("http.path", http(|target| target.path = "healthz".to_owned())),
            ("http.path", http(|target| target.path = "/a b".to_owned())),
            ("http.path", http(|target| target.path = format!("/{}", "x".repeat(limits::PROBE_PATH_BYTES)))),
            ("http.port", http(|target| target.port = Port::Number(0))),
            ("http.port", http(|target| target.port = Port::Variable("1ST".to_owned()))),
            ("http.expectedStatus", http(|target| target.expected = 99..=200)),
            ("http.expectedStatus", http(|target| target.expected = RangeInclusive::new(300, 200))),
            ("http.headers[0].name", http(|target| target.headers = vec![("a b".to_owned(), String::new())])),
            ("http.headers[0].name", http(|target| target.headers = vec![("Content-Length".to_owned(), "1".into())])),
            ("http.headers[0].value", http(|target| target.headers = vec![("A".to_owned(), "x\r\nB: y".to_owned())])),
            ("tcp.host", tcp("a b", Port::Number(1))),
            ("tcp.host", tcp("", Port::Number(1))),
            ("command", command(&[])),
        ];
        for (field, probe) in cases {
            assert_eq!(fields(std::slice::from_ref(&probe)), [format!("probes[0].{field}")], "{probe:?}");
        }
        assert_eq!(fields(&[command(&["a\0b"])]), ["probes[0].command"]);
        let many = vec!["x".repeat(limits::PROBE_COMMAND_BYTES); limits::PROBE_ARGUMENTS + 1];
        let many = Probe { target: ProbeTarget::Command(many), ..command(&["true"]) };
        assert_eq!(fields(&[many]).len(), 2, "both numbers");
    }

    #[test]
    fn names_are_unique_and_probes_are_few() {
        assert_eq!(fields(&[command(&["a"]), command(&["b"])]), ["probes[1].name"]);
        let many: Vec<Probe> =
            (0..=limits::PROBES).map(|at| Probe { name: format!("probe-{at}"), ..command(&["true"]) }).collect();
        assert_eq!(fields(&many), ["probes"]);
    }
}
