//! What deployments and projects are called. Samples carry ids alone; people look for names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_catalog::model::Actor;
use outrigger_catalog::{Catalog, CatalogError};
use outrigger_ingest::Source;
use outrigger_protocol::id::DeploymentId;
use tokio::time::Instant;

/// How long a name may be an old one.
const FRESH: Duration = Duration::from_secs(30);
/// Deployments whose names are kept; the one that was asked for first makes room.
const KEPT: usize = 16_384;

/// What the series of a deployment are labelled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    pub(crate) organization: String,
    pub(crate) project: String,
    pub(crate) deployment: String,
    pub(crate) deployment_id: String,
}

/// Where names are looked up.
pub(crate) trait Directory: Send + Sync + 'static {
    /// # Errors
    /// There is no such deployment, or nobody can tell.
    fn find(&self, source: Source) -> impl Future<Output = Result<Naming, CatalogError>> + Send;
}

impl Directory for Catalog {
    async fn find(&self, source: Source) -> Result<Naming, CatalogError> {
        let actor = Actor::system(source.organization);
        let deployment = self.deployment(&actor, source.deployment).await?;
        let project = self.project(&actor, deployment.spec.project).await?;
        Ok(Naming {
            organization: source.organization.to_string(),
            project: project.name,
            deployment: deployment.spec.name,
            deployment_id: deployment.id.to_string(),
        })
    }
}

#[derive(Debug)]
struct Known {
    naming: Arc<Naming>,
    asked_at: Instant,
}

/// Names, looked up again when they are no longer fresh.
#[derive(Debug)]
pub(crate) struct Names<D> {
    directory: D,
    known: Mutex<HashMap<DeploymentId, Known>>,
}

impl<D: Directory> Names<D> {
    pub(crate) fn new(directory: D) -> Self {
        Self { directory, known: Mutex::default() }
    }

    /// The names for what an instance said. Of a deployment that is gone, or while the catalog cannot tell, they are the
    /// last known ones: the end of its series belongs to the same series. `None` when there are none.
    pub(crate) async fn of(&self, source: Source) -> Option<Arc<Naming>> {
        let last = self.known(source.deployment);
        if let Some((naming, asked_at)) = &last
            && asked_at.elapsed() < FRESH
        {
            return Some(Arc::clone(naming));
        }
        match self.directory.find(source).await {
            Ok(found) => {
                let naming = Arc::new(found);
                self.keep(source.deployment, Arc::clone(&naming));
                Some(naming)
            }
            Err(error) => {
                tracing::debug!(deployment = %source.deployment, %error, "cannot look up the names of a deployment");
                last.map(|(naming, _)| naming)
            }
        }
    }

    fn known(&self, deployment: DeploymentId) -> Option<(Arc<Naming>, Instant)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&deployment).map(|known| (Arc::clone(&known.naming), known.asked_at))
    }

    fn keep(&self, deployment: DeploymentId, naming: Arc<Naming>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT
            && !known.contains_key(&deployment)
            && let Some(oldest) = known.iter().min_by_key(|(_, known)| known.asked_at).map(|(id, _)| *id)
        {
            known.remove(&oldest);
        }
        known.insert(deployment, Known { naming, asked_at: Instant::now() });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use outrigger_protocol::time::UnixMillis;

    use super::*;
    use crate::instances::tests::source;

    /// A directory that says what it is told to say.
    #[derive(Debug, Default, Clone)]
    pub(crate) struct Told(pub(crate) Arc<Mutex<Option<String>>>);

    impl Told {
        pub(crate) fn naming(deployment: &str) -> Naming {
            Naming {
                organization: "org_1".to_owned(),
                project: "shop".to_owned(),
                deployment: deployment.to_owned(),
                deployment_id: "dep_1".to_owned(),
            }
        }

        pub(crate) fn say(&self, name: Option<&str>) {
            *self.0.lock().unwrap() = name.map(str::to_owned);
        }
    }

    impl Directory for Told {
        async fn find(&self, _: Source) -> Result<Naming, CatalogError> {
            let name = self.0.lock().unwrap().clone();
            name.map(|name| Self::naming(&name)).ok_or(CatalogError::NotFound { what: "deployment" })
        }
    }

    async fn name(names: &Names<Told>, source: Source) -> Option<String> {
        names.of(source).await.map(|naming| naming.deployment.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_name_takes_effect_and_the_last_one_outlives_its_deployment() {
        let told = Told::default();
        let names = Names::new(told.clone());
        assert_eq!(name(&names, source(1)).await, None);
        told.say(Some("web"));
        assert_eq!(name(&names, source(1)).await.as_deref(), Some("web"));
        told.say(Some("front"));
        assert_eq!(name(&names, source(1)).await.as_deref(), Some("web"), "still fresh");
        tokio::time::advance(FRESH).await;
        assert_eq!(name(&names, source(1)).await.as_deref(), Some("front"));
        told.say(None);
        tokio::time::advance(FRESH).await;
        assert_eq!(name(&names, source(1)).await.as_deref(), Some("front"), "gone");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_names_are_kept_and_no_more() {
        let told = Told::default();
        told.say(Some("web"));
        let names = Names::new(told);
        for nth in 0..KEPT as u64 + 10 {
            let deployment = DeploymentId::new(UnixMillis::from_millis(nth), [0; 10]);
            names.of(Source { deployment, ..source(1) }).await;
        }
        assert_eq!(names.known.lock().unwrap().len(), KEPT);
    }
}
