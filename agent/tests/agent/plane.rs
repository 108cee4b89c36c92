//! A control plane of one deployment, in a thread of its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::fetch::{FetchRefusal, FetchResponse};
use outrigger_protocol::id::{AgentId, EnvironmentId, InstanceId, JoinTokenId, ProjectId};
use outrigger_protocol::join_token::JoinToken;
use outrigger_protocol::log::LogRecord;
use outrigger_protocol::message::{
    AgentMessage, AgentSettings, ApplyState, ApplyStrategy, ConfigOffer, ConfigRef, ConfigStatus, EnrollRefusal,
    EnrollRequest, EnrollResponse, ServerMessage,
};
use outrigger_protocol::sample::{BatchId, Sample};
use outrigger_protocol::seal::{self, FetchContext, SealContext};
use outrigger_protocol::time::UnixMillis;
use outrigger_protocol::transport::{
    Accepted, AgentConnection, CloseCode, Enrollment, Fetch, Lane, ServerEndpoint, ServerLimits, ServerOptions, Writer,
    display_fingerprint, fingerprint,
};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::authority::Authority;

/// The API token that may have environments.
pub(crate) const API_TOKEN: &str = "ogr_0123456789abcdef_canary-of-the-token";

/// Only a failure waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What was seen and what is to be said.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<AgentMessage>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) batches: Vec<BatchId>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) enrolments: usize,
    /// Project and environment of every fetch.
    pub(crate) fetches: Vec<(Option<String>, String)>,
    /// Fetches are answered with this.
    pub(crate) fetch_refusal: Option<FetchRefusal>,
    /// Every token that came with an enrolment, refused ones too.
    pub(crate) shown: Vec<JoinTokenId>,
    pub(crate) connections: usize,
    connected: Vec<mpsc::UnboundedSender<Word>>,
    offer: Option<(u64, Environment)>,
    settings: Option<AgentSettings>,
    /// Agents are turned away with this code instead of being welcomed.
    turn_away: Option<CloseCode>,
    /// Enrolments that are answered by silence, as when the answer is lost.
    lost_answers: usize,
    /// When certificates begin, before now, and how long they live; a day from now when unset.
    certificates: Option<(Duration, Duration)>,
    /// Tokens beside the first that are good.
    tokens: Vec<JoinToken>,
    /// Agents that are turned away for good.
    revoked: HashSet<AgentId>,
    /// Metric batches are recorded and not acknowledged.
    deaf: bool,
    /// Log batches are recorded and not acknowledged.
    deaf_to_logs: bool,
}

enum Word {
    Message(ServerMessage),
    Offer(u64, Environment),
    Close(CloseCode),
}

struct Shared {
    authority: Authority,
    token: JoinToken,
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// The running control plane; stops when dropped.
pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) fn plain(name: &str, value: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        value: Some(Zeroizing::new(value.to_owned())),
        kind: VariableKind::String,
        secret: false,
        required: false,
    }
}

pub(crate) fn secret(name: &str, value: &str) -> Entry {
    Entry { secret: true, ..plain(name, value) }
}

pub(crate) fn settings(apply: ApplyStrategy) -> AgentSettings {
    AgentSettings {
        sample_interval: Duration::from_millis(200),
        heartbeat_interval: Duration::from_secs(1),
        apply,
        allowed_names: Vec::new(),
        start_only: Vec::new(),
        bake_time: None,
        probes: Vec::new(),
    }
}

