//! Performs what the [`Lifecycle`] decides, and tells it what came of it.

mod probing;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger_protocol::log::Level;
use outrigger_protocol::message::{AgentSettings, ApplyStrategy, ConfigOffer, ContentHash, ProgramState};
use outrigger_protocol::seal::{SealContext, SealKeyPair};

use super::output::Output;
use crate::config::{Assignment, RunConfig};
use crate::entropy;
use crate::environment::{self, EnvironmentError, EnvironmentFile, Hint, Inheritance, Prepared, Surroundings};
use crate::identity::{Enrollment, Identity};
use crate::last_good::{self, LastGood, Welcome};
use crate::lifecycle::{Effect, Lifecycle, Outcome, Rules, StartFailure, Terms};
use crate::probes::Probes;
use crate::sampler::ProgramPid;
use crate::session::{Link, text};
use crate::state_dir::StateDir;
use crate::supervisor::{Ended, ExitStatus, Login, Supervisor};

/// Offers that are kept sealed until one of them has proven itself: what runs, what is tried, and one to spare.
const KEPT_OFFERS: usize = 3;

/// What of the configuration an environment is put together from.
#[derive(Debug)]
struct Ingredients {
    inheritance: Inheritance,
    assignments: Vec<Assignment>,
    login: Option<Login>,
    command: Vec<std::ffi::OsString>,
    /// The operator named a file: the program is told of it in any case.
    file_is_named: bool,
    /// Where the program's metrics are heard.
    hints: Vec<Hint>,
}

/// The program's side of the agent.
pub(super) struct Shell {
    pub(super) lifecycle: Lifecycle,
    pub(super) supervisor: Supervisor,
    pub(super) output: Output,
    pub(super) probes: Probes,
    pub(super) program: ProgramState,
    link: Link,
    state: Rc<StateDir>,
    key: SealKeyPair,
    enrollment: Enrollment,
    ingredients: Ingredients,
    file: EnvironmentFile,
    welcome: Option<Welcome>,
    offers: VecDeque<ConfigOffer>,
    pid: ProgramPid,
    /// The operator's word on how long new content is on trial.
    bake_time: Option<Duration>,
    require_fresh: bool,
    /// What the program was started with last.
    started_with: Option<ContentHash>,
}

impl Shell {
    pub(super) fn new(
        config: &RunConfig,
        identity: &Identity,
        state: Rc<StateDir>,
        link: Link,
        supervisor: Supervisor,
        pid: ProgramPid,
        hints: Vec<Hint>,
    ) -> Self {
        let rules = Rules { restart: config.restart, stop_grace: config.stop_grace };
        Self {
            lifecycle: Lifecycle::new(rules, Terms::unknown(config.bake_time)),
            supervisor,
            output: Output::new(config.forward_logs, config.mask_output, link.clock()),
            probes: Probes::new(Instant::now()),
            program: ProgramState::Waiting,
            link,
            state,
            key: identity.keys.sealing.clone(),
            enrollment: identity.enrollment.clone(),
            ingredients: Ingredients {
                inheritance: config.inheritance.clone(),
                assignments: config.assignments.clone(),
                login: config.account.as_ref().and_then(|account| account.login.clone()),
                command: config.command.clone(),
                file_is_named: config.env_file.is_some(),
                hints,
            },
            file: environment_file(config, identity),
            welcome: None,
            offers: VecDeque::new(),
            pid,
            bake_time: config.bake_time,
            require_fresh: config.require_fresh,
            started_with: None,
        }
    }

    /// This agent is somebody else from now on. Only while nothing was started: what was offered to the former one is
    /// forgotten, for it is sealed to keys that are gone.
    pub(super) fn become_member(&mut self, config: &RunConfig, identity: &Identity) {
        debug_assert!(self.lifecycle.is_waiting(), "a program that runs is told who it is once");
        self.key = identity.keys.sealing.clone();
        self.enrollment = identity.enrollment.clone();
        self.file = environment_file(config, identity);
        self.welcome = None;
        self.offers.clear();
    }

    /// The control plane took this agent in.
    pub(super) fn welcomed(&mut self, welcome: Welcome) {
        self.obey(&welcome.settings, Instant::now());
        self.welcome = Some(welcome);
    }

    /// The agent's own settings changed.
    pub(super) fn configure(&mut self, settings: AgentSettings) {
        self.obey(&settings, Instant::now());
        if let Some(welcome) = &mut self.welcome {
            welcome.settings = settings;
        }
    }

