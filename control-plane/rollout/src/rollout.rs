//! The state machine.

mod commands;
mod gate;
mod offers;
mod restore;
mod step;
mod take;
mod view;

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;

use crate::action::{Action, Actions, Cause, Outcome, What};
use crate::cohort::rank;
use crate::event::{Arrival, Event};
use crate::member::{Departed, Member};
use crate::settings::Plan;
use crate::snapshot::{Phase, Snapshot, StepState};
use crate::traffic::{Evidence, Served, Traffic};
use crate::watched::{LOOK, Watched};

pub use commands::{CommandError, PublishedError};
pub use view::Progress;

/// Instances of one deployment that can take part; further ones are not there.
pub const MEMBERS: usize = 10_000;
/// Instances that have left and are remembered. The oldest that were never touched are forgotten first.
const DEPARTED: usize = 10_000;
/// How often a rollback is asked for that nobody says was published.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A generation to roll out.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    pub target: ConfigRef,
    pub plan: Plan,
    /// Decides the order of instances. Drawn once for a deployment: then the same few are always the canaries, and a
    /// generation that supersedes another in mid-rollout meets the instances first that had the other.
    pub seed: u64,
    /// What the deployment has served before, over as long as a bake time if possible.
    pub baseline: Option<Traffic>,
}

/// A generation that is not newer than what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("generation {target} is not newer than generation {newest}: a generation never goes backwards")]
pub struct NotNewer {
    pub target: u64,
    pub newest: u64,
}

/// How one generation spreads over the instances of one deployment; and after its end, what they run.
///
/// See the crate's documentation for what it promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    plan: Plan,
    /// The members in the order in which they get a new generation.
    order: BTreeSet<(u64, InstanceId)>,
    state: Snapshot,
}

impl Rollout {
    /// Begins with the instances that are connected. `stable` is the generation that was last promoted fully. Without
    /// one there is nothing to endanger and nothing to go back to, so the first generation goes to all at once.
    ///
    /// # Errors
    /// When the target is not newer than `stable`.
    pub fn start(
        launch: Launch,
        stable: Option<ConfigRef>,
        instances: impl IntoIterator<Item = Arrival>,
        now: UnixMillis,
    ) -> Result<(Self, Vec<Action>), NotNewer> {
        let target = launch.target;
        if let Some(stable) = stable.filter(|stable| stable.generation >= target.generation) {
            return Err(NotNewer { target: target.generation, newest: stable.generation });
        }
        let watched = Watched::new(now);
        let mut rollout = Self {
            state: Snapshot {
                settings: launch.plan.settings().clone(),
                target,
                stable,
                seed: launch.seed,
                baseline: launch.baseline,
                phase: Phase::Progressing,
                paused: None,
                overridden: None,
                step: StepState::open(0, watched.elapsed, now),
                watched,
                evidence: Evidence::default(),
                members: std::collections::BTreeMap::new(),
                departed: std::collections::BTreeMap::new(),
                revision: 0,
            },
            plan: launch.plan,
            order: BTreeSet::new(),
        };
        for arrival in instances.into_iter().take(MEMBERS) {
            let instance = arrival.instance;
            let member = Member::new(arrival, watched, UnixMillis::EPOCH, None);
            rollout.order.insert((rank(launch.seed, instance), instance));
            rollout.state.members.insert(instance, member);
        }
        let mut out = Actions::new(now);
        rollout.begin(&mut out);
        Ok((rollout, out.into_vec()))
    }

