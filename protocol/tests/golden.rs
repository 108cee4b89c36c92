//! The bytes of version 1, as they are in the field. A difference here is a new wire version, not a new golden value.

use std::fmt::Write;
use std::time::Duration;

use outrigger_protocol::codec::{Frame, PREFIX_BYTES, decode, encode};
use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::fetch::{FetchRefusal, FetchRequest, FetchResponse};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{AgentId, DeploymentId, EnvironmentId, InstanceId, JoinTokenId, ProjectId};
use outrigger_protocol::log::{Level, LogBatch, LogRecord, LogStream};
use outrigger_protocol::message::{
    AgentMessage, AgentSettings, ApplyState, ApplyStrategy, ConfigFailure, ConfigOffer, ConfigRef, ConfigStatus,
    EnrollRefusal, EnrollRequest, EnrollResponse, ProgramState, ServerMessage,
};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::probe::{
    HttpTarget, Port, Probe, ProbeKind, ProbeLevel, ProbeStatus, ProbeTarget, ProbeVerdict,
};
use outrigger_protocol::sample::{BatchId, MetricBatch, Sample};
use outrigger_protocol::seal::Sealed;
use outrigger_protocol::time::UnixMillis;
use zeroize::Zeroizing;

/// `name hex`, one frame a line, without the length.
const GOLDEN: &str = include_str!("golden/v1.txt");

fn at(millis: u64) -> UnixMillis {
    UnixMillis::from_millis(millis)
}

fn ids() -> (AgentId, InstanceId, DeploymentId) {
    (AgentId::from_bytes([1; 16]), InstanceId::from_bytes([2; 16]), DeploymentId::from_bytes([3; 16]))
}

fn config(generation: u64) -> ConfigRef {
    ConfigRef { generation, hash: [4; 32] }
}

fn status() -> ConfigStatus {
    let last_failed = Some(ConfigFailure { config: config(9), error: "no".to_owned() });
    ConfigStatus { last_received: Some(config(9)), running: Some(config(8)), last_failed }
}

fn settings(apply: ApplyStrategy) -> AgentSettings {
    AgentSettings {
        sample_interval: Duration::from_secs(1),
        heartbeat_interval: Duration::from_secs(10),
        apply,
        allowed_names: vec!["NODE_OPTIONS".to_owned()],
        start_only: Vec::new(),
        bake_time: None,
        probes: Vec::new(),
    }
}

fn agent_messages() -> Vec<AgentMessage> {
    let report = |state| AgentMessage::ConfigReport { nonce: [6; 16], state, status: ConfigStatus::default() };
    vec![
        AgentMessage::Hello {
            agent_version: "0.1.0".to_owned(),
            epoch: 77,
            now: at(1_700_000_000_000),
            seal_key: [5; 32],
            status: status(),
            program: ProgramState::Waiting,
        },
        report(ApplyState::Applying),
        report(ApplyState::Applied),
        report(ApplyState::PendingRestart),
        report(ApplyState::Failed),
        AgentMessage::Program(ProgramState::Running { pid: 4242, restarts: 1 }),
        AgentMessage::Program(ProgramState::Backoff { restarts: 2 }),
        AgentMessage::Program(ProgramState::Exited { code: -1 }),
        AgentMessage::Heartbeat { now: at(1_700_000_000_000) },
        AgentMessage::Renew { csr: vec![0x30, 0x82] },
        AgentMessage::Goodbye { reason: "done".to_owned() },
    ]
}