impl Plane {
    /// A control plane that has nothing to offer yet.
    pub(crate) fn start() -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), Authority::new(), Seen::default())
    }

    /// A control plane that offers these variables as generation 1.
    pub(crate) fn offering(entries: Vec<Entry>) -> Self {
        let plane = Self::start();
        plane.offer(1, entries);
        plane
    }

    /// The same control plane after it was stopped: same address, same CA, what it offered before.
    pub(crate) fn restart(mut self) -> Self {
        let (address, authority) = (self.address, self.shared.authority.clone());
        self.shut_down();
        let old = std::mem::take(&mut *self.seen());
        let seen = Seen { offer: old.offer, settings: old.settings, batches: old.batches, ..Seen::default() };
        Self::listen(address, authority, seen)
    }

    fn listen(address: SocketAddr, authority: Authority, seen: Seen) -> Self {
        let token =
            JoinToken { id: JoinTokenId::generate(), secret: [0x5a; 32], ca_fingerprint: fingerprint(&authority.ca) };
        let shared = Arc::new(Shared { authority, token, seen: Mutex::new(seen), changed: Condvar::new() });
        let (stop, stopped) = oneshot::channel();
        let (listening, bound) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let endpoint = bind(&serving.authority, address);
                listening.send(endpoint.local_addr().unwrap()).unwrap();
                let accepting = tokio::spawn(accept(endpoint.clone(), serving));
                let _ = stopped.await;
                accepting.abort();
                endpoint.close(CloseCode::Internal, "stopped by the test");
                let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
            });
        });
        let address = bound.recv_timeout(DEADLINE).expect("the control plane listens");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn shut_down(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the control plane ends in order");
        }
    }

    pub(crate) fn token(&self) -> Zeroizing<String> {
        self.shared.token.reveal()
    }

    /// As `outrigger whoami` shows it.
    pub(crate) fn ca_fingerprint(&self) -> String {
        display_fingerprint(&fingerprint(&self.shared.authority.ca))
    }

    /// The CA's certificate, DER.
    pub(crate) fn ca(&self) -> &[u8] {
        &self.shared.authority.ca
    }

    /// Another token, good for one agent more.
    pub(crate) fn another_token(&self) -> Zeroizing<String> {
        let token = JoinToken { id: JoinTokenId::generate(), ..self.shared.token.clone() };
        let text = token.reveal();
        self.seen().tokens.push(token);
        text
    }

    /// A token that this control plane has never made.
    pub(crate) fn forged_token(&self) -> Zeroizing<String> {
        JoinToken { id: JoinTokenId::generate(), ..self.shared.token.clone() }.reveal()
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap()
    }

    /// Offers these variables to whoever is connected and to whoever comes.
    pub(crate) fn offer(&self, generation: u64, entries: Vec<Entry>) {
        let environment = Environment { entries };
        let mut seen = self.seen();
        seen.offer = Some((generation, environment.clone()));
        seen.connected.retain(|agent| agent.send(Word::Offer(generation, environment.clone())).is_ok());
    }

    /// Settings for whoever comes.
    pub(crate) fn apply_by(&self, apply: ApplyStrategy) {
        self.seen().settings = Some(settings(apply));
    }

    pub(crate) fn allow(&self, settings: AgentSettings) {
        self.seen().settings = Some(settings);
    }

    pub(crate) fn say(&self, message: &ServerMessage) {
        self.seen().connected.retain(|agent| agent.send(Word::Message(message.clone())).is_ok());
    }

    pub(crate) fn close_all(&self, code: CloseCode) {
        self.seen().connected.drain(..).for_each(|agent| drop(agent.send(Word::Close(code))));
    }

    pub(crate) fn turn_away(&self, code: CloseCode) {
        self.seen().turn_away = Some(code);
        self.close_all(code);
    }

    /// Turns away for good whoever has enrolled until now.
    pub(crate) fn revoke_everyone(&self) {
        let agents = self.shared.authority.agents();
        self.seen().revoked.extend(agents);
        self.close_all(CloseCode::Revoked);
    }

    /// Certificates from now on began `begun` ago and live for `life`.
    pub(crate) fn certify(&self, begun: Duration, life: Duration) {
        self.seen().certificates = Some((begun, life));
    }

    /// Another node of the same control plane, which offers the same.
    pub(crate) fn sibling(&self) -> Self {
        let seen = Seen { offer: self.seen().offer.clone(), ..Seen::default() };
        Self::listen("127.0.0.1:0".parse().unwrap(), self.shared.authority.clone(), seen)
    }

    pub(crate) fn lose_answers(&self, count: usize) {
        self.seen().lost_answers = count;
    }

    pub(crate) fn be_deaf(&self, deaf: bool) {
        self.seen().deaf = deaf;
    }

    pub(crate) fn be_deaf_to_logs(&self) {
        self.seen().deaf_to_logs = true;
    }

    /// Waits until `find` finds something in what was seen.
    pub(crate) fn wait<T>(&self, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = self.seen();
        loop {
            if let Some(found) = find(&seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} within {DEADLINE:?}; heard {:#?}", seen.messages);
            seen = self.shared.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits for a report about configuration in this state, the `nth` counted from 0.
    pub(crate) fn report(&self, wanted: ApplyState, nth: usize) -> ConfigStatus {
        self.wait(&format!("report {nth} of {wanted:?}"), |seen| {
            let reports = seen.messages.iter().filter_map(|message| match message {
                AgentMessage::ConfigReport { state, status, .. } if *state == wanted => Some(status.clone()),
                _ => None,
            });
            reports.into_iter().nth(nth)
        })
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Shared {
    fn certificates(&self) -> (Duration, Duration) {
        const DAY: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));
        self.seen.lock().unwrap().certificates.unwrap_or(DAY)
    }

    fn turns_away(&self, agent: AgentId) -> Option<CloseCode> {
        let seen = self.seen.lock().unwrap();
        seen.turn_away.or_else(|| seen.revoked.contains(&agent).then_some(CloseCode::Revoked))
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }
}

fn bind(authority: &Authority, listen: SocketAddr) -> ServerEndpoint {
    let (chain, key) = authority.server();
    ServerEndpoint::bind(ServerOptions {
        listen,
        chain,
        key,
        client_ca: authority.ca.clone(),
        reset_key: authority.reset_key,
        token_key: [9; 32],
        limits: ServerLimits::default(),
    })
    .expect("bound")
}

async fn accept(endpoint: ServerEndpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            match incoming.handshake().await {
                Ok(Accepted::Enrollment(enrollment)) => enroll(enrollment, &shared).await,
                Ok(Accepted::Fetch(fetch)) => lend(fetch, &shared).await,
                Ok(Accepted::Agent(connection)) => converse(connection, &shared).await,
                Err(_) => {}
            }
        });
    }
}

