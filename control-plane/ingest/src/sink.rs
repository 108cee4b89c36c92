//! Who wants to have what agents tell.

use std::fmt;
use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

/// Whose telemetry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub instance: InstanceId,
}

/// Takes what agents tell, once, in the order in which each of them tells it: history, logs, live streams, exporters.
///
/// Every method is called on the task of the session that it came by, before the agent gets its acknowledgement. It must
/// not wait, and what it cannot keep up with it has to drop and count by itself.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Samples whose times are corrected for the sandbox's clock and believable, but not necessarily in order. `interval`
    /// is how often the deployment samples.
    fn samples(&self, source: Source, interval: Duration, samples: &[Sample], received_at: UnixMillis) {
        let _ = (source, interval, samples, received_at);
    }

    /// Lines in the order in which the program wrote them, their times corrected as well; and how many the agent had to
    /// drop before them.
    fn logs(&self, source: Source, records: &[LogRecord], dropped: u64, received_at: UnixMillis) {
        let _ = (source, records, dropped, received_at);
    }

    /// An instance is gone for good.
    fn instance_gone(&self, source: Source) {
        let _ = source;
    }

    /// A deployment is deleted, and nothing of it is to be kept.
    fn deployment_gone(&self, deployment: DeploymentId) {
        let _ = deployment;
    }
}
