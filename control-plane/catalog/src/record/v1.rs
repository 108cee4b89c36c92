//! Version 1 of every row. Never edited once shipped, except by fields that have a default.

use serde::{Deserialize, Serialize};

use outrigger_protocol::id::{
    AgentId, AuditId, ChangeId, DecisionId, DeploymentId, EnvironmentId, EventId, InstanceId, IntentId, JoinTokenId,
    KeyId, OrganizationId, PolicyId, ProjectId, TokenId, UserId,
};
use outrigger_secrets::Fingerprint;

use super::scalar::{Base64, Digest, Nanos, Number, Text};

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$attribute])* pub(crate) $field: $type,)*
        }
    )+};
}

macro_rules! names {
    ($($name:ident { $($variant:ident),* $(,)? })+) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name { $($variant),* }
    )+};
}

pub(crate) mod rollout;

names! {
    Role { Viewer, Developer, Admin, Owner }
    Stage { Development, Staging, Production }
    VariableKind { String, Number, Boolean, Json, Url, Secret }
    DeploymentStatus { Pending, Provisioning, Building, Running, Stopping, Stopped, Failed, Destroyed }
    PolicyMode { Active, Shadow, Disabled }
    Combine { Max, Min, Weighted }
    InstancePhase { Creating, Running, Destroying, Gone }
    IntentKind { Create, Destroy }
    TemplateOrigin { Override, Default, Generated }
    ProbeKind { Startup, Liveness, Readiness }
    ProbeLevel { Service, Application, Infrastructure, Dependency }
    Risk { Low, Medium, High }
    ChangeKind { Variables, Import, Replacement, Rollback, Environment }
    AuditAction { Create, Update, Delete, Reveal, Reload, Scale, Login, Enroll, Failure, Export, Import, Rollback, Rotate, Approve, Reject, Override, Rollout }
}

