//! The last lines of every deployment's programs, in memory.
//!
//! Each deployment has a ring that is bounded in lines and in bytes: a program that writes a lot pushes out its own
//! deployment's lines and nobody else's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::time::UnixMillis;

use crate::config::LogRetention;
use crate::shards::{Shards, lock};

/// One line, as it came from one instance. Its time is corrected for the sandbox's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Grows by one per line of the deployment: who has seen `number` continues after it.
    pub number: u64,
    pub instance: InstanceId,
    pub record: LogRecord,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    next: u64,
}

impl Ring {
    fn push(&mut self, instance: InstanceId, record: LogRecord, retention: LogRetention) {
        self.bytes += record.message.len();
        self.lines.push_back(Arc::new(LogLine { number: self.next, instance, record }));
        self.next += 1;
        while self.lines.len() > retention.lines || self.bytes > retention.bytes {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.record.message.len();
        }
    }
}

#[derive(Debug)]
pub(crate) struct RecentLogs {
    rings: Shards<DeploymentId, Arc<Mutex<Ring>>>,
    retention: LogRetention,
}

impl RecentLogs {
    pub(crate) fn new(retention: LogRetention) -> Self {
        Self { rings: Shards::new(), retention }
    }

    /// Appends lines in order. A deployment above the limit keeps none.
    pub(crate) fn push(&self, deployment: DeploymentId, instance: InstanceId, records: Vec<LogRecord>) {
        let ring = match self.rings.find(&deployment) {
            Some(ring) => ring,
            None if self.rings.len() >= self.retention.deployments => return,
            None => Arc::clone(self.rings.of(&deployment).entry(deployment).or_default()),
        };
        let mut ring = lock(&ring);
        for record in records {
            ring.push(instance, record, self.retention);
        }
    }

    /// The newest `limit` lines that are not older than `since`, in the order of their arrival.
    pub(crate) fn recent(
        &self,
        deployment: DeploymentId,
        since: Option<UnixMillis>,
        limit: usize,
    ) -> Vec<Arc<LogLine>> {
        let Some(ring) = self.rings.find(&deployment) else { return Vec::new() };
        let ring = lock(&ring);
        let wanted = ring.lines.iter().rev().filter(|line| since.is_none_or(|since| line.record.at >= since));
        let mut lines: Vec<_> = wanted.take(limit).cloned().collect();
        lines.reverse();
        lines
    }

    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.rings.remove(&deployment);
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::log::{Level, LogStream};

    use super::*;

    const RETENTION: LogRetention = LogRetention { lines: 3, bytes: 100, deployments: 1 };

    fn record(at: u64, message: &str) -> LogRecord {
        LogRecord {
            at: UnixMillis::from_millis(at),
            stream: LogStream::Stdout,
            level: Level::Info,
            message: message.to_owned(),
            truncated: false,
        }
    }

    fn messages(logs: &RecentLogs, deployment: DeploymentId, since: Option<u64>, limit: usize) -> Vec<String> {
        let lines = logs.recent(deployment, since.map(UnixMillis::from_millis), limit);
        lines.iter().map(|line| line.record.message.clone()).collect()
    }

    #[test]
    fn the_oldest_lines_make_room_in_lines_and_in_bytes() {
        let logs = RecentLogs::new(RETENTION);
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        logs.push(deployment, instance, (1..=4).map(|n| record(n, &n.to_string())).collect());
        assert_eq!(messages(&logs, deployment, None, 10), ["2", "3", "4"]);
        assert_eq!(messages(&logs, deployment, Some(3), 10), ["3", "4"]);
        assert_eq!(messages(&logs, deployment, None, 1), ["4"]);
        logs.push(deployment, instance, vec![record(5, &"x".repeat(99))]);
        assert_eq!(messages(&logs, deployment, None, 10), ["4", &"x".repeat(99)]);
        logs.push(deployment, instance, vec![record(6, &"y".repeat(101))]);
        assert!(messages(&logs, deployment, None, 10).is_empty(), "a line above the whole bound is not kept");
    }

    #[test]
    fn lines_are_numbered_so_that_a_follower_can_go_on() {
        let logs = RecentLogs::new(RETENTION);
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        logs.push(deployment, instance, (0..9).map(|n| record(n, "line")).collect());
        let numbers: Vec<u64> = logs.recent(deployment, None, 10).iter().map(|line| line.number).collect();
        assert_eq!(numbers, [6, 7, 8]);
    }

    #[test]
    fn a_deployment_above_the_limit_keeps_no_lines() {
        let logs = RecentLogs::new(RETENTION);
        let (first, second, instance) = (DeploymentId::generate(), DeploymentId::generate(), InstanceId::generate());
        logs.push(first, instance, vec![record(1, "kept")]);
        logs.push(second, instance, vec![record(1, "dropped")]);
        assert_eq!(messages(&logs, first, None, 10), ["kept"]);
        assert!(messages(&logs, second, None, 10).is_empty());
    }
}
