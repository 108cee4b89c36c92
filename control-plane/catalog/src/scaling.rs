//! Decisions and what follows from them, in one transaction each.
//!
//! The latest decision of a deployment is a row; the ones before it are a log. A hold that repeats the latest one only
//! counts up its repeats, so that a deployment at rest writes no history.

use outrigger_protocol::id::{DeploymentId, InstanceId, IntentId, OrganizationId};
use outrigger_scaling::Verdict;
use outrigger_store::Compare;

use crate::catalog::{Catalog, random};
use crate::deployments::DEPLOYMENT;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{
    Actor, AuditAction, Decision, Deployment, Event, Instance, InstancePhase, Intent, IntentKind, ProposalRecord, Role,
};
use crate::mutation::Draft;
use crate::page::{Listing, Page};
use crate::record::{self, InstanceHome};
use crate::validate::{Problems, clip};

/// Decisions of a deployment that are kept, the newest; a few more may be there until they are trimmed.
pub const DECISIONS_KEPT: u64 = 1_000;
/// Events of a deployment that are kept, the newest; a few more may be there until they are trimmed.
pub const EVENTS_KEPT: u64 = 1_000;
/// Most instances that one transaction creates and destroys.
pub const MAX_EFFECTS: usize = 1_000;

/// Most events in one transaction: its effects need the room.
const MAX_EVENTS: usize = 64;
/// A decision's input is kept up to this size; a larger one is left out, and the decision cannot be replayed.
const INPUT_BYTES: usize = 512 * 1024;
const EVENT_MESSAGE_BYTES: usize = 1024;
const REASON_BYTES: usize = 2048;

/// A decision to change the number of replicas, with all that follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingRecord {
    /// Its `to_replicas` are what is desired from now on.
    pub decision: Decision,
    /// Instances to create, in phase [`InstancePhase::Creating`].
    pub creates: Vec<Instance>,
    pub destroys: Vec<InstanceId>,
    pub events: Vec<Event>,
    /// What was desired when the decision was made; when it no longer is, the decision is void.
    pub expect_desired: u32,
}

/// What was written down: the deployment as it is now, and the intents to carry out.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub deployment: Deployment,
    pub intents: Vec<Intent>,
}

impl Catalog {
    /// Writes a decision down with everything that follows from it: the number of replicas, the instances, the intents
    /// to create and destroy them, the events, the audit entry. Nothing of it is attempted before this returns.
    /// Developer; mostly the control plane itself.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when the deployment no longer desires `expect_desired`, or is destroyed;
    /// [`CatalogError::NotFound`] for the deployment or an instance to destroy; [`CatalogError::Validation`] when it is
    /// more than one transaction takes.
    pub async fn record_scaling(&self, actor: &Actor, record: ScalingRecord) -> Result<Recorded, CatalogError> {
        let (organization, id) = (actor.organization, record.decision.deployment);
        if record.decision.organization != organization {
            return Err(CatalogError::NotFound { what: DEPLOYMENT });
        }
        check(id, organization, &record.creates, &record.destroys, &record.events)?;
        let record = &record;
        self.mutate(actor, Role::Developer, "record scaling", async |mut draft| {
            let row = self.live_deployment(organization, id).await?;
            let ScalingRecord { decision, creates, destroys, events, expect_desired } = record;
            let desired = row.value.desired_replicas;
            if desired != *expect_desired {
                let what = format!("the deployment wants {desired} replicas now, no longer {expect_desired}");
                return Err(CatalogError::conflict(what));
            }
            let mut deployment =
                Deployment { desired_replicas: decision.to_replicas, updated_at: draft.now, ..row.value.clone() };
            if decision.to_replicas > desired {
                deployment.last_scale_up = Some(decision.at);
            } else if decision.to_replicas < desired {
                deployment.last_scale_down = Some(decision.at);
            }
            draft.replace(&row, &deployment);
            self.put_decision(&mut draft, decision).await?;
            let intents = self.plan_effects(&mut draft, organization, id, creates, destroys).await?;
            events.iter().for_each(|event| draft.event(event));
            let detail = format!("{desired} -> {}: {}", decision.to_replicas, decision.reason);
            draft.concerns(deployment.spec.project);
            draft.audit(AuditAction::Scale, id, &detail);
            draft.then(Recorded { deployment, intents })
        })
        .await
    }

