//! One instance, as its agent describes it.

use std::time::Duration;

use outrigger_protocol::message::{ApplyState, ConfigRef, ConfigStatus};
use outrigger_protocol::time::UnixMillis;

use crate::event::Arrival;
use crate::health::Health;
use crate::traffic::Served;
use crate::watched::Watched;

/// A configuration that hardly any instance has one of at rest: of tens of thousands of them, each takes a pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rare(Option<Box<ConfigRef>>);

impl Rare {
    #[must_use]
    pub fn get(&self) -> Option<ConfigRef> {
        self.0.as_deref().copied()
    }
}

impl From<Option<ConfigRef>> for Rare {
    fn from(config: Option<ConfigRef>) -> Self {
        Self(config.map(Box::new))
    }
}

impl From<ConfigRef> for Rare {
    fn from(config: ConfigRef) -> Self {
        Self::from(Some(config))
    }
}

/// An instance that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// When it joined, in watched time.
    pub joined_at: Duration,
    /// Since when it is not connected, in watched time.
    pub lost_at: Option<Duration>,
    /// It is not connected because the control plane has started again, through no fault of its own.
    pub awaited: bool,
    pub running: Option<ConfigRef>,
    /// By the control plane's clock; the epoch for what ran before the rollout began.
    pub running_since: UnixMillis,
    /// When it began to run this content, in watched time; `None` when that was before it joined.
    pub applied_at: Option<Duration>,
    /// Runs after its next start.
    pub deferred: Rare,
    /// Refused, or rolled back by itself; the last one.
    pub refused: Rare,
    /// What it had received last when it spoke last.
    pub received: Option<ConfigRef>,
    /// The highest generation that it was offered or has received. It is never offered a lower one.
    pub highest: u64,
    /// The offer that has not been answered.
    pub offer: Option<Box<Offered>>,
    /// What it did not answer in time.
    pub silent: Rare,
    /// What it did not answer, and somebody wants to be offered to it once more.
    pub ask_again: Rare,
    /// Was offered, or runs, the generation that is being rolled out.
    pub touched: bool,
    /// Something of it was held against the generation; once is enough.
    pub convicted: bool,
    pub health: Health,
    pub served: Served,
}

/// An offer that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    pub config: ConfigRef,
    /// When it was made first, in watched time.
    pub at: Duration,
    /// It takes an instance out of service that was in service.
    pub disrupts: bool,
}

/// An instance that has left, in case it comes back; and because it was touched all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departed {
    pub touched: bool,
    pub convicted: bool,
    /// What it has accepted for its next start.
    pub deferred: Option<ConfigRef>,
    /// It was there during this rollout, and not only during a superseded one.
    pub counted: bool,
    pub highest: u64,
}

/// How an instance stands to one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Was not offered it.
    Waiting,
    Pending,
    Running,
    Deferred,
    Refused,
    Silent,
    /// Has something newer.
    Ahead,
}

/// What was new in a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The configuration that it has refused or rolled back, why, and whether it had run.
    pub(crate) failed: Option<(ConfigRef, String, bool)>,
}

impl Member {
    pub(crate) fn new(
        arrival: Arrival,
        watched: Watched,
        running_since: UnixMillis,
        departed: Option<Departed>,
    ) -> Self {
        let status = arrival.status;
        let received = status.last_received.map_or(0, |config| config.generation);
        let (touched, convicted) = departed.map_or((false, false), |departed| (departed.touched, departed.convicted));
        let highest = departed.map_or(0, |departed| departed.highest);
        let deferred = departed.and_then(|departed| departed.deferred);
        let deferred = deferred.filter(|it| status.last_received == Some(*it) && status.running != Some(*it));
        Self {
            joined_at: watched.elapsed,
            lost_at: None,
            awaited: false,
            running: status.running,
            running_since,
            applied_at: None,
            deferred: deferred.into(),
            refused: status.last_failed.map(|failure| failure.config).into(),
            received: status.last_received,
            highest: highest.max(received),
            offer: None,
            silent: Rare::default(),
            ask_again: Rare::default(),
            touched,
            convicted,
            health: Health::new(arrival.program),
            served: Served::default(),
        }
    }

    pub(crate) fn departed(&self) -> Departed {
        let Self { touched, convicted, highest, .. } = *self;
        Departed { touched, convicted, deferred: self.deferred.get(), counted: true, highest }
    }

    /// The configuration of the offer that it has not answered.
    #[must_use]
    pub fn offered(&self) -> Option<ConfigRef> {
        self.offer.as_ref().map(|offer| offer.config)
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.lost_at.is_none()
    }

