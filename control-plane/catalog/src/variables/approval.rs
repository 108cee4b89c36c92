//! Changes that are not published before somebody else has approved them.
//!
//! An environment may be protected: it names a risk, and a change of at least that risk is kept as a change request
//! instead of being published. That holds for every change that would make something else of the environment: of its own
//! variables and of what it extends, and of those of the environments that it is put together from, whoever is the one
//! that is changed. It is judged at the one place where anything is published, after everything else that could refuse
//! the change, so that what is held could be published.
//!
//! A request keeps what each touched variable is to be, sealed as variables are, and which version it would replace. When
//! it is approved that is applied to the environment as it is then, unless one of these versions is another by then. One
//! transaction publishes it and says so in the request: it is never published twice, and never half.

mod review;
mod risk;

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_configuration::diff::{Difference, diff};
use outrigger_configuration::resolve::{Effective, Layer, LookupError, Project, resolve, secret_names};
use outrigger_protocol::id::{ChangeId, EnvironmentId, OrganizationId};
use outrigger_protocol::time::UnixMillis;

use super::composition::Composition;
use super::directory::Directory;
use super::publish::{Cause, MAX_WRITES, Publication};
use super::version::{differences, version};
use crate::catalog::{Catalog, random};
use crate::error::CatalogError;
use crate::keys;
use crate::model::{AuditAction, ChangeRequest, Environment, Risk, RiskReason, Role, Stage};
use crate::mutation::Draft;
use crate::record::{ChangeRow, Empty, EnvironmentStep, TouchedVariable};
use risk::Assessment;

pub use review::Approval;
pub(crate) use review::keys_of_values;

/// How long a change request may be approved.
pub const CHANGE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most change requests of one environment that are not decided.
pub const MAX_OPEN_CHANGES: usize = 50;

/// Why a change is held.
pub(super) struct Verdict {
    risk: Risk,
    reasons: Vec<RiskReason>,
    /// Whom it takes to approve it.
    approver: Role,
}

impl Verdict {
    fn add(held: &mut Option<Self>, found: Assessment, approver: Role) {
        match held {
            None => *held = Some(Self { risk: found.risk, reasons: found.reasons, approver }),
            Some(held) => {
                held.risk = held.risk.max(found.risk);
                held.approver = held.approver.max(approver);
                held.reasons.extend(found.reasons);
            }
        }
    }

    fn told(&self) -> String {
        self.reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// The environments of a composition as they are before the change.
struct Before<'a> {
    composition: &'a Composition,
    /// What names stood for, where they may stand for something else now.
    directory: Option<&'a Directory>,
}

impl Project for Before<'_> {
    fn layer(&self, environment: EnvironmentId) -> Option<&Layer> {
        self.composition.written.get(&environment).or_else(|| self.composition.layers.get(&environment))
    }

    fn find(&self, name: &str) -> Result<EnvironmentId, LookupError> {
        self.directory.map_or_else(|| self.composition.find(name), |directory| directory.find(name))
    }
}

impl Catalog {
    /// Whether a change has to be approved, given the environments that would be different with it.
    pub(super) async fn judge(
        &self,
        composition: &mut Composition,
        publication: &Publication<'_>,
        different: &[(EnvironmentId, &Effective)],
    ) -> Result<Option<Verdict>, CatalogError> {
        let (mut held, mut directory) = (None, None);
        for (id, effective) in different {
            let Some((environment, from)) = protected(composition, *id) else { continue };
            let approver = approver(environment);
            let found = if *id == publication.root {
                of_root(composition, publication)
            } else {
                if publication.cause != Cause::Content && directory.is_none() {
                    directory = Some(self.directory_before(composition).await?);
                }
                self.load_before(composition, *id, directory.as_ref()).await?;
                of_dependent(composition, *id, directory.as_ref(), effective)
            };
            if let Some(found) = found.filter(|found| found.risk >= from) {
                Verdict::add(&mut held, found, approver);
            }
        }
        Ok(held)
    }

