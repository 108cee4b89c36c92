//! Change requests: read, and decided on.

use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId};

use super::super::Opener;
use super::super::composition::Composition;
use super::super::publish::{Cause, Publication, Published};
use super::{is_open, place_of_values, written_differences};
use crate::catalog::{Catalog, Row};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{
    Actor, AuditAction, ChangeDecision, ChangeOutcome, ChangeRequest, Environment, FieldChange, ReviewedChange, Role,
};
use crate::mutation::Draft;
use crate::record::{ChangeRow, EnvironmentStep, Outcome, VariableRow};
use crate::validate::{MESSAGE_BYTES, Problems, listed};

const CHANGE: &str = "change request";

/// How somebody approves a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    pub reason: String,
    /// Without anybody else, because it cannot wait. Owner, and only with a reason.
    pub is_override: bool,
}

/// The environments of a change request with what it would make of them.
struct Requested {
    composition: Composition,
    /// What the environment itself would be, if that is what is to be different.
    environment: Option<Environment>,
    /// What was changed since.
    outdated: Vec<String>,
}

impl Catalog {
    /// The changes of an environment that await approval, oldest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the environment.
    pub async fn change_requests(
        &self,
        actor: &Actor,
        environment: EnvironmentId,
    ) -> Result<Vec<ChangeRequest>, CatalogError> {
        self.environment(actor, environment).await?;
        self.open_change_requests(actor.organization, environment, self.now()).await
    }

