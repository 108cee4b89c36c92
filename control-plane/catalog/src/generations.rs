//! Generations: each an immutable state of all variables of an environment.
//!
//! A generation lists the version of each variable that it is made of. The newest versions lie together, so that the
//! present state is one range; a version that is replaced moves aside and stays for as long as a kept generation lists
//! it. Numbers only grow: going back to an old state is a new generation with old content.

use outrigger_protocol::environment::Environment as Plaintext;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use outrigger_store::{KeyRange, RangeOptions};

use crate::catalog::{Catalog, READ, decode};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Environment, Generation, Role};
use crate::mutation::Draft;
use crate::page::{Listing, Page};
use crate::record::GenerationRow;

/// Generations of an environment that are kept, the newest. Older ones are deleted with what only they listed.
pub const GENERATIONS_KEPT: u64 = 500;

impl Catalog {
    /// The kept generations of an environment, newest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment.
    pub async fn generations(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        page: Page,
    ) -> Result<Listing<Generation>, CatalogError> {
        self.environment(actor, environment).await?;
        let prefix = keys::generations(actor.organization, environment);
        let mut range = KeyRange::prefix(&prefix);
        if let Some(number) = page.position::<8>()? {
            range = range.before(&prefix.extend().array(&number).build());
        }
        let options = RangeOptions::default().reverse().limit(page.size()?);
        let found = self.store().range(range, options).await.map_err(READ)?;
        let mut items = Vec::with_capacity(found.entries.len());
        for entry in &found.entries {
            items.push(decode::<GenerationRow>(&entry.value)?.generation);
        }
        let last = items.last().filter(|_| found.more).map(|generation| generation.number.to_be_bytes());
        Ok(Listing::new(items, last.as_ref().map(<[u8; 8]>::as_slice)))
    }

    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, or when the generation never was or is no longer kept.
    pub async fn generation(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
        number: u64,
    ) -> Result<Generation, CatalogError> {
        actor.require(Role::Viewer)?;
        let row = self.environment_row(actor.organization, environment).await?;
        if number == 0 {
            return Ok(beginning(&row.value));
        }
        Ok(self.generation_row(actor.organization, environment, number).await?.generation)
    }

    /// The newest generation of an environment.
    pub(crate) async fn present_generation(
        &self,
        organization: OrganizationId,
        environment: &Environment,
    ) -> Result<Generation, CatalogError> {
        match environment.generation {
            0 => Ok(beginning(environment)),
            number => Ok(self.generation_row(organization, environment.id, number).await?.generation),
        }
    }

    /// A generation with what it is made of, be it the one before the first.
    pub(crate) async fn generation_row_or_beginning(
        &self,
        organization: OrganizationId,
        environment: &Environment,
        number: u64,
    ) -> Result<GenerationRow, CatalogError> {
        match number {
            0 => Ok(GenerationRow::alone(beginning(environment))),
            number => self.generation_row(organization, environment.id, number).await,
        }
    }

    pub(crate) async fn generation_row(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        number: u64,
    ) -> Result<GenerationRow, CatalogError> {
        let key = keys::generation(organization, environment, number);
        Ok(self.expect_row::<GenerationRow>(key, "generation").await?.value)
    }

    /// Adds to the draft of generation `number` that the one which is no longer kept goes, with the versions that only
    /// it listed. A version that a generation no longer lists is never listed again by a later one: going back writes
    /// new versions.
    pub(crate) async fn retire_generation(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        environment: EnvironmentId,
        number: u64,
    ) -> Result<(), CatalogError> {
        let Some(old) = number.checked_sub(GENERATIONS_KEPT).filter(|old| *old > 0) else { return Ok(()) };
        let key = keys::generation(organization, environment, old);
        let Some(retired) = self.row::<GenerationRow>(key.clone()).await? else { return Ok(()) };
        let next = self.generation_row(organization, environment, old + 1).await?;
        for version in &retired.value.variables {
            if next.variables.binary_search(version).is_err() {
                draft.delete(keys::old_variable(organization, environment, &version.0, version.1));
            }
        }
        draft.delete(key);
        Ok(())
    }
}

/// What an environment has before the first variable.
fn beginning(environment: &Environment) -> Generation {
    Generation {
        environment: environment.id,
        number: 0,
        author: String::new(),
        approver: None,
        message: String::new(),
        created_at: environment.created_at,
        content_hash: Plaintext::default().hash(),
    }
}