    pub(super) fn settings(&self) -> Option<&AgentSettings> {
        self.welcome.as_ref().map(|welcome| &welcome.settings)
    }

    /// A configuration was offered.
    pub(super) fn offered(&mut self, offer: ConfigOffer, now: Instant) {
        let (config, nonce) = (offer.config, offer.nonce);
        let prepared = self.prepare(&offer).map(Rc::new).map_err(|error| text(&error));
        match &prepared {
            Ok(_) => {
                if self.offers.len() >= KEPT_OFFERS {
                    self.offers.pop_front();
                }
                self.offers.push_back(offer);
            }
            // The agent ends with this error as its last word: once is enough.
            Err(_) if self.lifecycle.is_waiting() => {}
            Err(error) => tracing::warn!(generation = config.generation, %error, "configuration refused"),
        }
        let unsendable = match self.settings().map(|settings| settings.apply) {
            Some(ApplyStrategy::Signal { signal }) if !Supervisor::can_send(signal) => {
                Some(format!("{signal} is not a signal that can be sent"))
            }
            _ => None,
        };
        let prepared = unsendable.map_or(prepared, Err);
        self.lifecycle.offer(now, entropy::uniform(), config, nonce, prepared);
    }

    /// Starts from the last known good configuration, when there is one. Returns whether it did.
    pub(super) fn start_from_cache(&mut self) -> bool {
        let Some(LastGood { welcome, offer }) = self.last_good() else { return false };
        self.welcomed(welcome);
        match self.prepare(&offer) {
            Ok(prepared) => {
                let generation = offer.config.generation;
                tracing::warn!(generation, "the control plane is away: started with the last known good configuration");
                self.output.note(
                    Level::Warn,
                    &format!("started with the last known good configuration, generation {generation}"),
                );
                self.lifecycle.start_from_cache(Rc::new(prepared));
                true
            }
            Err(error) => {
                tracing::warn!(error = %text(&error), "the last known good configuration cannot be used");
                false
            }
        }
    }

    /// What is on disk, when it is this agent's.
    fn last_good(&self) -> Option<LastGood> {
        let good = match last_good::load(&self.state) {
            Ok(good) => good?,
            Err(error) => {
                tracing::warn!(error = %text(&error), "the last known good configuration cannot be used");
                return None;
            }
        };
        if good.welcome.agent != self.enrollment.agent || good.welcome.deployment != self.enrollment.deployment {
            tracing::warn!("the last known good configuration belongs to another agent");
            return None;
        }
        Some(good)
    }

    /// The control plane shut this agent out: it does not go on with old secrets.
    pub(super) fn forget_last_good(&self) {
        if let Err(error) = last_good::delete(&self.state) {
            tracing::error!(error = %text(&error), "the last known good configuration is still there");
        }
    }

    fn prepare(&self, offer: &ConfigOffer) -> Result<Prepared, EnvironmentError> {
        let context = SealContext {
            agent: self.enrollment.agent,
            deployment: self.enrollment.deployment,
            generation: offer.config.generation,
        };
        let allowed = self.settings().map(|settings| settings.allowed_names.as_slice()).unwrap_or_default();
        let environment = environment::open(offer, &self.key, &context, allowed)?;
        let with_file = self.ingredients.file_is_named || self.uses_file();
        let own = [
            ("OUTRIGGER_INSTANCE_ID", self.enrollment.instance.to_string()),
            ("OUTRIGGER_DEPLOYMENT_ID", self.enrollment.deployment.to_string()),
        ];
        let around = Surroundings {
            inheritance: &self.ingredients.inheritance,
            login: self.ingredients.login.as_ref(),
            assignments: &self.ingredients.assignments,
            own: &own,
            env_file: with_file.then(|| self.file.path()),
            hints: &self.ingredients.hints,
            command: &self.ingredients.command,
        };
        Prepared::new(offer.config, environment, std::env::vars_os(), &around)
    }

    fn uses_file(&self) -> bool {
        let apply = self.settings().map(|settings| settings.apply);
        matches!(apply, Some(ApplyStrategy::Signal { .. } | ApplyStrategy::File))
    }

    /// A run is over.
    pub(super) fn ended(&mut self, ended: Ended, now: Instant) {
        self.pid.set(None);
        self.probes.program_stopped();
        self.output.tidy();
        tracing::info!(status = %ended.status, uptime = ?ended.uptime, "program ended");
        let level = if ended.status.is_success() { Level::Info } else { Level::Error };
        self.output.note(level, &format!("program ended: {} after {:.1} s", ended.status, ended.uptime.as_secs_f64()));
        let from_keyboard = matches!(ended.status, ExitStatus::Signal(libc::SIGINT | libc::SIGQUIT));
        if self.supervisor.terminal().is_owned() && from_keyboard {
            self.lifecycle.was_interrupted(now);
        }
        self.lifecycle.ended(now, entropy::uniform(), ended);
    }

