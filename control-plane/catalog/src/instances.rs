//! Instances, and the intents by which they come and go.
//!
//! An intent is written down before the driver is called and finished after it: whatever happens in between, the next
//! start of the control plane finds it among the pending ones. The intent's id is the driver's idempotency key.

use outrigger_protocol::id::{DeploymentId, EventId, InstanceId, IntentId, OrganizationId};
use outrigger_store::Compare;

use crate::catalog::{Catalog, Row, random};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, Agent, AuditAction, Event, EventKind, Instance, InstancePhase, Intent, IntentKind, Role};
use crate::mutation::{Decided, Draft};
use crate::record::{Home, InstanceHome};

pub(crate) const INSTANCE: &str = "instance";
const INTENT: &str = "intent";
/// Instances of one transaction that revokes: two compares each, well below the store's limit.
const REVOKED_AT_ONCE: usize = 200;

/// What came of carrying an intent out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentOutcome {
    Created {
        endpoint: Option<String>,
    },
    Destroyed,
    /// For good: trying again would not help.
    Failed {
        reason: String,
    },
}

impl Catalog {
    /// The instances of a deployment, oldest first; those that are gone only on request, and only for a day.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment.
    pub async fn instances(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        include_gone: bool,
    ) -> Result<Vec<Instance>, CatalogError> {
        self.deployment(actor, deployment).await?;
        let rows = self.instances_of(actor.organization, deployment).await?;
        let listed = |instance: &Instance| include_gone || instance.phase != InstancePhase::Gone;
        Ok(rows.into_iter().map(|row| row.value).filter(listed).collect())
    }

