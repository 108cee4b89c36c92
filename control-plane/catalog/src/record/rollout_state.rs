//! Everything that a rollout knows, to a row and back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{InstanceId, RolloutId};
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{
    Cause, Departed, Evidence, Finding, Health, Hold, Member, Offered, Outcome, Phase, ProbeFailure, Program, Rate,
    Reference, Served, Signal, Snapshot, StepState, Traffic, Watched,
};

use super::scalar::{Digest, Number, Text};
use super::v1::rollout as v1;
use super::{Record, RecordError};

/// The state of a rollout, and which one that is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolloutStateRow {
    pub(crate) rollout: RolloutId,
    pub(crate) snapshot: Snapshot,
}

impl Record for RolloutStateRow {
    const ROW: &'static str = "rollout state";
    type Stored = v1::RolloutSnapshot;

    fn to_stored(&self) -> v1::RolloutSnapshot {
        stored_state(self.rollout, &self.snapshot)
    }

    fn from_stored(stored: v1::RolloutSnapshot) -> Result<Self, RecordError> {
        let read = Reader { configs: &stored.configs };
        let snapshot = Snapshot {
            settings: stored.settings.into(),
            target: read.config(stored.target)?,
            stable: read.optional(stored.stable)?,
            seed: stored.seed,
            baseline: stored.baseline.map(Traffic::try_from).transpose()?,
            phase: read.phase(stored.phase)?,
            paused: stored.paused,
            overridden: stored.overridden,
            step: stored.step.try_into()?,
            watched: Watched {
                last: UnixMillis::from_millis(stored.watched.last),
                elapsed: stored.watched.elapsed.into(),
            },
            evidence: Evidence {
                new: stored.evidence.new.try_into()?,
                old: stored.evidence.old.try_into()?,
                earlier: stored.evidence.earlier.try_into()?,
            },
            members: by_instance(stored.members, |member| read.member(member))?,
            departed: by_instance(stored.departed, |departed| read.departed(departed))?,
            revision: stored.revision,
        };
        Ok(Self { rollout: stored.rollout.0, snapshot })
    }
}

/// A state as it is stored, without a copy of it in between.
pub(crate) fn stored_state(rollout: RolloutId, snapshot: &Snapshot) -> v1::RolloutSnapshot {
    let mut write = Writer::default();
    v1::RolloutSnapshot {
        rollout: Text(rollout),
        settings: (&snapshot.settings).into(),
        target: write.config(snapshot.target),
        stable: write.optional(snapshot.stable),
        seed: snapshot.seed,
        baseline: snapshot.baseline.as_ref().map(Into::into),
        phase: write.phase(&snapshot.phase),
        paused: snapshot.paused.clone(),
        overridden: snapshot.overridden.clone(),
        step: snapshot.step.into(),
        watched: v1::Watched { last: snapshot.watched.last.as_millis(), elapsed: snapshot.watched.elapsed.into() },
        evidence: v1::Evidence {
            new: (&snapshot.evidence.new).into(),
            old: (&snapshot.evidence.old).into(),
            earlier: (&snapshot.evidence.earlier).into(),
        },
        members: snapshot.members.iter().map(|(id, member)| (Text(*id), write.member(member))).collect(),
        departed: snapshot.departed.iter().map(|(id, departed)| (Text(*id), write.departed(departed))).collect(),
        revision: snapshot.revision,
        // Last: all of it has been met by now.
        configs: write.configs,
    }
}

/// Forgets the words of failing probes, which may be most of a state. Agents say them again when they connect.
pub(crate) fn without_words(state: &mut v1::RolloutSnapshot) {
    for (_, member) in &mut state.members {
        if let Some(failing) = &mut member.health.failing {
            failing.error.clear();
        }
    }
}

fn by_instance<S, T>(
    stored: Vec<(Text<InstanceId>, S)>,
    read: impl Fn(S) -> Result<T, RecordError>,
) -> Result<BTreeMap<InstanceId, T>, RecordError> {
    let mut members = BTreeMap::new();
    for (Text(id), one) in stored {
        if members.insert(id, read(one)?).is_some() {
            return Err(RecordError::Unknown { field: "instance" });
        }
    }
    Ok(members)
}

