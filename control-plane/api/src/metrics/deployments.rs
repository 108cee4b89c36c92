//! What each deployment is, uses and serves.
//!
//! Everything comes out of memory: sizes and decisions from the engine's last look, agents and readings from ingest.

use std::time::Duration;

use outrigger_catalog::model::DeploymentStatus;
use outrigger_engine::{Direction, Standing};
use outrigger_ingest::Ingest;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::Usage;

use super::exposition::{Kind, Labels, Page};
use super::histogram;
use super::process::seconds;

/// Deployments that one page tells of.
pub(super) const MOST: usize = 1_000;
/// Quantiles are those of the requests that ended within this time: about as long as it is from one scrape to the next.
const RECENT: Duration = Duration::from_secs(15);
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// One deployment on the page.
#[derive(Debug)]
pub(super) struct Row {
    labels: Labels,
    standing: Standing,
    /// Connected agents.
    agents: usize,
    /// The oldest generation that a connected agent's program runs with.
    oldest: Option<u64>,
    usage: Usage,
}

impl Row {
    pub(super) fn new(standing: Standing, project: &str, ingest: &Ingest, now: UnixMillis) -> Self {
        let labels = Labels::new(&[
            ("organization", &standing.organization),
            ("project", &project),
            ("deployment", &standing.name),
            ("deployment_id", &standing.id),
        ]);
        let connected = ingest.connected(standing.id);
        let usage = ingest.window(standing.id, |window| window.usage(now, RECENT)).unwrap_or_default();
        let oldest = connected.iter().flatten().min().copied();
        Self { labels, standing, agents: connected.len(), oldest, usage }
    }
}

/// A gauge of each deployment that has it.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&Row) -> Option<f64>,
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Row) -> Option<f64>) -> Gauge {
    Gauge { name, help, value }
}

fn ratio(row: &Row, metric: Metric) -> Option<f64> {
    row.usage.mean(metric).map(|percent| percent / 100.0)
}

fn sum(row: &Row, metric: Metric) -> Option<f64> {
    row.usage.sum(metric)
}

fn number(value: u32) -> Option<f64> {
    Some(f64::from(value))
}

const GAUGES: &[Gauge] = &[
    gauge("replicas_desired", "Replicas that there should be.", |row| number(row.standing.desired_replicas)),
    gauge("replicas_ready", "Replicas that serve.", |row| number(row.standing.ready_replicas)),
    gauge("replicas_min", "The fewest replicas that policies may ask for.", |row| number(row.standing.min_replicas)),
    gauge("replicas_max", "The most replicas that policies may ask for.", |row| number(row.standing.max_replicas)),
    gauge("agents_connected", "Agents of the deployment with a session, also of instances from outside.", |row| {
        Some(row.agents as f64)
    }),
    gauge("paused", "1 while automatic scaling is off.", |row| Some(f64::from(u8::from(row.standing.paused)))),
    gauge("breakers_open", "Policies that are not asked because they keep failing.", |row| {
        number(row.standing.breakers_open)
    }),
    gauge("last_decision_timestamp_seconds", "When the newest decision was written down, Unix time.", |row| {
        row.standing.last_decision.map(|last| seconds(last.at))
    }),
    gauge("last_decision_change", "Replicas by which the newest decision changed the size; negative is down.", |row| {
        row.standing.last_decision.map(|last| f64::from(last.to_replicas) - f64::from(last.from_replicas))
    }),
    gauge("generation", "The newest generation of the configuration that is or was rolled out.", |row| {
        row.standing.rollout.map(|(generation, _)| generation as f64)
    }),
    gauge("generation_oldest", "The oldest generation that the program of a connected agent runs with.", |row| {
        row.oldest.map(|generation| generation as f64)
    }),
    gauge("cpu_ratio", "CPU of the limit that applies, mean over the instances.", |row| ratio(row, Metric::Cpu)),
    gauge("cpu_cores", "Cores in use, all instances together.", |row| sum(row, Metric::CpuUsage)),
    gauge("cpu_throttled_ratio", "Enforcement periods with throttling, mean over the instances.", |row| {
        ratio(row, Metric::CpuThrottled)
    }),
    gauge("memory_ratio", "Working set of the limit that applies, mean over the instances.", |row| {
        ratio(row, Metric::Memory)
    }),
    gauge("memory_working_set_bytes", "Working set, all instances together.", |row| sum(row, Metric::MemoryWorkingSet)),
    gauge("pressure_cpu_ratio", "Time in which some tasks waited for CPU, mean over the instances.", |row| {
        ratio(row, Metric::PressureCpuSome)
    }),
    gauge("pressure_memory_ratio", "Time in which some tasks waited for memory, mean over the instances.", |row| {
        ratio(row, Metric::PressureMemorySome)
    }),
    gauge("pressure_io_ratio", "Time in which some tasks waited for I/O, mean over the instances.", |row| {
        ratio(row, Metric::PressureIoSome)
    }),
    gauge("network_receive_rate", "Bytes received per second, all instances together.", |row| {
        sum(row, Metric::NetworkReceive)
    }),
    gauge("network_transmit_rate", "Bytes sent per second, all instances together.", |row| {
        sum(row, Metric::NetworkTransmit)
    }),
    gauge("requests_rate", "Requests per second, all instances together.", |row| sum(row, Metric::Requests)),
    gauge("request_errors_rate", "Requests per second that failed, all instances together.", |row| {
        sum(row, Metric::RequestErrors)
    }),
    gauge("requests_in_flight", "Requests under way, all instances together.", |row| {
        sum(row, Metric::RequestsInFlight)
    }),
    gauge("queue_depth", "What waits in the programs' queues, all instances together.", |row| {
        sum(row, Metric::QueueDepth)
    }),
];

