//! A catalog with deployments of two organisations, and a source that says what it is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use outrigger_catalog::model::{Actor, Deployment, DeploymentSpec, Observation, Origin, Resources, Stage};
use outrigger_catalog::{Catalog, NewAccount, NewEnvironment, NewProject};
use outrigger_live::{Feed, Live, LiveConfig, LogUpdate, Source, Subject, Topic, Update};
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Settings, Strategy};
use outrigger_scaling::{Combine, GuardConfig};
use outrigger_secrets::MasterKey;
use outrigger_store::{Options, RedbStore};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) live: Live,
    pub(crate) source: Arc<Script>,
    /// Of the operator.
    pub(crate) token: String,
    pub(crate) deployment: Deployment,
    catalog: Catalog,
    /// What the catalog's clock is ahead of the system's.
    ahead: Arc<AtomicU64>,
    _directory: TempDir,
}

pub(crate) struct Tenant {
    pub(crate) token: String,
    pub(crate) deployment: Deployment,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(LiveConfig::default()).await
    }

    pub(crate) async fn with(config: LiveConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(directory.path().join("test.redb"), Options::default()).unwrap();
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = {
            let ahead = Arc::clone(&ahead);
            Arc::new(move || UnixMillis::now().saturating_add(Duration::from_millis(ahead.load(Ordering::Relaxed))))
        };
        let catalog = Catalog::open(Arc::new(store), MasterKey::generate(), clock).await.unwrap();
        let token = catalog.ensure_operator(None).await.unwrap().unwrap();
        let actor = catalog.authenticate(token.expose()).await.unwrap();
        let deployment = deployment(&catalog, &actor).await;
        let source = Arc::new(Script::default());
        let live = Live::new(config, catalog.clone(), Arc::clone(&source) as Arc<dyn Source>);
        let token = token.expose().to_owned();
        Self { live, source, token, deployment, catalog, ahead, _directory: directory }
    }

    /// Somebody with an organisation of their own, and a token for a day.
    pub(crate) async fn tenant(&self) -> Tenant {
        let account = NewAccount {
            email: "somebody@example.org".to_owned(),
            password: "correct horse battery staple".into(),
            name: String::new(),
        };
        let (_, token) = self.catalog.register(account, Origin::default()).await.unwrap();
        let actor = self.catalog.authenticate(token.expose()).await.unwrap();
        let deployment = deployment(&self.catalog, &actor).await;
        Tenant { token: token.expose().to_owned(), deployment }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Has the program of the operator's deployment write a line.
    pub(crate) async fn log(&self, level: Level, message: &str) {
        self.source.say(Topic::Logs, self.deployment.id, line(self.deployment.id, level, message)).await;
    }
}

pub(crate) fn line(deployment_id: DeploymentId, level: Level, message: &str) -> Feed {
    Feed::Update(Update::Log(LogUpdate {
        deployment_id,
        instance_id: InstanceId::generate(),
        timestamp: UnixMillis::from_millis(1_700_000_000_000),
        level,
        stream: LogStream::Stdout,
        message: message.to_owned(),
        truncated: false,
        number: 1,
        dropped: None,
    }))
}

async fn deployment(catalog: &Catalog, actor: &Actor) -> Deployment {
    let new = NewProject { name: "shop".to_owned(), description: String::new() };
    let project = catalog.create_project(actor, new).await.unwrap().id;
    let new = NewEnvironment {
        project,
        stage: Stage::Production,
        name: "production".to_owned(),
        description: String::new(),
        is_active: true,
        extends: None,
    };
    let environment = catalog.create_environment(actor, new).await.unwrap().id;
    let spec = DeploymentSpec {
        name: "web".to_owned(),
        project,
        environment,
        driver: "dry-run".to_owned(),
        command: vec!["web".to_owned()],
        resources: Resources::default(),
        min_replicas: 0,
        max_replicas: 5,
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
        policies: Vec::new(),
    };
    catalog.create_deployment(actor, spec).await.unwrap()
}

/// Says what the test tells it to, to whoever listens.
#[derive(Debug, Default)]
pub(crate) struct Script {
    feeds: Mutex<HashMap<(Topic, DeploymentId), mpsc::UnboundedSender<Feed>>>,
    begun: AtomicU64,
}

impl Source for Script {
    fn updates(&self, topic: Topic, subject: Subject) -> BoxStream<'static, Feed> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.feeds.lock().unwrap().insert((topic, subject.deployment), sender);
        self.begun.fetch_add(1, Ordering::Relaxed);
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) }).boxed()
    }
}

impl Script {
    /// Waits until somebody listens.
    pub(crate) async fn say(&self, topic: Topic, deployment: DeploymentId, feed: Feed) {
        let key = (topic, deployment);
        eventually("somebody listens", || {
            self.feeds.lock().unwrap().get(&key).is_some_and(|sender| !sender.is_closed())
        })
        .await;
        self.feeds.lock().unwrap()[&key].send(feed).unwrap();
    }

    /// Ends a feed, as when its deployment is gone.
    pub(crate) fn end(&self, topic: Topic, deployment: DeploymentId) {
        self.feeds.lock().unwrap().remove(&(topic, deployment));
    }

    pub(crate) async fn nobody_listens(&self, topic: Topic, deployment: DeploymentId) {
        eventually("nobody listens", || {
            self.feeds.lock().unwrap().get(&(topic, deployment)).is_none_or(mpsc::UnboundedSender::is_closed)
        })
        .await;
    }

    /// How often somebody began to listen where nobody did.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Waits until `condition` holds. It is looked at again and again, because what it looks at has no signal of its own.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
