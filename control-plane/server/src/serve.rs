//! `outrigger server`: puts the parts of the control plane together, and takes them apart again.
//!
//! Up: HTTP's port, data directory, master key, store, catalog, exports, ingest, policies, drivers, engine, HTTP. Down, in
//! the other direction: HTTP takes no new requests, the engine finishes what it began, agents are told to come back later,
//! exports send what they hold, the store closes. Everything that goes wrong on the way up is one sentence and leaves the
//! data as it was.

mod http;
mod keys;
mod readings;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outrigger_api::{ApiState, LogFilter, Metrics, MetricsSources, MetricsToken, Readiness, StoreProbe};
use outrigger_archive::Archive;
use outrigger_catalog::{Catalog, MasterKeys, OpenError as CatalogOpenError};
use outrigger_drivers::{Driver, DryRunDriver, ProcessConfig, ProcessDriver};
use outrigger_engine::{Engine, EngineConfig};
use outrigger_export::Export;
use outrigger_ingest::{Ingest, IngestConfig};
use outrigger_live::{Live, LiveConfig, Telemetry};
use outrigger_logbook::LogBook;
use outrigger_policy_host::{CacheConfig, CacheKey, CompileLimits, Compiler, HostConfig, Limits, PolicyHost};
use outrigger_protocol::time::UnixMillis;
use outrigger_secrets::SecretString;
use outrigger_store::{OpenError, Options, RedbStore, SharedStore};

use crate::cli::ServerArgs;
use crate::config::{Config, Layers, Sources};
use crate::demo::agent_binary;

use http::{Http, HttpLimits};
use keys::Unlocked;

pub(crate) use keys::random_text;

const DATABASE: &str = "outrigger.redb";
/// What agents tell, apart from what was decided: it is written all the time, much of it goes again soon, and without it
/// nothing is wrong but the view of the past.
const TELEMETRY: &str = "telemetry.redb";
/// Compiled policies on disk; the oldest go first.
const POLICY_CACHE_BYTES: u64 = 256 * 1024 * 1024;
const POLICY_CACHE_KEY: &str = "policy-cache";

/// `outrigger server`
pub(crate) async fn run(args: ServerArgs) -> anyhow::Result<()> {
    let variables: Vec<(String, String)> = std::env::vars().collect();
    let layers = Layers::load(&Sources {
        config: args.config.as_deref(),
        env: args.env.as_deref(),
        variables: &variables,
        flags: &args.settings,
    })?;
    let config = Config::compile(&layers)?;
    let log_filter = crate::logging::to_stderr(&config);
    let control_plane = ControlPlane::start(config, log_filter).await?;
    announce(&control_plane);
    crate::signals::terminated().await;
    control_plane.drain().await;
    Ok(())
}

/// Where to find it, on standard output. Nobody has to be reading there.
fn announce(control_plane: &ControlPlane) {
    let lines = format!(
        "api http://{}\nagents {}\noperator token in {}\n",
        control_plane.http_address(),
        control_plane.agents_address(),
        control_plane.operator_token_file().display(),
    );
    if let Err(error) = std::io::stdout().write_all(lines.as_bytes()) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}

/// A running control plane.
pub(crate) struct ControlPlane {
    config: Config,
    http: Http,
    ingest: Ingest,
    engine: Engine,
    archive: Archive,
    export: Export,
    live: Live,
    logs: LogBook,
    store: SharedStore,
    telemetry: SharedStore,
    readiness: Readiness,
    operator_token: SecretString,
}

