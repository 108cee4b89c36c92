//! Every frame, with any content that its limits allow.

use std::time::Duration;

use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId, JoinTokenId};
use outrigger_protocol::limits;
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
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use zeroize::Zeroizing;

fn time() -> impl Strategy<Value = UnixMillis> {
    any::<u64>().prop_map(UnixMillis::from_millis)
}

fn duration(least: u64) -> impl Strategy<Value = Duration> {
    (least..=u64::MAX).prop_map(Duration::from_millis)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", Just("x".repeat(limits::TEXT_BYTES))]
}

fn bytes(limit: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..40), Just(vec![0xa5; limit])]
}

fn config() -> impl Strategy<Value = ConfigRef> {
    any::<(u64, [u8; 32])>().prop_map(|(generation, hash)| ConfigRef { generation, hash })
}

fn status() -> impl Strategy<Value = ConfigStatus> {
    let failure = (config(), text()).prop_map(|(config, error)| ConfigFailure { config, error });
    (option::of(config()), option::of(config()), option::of(failure))
        .prop_map(|(last_received, running, last_failed)| ConfigStatus { last_received, running, last_failed })
}

fn program() -> impl Strategy<Value = ProgramState> {
    prop_oneof![
        Just(ProgramState::Waiting),
        any::<(u32, u32)>().prop_map(|(pid, restarts)| ProgramState::Running { pid, restarts }),
        any::<u32>().prop_map(|restarts| ProgramState::Backoff { restarts }),
        any::<i32>().prop_map(|code| ProgramState::Exited { code }),
    ]
}

fn level() -> impl Strategy<Value = ProbeLevel> {
    select(ProbeLevel::ALL)
}

