//! The agent as a whole: one thread, one loop, everything bounded.
//!
//! The parts do not know each other. `shell` holds the program's side, the session's future is the control plane's,
//! and this loop carries messages between them, samples, and answers the status command. The order of a start is the
//! order of the code in `start`; the order of an end is in `farewell`.

mod farewell;
mod known;
mod membership;
mod output;
mod shell;
mod telemetry;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use outrigger_protocol::time::UnixMillis;
use tokio::sync::mpsc;

use crate::clock::SteadyClock;
use crate::config::{RunConfig, duration};
use crate::control_plane::{ControlPlane, ControlPlaneError};
use crate::identity::Identity;
use crate::lifecycle::Outcome;
use crate::sampler::ProgramPid;
use crate::session::{Link, Session, SessionEvent, text};
use crate::spool;
use crate::state_dir::{StateDir, StateDirError};
use crate::status::{Report, StatusServer};
use crate::supervisor::{Program, Signals, Supervisor, Terminal, sleep_until};
use membership::{Membership, MembershipError};
use shell::Shell;
use telemetry::{Telemetry, TelemetryError};

/// How long a silent control plane is waited for before the last known good configuration is used. A refusal is not
/// waited for at all.
const SILENCE: Duration = Duration::from_secs(3);

/// What `run` came to.
#[derive(Debug)]
pub struct Ended {
    pub exit_code: i32,
    /// One sentence for stderr.
    pub complaint: Option<String>,
}

impl Ended {
    fn failed(error: &RunError) -> Self {
        Self { exit_code: 1, complaint: Some(text(error)) }
    }
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { exit_code: outcome.exit_code(), complaint: outcome.complaint() }
    }
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("no configuration within {waited}: {reason}; {cache}")]
    StartTimeout { waited: String, reason: String, cache: String },
}

/// Runs the program from start to end. Blocks this thread, which is the only one.
#[must_use]
pub fn run(config: RunConfig) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For resolving names, and for as short as possible.
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(start(config)).unwrap_or_else(|error| Ended::failed(&error)),
        Err(error) => Ended::failed(&RunError::Runtime(error)),
    }
}

async fn start(mut config: RunConfig) -> Result<Ended, RunError> {
    let started = Instant::now();
    let deadline = started + config.start_timeout;
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let state = Rc::new(StateDir::open(&config.state_dir)?);
    let control_plane =
        ControlPlane::new(config.control_plane.clone(), config.server_name.clone(), config.ca_file.as_deref())?;
    let token = std::mem::take(&mut config.join_token);
    let mut membership = Membership::new(control_plane, Rc::clone(&state), token);
    let identity = tokio::select! {
        identity = membership.identify(deadline) => identity?,
        signal = ending(&mut signals) => return Ok(Outcome::Signalled(signal).into()),
    };
    let epoch = state.next_epoch(UnixMillis::now());
    let (samples, lines) = spool::within(config.spool_bytes, epoch, config.forward_logs);
    let link = Link::new(samples, lines, SteadyClock::start());
    let (streams, terminal) = output::wire(&config, Terminal::detect());
    let program = Program {
        command: config.command.clone(),
        account: config.account.clone(),
        core_limit: config.core_limit,
        streams,
    };
    let supervisor = Supervisor::new(program, config.stop_grace, terminal).map_err(RunError::Signals)?;
    let pid = ProgramPid::default();
    let telemetry = Telemetry::start(&config, pid.clone(), started).await?;
    let shell = Shell::new(&config, &identity, state, link.clone(), supervisor, pid, telemetry.hints());
    let about = About::new(&config, &identity);
    let status = StatusServer::listen(&config.state_dir)
        .inspect_err(|error| tracing::warn!(%error, "the status command will not work"))
        .ok();
    let (session, events) = open_session(&membership, identity, link.clone(), epoch);
    let agent = Agent {
        config,
        started,
        deadline,
        signals,
        membership,
        epoch,
        link,
        shell,
        telemetry,
        about,
        status,
        events,
        cache_tried: false,
    };
    agent.run(session).await
}