    /// One instance, also one that is gone.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn instance(&self, actor: &Actor, id: InstanceId) -> Result<Instance, CatalogError> {
        actor.require(Role::Viewer)?;
        Ok(self.instance_by_id(actor.organization, id).await?.value)
    }

    pub(crate) async fn instances_of(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<Vec<Row<Instance>>, CatalogError> {
        self.rows(&keys::instances(organization, deployment), None).await
    }

    pub(crate) async fn instance_row(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
        id: InstanceId,
    ) -> Result<Row<Instance>, CatalogError> {
        self.expect_row(keys::instance(organization, deployment, id), INSTANCE).await
    }

    async fn instance_by_id(
        &self,
        organization: OrganizationId,
        id: InstanceId,
    ) -> Result<Row<Instance>, CatalogError> {
        let home = self.expect_row::<InstanceHome>(keys::instance_home(organization, id), INSTANCE).await?;
        self.instance_row(organization, home.value.0, id).await
    }

    /// Every intent that is not finished, oldest first: what the control plane was about to do when it stopped. For the
    /// control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn pending_intents(&self) -> Result<Vec<Intent>, CatalogError> {
        let mut intents = Vec::new();
        for row in self.rows::<Home>(&keys::home::intents(), None).await? {
            let Some(id) = keys::last_id(&row.key).map(IntentId::from_bytes) else { continue };
            let intent = self.row::<Intent>(keys::intent(row.value.0, id)).await?;
            intents.extend(intent.map(|row| row.value));
        }
        Ok(intents)
    }

    /// Counts one more attempt at an intent, before it is made. For the control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when it is finished.
    pub async fn retry_intent(&self, intent: &Intent) -> Result<Intent, CatalogError> {
        let first = self.draft(&Actor::system(intent.organization));
        self.mutate_afresh(first, async |mut draft| {
            let row = self.expect_row::<Intent>(keys::intent(intent.organization, intent.id), INTENT).await?;
            let again = Intent { attempts: row.value.attempts.saturating_add(1), ..row.value };
            draft.replace(&row, &again);
            draft.then(again)
        })
        .await
    }

    /// Writes down what came of an intent, in one transaction with what it did to the instance. An intent that is
    /// finished already changes nothing. A creation that failed leaves a gone instance; a destruction that failed stays
    /// pending, because what may still run is not forgotten. For the control plane itself.
    ///
    /// Returns the instance as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the instance.
    pub async fn finish_intent(
        &self,
        intent: &Intent,
        outcome: IntentOutcome,
        event: Option<Event>,
    ) -> Result<Instance, CatalogError> {
        let organization = intent.organization;
        let first = self.draft(&Actor::system(organization));
        let (outcome, event) = (&outcome, &event);
        self.mutate_afresh(first, async |mut draft| {
            let instance = self.instance_row(organization, intent.deployment, intent.instance).await?;
            let Some(row) = self.row::<Intent>(keys::intent(organization, intent.id)).await? else {
                return Ok(Decided::Already(instance.value));
            };
            let stays = matches!(outcome, IntentOutcome::Failed { .. }) && row.value.kind == IntentKind::Destroy;
            if stays {
                let again = Intent { attempts: row.value.attempts.saturating_add(1), ..row.value };
                draft.replace(&row, &again);
            } else {
                draft.relies_on(&row);
                draft.delete(row.key);
                draft.delete(keys::home::intent(intent.id));
            }
            let mut changed = Instance { updated_at: draft.now, ..instance.value.clone() };
            let (action, detail) = outcome_of(outcome, &mut changed, stays);
            if changed.phase == InstancePhase::Gone {
                self.retire_agent(&mut draft, &changed).await?;
            }
            draft.replace(&instance, &changed);
            if let Some(event) = event
                && (event.organization, event.deployment) == (organization, intent.deployment)
            {
                draft.event(event);
            }
            self.concerns_deployment(&mut draft, intent.deployment).await?;
            draft.audit(action, intent.instance, &detail);
            draft.then(changed)
        })
        .await
    }

    /// Writes down that an instance ended on its own. Its agent's identity ends with it: should it turn up again, it is
    /// turned away. One that joined from outside keeps its identity for as long as the row is kept: it may only have been
    /// away, and [`instance_returned`](Self::instance_returned) takes it back. An instance that is gone already changes
    /// nothing. For the control plane itself.
    ///
    /// Returns the instance as it is now; replacing it is the caller's.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn instance_lost(
        &self,
        organization: OrganizationId,
        id: InstanceId,
        message: &str,
    ) -> Result<Instance, CatalogError> {
        let first = self.draft(&Actor::system(organization));
        self.mutate_afresh(first, async |mut draft| {
            let row = self.instance_by_id(organization, id).await?;
            if row.value.phase == InstancePhase::Gone {
                return Ok(Decided::Already(row.value));
            }
            let gone = Instance { phase: InstancePhase::Gone, updated_at: draft.now, ..row.value.clone() };
            if !gone.outside {
                self.retire_agent(&mut draft, &gone).await?;
            }
            draft.replace(&row, &gone);
            draft.event(&Event {
                id: EventId::new(draft.now, random()),
                organization,
                deployment: gone.deployment,
                at: draft.now,
                kind: EventKind::InstanceLost { instance: id },
                message: message.to_owned(),
                decision: None,
            });
            self.concerns_deployment(&mut draft, gone.deployment).await?;
            draft.audit(AuditAction::Delete, id, &format!("lost: {message}"));
            draft.then(gone)
        })
        .await
    }

    /// Writes down that an instance from outside, which was taken for lost, is there again. Any other instance is left
    /// as it is. For the control plane itself.
    ///
    /// Returns the instance as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn instance_returned(
        &self,
        organization: OrganizationId,
        id: InstanceId,
    ) -> Result<Instance, CatalogError> {
        let first = self.draft(&Actor::system(organization));
        self.mutate_afresh(first, async |mut draft| {
            let row = self.instance_by_id(organization, id).await?;
            if !row.value.outside || row.value.phase != InstancePhase::Gone {
                return Ok(Decided::Already(row.value));
            }
            let deployment = self.live_deployment(organization, row.value.deployment).await?;
            draft.when(Compare::Present(deployment.key.clone()));
            draft.mark(keys::fence(organization, row.value.deployment.to_bytes()));
            let back = Instance { phase: InstancePhase::Running, updated_at: draft.now, ..row.value.clone() };
            draft.replace(&row, &back);
            draft.concerns(deployment.value.spec.project);
            draft.audit(AuditAction::Update, id, "came back");
            draft.then(back)
        })
        .await
    }

    /// Ends the identities of all agents that joined a deployment from outside, a few hundred in one transaction, and
    /// writes their instances off: the deployment is about to be destroyed. For the control plane itself, on the
    /// actor's behalf.
    ///
    /// # Errors
    /// Those of reading and writing; the rest is left to a repetition.
    pub async fn revoke_outside(&self, actor: &Actor, deployment: DeploymentId) -> Result<(), CatalogError> {
        let organization = actor.organization;
        loop {
            let left = self
                .mutate_afresh(self.draft(actor), async |mut draft| {
                    let rows = self.instances_of(organization, deployment).await?;
                    let is_left = |row: &Row<Instance>| row.value.outside && row.value.phase != InstancePhase::Gone;
                    let mut outside: Vec<Row<Instance>> = rows.into_iter().filter(is_left).collect();
                    if outside.is_empty() {
                        return Ok(Decided::Already(0));
                    }
                    self.concerns_deployment(&mut draft, deployment).await?;
                    let later = outside.split_off(outside.len().min(REVOKED_AT_ONCE));
                    for row in &outside {
                        self.retire_agent(&mut draft, &row.value).await?;
                        let gone = Instance { phase: InstancePhase::Gone, updated_at: draft.now, ..row.value.clone() };
                        draft.replace(row, &gone);
                        draft.audit(AuditAction::Delete, gone.id, "revoked with its deployment");
                    }
                    draft.then(later.len())
                })
                .await?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    /// The identity of an instance's agent ends.
    pub(crate) async fn retire_agent(&self, draft: &mut Draft, instance: &Instance) -> Result<(), CatalogError> {
        let Some(agent) = instance.agent else { return Ok(()) };
        let row = self.row::<Agent>(keys::agent(instance.organization, agent)).await?;
        if let Some(row) = row.filter(|row| !row.value.revoked) {
            draft.replace(&row, &Agent { revoked: true, ..row.value.clone() });
        }
        Ok(())
    }
}

/// Changes `instance` as the outcome of its intent says; and the words for the audit log.
fn outcome_of(outcome: &IntentOutcome, instance: &mut Instance, stays: bool) -> (AuditAction, String) {
    match outcome {
        IntentOutcome::Created { endpoint } => {
            instance.endpoint.clone_from(endpoint);
            // It may have been given up in the meantime.
            if instance.phase == InstancePhase::Creating {
                instance.phase = InstancePhase::Running;
            }
            (AuditAction::Create, "instance created".to_owned())
        }
        IntentOutcome::Destroyed => {
            instance.phase = InstancePhase::Gone;
            (AuditAction::Delete, "instance destroyed".to_owned())
        }
        IntentOutcome::Failed { reason } => {
            if !stays {
                instance.phase = InstancePhase::Gone;
            }
            (AuditAction::Failure, reason.clone())
        }
    }
}
