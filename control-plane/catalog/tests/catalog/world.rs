//! A catalog on a disk in memory, with a clock that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outrigger_catalog::model::{
    Actor, Decision, Deployment, DeploymentSpec, Environment, Event, EventKind, Idempotency, Instance, InstancePhase,
    Observation, Origin, PolicyInfo, Project, Resources, Role, Stage, Subject, VariableChange,
};
use outrigger_catalog::{Catalog, Clock, MasterKeys, NewEnvironment, NewPolicy, NewProject, OpenError, ScalingRecord};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{DecisionId, DeploymentId, EventId, InstanceId, OrganizationId, UserId};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig, Verdict};
use outrigger_secrets::{MasterKey, SecretString};
use outrigger_store::faults::Disk;
use outrigger_store::{Options, RedbStore, SharedStore};

pub(crate) const START: UnixMillis = UnixMillis::from_millis(1_800_000_000_000);

pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) store: SharedStore,
    pub(crate) disk: Disk,
    pub(crate) master: MasterKey,
    pub(crate) clock: Arc<AtomicU64>,
}

/// A clock and the hand that moves it.
pub(crate) fn clock() -> (Clock, Arc<AtomicU64>) {
    let hand = Arc::new(AtomicU64::new(START.as_millis()));
    let read = Arc::clone(&hand);
    (Arc::new(move || UnixMillis::from_millis(read.load(Ordering::Relaxed))), hand)
}

pub(crate) fn store_on(disk: &Disk) -> SharedStore {
    Arc::new(RedbStore::with_backend(disk.backend(), Options::default()).expect("a store on an intact disk"))
}

impl World {
    pub(crate) async fn new() -> Self {
        let disk = Disk::new();
        let (store, master) = (store_on(&disk), MasterKey::generate());
        let (clock, hand) = clock();
        let catalog = Catalog::open(Arc::clone(&store), master.clone(), clock).await.expect("an empty store");
        Self { catalog, store, disk, master, clock: hand }
    }