fn open_session(
    membership: &Membership,
    identity: Identity,
    link: Link,
    epoch: u64,
) -> (SessionRun, mpsc::Receiver<SessionEvent>) {
    let (control_plane, state) = (membership.control_plane.clone(), Rc::clone(&membership.state));
    let (session, events) = Session::new(control_plane, identity, state, link, epoch);
    (Box::pin(session.run()), events)
}

/// The next signal that asks to leave.
async fn ending(signals: &mut Signals) -> i32 {
    loop {
        let signal = signals.next().await;
        if matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP) {
            return signal;
        }
    }
}

/// What does not change while the agent runs, for the status command.
#[derive(Debug)]
struct About {
    agent: String,
    instance: String,
    deployment: String,
    control_plane: String,
    certificate_not_after: u64,
}

impl About {
    fn new(config: &RunConfig, identity: &Identity) -> Self {
        Self {
            agent: identity.enrollment.agent.to_string(),
            instance: identity.enrollment.instance.to_string(),
            deployment: identity.enrollment.deployment.to_string(),
            control_plane: config.control_plane.clone(),
            certificate_not_after: identity.validity.not_after.as_millis(),
        }
    }
}

type SessionRun = Pin<Box<dyn Future<Output = ()>>>;

/// Everything of a run.
struct Agent {
    config: RunConfig,
    started: Instant,
    deadline: Instant,
    signals: Signals,
    membership: Membership,
    epoch: u64,
    link: Link,
    shell: Shell,
    telemetry: Telemetry,
    about: About,
    status: Option<StatusServer>,
    events: mpsc::Receiver<SessionEvent>,
    cache_tried: bool,
}

impl Agent {
    async fn run(mut self, mut session: SessionRun) -> Result<Ended, RunError> {
        let ended = match self.steer(&mut session).await {
            Ok(outcome) => outcome.into(),
            Err(error) => Ended::failed(&error),
        };
        self.leave(&mut session).await;
        Ok(ended)
    }

    /// The loop, until there is an outcome.
    async fn steer(&mut self, session: &mut SessionRun) -> Result<Outcome, RunError> {
        let mut last_error = None;
        loop {
            if let Some(outcome) = self.shell.perform() {
                return Ok(outcome);
            }
            if self.shell.lifecycle.is_leaving() {
                self.telemetry.stop_proxy();
            }
            let waiting = self.shell.lifecycle.is_waiting();
            if !waiting {
                self.membership.forget_token();
            }
            let give_up = waiting.then_some(self.deadline);
            let fall_back = (waiting && self.may_use_cache()).then(|| (self.started + SILENCE).min(self.deadline));
            tokio::select! {
                biased;
                signal = self.signals.next() => self.shell.signalled(signal, Instant::now()),
                ended = self.shell.supervisor.ended() => {
                    self.shell.ended(ended, Instant::now());
                    self.telemetry.program_ended();
                }
                Some(event) = self.events.recv() => {
                    if let Some(refusal) = self.hear(event, &mut last_error) {
                        self.rejoin(session, refusal).await?;
                    }
                }
                () = session.as_mut() => {}
                step = self.shell.probes.next() => self.shell.probe(step, Instant::now()),
                () = sleep_until(self.shell.lifecycle.next_wake()) => self.shell.lifecycle.wake(Instant::now()),
                () = sleep_until(fall_back) => self.use_cache(),
                () = sleep_until(give_up) => return Err(self.start_timeout(last_error)),
                records = self.shell.output.lines() => self.telemetry.forward(records, &self.link),
                () = sleep_until(Some(self.telemetry.due())) => self.telemetry.sample(&self.link, Instant::now()),
                asked = asked(self.status.as_ref()) => asked.answer(&self.report()),
            }
        }
    }

