use std::time::Duration;

use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::{GuardOutcome, GuardReport, Verdict, guard};

use super::scalar::{Digest, Number, Text};
use super::{Record, RecordError, v1};
use crate::model::{Decision, ProposalRecord, ProposalSummary};

/// What the reports of a guard that a later release no longer has are read as: old decisions stay readable.
const RETIRED_GUARD: &str = "retired";

impl From<&ProposalRecord> for v1::ProposalRecord {
    fn from(record: &ProposalRecord) -> Self {
        let outcome = match &record.outcome {
            Ok(summary) => v1::ProposalOutcome::Proposal(v1::Proposal {
                desired: summary.desired,
                confidence: Number(summary.confidence),
                reason: summary.reason.clone(),
                signals: summary.signals.iter().map(|(name, value)| (name.clone(), Number(*value))).collect(),
            }),
            Err(fault) => v1::ProposalOutcome::Fault(fault.clone()),
        };
        Self {
            policy: record.policy.clone(),
            digest: Digest(record.digest),
            shadow: record.shadow,
            outcome,
            elapsed: record.elapsed.into(),
            fuel: record.fuel,
        }
    }
}

impl From<v1::ProposalRecord> for ProposalRecord {
    fn from(stored: v1::ProposalRecord) -> Self {
        let outcome = match stored.outcome {
            v1::ProposalOutcome::Proposal(proposal) => Ok(ProposalSummary {
                desired: proposal.desired,
                confidence: proposal.confidence.0,
                reason: proposal.reason,
                signals: proposal.signals.into_iter().map(|(name, value)| (name, value.0)).collect(),
            }),
            v1::ProposalOutcome::Fault(fault) => Err(fault),
        };
        Self {
            policy: stored.policy,
            digest: stored.digest.0,
            shadow: stored.shadow,
            outcome,
            elapsed: stored.elapsed.into(),
            fuel: stored.fuel,
        }
    }
}

impl From<&GuardReport> for v1::GuardReport {
    fn from(report: &GuardReport) -> Self {
        let outcome = match report.outcome {
            GuardOutcome::Passed => v1::GuardOutcome::Passed,
            GuardOutcome::Clamped { from, to } => v1::GuardOutcome::Clamped { from, to },
            GuardOutcome::Held => v1::GuardOutcome::Held,
        };
        Self { guard: report.guard.to_owned(), outcome, reason: report.reason.clone() }
    }
}

impl From<v1::GuardReport> for GuardReport {
    fn from(stored: v1::GuardReport) -> Self {
        let outcome = match stored.outcome {
            v1::GuardOutcome::Passed => GuardOutcome::Passed,
            v1::GuardOutcome::Clamped { from, to } => GuardOutcome::Clamped { from, to },
            v1::GuardOutcome::Held => GuardOutcome::Held,
        };
        let name = guard::NAMES.into_iter().find(|name| *name == stored.guard).unwrap_or(RETIRED_GUARD);
        Self { guard: name, outcome, reason: stored.reason }
    }
}

impl From<Verdict> for v1::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Approve { target } => Self::Approve { target },
            Verdict::Clamp { asked, target } => Self::Clamp { asked, target },
            Verdict::Hold => Self::Hold,
        }
    }
}

impl From<v1::Verdict> for Verdict {
    fn from(verdict: v1::Verdict) -> Self {
        match verdict {
            v1::Verdict::Approve { target } => Self::Approve { target },
            v1::Verdict::Clamp { asked, target } => Self::Clamp { asked, target },
            v1::Verdict::Hold => Self::Hold,
        }
    }
}

impl Record for Decision {
    const ROW: &'static str = "decision";
    type Stored = v1::Decision;

    fn to_stored(&self) -> v1::Decision {
        v1::Decision {
            id: Text(self.id),
            organization: Text(self.organization),
            deployment: Text(self.deployment),
            at: self.at.as_millis(),
            from_replicas: self.from_replicas,
            to_replicas: self.to_replicas,
            verdict: self.verdict.into(),
            reason: self.reason.clone(),
            proposals: self.proposals.iter().map(Into::into).collect(),
            guards: self.guards.iter().map(Into::into).collect(),
            input: self.input.clone(),
            reaction: self.reaction.map(Into::into),
            repeats: self.repeats,
        }
    }

    fn from_stored(stored: v1::Decision) -> Result<Self, RecordError> {
        Ok(Self {
            id: stored.id.0,
            organization: stored.organization.0,
            deployment: stored.deployment.0,
            at: UnixMillis::from_millis(stored.at),
            from_replicas: stored.from_replicas,
            to_replicas: stored.to_replicas,
            verdict: stored.verdict.into(),
            reason: stored.reason,
            proposals: stored.proposals.into_iter().map(Into::into).collect(),
            guards: stored.guards.into_iter().map(Into::into).collect(),
            input: stored.input,
            reaction: stored.reaction.map(Duration::from),
            repeats: stored.repeats,
        })
    }
}
