//! Who is here: one peer per instance, with or without a session.
//!
//! A peer outlives its connections for a while, so that what was counted stays counted when an agent comes back. It
//! is small, because there are tens of thousands: ids, two ledgers, the last words of its agent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_catalog::model::Agent;
use outrigger_protocol::id::{AgentId, DeploymentId, InstanceId, OrganizationId};
use outrigger_protocol::message::{ApplyState, ConfigStatus, ProgramState};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use crate::dedup::{Books, Ledger, Shelf};
use crate::events::SessionEnd;
use crate::health::{InstanceHealth, restarts};
use crate::session::Session;
use crate::shards::{Shards, lock};
use crate::sink::Source;
use crate::stats::Reject;
use crate::traffic::Meter;

/// Agents that are gone and whose books are kept: about 5 MiB of them.
const BOOKS_OF_ABSENT: usize = 32 * 1024;

/// What an agent says about itself when it comes.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) agent_version: String,
    pub(crate) epoch: u64,
    pub(crate) now: UnixMillis,
    pub(crate) seal_key: [u8; 32],
    pub(crate) status: ConfigStatus,
    pub(crate) program: ProgramState,
}

/// One instance's agent.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) agent: AgentId,
    organization: OrganizationId,
    pub(crate) deployment: DeploymentId,
    pub(crate) instance: InstanceId,
    pub(crate) key_fingerprint: [u8; 32],
    enrolled_at: UnixMillis,
    state: Mutex<PeerState>,
}

#[derive(Debug)]
pub(crate) struct PeerState {
    session: Option<Arc<Session>>,
    /// When the last session ended.
    left_at: UnixMillis,
    /// The epoch of the newest process of this agent.
    epoch: u64,
    pub(crate) metrics: Ledger,
    pub(crate) logs: Ledger,
    pub(crate) meter: Meter,
    pub(crate) program: ProgramState,
    /// As the program's states have told until now.
    restarts: u32,
    /// `None` until this process of the agent has reported any.
    pub(crate) health: Option<Arc<InstanceHealth>>,
    pub(crate) config: ConfigStatus,
    /// What the session's newest report said of the newest configuration that it had received.
    pub(crate) apply: Option<ApplyState>,
    /// The highest generation that was offered in this session; 0 before the first.
    pub(crate) offered: u64,
    pub(crate) latest: Option<Arc<Sample>>,
    agent_version: Arc<str>,
}

/// An instance as its agent describes it at this moment.
#[derive(Debug, Clone)]
pub struct LiveInstance {
    pub instance: InstanceId,
    pub agent: AgentId,
    /// Has a session now; without one the rest is what was said last.
    pub connected: bool,
    pub last_seen: UnixMillis,
    pub program: ProgramState,
    /// How often its program was started again, for whatever reason, since its agent was started.
    pub restarts: u32,
    /// What its probes say; `None` when nothing has been heard of any.
    pub health: Option<Arc<InstanceHealth>>,
    pub config: ConfigStatus,
    /// What its newest report on this connection said; `None` before the first.
    pub apply: Option<ApplyState>,
    /// The newest sample, its time corrected for the sandbox's clock.
    pub latest: Option<Arc<Sample>>,
    pub agent_version: Arc<str>,
    /// Connected, its program runs with a configuration, and it passes the startup and readiness probes of its deployment.
    pub ready: bool,
}

impl Peer {
    /// `books` are those that were kept of an earlier time, if any were.
    fn new(record: &Agent, books: Books) -> Self {
        Self {
            agent: record.id,
            organization: record.organization,
            deployment: record.deployment,
            instance: record.instance,
            key_fingerprint: record.key_fingerprint,
            enrolled_at: record.enrolled_at,
            state: Mutex::new(PeerState {
                session: None,
                left_at: UnixMillis::EPOCH,
                epoch: books.epoch,
                metrics: books.metrics,
                logs: books.logs,
                meter: books.meter,
                program: ProgramState::Waiting,
                restarts: 0,
                health: None,
                config: ConfigStatus::default(),
                apply: None,
                offered: 0,
                latest: None,
                agent_version: Arc::from(""),
            }),
        }
    }

