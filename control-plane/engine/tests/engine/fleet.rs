//! A driver whose sandboxes are simulated agents in this process, and which fails when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outrigger_drivers::{Created, Driver, DriverError, DriverFuture, InstanceSpec, Observed};
use outrigger_ingest::test_support::{Fleet, TestAgentError, TestSession, busy_sample};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{AgentMessage, ConfigOffer, ConfigStatus, ProgramState, ServerMessage};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::probe::{ProbeKind, ProbeLevel, ProbeStatus, ProbeVerdict};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
pub(crate) struct FleetDriver {
    sandboxes: Mutex<BTreeMap<InstanceId, Sandbox>>,
    /// Requests per second that all instances together are asked for.
    pub(crate) load: Arc<AtomicU64>,
    /// Agents send no samples.
    pub(crate) silent: Arc<AtomicBool>,
    /// This many creations fail, for now.
    pub(crate) failures: AtomicUsize,
    /// Every creation fails, for good.
    pub(crate) broken: AtomicBool,
    /// Creations wait for ever.
    pub(crate) stuck: AtomicBool,
    pub(crate) created: AtomicUsize,
    /// Which generation was offered to whom, in the order in which they arrived.
    offered: Offered,
}

/// Between two samples of an agent.
const SAMPLES: Duration = Duration::from_millis(100);

type Offered = Arc<Mutex<Vec<(InstanceId, u64)>>>;

/// The variable whose value says what becomes of a configuration.
pub(crate) const VERDICT: &str = "VERDICT";
/// Values of it: the program does not start, its probe fails, or half of its answers are errors.
pub(crate) const REFUSED: &str = "refused";
pub(crate) const SICK: &str = "sick";
pub(crate) const FAILING: &str = "failing";

#[derive(Debug)]
struct Sandbox {
    alive: bool,
    /// Absent for a sandbox that nobody asked for.
    agent: Option<JoinHandle<()>>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(agent) = &self.agent {
            agent.abort();
        }
    }
}

impl FleetDriver {
    pub(crate) const NAME: &'static str = "fleet";

    pub(crate) fn running(&self) -> Vec<InstanceId> {
        self.sandboxes().iter().filter(|(_, sandbox)| sandbox.alive).map(|(id, _)| *id).collect()
    }

    /// The agent and its program die, and leave what is left to be cleared away.
    pub(crate) fn kill(&self, instance: InstanceId) {
        if let Some(sandbox) = self.sandboxes().get_mut(&instance) {
            *sandbox = Sandbox { alive: false, agent: None };
        }
    }

    /// A sandbox that no control plane wrote down.
    pub(crate) fn plant(&self, instance: InstanceId) {
        self.sandboxes().insert(instance, Sandbox { alive: true, agent: None });
    }

    /// Who was ever offered a generation.
    pub(crate) fn offered(&self, generation: u64) -> BTreeSet<InstanceId> {
        let offered = self.offered.lock().expect("nothing panics while it is held");
        offered.iter().filter(|(_, other)| *other == generation).map(|(instance, _)| *instance).collect()
    }

    fn sandboxes(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Sandbox>> {
        self.sandboxes.lock().expect("nothing panics while it is held")
    }

    async fn join(&self, spec: &InstanceSpec) -> Result<JoinHandle<()>, DriverError> {
        let failed = |error: TestAgentError| DriverError::transient("start a simulated agent", error.to_string());
        let fleet = Fleet::new(spec.agents_address, &spec.server_name, 1).map_err(failed)?;
        let agent = fleet.enroll(spec.join_token.expose()).await.map_err(failed)?;
        let session = fleet.connect(&agent, ConfigStatus::default()).await.map_err(failed)?;
        let player = Player {
            instance: spec.instance,
            load: Arc::clone(&self.load),
            silent: Arc::clone(&self.silent),
            offered: Arc::clone(&self.offered),
            fails: false,
        };
        Ok(tokio::spawn(async move {
            // It plays until its connection ends.
            let _ = player.play(session).await;
            drop(fleet);
        }))
    }
}

/// An agent whose program serves as soon as it has its first configuration.
struct Player {
    instance: InstanceId,
    load: Arc<AtomicU64>,
    silent: Arc<AtomicBool>,
    offered: Offered,
    fails: bool,
}

impl Player {
    async fn play(mut self, mut session: TestSession) -> Result<(), TestAgentError> {
        let offer = session.next_offer().await?;
        self.answer(&mut session, &offer).await?;
        session.say(&AgentMessage::Program(ProgramState::Running { pid: 1, restarts: 0 })).await?;
        let mut ticks = tokio::time::interval(SAMPLES);
        loop {
            tokio::select! {
                message = session.next() => match message? {
                    ServerMessage::Offer(offer) => self.answer(&mut session, &offer).await?,
                    ServerMessage::Heartbeat { .. } => {
                        session.say(&AgentMessage::Heartbeat { now: UnixMillis::now() }).await?;
                    }
                    _ => {}
                },
                _ = ticks.tick() => {
                    if !self.silent.load(Ordering::Relaxed) {
                        session.send_samples(vec![self.sample()]).await?;
                    }
                }
            }
        }
    }

