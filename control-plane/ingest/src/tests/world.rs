//! A control plane with one deployment, and agents for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_catalog::model::{
    Actor, Deployment, DeploymentSpec, Observation, PolicyBinding, Resources, Stage, VariableChange,
};
use outrigger_catalog::{Catalog, NewEnvironment, NewProject};
use outrigger_protocol::environment::VariableKind;
use outrigger_protocol::id::EnvironmentId;
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::message::{ApplyStrategy, ConfigOffer, ConfigRef, ConfigStatus};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig};
use outrigger_secrets::MasterKey;
use outrigger_store::{Options, RedbStore};
use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::test_support::{Fleet, TestAgent, TestSession};
use crate::{Ingest, IngestConfig, IngestEvent, LiveInstance, Sink, Source};

/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SERVER_NAME: &str = "outrigger.test";

pub(super) struct World {
    pub(super) catalog: Catalog,
    pub(super) ingest: Ingest,
    pub(super) fleet: Fleet,
    pub(super) actor: Actor,
    /// The operator's.
    pub(super) token: String,
    pub(super) environment: EnvironmentId,
    pub(super) deployment: Deployment,
    pub(super) heard: Arc<Heard>,
    _directory: TempDir,
}

/// A sink that keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) samples: Mutex<Vec<(Source, Vec<Sample>)>>,
    pub(super) logs: Mutex<Vec<(Source, Vec<LogRecord>, u64)>>,
}

impl Sink for Heard {
    fn samples(&self, source: Source, _interval: Duration, samples: &[Sample], _received_at: UnixMillis) {
        self.samples.lock().unwrap().push((source, samples.to_vec()));
    }

    fn logs(&self, source: Source, records: &[LogRecord], dropped: u64, _received_at: UnixMillis) {
        self.logs.lock().unwrap().push((source, records.to_vec(), dropped));
    }
}