    /// Looks at or changes the state. `with` runs under its lock: it must not wait.
    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut PeerState) -> R) -> R {
        with(&mut lock(&self.state))
    }

    pub(crate) const fn source(&self) -> Source {
        Source { organization: self.organization, deployment: self.deployment, instance: self.instance }
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        lock(&self.state).session.clone()
    }

    fn attach(&self, session: &Arc<Session>, hello: Hello) -> Result<Option<Arc<Session>>, Reject> {
        let mut state = lock(&self.state);
        if hello.epoch < state.epoch {
            return Err(Reject::Overtaken);
        }
        if hello.epoch != state.epoch {
            // Another process, which has found nothing yet. The same one says in a moment what it has found meanwhile.
            state.health = None;
            state.restarts = 0;
        }
        state.epoch = hello.epoch;
        state.set_program(hello.program);
        state.config = hello.status;
        state.apply = None;
        state.offered = 0;
        if *state.agent_version != *hello.agent_version {
            state.agent_version = hello.agent_version.into();
        }
        Ok(state.session.replace(Arc::clone(session)))
    }

    /// `gated` is whether the deployment has startup or readiness probes.
    fn live(&self, now: UnixMillis, uptime: Duration, gated: bool) -> LiveInstance {
        let state = lock(&self.state);
        let connected = state.session.is_some();
        let last_seen = match &state.session {
            Some(session) => now.saturating_sub(session.silence(uptime)),
            None => state.left_at,
        };
        let passes = state.health.as_ref().map_or(!gated, |health| health.is_ready());
        let runs = matches!(state.program, ProgramState::Running { .. }) && state.config.running.is_some();
        LiveInstance {
            instance: self.instance,
            agent: self.agent,
            connected,
            last_seen,
            program: state.program,
            restarts: state.restarts,
            health: state.health.clone(),
            config: state.config.clone(),
            apply: state.apply,
            latest: state.latest.clone(),
            agent_version: Arc::clone(&state.agent_version),
            ready: connected && runs && passes,
        }
    }
}

impl PeerState {
    /// Whether the agent's place is this session's.
    pub(crate) fn is_served_by(&self, session: &Arc<Session>) -> bool {
        self.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session))
    }

    const fn books(&self) -> Books {
        Books { epoch: self.epoch, metrics: self.metrics, logs: self.logs, meter: self.meter }
    }

    pub(crate) fn set_program(&mut self, program: ProgramState) {
        self.program = program;
        self.restarts = restarts(program).unwrap_or(self.restarts);
    }
}