rows! {
    Empty {}
    KeyCheck {
        check: Base64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<NextKeyCheck>,
    }
    NextKeyCheck { check: Base64, name: String, }
    Rotation {
        id: Text<KeyId>,
        started_at: u64,
        total: Option<u64>,
        done: u64,
        unreadable: u64,
        cursor: Option<Base64>,
        finished_at: Option<u64>,
    }
    Operator { organization: Text<OrganizationId>, user: Text<UserId>, token_hash: Digest, }
    Home { organization: Text<OrganizationId>, }
    Address { organization: Text<OrganizationId>, user: Text<UserId>, }
    Organization { name: String, created_at: u64, }
    User {
        id: Text<UserId>,
        organization: Text<OrganizationId>,
        email: String,
        name: String,
        role: Role,
        created_at: u64,
        password: Option<String>,
    }
    Token {
        id: Text<TokenId>,
        user: Option<Text<UserId>>,
        hash: Digest,
        created_at: u64,
        expires_at: Option<u64>,
    }
    Project {
        id: Text<ProjectId>,
        organization: Text<OrganizationId>,
        name: String,
        description: String,
        data_key: Text<KeyId>,
        created_at: u64,
        updated_at: u64,
    }
    /// Kept as the result of an idempotent call.
    ProjectResult {
        id: Text<ProjectId>,
        organization: Text<OrganizationId>,
        name: String,
        description: String,
        created_at: u64,
        updated_at: u64,
    }
    Uses { encryptions: u64, }
    DataKey { id: Text<KeyId>, wrapped: Base64, created_at: u64, }
    Environment {
        id: Text<EnvironmentId>,
        project: Text<ProjectId>,
        stage: Stage,
        name: String,
        description: String,
        is_active: bool,
        #[serde(default)]
        extends: Option<Text<EnvironmentId>>,
        generation: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<Risk>,
        created_at: u64,
        updated_at: u64,
    }
    Generation {
        environment: Text<EnvironmentId>,
        number: u64,
        author: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approver: Option<String>,
        message: String,
        created_at: u64,
        content_hash: Digest,
        /// Every variable with the generation that its version was written in.
        variables: Vec<(String, u64)>,
        #[serde(default)]
        extends: Option<Text<EnvironmentId>>,
        /// Every other environment that it was put together from, with its generation.
        #[serde(default)]
        inputs: Vec<(Text<EnvironmentId>, u64)>,
        /// What the names of environments in references stood for.
        #[serde(default)]
        names: Vec<(String, Text<EnvironmentId>)>,
        /// The generation whose whole content it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restores: Option<u64>,
    }
    /// Kept as the result of an idempotent call.
    Imported { generation: Generation, changed: bool, }
    Variable {
        generation: u64,
        changed_in: u64,
        content: Content,
        is_secret: bool,
        is_required: bool,
        kind: VariableKind,
        description: String,
        /// Absent in rows from before there were references: what they hold was meant literally.
        #[serde(default)]
        expand: bool,
    }
    RiskReason { risk: Risk, text: String, }
    ChangeDecision { outcome: ChangeOutcome, by: String, at: u64, reason: String, }
    ChangeRequest {
        id: Text<ChangeId>,
        project: Text<ProjectId>,
        environment: Text<EnvironmentId>,
        kind: ChangeKind,
        author: String,
        message: String,
        base: u64,
        risk: Risk,
        reasons: Vec<RiskReason>,
        approver: Role,
        created_at: u64,
        expires_at: u64,
        decision: Option<ChangeDecision>,
    }
    /// A variable that a change request would change: the generation of the version that it would replace, and whether
    /// there is to be another one.
    TouchedVariable { name: String, base: Option<u64>, stays: bool, }
    /// What a change request would make of the environment itself.
    EnvironmentStep { from: Environment, to: Environment, }
    Change { request: ChangeRequest, touched: Vec<TouchedVariable>, environment: Option<EnvironmentStep>, }
    /// Kept as the result of an idempotent call.
    Held { awaits_approval: Text<ChangeId>, }
    SealedValue { key: Text<KeyId>, generation: u64, ciphertext: Base64, }
    Resources { cpu_cores: Option<f64>, memory_bytes: Option<u64>, }
    PolicyBinding { name: String, policy: Text<PolicyId>, config: String, mode: PolicyMode, }
    Guards {
        freshness: Nanos,
        cooldown_up: Nanos,
        cooldown_down: Nanos,
        max_step_up: Option<u32>,
        max_step_down: Option<u32>,
    }
    HttpTarget { host: String, port: Port, path: String, headers: Vec<(String, String)>, expected: (u16, u16), }
    TcpTarget { host: String, port: Port, }
    Probe {
        name: String,
        kind: ProbeKind,
        level: ProbeLevel,
        target: ProbeTarget,
        initial_delay: Nanos,
        period: Nanos,
        timeout: Nanos,
        success_threshold: u32,
        failure_threshold: u32,
    }
    Scrape { port: Option<u16>, path: String, interval: Option<Nanos>, }
    Observation { scrape: Option<Scrape>, statsd: bool, metrics: Vec<String>, }
    DeploymentSpec {
        name: String,
        project: Text<ProjectId>,
        environment: Text<EnvironmentId>,
        driver: String,
        command: Vec<String>,
        resources: Resources,
        min_replicas: u32,
        max_replicas: u32,
        initial_replicas: u32,
        apply: Apply,
        #[serde(default)]
        start_only: Vec<String>,
        #[serde(default)]
        bake_time: Option<Nanos>,
        /// Absent in rows from before there were several strategies.
        #[serde(default)]
        rollout: Option<rollout::RolloutSettings>,
        #[serde(default)]
        probes: Vec<Probe>,
        allowed_names: Vec<String>,
        http: bool,
        /// Absent in rows from before programs were observed, and where nothing is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        observe: Option<Observation>,
        sample_interval: Nanos,
        guards: Guards,
        combine: Combine,
        policies: Vec<PolicyBinding>,
    }
    Deployment {
        id: Text<DeploymentId>,
        organization: Text<OrganizationId>,
        spec: DeploymentSpec,
        status: DeploymentStatus,
        status_reason: Option<String>,
        desired_replicas: u32,
        paused: bool,
        last_scale_up: Option<u64>,
        last_scale_down: Option<u64>,
        created_at: u64,
        updated_at: u64,
    }
    Proposal { desired: u32, confidence: Number, reason: String, signals: Vec<(String, Number)>, }
    ProposalRecord {
        policy: String,
        digest: Digest,
        shadow: bool,
        outcome: ProposalOutcome,
        elapsed: Nanos,
        fuel: u64,
    }
    GuardReport { guard: String, outcome: GuardOutcome, reason: String, }
    Decision {
        id: Text<DecisionId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        at: u64,
        from_replicas: u32,
        to_replicas: u32,
        verdict: Verdict,
        reason: String,
        proposals: Vec<ProposalRecord>,
        guards: Vec<GuardReport>,
        input: String,
        reaction: Option<Nanos>,
        repeats: u64,
    }
    Event {
        id: Text<EventId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        at: u64,
        kind: EventKind,
        message: String,
        decision: Option<Text<DecisionId>>,
    }
    Instance {
        id: Text<InstanceId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        phase: InstancePhase,
        endpoint: Option<String>,
        agent: Option<Text<AgentId>>,
        #[serde(default)]
        outside: bool,
        created_at: u64,
        updated_at: u64,
    }
    InstanceHome { deployment: Text<DeploymentId>, }
    Agent {
        id: Text<AgentId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        instance: Text<InstanceId>,
        key_fingerprint: Digest,
        revoked: bool,
        enrolled_at: u64,
    }
    JoinToken {
        id: Text<JoinTokenId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        instance: Option<Text<InstanceId>>,
        created_at: u64,
        expires_at: u64,
        used_by: Option<Text<AgentId>>,
        secret_hash: Digest,
    }
    /// Only ever written sealed, as the result of an idempotent call.
    IssuedJoinToken { token: JoinToken, secret: Digest, }
    Intent {
        id: Text<IntentId>,
        organization: Text<OrganizationId>,
        deployment: Text<DeploymentId>,
        instance: Text<InstanceId>,
        kind: IntentKind,
        attempts: u32,
        created_at: u64,
    }
    Recorded { deployment: Deployment, intents: Vec<Intent>, }
    Policy {
        id: Text<PolicyId>,
        organization: Option<Text<OrganizationId>>,
        name: String,
        version: String,
        digest: Digest,
        size_bytes: u64,
        config_schema: String,
        created_at: u64,
    }
    PolicyRef { policy: Text<PolicyId>, }
    /// An organisation's own template without its variables.
    Template {
        id: String,
        name: String,
        category: String,
        version: String,
        description: String,
        variables: usize,
        edition: TemplateEdition,
    }
    TemplateEdition { revision: u64, author: String, created_at: u64, updated_at: u64, }
    TemplateDocument { yaml: String, }
    TemplateUses { applications: u64, }
    /// Kept as the result of an idempotent call.
    AppliedTemplate {
        environment: Environment,
        new: bool,
        generation: Generation,
        changed: bool,
        written: Vec<(String, TemplateOrigin)>,
        kept: Vec<String>,
        unset: Vec<String>,
    }
    Origin {
        address: Option<std::net::IpAddr>,
        user_agent: Option<String>,
        request_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Text<TokenId>>,
    }
    AuditEntry {
        id: Text<AuditId>,
        at: u64,
        actor: String,
        origin: Origin,
        action: AuditAction,
        target: String,
        detail: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<Text<ProjectId>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Text<Fingerprint>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Text<Fingerprint>>,
    }
    /// Where an organisation's audit log ends.
    AuditHead { start: u64, next: u64, digest: Digest, signature: Digest, }
    KeptResult { operation: String, sealed: Base64, }
    Idempotency { request_digest: Digest, at: u64, results: Vec<KeptResult>, }
}

