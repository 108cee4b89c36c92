//! What clients are told, in the shape in which they get it.

use std::fmt::Display;

use jiff::Timestamp;
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::time::UnixMillis;
use serde::{Serialize, Serializer};

/// One thing that happened to a deployment.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    Log(LogUpdate),
    Status(StatusUpdate),
    Metrics(MetricsUpdate),
}

impl Update {
    /// Bytes of text, for what a queue may hold. What else there is has a fixed size.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::Log(log) => log.message.len(),
            Self::Status(status) => status.reason.as_ref().map_or(0, String::len),
            Self::Metrics(_) => 0,
        }
    }
}

/// A line that a program wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogUpdate {
    #[serde(serialize_with = "text")]
    pub deployment_id: DeploymentId,
    #[serde(serialize_with = "text")]
    pub instance_id: InstanceId,
    #[serde(serialize_with = "time")]
    pub timestamp: UnixMillis,
    #[serde(serialize_with = "level")]
    pub level: Level,
    #[serde(serialize_with = "stream")]
    pub stream: LogStream,
    pub message: String,
    /// The program's line was longer than a line may be.
    pub truncated: bool,
    /// Grows with every line of the deployment, with gaps.
    pub number: u64,
    /// It is no line, but the place of so many that the agent or the control plane had to drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// How a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate {
    #[serde(serialize_with = "text")]
    pub deployment_id: DeploymentId,
    pub status: &'static str,
    /// In words, when it failed.
    pub reason: Option<String>,
    pub desired_replicas: u32,
    /// Replicas that serve.
    pub ready_replicas: u32,
    /// Whether automatic scaling is off.
    pub paused: bool,
    #[serde(serialize_with = "time")]
    pub timestamp: UnixMillis,
}

impl StatusUpdate {
    /// Whether both say the same, whenever they say it.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        let now = Self { timestamp: other.timestamp, ..self.clone() };
        now == *other
    }
}

/// What a deployment uses and serves.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricsUpdate {
    #[serde(serialize_with = "text")]
    pub deployment_id: DeploymentId,
    #[serde(serialize_with = "time")]
    pub timestamp: UnixMillis,
    pub metrics: Metrics,
}

/// Null where nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Percent of the CPU limit, averaged over the instances.
    pub cpu: Option<f64>,
    /// Working set in percent of the memory limit, averaged over the instances.
    pub memory: Option<f64>,
    /// Requests per second of all instances together.
    pub requests: Option<f64>,
    /// 95th percentile over all instances, milliseconds.
    pub response_time: Option<f64>,
}

fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// RFC 3339.
fn time<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = i64::try_from(time.as_millis()).ok();
    let time = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or(Timestamp::MAX);
    serializer.collect_str(&time)
}

fn level<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.name())
}

fn stream<S: Serializer>(stream: &LogStream, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Agent => "agent",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn updates_have_the_shape_that_clients_rely_on() {
        let deployment_id = DeploymentId::generate();
        let instance_id = InstanceId::generate();
        let timestamp = UnixMillis::from_millis(1_700_000_000_123);
        let log = LogUpdate {
            deployment_id,
            instance_id,
            timestamp,
            level: Level::Warn,
            stream: LogStream::Stderr,
            message: "careful".to_owned(),
            truncated: false,
            number: 7,
            dropped: None,
        };
        assert_eq!(
            serde_json::to_value(log).unwrap(),
            json!({
                "deploymentId": deployment_id.to_string(), "instanceId": instance_id.to_string(),
                "timestamp": "2023-11-14T22:13:20.123Z", "level": "warn", "stream": "stderr", "message": "careful",
                "truncated": false, "number": 7,
            })
        );
        let metrics = Metrics { cpu: Some(12.5), response_time: Some(3.0), ..Metrics::default() };
        assert_eq!(
            serde_json::to_value(MetricsUpdate { deployment_id, timestamp, metrics }).unwrap(),
            json!({
                "deploymentId": deployment_id.to_string(), "timestamp": "2023-11-14T22:13:20.123Z",
                "metrics": { "cpu": 12.5, "memory": null, "requests": null, "responseTime": 3.0 },
            })
        );
    }
}
