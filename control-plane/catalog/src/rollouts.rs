//! Rollouts: how each generation of configuration spread over the instances of a deployment.
//!
//! What people read of a rollout is one row each, and some of them are kept. What the newest rollout of a deployment
//! itself knows is one state, in chunks, and goes with the deployment. Both are written together and often, whenever
//! something happened that a restart must not forget; so nothing is read for it but whether the rollout is new.

use bytes::Bytes;
use outrigger_protocol::id::{DeploymentId, OrganizationId, RolloutId};
use outrigger_rollout::Snapshot;
use outrigger_store::{Compare, KeyRange, RangeOptions, Transaction};

use crate::catalog::{Catalog, READ, decode};
use crate::deployments::DEPLOYMENT;
use crate::error::CatalogError;
use crate::keys;
use crate::model::{Actor, AuditAction, Event, Role, Rollout};
use crate::mutation::Draft;
use crate::page::{Listing, Page};
use crate::record::{self, Record, RecordError, RolloutHome, RolloutStateRow};
use crate::scaling::check_events;
use crate::validate::clip;

/// Rollouts of a deployment that are kept, the newest.
pub const ROLLOUTS_KEPT: usize = 100;

const ROLLOUT: &str = "rollout";
/// Of a state in one row, well below what the store takes.
const CHUNK_BYTES: usize = 256 * 1024;
/// Of a whole state: with everything else about it, it has to fit into one transaction.
const STATE_BYTES: usize = 7 * 1024 * 1024;
const REASON_BYTES: usize = 2048;

/// A rollout as it is now, to be written down before anything of it is done.
#[derive(Debug, Clone)]
pub struct SaveRollout<'a> {
    pub rollout: &'a Rollout,
    pub snapshot: &'a Snapshot,
    /// The one before it, which has ended by that.
    pub superseded: Option<&'a Rollout>,
    pub events: &'a [Event],
    /// Who has done it, if it was a person, and what in words, for the audit log.
    pub by: Option<(&'a Actor, String)>,
}

impl Catalog {
    /// Writes down how a rollout stands, with what happened to it: all of it or nothing. Developer when somebody did it;
    /// otherwise the control plane itself. An idempotency key of theirs is not looked at: what is written is how things
    /// are, not that something be done.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the deployment is destroyed, or something is another deployment's;
    /// [`CatalogError::Conflict`] when it is more than one transaction takes.
    pub async fn save_rollout(&self, save: SaveRollout<'_>) -> Result<(), CatalogError> {
        let SaveRollout { rollout, snapshot, superseded, events, by } = save;
        let (organization, deployment) = (rollout.organization, rollout.deployment);
        let absent = CatalogError::NotFound { what: DEPLOYMENT };
        check_events(deployment, organization, events)?;
        if superseded.is_some_and(|before| (before.organization, before.deployment) != (organization, deployment)) {
            return Err(absent);
        }
        let mut draft = match &by {
            Some((actor, _)) if actor.organization != organization => return Err(absent),
            Some((actor, _)) => {
                actor.require(Role::Developer)?;
                self.draft(actor)
            }
            None => self.draft(&Actor::system(organization)),
        };
        draft.when(Compare::Present(keys::deployment(organization, deployment)));
        let key = keys::rollout(organization, deployment, rollout.id);
        if !self.any(&key).await? {
            self.retire_rollouts(&mut draft, organization, deployment).await?;
            draft.put(keys::rollout_home(organization, rollout.id), &RolloutHome(deployment));
        }
        draft.put(key, &bounded(rollout));
        if let Some(before) = superseded {
            draft.put(keys::rollout(organization, deployment, before.id), &bounded(before));
        }
        put_state(&mut draft, rollout, snapshot)?;
        events.iter().for_each(|event| draft.event(event));
        if let Some((_, words)) = &by {
            draft.concerns(rollout.project);
            draft.audit(AuditAction::Rollout, rollout.id, words);
        }
        // It relies on nothing but the deployment being there.
        if self.commit(draft).await? { Ok(()) } else { Err(absent) }
    }