    /// Plans instances without a decision: replacements for what was lost, the end of what runs too much. Developer;
    /// mostly the control plane itself.
    ///
    /// # Errors
    /// As [`record_scaling`](Self::record_scaling).
    pub async fn put_intents(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        creates: Vec<Instance>,
        destroys: Vec<InstanceId>,
        events: Vec<Event>,
    ) -> Result<Vec<Intent>, CatalogError> {
        let organization = actor.organization;
        check(deployment, organization, &creates, &destroys, &events)?;
        let (creates, destroys, events) = (&creates, &destroys, &events);
        let recorded = self
            .mutate(actor, Role::Developer, "put intents", async |mut draft| {
                let row = self.live_deployment(organization, deployment).await?;
                draft.when(Compare::Present(row.key));
                draft.mark(keys::fence(organization, deployment.to_bytes()));
                let intents = self.plan_effects(&mut draft, organization, deployment, creates, destroys).await?;
                events.iter().for_each(|event| draft.event(event));
                let detail = format!("{} instances to create, {} to destroy", creates.len(), destroys.len());
                draft.concerns(row.value.spec.project);
                draft.audit(AuditAction::Scale, deployment, &detail);
                draft.then(Recorded { deployment: row.value, intents })
            })
            .await?;
        Ok(recorded.intents)
    }

    async fn plan_effects(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        deployment: DeploymentId,
        creates: &[Instance],
        destroys: &[InstanceId],
    ) -> Result<Vec<Intent>, CatalogError> {
        let mut intents = Vec::with_capacity(creates.len() + destroys.len());
        let mut plan = |draft: &mut Draft, instance, kind| {
            let id = IntentId::new(draft.now, random());
            let intent = Intent { id, organization, deployment, instance, kind, attempts: 0, created_at: draft.now };
            draft.put(keys::intent(organization, id), &intent);
            draft.put(keys::home::intent(id), &record::Home(organization));
            intents.push(intent);
        };
        for instance in creates {
            let created = Instance { phase: InstancePhase::Creating, ..instance.clone() };
            draft.put(keys::instance(organization, deployment, instance.id), &created);
            draft.put(keys::instance_home(organization, instance.id), &InstanceHome(deployment));
            plan(draft, instance.id, IntentKind::Create);
        }
        for id in destroys {
            let row = self.instance_row(organization, deployment, *id).await?;
            // What is gone or on its way needs no second intent.
            if matches!(row.value.phase, InstancePhase::Destroying | InstancePhase::Gone) {
                continue;
            }
            let leaving = Instance { phase: InstancePhase::Destroying, updated_at: draft.now, ..row.value.clone() };
            draft.replace(&row, &leaving);
            plan(draft, *id, IntentKind::Destroy);
        }
        Ok(intents)
    }

    /// Writes a decision to change nothing down. One that repeats the latest decision adds 1 and its own `repeats` to
    /// that one's. It is no mutation of the tenant's: the audit log does not tell of it. For the control plane itself.
    ///
    /// Returns the latest decision as it is now.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the deployment is not there any more, [`CatalogError::Conflict`] when it was scaled
    /// since the decision was made: to hold what is no longer there is no decision about it.
    pub async fn record_hold(&self, decision: Decision) -> Result<Decision, CatalogError> {
        let (organization, deployment) = (decision.organization, decision.deployment);
        let first = self.draft(&Actor::system(organization));
        let decision = &decision;
        self.mutate_afresh(first, async |mut draft| {
            let row = self.live_deployment(organization, deployment).await?;
            if row.value.desired_replicas != decision.to_replicas {
                return Err(CatalogError::conflict("the deployment was scaled in the meantime"));
            }
            draft.when(row.unchanged());
            let latest = self.put_decision(&mut draft, decision).await?;
            draft.then(latest)
        })
        .await
    }

    /// Makes a decision the latest one, or counts it as a repetition.
    async fn put_decision(&self, draft: &mut Draft, decision: &Decision) -> Result<Decision, CatalogError> {
        let (organization, deployment) = (decision.organization, decision.deployment);
        let key = keys::latest_decision(organization, deployment);
        let latest = self.row::<Decision>(key.clone()).await?;
        draft.relies_on_or_absence(key.clone(), latest.as_ref());
        let latest = latest.map(|row| row.value);
        let decision = match latest {
            Some(latest) if repeats(&latest, decision) => {
                let count = decision.repeats.saturating_add(1);
                Decision { repeats: latest.repeats.saturating_add(count), ..latest }
            }
            latest => {
                if let Some(latest) = latest {
                    draft.append_bounded(keys::decision_log(organization, deployment), &latest, DECISIONS_KEPT);
                }
                bounded(decision.clone())
            }
        };
        draft.put(key, &decision);
        Ok(decision)
    }

    /// The decisions about a deployment, newest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment.
    pub async fn decisions(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        page: Page,
    ) -> Result<Listing<Decision>, CatalogError> {
        self.deployment(actor, deployment).await?;
        let organization = actor.organization;
        let log = keys::decision_log(organization, deployment);
        let limit = page.size()?;
        if page.cursor.is_some() {
            return self.page_of_log(&log, &page, limit).await;
        }
        let Some(latest) = self.latest_decision(organization, deployment).await? else {
            return Ok(Listing::new(Vec::new(), None));
        };
        // The latest is no entry of the log; it takes one place before it.
        let rest = limit - 1;
        let Listing { mut items, mut next } = self.page_of_log::<Decision>(&log, &page, rest.max(1)).await?;
        if rest == 0 && !items.is_empty() {
            items.clear();
            next = Listing::new(items.clone(), Some(&u64::MAX.to_be_bytes())).next;
        }
        items.insert(0, latest);
        Ok(Listing { items, next })
    }

