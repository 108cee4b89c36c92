//! Environments among themselves: what is to be done to the others when one is made, renamed, let extend another, or
//! deleted.

use outrigger_configuration::resolve::Layer;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};

use super::composition::empty_layer;
use super::publish::{Publication, Published};
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::Environment;
use crate::mutation::Draft;
use crate::record::Empty;
use crate::validate::listed;

impl Catalog {
    /// Adds to a draft an environment that is new, or as it is to be, with a generation of every environment whose
    /// effective content is different with it.
    pub(crate) async fn publish_environment(
        &self,
        draft: &mut Draft,
        present: Option<&Row<Environment>>,
        environment: &Environment,
        publication: &Publication<'_>,
    ) -> Result<Published, CatalogError> {
        let id = environment.id;
        let mut composition = self.composition(publication.actor.organization, environment.project);
        if let Some(row) = present {
            draft.relies_on(row);
            self.load(&mut composition, id).await?;
        }
        let layer = match composition.layers.get(&id) {
            Some(layer) => Layer { label: environment.label(), extends: environment.extends, ..layer.clone() },
            None => empty_layer(environment, environment.extends),
        };
        composition.rewrite(layer);
        composition.renewed.insert(id, environment.clone());
        self.publish(draft, &mut composition, publication).await
    }

    /// Adds to the draft of a deletion that nothing is left of what the environment was put together from.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] naming those that extend or refer to it.
    pub(crate) async fn detach_environment(
        &self,
        draft: &mut Draft,
        environment: &Environment,
    ) -> Result<(), CatalogError> {
        let (organization, Environment { id, project, generation, .. }) = (draft.organization(), environment);
        let at = self.store().revision();
        let graph = keys::environment_graph(organization, *project);
        let row = self.row_at::<Empty>(&graph, at).await?;
        draft.relies_on_or_absence(graph.clone(), row.as_ref());
        let users = self.dependents(organization, *project, *id, at).await?;
        if !users.is_empty() {
            return Err(CatalogError::conflict(self.in_use(organization, &users).await?));
        }
        for (input, _) in self.generation_row_or_beginning(organization, environment, *generation).await?.inputs {
            draft.delete(keys::dependent(organization, *project, input, *id));
        }
        draft.mark(graph);
        Ok(())
    }

    async fn in_use(&self, organization: OrganizationId, users: &[EnvironmentId]) -> Result<String, CatalogError> {
        let mut names = Vec::new();
        for id in users {
            let row = self.row::<Environment>(keys::environment(organization, *id)).await?;
            names.extend(row.map(|row| row.value.label()));
        }
        Ok(format!("the environment is extended or referred to by {}", listed(names)))
    }
}