/// Lends what it offers to whoever shows [`API_TOKEN`].
async fn lend(mut fetch: Fetch, shared: &Shared) {
    let Ok(request) = fetch.request().await else { return };
    let (mut refusal, mut offer) = (None, None);
    shared.note(|seen| {
        seen.fetches.push((request.project.clone(), request.environment.clone()));
        refusal = seen.fetch_refusal;
        offer.clone_from(&seen.offer);
    });
    let refusal = refusal.or_else(|| (request.token.as_str() != API_TOKEN).then_some(FetchRefusal::BadToken));
    let response = match (refusal, offer) {
        (Some(reason), _) => FetchResponse::Refused { reason, message: "said by the test".to_owned() },
        (None, None) => FetchResponse::Refused { reason: FetchRefusal::NotFound, message: String::new() },
        (None, Some((generation, environment))) => {
            let context = FetchContext {
                project: ProjectId::from_bytes([1; 16]),
                environment: EnvironmentId::from_bytes([2; 16]),
                generation,
            };
            let sealed = seal::seal(&request.seal_key, &environment.encode().unwrap(), &context).unwrap();
            let config = ConfigRef { generation, hash: environment.hash() };
            FetchResponse::Lent { project: context.project, environment: context.environment, config, sealed }
        }
    };
    let _ = fetch.respond(response).await;
}

async fn enroll(mut enrollment: Enrollment, shared: &Shared) {
    let Ok(EnrollRequest { token, secret, csr, .. }) = enrollment.request().await else { return };
    let mut good = token == shared.token.id && secret == shared.token.secret;
    shared.note(|seen| {
        seen.shown.push(token);
        good |= seen.tokens.iter().any(|other| token == other.id && secret == other.secret);
    });
    if !good {
        let refused = EnrollResponse::Refused { reason: EnrollRefusal::UnknownToken, message: String::new() };
        let _ = enrollment.respond(refused).await;
        return;
    }
    let (agent, chain) = shared.authority.issue(csr, shared.certificates());
    let mut lost = false;
    shared.note(|seen| {
        seen.enrolments += 1;
        lost = seen.lost_answers > 0;
        seen.lost_answers = seen.lost_answers.saturating_sub(1);
    });
    if lost {
        return enrollment.close(CloseCode::Internal, "the answer was lost");
    }
    let issued = EnrollResponse::Issued {
        agent,
        instance: InstanceId::from_bytes(agent.to_bytes()),
        deployment: shared.authority.deployment,
        chain,
        not_after: UnixMillis::now().saturating_add(Duration::from_secs(3600)),
    };
    let _ = enrollment.respond(issued).await;
}