    /// Makes room for one more rollout.
    async fn retire_rollouts(
        &self,
        draft: &mut Draft,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<(), CatalogError> {
        let ids = self.rollout_ids(organization, deployment).await?;
        let over = (ids.len() + 1).saturating_sub(ROLLOUTS_KEPT);
        for id in ids.into_iter().take(over) {
            draft.delete(keys::rollout(organization, deployment, id));
            draft.delete(keys::rollout_home(organization, id));
        }
        Ok(())
    }

    /// Oldest first.
    async fn rollout_ids(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<Vec<RolloutId>, CatalogError> {
        let mut range = KeyRange::prefix(&keys::rollouts(organization, deployment));
        let mut ids = Vec::new();
        loop {
            let page = self.store().range(range.clone(), RangeOptions::default()).await.map_err(READ)?;
            ids.extend(page.entries.iter().filter_map(|entry| keys::last_id(&entry.key)).map(RolloutId::from_bytes));
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok(ids),
            }
        }
    }

    /// The newest rollout of a deployment that is not destroyed, with everything that it knows. For the control plane
    /// itself.
    ///
    /// # Errors
    /// [`CatalogError::Record`] when it is damaged.
    pub async fn stored_rollout(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<Option<(Rollout, Snapshot)>, CatalogError> {
        let prefix = keys::rollout_states(organization, deployment);
        let mut range = KeyRange::prefix(&prefix);
        // All of one moment, and not partly of the next one.
        let at = self.store().revision();
        let mut bytes = Vec::new();
        loop {
            let page = self.store().range(range.clone(), RangeOptions::default().at(at)).await.map_err(READ)?;
            for entry in &page.entries {
                bytes.extend_from_slice(&entry.value);
            }
            match page.entries.last() {
                Some(last) if page.more && bytes.len() <= STATE_BYTES => range = range.after(&last.key),
                _ => break,
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let RolloutStateRow { rollout, snapshot } = decode(&bytes)?;
        let row = self.row_at::<Rollout>(&keys::rollout(organization, deployment, rollout), at).await?;
        let source = RecordError::Unknown { field: "rollout" };
        let row = row.ok_or(CatalogError::Record { row: RolloutStateRow::ROW, source })?;
        Ok(Some((row.value, snapshot)))
    }

    /// The rollouts of a deployment, newest first; those of a destroyed one as long as it is known.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] for the deployment.
    pub async fn rollouts(
        &self,
        actor: &Actor,
        deployment: DeploymentId,
        page: Page,
    ) -> Result<Listing<Rollout>, CatalogError> {
        self.deployment(actor, deployment).await?;
        let prefix = keys::rollouts(actor.organization, deployment);
        let mut range = KeyRange::prefix(&prefix);
        if let Some(id) = page.position::<16>()? {
            range = range.before(&prefix.extend().array(&id).build());
        }
        let options = RangeOptions::default().reverse().limit(page.size()?);
        let found = self.store().range(range, options).await.map_err(READ)?;
        let last = found.entries.last().filter(|_| found.more).and_then(|entry| keys::last_id(&entry.key));
        let items = found.entries.iter().map(|entry| decode(&entry.value)).collect::<Result<_, _>>()?;
        Ok(Listing::new(items, last.as_ref().map(<[u8; 16]>::as_slice)))
    }

    /// # Errors
    /// [`CatalogError::NotFound`] also when it is no longer kept.
    pub async fn rollout(&self, actor: &Actor, id: RolloutId) -> Result<Rollout, CatalogError> {
        actor.require(Role::Viewer)?;
        let organization = actor.organization;
        let home = self.expect_row::<RolloutHome>(keys::rollout_home(organization, id), ROLLOUT).await?.value;
        Ok(self.expect_row::<Rollout>(keys::rollout(organization, home.0, id), ROLLOUT).await?.value)
    }

    /// Deletes the history of a deployment that is no longer known.
    pub(crate) async fn forget_rollouts(
        &self,
        organization: OrganizationId,
        deployment: DeploymentId,
    ) -> Result<(), CatalogError> {
        let ids = self.rollout_ids(organization, deployment).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let history = KeyRange::prefix(&keys::rollouts(organization, deployment));
        let homes = ids.into_iter().map(|id| keys::rollout_home(organization, id));
        let transaction = homes.fold(Transaction::new().delete_range(history), Transaction::delete);
        self.store().commit(transaction).await.map_err(CatalogError::store("deleting rollouts"))?;
        Ok(())
    }
}

/// Puts a state in place of the one before it.
fn put_state(draft: &mut Draft, rollout: &Rollout, snapshot: &Snapshot) -> Result<(), CatalogError> {
    let (organization, deployment) = (rollout.organization, rollout.deployment);
    let bytes = encoded(rollout.id, snapshot)?;
    let mut rest = KeyRange::prefix(&keys::rollout_states(organization, deployment));
    for (number, at) in (0_u64..).zip((0..bytes.len()).step_by(CHUNK_BYTES)) {
        let key = keys::rollout_state(organization, deployment, number);
        rest = rest.after(&key);
        draft.put_bytes(key, bytes.slice(at..bytes.len().min(at + CHUNK_BYTES)));
    }
    draft.delete_range(rest);
    Ok(())
}

fn encoded(id: RolloutId, snapshot: &Snapshot) -> Result<Bytes, CatalogError> {
    let mut state = record::stored_state(id, snapshot);
    let mut bytes = record::encode_stored(&state);
    if bytes.len() > STATE_BYTES {
        record::without_words(&mut state);
        bytes = record::encode_stored(&state);
    }
    if bytes.len() > STATE_BYTES {
        let what = format!("the rollout's state has {} bytes, and at most {STATE_BYTES} can be kept", bytes.len());
        return Err(CatalogError::conflict(what));
    }
    Ok(bytes)
}

/// A rollout that fits a row, whatever agents said.
fn bounded(rollout: &Rollout) -> Rollout {
    let reason = rollout.reason.as_deref().map(|reason| clip(reason, REASON_BYTES).replace(char::is_control, " "));
    Rollout { reason, ..rollout.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use outrigger_protocol::id::InstanceId;
    use outrigger_protocol::message::{ApplyState, ConfigFailure, ConfigRef, ConfigStatus, ProgramState};
    use outrigger_protocol::probe::{ProbeKind, ProbeLevel, ProbeStatus, ProbeVerdict};
    use outrigger_protocol::time::UnixMillis;
    use outrigger_rollout::{Arrival, Event, Gates, Launch, MEMBERS, Rollout as Machine, Settings, Strategy};

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_800_000_000_000);

    fn config(generation: u64, hash: [u8; 32]) -> ConfigRef {
        ConfigRef { generation, hash }
    }

    fn instance(number: usize) -> InstanceId {
        let mut entropy = [0; 10];
        entropy[2..].copy_from_slice(&number.to_be_bytes());
        InstanceId::new(NOW, entropy)
    }

    /// As many members as there can be, each of which has a failure of its own behind it and fails its probes with `error`.
    fn largest(error: &str) -> Snapshot {
        let (stable, target) = (config(1_000_001, [1; 32]), config(1_000_002, [2; 32]));
        let gates = Gates { probe_failures: 1_000, ..Gates::default() };
        let settings = Settings { gates, ..Settings::new(Strategy::AllAtOnce) };
        let launch = Launch { target, plan: settings.compile().unwrap(), seed: 7, baseline: None };
        let arrivals = (0..MEMBERS).map(|number| {
            let mut hash = [3; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            let failure = ConfigFailure { config: config(1_000_000, hash), error: "no".to_owned() };
            let status =
                ConfigStatus { last_received: Some(stable), running: Some(stable), last_failed: Some(failure) };
            Arrival { instance: instance(number), status, program: ProgramState::Running { pid: 7, restarts: 3 } }
        });
        let (mut machine, _) = Machine::start(launch, Some(stable), arrivals, NOW).unwrap();
        let probe = ProbeStatus {
            name: "n".repeat(64),
            kind: ProbeKind::Readiness,
            level: ProbeLevel::Service,
            verdict: ProbeVerdict::Failing,
            consecutive_failures: 70,
            last_error: Some(error.to_owned()),
        };
        let events = (0..MEMBERS).flat_map(|number| {
            let instance = instance(number);
            let status = ConfigStatus { last_received: Some(target), running: Some(target), last_failed: None };
            let report = Event::Report { instance, state: ApplyState::Applied, status };
            [report, Event::Probes { instance, probes: vec![probe.clone()] }]
        });
        machine.handle_all(events, NOW.saturating_add(std::time::Duration::from_secs(3_600)));
        let snapshot = machine.snapshot();
        assert_eq!(snapshot.members.len(), MEMBERS);
        snapshot
    }

    fn words(snapshot: &Snapshot) -> BTreeMap<InstanceId, usize> {
        let error = |member: &outrigger_rollout::Member| member.health.failing.as_ref().map_or(0, |it| it.error.len());
        snapshot.members.iter().map(|(id, member)| (*id, error(member))).collect()
    }

    #[test]
    fn the_largest_fleet_fits_into_a_transaction_with_all_that_its_probes_say() {
        let snapshot = largest(&"connection refused ".repeat(13));
        let id = RolloutId::generate();
        let bytes = encoded(id, &snapshot).unwrap();
        let read: RolloutStateRow = decode(&bytes).unwrap();
        assert_eq!(read, RolloutStateRow { rollout: id, snapshot }, "in {} bytes", bytes.len());
    }

    #[test]
    fn of_a_fleet_that_says_too_much_the_words_are_forgotten_and_nothing_else() {
        let snapshot = largest(&"\u{1}".repeat(256));
        let id = RolloutId::generate();
        let bytes = encoded(id, &snapshot).unwrap();
        let read: RolloutStateRow = decode(&bytes).unwrap();
        assert!(words(&read.snapshot).values().all(|length| *length == 0));
        assert_eq!(read.snapshot.members.len(), MEMBERS);
        assert_eq!(read.snapshot.evidence, snapshot.evidence);
    }
}