    /// Goes over to a newer generation, whether or not the present one has ended. What its rollout comes back to, if it
    /// has to, is the last generation that was fully promoted, which the superseded one was not. Instances that have
    /// the superseded generation keep it until the new one reaches them, or its rollback does. When the new generation
    /// has the content of the last promoted one, everybody gets it without steps.
    ///
    /// # Errors
    /// When the target is not newer than everything before it; then nothing has changed.
    pub fn supersede(&mut self, launch: Launch, now: UnixMillis) -> Result<Vec<Action>, NotNewer> {
        let newest = self.newest().generation;
        if launch.target.generation <= newest {
            return Err(NotNewer { target: launch.target.generation, newest });
        }
        let mut out = Actions::new(now);
        self.pass_time(now);
        if !matches!(self.state.phase, Phase::Ended(_)) {
            out.record(What::Superseded { generation: newest, by: launch.target.generation });
        }
        let state = &mut self.state;
        state.stable = match &state.phase {
            Phase::Ended(Outcome::Completed) | Phase::Closing(Outcome::Completed) => Some(state.target),
            Phase::Ended(Outcome::RolledBack { config, .. })
            | Phase::Closing(Outcome::RolledBack { config, .. })
            | Phase::Restoring { config, .. } => Some(*config),
            _ => state.stable,
        };
        state.settings = launch.plan.settings().clone();
        state.target = launch.target;
        state.baseline = launch.baseline;
        state.phase = Phase::Progressing;
        state.paused = None;
        state.overridden = None;
        state.evidence = Evidence::default();
        state.step = StepState::open(0, state.watched.elapsed, now);
        state.departed.values_mut().for_each(|departed| {
            *departed = Departed { touched: false, convicted: false, counted: false, ..*departed };
        });
        state.members.values_mut().for_each(|member| {
            member.touched = false;
            member.convicted = false;
        });
        if state.seed != launch.seed {
            state.seed = launch.seed;
            self.order = ordered(state);
        }
        self.plan = launch.plan;
        self.begin(&mut out);
        Ok(out.into_vec())
    }

    fn begin(&mut self, out: &mut Actions) {
        if self.state.stable.is_none() {
            self.plan = self.plan.clone().at_once();
        }
        let Snapshot { target, stable, .. } = self.state;
        for member in self.state.members.values_mut() {
            member.touched = member.runs_content_of(target);
            member.served = Served { until: member.served.until, ..Served::default() };
        }
        let (steps, instances) = (count(self.plan.steps().len()), count(self.state.members.len()));
        out.record(What::Started { target, stable, steps, instances });
        if stable.is_some_and(|stable| stable.hash == target.hash) {
            out.record(What::Returning { generation: target.generation });
            let began_at = self.state.watched.elapsed;
            self.state.phase = Phase::Restoring { config: target, cause: None, began_at };
        } else {
            self.open_step(0, out);
        }
        self.changed();
        // Who has the content already has its say.
        let touched = self.state.members.iter().filter(|(_, member)| member.touched);
        for instance in touched.map(|(instance, _)| *instance).collect::<Vec<_>>() {
            self.examine(instance, out);
        }
        self.advance(out);
    }

    /// Takes in one event. See [`handle_all`](Self::handle_all).
    pub fn handle(&mut self, event: Event, now: UnixMillis) -> Vec<Action> {
        self.handle_all([event], now)
    }