/// Gives each configuration a place when it meets it.
#[derive(Default)]
struct Writer {
    configs: Vec<v1::Config>,
    places: HashMap<ConfigRef, v1::Place>,
}

impl Writer {
    fn config(&mut self, config: ConfigRef) -> v1::Place {
        *self.places.entry(config).or_insert_with(|| {
            self.configs.push(v1::Config { generation: config.generation, hash: Digest(config.hash) });
            v1::Place::try_from(self.configs.len() - 1).expect("some per member, of which there are ten thousand")
        })
    }

    fn optional(&mut self, config: Option<ConfigRef>) -> Option<v1::Place> {
        config.map(|config| self.config(config))
    }

    fn phase(&mut self, phase: &Phase) -> v1::Phase {
        match phase {
            Phase::Progressing => v1::Phase::Progressing,
            Phase::Held { finding, why } => v1::Phase::Held {
                finding: finding.into(),
                why: match why {
                    Hold::Failed => v1::Hold::Failed,
                    Hold::Inconclusive => v1::Hold::Inconclusive,
                },
            },
            Phase::RollingBack { cause, asked_at } => {
                v1::Phase::RollingBack { cause: cause.into(), asked_at: (*asked_at).into() }
            }
            Phase::Restoring { config, cause, began_at } => v1::Phase::Restoring {
                config: self.config(*config),
                cause: cause.as_ref().map(Into::into),
                began_at: (*began_at).into(),
            },
            Phase::Closing(outcome) => v1::Phase::Closing(self.outcome(outcome)),
            Phase::Ended(outcome) => v1::Phase::Ended(self.outcome(outcome)),
        }
    }

    fn outcome(&mut self, outcome: &Outcome) -> v1::Outcome {
        match outcome {
            Outcome::Completed => v1::Outcome::Completed,
            Outcome::RolledBack { cause, config } => {
                v1::Outcome::RolledBack { cause: cause.into(), config: self.config(*config) }
            }
            Outcome::Failed { cause } => v1::Outcome::Failed { cause: cause.into() },
        }
    }

    fn member(&mut self, member: &Member) -> v1::Member {
        v1::Member {
            joined_at: member.joined_at.into(),
            lost_at: member.lost_at.map(Into::into),
            awaited: member.awaited,
            running: self.optional(member.running),
            running_since: member.running_since.as_millis(),
            applied_at: member.applied_at.map(Into::into),
            deferred: self.optional(member.deferred.get()),
            refused: self.optional(member.refused.get()),
            received: self.optional(member.received),
            highest: member.highest,
            offer: member.offer.as_deref().map(|&Offered { config, at, disrupts }| v1::Offered {
                config: self.config(config),
                at: at.into(),
                disrupts,
            }),
            silent: self.optional(member.silent.get()),
            ask_again: self.optional(member.ask_again.get()),
            touched: member.touched,
            convicted: member.convicted,
            health: (&member.health).into(),
            served: member.served.into(),
        }
    }

    fn departed(&mut self, departed: &Departed) -> v1::Departed {
        let Departed { touched, convicted, deferred, counted, highest } = *departed;
        v1::Departed { touched, convicted, deferred: self.optional(deferred), counted, highest }
    }
}

/// Knows what the places mean.
struct Reader<'a> {
    configs: &'a [v1::Config],
}