impl ControlPlane {
    pub(crate) async fn start(config: Config, log_filter: LogFilter) -> anyhow::Result<Self> {
        // Before anything else: a port that somebody has must stop us before we made a file or started a task.
        let listener = Http::bind(config.http_listen).await?;
        keys::prepare_directory(&config.data_dir)?;
        let database = config.data_dir.join(DATABASE);
        let is_new = !database.try_exists().with_context(|| format!("cannot look at {}", database.display()))?;
        let options = Options { cache_bytes: config.store_cache_bytes, ..Options::default() };
        let master = if is_new {
            keys::made_first(&config).await?
        } else {
            keys::for_database(&config, |keys| unlock(&database, options, keys)).await?
        };
        let store: SharedStore = Arc::new(when_free(|| RedbStore::open(&database, options)).await?);
        let catalog = Catalog::open(Arc::clone(&store), master, Arc::new(UnixMillis::now))
            .await
            .with_context(|| format!("cannot use the database {}", database.display()))?;
        let operator_token = keys::operator_token(&config, &catalog).await?;

        let telemetry = open_telemetry(&config).await?;
        let logs = open_logs(&config, &telemetry, &catalog).await?;
        let archive = open_archive(&config, &telemetry, &catalog).await?;
        let mut ingest_config = IngestConfig::new(config.agents_listen, server_names(&config));
        ingest_config.certificate_lifetime = config.certificate_lifetime;
        let export = Export::start(config.export.clone(), catalog.clone()).await?;
        let sinks = export.sink().into_iter().chain([logs.sink(), archive.sink()]).collect();
        let ingest = Ingest::start(ingest_config, catalog.clone(), sinks)
            .await
            .with_context(|| format!("cannot serve agents on {}", config.agents_listen))?;
        archive.start();
        let host = Arc::new(policy_host(&config, &catalog).await?);
        let engine_config = EngineConfig::new(advertised(&config, &ingest), config.server_name.clone());
        let engine = Engine::start(engine_config, catalog.clone(), ingest.clone(), host, drivers(&config)?)
            .await
            .context("cannot start the scaling engine")?;

        let readiness = Readiness::default();
        let next_master_key = keys::next_master_key(&config, &catalog);
        let streamed =
            Telemetry { catalog: catalog.clone(), logs: logs.clone(), engine: engine.clone(), ingest: ingest.clone() };
        let live = Live::new(LiveConfig::default(), catalog.clone(), Arc::new(streamed));
        let sources = MetricsSources {
            stores: vec![(
                "telemetry",
                StoreProbe::new(Arc::clone(&telemetry)).in_file(&config.data_dir.join(TELEMETRY)),
            )],
            readers: vec![
                readings::archive(archive.clone()),
                readings::logs(logs.clone()),
                readings::live(live.clone()),
                readings::export(export.clone()),
            ],
        };
        let state = ApiState {
            catalog,
            engine: engine.clone(),
            ingest: ingest.clone(),
            archive: archive.clone(),
            logs: logs.clone(),
            store: StoreProbe::new(Arc::clone(&store)).in_file(&database),
            readiness: readiness.clone(),
            agents_address: advertised(&config, &ingest).to_string(),
            next_master_key,
            metrics: metrics(&config, sources)?,
            log_filter,
        };
        let limits = HttpLimits {
            connections: config.http_max_connections,
            header_timeout: config.http_header_timeout,
            stalled: http::STALLED,
        };
        let http = Http::serve(listener, outrigger_api::router(state).merge(live.router()), limits)?;
        readiness.set_ready();
        tracing::info!(http = %http.address(), agents = %ingest.local_addr(), "serving");
        Ok(Self {
            config,
            http,
            ingest,
            engine,
            archive,
            export,
            live,
            logs,
            store,
            telemetry,
            readiness,
            operator_token,
        })
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    pub(crate) fn agents_address(&self) -> SocketAddr {
        self.ingest.local_addr()
    }

    pub(crate) fn operator_token(&self) -> &SecretString {
        &self.operator_token
    }

    fn operator_token_file(&self) -> std::path::PathBuf {
        self.config.data_dir.join(keys::OPERATOR_TOKEN)
    }

    /// Ends everything within the configured time. Instances go on running: they are not ours to end.
    pub(crate) async fn drain(self) {
        tracing::info!("draining");
        self.readiness.set_draining();
        let Self { config, http, ingest, engine, archive, export, live, logs, store, telemetry, .. } = self;
        let orderly = async {
            // Streams would go on for ever.
            live.close().await;
            logs.end_followers();
            http.stop().await;
            engine.drain(config.drain_timeout).await;
            ingest.drain(config.drain_timeout).await;
            // A receiver that is away must not cost the others their time.
            export.drain(config.drain_timeout / 4).await;
            archive.close().await;
            logs.close().await;
            for store in [store, telemetry] {
                if let Err(error) = store.close().await {
                    tracing::warn!(%error, "the store did not close cleanly; the next start repairs it");
                }
            }
        };
        if tokio::time::timeout(config.drain_timeout, orderly).await.is_err() {
            tracing::warn!(timeout = ?config.drain_timeout, "not everything ended in time");
        }
    }
}

/// Nobody watches it or asks for its past: of what was changed, next to nothing has to be kept.
async fn open_telemetry(config: &Config) -> anyhow::Result<SharedStore> {
    let path = config.data_dir.join(TELEMETRY);
    let options = Options {
        cache_bytes: config.store_cache_bytes,
        change_log_revisions: 1,
        change_log_bytes: 1,
        ..Options::default()
    };
    let store = when_free(|| RedbStore::open(&path, options)).await;
    let unusable = || {
        let path = path.display();
        format!(
            "cannot use the telemetry in {path}; if it is damaged or another program's, move it away: metrics and logs \
             then begin anew, and nothing else is in it"
        )
    };
    Ok(Arc::new(store.with_context(unusable)?))
}

/// The lines of programs, without those of deployments that were deleted while nobody told it.
async fn open_logs(config: &Config, telemetry: &SharedStore, catalog: &Catalog) -> anyhow::Result<LogBook> {
    let logs = LogBook::open(Arc::clone(telemetry), config.logs).await.context("cannot open the log book")?;
    let known = catalog.all_deployments().await?.into_iter().map(|deployment| deployment.id).collect();
    logs.keep_only(&known).await.context("cannot read the log book")?;
    Ok(logs)
}

/// The history of metrics, without what belongs to deployments that were deleted while nobody told it.
async fn open_archive(config: &Config, telemetry: &SharedStore, catalog: &Catalog) -> anyhow::Result<Archive> {
    let archive = Archive::open(Arc::clone(telemetry), config.history.clone()).await;
    let archive = archive.context("cannot open the history of metrics")?;
    let known = catalog.all_deployments().await?.into_iter().map(|deployment| deployment.id).collect();
    archive.keep_only(&known).await.context("cannot read the history of metrics")?;
    Ok(archive)
}

/// How long a predecessor may still hold the database.
const HANDOVER: Duration = Duration::from_secs(3);

/// Opens the database as soon as nobody else has it. A process that was killed may leave one behind that was just
/// starting, which holds the lock until it is another program.
async fn when_free<T>(open: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let deadline = tokio::time::Instant::now() + HANDOVER;
    loop {
        match open() {
            Err(OpenError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            opened => return opened,
        }
    }
}

/// Whether keys open the database, found out without writing a byte: opening for real repairs and migrates.
async fn unlock(
    database: &Path,
    options: Options,
    keys: MasterKeys,
) -> anyhow::Result<Result<Unlocked, CatalogOpenError>> {
    let store: SharedStore = Arc::new(when_free(|| RedbStore::inspect(database, options)).await?);
    let opened = Catalog::open(Arc::clone(&store), keys, Arc::new(UnixMillis::now)).await;
    let unlocked = opened
        .map(|catalog| Unlocked { name: catalog.master_key_name(), is_rotating: catalog.needs_two_master_keys() });
    store.close().await.with_context(|| format!("cannot let go of the database {}", database.display()))?;
    Ok(unlocked)
}

/// With the token that only reads them, if there is one. It is what its file says at the start.
fn metrics(config: &Config, sources: MetricsSources) -> anyhow::Result<Metrics> {
    let token = match &config.metrics_token_file {
        None => None,
        Some(path) => {
            let unusable = || format!("cannot use the token for /metrics in {}", path.display());
            let text = keys::read_token(path).with_context(unusable)?;
            Some(MetricsToken::new(&text).with_context(unusable)?)
        }
    };
    Ok(Metrics::new(config.metrics_access, token, sources))
}

fn server_names(config: &Config) -> Vec<String> {
    let mut names = vec![config.server_name.clone()];
    let address = config.agents_advertise.unwrap_or(config.agents_listen).ip();
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names
}

/// What instances are told to connect to: the bound port, and a wildcard address replaced by loopback.
fn advertised(config: &Config, ingest: &Ingest) -> SocketAddr {
    config.agents_advertise.unwrap_or_else(|| {
        let mut address = ingest.local_addr();
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        address
    })
}

/// A policy is compiled in a process of its own: the compiler takes memory as it pleases and may fail badly.
async fn policy_host(config: &Config, catalog: &Catalog) -> anyhow::Result<PolicyHost> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let key = catalog.get_or_create_blob(POLICY_CACHE_KEY, || keys::random::<32>().to_vec()).await?;
    let key: [u8; 32] = key.expose().try_into().context("the key of the policy cache is damaged")?;
    let host = HostConfig {
        limits: Limits::default(),
        compiler: Compiler::Command {
            program,
            arguments: vec!["compile-policy".to_owned()],
            limits: CompileLimits::default(),
        },
        cache: Some(CacheConfig {
            directory: config.data_dir.join("policy-cache"),
            key: CacheKey::new(&key),
            max_bytes: POLICY_CACHE_BYTES,
        }),
    };
    PolicyHost::new(host).context("cannot set up the policy host")
}

fn drivers(config: &Config) -> anyhow::Result<Vec<Arc<dyn Driver>>> {
    let mut drivers: Vec<Arc<dyn Driver>> = vec![Arc::new(DryRunDriver::new())];
    match config.agent_binary.clone().or_else(agent_binary::find) {
        Some(binary) => {
            let process = ProcessConfig::new(binary, config.data_dir.join("instances"));
            drivers.push(Arc::new(ProcessDriver::new(process).context("cannot set up the process driver")?));
        }
        None => tracing::warn!("no outrigger-agent found: the process driver is not available"),
    }
    Ok(drivers)
}
