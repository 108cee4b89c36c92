//! A fleet of agents that do as they are told by the test, around one rollout.
//!
//! The fleet keeps books of its own, and holds every offer against them: never a lower generation, never more than the
//! step's share touched, never more out of service than allowed.

mod agent;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ConfigFailure, ConfigRef, ConfigStatus, ProgramState};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{
    Action, Command, CommandError, Departure, Event, Launch, Member, Outcome, Percent, Rollout, Settings, Span,
    Strategy, Traffic, What,
};

use agent::UP;
pub(crate) use agent::{Agent, Conduct, config, instance, probes, runs};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SEED: u64 = 7;

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) rollout: Rollout,
    /// Goes through the same as `rollout`, from some moment on, and has to do the same.
    pub(crate) twin: Option<Rollout>,
    pub(crate) now: UnixMillis,
    /// What has passed on a clock that is never set back, until the rollout was told something last.
    lived: Duration,
    told: UnixMillis,
    pub(crate) agents: BTreeMap<InstanceId, Agent>,
    pub(crate) conduct: fn(InstanceId, ConfigRef) -> Conduct,
    pub(crate) settings: Settings,
    /// Texts of the timeline.
    pub(crate) timeline: Vec<String>,
    pub(crate) history: Vec<What>,
    /// The rollback that is asked for.
    pub(crate) asked: Option<ConfigRef>,
    /// Publish a rollback as soon as it is asked for.
    pub(crate) publishes: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) target: ConfigRef,
    /// The target has the content of the last promoted generation: there are no steps, and it is no risk.
    returning: bool,
    pub(crate) newest: u64,
    pub(crate) offers: Vec<(InstanceId, ConfigRef)>,
    share: Percent,
    seen: BTreeSet<InstanceId>,
    touched: BTreeSet<InstanceId>,
    next_instance: u32,
}

/// The defaults, with instances that are in service as soon as they say so.
pub(crate) fn settings(strategy: Strategy) -> Settings {
    Settings { min_ready: Duration::ZERO, ..Settings::new(strategy) }
}

impl Fleet {
    /// `n` instances that run generation 1 are to get generation 2.
    pub(crate) fn launch(n: u32, settings: Settings, conduct: fn(InstanceId, ConfigRef) -> Conduct) -> Self {
        Self::launch_with(n, settings, conduct, Some(config(1, 1)), None)
    }

    pub(crate) fn launch_with(
        n: u32,
        settings: Settings,
        conduct: fn(InstanceId, ConfigRef) -> Conduct,
        stable: Option<ConfigRef>,
        baseline: Option<Traffic>,
    ) -> Self {
        let now = UnixMillis::from_millis(1_700_000_000_000);
        let target = config(2, 2);
        let agents: BTreeMap<_, _> = (0..n)
            .map(|number| {
                let (status, program) = match stable {
                    Some(stable) => (runs(stable), UP),
                    None => (ConfigStatus::default(), ProgramState::Waiting),
                };
                (instance(number), Agent::new(status, program))
            })
            .collect();
        let arrivals: Vec<_> = agents.iter().map(|(id, agent)| agent.arrival(*id)).collect();
        let plan = settings.clone().compile().expect("valid settings");
        let launch = Launch { target, plan, seed: SEED, baseline };
        let (rollout, actions) = Rollout::start(launch, stable, arrivals, now).expect("the target is newer");
        let mut fleet = Self {
            rollout,
            twin: None,
            now,
            lived: Duration::ZERO,
            told: now,
            seen: agents.keys().copied().collect(),
            agents,
            conduct,
            settings,
            timeline: Vec::new(),
            history: Vec::new(),
            asked: None,
            publishes: true,
            outcome: None,
            target,
            returning: false,
            newest: target.generation,
            offers: Vec::new(),
            share: Percent::ALL,
            touched: BTreeSet::new(),
            next_instance: n,
        };
        fleet.perform(actions);
        fleet
    }

