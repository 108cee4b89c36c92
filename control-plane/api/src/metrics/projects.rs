//! The names of projects, which people read better than ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_catalog::Catalog;
use outrigger_catalog::model::Actor;
use outrigger_engine::Standing;
use outrigger_protocol::id::ProjectId;
use tokio::time::Instant;

/// How old a name may be: projects are renamed seldom.
const FRESH: Duration = Duration::from_secs(60);

/// What was read lately. Holds no more than the deployments of a page have.
#[derive(Debug, Default)]
pub(super) struct Projects(Mutex<HashMap<ProjectId, (Instant, Arc<str>)>>);

impl Projects {
    /// The names of the projects that deployments belong to; one that cannot be read has none.
    pub(super) async fn names(&self, catalog: &Catalog, standings: &[Standing]) -> HashMap<ProjectId, Arc<str>> {
        let now = Instant::now();
        let mut known = std::mem::take(&mut *self.kept());
        known.retain(|_, (read, _)| now.duration_since(*read) < FRESH);
        for standing in standings {
            if !known.contains_key(&standing.project)
                && let Ok(project) = catalog.project(&Actor::system(standing.organization), standing.project).await
            {
                known.insert(standing.project, (now, project.name.into()));
            }
        }
        let names = known.iter().map(|(id, (_, name))| (*id, Arc::clone(name))).collect();
        // Of two readers at a time, one has read in vain.
        *self.kept() = known;
        names
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<ProjectId, (Instant, Arc<str>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
