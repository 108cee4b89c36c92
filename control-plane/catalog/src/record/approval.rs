use outrigger_protocol::id::ChangeId;
use outrigger_protocol::time::UnixMillis;

use super::scalar::Text;
use super::{Record, RecordError, v1};
use crate::model::{ChangeDecision, ChangeKind, ChangeOutcome, ChangeRequest, Environment, Risk, RiskReason};

/// A change request with what it takes to carry it out. The values that variables would have are rows of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeRow {
    pub(crate) request: ChangeRequest,
    pub(crate) touched: Vec<TouchedVariable>,
    pub(crate) environment: Option<EnvironmentStep>,
}

/// A name that a change request would have the environment say something else under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TouchedVariable {
    pub(crate) name: String,
    /// The generation of the version that it would replace; absent when there was nothing.
    pub(crate) base: Option<u64>,
    /// Whether there would be something, whose row is then kept.
    pub(crate) stays: bool,
}

/// What a change request would make of the environment itself: the fields in which the two differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvironmentStep {
    pub(crate) from: Environment,
    pub(crate) to: Environment,
}

/// What came of a call that may have to be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    Done(T),
    /// It awaits approval.
    Held(ChangeId),
}

impl From<Risk> for v1::Risk {
    fn from(risk: Risk) -> Self {
        match risk {
            Risk::Low => Self::Low,
            Risk::Medium => Self::Medium,
            Risk::High => Self::High,
        }
    }
}

impl From<v1::Risk> for Risk {
    fn from(risk: v1::Risk) -> Self {
        match risk {
            v1::Risk::Low => Self::Low,
            v1::Risk::Medium => Self::Medium,
            v1::Risk::High => Self::High,
        }
    }
}

impl From<ChangeKind> for v1::ChangeKind {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Variables => Self::Variables,
            ChangeKind::Import => Self::Import,
            ChangeKind::Replacement => Self::Replacement,
            ChangeKind::Rollback => Self::Rollback,
            ChangeKind::Environment => Self::Environment,
        }
    }
}

impl From<v1::ChangeKind> for ChangeKind {
    fn from(kind: v1::ChangeKind) -> Self {
        match kind {
            v1::ChangeKind::Variables => Self::Variables,
            v1::ChangeKind::Import => Self::Import,
            v1::ChangeKind::Replacement => Self::Replacement,
            v1::ChangeKind::Rollback => Self::Rollback,
            v1::ChangeKind::Environment => Self::Environment,
        }
    }
}

impl From<ChangeOutcome> for v1::ChangeOutcome {
    fn from(outcome: ChangeOutcome) -> Self {
        match outcome {
            ChangeOutcome::Approved { generation } => Self::Approved { generation },
            ChangeOutcome::Overridden { generation } => Self::Overridden { generation },
            ChangeOutcome::Rejected => Self::Rejected,
            ChangeOutcome::Withdrawn => Self::Withdrawn,
        }
    }
}

impl From<v1::ChangeOutcome> for ChangeOutcome {
    fn from(outcome: v1::ChangeOutcome) -> Self {
        match outcome {
            v1::ChangeOutcome::Approved { generation } => Self::Approved { generation },
            v1::ChangeOutcome::Overridden { generation } => Self::Overridden { generation },
            v1::ChangeOutcome::Rejected => Self::Rejected,
            v1::ChangeOutcome::Withdrawn => Self::Withdrawn,
        }
    }
}

/// As a part of its row, and as the result of deciding on it.
impl Record for ChangeRequest {
    const ROW: &'static str = "change request";
    type Stored = v1::ChangeRequest;