pub(super) fn config() -> IngestConfig {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    IngestConfig::new(listen, vec![SERVER_NAME.to_owned(), Ipv4Addr::LOCALHOST.to_string()])
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(super) async fn with(config: IngestConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(directory.path().join("test.redb"), Options::default()).unwrap();
        let clock = Arc::new(UnixMillis::now);
        let catalog = Catalog::open(Arc::new(store), MasterKey::generate(), clock).await.unwrap();
        let token = catalog.ensure_operator(None).await.unwrap().unwrap();
        let actor = catalog.authenticate(token.expose()).await.unwrap();
        let new = NewProject { name: "shop".to_owned(), description: String::new() };
        let project = catalog.create_project(&actor, new).await.unwrap();
        let new = NewEnvironment {
            project: project.id,
            stage: Stage::Production,
            name: "production".to_owned(),
            description: String::new(),
            is_active: true,
            extends: None,
        };
        let environment = catalog.create_environment(&actor, new).await.unwrap().id;
        let heard = Arc::<Heard>::default();
        let sinks: Vec<Arc<dyn Sink>> = vec![Arc::clone(&heard) as _];
        let ingest = Ingest::start(config, catalog.clone(), sinks).await.unwrap();
        let fleet = Fleet::new(ingest.local_addr(), SERVER_NAME, 2).unwrap();
        let deployment = catalog.create_deployment(&actor, spec(project.id, environment)).await.unwrap();
        let deployment = catalog.begin_deployment(&actor, deployment.id).await.unwrap();
        let token = token.expose().to_owned();
        let world =
            Self { catalog, ingest, fleet, actor, token, environment, deployment, heard, _directory: directory };
        world.set("GREETING", "hello").await;
        world
    }

    /// Sets a plain variable and returns the new generation.
    pub(super) async fn set(&self, key: &str, value: &str) -> u64 {
        let change = VariableChange::Put {
            key: key.to_owned(),
            value: Some(value.into()),
            is_secret: false,
            is_required: false,
            kind: VariableKind::String,
            description: String::new(),
            expand: false,
        };
        let changed =
            self.catalog.change_variables(&self.actor, self.environment, vec![change], None, String::new()).await;
        changed.unwrap().number
    }

    /// A second deployment on the same environment.
    pub(super) async fn another_deployment(&self) -> Deployment {
        let mut spec = self.deployment.spec.clone();
        spec.name = "other".to_owned();
        let deployment = self.catalog.create_deployment(&self.actor, spec).await.unwrap();
        self.catalog.begin_deployment(&self.actor, deployment.id).await.unwrap()
    }

    pub(super) async fn join_token(&self) -> String {
        self.join_token_of(&self.deployment).await
    }

    pub(super) async fn join_token_of(&self, deployment: &Deployment) -> String {
        let ttl = Duration::from_secs(600);
        let (token, secret) = self.catalog.create_join_token(&self.actor, deployment.id, None, ttl).await.unwrap();
        self.ingest.join_token_text(token.id, &secret).to_string()
    }

    /// A new agent of the deployment.
    pub(super) async fn enroll(&self) -> TestAgent {
        self.fleet.enroll(&self.join_token().await).await.unwrap()
    }

    /// A new agent that is connected and has nothing yet.
    pub(super) async fn connect_new(&self) -> (TestAgent, TestSession) {
        let agent = self.enroll().await;
        let session = self.fleet.connect(&agent, ConfigStatus::default()).await.unwrap();
        (agent, session)
    }

    /// What the newest generation is, in the way in which it is offered.
    pub(super) async fn newest(&self) -> ConfigRef {
        let (generation, _) =
            self.catalog.effective(self.actor.organization, self.environment).await.expect("it can be put together");
        ConfigRef { generation: generation.number, hash: generation.content_hash }
    }

    /// Offers the newest generation to everybody who is here.
    pub(super) async fn offer(&self) -> ConfigRef {
        self.offer_of(&self.deployment).await
    }

    pub(super) async fn offer_of(&self, deployment: &Deployment) -> ConfigRef {
        let config = self.newest().await;
        let everybody: Vec<_> = self.ingest.live(deployment.id).iter().map(|live| live.instance).collect();
        self.ingest.offer(deployment, config, &everybody).await.unwrap();
        config
    }

    /// A new agent that runs the newest generation.
    pub(super) async fn connect_running(&self) -> (TestAgent, TestSession) {
        let (agent, mut session) = self.connect_new().await;
        let config = self.newest().await;
        self.ingest.offer(&self.deployment, config, &[agent.instance]).await.unwrap();
        let offer = next_offer(&mut session).await;
        session.apply(&offer).await.unwrap();
        eventually("it runs", || self.live(&agent).config.running == Some(config)).await;
        (agent, session)
    }

    pub(super) fn live(&self, agent: &TestAgent) -> LiveInstance {
        let live = self.ingest.live(agent.deployment);
        live.into_iter().find(|live| live.instance == agent.instance).expect("it is known")
    }

    /// How many instances run a configuration.
    pub(super) fn running(&self, config: ConfigRef) -> usize {
        let live = self.ingest.live(self.deployment.id);
        live.iter().filter(|live| live.config.running == Some(config)).count()
    }
}

pub(super) async fn next_offer(session: &mut TestSession) -> ConfigOffer {
    soon("an offer", session.next_offer()).await.unwrap()
}

/// The next event of which `pick` makes something. Those before it are dropped.
pub(super) async fn next_event<T>(
    events: &mut broadcast::Receiver<IngestEvent>,
    what: &str,
    mut pick: impl FnMut(IngestEvent) -> Option<T>,
) -> T {
    soon(what, async {
        loop {
            if let Some(picked) = pick(events.recv().await.unwrap()) {
                return picked;
            }
        }
    })
    .await
}

fn spec(project: outrigger_protocol::id::ProjectId, environment: EnvironmentId) -> DeploymentSpec {
    DeploymentSpec {
        name: "web".to_owned(),
        project,
        environment,
        driver: "dry-run".to_owned(),
        command: vec!["web".to_owned()],
        resources: Resources::default(),
        min_replicas: 0,
        max_replicas: 500,
        initial_replicas: 1,
        apply: ApplyStrategy::File,
        start_only: Vec::new(),
        bake_time: None,
        rollout: Settings::new(Strategy::AllAtOnce),
        probes: Vec::new(),
        allowed_names: Vec::new(),
        http: false,
        observe: Observation::default(),
        sample_interval: Duration::from_secs(1),
        guards: GuardConfig::default(),
        combine: Combine::Max,
        policies: Vec::<PolicyBinding>::new(),
    }
}

/// Waits until `condition` holds. It is looked at again and again, because what it looks at has no signal of its own.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bounds a wait for something that comes over a socket.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}