fn server_messages() -> Vec<ServerMessage> {
    let (agent, instance, deployment) = ids();
    let id = BatchId { epoch: 77, seq: 300 };
    let sealed = Sealed { encapsulated: [7; 32], ciphertext: vec![8; 3] };
    vec![
        ServerMessage::Welcome {
            agent,
            instance,
            deployment,
            now: at(1),
            settings: settings(ApplyStrategy::Restart { jitter: Duration::from_millis(250) }),
        },
        ServerMessage::Offer(Box::new(ConfigOffer { config: config(9), nonce: [6; 16], sealed })),
        ServerMessage::Settings(settings(ApplyStrategy::Signal { signal: 1 })),
        ServerMessage::Settings(settings(ApplyStrategy::File)),
        ServerMessage::Settings(settings(ApplyStrategy::None)),
        ServerMessage::MetricsAccepted { id },
        ServerMessage::LogsAccepted { id },
        ServerMessage::Heartbeat { now: at(2) },
        ServerMessage::Renewed { chain: vec![vec![1], vec![2, 3]] },
        ServerMessage::Stop { reason: "scaled down".to_owned() },
        ServerMessage::Drain,
        ServerMessage::RetryAfter { delay: Duration::from_secs(5) },
        ServerMessage::Redirect { address: "b.example:7443".to_owned() },
    ]
}

fn watched_settings() -> AgentSettings {
    let http = ProbeTarget::Http(HttpTarget {
        host: "127.0.0.1".to_owned(),
        port: Port::Variable("PORT".to_owned()),
        path: "/healthz".to_owned(),
        headers: vec![("X-Probe".to_owned(), "1".to_owned())],
        expected: 200..=399,
    });
    let tcp = ProbeTarget::Tcp { host: "db".to_owned(), port: Port::Number(5432) };
    let command = ProbeTarget::Command(vec!["true".to_owned(), "-q".to_owned()]);
    AgentSettings {
        start_only: vec!["POOL_SIZE".to_owned()],
        bake_time: Some(Duration::from_secs(30)),
        probes: vec![
            Probe::new(ProbeKind::Startup, ProbeLevel::Application, command),
            Probe { success_threshold: 2, ..Probe::new(ProbeKind::Readiness, ProbeLevel::Service, http) },
            Probe { failure_threshold: 5, ..Probe::new(ProbeKind::Liveness, ProbeLevel::Dependency, tcp) },
        ],
        ..settings(ApplyStrategy::File)
    }
}

fn probe_statuses() -> Vec<ProbeStatus> {
    let status = |kind, level, verdict, consecutive_failures, last_error: Option<&str>| ProbeStatus {
        name: Probe::default_name(kind, level),
        kind,
        level,
        verdict,
        consecutive_failures,
        last_error: last_error.map(str::to_owned),
    };
    vec![
        status(ProbeKind::Startup, ProbeLevel::Infrastructure, ProbeVerdict::Passing, 0, None),
        status(ProbeKind::Readiness, ProbeLevel::Service, ProbeVerdict::Failing, 7, Some("status 503")),
        status(ProbeKind::Liveness, ProbeLevel::Service, ProbeVerdict::Pending, 0, None),
    ]
}

/// What came to version 1 after its first frames, in the order in which it came.
fn later() -> String {
    let (agent, instance, deployment) = ids();
    let welcome = ServerMessage::Welcome { agent, instance, deployment, now: at(1), settings: watched_settings() };
    [
        line("agent_message", &AgentMessage::Probes(probe_statuses())),
        line("server_message", &welcome),
        line("server_message", &ServerMessage::Settings(watched_settings())),
    ]
    .concat()
}

fn metric_batch() -> MetricBatch {
    let mut latency = LatencyHistogram::new();
    for us in [3, 900, 901, 70_000] {
        latency.record(Duration::from_micros(us));
    }
    let mut sample = Sample::new(at(1_700_000_000_000));
    sample.set(Metric::Cpu, 12.5);
    sample.set(Metric::HostLoad1, 0.25);
    sample.custom.push(("jobs".to_owned(), -3.0));
    sample.latency = Some(latency);
    let samples = vec![sample, Sample::new(at(1_700_000_001_000))];
    MetricBatch { id: BatchId { epoch: 77, seq: 1 }, samples, dropped: 2 }
}

fn log_batch() -> LogBatch {
    let record = |stream, level, message: &str| LogRecord {
        at: at(5),
        stream,
        level,
        message: message.to_owned(),
        truncated: message.is_empty(),
    };
    let records = vec![
        record(LogStream::Stdout, Level::Trace, ""),
        record(LogStream::Stderr, Level::Debug, "b"),
        record(LogStream::Agent, Level::Info, "c"),
        record(LogStream::Stdout, Level::Warn, "d"),
        record(LogStream::Stdout, Level::Error, "é"),
    ];
    LogBatch { id: BatchId { epoch: 77, seq: 2 }, records, dropped: 0 }
}