    /// Loads what an environment needed before the change, which may be more than it needs now.
    async fn load_before(
        &self,
        composition: &mut Composition,
        target: EnvironmentId,
        directory: Option<&Directory>,
    ) -> Result<(), CatalogError> {
        let (mut open, mut seen) = (vec![target], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) || !self.load(composition, id).await? {
                continue;
            }
            let before = Before { composition, directory };
            let Some(layer) = before.layer(id) else { continue };
            open.extend(layer.extends);
            open.extend(layer.mentions().into_iter().filter_map(|name| before.find(name).ok()));
        }
        Ok(())
    }

    /// Makes a draft one of a change request, whatever else was in it.
    pub(super) async fn hold(
        &self,
        draft: &mut Draft,
        composition: &Composition,
        publication: &Publication<'_>,
        verdict: Verdict,
    ) -> Result<ChangeId, CatalogError> {
        let (organization, root) = (composition.organization, publication.root);
        let Some(snapshot) = composition.snapshots.get(&root) else {
            // There is nothing yet that a request could be about.
            let what = format!("it would change a protected environment: {}", verdict.told());
            return Err(CatalogError::conflict(what));
        };
        let environment = &snapshot.environment;
        if self.open_change_requests(organization, root, draft.now).await?.len() >= MAX_OPEN_CHANGES {
            let what = format!(
                "{MAX_OPEN_CHANGES} changes of the environment await approval, which is the most; have some of them \
                 approved, rejected or withdrawn"
            );
            return Err(CatalogError::conflict(what));
        }
        draft.start_over();
        // Written as it is: so requests are counted one after the other, and what they are made on is still so.
        draft.replace(environment, &environment.value);
        let id = ChangeId::new(draft.now, random());
        let layer = composition.written_by(root)?;
        let differences = composition.written.get(&root).map_or_else(Vec::new, |before| differences(before, layer));
        if differences.len() > MAX_WRITES {
            let what = format!("more than {MAX_WRITES} variables would be written at once; change fewer");
            return Err(CatalogError::conflict(what));
        }
        let sealer = self.sealer(draft, organization, &environment.value, &differences).await?;
        let place = place_of_values(&environment.value, id);
        let mut touched = Vec::with_capacity(differences.len());
        for difference in &differences {
            if let Some(wanted) = difference.after {
                let row = version(wanted, sealer.as_ref(), organization, &place, 0, 0)?;
                draft.put(keys::change_value(organization, id, difference.name), &row);
            }
            touched.push(TouchedVariable {
                name: difference.name.to_owned(),
                base: snapshot.variables.get(difference.name).map(|row| row.value.generation),
                stays: difference.after.is_some(),
            });
        }
        let step = composition.renewed.get(&root).map(|to| {
            let (from, to) = (environment.value.clone(), to.clone());
            EnvironmentStep { from, to }
        });
        let request = ChangeRequest {
            id,
            project: composition.project,
            environment: root,
            kind: publication.kind,
            author: publication.actor.subject.to_string(),
            message: publication.message.to_owned(),
            base: environment.value.generation,
            risk: verdict.risk,
            approver: verdict.approver,
            created_at: draft.now,
            expires_at: draft.now.saturating_add(CHANGE_TTL),
            decision: None,
            reasons: verdict.reasons.clone(),
        };
        draft.put(keys::change(organization, id), &ChangeRow { request, touched, environment: step });
        draft.mark(keys::open_change(organization, root, id));
        draft.concerns(composition.project);
        let label = composition.label(root);
        let detail = format!("change of {label} awaits approval, risk {}: {}", verdict.risk.name(), verdict.told());
        draft.audit(AuditAction::Create, id, &detail);
        Ok(id)
    }

    /// The requests of an environment that are neither decided nor expired, oldest first.
    async fn open_change_requests(
        &self,
        organization: OrganizationId,
        environment: EnvironmentId,
        now: UnixMillis,
    ) -> Result<Vec<ChangeRequest>, CatalogError> {
        let index = self.rows::<Empty>(&keys::open_changes(organization, environment), None).await?;
        let mut open = Vec::with_capacity(index.len());
        for id in index.iter().filter_map(|row| keys::last_id(&row.key)).map(ChangeId::from_bytes) {
            let row = self.row::<ChangeRow>(keys::change(organization, id)).await?;
            open.extend(row.map(|row| row.value.request).filter(|request| is_open(request, now)));
        }
        Ok(open)
    }
}

fn is_open(request: &ChangeRequest, now: UnixMillis) -> bool {
    request.decision.is_none() && now < request.expires_at
}

/// A protected environment as it is now, and from which risk on it is.
fn protected(composition: &Composition, id: EnvironmentId) -> Option<(&Environment, Risk)> {
    let environment = &composition.snapshots.get(&id)?.environment.value;
    Some((environment, environment.approval?))
}

const fn approver(environment: &Environment) -> Role {
    match environment.stage {
        Stage::Production => Role::Admin,
        Stage::Development | Stage::Staging => Role::Developer,
    }
}

fn of_root(composition: &Composition, publication: &Publication<'_>) -> Option<Assessment> {
    let root = publication.root;
    let step = composition.snapshots.get(&root).zip(composition.renewed.get(&root));
    let step = step.map(|(snapshot, to)| (&snapshot.environment.value, to));
    risk::of_change(publication.kind, &written_differences(composition, root), step)
}

fn of_dependent(
    composition: &Composition,
    id: EnvironmentId,
    directory: Option<&Directory>,
    after: &Effective,
) -> Option<Assessment> {
    let mut found = match resolve(&Before { composition, directory }, id) {
        Ok(before) => risk::of_content(&diff(before.views(), after.views()))?,
        Err(_) => Assessment::unknown(),
    };
    let label = composition.label(id);
    for reason in &mut found.reasons {
        reason.text = format!("in {label}, which depends on it, {}", reason.text);
    }
    Some(found)
}

/// What is different about the variables that an environment writes.
fn written_differences(composition: &Composition, id: EnvironmentId) -> Vec<Difference> {
    let Some((before, after)) = composition.written.get(&id).zip(composition.layers.get(&id)) else {
        return Vec::new();
    };
    let then = Before { composition, directory: None };
    let secrets = (secret_names(&then, id), secret_names(composition, id));
    diff(before.views(&secrets.0), after.views(&secrets.1))
}

/// Where the values of a request are sealed for: for it alone, as if it was an environment. No environment has its id,
/// and no generation is 0, so that they open nowhere else.
fn place_of_values(environment: &Environment, change: ChangeId) -> Environment {
    Environment { id: EnvironmentId::from_bytes(change.to_bytes()), ..environment.clone() }
}