async fn converse(connection: AgentConnection, shared: &Arc<Shared>) {
    let agent = connection.peer().agent;
    let turned_away = shared.turns_away(agent);
    if let Some(code) = turned_away {
        return connection.close(code, "turned away by the test");
    }
    let Ok((mut reader, mut writer)) = connection.accept_control().await else { return };
    let Ok(Some(hello)) = reader.next().await else { return };
    let AgentMessage::Hello { seal_key, .. } = &hello else { return };
    let seal_key = *seal_key;
    let context = |generation| SealContext { agent, deployment: shared.authority.deployment, generation };
    let (sender, mut words) = mpsc::unbounded_channel();
    let (mut first, mut answer) = (None, None);
    shared.note(|seen| {
        seen.connections += 1;
        seen.connected.push(sender.clone());
        first.clone_from(&seen.offer);
        answer = Some(seen.settings.clone().unwrap_or_else(|| settings(restart_at_once())));
        seen.messages.push(hello);
    });
    let welcome = ServerMessage::Welcome {
        agent,
        instance: InstanceId::from_bytes(agent.to_bytes()),
        deployment: shared.authority.deployment,
        now: UnixMillis::now(),
        settings: answer.expect("set above"),
    };
    if writer.send(&welcome).await.is_err() {
        return;
    }
    if let Some((generation, environment)) = first {
        offer(&mut writer, &seal_key, &context(generation), &environment).await;
    }
    let connection = Arc::new(connection);
    tokio::spawn(lanes(Arc::clone(&connection), Arc::clone(shared), sender));
    loop {
        tokio::select! {
            message = reader.next() => match message {
                Ok(Some(message)) => {
                    let leaving = matches!(message, AgentMessage::Goodbye { .. });
                    if let AgentMessage::Renew { csr } = &message {
                        let (_, chain) = shared.authority.issue(csr.clone(), shared.certificates());
                        let _ = writer.send(&ServerMessage::Renewed { chain }).await;
                    }
                    shared.note(|seen| seen.messages.push(message));
                    if leaving {
                        return connection.close(CloseCode::Normal, "");
                    }
                }
                _ => return,
            },
            word = words.recv() => match word {
                Some(Word::Message(message)) => drop(writer.send(&message).await),
                Some(Word::Offer(generation, environment)) => {
                    offer(&mut writer, &seal_key, &context(generation), &environment).await;
                }
                Some(Word::Close(code)) => return connection.close(code, "closed by the test"),
                None => return,
            },
        }
    }
}

pub(crate) const fn restart_at_once() -> ApplyStrategy {
    ApplyStrategy::Restart { jitter: Duration::ZERO }
}

async fn offer(writer: &mut Writer<ServerMessage>, key: &[u8; 32], context: &SealContext, environment: &Environment) {
    let config = ConfigRef { generation: context.generation, hash: environment.hash() };
    let sealed = seal::seal(key, &environment.encode().unwrap(), context).unwrap();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&context.generation.to_be_bytes());
    let _ = writer.send(&ServerMessage::Offer(Box::new(ConfigOffer { config, nonce, sealed }))).await;
}

async fn lanes(connection: Arc<AgentConnection>, shared: Arc<Shared>, acknowledge: mpsc::UnboundedSender<Word>) {
    while let Ok(lane) = connection.accept_lane().await {
        let (shared, acknowledge) = (Arc::clone(&shared), acknowledge.clone());
        tokio::spawn(async move {
            match lane {
                Lane::Metrics(mut reader) => {
                    while let Ok(Some(batch)) = reader.next().await {
                        let mut deaf = false;
                        shared.note(|seen| {
                            deaf = seen.deaf;
                            seen.batches.push(batch.id);
                            seen.samples.extend(batch.samples);
                        });
                        if !deaf {
                            let _ = acknowledge.send(Word::Message(ServerMessage::MetricsAccepted { id: batch.id }));
                        }
                    }
                }
                Lane::Logs(mut reader) => {
                    while let Ok(Some(batch)) = reader.next().await {
                        let mut deaf = false;
                        shared.note(|seen| {
                            deaf = seen.deaf_to_logs;
                            seen.logs.extend(batch.records);
                        });
                        if deaf {
                            continue;
                        }
                        let _ = acknowledge.send(Word::Message(ServerMessage::LogsAccepted { id: batch.id }));
                    }
                }
            }
        });
    }
}