/// A variable's value, or that it has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Content {
    Unset,
    /// What is inherited under the name is not to be there.
    Removed,
    /// As base64, so that no content needs more room than another.
    Plain(Base64),
    Sealed(SealedValue),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum ChangeOutcome {
    Approved { generation: u64 },
    Overridden { generation: u64 },
    Rejected,
    Withdrawn,
}

/// What came of something that may have to be approved. Results of before that was so are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome<T> {
    Held(Held),
    Done(T),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Port {
    Number(u16),
    Variable(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum ProbeTarget {
    Http(HttpTarget),
    Tcp(TcpTarget),
    Command(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Apply {
    Restart { jitter: Nanos },
    Signal { signal: i32 },
    File,
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum ProposalOutcome {
    Proposal(Proposal),
    Fault(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum GuardOutcome {
    Passed,
    Clamped { from: u32, to: u32 },
    Held,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Verdict {
    Approve { target: u32 },
    Clamp { asked: u32, target: u32 },
    Hold,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum EventKind {
    StatusChanged { from: String, to: String },
    ScaledUp { from: u32, to: u32 },
    ScaledDown { from: u32, to: u32 },
    InstanceCreated { instance: Text<InstanceId> },
    InstanceDestroyed { instance: Text<InstanceId> },
    InstanceLost { instance: Text<InstanceId> },
    DriverFailed { instance: Text<InstanceId>, operation: String },
    ConfigPushed { generation: u64 },
    ConfigRunning { generation: u64, instances: u32 },
    ConfigFailed { generation: u64, instance: Text<InstanceId> },
    PolicyFaulted { policy: String },
    TokenMisused,
    ConfigRolledBack { generation: u64, restored: u64 },
}