    fn to_stored(&self) -> v1::ChangeRequest {
        let reason = |reason: &RiskReason| v1::RiskReason { risk: reason.risk.into(), text: reason.text.clone() };
        let decision = |decision: &ChangeDecision| v1::ChangeDecision {
            outcome: decision.outcome.into(),
            by: decision.by.clone(),
            at: decision.at.as_millis(),
            reason: decision.reason.clone(),
        };
        v1::ChangeRequest {
            id: Text(self.id),
            project: Text(self.project),
            environment: Text(self.environment),
            kind: self.kind.into(),
            author: self.author.clone(),
            message: self.message.clone(),
            base: self.base,
            risk: self.risk.into(),
            reasons: self.reasons.iter().map(reason).collect(),
            approver: self.approver.into(),
            created_at: self.created_at.as_millis(),
            expires_at: self.expires_at.as_millis(),
            decision: self.decision.as_ref().map(decision),
        }
    }

    fn from_stored(stored: v1::ChangeRequest) -> Result<Self, RecordError> {
        let reason = |reason: v1::RiskReason| RiskReason { risk: reason.risk.into(), text: reason.text };
        let decision = |decision: v1::ChangeDecision| ChangeDecision {
            outcome: decision.outcome.into(),
            by: decision.by,
            at: UnixMillis::from_millis(decision.at),
            reason: decision.reason,
        };
        Ok(Self {
            id: stored.id.0,
            project: stored.project.0,
            environment: stored.environment.0,
            kind: stored.kind.into(),
            author: stored.author,
            message: stored.message,
            base: stored.base,
            risk: stored.risk.into(),
            reasons: stored.reasons.into_iter().map(reason).collect(),
            approver: stored.approver.into(),
            created_at: UnixMillis::from_millis(stored.created_at),
            expires_at: UnixMillis::from_millis(stored.expires_at),
            decision: stored.decision.map(decision),
        })
    }
}

impl Record for ChangeRow {
    const ROW: &'static str = "change request";
    type Stored = v1::Change;

    fn to_stored(&self) -> v1::Change {
        let touched = |touched: &TouchedVariable| {
            let TouchedVariable { name, base, stays } = touched.clone();
            v1::TouchedVariable { name, base, stays }
        };
        let step =
            |step: &EnvironmentStep| v1::EnvironmentStep { from: step.from.to_stored(), to: step.to.to_stored() };
        v1::Change {
            request: self.request.to_stored(),
            touched: self.touched.iter().map(touched).collect(),
            environment: self.environment.as_ref().map(step),
        }
    }

    fn from_stored(stored: v1::Change) -> Result<Self, RecordError> {
        let touched = |v1::TouchedVariable { name, base, stays }| TouchedVariable { name, base, stays };
        let step = |v1::EnvironmentStep { from, to }| {
            Ok(EnvironmentStep { from: Environment::from_stored(from)?, to: Environment::from_stored(to)? })
        };
        Ok(Self {
            request: ChangeRequest::from_stored(stored.request)?,
            touched: stored.touched.into_iter().map(touched).collect(),
            environment: stored.environment.map(step).transpose()?,
        })
    }
}

impl<T: Record> Record for Outcome<T> {
    const ROW: &'static str = T::ROW;
    type Stored = v1::Outcome<T::Stored>;

    fn to_stored(&self) -> v1::Outcome<T::Stored> {
        match self {
            Self::Done(value) => v1::Outcome::Done(value.to_stored()),
            Self::Held(id) => v1::Outcome::Held(v1::Held { awaits_approval: Text(*id) }),
        }
    }

    fn from_stored(stored: v1::Outcome<T::Stored>) -> Result<Self, RecordError> {
        Ok(match stored {
            v1::Outcome::Done(value) => Self::Done(T::from_stored(value)?),
            v1::Outcome::Held(v1::Held { awaits_approval }) => Self::Held(awaits_approval.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    #[test]
    fn what_was_kept_before_anything_could_be_held_is_done() {
        let held: Outcome<()> = Outcome::Held(ChangeId::generate());
        assert_eq!(decode::<Outcome<()>>(&encode(&held)).unwrap(), held);
        assert_eq!(decode::<Outcome<()>>(&encode(&())).unwrap(), Outcome::Done(()));
    }
}