const STATUSES: [DeploymentStatus; 7] = [
    DeploymentStatus::Pending,
    DeploymentStatus::Provisioning,
    DeploymentStatus::Building,
    DeploymentStatus::Running,
    DeploymentStatus::Stopping,
    DeploymentStatus::Stopped,
    DeploymentStatus::Failed,
];

/// Writes all of them; `left_out` is how many more there are.
pub(super) fn write(page: &mut Page, rows: &[Row], left_out: usize) {
    let help = "Deployments, by status, of those that this page tells of.";
    let mut statuses = page.family(Kind::Gauge, "outrigger_deployments", help);
    for status in STATUSES {
        let count = rows.iter().filter(|row| row.standing.status == status).count();
        statuses.sample(&Labels::new(&[("status", &status.name().to_ascii_lowercase())]), count);
    }
    drop(statuses);
    let help = "Deployments that this page does not tell of, because it tells of the first 1,000 alone.";
    page.gauge("outrigger_deployments_left_out", help, left_out);
    let help = "1 for the status that the deployment has.";
    let mut status = page.family(Kind::Gauge, "outrigger_deployment_status", help);
    for row in rows {
        status.sample(&row.labels.with("status", &row.standing.status.name().to_ascii_lowercase()), true);
    }
    drop(status);
    for Gauge { name, help, value } in GAUGES {
        let mut family = page.family(Kind::Gauge, format_args!("outrigger_deployment_{name}"), help);
        for (row, value) in rows.iter().filter_map(|row| Some((row, value(row)?))) {
            family.sample(&row.labels, value);
        }
    }
    let help = "When the deployment was made larger or smaller last, Unix time.";
    let mut scales = page.family(Kind::Gauge, "outrigger_deployment_last_scale_timestamp_seconds", help);
    for row in rows {
        let Standing { last_scale_up, last_scale_down, .. } = row.standing;
        for (direction, at) in [(Direction::Up, last_scale_up), (Direction::Down, last_scale_down)] {
            if let Some(at) = at {
                scales.sample(&row.labels.with("direction", &direction.name()), seconds(at));
            }
        }
    }
    drop(scales);
    let help = "1 for the state that the newest rollout is in.";
    let mut rollouts = page.family(Kind::Gauge, "outrigger_deployment_rollout_state", help);
    for (row, (_, state)) in rows.iter().filter_map(|row| Some((row, row.standing.rollout?))) {
        rollouts.sample(&row.labels.with("state", &state.name()), true);
    }
    drop(rollouts);
    let help = "Decisions that were written down since the start, by where they led.";
    let mut decisions = page.family(Kind::Counter, "outrigger_deployment_decisions", help);
    for row in rows {
        for direction in Direction::ALL {
            let labels = row.labels.with("direction", &direction.name());
            decisions.sample(&labels, row.standing.decisions[direction as usize]);
        }
    }
    drop(decisions);
    let help = "Response times of the requests that ended within the last 15 s, over all instances.";
    let mut latency = page.family(Kind::Summary, "outrigger_deployment_response_time_seconds", help);
    for row in rows.iter().filter(|row| !row.usage.latency.is_empty()) {
        histogram::quantiles(&mut latency, &row.labels, &row.usage.latency, &QUANTILES);
    }
}