    /// A change request with what it would change. One that is decided is kept for a while.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn change_request(&self, actor: &Actor, id: ChangeId) -> Result<ReviewedChange, CatalogError> {
        actor.require(Role::Viewer)?;
        let organization = actor.organization;
        let row = self.expect_row::<ChangeRow>(keys::change(organization, id), CHANGE).await?.value;
        let fields = row.environment.as_ref().map_or_else(Vec::new, EnvironmentStep::fields);
        let (mut differences, mut outdated) = (Vec::new(), Vec::new());
        if is_open(&row.request, self.now()) {
            let mut requested = self.requested(organization, &row).await?;
            // For the names that are secret because of what it extends.
            self.complete(&mut requested.composition, row.request.environment).await?;
            differences = written_differences(&requested.composition, row.request.environment);
            outdated = requested.outdated;
        }
        Ok(ReviewedChange { request: row.request, differences, fields, outdated })
    }

    /// Publishes a change that somebody else asked for, as a generation by them. The role that the request names; owner to
    /// override it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Forbidden`]; [`CatalogError::Conflict`] for the author, when it is
    /// decided or has expired, and when what it touches was changed since, which is named; and everything that a change of
    /// variables may be refused for.
    pub async fn approve_change(
        &self,
        actor: &Actor,
        id: ChangeId,
        approval: Approval,
    ) -> Result<ChangeRequest, CatalogError> {
        let (approval, organization) = (&approval, actor.organization);
        self.mutate(actor, Role::Developer, "approve change", async |mut draft| {
            let row = self.open_change(organization, id, &draft).await?;
            let request = &row.value.request;
            permit(actor, request, approval)?;
            let Requested { mut composition, environment, outdated } = self.requested(organization, &row.value).await?;
            if !outdated.is_empty() {
                let what = format!("changed since it was asked for: {}; make the change anew", listed(&outdated));
                return Err(CatalogError::conflict(what));
            }
            let (root, message) = (request.environment, request.message.as_str());
            let on_behalf_of = Some(request.author.as_str());
            let publication =
                Publication { actor, root, message, cause: Cause::Content, kind: request.kind, on_behalf_of };
            let published = match &environment {
                Some(environment) => {
                    let present = self.environment_row(organization, root).await?;
                    self.publish_environment_as(&mut draft, &present, environment, publication).await?
                }
                None => self.publish(&mut draft, &mut composition, &publication).await?,
            };
            let generation = match published {
                Published::Generation(generation) => generation.number,
                Published::Nothing => self.environment_row(organization, root).await?.value.generation,
                Published::Held(_) => return Err(CatalogError::conflict("the change has to be approved again")),
            };
            let (outcome, action) = if approval.is_override {
                (ChangeOutcome::Overridden { generation }, AuditAction::Override)
            } else {
                (ChangeOutcome::Approved { generation }, AuditAction::Approve)
            };
            let detail = format!("{} of {root} by {}, as generation {generation}", request.kind.name(), request.author);
            let decided = decide(&mut draft, &row, actor, outcome, &approval.reason);
            tell(&mut draft, action, &decided, &detail);
            draft.then(decided)
        })
        .await
    }

    /// Ends a change request without publishing it: its author takes it back, or whoever could approve it says no.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Forbidden`]; [`CatalogError::Conflict`] when it is decided or has expired.
    pub async fn reject_change(
        &self,
        actor: &Actor,
        id: ChangeId,
        reason: String,
    ) -> Result<ChangeRequest, CatalogError> {
        let (reason, organization) = (reason.as_str(), actor.organization);
        check_reason(reason)?;
        self.mutate(actor, Role::Developer, "reject change", async |mut draft| {
            let row = self.open_change(organization, id, &draft).await?;
            let request = &row.value.request;
            let outcome = if actor.subject.to_string() == request.author {
                ChangeOutcome::Withdrawn
            } else {
                actor.require(request.approver)?;
                ChangeOutcome::Rejected
            };
            let detail = format!("{} of {}, {}", request.kind.name(), request.environment, outcome.name());
            let decided = decide(&mut draft, &row, actor, outcome, reason);
            tell(&mut draft, AuditAction::Reject, &decided, &detail);
            draft.then(decided)
        })
        .await
    }

    /// What a call came to, for its caller: that something is held is no result.
    pub(crate) async fn settle<T>(&self, actor: &Actor, outcome: Outcome<T>) -> Result<T, CatalogError> {
        match outcome {
            Outcome::Done(value) => Ok(value),
            Outcome::Held(id) => {
                let held = self.change_request(actor, id).await?;
                Err(CatalogError::AwaitsApproval(Box::new(held)))
            }
        }
    }

    async fn open_change(
        &self,
        organization: OrganizationId,
        id: ChangeId,
        draft: &Draft,
    ) -> Result<Row<ChangeRow>, CatalogError> {
        let row = self.expect_row::<ChangeRow>(keys::change(organization, id), CHANGE).await?;
        match &row.value.request.decision {
            Some(decision) => {
                Err(CatalogError::conflict(format!("the change was {} already", decision.outcome.name())))
            }
            None if !is_open(&row.value.request, draft.now) => Err(CatalogError::conflict("the change has expired")),
            None => Ok(row),
        }
    }

    /// The environment of now with the change.
    async fn requested(&self, organization: OrganizationId, row: &ChangeRow) -> Result<Requested, CatalogError> {
        let (id, root) = (row.request.id, row.request.environment);
        let mut composition = self.present(organization, root, None).await?;
        let present = composition.snapshots.get(&root).ok_or(CatalogError::NotFound { what: "environment" })?;
        let place = place_of_values(&present.environment.value, id);
        let mut opener = Opener::new(self, organization, &place);
        let mut layer = composition.written_by(root)?.clone();
        let mut outdated = Vec::new();
        for touched in &row.touched {
            let name = touched.name.as_str();
            if present.variables.get(name).map(|row| row.value.generation) != touched.base {
                outdated.push(name.to_owned());
            }
            layer.variables.retain(|variable| variable.name != name);
            layer.tombstones.retain(|removed| removed != name);
            if touched.stays {
                let key = keys::change_value(organization, id, name);
                let value = self.expect_row::<VariableRow>(key, CHANGE).await?.value;
                opener.say(&mut layer, name, &value).await?;
            }
        }
        let environment = row.environment.as_ref().map(|step| step.apply(&present.environment.value, &mut outdated));
        if !row.touched.is_empty() {
            composition.rewrite(layer);
        }
        Ok(Requested { composition, environment, outdated })
    }
}