    /// Tells the rollout something, and does what it says.
    pub(crate) fn tell(&mut self, event: Event) {
        self.live();
        let actions = self.rollout.handle(event.clone(), self.now);
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.handle(event, self.now), actions, "a restored rollout does the same");
        }
        self.perform(actions);
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), CommandError> {
        self.live();
        let result = self.rollout.command(command, "ann", self.now);
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.command(command, "ann", self.now), result);
        }
        self.perform(result?);
        Ok(())
    }

    /// A person asks those again who did not answer.
    pub(crate) fn offer_again(&mut self) {
        self.live();
        let actions = self.rollout.offer_again(self.now);
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.offer_again(self.now), actions);
        }
        self.perform(actions);
    }

    /// Publishes what was asked for.
    pub(crate) fn publish(&mut self) {
        self.live();
        let Some(to) = self.asked.take() else { return };
        self.newest += 1;
        let config = ConfigRef { generation: self.newest, hash: to.hash };
        let actions = self.rollout.rollback_published(config, self.now).expect("it was asked for");
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.rollback_published(config, self.now).as_ref(), Ok(&actions));
        }
        self.perform(actions);
    }

    /// Another generation is published.
    pub(crate) fn supersede(&mut self, content: u8, settings: Settings) {
        self.live();
        self.newest += 1;
        let target = config(self.newest, content);
        let launch =
            Launch { target, plan: settings.clone().compile().expect("valid settings"), seed: SEED, baseline: None };
        self.seen = self.rollout.members().map(|(id, _)| id).collect();
        let actions = self.rollout.supersede(launch.clone(), self.now).expect("it is newer");
        if let Some(twin) = &mut self.twin {
            assert_eq!(twin.supersede(launch, self.now).as_ref(), Ok(&actions));
        }
        self.settings = settings;
        self.target = target;
        self.returning = false;
        self.asked = None;
        self.outcome = None;
        self.touched.clear();
        for (id, agent) in &mut self.agents {
            agent.touched = self.seen.contains(id) && !agent.changes_with(target);
            if agent.touched {
                self.touched.insert(*id);
            }
        }
        self.share = Percent::ALL;
        self.perform(actions);
    }

    /// From now on a restored rollout goes along.
    pub(crate) fn take_twin(&mut self) {
        let twin = Rollout::restore(self.rollout.snapshot()).expect("a snapshot can be restored");
        assert_eq!(twin, self.rollout);
        self.twin = Some(twin);
    }

    /// Lets time pass as the engine would, once a second and whenever a deadline says so.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while self.now < end && !self.is_at_rest() {
            let deadline = self.rollout.next_deadline().unwrap_or(end);
            let next = self.now.saturating_add(SECOND).min(deadline).min(end);
            assert!(next > self.now, "a deadline lies in the future");
            let whole_second = next.as_millis() / 1_000 != self.now.as_millis() / 1_000;
            self.now = next;
            if whole_second {
                self.probe_all();
            }
            self.tell(Event::Tick);
        }
        self.now = self.now.max(end);
    }

    /// Counts the time since the rollout was told something last.
    fn live(&mut self) {
        self.lived += self.now.since(self.told);
        self.told = self.now;
    }

    /// Nothing changes any more by time alone.
    fn is_at_rest(&self) -> bool {
        let probes = self.agents.values().any(|agent| agent.probe_failures > 0);
        self.rollout.next_deadline().is_none() && !probes
    }

    fn probe_all(&mut self) {
        let ids: Vec<_> = self.agents.keys().copied().collect();
        for id in ids {
            let Some(agent) = self.agents.get(&id).filter(|agent| agent.connected) else { continue };
            let running = agent.status.running;
            if running.is_some_and(|running| (self.conduct)(id, running) == Conduct::FailsProbes) {
                self.probe(id, agent.probe_failures + 1);
            } else if agent.probe_failures > 0 {
                self.probe(id, 0);
            }
        }
    }

    pub(crate) fn probe(&mut self, id: InstanceId, consecutive: u32) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.probe_failures = consecutive;
        self.tell(Event::Probes { instance: id, probes: probes(consecutive) });
    }

    /// Does what the rollout says, holding it against the books.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut answers = Vec::new();
        let mut disrupted = false;
        let is_return =
            |action: &Action| matches!(action, Action::Record(entry) if matches!(entry.what, What::Returning { .. }));
        self.returning |= actions.iter().any(is_return);
        for (at, action) in actions.iter().enumerate() {
            match action.clone() {
                Action::Offer { instance, config } => {
                    disrupted |= self.offered(instance, config);
                    answers.push(instance);
                }
                Action::PublishRollback { from, to, .. } => {
                    assert_eq!(from, self.target);
                    self.asked = Some(to);
                }
                Action::Record(entry) => {
                    assert_eq!(entry.at, self.now);
                    if let What::StepOpened { share, .. } = entry.what {
                        self.share = share;
                    }
                    self.timeline.push(entry.to_string());
                    self.history.push(entry.what);
                }
                Action::Ended(outcome) => {
                    assert!(self.rollout.has_ended());
                    // After a restart it is told again, and offers may have been made to newcomers since.
                    let is_news = self.outcome.is_none();
                    let is_made_after = |id: InstanceId| {
                        let offer =
                            |action: &Action| matches!(action, Action::Offer { instance, .. } if *instance == id);
                        actions[at..].iter().any(offer)
                    };
                    let unanswered =
                        |(id, member): &(InstanceId, &Member)| member.offer.is_some() && !is_made_after(*id);
                    let found = self.rollout.members().find(unanswered).filter(|_| is_news);
                    assert_eq!(found, None, "an unanswered offer at the end");
                    self.outcome = Some(outcome);
                }
            }
        }
        if disrupted {
            let members = self.rollout.members().count();
            let most = self.settings.clone().compile().expect("valid settings").max_unhealthy(members);
            let busy = self.out_of_service();
            assert!(busy <= most, "{busy} of {members} out of service after an offer, {most} allowed");
        }
        for id in answers {
            self.answer(id);
        }
        if self.publishes && self.asked.is_some() {
            self.publish();
        }
    }

    /// Books an offer. Returns whether it is one that takes an instance out of service on the way forward.
    fn offered(&mut self, id: InstanceId, config: ConfigRef) -> bool {
        self.offers.push((id, config));
        let members = self.rollout.members().count();
        let agent = self.agents.get_mut(&id).expect("offers go to who is there");
        assert!(agent.connected, "offers go to who is connected");
        assert!(config.generation >= agent.highest, "generation {} after {}", config.generation, agent.highest);
        agent.highest = config.generation;
        let serves = agent.is_in_service(self.lived, self.settings.min_ready);
        let other_content = agent.changes_with(config);
        agent.pending = Some(config);
        assert!(!agent.has_refused(config), "who has refused is not asked again");
        let is_risk = config == self.target && !self.returning && self.outcome.is_none();
        if is_risk && !agent.touched && !other_content {
            // It has the content from a superseded generation, and only learns the new number.
            agent.touched = true;
            self.touched.insert(id);
        } else if is_risk && !agent.touched {
            agent.touched = true;
            self.touched.insert(id);
            let present = self.rollout.members().filter(|(id, _)| self.touched.contains(id)).count();
            let (share, seen) = (self.share, self.seen.len());
            assert!(present <= share.of(members), "{present} of {members} at {share}");
            let ever = self.touched.len();
            assert!(ever <= share.of(seen), "{ever} of {seen} ever at {share}");
        }
        is_risk && serves && other_content
    }

    fn out_of_service(&self) -> usize {
        let min_ready = self.settings.min_ready;
        let is_out =
            |id: InstanceId| self.agents.get(&id).is_none_or(|agent| !agent.is_in_service(self.lived, min_ready));
        self.rollout.members().filter(|(id, _)| is_out(*id)).count()
    }

    /// Answers the newest offer as the agent does by itself.
    fn answer(&mut self, id: InstanceId) {
        let Some(pending) = self.agents.get(&id).and_then(|agent| agent.pending) else { return };
        match (self.conduct)(id, pending) {
            Conduct::Applies | Conduct::FailsProbes => self.report(id, ApplyState::Applied),
            Conduct::Refuses => self.report(id, ApplyState::Failed),
            Conduct::Defers => self.report(id, ApplyState::PendingRestart),
            Conduct::Mute => {}
        }
    }

    /// The agent reports on its pending offer.
    pub(crate) fn report(&mut self, id: InstanceId, state: ApplyState) {
        self.live();
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let Some(pending) = agent.pending else { return };
        // A program that does not run has no next start to wait for.
        let starts = state == ApplyState::PendingRestart && agent.status.running.is_none();
        let state = if starts { ApplyState::Applied } else { state };
        agent.status.last_received = Some(pending);
        let runs_content = agent.status.running.is_some_and(|running| running.hash == pending.hash);
        match state {
            ApplyState::Applying => {}
            // The same content runs already, so there is nothing to defer or refuse.
            _ if runs_content => agent.runs(pending),
            ApplyState::Applied => {
                agent.runs(pending);
                agent.changed_at = Some(self.lived);
            }
            ApplyState::PendingRestart => agent.deferred = agent.pending.take(),
            ApplyState::Failed => agent.refuses(pending, "PORT is missing"),
        }
        let state = if runs_content && state != ApplyState::Applying { ApplyState::Applied } else { state };
        let event = Event::Report { instance: id, state, status: agent.status.clone() };
        let program = agent.program;
        agent.said.push(event.clone());
        // An agent says that it has started the program before it says that the configuration is applied.
        if state == ApplyState::Applied {
            self.program(id, program);
        }
        self.tell(event);
    }

    /// The agent goes back by itself to what ran before.
    pub(crate) fn roll_back_locally(&mut self, id: InstanceId, to: ConfigRef) {
        self.live();
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let Some(running) = agent.status.running.filter(|running| running.hash != to.hash) else { return };
        agent.status.last_failed = Some(ConfigFailure { config: running, error: "exit code 1".to_owned() });
        agent.status.running = Some(to);
        agent.changed_at = Some(self.lived);
        if agent.status.last_received != Some(running) {
            // By what it says, a late report cannot be told from one after this; only the stream's order can tell.
            agent.said.clear();
        }
        let event = Event::Report { instance: id, state: ApplyState::Failed, status: agent.status.clone() };
        agent.said.push(event.clone());
        self.tell(event);
    }

    pub(crate) fn program(&mut self, id: InstanceId, state: ProgramState) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.program = state;
        self.tell(Event::Program { instance: id, state });
    }

    /// A new instance, with nothing running.
    pub(crate) fn join(&mut self) -> InstanceId {
        let id = instance(self.next_instance);
        self.next_instance += 1;
        self.seen.insert(id);
        let agent = Agent::new(ConfigStatus::default(), ProgramState::Waiting);
        let arrival = agent.arrival(id);
        self.agents.insert(id, agent);
        self.tell(Event::Joined(arrival));
        id
    }

    /// An instance connects again; `blank` when its agent has forgotten everything.
    pub(crate) fn rejoin(&mut self, id: InstanceId, blank: bool) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.connected = true;
        agent.probe_failures = 0;
        if agent.status.last_received != agent.pending || agent.pending.is_some_and(|config| agent.has_refused(config))
        {
            // The offer went down with the connection.
            agent.pending = None;
        }
        // What was said on another connection is not heard on this one.
        agent.said.clear();
        self.seen.insert(id);
        if blank {
            agent.status = ConfigStatus::default();
            agent.program = ProgramState::Waiting;
            agent.pending = None;
            agent.deferred = None;
        }
        if !agent.changes_with(self.target) {
            agent.touched = true;
            self.touched.insert(id);
        }
        let arrival = agent.arrival(id);
        self.tell(Event::Joined(arrival));
    }

    pub(crate) fn lose(&mut self, id: InstanceId) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        agent.connected = false;
        self.tell(Event::Left { instance: id, departure: Departure::Lost });
    }

    pub(crate) fn remove(&mut self, id: InstanceId) {
        self.agents.remove(&id);
        self.tell(Event::Left { instance: id, departure: Departure::Planned });
    }

    /// What an instance served in the second before now.
    pub(crate) fn serve(&mut self, id: InstanceId, requests: u64, errors: u64, millis: u64) {
        let mut latency = LatencyHistogram::new();
        for number in 0..requests {
            latency.record(Duration::from_millis(millis + number % 10));
        }
        let span = Span {
            since: self.now.saturating_sub(SECOND),
            until: self.now,
            traffic: Traffic { requests, errors, latency },
        };
        self.tell(Event::Traffic { instance: id, span });
    }

    /// Lets everybody serve once a second for a while: errors of a hundred, and milliseconds, by what runs.
    pub(crate) fn serve_all(&mut self, time: Duration, what: impl Fn(ConfigRef) -> (u64, u64)) {
        for _ in 0..time.as_secs() {
            self.run(SECOND);
            let running: Vec<_> =
                self.agents.iter().filter_map(|(id, agent)| Some((*id, agent.status.running?))).collect();
            for (id, running) in running {
                let (errors, millis) = what(running);
                self.serve(id, 100, errors, millis);
            }
        }
    }

    /// Who was ever offered the target.
    pub(crate) fn touched(&self) -> Vec<InstanceId> {
        self.touched.iter().copied().collect()
    }

    /// How many run this content.
    pub(crate) fn running(&self, content: u8) -> usize {
        let runs = |agent: &&Agent| agent.status.running.is_some_and(|running| running.hash == [content; 32]);
        self.agents.values().filter(runs).count()
    }

    pub(crate) fn generations(&self) -> BTreeSet<u64> {
        self.agents.values().filter_map(|agent| Some(agent.status.running?.generation)).collect()
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.timeline.iter().any(|line| line.contains(text))
    }
}
