//! What the demo knows at a moment, read from the API, and what is new in it.

use std::collections::{HashSet, VecDeque};

use serde_json::Value;

/// One row of the instance table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InstanceRow {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) generation: Option<u64>,
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory_percent: Option<f64>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) response_ms: Option<f64>,
    /// Where its program answers, when it is ready.
    pub(super) endpoint: Option<String>,
}

impl InstanceRow {
    fn read(instance: &Value) -> Self {
        let metric = |name: &str| instance["metrics"][name].as_f64();
        let ready = instance["ready"].as_bool().unwrap_or(false);
        Self {
            name: short(instance["id"].as_str().unwrap_or_default()),
            state: if ready { "ready".to_owned() } else { state(instance) },
            generation: instance["config"]["running"].as_u64(),
            cpu_percent: metric("cpu"),
            memory_percent: metric("memory"),
            requests_per_second: metric("requests"),
            response_ms: metric("responseTime"),
            endpoint: instance["endpoint"].as_str().filter(|_| ready).map(str::to_owned),
        }
    }
}

/// The last digits of an id are random; the first ones only tell the time.
fn short(id: &str) -> String {
    id.get(id.len().saturating_sub(6)..).unwrap_or(id).to_owned()
}

fn state(instance: &Value) -> String {
    let program = instance["program"]["state"].as_str();
    let phase = instance["phase"].as_str().unwrap_or("unknown");
    program.filter(|_| phase == "RUNNING").unwrap_or(phase).to_lowercase()
}

/// The story so far, as lines that appear once.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) status: String,
    pub(super) desired: u64,
    pub(super) ready: u64,
    pub(super) instances: Vec<InstanceRow>,
    /// One sentence about the newest decision, holds included.
    pub(super) decision: String,
    /// Total requests per second, newest last.
    pub(super) requests: VecDeque<u64>,
    pub(super) lines: VecDeque<String>,
    seen: HashSet<String>,
}

/// Lines and points that the view keeps.
const KEPT_LINES: usize = 200;
const KEPT_POINTS: usize = 240;

impl View {
    /// Takes in a reading of the API and returns the lines that are new.
    pub(super) fn update(&mut self, status: &Value, instances: &[Value], events: &[Value]) -> Vec<String> {
        status["status"].as_str().unwrap_or("unknown").clone_into(&mut self.status);
        self.desired = status["desiredReplicas"].as_u64().unwrap_or(0);
        self.ready = status["readyReplicas"].as_u64().unwrap_or(0);
        status["lastDecision"]["reason"].as_str().unwrap_or_default().clone_into(&mut self.decision);
        self.instances =
            instances.iter().filter(|i| i["phase"].as_str() != Some("GONE")).map(InstanceRow::read).collect();
        let total: f64 = self.instances.iter().filter_map(|row| row.requests_per_second).sum();
        push_bounded(&mut self.requests, whole(total), KEPT_POINTS);

        let fresh: Vec<String> = events
            .iter()
            .filter(|event| event["id"].as_str().is_some_and(|id| self.seen.insert(id.to_owned())))
            .filter_map(|event| event["message"].as_str().map(str::to_owned))
            .collect();
        // The API is asked for its newest fifty: what is not among them any more cannot come back.
        if self.seen.len() > 10 * KEPT_LINES {
            self.seen = events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect();
        }
        fresh.iter().for_each(|line| self.tell(line.clone()));
        fresh
    }

    /// Adds a line of the demo's own.
    pub(super) fn tell(&mut self, line: String) {
        push_bounded(&mut self.lines, line, KEPT_LINES);
    }

    pub(super) fn endpoints(&self) -> Vec<String> {
        self.instances.iter().filter_map(|row| row.endpoint.clone()).collect()
    }

    /// The state in one line, for a pipe.
    pub(super) fn summary(&self) -> String {
        let shown = |value: Option<f64>, unit: &str| value.map_or("-".to_owned(), |v| format!("{v:.0}{unit}"));
        let mean = |values: Vec<f64>| {
            let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)
        };
        let cpu = mean(self.instances.iter().filter_map(|row| row.cpu_percent).collect());
        let memory = mean(self.instances.iter().filter_map(|row| row.memory_percent).collect());
        let slowest = self.instances.iter().filter_map(|row| row.response_ms).reduce(f64::max);
        format!(
            "{} ready of {}, cpu {}, memory {}, {} requests/s, p95 {}",
            self.ready,
            self.desired,
            shown(cpu, " %"),
            shown(memory, " %"),
            self.requests.back().copied().unwrap_or(0),
            slowest.map_or("-".to_owned(), |ms| format!("{ms:.1} ms")),
        )
    }
}

/// A rate as a number of points on the screen.
#[allow(clippy::cast_possible_truncation, reason = "clamped to what a u64 holds exactly")]
fn whole(rate: f64) -> u64 {
    rate.clamp(0.0, 1e9).round() as u64
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_once() {
        let mut view = View::default();
        let events = [json!({ "id": "evt_1", "message": "scaled up 1 -> 3: busy" })];
        assert_eq!(view.update(&json!({}), &[], &events), ["scaled up 1 -> 3: busy"]);
        assert!(view.update(&json!({}), &[], &events).is_empty());
    }

    #[test]
    fn only_ready_instances_take_load() {
        let mut view = View::default();
        let instances = [
            json!({ "id": "ins_a", "phase": "RUNNING", "ready": true, "endpoint": "127.0.0.1:1" }),
            json!({ "id": "ins_b", "phase": "RUNNING", "ready": false, "endpoint": "127.0.0.1:2" }),
            json!({ "id": "ins_c", "phase": "GONE", "ready": false }),
        ];
        view.update(&json!({}), &instances, &[]);
        assert_eq!(view.endpoints(), ["127.0.0.1:1"]);
        assert_eq!(view.instances.len(), 2);
    }
}