fn enroll_responses() -> Vec<EnrollResponse> {
    let (agent, instance, deployment) = ids();
    let chain = vec![vec![1, 2], vec![3]];
    let refused = |reason| EnrollResponse::Refused { reason, message: "why".to_owned() };
    vec![
        EnrollResponse::Issued { agent, instance, deployment, chain, not_after: at(1_700_003_600_000) },
        refused(EnrollRefusal::UnknownToken),
        refused(EnrollRefusal::ExpiredToken),
        refused(EnrollRefusal::UsedToken),
        refused(EnrollRefusal::BadRequest),
        refused(EnrollRefusal::TryLater),
    ]
}

fn fetch_requests() -> Vec<FetchRequest> {
    let request = |project: Option<&str>| FetchRequest {
        token: Zeroizing::new("ogr_token".to_owned()),
        project: project.map(str::to_owned),
        environment: "staging".to_owned(),
        seal_key: [5; 32],
        agent_version: "0.1.0".to_owned(),
    };
    vec![request(None), request(Some("shop"))]
}

fn fetch_responses() -> Vec<FetchResponse> {
    let refused = |reason| FetchResponse::Refused { reason, message: "why".to_owned() };
    vec![
        FetchResponse::Lent {
            project: ProjectId::from_bytes([1; 16]),
            environment: EnvironmentId::from_bytes([2; 16]),
            config: config(9),
            sealed: Sealed { encapsulated: [7; 32], ciphertext: vec![8; 3] },
        },
        refused(FetchRefusal::BadToken),
        refused(FetchRefusal::Forbidden),
        refused(FetchRefusal::NotFound),
        refused(FetchRefusal::BadRequest),
        refused(FetchRefusal::TryLater),
    ]
}

fn environment() -> Environment {
    let entries = VariableKind::ALL.iter().rev().map(|kind| Entry {
        name: format!("VAR_{kind}"),
        value: (*kind != VariableKind::Url).then(|| Zeroizing::new("1".to_owned())),
        kind: *kind,
        secret: *kind == VariableKind::Json,
        required: *kind == VariableKind::Number,
    });
    Environment { entries: entries.collect() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every digit");
        text
    })
}

fn line<T: Frame + PartialEq>(name: &str, value: &T) -> String {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).expect("within the limits");
    let frame = &bytes[PREFIX_BYTES..];
    assert!(decode::<T>(frame).expect("what was encoded") == *value, "{name}");
    format!("{name} {}\n", hex(frame))
}

#[test]
fn version_1_is_what_it_was() {
    let mut now = String::new();
    now.extend(agent_messages().iter().map(|value| line("agent_message", value)));
    now.extend(server_messages().iter().map(|value| line("server_message", value)));
    now += &line("metric_batch", &metric_batch());
    now += &line("log_batch", &log_batch());
    let request = EnrollRequest {
        token: JoinTokenId::from_bytes([9; 16]),
        secret: [10; 32],
        csr: vec![0x30, 0x82],
        seal_key: [5; 32],
        agent_version: "0.1.0".to_owned(),
    };
    now += &line("enroll_request", &request);
    now.extend(enroll_responses().iter().map(|value| line("enroll_response", value)));
    let environment = environment();
    now.extend(fetch_requests().iter().map(|value| line("fetch_request", value)));
    now.extend(fetch_responses().iter().map(|value| line("fetch_response", value)));
    now += &format!("environment {}\n", hex(&environment.encode().expect("within the limits")));
    now += &format!("environment_hash {}\n", hex(&environment.hash()));
    now += &later();
    for (line, (now, then)) in now.lines().zip(GOLDEN.lines()).enumerate() {
        assert_eq!(now, then, "line {}", line + 1);
    }
    assert_eq!(now.lines().count(), GOLDEN.lines().count(), "a frame was added or removed:\n{now}");
}