    /// Whether it runs this content, under whatever number.
    pub(crate) fn runs_content_of(&self, config: ConfigRef) -> bool {
        self.running.is_some_and(|running| running.hash == config.hash)
    }

    pub(crate) fn standing(&self, config: ConfigRef) -> Standing {
        let is_it = |other: Option<ConfigRef>| other == Some(config);
        if is_it(self.offered()) {
            Standing::Pending
        } else if is_it(self.running) {
            Standing::Running
        } else if is_it(self.deferred.get()) {
            Standing::Deferred
        } else if is_it(self.refused.get()) {
            Standing::Refused
        } else if is_it(self.silent.get()) {
            Standing::Silent
        } else if self.highest > config.generation {
            Standing::Ahead
        } else {
            Standing::Waiting
        }
    }

    /// Whether it can be offered this now.
    pub(crate) fn wants(&self, config: ConfigRef) -> bool {
        let wants = match self.standing(config) {
            Standing::Waiting => true,
            Standing::Silent => self.ask_again.get() == Some(config),
            Standing::Pending | Standing::Running | Standing::Deferred | Standing::Refused | Standing::Ahead => false,
        };
        self.is_connected() && wants
    }

    /// Whether it is not known to be in service. Who did not answer may be in the middle of a change, unless there was
    /// nothing to change.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.lost_at.is_some()
            || self.running.is_none()
            || self.silent.get().is_some_and(|silent| !self.runs_content_of(silent))
            || self.health.is_ill()
    }

    /// Whether it is out of service, or about to be, or not known to be back for at least `min_ready`.
    pub(crate) fn is_busy(&self, watched: Watched, min_ready: Duration) -> bool {
        self.is_unhealthy()
            || self.offered().is_some_and(|config| !self.runs_content_of(config))
            || self.is_applying()
            || self.applied_at.is_some_and(|applied_at| watched.since(applied_at) < min_ready)
    }

    /// Whether it has received something of which it has not said what became: it may be about to stop its program.
    fn is_applying(&self) -> bool {
        self.received.is_some_and(|received| {
            !self.runs_content_of(received) && ![self.deferred.get(), self.refused.get()].contains(&Some(received))
        })
    }

    /// Takes in a report. What is older than what it has said already is ignored.
    pub(crate) fn report(&mut self, state: ApplyState, status: ConfigStatus, now: Watched) -> Heard {
        let generation = |config: Option<ConfigRef>| config.map_or(0, |config| config.generation);
        if generation(status.last_received) < generation(self.received) {
            return Heard::default();
        }
        if let Some(newest) = status.last_received.filter(|newest| Some(*newest) == self.received)
            // A failure is always news, also one of something older than the newest.
            && state != ApplyState::Failed
            && progress_of(newest, state, &status) < self.progress(newest)
        {
            return Heard::default();
        }
        let deferred = if state == ApplyState::PendingRestart { status.last_received } else { self.deferred.get() };
        self.adopt(status, deferred, now)
    }

    /// Takes in what it says when it connects: everything, because an agent that was started again may know less.
    pub(crate) fn rejoin(&mut self, arrival: Arrival, now: Watched) -> Heard {
        self.lost_at = None;
        self.awaited = false;
        self.silent = Rare::default();
        self.health.reconnected(arrival.program);
        self.adopt(arrival.status, self.deferred.get(), now)
    }

    fn adopt(&mut self, status: ConfigStatus, deferred: Option<ConfigRef>, now: Watched) -> Heard {
        let before = self.running;
        if before.map(|config| config.hash) != status.running.map(|config| config.hash) {
            self.running_since = now.last;
            self.applied_at = Some(now.elapsed);
            self.health.applied();
        }
        let refused_before = self.refused.get();
        self.received = status.last_received;
        self.highest = self.highest.max(status.last_received.map_or(0, |config| config.generation));
        self.running = status.running;
        let refused = status.last_failed.as_ref().map(|failure| failure.config);
        self.refused = refused.into();
        // It waits until it runs, has failed, or something newer has come.
        let still_waits = |config: &ConfigRef| {
            let config = Some(*config);
            config == self.received && config != self.running && config != refused
        };
        let deferred = deferred.filter(still_waits);
        self.deferred = deferred.into();
        let answers = |config: ConfigRef| [status.running, refused, deferred].contains(&Some(config));
        let answered = self.offered().is_some_and(answers);
        let spoke = self.silent.get().is_some_and(answers);
        if answered {
            self.offer = None;
        }
        if spoke {
            self.silent = Rare::default();
        }
        let failed = status.last_failed.filter(|failure| {
            let config = Some(failure.config);
            config == refused && config != refused_before
        });
        Heard { failed: failed.map(|failure| (failure.config, failure.error, before == Some(failure.config))) }
    }

    /// How far it has got with the newest configuration that it has received.
    fn progress(&self, newest: ConfigRef) -> u8 {
        let is_it = |other: Option<ConfigRef>| other == Some(newest);
        if is_it(self.refused.get()) {
            3
        } else if is_it(self.running) {
            2
        } else {
            u8::from(is_it(self.deferred.get()))
        }
    }
}