    /// Every instance has a share of the load that is known as a rate, and answers ten requests that are counted.
    fn sample(&self) -> Sample {
        let errors = if self.fails { 5 } else { 0 };
        let mut sample = busy_sample(UnixMillis::now(), SAMPLES, 10, errors, Duration::from_millis(5));
        let load = self.load.load(Ordering::Relaxed) as f64;
        let rate = sample.values.iter_mut().find(|(metric, _)| *metric == Metric::Requests);
        rate.expect("it is there").1 = load;
        sample
    }

    async fn answer(&mut self, session: &mut TestSession, offer: &ConfigOffer) -> Result<(), TestAgentError> {
        let seen = (self.instance, offer.config.generation);
        self.offered.lock().expect("nothing panics while it is held").push(seen);
        let environment = session.unseal(offer)?;
        let verdict = environment.entries.iter().find(|entry| entry.name == VERDICT);
        let verdict = verdict.and_then(|entry| entry.value.as_ref()).map(|value| value.as_str());
        self.fails = verdict == Some(FAILING);
        match verdict {
            Some(REFUSED) => session.refuse(offer, "the program does not start").await,
            Some(SICK) => {
                session.apply(offer).await?;
                session.say(&AgentMessage::Probes(vec![probe(5)])).await
            }
            _ => {
                session.apply(offer).await?;
                session.say(&AgentMessage::Probes(vec![probe(0)])).await
            }
        }
    }
}

fn probe(failures: u32) -> ProbeStatus {
    ProbeStatus {
        name: "http".to_owned(),
        kind: ProbeKind::Readiness,
        level: ProbeLevel::Service,
        verdict: if failures > 0 { ProbeVerdict::Failing } else { ProbeVerdict::Passing },
        consecutive_failures: failures,
        last_error: (failures > 0).then(|| "answered 500".to_owned()),
    }
}

impl Driver for FleetDriver {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> DriverFuture<'a, Created> {
        Box::pin(async move {
            if self.stuck.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.broken.load(Ordering::Relaxed) {
                return Err(DriverError::permanent("make a sandbox", "there is no such program"));
            }
            let fails = self.failures.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if fails.is_ok() {
                return Err(DriverError::transient("make a sandbox", "not just now"));
            }
            if !self.sandboxes().contains_key(&spec.instance) {
                let agent = self.join(spec).await?;
                self.created.fetch_add(1, Ordering::Relaxed);
                self.sandboxes().insert(spec.instance, Sandbox { alive: true, agent: Some(agent) });
            }
            Ok(Created { endpoint: Some("127.0.0.1:1".to_owned()) })
        })
    }

    fn destroy(&self, instance: InstanceId, _grace: Duration) -> DriverFuture<'_, ()> {
        Box::pin(async move {
            self.sandboxes().remove(&instance);
            Ok(())
        })
    }

    fn list(&self) -> DriverFuture<'_, Vec<Observed>> {
        Box::pin(async move {
            let sandboxes = self.sandboxes();
            Ok(sandboxes.iter().map(|(id, sandbox)| Observed { instance: *id, running: sandbox.alive }).collect())
        })
    }
}

/// A driver with a defect: whoever asks whether it has agents panics.
#[derive(Debug)]
pub(crate) struct DefectiveDriver;

impl DefectiveDriver {
    pub(crate) const NAME: &'static str = "defective";
}

#[allow(clippy::panic, reason = "that is what it is for")]
impl Driver for DefectiveDriver {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn has_agents(&self) -> bool {
        panic!("on purpose")
    }

    fn create<'a>(&'a self, _spec: &'a InstanceSpec) -> DriverFuture<'a, Created> {
        panic!("on purpose")
    }

    fn destroy(&self, _instance: InstanceId, _grace: Duration) -> DriverFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn list(&self) -> DriverFuture<'_, Vec<Observed>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
