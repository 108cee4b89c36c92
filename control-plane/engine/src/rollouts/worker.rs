//! One deployment's rollouts.
//!
//! A turn of the worker takes what has arrived, tells the state machine, writes down what came of it, and then does it.
//! When it cannot be written down nothing is done, and both are tried again. Once a rollout has ended there is nothing
//! that a restart could get wrong: who joins is offered what all others have, and that is written down in a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outrigger_catalog::model::{self, Actor, Deployment, RolloutState};
use outrigger_catalog::{CatalogError, Restored};
use outrigger_protocol::id::{DeploymentId, InstanceId, RolloutId};
use outrigger_protocol::message::ConfigRef;
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{
    Action, Arrival, Cause, Command, Departure, Entry, Event, LOOK, Launch, Outcome, Phase, Plan, Rollout, What,
};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::current::{Current, Todo};
use super::ledger::Ledger;
use super::missed::{Arrears, caught_up, repeated};
use super::plan::{compiled, first};
use super::{Answer, Message, RETRY, Shared};
use crate::core::Core;
use crate::error::EngineError;
use crate::stats::Count;

/// Messages of one turn. The state machine looks at all instances once a turn, however many there are.
const BATCH: usize = 1_024;
/// Messages for which there is always room.
const CALM: usize = 16;
/// What an instance adds to the pause after a turn, so that a large fleet's turns are few and large.
const PAUSE_PER_INSTANCE: Duration = Duration::from_micros(1);
/// Before something is written down that may as well be found out again.
const SOON: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    core: Arc<Core>,
    /// The control plane itself, in the deployment's organisation.
    actor: Actor,
    id: DeploymentId,
    shared: Arc<Shared>,
    /// As it was looked at last, if it is started.
    deployment: Option<Deployment>,
    current: Option<Current>,
    /// What has nothing to do with the deployment any more, until that is written down.
    left: Option<Current>,
    /// Kept over rollouts, so that the same instances are always the first.
    seed: u64,
    /// When the deployment is to be looked at again because the last look failed.
    look_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(core: Arc<Core>, actor: Actor, id: DeploymentId, shared: Arc<Shared>) -> Self {
        let seed = core.ambient().dice();
        Self { core, actor, id, shared, deployment: None, current: None, left: None, seed, look_at: None }
    }

    /// Works until nobody can tell it anything any more.
    pub(super) async fn run(mut self, inbox: Arc<Mutex<mpsc::Receiver<Message>>>) {
        let mut inbox = inbox.lock().await;
        self.resume().await;
        let mut batch = Vec::new();
        let mut arrears = Arrears::default();
        loop {
            let received = tokio::time::timeout_at(self.wake(), inbox.recv_many(&mut batch, BATCH)).await;
            if received == Ok(0) {
                return;
            }
            let taken = batch.len();
            self.turn(&mut batch).await;
            // One rush must not be remembered in memory for ever.
            batch.shrink_to(CALM);
            if arrears.is_due(taken, inbox.len(), || self.shared.take_missed()) {
                self.look().await;
                self.catch_up();
                self.settle().await;
            }
            let members = self.current.as_ref().map_or(0, |current| current.ledger.rollout.tally.total);
            tokio::time::sleep(PAUSE_PER_INSTANCE.saturating_mul(members)).await;
        }
    }

    /// Goes on where the control plane was stopped.
    async fn resume(&mut self) {
        let stored = loop {
            match self.core.catalog.stored_rollout(self.actor.organization, self.id).await {
                Ok(stored) => break stored,
                Err(error @ CatalogError::Record { .. }) => {
                    self.warn(&error, "its rollout is damaged and begins anew");
                    break None;
                }
                Err(error) => self.warn(&error, "its rollout cannot be read"),
            }
            tokio::time::sleep(RETRY).await;
        };
        if let Some((rollout, snapshot)) = stored {
            self.seed = snapshot.seed;
            match Rollout::restore(snapshot) {
                // The deployment was stopped in the middle of it, and begins anew when it is started.
                Ok(machine) if rollout.ended_at.is_some() && !machine.has_ended() => {}
                Ok(machine) => self.restart(machine, rollout).await,
                Err(error) => self.warn(&error, "its rollout is damaged and begins anew"),
            }
        }
        self.look().await;
        self.catch_up();
        self.settle().await;
    }

    /// Goes on with a rollout that is written down: what it had asked for is done before anything newer is looked for.
    async fn restart(&mut self, mut machine: Rollout, rollout: model::Rollout) {
        let saved = machine.revision();
        let actions = machine.handle(Event::Restarted, self.now());
        let ledger = Ledger::resume(rollout, &machine);
        self.current = Some(Current::new(machine, ledger, Some(saved)));
        while let Err(error) = self.refresh().await {
            self.warn(&error, "it cannot be looked at");
            tokio::time::sleep(RETRY).await;
        }
        self.note(actions);
        self.settle().await;
    }

    fn now(&self) -> UnixMillis {
        self.core.ambient().now()
    }

    fn warn(&self, error: &(dyn std::error::Error + 'static), what: &str) {
        tracing::warn!(deployment = %self.id, error, "{what}");
    }

    /// When to wake up though nothing has happened.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        let current = self.current.as_ref();
        let tick = current.filter(|_| self.deployment.is_some()).and_then(|current| current.tick);
        let due = current.and_then(|current| current.hold.or(current.due));
        [tick, due, self.look_at].into_iter().flatten().min().unwrap_or(now + IDLE)
    }

    async fn turn(&mut self, batch: &mut Vec<Message>) {
        let mut events = Vec::new();
        let mut look = self.look_at.is_some_and(|at| at <= Instant::now());
        for message in batch.drain(..) {
            match message {
                Message::Happened(event) => events.push(*event),
                Message::Departing(instances) => events.extend(
                    instances.into_iter().map(|instance| Event::Left { instance, departure: Departure::Planned }),
                ),
                Message::Look => look = true,
                Message::Command { id, command, actor, answer } => {
                    self.happened(std::mem::take(&mut events));
                    self.settle().await;
                    self.command(id, command, &actor, answer).await;
                }
                Message::Push { answer } => {
                    self.happened(std::mem::take(&mut events));
                    self.push(answer).await;
                    look = false;
                }
            }
        }
        self.happened(events);
        self.settle().await;
        if look {
            self.look().await;
            self.settle().await;
        }
    }

    fn happened(&mut self, events: Vec<Event>) {
        let now = self.now();
        if let Some(current) = &mut self.current {
            // The machine looks at all instances, and most of the time nothing is heard but traffic after the end.
            if events.is_empty() && current.tick.is_none_or(|tick| Instant::now() < tick) {
                return;
            }
            let actions = current.machine.handle_all(events, now);
            self.note(actions);
        }
    }

    /// Tells the machine of everybody who is here, when it may not have heard.
    fn catch_up(&mut self) {
        let Some(current) = &self.current else { return };
        let events = caught_up(&current.machine, self.core.ingest.live(self.id));
        self.happened(events);
        if let Some(current) = &mut self.current {
            repeated(&current.machine).for_each(|offer| current.todo.add(offer));
        }
    }

    /// Takes in what the machine wants.
    fn note(&mut self, actions: Vec<Action>) {
        let Some(current) = &mut self.current else { return };
        let told = current.ledger.note(&current.machine, &actions);
        let deployment = self.id;
        for action in &actions {
            if let Action::Record(entry) = action {
                tracing::info!(%deployment, generation = current.ledger.rollout.generation, "rollout: {entry}");
                if let What::Ended { outcome, .. } = &entry.what {
                    self.core.stats.add(counted(outcome), 1);
                }
            }
        }
        let ambient = self.core.ambient();
        let organization = self.actor.organization;
        current.events.extend(
            told.into_iter().map(|(kind, message)| ambient.event(organization, deployment, kind, message, None)),
        );
        let is_history = |action: &Action| matches!(action, Action::Record(_) | Action::Ended(_));
        let unsaved = current.saved != Some(current.machine.revision());
        current.urgent |= actions.iter().any(is_history) || unsaved && !current.machine.has_ended();
        if unsaved && current.due.is_none() {
            current.due = Some(Instant::now() + SOON);
        }
        actions.into_iter().for_each(|action| current.todo.add(action));
        // However far a clock is set back, somebody looks.
        let wait = current.machine.next_deadline().map(|deadline| deadline.since(ambient.now()).min(LOOK));
        current.tick = wait.map(|wait| Instant::now() + wait);
        current.is_news = true;
        self.shared.judges.store(!current.machine.has_ended(), Ordering::Relaxed);
    }

    /// Writes down and does what is to be done, until nothing is left or something fails.
    async fn settle(&mut self) {
        loop {
            let now = Instant::now();
            let Some(current) = &mut self.current else { return };
            if current.hold.is_some_and(|until| now < until) {
                return;
            }
            current.hold = None;
            let is_due = current.due.is_some_and(|due| due <= now);
            if (current.urgent || is_due) && !self.save().await {
                return;
            }
            self.show();
            let Some(current) = &mut self.current else { return };
            let todo = std::mem::take(&mut current.todo);
            if todo.is_empty() || !self.perform(todo).await {
                return;
            }
        }
    }

    /// Shows where it stands. Nobody is told what a restart might undo.
    fn show(&mut self) {
        if let Some(current) = &mut self.current
            && std::mem::take(&mut current.is_news)
        {
            *self.shared.shown() = Some(current.ledger.rollout.clone());
        }
    }

    /// Writes down where the rollout stands. Returns whether it is.
    async fn save(&mut self) -> bool {
        match self.try_save(None).await {
            Ok(()) => true,
            Err(error) => {
                self.warn(&error, "its rollout cannot be written down and waits");
                self.hold();
                false
            }
        }
    }

    /// Something has failed that is tried again in a while.
    fn hold(&mut self) {
        if let Some(current) = &mut self.current {
            current.hold = Some(Instant::now() + RETRY);
        }
    }

    async fn try_save(&mut self, by: Option<(&Actor, String)>) -> Result<(), CatalogError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let revision = current.machine.revision();
        self.core.catalog.save_rollout(current.save(&current.machine.snapshot(), by)).await?;
        current.saved = Some(revision);
        current.urgent = false;
        current.superseded = None;
        current.due = None;
        for event in current.events.drain(..) {
            self.core.tell_event(&event);
        }
        self.show();
        Ok(())
    }

    /// Does what is written down. Returns whether more is to be done because of it.
    async fn perform(&mut self, todo: Todo) -> bool {
        let Todo { rollback, offers } = todo;
        let more = match rollback {
            Some((from, to, cause)) => self.roll_back(from, to, &cause).await,
            None => false,
        };
        let mut of_one: BTreeMap<u64, (ConfigRef, Vec<InstanceId>)> = BTreeMap::new();
        for (instance, config) in offers {
            of_one.entry(config.generation).or_insert((config, Vec::new())).1.push(instance);
        }
        for (config, instances) in of_one.into_values() {
            self.offer(config, instances).await;
        }
        more
    }

    async fn offer(&mut self, config: ConfigRef, mut instances: Vec<InstanceId>) {
        // Whoever starts the deployment again has everybody offered what it is to run then.
        let Some(deployment) = &self.deployment else { return };
        let Err(error) = self.core.ingest.offer(deployment, config, &instances).await else { return };
        let generation = config.generation;
        let error = &error as &dyn std::error::Error;
        tracing::warn!(deployment = %self.id, generation, error, "a configuration cannot be offered");
        let Some(current) = &mut self.current else { return };
        let awaits = current.awaits(config);
        instances.retain(|instance| awaits.contains(instance));
        if !instances.is_empty() {
            instances.into_iter().for_each(|instance| current.todo.add(Action::Offer { instance, config }));
            self.hold();
        }
    }

    /// Publishes the content from before. Returns whether the machine wants something because of it.
    async fn roll_back(&mut self, from: ConfigRef, to: ConfigRef, cause: &Cause) -> bool {
        let Some(current) = &self.current else { return false };
        let environment = current.ledger.rollout.environment;
        let message = format!("rollback of generation {}: {cause}", from.generation);
        let restored = self.core.catalog.restore_generation(
            self.actor.organization,
            environment,
            from.generation,
            to.generation,
            &message,
        );
        match restored.await {
            Ok(Restored::Published(generation)) => {
                let config = ConfigRef { generation: generation.number, hash: generation.content_hash };
                let now = self.now();
                let Some(current) = &mut self.current else { return false };
                match current.machine.rollback_published(config, now) {
                    Ok(actions) => {
                        self.note(actions);
                        true
                    }
                    Err(error) => {
                        self.warn(&error, "a rollback was published that nobody asked for");
                        false
                    }
                }
            }
            Ok(Restored::Overtaken) => self.launch_newest().await,
            Err(error) => {
                self.warn(&error, "a rollback cannot be published and is tried again");
                let now = self.now();
                let Some(current) = &mut self.current else { return false };
                let is_news = current.ledger.stuck(format!("the rollback cannot be published: {error}"), now);
                current.urgent |= is_news;
                current.is_news |= is_news;
                is_news
            }
        }
    }

    /// Looks whether the deployment is started, how it is to be, and whether its environment has something newer.
    async fn look(&mut self) {
        self.look_at = None;
        if let Err(error) = self.try_look().await {
            self.warn(&error, "it cannot be looked at for its configuration");
            self.look_at = Some(Instant::now() + RETRY);
        }
    }

    async fn try_look(&mut self) -> Result<(), CatalogError> {
        self.refresh().await?;
        let Some(deployment) = &self.deployment else { return Ok(()) };
        let environment = deployment.spec.environment;
        let is_rolling_back = |current: &Current| matches!(current.machine.progress().phase, Phase::RollingBack { .. });
        if self.current.as_ref().is_some_and(is_rolling_back) {
            // Whatever is newer may be the rollback itself; the catalog says when it is asked for it again.
            return Ok(());
        }
        let newest = self.core.catalog.environment(&self.actor, environment).await?.generation;
        match &self.current {
            Some(current) if current.machine.newest().generation >= newest => Ok(()),
            _ => self.launch(newest).await,
        }
    }

    /// Reads the deployment, tells its agents their settings, and leaves off what has nothing to do with it any more.
    async fn refresh(&mut self) -> Result<(), CatalogError> {
        self.write_off().await?;
        let deployment = match self.core.catalog.deployment(&self.actor, self.id).await {
            Ok(deployment) => deployment,
            Err(CatalogError::NotFound { .. }) => {
                self.deployment = None;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.core.ingest.apply_settings(&deployment);
        if !deployment.status.is_started() {
            self.deployment = None;
            return self.leave_off("the deployment was stopped before the rollout had ended").await;
        }
        let environment = deployment.spec.environment;
        self.deployment = Some(deployment);
        if self.current.as_ref().is_some_and(|current| current.ledger.rollout.environment != environment) {
            // Numbers of generations say nothing about those of another environment.
            self.leave_off("the deployment runs with another environment").await?;
        }
        Ok(())
    }

    /// Returns whether there was something newer.
    async fn launch_newest(&mut self) -> bool {
        let Some(environment) = self.deployment.as_ref().map(|deployment| deployment.spec.environment) else {
            return false;
        };
        let launched = async {
            let newest = self.core.catalog.environment(&self.actor, environment).await?.generation;
            self.launch(newest).await
        };
        match launched.await {
            Ok(()) => true,
            Err(error) => {
                self.warn(&error, "a newer generation waits");
                self.look_at = Some(Instant::now() + RETRY);
                false
            }
        }
    }

    /// Begins to roll a generation out.
    async fn launch(&mut self, number: u64) -> Result<(), CatalogError> {
        let Some(deployment) = &self.deployment else { return Ok(()) };
        let generation = self.core.catalog.generation(&self.actor, deployment.spec.environment, number).await?;
        let target = ConfigRef { generation: generation.number, hash: generation.content_hash };
        let now = self.now();
        let settings = &deployment.spec.rollout;
        let baseline = self.shared.baseline().read(now);
        let id = RolloutId::new(now, self.core.ambient().random());
        let launch = |plan: Plan| Launch { target, plan, seed: self.seed, baseline };
        let (machine, mut actions, before) = match self.current.take() {
            None => {
                let live = self.core.ingest.live(self.id).into_iter().filter(|live| live.connected);
                let arrivals =
                    live.map(|one| Arrival { instance: one.instance, status: one.config, program: one.program });
                let started = Rollout::start(launch(first(settings)), None, arrivals, now);
                let Ok((machine, actions)) = started else { return Ok(()) };
                (machine, actions, None)
            }
            Some(mut current) => match current.machine.supersede(launch(compiled(settings)), now) {
                Ok(actions) => (current.machine.clone(), actions, Some(current)),
                Err(error) => {
                    self.warn(&error, "a generation is not rolled out");
                    self.current = Some(current);
                    return Ok(());
                }
            },
        };
        self.core.stats.add(Count::Pushes, 1);
        let ledger = Ledger::open(id, deployment, &machine, now);
        let mut next = Current::new(machine, ledger, None);
        if let Some(mut before) = before {
            if before.ledger.rollout.ended_at.is_none() {
                before.ledger.close(RolloutState::Superseded, format!("superseded by generation {number}"), now);
                self.core.stats.add(Count::RolloutsSuperseded, 1);
            }
            // Nobody has seen anything of one that could not be written down; what came before it may still be open.
            next.superseded = if before.saved.is_some() { Some(before.ledger.rollout) } else { before.superseded };
            next.events = before.events;
            next.todo = Todo { rollback: None, ..before.todo };
        }
        self.current = Some(next);
        actions.retain(|action| !matches!(action, Action::Record(Entry { what: What::Superseded { .. }, .. })));
        self.note(actions);
        if let Some(current) = &mut self.current {
            current.urgent = true;
        }
        Ok(())
    }

    /// The deployment's next rollout has nothing to do with the present one.
    async fn leave_off(&mut self, why: &str) -> Result<(), CatalogError> {
        let now = self.now();
        let Some(mut current) = self.current.take() else { return Ok(()) };
        *self.shared.shown() = None;
        self.shared.judges.store(false, Ordering::Relaxed);
        if current.ledger.rollout.ended_at.is_none() {
            current.ledger.close(RolloutState::Failed, why.to_owned(), now);
            self.core.stats.add(Count::RolloutsFailed, 1);
        } else if !current.urgent {
            return Ok(());
        }
        self.left = Some(current);
        self.write_off().await
    }

    /// Writes down how what was left off has ended. Nothing else begins before, or it would seem to go on for ever.
    async fn write_off(&mut self) -> Result<(), CatalogError> {
        let Some(mut left) = self.left.take() else { return Ok(()) };
        match self.core.catalog.save_rollout(left.save(&left.machine.snapshot(), None)).await {
            Ok(()) => left.events.drain(..).for_each(|event| self.core.tell_event(&event)),
            // Its deployment is destroyed.
            Err(CatalogError::NotFound { .. }) => {}
            Err(error @ (CatalogError::Full | CatalogError::Overloaded | CatalogError::Store { .. })) => {
                self.left = Some(left);
                return Err(error);
            }
            Err(error) => self.warn(&error, "how its rollout has ended cannot be written down"),
        }
        Ok(())
    }

    /// Carries out what a person wants, once it is written down who that was.
    async fn command(&mut self, id: RolloutId, command: Command, actor: &Actor, answer: Answer<model::Rollout>) {
        // Whoever asked may have gone.
        let _ = answer.send(self.try_command(id, command, actor).await);
        self.settle().await;
    }

    async fn try_command(
        &mut self,
        id: RolloutId,
        command: Command,
        actor: &Actor,
    ) -> Result<model::Rollout, EngineError> {
        let now = self.now();
        let over = || EngineError::state(format!("cannot {}: the rollout has ended", command.name()));
        let current = self.current.as_mut().filter(|current| current.ledger.rollout.id == id).ok_or_else(over)?;
        let before = current.clone();
        let carried_out = current.machine.command(command, &actor.subject.to_string(), now);
        let actions = carried_out.map_err(|error| EngineError::state(error.to_string()))?;
        self.note(actions);
        let what = format!("{} the rollout of generation {}", command.name(), before.ledger.rollout.generation);
        if let Err(error) = self.try_save(Some((actor, what))).await {
            self.current = Some(before);
            return Err(error.into());
        }
        self.current.as_ref().map(|current| current.ledger.rollout.clone()).ok_or_else(over)
    }

    async fn push(&mut self, answer: Answer<model::Rollout>) {
        let pushed = async {
            self.try_look().await?;
            let now = self.now();
            if let Some(current) = &mut self.current {
                let actions = current.machine.offer_again(now);
                self.note(actions);
            }
            self.settle().await;
            let shown = self.current.as_ref().map(|current| current.ledger.rollout.clone());
            shown.ok_or_else(|| EngineError::state("the deployment is not started: nothing is pushed to it"))
        };
        let _ = answer.send(pushed.await);
    }
}

const fn counted(outcome: &Outcome) -> Count {
    match outcome {
        Outcome::Completed => Count::RolloutsCompleted,
        Outcome::RolledBack { .. } => Count::RolloutsRolledBack,
        Outcome::Failed { .. } => Count::RolloutsFailed,
    }
}

/// Nothing is waited for.
const IDLE: Duration = Duration::from_secs(3_600);
