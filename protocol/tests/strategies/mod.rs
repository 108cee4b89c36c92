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
    ]
}

fn settings() -> impl Strategy<Value = AgentSettings> {
    let apply = prop_oneof![
        duration(0).prop_map(|jitter| ApplyStrategy::Restart { jitter }),
        (1..=64).prop_map(|signal| ApplyStrategy::Signal { signal }),
        Just(ApplyStrategy::File),
        Just(ApplyStrategy::None),
    ];
    (duration(1), duration(1), apply, vec(text(), 0..4)).prop_map(
        |(sample_interval, heartbeat_interval, apply, allowed_names)| AgentSettings {
            sample_interval,
            heartbeat_interval,
            apply,
            allowed_names,
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
