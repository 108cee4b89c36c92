//! The clock and the randomness of the engine, as arguments.

use std::fmt;
use std::sync::Arc;

use outrigger_catalog::Clock;
use outrigger_catalog::model::{Event, EventKind};
use outrigger_protocol::id::{DecisionId, DeploymentId, EventId, InstanceId, OrganizationId};
use outrigger_protocol::time::UnixMillis;

/// Fills a buffer with randomness.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What time it is, and what the dice say.
#[derive(Clone)]
pub struct Ambient {
    pub clock: Clock,
    pub entropy: Entropy,
}

impl Ambient {
    /// Those of the operating system.
    #[must_use]
    pub fn system() -> Self {
        let entropy = |buffer: &mut [u8]| {
            getrandom::fill(buffer).expect("the operating system provides randomness");
        };
        Self { clock: Arc::new(UnixMillis::now), entropy: Arc::new(entropy) }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.entropy)(&mut bytes);
        bytes
    }

    /// For jitter.
    pub(crate) fn dice(&self) -> u64 {
        u64::from_le_bytes(self.random())
    }

    pub(crate) fn decision_id(&self) -> DecisionId {
        DecisionId::new(self.now(), self.random())
    }

    pub(crate) fn instance_id(&self) -> InstanceId {
        InstanceId::new(self.now(), self.random())
    }

    /// Something that happened just now.
    pub(crate) fn event(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
        kind: EventKind,
        message: impl Into<String>,
        decision: Option<DecisionId>,
    ) -> Event {
        let at = self.now();
        Event {
            id: EventId::new(at, self.random()),
            organization,
            deployment,
            at,
            kind,
            message: message.into(),
            decision,
        }
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ambient")
    }
}
