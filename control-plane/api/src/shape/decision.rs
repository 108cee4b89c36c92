use std::collections::BTreeMap;

use jiff::Timestamp;
use outrigger_catalog::model;
use outrigger_scaling::{GuardOutcome, GuardReport, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::text::{write_hex, write_time};

/// One evaluation of a deployment's policies, and what came of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Decision {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    from: u32,
    to: u32,
    /// approve, clamp or hold
    verdict: &'static str,
    /// What the policies together asked for, where a guard made it less.
    asked: Option<u32>,
    reason: String,
    proposals: Vec<Proposal>,
    guards: Vec<Guard>,
    /// Milliseconds from the newest sample it used to the decision.
    reaction_ms: Option<u64>,
    /// How many later decisions said the same and were not stored again.
    repeats: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Proposal {
    policy: String,
    /// SHA-256 of the component, hexadecimal.
    digest: String,
    /// active or shadow
    mode: &'static str,
    desired: Option<u32>,
    confidence: Option<f64>,
    reason: Option<String>,
    signals: BTreeMap<String, f64>,
    /// Why there is no proposal.
    fault: Option<String>,
    elapsed_us: u64,
    fuel: u64,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Guard {
    guard: &'static str,
    /// passed, clamped or held
    outcome: &'static str,
    reason: String,
}

impl From<model::Decision> for Decision {
    fn from(decision: model::Decision) -> Self {
        let (verdict, asked) = match decision.verdict {
            Verdict::Approve { .. } => ("approve", None),
            Verdict::Clamp { asked, .. } => ("clamp", Some(asked)),
            Verdict::Hold => ("hold", None),
        };
        Self {
            id: decision.id.to_string(),
            at: write_time(decision.at),
            from: decision.from_replicas,
            to: decision.to_replicas,
            verdict,
            asked,
            reason: decision.reason,
            proposals: decision.proposals.into_iter().map(Proposal::from).collect(),
            guards: decision.guards.into_iter().map(Guard::from).collect(),
            reaction_ms: decision.reaction.map(|reaction| u64::try_from(reaction.as_millis()).unwrap_or(u64::MAX)),
            repeats: decision.repeats,
        }
    }
}

impl From<model::ProposalRecord> for Proposal {
    fn from(record: model::ProposalRecord) -> Self {
        let (proposal, fault) = match record.outcome {
            Ok(proposal) => (Some(proposal), None),
            Err(fault) => (None, Some(fault)),
        };
        Self {
            policy: record.policy,
            digest: write_hex(&record.digest),
            mode: if record.shadow { "shadow" } else { "active" },
            desired: proposal.as_ref().map(|p| p.desired),
            confidence: proposal.as_ref().map(|p| p.confidence),
            reason: proposal.as_ref().map(|p| p.reason.clone()),
            signals: proposal.map(|p| p.signals.into_iter().collect()).unwrap_or_default(),
            fault,
            elapsed_us: u64::try_from(record.elapsed.as_micros()).unwrap_or(u64::MAX),
            fuel: record.fuel,
        }
    }
}

impl From<GuardReport> for Guard {
    fn from(report: GuardReport) -> Self {
        let outcome = match report.outcome {
            GuardOutcome::Passed => "passed",
            GuardOutcome::Clamped { .. } => "clamped",
            GuardOutcome::Held => "held",
        };
        Self { guard: report.guard, outcome, reason: report.reason }
    }
}

/// Something that happened to a deployment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// scaled_up, scaled_down, instance_created, config_running, …
    kind: &'static str,
    message: String,
    decision_id: Option<String>,
}

impl From<model::Event> for Event {
    fn from(event: model::Event) -> Self {
        use model::EventKind as K;
        Self {
            id: event.id.to_string(),
            at: write_time(event.at),
            kind: match event.kind {
                K::StatusChanged { .. } => "status_changed",
                K::ScaledUp { .. } => "scaled_up",
                K::ScaledDown { .. } => "scaled_down",
                K::InstanceCreated { .. } => "instance_created",
                K::InstanceDestroyed { .. } => "instance_destroyed",
                K::InstanceLost { .. } => "instance_lost",
                K::DriverFailed { .. } => "driver_failed",
                K::ConfigPushed { .. } => "config_pushed",
                K::ConfigRunning { .. } => "config_running",
                K::ConfigFailed { .. } => "config_failed",
                K::ConfigRolledBack { .. } => "config_rolled_back",
                K::PolicyFaulted { .. } => "policy_faulted",
                K::TokenMisused => "token_misused",
            },
            message: event.message,
            decision_id: event.decision.map(|id| id.to_string()),
        }
    }
}