    /// A signal came in for the program or for the agent.
    pub(super) fn signalled(&mut self, signal: i32, now: Instant) {
        match signal {
            libc::SIGTERM => self.lifecycle.leave(Outcome::Signalled(signal)),
            libc::SIGINT | libc::SIGQUIT | libc::SIGHUP => self.lifecycle.interrupt(now, signal),
            libc::SIGCONT => self.output.resume(),
            // The program's own terminal tells it.
            libc::SIGWINCH if self.output.resize() => {}
            _ => self.lifecycle.pass_on(signal),
        }
    }

    /// Does everything that is to be done now. Returns the outcome when the agent is to leave.
    pub(super) fn perform(&mut self) -> Option<Outcome> {
        while let Some(effect) = self.lifecycle.take_effect() {
            match effect {
                Effect::Start(environment) => self.start(&environment),
                Effect::Stop => {
                    self.probes.program_stopped();
                    self.supervisor.stop(Instant::now());
                }
                Effect::Signal(signal) => self.supervisor.forward(signal),
                Effect::WriteFile(environment) => {
                    self.output.mask_changed(&environment);
                    let written = self.file.write(&environment.file_content()).map_err(|error| text(&error));
                    self.lifecycle.file_written(Instant::now(), written);
                }
                Effect::Report { nonce, state, status } => {
                    tracing::info!(?state, received = ?status.last_received.map(|c| c.generation), "configuration");
                    self.link.report(nonce, state, status);
                }
                Effect::Announce(program) => {
                    self.program = program;
                    self.link.announce(program);
                }
                Effect::AskAnew => self.ask_anew(Instant::now()),
                Effect::Recall => self.recall(Instant::now()),
                Effect::Remember(environment) => self.remember(&environment),
                Effect::Finish(outcome) => return Some(outcome),
            }
        }
        self.link.set_status(self.lifecycle.status().clone());
        if let Some(statuses) = self.probes.take_report(Instant::now()) {
            self.link.report_probes(statuses);
        }
        None
    }

    fn start(&mut self, environment: &Rc<Prepared>) {
        let started = self.launch(environment);
        match &started {
            Ok(pid) => {
                self.watch(environment, Instant::now());
                tracing::info!(pid, generation = environment.config().generation, "program started");
                self.output.note(
                    Level::Info,
                    &format!("program started with configuration generation {}", environment.config().generation),
                );
            }
            Err(failure) => self.output.note(Level::Error, &failure.error),
        }
        self.lifecycle.started(Instant::now(), entropy::uniform(), started);
    }

    fn launch(&mut self, environment: &Prepared) -> Result<u32, StartFailure> {
        if self.uses_file() {
            let written = self.file.write(&environment.file_content());
            written.map_err(|error| StartFailure { exit_code: 1, error: text(&error) })?;
        }
        let mut launched = self
            .supervisor
            .start(environment, Instant::now())
            .map_err(|error| StartFailure { exit_code: error.exit_code(), error: text(&error) })?;
        // Only now, so that nothing delays the start: nothing was read of the program yet.
        self.output.mask_started(environment);
        self.output.attach(&mut launched, self.supervisor.terminal());
        let pid = launched.pid.as_raw_pid().unsigned_abs();
        self.pid.set(Some(pid));
        Ok(pid)
    }

    fn remember(&mut self, environment: &Prepared) {
        let offer = self.offers.iter().find(|offer| offer.config == environment.config());
        // Without either it came from there.
        let (Some(offer), Some(welcome)) = (offer, &self.welcome) else { return };
        let good = LastGood { welcome: welcome.clone(), offer: offer.clone() };
        match last_good::store(&self.state, &good) {
            Ok(true) => tracing::debug!(generation = offer.config.generation, "kept as last known good"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = %text(&error), "the last known good configuration is not kept"),
        }
    }
}

fn environment_file(config: &RunConfig, identity: &Identity) -> EnvironmentFile {
    let owner = config.account.as_ref().map(|account| (account.uid, account.gid));
    EnvironmentFile::new(config.env_file.clone(), &identity.enrollment.instance.to_string(), owner)
}