impl Reader<'_> {
    fn config(&self, place: v1::Place) -> Result<ConfigRef, RecordError> {
        let config = usize::try_from(place).ok().and_then(|place| self.configs.get(place));
        let config = config.ok_or(RecordError::Unknown { field: "configuration" })?;
        Ok(ConfigRef { generation: config.generation, hash: config.hash.0 })
    }

    fn optional(&self, place: Option<v1::Place>) -> Result<Option<ConfigRef>, RecordError> {
        place.map(|place| self.config(place)).transpose()
    }

    fn phase(&self, stored: v1::Phase) -> Result<Phase, RecordError> {
        Ok(match stored {
            v1::Phase::Progressing => Phase::Progressing,
            v1::Phase::Held { finding, why } => Phase::Held {
                finding: finding.into(),
                why: match why {
                    v1::Hold::Failed => Hold::Failed,
                    v1::Hold::Inconclusive => Hold::Inconclusive,
                },
            },
            v1::Phase::RollingBack { cause, asked_at } => {
                Phase::RollingBack { cause: cause.into(), asked_at: asked_at.into() }
            }
            v1::Phase::Restoring { config, cause, began_at } => Phase::Restoring {
                config: self.config(config)?,
                cause: cause.map(Into::into),
                began_at: began_at.into(),
            },
            v1::Phase::Closing(outcome) => Phase::Closing(self.outcome(outcome)?),
            v1::Phase::Ended(outcome) => Phase::Ended(self.outcome(outcome)?),
        })
    }

    fn outcome(&self, stored: v1::Outcome) -> Result<Outcome, RecordError> {
        Ok(match stored {
            v1::Outcome::Completed => Outcome::Completed,
            v1::Outcome::RolledBack { cause, config } => {
                Outcome::RolledBack { cause: cause.into(), config: self.config(config)? }
            }
            v1::Outcome::Failed { cause } => Outcome::Failed { cause: cause.into() },
        })
    }

    fn member(&self, stored: v1::Member) -> Result<Member, RecordError> {
        let offer = |offer: v1::Offered| -> Result<Offered, RecordError> {
            let v1::Offered { config, at, disrupts } = offer;
            Ok(Offered { config: self.config(config)?, at: at.into(), disrupts })
        };
        Ok(Member {
            joined_at: stored.joined_at.into(),
            lost_at: stored.lost_at.map(Into::into),
            awaited: stored.awaited,
            running: self.optional(stored.running)?,
            running_since: UnixMillis::from_millis(stored.running_since),
            applied_at: stored.applied_at.map(Into::into),
            deferred: self.optional(stored.deferred)?.into(),
            refused: self.optional(stored.refused)?.into(),
            received: self.optional(stored.received)?,
            highest: stored.highest,
            offer: stored.offer.map(offer).transpose()?.map(Box::new),
            silent: self.optional(stored.silent)?.into(),
            ask_again: self.optional(stored.ask_again)?.into(),
            touched: stored.touched,
            convicted: stored.convicted,
            health: stored.health.into(),
            served: stored.served.into(),
        })
    }

    fn departed(&self, stored: v1::Departed) -> Result<Departed, RecordError> {
        let v1::Departed { touched, convicted, deferred, counted, highest } = stored;
        Ok(Departed { touched, convicted, deferred: self.optional(deferred)?, counted, highest })
    }
}

impl From<&Health> for v1::Health {
    fn from(health: &Health) -> Self {
        let failing = |failing: &ProbeFailure| v1::ProbeFailure {
            probe: failing.probe.clone(),
            consecutive: failing.consecutive,
            error: failing.error.clone(),
        };
        Self {
            program: match health.program {
                Program::Up => v1::Program::Up,
                Program::Down => v1::Program::Down,
                Program::Ended => v1::Program::Ended,
                Program::Crashed { code } => v1::Program::Crashed { code },
            },
            failing: health.failing.as_deref().map(failing),
            waiting: health.waiting,
            failures_before: health.failures_before,
            was_unwell: health.was_unwell,
            was_down: health.was_down,
            restarts: health.restarts,
            restarts_before: health.restarts_before,
            crashes_before: health.crashes_before,
            crashes: health.crashes,
        }
    }
}

impl From<v1::Health> for Health {
    fn from(stored: v1::Health) -> Self {
        let failing = |failing: v1::ProbeFailure| {
            let v1::ProbeFailure { probe, consecutive, error } = failing;
            Box::new(ProbeFailure { probe, consecutive, error })
        };
        Self {
            program: match stored.program {
                v1::Program::Up => Program::Up,
                v1::Program::Down => Program::Down,
                v1::Program::Ended => Program::Ended,
                v1::Program::Crashed { code } => Program::Crashed { code },
            },
            failing: stored.failing.map(failing),
            waiting: stored.waiting,
            failures_before: stored.failures_before,
            was_unwell: stored.was_unwell,
            was_down: stored.was_down,
            restarts: stored.restarts,
            restarts_before: stored.restarts_before,
            crashes_before: stored.crashes_before,
            crashes: stored.crashes,
        }
    }
}