/// Whether somebody may approve a request in this way.
fn permit(actor: &Actor, request: &ChangeRequest, approval: &Approval) -> Result<(), CatalogError> {
    check_reason(&approval.reason)?;
    if approval.is_override {
        actor.require(Role::Owner)?;
        if approval.reason.trim().is_empty() {
            return Err(CatalogError::invalid("reason", "is required to override an approval"));
        }
        return Ok(());
    }
    actor.require(request.approver)?;
    if actor.subject.to_string() == request.author {
        let what = format!(
            "a change is approved by somebody else than its author, with the role {} or a higher one; in an emergency an \
             owner overrides that, with a reason",
            request.approver.name()
        );
        return Err(CatalogError::conflict(what));
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), CatalogError> {
    let mut problems = Problems::default();
    problems.text("reason", reason, MESSAGE_BYTES);
    problems.into_result()
}

/// Adds to a draft that a request is decided, which leaves nothing of its values.
fn decide(
    draft: &mut Draft,
    row: &Row<ChangeRow>,
    actor: &Actor,
    outcome: ChangeOutcome,
    reason: &str,
) -> ChangeRequest {
    let organization = actor.organization;
    let (by, reason) = (actor.subject.to_string(), reason.to_owned());
    let decision = ChangeDecision { outcome, by, at: draft.now, reason };
    let request = ChangeRequest { decision: Some(decision), ..row.value.request.clone() };
    // At once: beside what is published there may be no room for as many deletions.
    draft.delete_below(&keys::change_values(organization, request.id));
    draft.delete(mark_of_values(organization, request.id));
    draft.delete(keys::open_change(organization, request.environment, request.id));
    draft.replace(row, &ChangeRow { request: request.clone(), ..row.value.clone() });
    request
}

fn tell(draft: &mut Draft, action: AuditAction, request: &ChangeRequest, what: &str) {
    let reason = request.decision.as_ref().map(|decision| decision.reason.as_str()).filter(|reason| !reason.is_empty());
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    draft.concerns(request.project);
    draft.audit(action, request.id, &format!("{what}{reason}"));
}

/// The rows that hold what the variables of a request are to be, and the mark of their having been sealed anew.
pub(crate) fn keys_of_values(
    organization: OrganizationId,
    row: &ChangeRow,
) -> impl Iterator<Item = outrigger_store::Key> + '_ {
    let staying = row.touched.iter().filter(|touched| touched.stays);
    let mark = mark_of_values(organization, row.request.id);
    staying.map(move |touched| keys::change_value(organization, row.request.id, &touched.name)).chain([mark])
}

fn mark_of_values(organization: OrganizationId, id: ChangeId) -> outrigger_store::Key {
    keys::resealed(organization, EnvironmentId::from_bytes(id.to_bytes()))
}

impl EnvironmentStep {
    /// `present` with what is different, and what of that was changed since.
    fn apply(&self, present: &Environment, outdated: &mut Vec<String>) -> Environment {
        let now = texts(present);
        for FieldChange { field, before, .. } in self.fields() {
            if now.iter().any(|(name, text)| *name == field && *text != before) {
                outdated.push(field.to_owned());
            }
        }
        let Self { from, to } = self;
        Environment {
            stage: if from.stage == to.stage { present.stage } else { to.stage },
            name: if from.name == to.name { present.name.clone() } else { to.name.clone() },
            description: if from.description == to.description { &present.description } else { &to.description }
                .clone(),
            is_active: if from.is_active == to.is_active { present.is_active } else { to.is_active },
            extends: if from.extends == to.extends { present.extends } else { to.extends },
            approval: if from.approval == to.approval { present.approval } else { to.approval },
            ..present.clone()
        }
    }

    fn fields(&self) -> Vec<FieldChange> {
        let pairs = texts(&self.from).into_iter().zip(texts(&self.to));
        let changed = pairs.filter(|((_, before), (_, after))| before != after);
        changed.map(|((field, before), (_, after))| FieldChange { field, before, after }).collect()
    }
}

/// What may be changed of an environment itself, by the names of the HTTP API.
fn texts(environment: &Environment) -> [(&'static str, Option<String>); 6] {
    [
        ("environment", Some(environment.stage.name().to_owned())),
        ("name", Some(environment.name.clone())),
        ("description", Some(environment.description.clone())),
        ("isActive", Some(environment.is_active.to_string())),
        ("extends", environment.extends.map(|base| base.to_string())),
        ("approval", environment.approval.map(|risk| risk.name().to_owned())),
    ]
}
