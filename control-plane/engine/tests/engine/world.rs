//! A whole control plane but for HTTP: a real store on disk, real QUIC on loopback, the real policy host.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::model::{
    Actor, Decision, Deployment, DeploymentSpec, DeploymentStatus, Event, Instance, Observation, PolicyBinding,
    PolicyMode, Resources, Rollout, RolloutState, Stage, VariableChange,
};
use outrigger_catalog::{Catalog, JOIN_TOKEN_TTL, NewEnvironment, NewProject, Page};
use outrigger_drivers::{Driver, DryRunDriver};
use outrigger_engine::{Engine, EngineConfig, StartError};
use outrigger_ingest::test_support::{Fleet, TestAgent};
use outrigger_ingest::{Ingest, IngestConfig};
use outrigger_policy_host::{CacheConfig, CacheKey, HostConfig, PolicyHost};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::{DeploymentId, EnvironmentId, OrganizationId, PolicyId};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig};
use outrigger_secrets::MasterKey;
use outrigger_store::{Options, RedbStore, SharedStore, Store};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::fickle::Fickle;
use crate::fleet::{DefectiveDriver, FleetDriver};

/// What is left when a control plane dies: the disk, the key, and what its driver made.
pub(crate) struct Remains {
    directory: TempDir,
    master: MasterKey,
    pub(crate) fleet: Arc<FleetDriver>,
    pub(crate) actor: Actor,
}

pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) engine: Engine,
    ingest: Ingest,
    pub(crate) store: Arc<Fickle>,
    pub(crate) fleet: Arc<FleetDriver>,
    pub(crate) dry: Arc<DryRunDriver>,
    pub(crate) actor: Actor,
    remains: Remains,
}

impl Remains {
    async fn open(&self) -> (Arc<Fickle>, Catalog) {
        let path = self.directory.path().join("test.redb");
        let store = Arc::new(Fickle::new(RedbStore::open(path, Options::default()).expect("a store")));
        let shared: SharedStore = Arc::clone(&store) as _;
        let catalog = Catalog::open(shared, self.master.clone(), Arc::new(UnixMillis::now)).await;
        (store, catalog.expect("a catalog"))
    }

    /// Something is written down, and nobody is there to do it.
    pub(crate) async fn with_catalog(&self, write: impl AsyncFnOnce(&Catalog, &Actor)) {
        let (store, catalog) = self.open().await;
        write(&catalog, &self.actor).await;
        store.close().await.expect("the store closes");
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let organization = OrganizationId::generate();
        let remains = Remains {
            directory: TempDir::new().expect("a temporary directory"),
            master: MasterKey::generate(),
            fleet: Arc::default(),
            actor: Actor::system(organization),
        };
        Self::over(remains).await
    }

    /// A control plane on what another one left.
    pub(crate) async fn over(remains: Remains) -> Self {
        let (store, catalog) = remains.open().await;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ingest =
            Ingest::start(IngestConfig::new(listen, vec!["outrigger".to_owned()]), catalog.clone(), Vec::new()).await;
        let ingest = ingest.expect("ingest starts");
        let (fleet, dry) = (Arc::clone(&remains.fleet), Arc::new(DryRunDriver::new()));
        let drivers: Vec<Arc<dyn Driver>> =
            vec![Arc::clone(&fleet) as _, Arc::clone(&dry) as _, Arc::new(DefectiveDriver)];
        let engine = engine(&catalog, &ingest, drivers).await.expect("the engine starts");
        let actor = remains.actor.clone();
        Self { catalog, engine, ingest, store, fleet, dry, actor, remains }
    }

    /// Everything ends as it does when the process is killed, as far as that can be had in a test: nothing is waited
    /// for that would put things in order.
    pub(crate) async fn die(self) -> Remains {
        self.engine.drain(Duration::ZERO).await;
        self.ingest.drain(Duration::ZERO).await;
        self.store.close().await.expect("the store closes");
        self.remains
    }