impl From<Served> for v1::Served {
    fn from(served: Served) -> Self {
        let Served { requests, errors, latency, until } = served;
        Self { requests, errors, latency: latency.map(Into::into), until: until.as_millis() }
    }
}

impl From<v1::Served> for Served {
    fn from(stored: v1::Served) -> Self {
        let v1::Served { requests, errors, latency, until } = stored;
        Self { requests, errors, latency: latency.map(Duration::from), until: UnixMillis::from_millis(until) }
    }
}

impl From<&Traffic> for v1::Traffic {
    fn from(traffic: &Traffic) -> Self {
        let latency = v1::Histogram {
            buckets: traffic.latency.buckets().collect(),
            sum_us: traffic.latency.sum_us(),
            min_us: traffic.latency.min_us(),
            max_us: traffic.latency.max_us(),
        };
        Self { requests: traffic.requests, errors: traffic.errors, latency }
    }
}

impl TryFrom<v1::Traffic> for Traffic {
    type Error = RecordError;

    fn try_from(stored: v1::Traffic) -> Result<Self, RecordError> {
        let v1::Histogram { buckets, sum_us, min_us, max_us } = stored.latency;
        let latency = LatencyHistogram::from_parts(&buckets, sum_us, min_us, max_us);
        let latency = latency.ok_or(RecordError::Unknown { field: "histogram" })?;
        Ok(Self { requests: stored.requests, errors: stored.errors, latency })
    }
}

impl From<StepState> for v1::StepState {
    fn from(step: StepState) -> Self {
        Self {
            index: step.index as u64,
            opened_at: step.opened_at.into(),
            opened: step.opened.as_millis(),
            elapsed: step.elapsed.into(),
            settled: step.settled as u64,
            progress_at: step.progress_at.into(),
            baked: step.baked.map(Into::into),
            filled_at: step.filled_at.into(),
            due: step.due.map(Into::into),
            waived: step.waived,
        }
    }
}

impl TryFrom<v1::StepState> for StepState {
    type Error = RecordError;

    fn try_from(stored: v1::StepState) -> Result<Self, RecordError> {
        let number = |number: u64| usize::try_from(number).map_err(|_| RecordError::Unknown { field: "step" });
        Ok(Self {
            index: number(stored.index)?,
            opened_at: stored.opened_at.into(),
            opened: UnixMillis::from_millis(stored.opened),
            elapsed: stored.elapsed.into(),
            settled: number(stored.settled)?,
            progress_at: stored.progress_at.into(),
            baked: stored.baked.map(Into::into),
            filled_at: stored.filled_at.into(),
            due: stored.due.map(Into::into),
            waived: stored.waived,
        })
    }
}

impl From<&Cause> for v1::Cause {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Gate(finding) => Self::Gate(finding.into()),
            Cause::Aborted { actor } => Self::Aborted { actor: actor.clone() },
        }
    }
}

impl From<v1::Cause> for Cause {
    fn from(stored: v1::Cause) -> Self {
        match stored {
            v1::Cause::Gate(finding) => Self::Gate(finding.into()),
            v1::Cause::Aborted { actor } => Self::Aborted { actor },
        }
    }
}

impl From<&Finding> for v1::Finding {
    fn from(finding: &Finding) -> Self {
        Self { instance: finding.instance.map(Text), signal: (&finding.signal).into() }
    }
}

impl From<v1::Finding> for Finding {
    fn from(stored: v1::Finding) -> Self {
        Self { instance: stored.instance.map(|instance| instance.0), signal: stored.signal.into() }
    }
}

impl From<Rate> for v1::Rate {
    fn from(Rate { errors, requests }: Rate) -> Self {
        Self { errors, requests }
    }
}

