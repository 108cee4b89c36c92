//! A control plane as the server wires it, with a driver that only pretends.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outrigger_api::{
    ApiState, LogFilter, Metrics, MetricsAccess, MetricsSources, NextMasterKey, Readiness, StoreProbe,
};
use outrigger_archive::{Archive, ArchiveConfig};
use outrigger_catalog::Catalog;
use outrigger_drivers::DryRunDriver;
use outrigger_engine::{Engine, EngineConfig};
use outrigger_ingest::{Ingest, IngestConfig};
use outrigger_logbook::{LogBook, LogBookConfig};
use outrigger_policy_host::{CacheConfig, CacheKey, HostConfig, PolicyHost};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::MasterKey;
use outrigger_store::{Options, RedbStore, SharedStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::client::Client;

pub(crate) const SERVER_NAME: &str = "outrigger";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    /// Signed in as the operator.
    pub(crate) api: Client,
    /// Not signed in.
    pub(crate) stranger: Client,
    pub(crate) readiness: Readiness,
    pub(crate) ingest: Ingest,
    /// For what no route does.
    pub(crate) catalog: Catalog,
    _directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let path = directory.path().join("test.redb");
        let store: SharedStore = Arc::new(RedbStore::open(path, Options::default()).expect("a store"));
        let clock = Arc::new(UnixMillis::now);
        let catalog = Catalog::open(Arc::clone(&store), MasterKey::generate(), clock).await.expect("a catalog");
        let token = catalog.ensure_operator(None).await.expect("an operator").expect("a first start makes a token");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let ingest = IngestConfig::new(listen, vec![SERVER_NAME.to_owned()]);
        let logs = LogBook::open(Arc::clone(&store), LogBookConfig::default()).await.expect("a log book");
        let archive = Archive::open(Arc::clone(&store), ArchiveConfig::default()).await.expect("an archive");
        let ingest =
            Ingest::start(ingest, catalog.clone(), vec![logs.sink(), archive.sink()]).await.expect("ingest starts");
        let engine = engine(&catalog, &ingest).await;
        let next = MasterKey::generate();
        let readiness = Readiness::default();
        readiness.set_ready();
        let state = ApiState {
            catalog: catalog.clone(),
            engine,
            ingest: ingest.clone(),
            archive,
            logs,
            store: StoreProbe::new(store),
            readiness: readiness.clone(),
            agents_address: ingest.local_addr().to_string(),
            next_master_key: NextMasterKey::new(move || Box::pin(std::future::ready(Ok(next.clone())))),
            metrics: Metrics::new(MetricsAccess::Loopback, None, MetricsSources::default()),
            log_filter: LogFilter::new("info".to_owned(), known_level),
        };
        let listener = TcpListener::bind(listen).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let service = outrigger_api::router(state).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let stranger = Client::new(address);
        let api = stranger.with_token(token.expose());
        Self { address, api, stranger, readiness, ingest, catalog, _directory: directory }
    }

    /// Somebody with an organisation of their own.
    pub(crate) async fn register(&self, email: &str) -> Client {
        let body = json!({ "email": email, "password": PASSWORD });
        let data = self.stranger.post("/api/auth/register", body).await.data(201);
        self.stranger.with_token(data["token"].as_str().expect("a token"))
    }
}

/// What stands for the log: no test of the API looks at what is in it.
fn known_level(text: &str) -> Result<(), String> {
    if ["info", "debug"].contains(&text) { Ok(()) } else { Err("unknown".to_owned()) }
}

async fn engine(catalog: &Catalog, ingest: &Ingest) -> Engine {
    // The built-in policies are compiled by the first of the tests, not by every one.
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policy-cache");
    let cache = CacheConfig { directory, key: CacheKey::new(&[7; 32]), max_bytes: 64 * 1024 * 1024 };
    let host = HostConfig { cache: Some(cache), ..HostConfig::in_process() };
    let host = Arc::new(PolicyHost::new(host).expect("a policy host"));
    let mut config = EngineConfig::new(ingest.local_addr(), SERVER_NAME.to_owned());
    config.scaler.min_interval = Duration::from_millis(20);
    config.scaler.tick = Duration::from_millis(100);
    config.reconciler.interval = Duration::from_millis(200);
    config.reconciler.min_interval = Duration::from_millis(20);
    let started = Engine::start(config, catalog.clone(), ingest.clone(), host, vec![Arc::new(DryRunDriver::new())]);
    started.await.expect("the engine starts")
}

/// A project with an environment, made by one client.
pub(crate) struct Shop {
    pub(crate) project: String,
    pub(crate) environment: String,
}

impl Shop {
    pub(crate) async fn new(api: &Client) -> Self {
        let project = api.post("/api/projects", json!({ "name": "shop" })).await.id(201);
        let path = format!("/api/config/projects/{project}/environments");
        let environment = api.post(&path, json!({ "environment": "production" })).await.id(201);
        Self { project, environment }
    }

    pub(crate) fn variables(&self) -> String {
        format!("/api/config/environments/{}/variables", self.environment)
    }

    pub(crate) fn variable(&self, key: &str) -> String {
        format!("{}/{key}", self.variables())
    }

    /// The smallest deployment there is, with further fields.
    pub(crate) fn spec(&self, more: Value) -> Value {
        let mut spec = json!({
            "name": "web", "projectId": self.project, "environment": "production", "driver": "dry-run",
            "command": ["serve"], "replicas": { "min": 1, "max": 5 },
        });
        let (Value::Object(spec_fields), Value::Object(more)) = (&mut spec, more) else { panic!("both are objects") };
        spec_fields.extend(more);
        spec
    }

    /// The path of a new deployment.
    pub(crate) async fn deployment(&self, api: &Client, more: Value) -> String {
        let id = api.post("/api/deployments", self.spec(more)).await.id(201);
        format!("/api/deployments/{id}")
    }

    /// The path of a deployment that was started and runs.
    pub(crate) async fn running(&self, api: &Client, more: Value) -> String {
        let path = self.deployment(api, more).await;
        api.post(&format!("{path}/start"), json!({})).await.data(200);
        reaches(api, &path, "RUNNING").await;
        path
    }
}

pub(crate) async fn reaches(api: &Client, deployment: &str, status: &str) {
    eventually(status, async || api.get(deployment).await.data(200)["status"] == status).await;
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !is_so().await {
            assert!(Instant::now() < deadline, "{caller}: waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