fn probe_target() -> impl Strategy<Value = ProbeTarget> {
    let host = || prop_oneof![Just("127.0.0.1".to_owned()), Just("::1".to_owned()), "[a-z]{1,12}(\\.[a-z]{1,9}){0,3}"];
    let port = || prop_oneof![(1..=u16::MAX).prop_map(Port::Number), "[A-Z_][A-Z0-9_]{0,12}".prop_map(Port::Variable)];
    let headers = vec(("X-[A-Za-z-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..=limits::PROBE_HEADERS);
    let path = prop_oneof!["/[a-z/?=&%.0-9]{0,40}", Just(format!("/{}", "p".repeat(limits::PROBE_PATH_BYTES - 1)))];
    let command = vec("\\PC{1,20}", 1..=limits::PROBE_ARGUMENTS).prop_map(ProbeTarget::Command);
    let http = (host(), port(), path, headers, 100_u16..=599, 100_u16..=599).prop_map(
        |(host, port, path, headers, one, other)| {
            let expected = one.min(other)..=one.max(other);
            ProbeTarget::Http(HttpTarget { host, port, path, headers, expected })
        },
    );
    prop_oneof![http, (host(), port()).prop_map(|(host, port)| ProbeTarget::Tcp { host, port }), command]
}

fn probe() -> impl Strategy<Value = Probe> {
    let millis = |least: u64, most: u64| (least..=most).prop_map(Duration::from_millis);
    let times = (millis(0, 3_600_000), millis(100, 3_600_000), millis(10, 300_000));
    (select(ProbeKind::ALL), level(), probe_target(), times, 1_u32..=1_000, 1_u32..=1_000).prop_map(
        |(kind, level, target, (initial_delay, period, timeout), successes, failure_threshold)| Probe {
            initial_delay,
            period,
            timeout,
            success_threshold: if kind == ProbeKind::Readiness { successes } else { 1 },
            failure_threshold,
            ..Probe::new(kind, level, target)
        },
    )
}

fn probes() -> impl Strategy<Value = Vec<Probe>> {
    let numbered = |mut probes: Vec<Probe>| {
        for (at, probe) in probes.iter_mut().enumerate() {
            probe.name = format!("{}-{at}", probe.name);
        }
        probes
    };
    prop_oneof![3 => vec(probe(), 0..3), 1 => vec(probe(), limits::PROBES)].prop_map(numbered)
}

fn probe_status() -> impl Strategy<Value = ProbeStatus> {
    let verdict = select(&[ProbeVerdict::Pending, ProbeVerdict::Passing, ProbeVerdict::Failing][..]);
    let error = prop_oneof!["\\PC{0,20}", Just("e".repeat(limits::PROBE_ERROR_BYTES))];
    let name = prop_oneof!["[a-z-]{1,20}", Just("n".repeat(limits::PROBE_NAME_BYTES))];
    (name, select(ProbeKind::ALL), level(), verdict, any::<u32>(), option::of(error)).prop_map(
        |(name, kind, level, verdict, consecutive_failures, last_error)| ProbeStatus {
            name,
            kind,
            level,
            verdict,
            consecutive_failures,
            last_error,
        },
    )
}

pub(crate) fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let state =
        select(&[ApplyState::Applying, ApplyState::Applied, ApplyState::PendingRestart, ApplyState::Failed][..]);
    let hello = (text(), any::<u64>(), time(), any::<[u8; 32]>(), status(), program()).prop_map(
        |(agent_version, epoch, now, seal_key, status, program)| AgentMessage::Hello {
            agent_version,
            epoch,
            now,
            seal_key,
            status,
            program,
        },
    );
    prop_oneof![
        hello,
        (any::<[u8; 16]>(), state, status()).prop_map(|(nonce, state, status)| AgentMessage::ConfigReport {
            nonce,
            state,
            status
        }),
        program().prop_map(AgentMessage::Program),
        time().prop_map(|now| AgentMessage::Heartbeat { now }),
        bytes(limits::CSR_BYTES).prop_map(|csr| AgentMessage::Renew { csr }),
        text().prop_map(|reason| AgentMessage::Goodbye { reason }),
        vec(probe_status(), 0..=limits::PROBES).prop_map(AgentMessage::Probes),
    ]
}

fn settings() -> impl Strategy<Value = AgentSettings> {
    let apply = prop_oneof![
        duration(0).prop_map(|jitter| ApplyStrategy::Restart { jitter }),
        (1..=64).prop_map(|signal| ApplyStrategy::Signal { signal }),
        Just(ApplyStrategy::File),
        Just(ApplyStrategy::None),
    ];
    let watched =
        prop_oneof![Just((Vec::new(), None, Vec::new())), (vec(text(), 0..4), option::of(duration(0)), probes()),];
    (duration(1), duration(1), apply, vec(text(), 0..4), watched).prop_map(
        |(sample_interval, heartbeat_interval, apply, allowed_names, (start_only, bake_time, probes))| AgentSettings {
            sample_interval,
            heartbeat_interval,
            apply,
            allowed_names,
            start_only,
            bake_time,
            probes,
        },
    )
}

fn chain() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(bytes(limits::CERTIFICATE_BYTES), 1..=3)
}

fn ids() -> impl Strategy<Value = (AgentId, InstanceId, DeploymentId)> {
    any::<[[u8; 16]; 3]>().prop_map(|[agent, instance, deployment]| {
        (AgentId::from_bytes(agent), InstanceId::from_bytes(instance), DeploymentId::from_bytes(deployment))
    })
}

fn batch_id() -> impl Strategy<Value = BatchId> {
    any::<(u64, u64)>().prop_map(|(epoch, seq)| BatchId { epoch, seq })
}

pub(crate) fn server_message() -> impl Strategy<Value = ServerMessage> {
    let offer = (config(), any::<[u8; 16]>(), any::<[u8; 32]>(), bytes(limits::ENVIRONMENT_BYTES)).prop_map(
        |(config, nonce, encapsulated, ciphertext)| {
            ServerMessage::Offer(Box::new(ConfigOffer { config, nonce, sealed: Sealed { encapsulated, ciphertext } }))
        },
    );
    prop_oneof![
        (ids(), time(), settings()).prop_map(|((agent, instance, deployment), now, settings)| {
            ServerMessage::Welcome { agent, instance, deployment, now, settings }
        }),
        offer,
        settings().prop_map(ServerMessage::Settings),
        batch_id().prop_map(|id| ServerMessage::MetricsAccepted { id }),
        batch_id().prop_map(|id| ServerMessage::LogsAccepted { id }),
        time().prop_map(|now| ServerMessage::Heartbeat { now }),
        chain().prop_map(|chain| ServerMessage::Renewed { chain }),
        text().prop_map(|reason| ServerMessage::Stop { reason }),
        Just(ServerMessage::Drain),
        duration(0).prop_map(|delay| ServerMessage::RetryAfter { delay }),
        text().prop_map(|address| ServerMessage::Redirect { address }),
    ]
}