    /// For the control plane itself.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn latest_decision(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<Option<Decision>, CatalogError> {
        let row = self.row::<Decision>(keys::latest_decision(organization, deployment)).await?;
        Ok(row.map(|row| row.value))
    }

    /// What happened to a deployment, newest first.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment.
    pub async fn events(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        page: Page,
    ) -> Result<Listing<Event>, CatalogError> {
        self.deployment(actor, deployment).await?;
        let limit = page.size()?;
        self.page_of_log(&keys::event_log(actor.organization, deployment), &page, limit).await
    }

    /// Writes down something that happened to a deployment and changed nothing that is kept: a push, a faulting policy.
    /// The audit log does not tell of it. For the control plane itself.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn put_event(&self, event: Event) -> Result<(), CatalogError> {
        let first = self.draft(&Actor::system(event.organization));
        let event = &event;
        self.mutate_afresh(first, async |mut draft| {
            let row = self.live_deployment(event.organization, event.deployment).await?;
            draft.when(Compare::Present(row.key));
            draft.event(event);
            draft.then(())
        })
        .await
    }
}

impl Draft {
    /// Writes an event to its deployment's log.
    pub(crate) fn event(&mut self, event: &Event) {
        let event = Event { message: clip(&event.message, EVENT_MESSAGE_BYTES), ..event.clone() };
        self.append_bounded(keys::event_log(event.organization, event.deployment), &event, EVENTS_KEPT);
    }
}

/// Whether everything is of one deployment of one organisation, and fits one transaction.
fn check(
    deployment: DeploymentId,
    organization: OrganizationId,
    creates: &[Instance],
    destroys: &[InstanceId],
    events: &[Event],
) -> Result<(), CatalogError> {
    if creates.iter().any(|one| (one.organization, one.deployment) != (organization, deployment)) {
        return Err(CatalogError::NotFound { what: DEPLOYMENT });
    }
    check_events(deployment, organization, events)?;
    let mut problems = Problems::default();
    let effects = creates.len() + destroys.len();
    problems.require(effects <= MAX_EFFECTS, "replicas", || {
        format!("change by {effects} instances; at most {MAX_EFFECTS} are taken at once")
    });
    problems.into_result()
}

/// Whether events are of one deployment of one organisation, and no more than fit beside what else a transaction does.
pub(crate) fn check_events(
    deployment: DeploymentId,
    organization: OrganizationId,
    events: &[Event],
) -> Result<(), CatalogError> {
    if events.iter().any(|one| (one.organization, one.deployment) != (organization, deployment)) {
        return Err(CatalogError::NotFound { what: DEPLOYMENT });
    }
    let mut problems = Problems::default();
    problems.require(events.len() <= MAX_EVENTS, "events", || format!("are {}, more than {MAX_EVENTS}", events.len()));
    problems.into_result()
}

/// Whether a decision says again what the latest one said: nothing is changed, for the same causes. The words and
/// numbers of the reasons may differ.
fn repeats(latest: &Decision, decision: &Decision) -> bool {
    let guards = |decision: &Decision| -> Vec<_> {
        decision.guards.iter().map(|report| (report.guard, report.outcome)).collect()
    };
    let same_proposal = |(a, b): (&ProposalRecord, &ProposalRecord)| {
        let outcome = |record: &ProposalRecord| record.outcome.as_ref().ok().map(|summary| summary.desired);
        (&a.policy, a.digest, a.shadow, outcome(a)) == (&b.policy, b.digest, b.shadow, outcome(b))
    };
    matches!((latest.verdict, decision.verdict), (Verdict::Hold, Verdict::Hold))
        && (latest.from_replicas, latest.to_replicas) == (decision.from_replicas, decision.to_replicas)
        && latest.proposals.len() == decision.proposals.len()
        && latest.proposals.iter().zip(&decision.proposals).all(same_proposal)
        && guards(latest) == guards(decision)
}

/// A decision that fits a row, whatever its policies said.
fn bounded(mut decision: Decision) -> Decision {
    decision.reason = clip(&decision.reason, REASON_BYTES);
    if decision.input.len() > INPUT_BYTES {
        decision.input.clear();
    }
    for proposal in &mut decision.proposals {
        match &mut proposal.outcome {
            Ok(summary) => summary.reason = clip(&summary.reason, REASON_BYTES),
            Err(fault) => *fault = clip(fault, REASON_BYTES),
        }
    }
    decision
}
