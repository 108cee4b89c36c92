//! The control conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::probe::{Probe, ProbeStatus};
use super::{Chain, chain_from, chain_into};
use crate::codec::{CodecError, Discarded};
use crate::id::{AgentId, DeploymentId, InstanceId};
use crate::limits;
use crate::message as domain;
use crate::sample::BatchId;
use crate::seal::Sealed;
use crate::time::UnixMillis;
use crate::wire::Counterpart;
use crate::wire::bounded::{Blob, Seq, clip, text, within};

#[derive(Serialize, Deserialize)]
struct ConfigRef {
    generation: u64,
    hash: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct ConfigFailure<'a> {
    config: ConfigRef,
    error: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigStatus<'a> {
    last_received: Option<ConfigRef>,
    running: Option<ConfigRef>,
    #[serde(borrow)]
    last_failed: Option<ConfigFailure<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum ApplyState {
    Applying,
    Applied,
    PendingRestart,
    Failed,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum ProgramState {
    Waiting,
    Running { pid: u32, restarts: u32 },
    Backoff { restarts: u32 },
    Exited { code: i32 },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AgentMessage<'a> {
    Hello {
        agent_version: &'a str,
        epoch: u64,
        now: u64,
        seal_key: [u8; 32],
        #[serde(borrow)]
        status: ConfigStatus<'a>,
        program: ProgramState,
    },
    ConfigReport {
        nonce: [u8; 16],
        state: ApplyState,
        status: ConfigStatus<'a>,
    },
    Program(ProgramState),
    Heartbeat {
        now: u64,
    },
    Renew {
        csr: Blob<'a>,
    },
    Goodbye {
        reason: &'a str,
    },
    Probes(#[serde(borrow)] Seq<ProbeStatus<'a>, { limits::PROBES }>),
}

impl<'a> Counterpart<'a> for AgentMessage<'a> {
    type Domain = domain::AgentMessage;

    fn from_domain(message: &'a domain::AgentMessage) -> Result<Self, CodecError> {
        use domain::AgentMessage as M;
        Ok(match message {
            M::Hello { agent_version, epoch, now, seal_key, status, program } => Self::Hello {
                agent_version: clip(agent_version),
                epoch: *epoch,
                now: now.as_millis(),
                seal_key: *seal_key,
                status: status.into(),
                program: (*program).into(),
            },
            M::ConfigReport { nonce, state, status } => {
                Self::ConfigReport { nonce: *nonce, state: (*state).into(), status: status.into() }
            }
            M::Program(state) => Self::Program((*state).into()),
            M::Heartbeat { now } => Self::Heartbeat { now: now.as_millis() },
            M::Renew { csr } => Self::Renew { csr: Blob(Blob(csr).checked("certificate request", limits::CSR_BYTES)?) },
            M::Goodbye { reason } => Self::Goodbye { reason: clip(reason) },
            M::Probes(probes) => {
                let probes = probes.iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
                Self::Probes(Seq::new(probes, "probes of an instance")?)
            }
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::AgentMessage, CodecError> {
        use domain::AgentMessage as M;
        Ok(match self {
            Self::Hello { agent_version, epoch, now, seal_key, status, program } => M::Hello {
                agent_version: text("agent version", agent_version)?,
                epoch,
                now: UnixMillis::from_millis(now),
                seal_key,
                status: status.try_into()?,
                program: program.into(),
            },
            Self::ConfigReport { nonce, state, status } => {
                M::ConfigReport { nonce, state: state.into(), status: status.try_into()? }
            }
            Self::Program(state) => M::Program(state.into()),
            Self::Heartbeat { now } => M::Heartbeat { now: UnixMillis::from_millis(now) },
            Self::Renew { csr } => M::Renew { csr: csr.checked("certificate request", limits::CSR_BYTES)?.to_vec() },
            Self::Goodbye { reason } => M::Goodbye { reason: text("reason", reason)? },
            Self::Probes(probes) => {
                let probes = probes.into_items("probes of an instance")?;
                M::Probes(probes.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) enum ApplyStrategy {
    Restart { jitter_ms: u64 },
    Signal { signal: i32 },
    File,
    None,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AgentSettings<'a> {
    sample_interval_ms: u64,
    heartbeat_interval_ms: u64,
    apply: ApplyStrategy,
    #[serde(borrow)]
    allowed_names: Seq<&'a str, { limits::ALLOWED_NAMES }>,
}

/// What settings have beyond [`AgentSettings`]. It travels in messages of its own, and only when there is something: an
/// agent that knows nothing of it understands every deployment that asks for nothing of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Watched<'a> {
    #[serde(borrow)]
    start_only: Seq<&'a str, { limits::START_ONLY_NAMES }>,
    bake_time_ms: Option<u64>,
    #[serde(borrow)]
    probes: Seq<Probe<'a>, { limits::PROBES }>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigOffer<'a> {
    config: ConfigRef,
    nonce: [u8; 16],
    encapsulated: [u8; 32],
    #[serde(borrow)]
    ciphertext: Blob<'a>,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum ServerMessage<'a> {
    Welcome {
        agent: [u8; 16],
        instance: [u8; 16],
        deployment: [u8; 16],
        now: u64,
        #[serde(borrow)]
        settings: AgentSettings<'a>,
    },
    Offer(ConfigOffer<'a>),
    Settings(AgentSettings<'a>),
    MetricsAccepted {
        epoch: u64,
        seq: u64,
    },
    LogsAccepted {
        epoch: u64,
        seq: u64,
    },
    Heartbeat {
        now: u64,
    },
    Renewed {
        chain: Chain<'a>,
    },
    Stop {
        reason: &'a str,
    },
    Drain,
    RetryAfter {
        delay_ms: u64,
    },
    Redirect {
        address: &'a str,
    },
    WelcomeWatched {
        agent: [u8; 16],
        instance: [u8; 16],
        deployment: [u8; 16],
        now: u64,
        #[serde(borrow)]
        settings: AgentSettings<'a>,
        watched: Watched<'a>,
    },
    SettingsWatched {
        #[serde(borrow)]
        settings: AgentSettings<'a>,
        watched: Watched<'a>,
    },
}

impl<'a> Counterpart<'a> for ServerMessage<'a> {
    type Domain = domain::ServerMessage;

    fn from_domain(message: &'a domain::ServerMessage) -> Result<Self, CodecError> {
        use domain::ServerMessage as M;
        Ok(match message {
            M::Welcome { agent, instance, deployment, now, settings } => {
                let (agent, instance, deployment) = (agent.to_bytes(), instance.to_bytes(), deployment.to_bytes());
                let (now, watched) = (now.as_millis(), Watched::of(settings)?);
                let settings = settings.try_into()?;
                match watched {
                    None => Self::Welcome { agent, instance, deployment, now, settings },
                    Some(watched) => Self::WelcomeWatched { agent, instance, deployment, now, settings, watched },
                }
            }
            M::Offer(offer) => Self::Offer(ConfigOffer {
                config: offer.config.into(),
                nonce: offer.nonce,
                encapsulated: offer.sealed.encapsulated,
                ciphertext: Blob(&offer.sealed.ciphertext),
            }),
            M::Settings(settings) => match Watched::of(settings)? {
                None => Self::Settings(settings.try_into()?),
                Some(watched) => Self::SettingsWatched { settings: settings.try_into()?, watched },
            },
            M::MetricsAccepted { id } => Self::MetricsAccepted { epoch: id.epoch, seq: id.seq },
            M::LogsAccepted { id } => Self::LogsAccepted { epoch: id.epoch, seq: id.seq },
            M::Heartbeat { now } => Self::Heartbeat { now: now.as_millis() },
            M::Renewed { chain } => Self::Renewed { chain: chain_from(chain)? },
            M::Stop { reason } => Self::Stop { reason: clip(reason) },
            M::Drain => Self::Drain,
            M::RetryAfter { delay } => Self::RetryAfter { delay_ms: millis(*delay) },
            M::Redirect { address } => {
                within("address", address.len(), limits::TEXT_BYTES)?;
                Self::Redirect { address }
            }
        })
    }

    fn into_domain(self, _: &mut Discarded) -> Result<domain::ServerMessage, CodecError> {
        use domain::ServerMessage as M;
        let welcome = |agent, instance, deployment, now, settings| M::Welcome {
            agent: AgentId::from_bytes(agent),
            instance: InstanceId::from_bytes(instance),
            deployment: DeploymentId::from_bytes(deployment),
            now: UnixMillis::from_millis(now),
            settings,
        };
        Ok(match self {
            Self::Welcome { agent, instance, deployment, now, settings } => {
                welcome(agent, instance, deployment, now, settings.try_into()?)
            }
            Self::WelcomeWatched { agent, instance, deployment, now, settings, watched } => {
                welcome(agent, instance, deployment, now, watched.added_to(settings.try_into()?)?)
            }
            Self::Offer(offer) => M::Offer(Box::new(domain::ConfigOffer {
                config: offer.config.into(),
                nonce: offer.nonce,
                sealed: Sealed { encapsulated: offer.encapsulated, ciphertext: offer.ciphertext.0.to_vec() },
            })),
            Self::Settings(settings) => M::Settings(settings.try_into()?),
            Self::SettingsWatched { settings, watched } => M::Settings(watched.added_to(settings.try_into()?)?),
            Self::MetricsAccepted { epoch, seq } => M::MetricsAccepted { id: BatchId { epoch, seq } },
            Self::LogsAccepted { epoch, seq } => M::LogsAccepted { id: BatchId { epoch, seq } },
            Self::Heartbeat { now } => M::Heartbeat { now: UnixMillis::from_millis(now) },
            Self::Renewed { chain } => M::Renewed { chain: chain_into(chain)? },
            Self::Stop { reason } => M::Stop { reason: text("reason", reason)? },
            Self::Drain => M::Drain,
            Self::RetryAfter { delay_ms } => M::RetryAfter { delay: Duration::from_millis(delay_ms) },
            Self::Redirect { address } => M::Redirect { address: text("address", address)? },
        })
    }
}

impl<'a> TryFrom<&'a domain::AgentSettings> for AgentSettings<'a> {
    type Error = CodecError;

    fn try_from(settings: &'a domain::AgentSettings) -> Result<Self, CodecError> {
        for name in &settings.allowed_names {
            within("allowed name", name.len(), limits::TEXT_BYTES)?;
        }
        let names = settings.allowed_names.iter().map(String::as_str).collect();
        Ok(Self {
            sample_interval_ms: millis(interval(settings.sample_interval)?),
            heartbeat_interval_ms: millis(interval(settings.heartbeat_interval)?),
            apply: settings.apply.try_into()?,
            allowed_names: Seq::new(names, "allowed names")?,
        })
    }
}

impl TryFrom<AgentSettings<'_>> for domain::AgentSettings {
    type Error = CodecError;

    fn try_from(settings: AgentSettings<'_>) -> Result<Self, CodecError> {
        let names = settings.allowed_names.into_items("allowed names")?;
        Ok(Self {
            sample_interval: interval(Duration::from_millis(settings.sample_interval_ms))?,
            heartbeat_interval: interval(Duration::from_millis(settings.heartbeat_interval_ms))?,
            apply: settings.apply.try_into()?,
            allowed_names: names.into_iter().map(|name| text("allowed name", name)).collect::<Result<_, _>>()?,
            start_only: Vec::new(),
            bake_time: None,
            probes: Vec::new(),
        })
    }
}

impl<'a> Watched<'a> {
    /// `None` when there is nothing of it.
    fn of(settings: &'a domain::AgentSettings) -> Result<Option<Self>, CodecError> {
        let domain::AgentSettings { start_only, bake_time, probes, .. } = settings;
        if start_only.is_empty() && bake_time.is_none() && probes.is_empty() {
            return Ok(None);
        }
        for name in start_only {
            within("name of a variable", name.len(), limits::TEXT_BYTES)?;
        }
        super::probe::valid(probes)?;
        let probes = probes.iter().map(Probe::from).collect();
        Ok(Some(Self {
            start_only: Seq::new(start_only.iter().map(String::as_str).collect(), "names of variables")?,
            bake_time_ms: bake_time.map(millis),
            probes: Seq::new(probes, "probes of a deployment")?,
        }))
    }

    fn added_to(self, settings: domain::AgentSettings) -> Result<domain::AgentSettings, CodecError> {
        let names = self.start_only.into_items("names of variables")?;
        let probes = self.probes.into_items("probes of a deployment")?;
        let probes = probes.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, _>>()?;
        super::probe::valid(&probes)?;
        Ok(domain::AgentSettings {
            start_only: names.into_iter().map(|name| text("name of a variable", name)).collect::<Result<_, _>>()?,
            bake_time: self.bake_time_ms.map(Duration::from_millis),
            probes,
            ..settings
        })
    }
}

/// Below a millisecond a timer would spin.
fn interval(interval: Duration) -> Result<Duration, CodecError> {
    if interval < Duration::from_millis(1) {
        return Err(CodecError::Invalid { what: "an interval under a millisecond" });
    }
    Ok(interval)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TryFrom<domain::ApplyStrategy> for ApplyStrategy {
    type Error = CodecError;

    fn try_from(strategy: domain::ApplyStrategy) -> Result<Self, CodecError> {
        Ok(match strategy {
            domain::ApplyStrategy::Restart { jitter } => Self::Restart { jitter_ms: millis(jitter) },
            domain::ApplyStrategy::Signal { signal } => Self::Signal { signal: signal_number(signal)? },
            domain::ApplyStrategy::File => Self::File,
            domain::ApplyStrategy::None => Self::None,
        })
    }
}

impl TryFrom<ApplyStrategy> for domain::ApplyStrategy {
    type Error = CodecError;

    fn try_from(strategy: ApplyStrategy) -> Result<Self, CodecError> {
        Ok(match strategy {
            ApplyStrategy::Restart { jitter_ms } => Self::Restart { jitter: Duration::from_millis(jitter_ms) },
            ApplyStrategy::Signal { signal } => Self::Signal { signal: signal_number(signal)? },
            ApplyStrategy::File => Self::File,
            ApplyStrategy::None => Self::None,
        })
    }
}

/// 1 to 64 are the signals of Linux, real-time ones included (signal(7)).
fn signal_number(signal: i32) -> Result<i32, CodecError> {
    if (1..=64).contains(&signal) { Ok(signal) } else { Err(CodecError::Invalid { what: "a signal number" }) }
}

impl From<domain::ConfigRef> for ConfigRef {
    fn from(config: domain::ConfigRef) -> Self {
        Self { generation: config.generation, hash: config.hash }
    }
}

impl From<ConfigRef> for domain::ConfigRef {
    fn from(config: ConfigRef) -> Self {
        Self { generation: config.generation, hash: config.hash }
    }
}

impl<'a> From<&'a domain::ConfigStatus> for ConfigStatus<'a> {
    fn from(status: &'a domain::ConfigStatus) -> Self {
        Self {
            last_received: status.last_received.map(Into::into),
            running: status.running.map(Into::into),
            last_failed: status
                .last_failed
                .as_ref()
                .map(|failure| ConfigFailure { config: failure.config.into(), error: clip(&failure.error) }),
        }
    }
}

impl TryFrom<ConfigStatus<'_>> for domain::ConfigStatus {
    type Error = CodecError;

    fn try_from(status: ConfigStatus<'_>) -> Result<Self, CodecError> {
        let last_failed = match status.last_failed {
            Some(failure) => Some(domain::ConfigFailure {
                config: failure.config.into(),
                error: text("error of a configuration", failure.error)?,
            }),
            None => None,
        };
        Ok(Self {
            last_received: status.last_received.map(Into::into),
            running: status.running.map(Into::into),
            last_failed,
        })
    }
}

impl From<domain::ApplyState> for ApplyState {
    fn from(state: domain::ApplyState) -> Self {
        match state {
            domain::ApplyState::Applying => Self::Applying,
            domain::ApplyState::Applied => Self::Applied,
            domain::ApplyState::PendingRestart => Self::PendingRestart,
            domain::ApplyState::Failed => Self::Failed,
        }
    }
}

impl From<ApplyState> for domain::ApplyState {
    fn from(state: ApplyState) -> Self {
        match state {
            ApplyState::Applying => Self::Applying,
            ApplyState::Applied => Self::Applied,
            ApplyState::PendingRestart => Self::PendingRestart,
            ApplyState::Failed => Self::Failed,
        }
    }
}

impl From<domain::ProgramState> for ProgramState {
    fn from(state: domain::ProgramState) -> Self {
        match state {
            domain::ProgramState::Waiting => Self::Waiting,
            domain::ProgramState::Running { pid, restarts } => Self::Running { pid, restarts },
            domain::ProgramState::Backoff { restarts } => Self::Backoff { restarts },
            domain::ProgramState::Exited { code } => Self::Exited { code },
        }
    }
}

impl From<ProgramState> for domain::ProgramState {
    fn from(state: ProgramState) -> Self {
        match state {
            ProgramState::Waiting => Self::Waiting,
            ProgramState::Running { pid, restarts } => Self::Running { pid, restarts },
            ProgramState::Backoff { restarts } => Self::Backoff { restarts },
            ProgramState::Exited { code } => Self::Exited { code },
        }
    }
}
