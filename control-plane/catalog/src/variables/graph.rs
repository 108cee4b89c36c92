//! Environments among themselves: what is to be done to the others when one is made, renamed, let extend another, or
//! deleted.

use outrigger_configuration::resolve::Layer;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};

use super::publish::Publication;
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::Environment;
use crate::mutation::Draft;
use crate::record::Empty;

/// Names in one message; the rest is counted.
const NAMES_SHOWN: usize = 10;

impl Catalog {
    /// Adds to a draft an environment that is new, or as it is to be, with a generation of every environment whose
    /// effective content is different with it. Gives the generation that the environment itself is at then.
    pub(crate) async fn publish_environment(
        &self,
        draft: &mut Draft,
        present: Option<&Row<Environment>>,
        environment: &Environment,
        publication: &Publication<'_>,
    ) -> Result<u64, CatalogError> {
        let id = environment.id;
        let mut composition = self.composition(publication.actor.organization, environment.project);
        if let Some(row) = present {
            draft.relies_on(row);
            self.load(&mut composition, id).await?;
        }
        let label = environment.label();
        let layer = composition.layers.entry(id).or_insert_with(|| Layer {
            environment: id,
            label: String::new(),
            extends: None,
            variables: Vec::new(),
            tombstones: Vec::new(),
        });
        (layer.label, layer.extends) = (label, environment.extends);
        composition.renewed.insert(id, environment.clone());
        let published = self.publish(draft, &mut composition, publication).await?;
        Ok(published.map_or(environment.generation, |generation| generation.number))
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
        for id in users.iter().take(NAMES_SHOWN) {
            let row = self.row::<Environment>(keys::environment(organization, *id)).await?;
            names.extend(row.map(|row| row.value.label()));
        }
        let more = users.len().saturating_sub(NAMES_SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Ok(format!("the environment is extended or referred to by {}{more}", names.join(", ")))
    }
}
