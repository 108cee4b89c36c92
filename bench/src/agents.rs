//! Thousands of simulated agents in this process: each has its own key, certificate, connection and sequence numbers,
//! samples at 1 Hz, opens what is sealed to it and answers. Only the sandbox around it is made up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use outrigger_ingest::test_support::{Fleet, Seen, TestAgent, TestAgentError, TestSession};
use outrigger_protocol::message::{AgentMessage, ConfigStatus, EnrollRefusal, ProgramState};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::workload::{self, Noise};

pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Handshakes under way at a time.
const CONCURRENCY: usize = 64;
/// Batches without an acknowledgement that an agent keeps the time of.
const UNACKNOWLEDGED: usize = 600;

/// The CPU that all agents of one deployment report, and when the last of them had sampled it.
#[derive(Debug)]
pub struct Load {
    members: usize,
    state: Mutex<LoadState>,
}

#[derive(Debug, Clone, Copy)]
struct LoadState {
    percent: f64,
    /// Counts the changes.
    version: u64,
    /// Members that have sampled this version.
    sampled: usize,
    complete: Option<UnixMillis>,
}

impl Load {
    #[must_use]
    pub fn new(members: usize, percent: f64) -> Self {
        Self { members, state: Mutex::new(LoadState { percent, version: 0, sampled: 0, complete: None }) }
    }

    pub fn set(&self, percent: f64) {
        let mut state = lock(&self.state);
        *state = LoadState { percent, version: state.version + 1, sampled: 0, complete: None };
    }

    /// When the last member sampled what is set now; `None` as long as one is missing.
    #[must_use]
    pub fn complete(&self) -> Option<UnixMillis> {
        lock(&self.state).complete
    }

    /// What a member reads at `now`, which has read `version` before.
    fn read(&self, version: &mut Option<u64>, now: UnixMillis) -> f64 {
        let mut state = lock(&self.state);
        if version.replace(state.version) != Some(state.version) {
            state.sampled += 1;
            if state.sampled == self.members {
                state.complete = Some(now);
            }
        }
        state.percent
    }
}

/// A configuration that an agent opened and answered for.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    pub generation: u64,
    /// When the answer had been handed to the connection.
    pub at: Instant,
}

