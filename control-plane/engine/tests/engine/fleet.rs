//! A driver whose sandboxes are simulated agents in this process, and which fails when it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outrigger_drivers::{Created, Driver, DriverError, DriverFuture, InstanceSpec, Observed};
use outrigger_ingest::test_support::{Fleet, TestSession};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{AgentMessage, ConfigStatus, ProgramState};
use outrigger_protocol::metric::Metric;
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
}

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

    fn sandboxes(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Sandbox>> {
        self.sandboxes.lock().expect("nothing panics while it is held")
    }

    async fn join(&self, spec: &InstanceSpec) -> Result<JoinHandle<()>, DriverError> {
        let failed = |error: outrigger_ingest::test_support::TestAgentError| {
            DriverError::transient("start a simulated agent", error.to_string())
        };
        let fleet = Fleet::new(spec.agents_address, &spec.server_name, 1).map_err(failed)?;
        let agent = fleet.enroll(spec.join_token.expose()).await.map_err(failed)?;
        let session = fleet.connect(&agent, ConfigStatus::default()).await.map_err(failed)?;
        Ok(tokio::spawn(play(fleet, session, Arc::clone(&self.load), Arc::clone(&self.silent))))
    }
}

/// An agent whose program serves as soon as it has its first configuration.
async fn play(_fleet: Fleet, mut session: TestSession, load: Arc<AtomicU64>, silent: Arc<AtomicBool>) {
    let Ok(offer) = session.next_offer().await else { return };
    let running = AgentMessage::Program(ProgramState::Running { pid: 1, restarts: 0 });
    if session.apply(&offer).await.is_err() || session.say(&running).await.is_err() {
        return;
    }
    let sample = |now: UnixMillis| {
        let mut sample = Sample::new(now);
        sample.set(Metric::Requests, load.load(Ordering::Relaxed) as f64);
        (!silent.load(Ordering::Relaxed)).then_some(sample)
    };
    session.run(Duration::from_millis(100), Duration::ZERO, sample, |_| {}).await;
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