/// How far a report says that it has got. Of two reports about the same configuration the further one is the later one:
/// an agent that has failed with it does not try it again, and one that runs it goes back only by failing.
fn progress_of(newest: ConfigRef, state: ApplyState, status: &ConfigStatus) -> u8 {
    if status.last_failed.as_ref().is_some_and(|failure| failure.config == newest) {
        3
    } else if status.running == Some(newest) {
        2
    } else {
        u8::from(state == ApplyState::PendingRestart)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::InstanceId;
    use outrigger_protocol::message::{ConfigFailure, ProgramState};

    use super::*;

    const NOW: Watched = Watched { last: UnixMillis::from_millis(5_000), elapsed: Duration::from_secs(4) };

    const fn config(generation: u64) -> ConfigRef {
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        ConfigRef { generation, hash: [generation as u8; 32] }
    }

    fn status(received: u64, running: u64) -> ConfigStatus {
        ConfigStatus { last_received: Some(config(received)), running: Some(config(running)), last_failed: None }
    }

    fn failed(generation: u64, running: u64) -> ConfigStatus {
        let failure = ConfigFailure { config: config(generation), error: "PORT is missing".to_owned() };
        ConfigStatus { last_failed: Some(failure), ..status(generation, running) }
    }

    fn member() -> Member {
        let program = ProgramState::Running { pid: 7, restarts: 0 };
        let arrival = Arrival { instance: InstanceId::from_bytes([1; 16]), status: status(1, 1), program };
        let mut member = Member::new(arrival, NOW, UnixMillis::EPOCH, None);
        member.offer = Some(Box::new(Offered { config: config(2), at: Duration::ZERO, disrupts: true }));
        member.highest = 2;
        member
    }

    #[test]
    fn an_answer_is_known_by_what_it_says_and_not_by_its_number() {
        let mut member = member();
        assert_eq!(member.standing(config(2)), Standing::Pending);
        member.report(ApplyState::Applying, status(2, 1), NOW);
        assert_eq!(member.standing(config(2)), Standing::Pending, "to apply is not an answer");
        member.report(ApplyState::PendingRestart, status(2, 1), NOW);
        assert_eq!(member.standing(config(2)), Standing::Deferred);
        assert_eq!(member.running_since, UnixMillis::EPOCH);
        member.report(ApplyState::Applied, status(2, 2), NOW);
        assert_eq!((member.standing(config(2)), member.running_since), (Standing::Running, NOW.last));
        let heard = member.report(ApplyState::Failed, failed(2, 1), NOW);
        assert_eq!(heard.failed, Some((config(2), "PORT is missing".to_owned(), true)));
        assert_eq!(member.standing(config(2)), Standing::Refused);
    }

    #[test]
    fn old_and_repeated_reports_change_nothing() {
        let mut member = member();
        let reports = [
            (ApplyState::Applied, status(1, 1)),
            (ApplyState::Applying, status(2, 1)),
            (ApplyState::Applied, status(2, 2)),
            (ApplyState::Failed, failed(2, 1)),
        ];
        for (state, status) in reports.clone() {
            member.report(state, status, NOW);
        }
        let after = member.clone();
        for (state, status) in reports.into_iter().rev().flat_map(|report| [report.clone(), report]) {
            assert_eq!(member.report(state, status, NOW), Heard::default());
        }
        assert_eq!(member, after);
    }

    #[test]
    fn an_agent_that_was_started_again_may_know_less() {
        let mut member = member();
        member.report(ApplyState::Applied, status(2, 2), NOW);
        let instance = InstanceId::from_bytes([1; 16]);
        let arrival = Arrival { instance, status: ConfigStatus::default(), program: ProgramState::Waiting };
        member.rejoin(arrival, NOW);
        assert_eq!(member.standing(config(2)), Standing::Waiting);
        assert_eq!(member.standing(config(1)), Standing::Ahead, "it was offered 2 before");
        assert!(member.is_unhealthy());
    }
}
