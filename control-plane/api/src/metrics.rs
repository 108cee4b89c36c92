//! `/metrics`: what the control plane says about itself, and about every deployment, to Prometheus.
//!
//! One module for each part that is told of, [`exposition`] for how a page is written, [`access`] for who may read one.
//! Values are read where they are: counters and windows in memory, and from the database only what [`vault`] keeps for a
//! minute and the names of projects. So a page costs milliseconds, however many read it.
//!
//! What must never be true: a table that is read for each page; a label whose values strangers choose, or that has no
//! bound; a deployment on the page of somebody who may not know of it.

mod access;
mod deployments;
mod engine;
mod exposition;
mod histogram;
mod http;
mod ingest;
mod process;
mod projects;
mod reading;
mod store;
mod vault;

use std::sync::Arc;

use outrigger_protocol::id::OrganizationId;
use outrigger_protocol::time::UnixMillis;
use tokio::time::Instant;

pub use access::{MetricsAccess, MetricsToken, MetricsTokenError};
pub use reading::{Reader, Reading, ReadingKind};

pub(crate) use exposition::Format;
pub(crate) use http::Meter;

use access::Gate;
use exposition::{Kind, Labels, Page};
use projects::Projects;
use vault::Vault;

use crate::state::{ApiState, StoreProbe};

/// What one deployment takes on a page, about.
const ROW_BYTES: usize = 8 * 1024;

/// Counts requests, and writes pages of metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gate: Gate,
    started: (UnixMillis, Instant),
    meter: Meter,
    projects: Projects,
    vault: Vault,
    sources: MetricsSources,
}

/// What there is to tell of beside what the API knows.
#[derive(Debug, Default)]
pub struct MetricsSources {
    /// Stores beside the catalog's, by name.
    pub stores: Vec<(&'static str, StoreProbe)>,
    pub readers: Vec<Reader>,
}

/// What of it a page tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    /// The deployments of one organisation, and nothing of the control plane itself.
    Organization(OrganizationId),
}

impl Metrics {
    /// `token` may read everything, in addition to whoever `access` lets in and to the API's own tokens.
    #[must_use]
    pub fn new(access: MetricsAccess, token: Option<MetricsToken>, sources: MetricsSources) -> Self {
        Self(Arc::new(Inner {
            gate: Gate::new(access, token),
            started: (UnixMillis::now(), Instant::now()),
            meter: Meter::default(),
            projects: Projects::default(),
            vault: Vault::default(),
            sources,
        }))
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.0.meter
    }

    pub(crate) async fn page(&self, state: &ApiState, scope: Scope, format: Format) -> String {
        let (standings, left_out) = state.engine.standings(deployments::MOST, |standing| match scope {
            Scope::Everything => true,
            Scope::Organization(organization) => standing.organization == organization,
        });
        let mut page = Page::new(format, standings.len() * ROW_BYTES + 64 * 1024);
        if scope == Scope::Everything {
            self.of_control_plane(&mut page, state).await;
        }
        let projects = self.0.projects.names(&state.catalog, &standings).await;
        let now = UnixMillis::now();
        let rows: Vec<_> = standings
            .into_iter()
            .map(|standing| {
                let project = projects.get(&standing.project).map_or("", |name| name);
                deployments::Row::new(standing, project, &state.ingest, now)
            })
            .collect();
        deployments::write(&mut page, &rows, left_out);
        page.finish()
    }

    async fn of_control_plane(&self, page: &mut Page, state: &ApiState) {
        let (started_at, started) = self.0.started;
        let mut build = page.family(Kind::Info, "outrigger_build", "What this control plane is.");
        build.sample(&Labels::new(&[("version", &env!("CARGO_PKG_VERSION"))]), true);
        drop(build);
        let help = "How long the control plane has been running.";
        page.gauge("outrigger_uptime_seconds", help, started.elapsed().as_secs_f64());
        let help = "1 while the control plane takes work; 0 while it starts or drains.";
        page.gauge("outrigger_ready", help, state.readiness.is_ready());
        process::write(page, started_at);
        let runtime = tokio::runtime::Handle::current().metrics();
        page.gauge("outrigger_runtime_workers", "Threads that run tasks.", runtime.num_workers());
        page.gauge("outrigger_runtime_tasks", "Tasks that have not ended.", runtime.num_alive_tasks());
        let help = "Tasks that wait for a thread in the queue of all.";
        page.gauge("outrigger_runtime_queued_tasks", help, runtime.global_queue_depth());
        let others = self.0.sources.stores.iter().map(|(name, store)| (*name, store));
        store::write(page, std::iter::once(("catalog", &state.store)).chain(others));
        ingest::write(page, &state.ingest.stats());
        engine::write(page, &state.engine.stats(), &state.engine.policies());
        reading::write(page, &self.0.sources.readers);
        self.0.meter.write(page);
        self.0.vault.write(page, &state.catalog).await;
    }
}
