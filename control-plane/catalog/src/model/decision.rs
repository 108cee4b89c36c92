use std::time::Duration;

use outrigger_protocol::id::{DecisionId, DeploymentId, OrganizationId};
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::{GuardReport, Verdict};

/// What one policy said, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposalRecord {
    /// The binding's name.
    pub policy: String,
    /// SHA-256 of the component that said it.
    pub digest: [u8; 32],
    pub shadow: bool,
    /// A proposal, or the fault in words.
    pub outcome: Result<ProposalSummary, String>,
    pub elapsed: Duration,
    pub fuel: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProposalSummary {
    pub desired: u32,
    pub confidence: f64,
    pub reason: String,
    pub signals: Vec<(String, f64)>,
}

/// One evaluation and what came of it. Holds that repeat the previous decision are counted in `repeats` instead
/// of being stored again.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub id: DecisionId,
    pub organization: OrganizationId,
    pub deployment: DeploymentId,
    pub at: UnixMillis,
    pub from_replicas: u32,
    pub to_replicas: u32,
    pub verdict: Verdict,
    /// One sentence a person can act on.
    pub reason: String,
    pub proposals: Vec<ProposalRecord>,
    pub guards: Vec<GuardReport>,
    /// The exact input of the policies, as JSON, so that the decision can be recomputed.
    pub input: String,
    /// From the newest sample it used to this decision.
    pub reaction: Option<Duration>,
    pub repeats: u64,
}