    /// Returns why this agent was shut out, when that has to be answered: as long as no program runs.
    fn hear(&mut self, event: SessionEvent, last_error: &mut Option<String>) -> Option<String> {
        match event {
            SessionEvent::Connected(welcome) => {
                self.telemetry.set_interval(welcome.settings.sample_interval, Instant::now());
                self.shell.welcomed(*welcome);
            }
            SessionEvent::Offer(offer) => self.shell.offered(*offer, Instant::now()),
            SessionEvent::Settings(settings) => {
                self.telemetry.set_interval(settings.sample_interval, Instant::now());
                self.shell.configure(settings);
            }
            SessionEvent::Stop { reason } => {
                tracing::info!(%reason, "the control plane stops this agent");
                self.shell.lifecycle.leave(Outcome::Dismissed);
            }
            SessionEvent::Disconnected { error } => {
                *last_error = Some(error);
                // It will not answer within the time that a program can wait: no reason to wait for the rest of it.
                if self.shell.lifecycle.is_waiting() && self.may_use_cache() {
                    self.use_cache();
                }
            }
            SessionEvent::Refused { error } => {
                self.shell.forget_last_good();
                if self.shell.lifecycle.is_waiting() {
                    return Some(error);
                }
                tracing::error!(
                    %error,
                    "the program goes on with what it has; to join anew, start this agent again with a new join token"
                );
            }
        }
        None
    }

    /// Becomes another member than the one that was refused, or fails with what can be done about it.
    async fn rejoin(&mut self, session: &mut SessionRun, refusal: String) -> Result<(), RunError> {
        let identity = tokio::select! {
            identity = self.membership.rejoin(refusal, self.deadline) => identity?,
            signal = ending(&mut self.signals) => {
                self.shell.signalled(signal, Instant::now());
                return Ok(());
            }
        };
        self.shell.become_member(&self.config, &identity);
        self.about = About::new(&self.config, &identity);
        (*session, self.events) = open_session(&self.membership, identity, self.link.clone(), self.epoch);
        Ok(())
    }

    const fn may_use_cache(&self) -> bool {
        !self.config.require_fresh && !self.cache_tried
    }

    fn use_cache(&mut self) {
        self.cache_tried = true;
        if self.shell.start_from_cache()
            && let Some(settings) = self.shell.settings()
        {
            self.telemetry.set_interval(settings.sample_interval, Instant::now());
        }
    }

    fn start_timeout(&self, last_error: Option<String>) -> RunError {
        let cache = if self.config.require_fresh {
            "--require-fresh forbids the last known good configuration".to_owned()
        } else {
            format!("{} holds no last known good configuration", self.config.state_dir.display())
        };
        let silent = || {
            if self.link.is_connected() {
                format!("{} is connected and offers none", self.config.control_plane)
            } else {
                format!("{} does not answer", self.config.control_plane)
            }
        };
        let waited = duration::display(self.config.start_timeout);
        RunError::StartTimeout { waited, reason: last_error.unwrap_or_else(silent), cache }
    }

    fn report(&self) -> Report {
        let (connected, control_plane, connection_error) =
            Report::connection(self.link.connection(), &self.about.control_plane);
        Report {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_pid: std::process::id(),
            agent: self.about.agent.clone(),
            instance: self.about.instance.clone(),
            deployment: self.about.deployment.clone(),
            control_plane,
            connected,
            connection_error,
            certificate_not_after: self.about.certificate_not_after,
            configuration: self.shell.lifecycle.status().into(),
            program: crate::status::Program::new(self.shell.program, self.shell.lifecycle.restarts()),
            probes: self.shell.probes.statuses().into_iter().map(Into::into).collect(),
            spool: self.link.figures().into(),
            scrape: self.telemetry.scrape_status(),
            statsd: self.telemetry.statsd_status(),
        }
    }
}

async fn asked(server: Option<&StatusServer>) -> crate::status::Asked {
    match server {
        Some(server) => server.asked().await,
        None => std::future::pending().await,
    }
}
