//! Generations as they were: delivered once more, and gone back to as a whole.
//!
//! A rollback by a person writes the old variables anew and leaves to the present what others make of them. When a rollout
//! fails nobody is there to look, and what was bad may be what a base has handed down. So a *restored* generation goes
//! back to everything: it has the variables, the base, the inputs and the names of the old one, and so its content, to
//! the last byte of the hash. It says that it is one, and is put together as it was then for as long as it is the
//! newest. The next time that the environment, or anything that it is made of, is published, it is put together from
//! the present again.
//!
//! What depends on a restored environment is published as after every change: it gets the old variables of that one, and
//! everything else as it is now. Approval is not asked for: what is gone back to was published before.

use outrigger_protocol::environment::Environment as Plaintext;
use outrigger_protocol::id::{EnvironmentId, OrganizationId};
use outrigger_store::Compare;

use super::composition::Composition;
use super::history::{At, Side};
use super::publish::{Publication, Published};
use super::unresolvable;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, ChangeKind, Environment, Generation};
use crate::mutation::{Decided, Draft};
use crate::record::GenerationRow;
use crate::validate::{MESSAGE_BYTES, clip};

/// What came of going back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The newest generation, with the content that was asked for.
    Published(Generation),
    /// Something else was published in the meantime, and is not undone.
    Overtaken,
}

/// An environment that goes back as a whole.
pub(super) struct Restoration {
    environment: EnvironmentId,
    /// The generation to whose content it goes back.
    pub(super) to: u64,
    /// It, and everything that it was put together from.
    pub(super) then: Composition,
    pub(super) inputs: Vec<(EnvironmentId, u64)>,
    pub(super) names: Vec<(String, EnvironmentId)>,
}

impl Composition {
    /// What an environment goes back to, if it is the one that does.
    pub(super) fn restoration_of(&self, environment: EnvironmentId) -> Option<&Restoration> {
        self.restoration.as_deref().filter(|restoration| restoration.environment == environment)
    }
}

impl Catalog {
    /// One generation of an environment with everything in it, for delivery. As [`effective`](Self::effective). For the
    /// control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment, or when the generation, or one of another environment that it was
    /// put together from, is no longer kept.
    pub async fn effective_at(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        number: u64,
    ) -> Result<(Generation, Plaintext), CatalogError> {
        let side = Side { environment, at: At::Generation(number) };
        let (generation, composition) = self.composed_on(organization, side).await?;
        let mut content = composition.resolve(environment).map_err(unresolvable)?.to_environment();
        if content.hash() != generation.content_hash {
            // It was the newest when that was looked up, and no longer when it was put together.
            let then = self.composed_at(organization, environment, number).await?;
            content = then.resolve(environment).map_err(unresolvable)?.to_environment();
        }
        demand_content(&content, &generation)?;
        Ok((generation, content))
    }

    /// Publishes a generation with the whole content of `to`, unless something newer than `from` was published. Doing it
    /// again answers what was done. It is audited as a rollback by the control plane itself, and not held for approval.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when `to`, or what it was put together from, is no longer kept, or `from` never was;
    /// [`CatalogError::Validation`] when an environment that depends on this one could not be put together with it, or a
    /// deployment could not run with it; [`CatalogError::NotFound`] for the environment.
    pub async fn restore_generation(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        from: u64,
        to: u64,
        message: &str,
    ) -> Result<Restored, CatalogError> {
        let system = Actor::system(organization);
        // Some of the words come from agents.
        let message = clip(message, MESSAGE_BYTES).replace(char::is_control, " ");
        let (actor, message) = (&system, message.as_str());
        self.mutate_afresh(self.draft(actor), async |mut draft| {
            let mut composition = self.present(organization, environment, None).await?;
            let row =
                composition.environment(environment).ok_or(CatalogError::NotFound { what: "environment" })?.clone();
            if row.generation != from {
                return self.restored_before(&row, organization, from, to).await.map(Decided::Already);
            }
            let restoration = self.restoration(organization, &row, to).await?;
            rely_on_inputs(&mut draft, organization, &restoration);
            let layer = restoration.then.written_by(environment)?.clone();
            if layer.extends != row.extends {
                composition.renewed.insert(environment, Environment { extends: layer.extends, ..row.clone() });
            }
            composition.rewrite(layer);
            composition.restoration = Some(Box::new(restoration));
            let publication = Publication::of(actor, environment, message, ChangeKind::Rollback);
            let Published::Generation(generation) = self.publish(&mut draft, &mut composition, &publication).await?
            else {
                return Err(CatalogError::conflict(format!("generation {to} was not restored")));
            };
            let detail = format!(
                "from generation {from} to the whole content of generation {to}, as generation {}",
                generation.number
            );
            draft.concerns(row.project);
            draft.audit(AuditAction::Rollback, environment, &detail);
            draft.then(Restored::Published(generation))
        })
        .await
    }

    /// What was published instead of what is to be gone back from.
    async fn restored_before(
        &self,
        environment: &Environment,
        organization: OrganizationId,
        from: u64,
        to: u64,
    ) -> Result<Restored, CatalogError> {
        let newest = environment.generation;
        if newest < from {
            let what = format!("the environment is at generation {newest}, and there is no generation {from} of it");
            return Err(CatalogError::conflict(what));
        }
        let row = self.generation_row(organization, environment.id, newest).await?;
        let is_it = newest == from + 1 && row.restores == Some(to);
        Ok(if is_it { Restored::Published(row.generation) } else { Restored::Overtaken })
    }

    async fn restoration(
        &self,
        organization: OrganizationId,
        environment: &Environment,
        to: u64,
    ) -> Result<Restoration, CatalogError> {
        let gone = |error| match error {
            CatalogError::NotFound { .. } => CatalogError::conflict(format!(
                "generation {to} cannot be restored: it, or a generation that it was put together from, is no longer kept"
            )),
            error => error,
        };
        let row = self.generation_row_or_beginning(organization, environment, to).await.map_err(gone)?;
        let then = self.composed_at(organization, environment.id, to).await.map_err(gone)?;
        let content = then.resolve(environment.id).map_err(unresolvable)?.to_environment();
        demand_content(&content, &row.generation)?;
        let GenerationRow { inputs, names, .. } = row;
        Ok(Restoration { environment: environment.id, to, then, inputs, names })
    }
}

/// What the restored generation will be put together from has to be kept. Once it is, it is kept for as long as that is
/// the newest: whoever publishes one of its inputs publishes it too.
fn rely_on_inputs(draft: &mut Draft, organization: OrganizationId, restoration: &Restoration) {
    for (input, number) in restoration.inputs.iter().filter(|(_, number)| *number > 0) {
        draft.when(Compare::Present(keys::generation(organization, *input, *number)));
    }
}

fn demand_content(content: &Plaintext, generation: &Generation) -> Result<(), CatalogError> {
    if content.hash() == generation.content_hash {
        return Ok(());
    }
    let what = format!("generation {} does not come to the content that it had any more", generation.number);
    Err(CatalogError::conflict(what))
}