impl From<v1::Rate> for Rate {
    fn from(v1::Rate { errors, requests }: v1::Rate) -> Self {
        Self { errors, requests }
    }
}

impl From<Reference> for v1::Reference {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::OldCohort => Self::OldCohort,
            Reference::Baseline => Self::Baseline,
            Reference::EarlierCohort => Self::EarlierCohort,
        }
    }
}

impl From<v1::Reference> for Reference {
    fn from(stored: v1::Reference) -> Self {
        match stored {
            v1::Reference::OldCohort => Self::OldCohort,
            v1::Reference::Baseline => Self::Baseline,
            v1::Reference::EarlierCohort => Self::EarlierCohort,
        }
    }
}

impl From<&Signal> for v1::Signal {
    fn from(signal: &Signal) -> Self {
        match signal.clone() {
            Signal::Refused { error } => Self::Refused { error },
            Signal::RolledBackLocally { error } => Self::RolledBackLocally { error },
            Signal::Silent { after } => Self::Silent { after: after.into() },
            Signal::Lost { after } => Self::Lost { after: after.into() },
            Signal::ProbeFailing { probe, consecutive, limit, error } => {
                Self::ProbeFailing { probe, consecutive, limit, error }
            }
            Signal::Restarting { restarts, limit } => Self::Restarting { restarts, limit },
            Signal::Exited { code } => Self::Exited { code },
            Signal::ErrorRate { new, old, reference, at_least, floor } => Self::ErrorRate {
                new: new.into(),
                old: old.into(),
                reference: reference.into(),
                at_least: Number(at_least),
                floor: Number(floor),
            },
            Signal::Latency { quantile, new, new_at_least, old, old_at_most, reference, requests } => Self::Latency {
                quantile: Number(quantile),
                new: new.into(),
                new_at_least: new_at_least.into(),
                old: old.into(),
                old_at_most: old_at_most.into(),
                reference: reference.into(),
                requests,
            },
            Signal::Stalled { after, unhealthy, allowed } => Self::Stalled { after: after.into(), unhealthy, allowed },
            Signal::Unwell => Self::Unwell,
            Signal::TooFewRequests { new, old, needed } => Self::TooFewRequests { new, old, needed },
            Signal::NobodyLeft => Self::NobodyLeft,
        }
    }
}

impl From<v1::Signal> for Signal {
    fn from(stored: v1::Signal) -> Self {
        match stored {
            v1::Signal::Refused { error } => Self::Refused { error },
            v1::Signal::RolledBackLocally { error } => Self::RolledBackLocally { error },
            v1::Signal::Silent { after } => Self::Silent { after: after.into() },
            v1::Signal::Lost { after } => Self::Lost { after: after.into() },
            v1::Signal::ProbeFailing { probe, consecutive, limit, error } => {
                Self::ProbeFailing { probe, consecutive, limit, error }
            }
            v1::Signal::Restarting { restarts, limit } => Self::Restarting { restarts, limit },
            v1::Signal::Exited { code } => Self::Exited { code },
            v1::Signal::ErrorRate { new, old, reference, at_least, floor } => Self::ErrorRate {
                new: new.into(),
                old: old.into(),
                reference: reference.into(),
                at_least: at_least.0,
                floor: floor.0,
            },
            v1::Signal::Latency { quantile, new, new_at_least, old, old_at_most, reference, requests } => {
                Self::Latency {
                    quantile: quantile.0,
                    new: new.into(),
                    new_at_least: new_at_least.into(),
                    old: old.into(),
                    old_at_most: old_at_most.into(),
                    reference: reference.into(),
                    requests,
                }
            }
            v1::Signal::Stalled { after, unhealthy, allowed } => {
                Self::Stalled { after: after.into(), unhealthy, allowed }
            }
            v1::Signal::Unwell => Self::Unwell,
            v1::Signal::TooFewRequests { new, old, needed } => Self::TooFewRequests { new, old, needed },
            v1::Signal::NobodyLeft => Self::NobodyLeft,
        }
    }
}