/// What the agents saw, all together.
#[derive(Debug, Default)]
pub struct Observed {
    sampling: AtomicBool,
    connected: AtomicUsize,
    batches: AtomicU64,
    /// Time from a sample to its acknowledgement.
    acknowledged: Mutex<Vec<Duration>>,
    applied: Mutex<Vec<Applied>>,
    /// Why each session that ended did. At most one per agent: nobody reconnects.
    ended: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only lists of numbers, which a panic elsewhere cannot leave half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observed {
    /// Begins or ends to send samples.
    pub fn set_sampling(&self, on: bool) {
        self.sampling.store(on, Ordering::Relaxed);
    }

    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// What was acknowledged since the last call.
    #[must_use]
    pub fn take_acknowledged(&self) -> Vec<Duration> {
        std::mem::take(&mut lock(&self.acknowledged))
    }

    /// What was applied since the last call.
    #[must_use]
    pub fn take_applied(&self) -> Vec<Applied> {
        std::mem::take(&mut lock(&self.applied))
    }

    #[must_use]
    pub fn applied_count(&self) -> usize {
        lock(&self.applied).len()
    }

    #[must_use]
    pub fn ended(&self) -> Vec<String> {
        lock(&self.ended).clone()
    }
}

/// Enrols one agent for each token, in the order of the tokens. The server limits how often one address may ask, so
/// the rest waits and asks again, as real agents do.
///
/// # Errors
/// A token is refused for another reason, or the server is not there.
pub async fn enroll(fleet: &Fleet, tokens: Vec<String>) -> Result<Vec<TestAgent>> {
    let enrolments = tokens.into_iter().map(|token| enroll_one(fleet, token));
    stream::iter(enrolments).buffered(CONCURRENCY).try_collect().await.context("cannot enrol")
}

async fn enroll_one(fleet: &Fleet, token: String) -> Result<TestAgent> {
    /// At the server's 128 a second from one address, thousands are through by then.
    const TRIES: u32 = 120;
    for _ in 0..TRIES {
        match fleet.enroll(&token).await {
            Err(TestAgentError::Refused { reason: EnrollRefusal::TryLater, .. }) => {
                sleep(Duration::from_millis(500)).await;
            }
            enrolled => return Ok(enrolled?),
        }
    }
    bail!("turned away {TRIES} times")
}

/// An agent before it connects: who it is, and whose load it reports.
#[derive(Debug)]
pub struct Member {
    pub agent: TestAgent,
    pub load: Arc<Load>,
}

/// Connected agents. Dropping them ends their tasks, and with them their sessions.
#[derive(Debug)]
pub struct Agents {
    pub observed: Arc<Observed>,
    tasks: JoinSet<()>,
}

impl Agents {
    /// Connects all `members`, without sampling, and waits until each has opened and answered its first configuration.
    ///
    /// # Errors
    /// One of them is turned away, or the configuration does not arrive within a minute.
    pub async fn connect(fleet: &Fleet, members: Vec<Member>) -> Result<Self> {
        let mut agents = Self { observed: Arc::default(), tasks: JoinSet::new() };
        let count = members.len();
        let greetings = members.into_iter().map(|member| async move {
            let mut session = fleet.connect(&member.agent, ConfigStatus::default()).await?;
            // No process of this machine: the largest pid there can be (proc(5), pid_max).
            let program = ProgramState::Running { pid: 1 << 22, restarts: 0 };
            session.say(&AgentMessage::Program(program)).await?;
            Ok::<_, TestAgentError>((session, member.load))
        });
        let mut greetings = stream::iter(greetings).buffer_unordered(CONCURRENCY).enumerate();
        while let Some((seed, greeting)) = greetings.next().await {
            let (session, load) = greeting.with_context(|| format!("agent {seed} of {count} cannot connect"))?;
            agents.observed.connected.fetch_add(1, Ordering::Relaxed);
            agents.tasks.spawn(live(session, load, Arc::clone(&agents.observed), Noise::new(seed as u64)));
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while agents.observed.applied_count() < count {
            let (applied, ended) = (agents.observed.applied_count(), agents.observed.ended());
            if Instant::now() > deadline {
                bail!("{applied} of {count} agents got a configuration; ended: {ended:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(agents)
    }
}

/// One agent, until its session ends.
async fn live(mut session: TestSession, load: Arc<Load>, observed: Arc<Observed>, mut noise: Noise) {
    let unacknowledged: Arc<Mutex<VecDeque<(u64, Instant)>>> = Arc::default();
    let offset = noise.within(SAMPLE_INTERVAL);
    let mut sequence = session.next_batch;
    let mut version = None;
    let sample = |now: UnixMillis| -> Option<Sample> {
        if !observed.sampling.load(Ordering::Relaxed) {
            return None;
        }
        let mut waiting = lock(&unacknowledged);
        if waiting.len() < UNACKNOWLEDGED {
            waiting.push_back((sequence, Instant::now()));
        }
        sequence += 1;
        observed.batches.fetch_add(1, Ordering::Relaxed);
        Some(workload::sample(now, load.read(&mut version, now), &mut noise))
    };
    let seen = |seen: Seen| match seen {
        Seen::Accepted(id) => {
            let now = Instant::now();
            let mut waiting = lock(&unacknowledged);
            let mut acknowledged = lock(&observed.acknowledged);
            while let Some((_, sent)) = waiting.pop_front_if(|(sequence, _)| *sequence <= id.seq) {
                acknowledged.push(now.saturating_duration_since(sent));
            }
        }
        Seen::Applied(config) => {
            lock(&observed.applied).push(Applied { generation: config.generation, at: Instant::now() });
        }
        Seen::Ended(code) => {
            let reason =
                code.map_or_else(|| "connection lost".to_owned(), |code| format!("closed by the server: {code}"));
            lock(&observed.ended).push(reason);
            observed.connected.fetch_sub(1, Ordering::Relaxed);
        }
    };
    session.run(SAMPLE_INTERVAL, offset, sample, seen).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_complete_when_every_member_has_sampled_it() {
        let load = Load::new(2, 40.0);
        let (mut one, mut other) = (None, None);
        let at = UnixMillis::from_millis;
        assert_eq!(load.read(&mut one, at(1)), 40.0);
        assert_eq!(load.read(&mut one, at(2)), 40.0);
        assert_eq!(load.complete(), None, "one member twice is not both");
        load.read(&mut other, at(3));
        load.read(&mut one, at(4));
        assert_eq!(load.complete(), Some(at(3)));
        load.set(90.0);
        assert_eq!(load.complete(), None);
        assert_eq!(load.read(&mut one, at(5)), 90.0);
        load.read(&mut other, at(6));
        assert_eq!(load.complete(), Some(at(6)));
    }
}
