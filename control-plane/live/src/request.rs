//! What clients ask for, checked.

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::Level;
use serde::Deserialize;
use serde_json::Value;

use crate::update::Update;

const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
/// Characters of what a line has to contain.
const CONTAINS_CHARS: usize = 256;
/// Characters of a client's own text that are repeated to it.
const SHOWN_CHARS: usize = 64;

/// What of a deployment can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    Logs,
    Status,
    Metrics,
}

impl Topic {
    pub(crate) const ALL: [Self; 3] = [Self::Logs, Self::Status, Self::Metrics];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Status => "status",
            Self::Metrics => "metrics",
        }
    }

    pub(crate) const fn subscribe(self) -> &'static str {
        match self {
            Self::Logs => "subscribe_logs",
            Self::Status => "subscribe_status",
            Self::Metrics => "subscribe_metrics",
        }
    }

    pub(crate) const fn unsubscribe(self) -> &'static str {
        match self {
            Self::Logs => "unsubscribe_logs",
            Self::Status => "unsubscribe_status",
            Self::Metrics => "unsubscribe_metrics",
        }
    }
}

/// What somebody wants to hear of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) deployment: DeploymentId,
    pub(crate) filter: Filter,
}

/// Which lines; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The least one.
    level: Option<Level>,
    /// As it is written.
    contains: Option<String>,
    instance: Option<InstanceId>,
}

impl Filter {
    /// Whether an update is wanted. One that is no line always is.
    pub(crate) fn passes(&self, update: &Update) -> bool {
        let Update::Log(log) = update else { return true };
        self.level.is_none_or(|least| log.level >= least)
            && self.instance.is_none_or(|instance| log.instance_id == instance)
            && self.contains.as_ref().is_none_or(|part| log.message.contains(part))
    }
}

/// Why a request is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// In words, with the name of the field.
    #[error("validation: {0}")]
    Invalid(String),
    /// An id that cannot be one names nothing.
    #[error("deployment not found")]
    NoDeployment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    deployment_id: String,
    filter: Option<AskedFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AskedFilter {
    level: Option<String>,
    contains: Option<String>,
    instance_id: Option<String>,
}

impl Wish {
    pub(crate) fn read(topic: Topic, asked: Value) -> Result<Self, Malformed> {
        if !asked.is_object() {
            return Err(Malformed::Invalid("send one object, {\"deploymentId\": \"…\"}".to_owned()));
        }
        let asked: Asked =
            serde_json::from_value(asked).map_err(|error| Malformed::Invalid(shown(&error.to_string(), 4)))?;
        let filter = match asked.filter {
            Some(_) if topic != Topic::Logs => {
                return Err(Malformed::Invalid("filter is for logs alone".to_owned()));
            }
            Some(filter) => filter.check()?,
            None => Filter::default(),
        };
        let deployment = asked.deployment_id.parse().map_err(|_| Malformed::NoDeployment)?;
        Ok(Self { deployment, filter })
    }
}

impl AskedFilter {
    fn check(self) -> Result<Filter, Malformed> {
        let level = self.level.map(|name| {
            let known = LEVELS.into_iter().find(|level| level.name().eq_ignore_ascii_case(&name));
            known.ok_or_else(|| {
                let names = LEVELS.map(Level::name).join(", ");
                Malformed::Invalid(format!("filter.level `{}` is not one of {names}", shown(&name, 1)))
            })
        });
        if self.contains.as_ref().is_some_and(|part| part.chars().count() > CONTAINS_CHARS) {
            return Err(Malformed::Invalid(format!("filter.contains has more than {CONTAINS_CHARS} characters")));
        }
        let instance = self.instance_id.map(|id| {
            id.parse().map_err(|_| Malformed::Invalid(format!("filter.instanceId `{}` is not an id", shown(&id, 1))))
        });
        Ok(Filter {
            level: level.transpose()?,
            contains: self.contains.filter(|part| !part.is_empty()),
            instance: instance.transpose()?,
        })
    }
}

/// What a client sent, or what was said about it, cut short and without control characters.
pub(crate) fn shown(text: &str, lines: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS * lines).collect()
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::log::LogStream;
    use outrigger_protocol::time::UnixMillis;
    use serde_json::json;

    use super::*;
    use crate::update::LogUpdate;

    fn line(instance: InstanceId, level: Level, message: &str) -> Update {
        Update::Log(LogUpdate {
            deployment_id: DeploymentId::generate(),
            instance_id: instance,
            timestamp: UnixMillis::EPOCH,
            level,
            stream: LogStream::Stdout,
            message: message.to_owned(),
            truncated: false,
            number: 0,
            dropped: None,
        })
    }

    #[test]
    fn a_filter_passes_what_all_of_its_parts_pass() {
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        let filter = json!({ "level": "WARN", "contains": "disk", "instanceId": instance.to_string() });
        let asked = json!({ "deploymentId": deployment.to_string(), "filter": filter });
        let wish = Wish::read(Topic::Logs, asked).unwrap();
        assert_eq!(wish.deployment, deployment);
        assert!(wish.filter.passes(&line(instance, Level::Error, "the disk is full")));
        assert!(!wish.filter.passes(&line(instance, Level::Info, "the disk is full")));
        assert!(!wish.filter.passes(&line(instance, Level::Error, "the door is open")));
        assert!(!wish.filter.passes(&line(InstanceId::generate(), Level::Error, "the disk is full")));
        let all = Wish::read(Topic::Logs, json!({ "deploymentId": deployment.to_string(), "filter": null })).unwrap();
        assert!(all.filter.passes(&line(instance, Level::Trace, "")));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_by_its_name() {
        let id = DeploymentId::generate().to_string();
        let long = "x".repeat(CONTAINS_CHARS + 1);
        for (topic, asked, expected) in [
            (Topic::Logs, json!(null), "send one object"),
            (Topic::Logs, json!({}), "deploymentId"),
            (Topic::Logs, json!({ "deploymentId": id, "foo": 1 }), "foo"),
            (Topic::Logs, json!({ "deploymentId": 5 }), "integer"),
            (Topic::Logs, json!({ "deploymentId": id, "filter": { "level": "loud" } }), "filter.level `loud`"),
            (Topic::Logs, json!({ "deploymentId": id, "filter": { "contains": long } }), "filter.contains"),
            (Topic::Logs, json!({ "deploymentId": id, "filter": { "instanceId": "x" } }), "filter.instanceId"),
            (Topic::Status, json!({ "deploymentId": id, "filter": {} }), "filter is for logs"),
        ] {
            let problem = Wish::read(topic, asked.clone()).unwrap_err().to_string();
            assert!(problem.starts_with("validation: ") && problem.contains(expected), "{asked}: {problem}");
        }
        let unknown = Wish::read(Topic::Status, json!({ "deploymentId": "no such" })).unwrap_err();
        assert_eq!(unknown.to_string(), "deployment not found");
    }
}