    /// The same disk, opened again with master keys.
    pub(crate) async fn reopen(self, keys: impl Into<MasterKeys>) -> Result<Self, OpenError> {
        self.store.close().await.expect("closing an intact store");
        let keys = keys.into();
        let (store, master) = (store_on(&self.disk), keys.current.clone());
        let (clock, hand) = clock();
        let catalog = Catalog::open(Arc::clone(&store), keys, clock).await?;
        Ok(Self { catalog, store, disk: self.disk, master, clock: hand })
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis::from_millis(self.clock.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.fetch_add(u64::try_from(time.as_millis()).expect("a short time"), Ordering::Relaxed);
    }

    pub(crate) async fn project(&self, actor: &Actor) -> Project {
        let new = NewProject { name: "shop".to_owned(), description: String::new() };
        self.catalog.create_project(actor, new).await.expect("a new project")
    }

    pub(crate) async fn environment(&self, actor: &Actor, project: &Project) -> Environment {
        let new = environment_of(project, "main");
        self.catalog.create_environment(actor, new).await.expect("a new environment")
    }

    pub(crate) async fn change(&self, actor: &Actor, environment: &Environment, changes: Vec<VariableChange>) -> u64 {
        let changed = self.catalog.change_variables(actor, environment.id, changes, None, String::new()).await;
        changed.expect("a valid change").number
    }

    /// A deployment with everything above it.
    pub(crate) async fn deployment(&self, actor: &Actor) -> Deployment {
        let project = self.project(actor).await;
        let environment = self.environment(actor, &project).await;
        let spec = spec(&project, &environment);
        self.catalog.create_deployment(actor, spec).await.expect("a new deployment")
    }

    pub(crate) async fn policy(&self, actor: &Actor, component: &'static [u8]) -> PolicyInfo {
        let new =
            NewPolicy { name: "headroom".to_owned(), version: "1.0.0".to_owned(), config_schema: "{}".to_owned() };
        self.catalog.put_policy(actor, Bytes::from_static(component), new).await.expect("a new policy")
    }

    pub(crate) fn decision(&self, deployment: &Deployment, from: u32, to: u32) -> Decision {
        Decision {
            id: DecisionId::generate(),
            organization: deployment.organization,
            deployment: deployment.id,
            at: self.now(),
            from_replicas: from,
            to_replicas: to,
            verdict: if from == to { Verdict::Hold } else { Verdict::Approve { target: to } },
            reason: format!("from {from} to {to}"),
            proposals: Vec::new(),
            guards: Vec::new(),
            input: "{}".to_owned(),
            reaction: None,
            repeats: 0,
        }
    }

    pub(crate) fn new_instance(&self, deployment: &Deployment) -> Instance {
        Instance {
            id: InstanceId::generate(),
            organization: deployment.organization,
            deployment: deployment.id,
            phase: InstancePhase::Creating,
            endpoint: None,
            agent: None,
            outside: false,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    /// A record that brings a deployment from `from` to `to` replicas by creating instances.
    pub(crate) fn scale_up(&self, deployment: &Deployment, from: u32, to: u32) -> ScalingRecord {
        ScalingRecord {
            decision: self.decision(deployment, from, to),
            creates: (from..to).map(|_| self.new_instance(deployment)).collect(),
            destroys: Vec::new(),
            events: vec![self.event(deployment, EventKind::ScaledUp { from, to })],
            expect_desired: from,
        }
    }

    pub(crate) fn event(&self, deployment: &Deployment, kind: EventKind) -> Event {
        Event {
            id: EventId::generate(),
            organization: deployment.organization,
            deployment: deployment.id,
            at: self.now(),
            kind,
            message: "something happened".to_owned(),
            decision: None,
        }
    }
}

/// Somebody of an organisation of their own.
pub(crate) fn owner() -> Actor {
    Actor {
        organization: OrganizationId::generate(),
        subject: Subject::User(UserId::generate()),
        role: Role::Owner,
        origin: Origin::default(),
        idempotency: None,
    }
}

pub(crate) fn with_role(actor: &Actor, role: Role) -> Actor {
    Actor { role, ..actor.clone() }
}

pub(crate) fn with_key(actor: &Actor, key: &str, request: u8) -> Actor {
    let idempotency = Idempotency { key: key.to_owned(), request_digest: [request; 32] };
    Actor { idempotency: Some(idempotency), ..actor.clone() }
}

pub(crate) fn environment_of(project: &Project, name: &str) -> NewEnvironment {
    NewEnvironment {
        project: project.id,
        stage: Stage::Production,
        name: name.to_owned(),
        description: String::new(),
        is_active: true,
        extends: None,
    }
}

pub(crate) fn spec(project: &Project, environment: &Environment) -> DeploymentSpec {
    DeploymentSpec {
        name: "web".to_owned(),
        project: project.id,
        environment: environment.id,
        driver: "dry-run".to_owned(),
        command: vec!["/bin/true".to_owned()],
        resources: Resources::default(),
        min_replicas: 1,
        max_replicas: 10,
        initial_replicas: 1,
        apply: ApplyStrategy::Restart { jitter: Duration::ZERO },
        start_only: Vec::new(),
        bake_time: None,
        rollout: Settings::new(Strategy::AllAtOnce),
        probes: Vec::new(),
        allowed_names: Vec::new(),
        http: false,
        observe: Observation::default(),
        sample_interval: Duration::from_secs(1),
        guards: GuardConfig::default(),
        combine: Combine::default(),
        policies: Vec::new(),
    }
}

pub(crate) fn plain(key: &str, value: &str) -> VariableChange {
    put(key, Some(value), VariableKind::String, false)
}

pub(crate) fn secret(key: &str, value: &str) -> VariableChange {
    put(key, Some(value), VariableKind::String, true)
}

pub(crate) fn put(key: &str, value: Option<&str>, kind: VariableKind, is_secret: bool) -> VariableChange {
    VariableChange::Put {
        key: key.to_owned(),
        value: value.map(SecretString::from),
        is_secret,
        is_required: false,
        kind,
        description: String::new(),
        expand: true,
    }
}

pub(crate) fn delete(key: &str) -> VariableChange {
    VariableChange::Delete { key: key.to_owned() }
}

pub(crate) fn foreign_deployment() -> DeploymentId {
    DeploymentId::generate()
}

/// Asserts that a result is the error that a pattern says.
macro_rules! assert_error {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}
pub(crate) use assert_error;