pub(crate) fn enroll_request() -> impl Strategy<Value = EnrollRequest> {
    (any::<[u8; 16]>(), any::<[u8; 32]>(), bytes(limits::CSR_BYTES), any::<[u8; 32]>(), text()).prop_map(
        |(token, secret, csr, seal_key, agent_version)| EnrollRequest {
            token: JoinTokenId::from_bytes(token),
            secret,
            csr,
            seal_key,
            agent_version,
        },
    )
}

pub(crate) fn enroll_response() -> impl Strategy<Value = EnrollResponse> {
    let reason = select(
        &[
            EnrollRefusal::UnknownToken,
            EnrollRefusal::ExpiredToken,
            EnrollRefusal::UsedToken,
            EnrollRefusal::BadRequest,
            EnrollRefusal::TryLater,
        ][..],
    );
    prop_oneof![
        (ids(), chain(), time()).prop_map(|((agent, instance, deployment), chain, not_after)| {
            EnrollResponse::Issued { agent, instance, deployment, chain, not_after }
        }),
        (reason, text()).prop_map(|(reason, message)| EnrollResponse::Refused { reason, message }),
    ]
}

fn histogram() -> impl Strategy<Value = LatencyHistogram> {
    vec(0_u64..=u64::from(u32::MAX), 0..30).prop_map(|micros| {
        let mut histogram = LatencyHistogram::new();
        for us in micros {
            histogram.record(Duration::from_micros(us));
        }
        histogram
    })
}

fn finite() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    NORMAL | SUBNORMAL | ZERO | POSITIVE | NEGATIVE
}

fn sample() -> impl Strategy<Value = Sample> {
    let travels: Vec<Metric> = Metric::ALL.iter().copied().filter(|metric| !metric.is_derived()).collect();
    let all = travels.len();
    let values = proptest::sample::subsequence(travels, 0..=all)
        .prop_flat_map(|metrics| {
            let values = vec(finite(), metrics.len());
            (Just(metrics), values)
        })
        .prop_map(|(metrics, values)| metrics.into_iter().zip(values).collect());
    let custom = btree_set("[a-z]{1,12}", 0..8).prop_flat_map(|names| {
        let values = vec(finite(), names.len());
        (Just(names), values).prop_map(|(names, values)| names.into_iter().zip(values).collect())
    });
    (time(), values, custom, option::of(histogram())).prop_map(|(at, values, custom, latency)| Sample {
        at,
        values,
        custom,
        latency,
    })
}

pub(crate) fn metric_batch() -> impl Strategy<Value = MetricBatch> {
    (batch_id(), vec(sample(), 0..6), any::<u64>()).prop_map(|(id, samples, dropped)| MetricBatch {
        id,
        samples,
        dropped,
    })
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let stream = select(&[LogStream::Stdout, LogStream::Stderr, LogStream::Agent][..]);
    let level = select(&[Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error][..]);
    let message = prop_oneof![9 => "\\PC{0,40}", 1 => Just("y".repeat(limits::LOG_LINE_BYTES))];
    (time(), stream, level, message, any::<bool>()).prop_map(|(at, stream, level, message, truncated)| LogRecord {
        at,
        stream,
        level,
        message,
        truncated,
    })
}

pub(crate) fn log_batch() -> impl Strategy<Value = LogBatch> {
    (batch_id(), vec(log_record(), 0..10), any::<u64>()).prop_map(|(id, records, dropped)| LogBatch {
        id,
        records,
        dropped,
    })
}

pub(crate) fn environment() -> impl Strategy<Value = Environment> {
    let entry = ("\\PC{0,12}", option::of("\\PC{0,30}"), select(VariableKind::ALL), any::<bool>(), any::<bool>())
        .prop_map(|(name, value, kind, secret, required)| Entry {
            name,
            value: value.map(Zeroizing::new),
            kind,
            secret,
            required,
        });
    vec(entry, 0..10).prop_map(|entries| Environment { entries })
}