#[derive(Debug)]
pub(crate) struct Registry {
    peers: Shards<InstanceId, Arc<Peer>>,
    by_agent: Shards<AgentId, Arc<Peer>>,
    by_deployment: Shards<DeploymentId, HashMap<InstanceId, Arc<Peer>>>,
    live: AtomicUsize,
    absent: Mutex<Shelf>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            peers: Shards::new(),
            by_agent: Shards::new(),
            by_deployment: Shards::new(),
            live: AtomicUsize::new(0),
            absent: Mutex::new(Shelf::new(BOOKS_OF_ABSENT)),
        }
    }

    /// Agents with a session.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Gives the agent's place to a session. Whoever had it is closed: the same agent on an older connection, or an
    /// agent that enrolled earlier for the same instance.
    pub(crate) fn attach(&self, record: &Agent, session: &Arc<Session>, hello: Hello) -> Result<Arc<Peer>, Reject> {
        let (peer, displaced, replaced) = {
            // Held until the session is in, so that the sweep does not remove the peer in between.
            let mut peers = self.peers.of(&record.instance);
            let (peer, displaced) = match peers.get(&record.instance) {
                Some(peer) if peer.agent == record.id => (Arc::clone(peer), None),
                Some(peer) if peer.enrolled_at > record.enrolled_at => return Err(Reject::Overtaken),
                earlier => {
                    let books = lock(&self.absent).take(record.id).unwrap_or_default();
                    (Arc::new(Peer::new(record, books)), earlier.cloned())
                }
            };
            let replaced = peer.attach(session, hello)?;
            peers.insert(record.instance, Arc::clone(&peer));
            (peer, displaced, replaced)
        };
        self.live.fetch_add(1, Ordering::Relaxed);
        if let Some(displaced) = displaced {
            self.by_agent.remove(&displaced.agent);
            // Its end is no longer the instance's: the session has lost its place as one that the same agent replaces has.
            if let Some(session) = displaced.with(|state| state.session.take()) {
                session.end(SessionEnd::Replaced);
            }
        }
        if let Some(replaced) = replaced {
            replaced.end(SessionEnd::Replaced);
        }
        self.by_agent.of(&peer.agent).insert(peer.agent, Arc::clone(&peer));
        self.by_deployment
            .of(&peer.deployment)
            .entry(peer.deployment)
            .or_default()
            .insert(peer.instance, Arc::clone(&peer));
        Ok(peer)
    }

    /// Takes the place back. Returns whether the session still had it, which is when its end is the agent's: then `tell` is
    /// called before another session can have the place.
    pub(crate) fn detach(&self, peer: &Peer, session: &Arc<Session>, now: UnixMillis, tell: impl FnOnce()) -> bool {
        self.live.fetch_sub(1, Ordering::Relaxed);
        let mut state = lock(&peer.state);
        let had = state.is_served_by(session);
        if had {
            state.session = None;
            state.left_at = now;
            tell();
        }
        had
    }

    /// Removes a peer that has had no session since before `absent_after`. Returns whether it did.
    pub(crate) fn remove_absent(&self, peer: &Arc<Peer>, now: UnixMillis, absent_after: Duration) -> bool {
        {
            let mut peers = self.peers.of(&peer.instance);
            let current = peers.get(&peer.instance).is_some_and(|current| Arc::ptr_eq(current, peer));
            let absent = peer.with(|state| state.session.is_none() && now.since(state.left_at) > absent_after);
            if !current || !absent {
                return false;
            }
            peers.remove(&peer.instance);
            lock(&self.absent).put(peer.agent, peer.with(|state| state.books()));
        }
        self.unlist(peer);
        true
    }

    fn unlist(&self, peer: &Arc<Peer>) {
        let mut agents = self.by_agent.of(&peer.agent);
        if agents.get(&peer.agent).is_some_and(|current| Arc::ptr_eq(current, peer)) {
            agents.remove(&peer.agent);
        }
        drop(agents);
        let mut deployments = self.by_deployment.of(&peer.deployment);
        let Some(instances) = deployments.get_mut(&peer.deployment) else { return };
        if instances.get(&peer.instance).is_some_and(|current| Arc::ptr_eq(current, peer)) {
            instances.remove(&peer.instance);
        }
        if instances.is_empty() {
            deployments.remove(&peer.deployment);
        }
    }

    /// Forgets the peers of a deployment and returns them. Sessions that are still there end.
    pub(crate) fn forget(&self, deployment: DeploymentId) -> Vec<Arc<Peer>> {
        let peers: Vec<_> = self.by_deployment.remove(&deployment).unwrap_or_default().into_values().collect();
        for peer in &peers {
            self.peers.remove(&peer.instance);
            self.unlist(peer);
        }
        peers
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.values()
    }

    pub(crate) fn of_instance(&self, instance: InstanceId) -> Option<Arc<Peer>> {
        self.peers.find(&instance)
    }

    pub(crate) fn of_agent(&self, agent: AgentId) -> Option<Arc<Peer>> {
        self.by_agent.find(&agent)
    }

    pub(crate) fn of_deployment(&self, deployment: DeploymentId) -> Vec<Arc<Peer>> {
        let deployments = self.by_deployment.of(&deployment);
        deployments.get(&deployment).map(|peers| peers.values().cloned().collect()).unwrap_or_default()
    }

    /// Of each agent of the deployment that has a session, the generation that its program runs with.
    pub(crate) fn connected(&self, deployment: DeploymentId) -> Vec<Option<u64>> {
        let deployments = self.by_deployment.of(&deployment);
        let peers = deployments.get(&deployment).into_iter().flat_map(HashMap::values);
        let running = |state: &mut PeerState| state.config.running.map(|config| config.generation);
        peers.filter_map(|peer| peer.with(|state| state.session.is_some().then(|| running(state)))).collect()
    }

    pub(crate) fn live_instances(
        &self,
        deployment: DeploymentId,
        now: UnixMillis,
        uptime: Duration,
        gated: bool,
    ) -> Vec<LiveInstance> {
        self.of_deployment(deployment).iter().map(|peer| peer.live(now, uptime, gated)).collect()
    }
}