    /// An environment with a plain variable and a secret one.
    pub(crate) async fn environment(&self) -> EnvironmentId {
        let new = NewProject { name: "shop".to_owned(), description: String::new() };
        let project = self.catalog.create_project(&self.actor, new).await.expect("a project").id;
        let new = NewEnvironment {
            project,
            stage: Stage::Production,
            name: "main".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        let environment = self.catalog.create_environment(&self.actor, new).await.expect("an environment");
        self.set(environment.id, "GREETING", Some("hello"), false).await;
        self.set(environment.id, "API_KEY", Some("canary"), true).await;
        environment.id
    }

    pub(crate) async fn set(&self, environment: EnvironmentId, key: &str, value: Option<&str>, is_secret: bool) -> u64 {
        let change = VariableChange::Put {
            key: key.to_owned(),
            value: value.map(Into::into),
            is_secret,
            is_required: true,
            kind: VariableKind::String,
            description: String::new(),
            expand: false,
        };
        let changed = self.catalog.change_variables(&self.actor, environment, vec![change], None, String::new()).await;
        changed.expect("a valid change").number
    }

    pub(crate) async fn deployment(&self, adjust: impl FnOnce(&mut DeploymentSpec)) -> Deployment {
        let environment = self.environment().await;
        self.deployment_in(environment, adjust).await
    }

    pub(crate) async fn deployment_in(
        &self,
        environment: EnvironmentId,
        adjust: impl FnOnce(&mut DeploymentSpec),
    ) -> Deployment {
        let project = self.catalog.environment(&self.actor, environment).await.expect("it is there").project;
        let mut spec = DeploymentSpec {
            name: "web".to_owned(),
            project,
            environment,
            driver: FleetDriver::NAME.to_owned(),
            command: vec!["serve".to_owned()],
            resources: Resources::default(),
            min_replicas: 1,
            max_replicas: 4,
            initial_replicas: 1,
            apply: ApplyStrategy::None,
            start_only: Vec::new(),
            bake_time: None,
            probes: Vec::new(),
            rollout: Settings::new(Strategy::AllAtOnce),
            allowed_names: Vec::new(),
            http: true,
            observe: Observation::default(),
            sample_interval: Duration::from_secs(1),
            guards: GuardConfig {
                cooldown_up: Duration::ZERO,
                cooldown_down: Duration::ZERO,
                ..GuardConfig::default()
            },
            combine: Combine::Max,
            policies: Vec::new(),
        };
        adjust(&mut spec);
        self.catalog.create_deployment(&self.actor, spec).await.expect("a deployment")
    }

    /// A deployment that was started and runs.
    pub(crate) async fn running(&self, adjust: impl FnOnce(&mut DeploymentSpec)) -> DeploymentId {
        let id = self.deployment(adjust).await.id;
        self.engine.start_deployment(&self.actor, id).await.expect("it can be started");
        self.reaches(id, DeploymentStatus::Running).await;
        id
    }

    pub(crate) async fn read(&self, id: DeploymentId) -> Deployment {
        self.catalog.deployment(&self.actor, id).await.expect("it is there")
    }

    pub(crate) async fn reaches(&self, id: DeploymentId, status: DeploymentStatus) {
        eventually(status.name(), async || self.read(id).await.status == status).await;
    }

    pub(crate) async fn instances(&self, id: DeploymentId) -> Vec<Instance> {
        self.catalog.instances(&self.actor, id, false).await.expect("it is there")
    }

    /// Oldest first.
    pub(crate) async fn events(&self, id: DeploymentId) -> Vec<Event> {
        let page = Page { limit: Some(200), cursor: None };
        let mut events = self.catalog.events(&self.actor, id, page).await.expect("it is there").items;
        events.reverse();
        events
    }

    /// Newest first.
    pub(crate) async fn decisions(&self, id: DeploymentId) -> Vec<Decision> {
        let page = Page { limit: Some(200), cursor: None };
        self.catalog.decisions(&self.actor, id, page).await.expect("it is there").items
    }

    /// An agent that has joined a deployment from outside and is not connected yet.
    pub(crate) async fn join(&self, deployment: DeploymentId) -> (Fleet, TestAgent) {
        let (token, secret) =
            self.catalog.create_join_token(&self.actor, deployment, None, JOIN_TOKEN_TTL).await.expect("a token");
        let token = self.ingest.join_token_text(token.id, &secret);
        let fleet = Fleet::new(self.ingest.local_addr(), "outrigger", 1).expect("a socket");
        let agent = fleet.enroll(&token).await.expect("the token is good");
        (fleet, agent)
    }

    /// The network of an agent that has joined before, after the control plane has another address.
    pub(crate) fn network(&self) -> Fleet {
        Fleet::new(self.ingest.local_addr(), "outrigger", 1).expect("a socket")
    }

    /// The newest rollout of a deployment.
    pub(crate) async fn rollout(&self, id: DeploymentId) -> Rollout {
        let read = async || self.engine.status(&self.actor, id).await.expect("it is there").rollout;
        eventually("a rollout", async || read().await.is_some()).await;
        read().await.expect("it is started").rollout
    }

    pub(crate) async fn rolls(&self, id: DeploymentId, generation: u64, state: RolloutState) -> Rollout {
        let what = format!("generation {generation} to be {}", state.name());
        eventually(&what, async || {
            let view = self.engine.status(&self.actor, id).await.expect("it is there").rollout;
            view.is_some_and(|view| view.rollout.generation == generation && view.rollout.state == state)
        })
        .await;
        self.rollout(id).await
    }

    /// The id of a built-in policy.
    pub(crate) async fn builtin(&self, name: &str) -> PolicyId {
        let policies = self.catalog.policies(&self.actor).await.expect("a list");
        policies.iter().find(|policy| policy.name == name).expect("it is built in").id
    }

    /// Up at 60 requests per second and instance, down at 20.
    pub(crate) async fn threshold(&self, mode: PolicyMode) -> PolicyBinding {
        let rule = r#"{"metric":"requests","above":60,"below":20,"downFor":"1s","stepUp":2}"#;
        PolicyBinding {
            name: "load".to_owned(),
            policy: self.builtin("threshold").await,
            config: format!(r#"{{"rules":[{rule}]}}"#),
            mode,
        }
    }

    pub(crate) async fn hostile(&self, misbehave: &str) -> PolicyBinding {
        let component = bytes::Bytes::from_static(outrigger_builtin_policies::test_support::HOSTILE);
        let policy = self.engine.upload_policy(&self.actor, component).await.expect("it is a policy").id;
        let config = format!(r#"{{"misbehave":"{misbehave}"}}"#);
        PolicyBinding { name: "hostile".to_owned(), policy, config, mode: PolicyMode::Active }
    }
}

async fn engine(catalog: &Catalog, ingest: &Ingest, drivers: Vec<Arc<dyn Driver>>) -> Result<Engine, StartError> {
    let cache = CacheConfig {
        directory: Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy-cache"),
        key: CacheKey::new(&[7; 32]),
        max_bytes: 64 * 1024 * 1024,
    };
    let host = HostConfig { cache: Some(cache), ..HostConfig::in_process() };
    let host = Arc::new(PolicyHost::new(host).expect("a policy host"));
    let mut config = EngineConfig::new(ingest.local_addr(), "outrigger".to_owned());
    config.scaler.min_interval = Duration::from_millis(50);
    config.scaler.tick = Duration::from_millis(200);
    config.executor.backoff = Duration::from_millis(10);
    config.executor.max_backoff = Duration::from_millis(50);
    config.reconciler.interval = Duration::from_millis(200);
    config.reconciler.min_interval = Duration::from_millis(20);
    config.reconciler.lost_after = Duration::from_millis(500);
    config.reconciler.backoff = Duration::from_millis(50);
    config.reconciler.max_backoff = Duration::from_millis(400);
    Engine::start(config, catalog.clone(), ingest.clone(), host, drivers).await
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so().await {
            assert!(Instant::now() < deadline, "{caller}: waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