    /// Takes in what has happened until `now`, and says what to do. When [`revision`](Self::revision) has changed, the
    /// snapshot has to be stored before anything is done.
    ///
    /// Every call looks at all members a few times, however many events it is given: what has come together belongs
    /// into one call.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: UnixMillis) -> Vec<Action> {
        let mut out = Actions::new(now);
        self.pass_time(now);
        for event in events {
            self.take(event, &mut out);
        }
        self.advance(&mut out);
        out.into_vec()
    }

    /// Changes with everything that a restart must not forget: what was offered to whom, steps, decisions, failures.
    /// What agents say when they connect again is not among it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.state.revision
    }

    const fn changed(&mut self) {
        self.state.revision = self.state.revision.wrapping_add(1);
    }

    /// When to call [`handle`](Self::handle) with [`Event::Tick`] unless something else happens before; `None` when time
    /// changes nothing. Never further than [`LOOK`] away, because time in which nobody looks is not counted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let state = &self.state;
        let waits = |since: Duration, wait: Duration| wait.saturating_sub(state.watched.since(since));
        let timeout = self.plan.settings().answer_timeout;
        let answers = state.members.values().flat_map(|member| {
            let offered = member.offer.as_ref().map(|offer| offer.at);
            [offered, member.lost_at].into_iter().flatten().map(|since| waits(since, timeout))
        });
        let min_ready = self.plan.settings().min_ready;
        let ready = state.members.values().filter_map(|member| {
            let left = waits(member.applied_at?, min_ready);
            (!left.is_zero()).then_some(left)
        });
        let phase = match &state.phase {
            Phase::Progressing if state.paused.is_none() => {
                Some(state.step.baked.map_or(LOOK, |baked| self.bake().saturating_sub(baked)))
            }
            Phase::RollingBack { asked_at, .. } => Some(waits(*asked_at, ASK_AGAIN)),
            _ => None,
        };
        let left = answers.chain(ready).chain(phase).min()?;
        // What is overdue and still there waits for something else; nobody has to hurry for it.
        let left = if left.is_zero() { LOOK } else { left.min(LOOK) };
        Some(state.watched.last.saturating_add(left))
    }

    /// The generation that was published last, as far as this rollout knows.
    #[must_use]
    pub const fn newest(&self) -> ConfigRef {
        match &self.state.phase {
            Phase::Restoring { config, .. }
            | Phase::Closing(Outcome::RolledBack { config, .. })
            | Phase::Ended(Outcome::RolledBack { config, .. }) => *config,
            _ => self.state.target,
        }
    }

    fn pass_time(&mut self, now: UnixMillis) {
        let state = &mut self.state;
        let passed = state.watched.look(now);
        if matches!(state.phase, Phase::Progressing) && state.paused.is_none() {
            state.step.elapsed = state.step.elapsed.saturating_add(passed);
            if let Some(baked) = &mut state.step.baked {
                *baked = baked.saturating_add(passed);
            }
        }
    }

    /// Everything that follows from what is known now.
    fn advance(&mut self, out: &mut Actions) {
        self.expire(out);
        // A round that goes on fills a step, or opens a later step or phase, so there are no more rounds than those.
        for _ in 0..2 * self.plan.steps().len() + PHASES {
            self.offer_what_is_due(out);
            if !self.move_on(out) {
                return;
            }
        }
    }

    /// Goes to the next step or phase if it is time. Returns whether it did.
    fn move_on(&mut self, out: &mut Actions) -> bool {
        match &mut self.state.phase {
            Phase::Progressing => self.move_step(out),
            Phase::Held { .. } => self.compare(out),
            Phase::RollingBack { cause, asked_at } => {
                if self.state.watched.since(*asked_at) >= ASK_AGAIN {
                    *asked_at = self.state.watched.elapsed;
                    let cause = cause.clone();
                    self.ask_for_rollback(cause, out);
                }
                false
            }
            Phase::Restoring { config, cause, began_at } => {
                let (config, cause, began_at) = (*config, cause.clone(), *began_at);
                let settled = !self.state.members.values().any(|member| {
                    let pending = member.offered() == Some(config);
                    member.joined_at <= began_at && (pending || member.wants(config))
                });
                if settled {
                    let outcome = cause.map_or(Outcome::Completed, |cause| Outcome::RolledBack { cause, config });
                    self.enter(Phase::Closing(outcome));
                }
                settled
            }
            Phase::Closing(outcome) => {
                if self.state.members.values().any(|member| member.offer.is_some()) {
                    return false;
                }
                let outcome = outcome.clone();
                self.enter(Phase::Ended(outcome.clone()));
                out.record(What::Ended { outcome: outcome.clone(), tally: self.tally() });
                out.push(Action::Ended(outcome));
                true
            }
            Phase::Ended(_) => false,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.state.phase = phase;
        self.changed();
    }

    /// Goes back to the last promoted generation, if there is one.
    fn roll_back(&mut self, cause: Cause, out: &mut Actions) {
        self.state.paused = None;
        let Some(stable) = self.state.stable else {
            return self.enter(Phase::Closing(Outcome::Failed { cause }));
        };
        let asked_at = self.state.watched.elapsed;
        let (from, to) = (self.state.target.generation, stable.generation);
        out.record(What::RollbackAsked { from, to, cause: cause.clone() });
        self.enter(Phase::RollingBack { cause: cause.clone(), asked_at });
        self.ask_for_rollback(cause, out);
    }

    fn ask_for_rollback(&self, cause: Cause, out: &mut Actions) {
        if let Some(to) = self.state.stable {
            out.push(Action::PublishRollback { from: self.state.target, to, cause });
        }
    }

    /// Whether what instances say can still be held against the target.
    const fn is_forward(&self) -> bool {
        matches!(self.state.phase, Phase::Progressing | Phase::Held { .. })
    }
}

/// Held or rolling back, restoring, closing, ended.
const PHASES: usize = 4;

fn ordered(state: &Snapshot) -> BTreeSet<(u64, InstanceId)> {
    state.members.keys().map(|instance| (rank(state.seed, *instance), *instance)).collect()
}

/// A number of instances, for people.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
