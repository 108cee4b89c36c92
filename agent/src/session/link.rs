//! What the agent and its connection share: words to be said, batches to be sent, and how the connection is.
//!
//! Everything here is bounded. While nothing is connected, words are dropped (the next `Hello` tells the whole state
//! anyway) and telemetry collects in its spools.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use outrigger_protocol::log::{LogBatch, LogRecord};
use outrigger_protocol::message::{AgentMessage, ApplyState, ConfigStatus, ProgramState};
use outrigger_protocol::probe::ProbeStatus;
use outrigger_protocol::sample::{BatchId, MetricBatch};
use tokio::sync::Notify;

use crate::clock::SteadyClock;
use crate::spool::{Acknowledged, LogSpool, MetricSpool, Reading};

/// Control messages that wait for the connection. More than this many unanswered offers is a broken peer.
const OUTGOING: usize = 64;

/// How the connection is, for the status command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    Connecting { last_error: Option<String> },
    Connected { to: String },
}

/// A handle; clones share everything. Stays on one thread.
#[derive(Debug, Clone)]
pub struct Link(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: SteadyClock,
    state: RefCell<State>,
    goodbye_said: Cell<bool>,
    goodbye: Notify,
    control: Notify,
    metrics: Notify,
    logs: Notify,
    /// Log lines were confirmed, or nothing is connected any more that could confirm them.
    settled: Notify,
}

#[derive(Debug)]
struct State {
    outgoing: VecDeque<AgentMessage>,
    status: ConfigStatus,
    program: ProgramState,
    /// How the probes stood last; `None` before there were any.
    probes: Option<Vec<ProbeStatus>>,
    connection: Connection,
    metrics: MetricSpool,
    logs: LogSpool,
}

/// Numbers for the status command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolFigures {
    pub samples_waiting: usize,
    pub samples_dropped: u64,
    pub lines_waiting: usize,
    pub lines_dropped: u64,
    pub unacknowledged_batches: usize,
    pub bytes: usize,
}

impl Link {
    /// `clock` is what the control plane knows this agent's time by.
    #[must_use]
    pub fn new(metrics: MetricSpool, logs: LogSpool, clock: SteadyClock) -> Self {
        Self(Rc::new(Shared {
            clock,
            state: RefCell::new(State {
                outgoing: VecDeque::new(),
                status: ConfigStatus::default(),
                program: ProgramState::Waiting,
                probes: None,
                connection: Connection::Connecting { last_error: None },
                metrics,
                logs,
            }),
            goodbye_said: Cell::new(false),
            goodbye: Notify::new(),
            control: Notify::new(),
            metrics: Notify::new(),
            logs: Notify::new(),
            settled: Notify::new(),
        }))
    }

    /// Answers an offer.
    pub fn report(&self, nonce: [u8; 16], state: ApplyState, status: ConfigStatus) {
        self.0.state.borrow_mut().status = status.clone();
        self.say(AgentMessage::ConfigReport { nonce, state, status });
    }

    /// What the next `Hello` tells about configuration.
    pub fn set_status(&self, status: ConfigStatus) {
        self.0.state.borrow_mut().status = status;
    }

    /// Tells about the program; only the newest state waits.
    pub fn announce(&self, program: ProgramState) {
        {
            let mut state = self.0.state.borrow_mut();
            state.program = program;
            state.outgoing.retain(|message| !matches!(message, AgentMessage::Program(_)));
        }
        self.say(AgentMessage::Program(program));
    }

    /// Tells how the probes stand; only the newest report waits.
    pub fn report_probes(&self, statuses: Vec<ProbeStatus>) {
        self.0.state.borrow_mut().probes = Some(statuses);
        self.restate_probes();
    }

    /// The last word. After it the session ends, as soon as it was heard or at once when nobody listens.
    pub fn goodbye(&self, reason: &str) {
        if !self.0.goodbye_said.replace(true) {
            self.say(AgentMessage::Goodbye { reason: reason.to_owned() });
            self.0.goodbye.notify_waiters();
        }
    }

    fn say(&self, message: AgentMessage) {
        let mut state = self.0.state.borrow_mut();
        if state.outgoing.len() >= OUTGOING {
            state.outgoing.pop_front();
        }
        state.outgoing.push_back(message);
        self.0.control.notify_one();
    }

    /// By which everything is stamped that the control plane is told.
    #[must_use]
    pub fn clock(&self) -> SteadyClock {
        self.0.clock
    }

    pub fn push_sample(&self, reading: Reading) {
        self.0.state.borrow_mut().metrics.push(reading);
        self.0.metrics.notify_one();
    }

    pub fn push_record(&self, record: LogRecord) {
        self.0.state.borrow_mut().logs.push(record);
        self.0.logs.notify_one();
    }

    pub fn count_dropped_lines(&self, lines: u64) {
        if lines > 0 {
            self.0.state.borrow_mut().logs.count_dropped(lines);
            self.0.logs.notify_one();
        }
    }

    #[must_use]
    pub fn connection(&self) -> Connection {
        self.0.state.borrow().connection.clone()
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.0.state.borrow().connection, Connection::Connected { .. })
    }

    #[must_use]
    pub fn figures(&self) -> SpoolFigures {
        let state = self.0.state.borrow();
        SpoolFigures {
            samples_waiting: state.metrics.unsent(),
            samples_dropped: state.metrics.dropped(),
            lines_waiting: state.logs.unsent(),
            lines_dropped: state.logs.dropped(),
            unacknowledged_batches: state.metrics.unacknowledged() + state.logs.unacknowledged(),
            bytes: state.metrics.bytes() + state.logs.bytes(),
        }
    }

    /// Log lines that the control plane has not confirmed.
    #[must_use]
    pub fn unconfirmed_lines(&self) -> usize {
        self.0.state.borrow().logs.unconfirmed()
    }

    /// Waits until all log lines are confirmed, or nothing is connected that could confirm them. Cancel safe.
    pub async fn lines_settled(&self) {
        while self.is_connected() && self.unconfirmed_lines() > 0 {
            self.0.settled.notified().await;
        }
    }

    // The session's side.

    pub(super) fn hello(&self) -> (ConfigStatus, ProgramState) {
        let state = self.0.state.borrow();
        (state.status.clone(), state.program)
    }

    /// Tells the control plane of this connection what was told to the one before it.
    pub(super) fn restate_probes(&self) {
        let statuses = {
            let mut state = self.0.state.borrow_mut();
            state.outgoing.retain(|message| !matches!(message, AgentMessage::Probes(_)));
            state.probes.clone()
        };
        if let Some(statuses) = statuses {
            self.say(AgentMessage::Probes(statuses));
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.0.goodbye_said.get()
    }

    /// A connection begins: what waited is in its `Hello`, and unacknowledged batches are sent again.
    pub(super) fn begin(&self) {
        let mut state = self.0.state.borrow_mut();
        state.outgoing.retain(|message| matches!(message, AgentMessage::Goodbye { .. }));
        state.metrics.rewind();
        state.logs.rewind();
    }

    pub(super) fn set_connection(&self, connection: Connection) {
        self.0.state.borrow_mut().connection = connection;
        self.0.settled.notify_one();
    }

    /// The next control message. Cancel safe.
    pub(super) async fn next_message(&self) -> AgentMessage {
        loop {
            let message = self.0.state.borrow_mut().outgoing.pop_front();
            match message {
                Some(message) => return message,
                None => self.0.control.notified().await,
            }
        }
    }

    /// Waits until the agent wants to leave. Cancel safe.
    pub(super) async fn leaving(&self) {
        while !self.is_leaving() {
            self.0.goodbye.notified().await;
        }
    }

    pub(super) async fn next_metrics(&self) -> Arc<MetricBatch> {
        loop {
            let batch = self.0.state.borrow_mut().metrics.next_batch();
            match batch {
                Some(batch) => return batch,
                None => self.0.metrics.notified().await,
            }
        }
    }

    pub(super) async fn next_logs(&self) -> Arc<LogBatch> {
        loop {
            let batch = self.0.state.borrow_mut().logs.next_batch();
            match batch {
                Some(batch) => return batch,
                None => self.0.logs.notified().await,
            }
        }
    }

    pub(super) fn metrics_accepted(&self, id: BatchId) {
        let outcome = self.0.state.borrow_mut().metrics.acknowledge(id);
        complain_if_foreign(outcome, id);
        // What was held back for want of room may go now.
        self.0.metrics.notify_one();
    }

    pub(super) fn logs_accepted(&self, id: BatchId) {
        let outcome = self.0.state.borrow_mut().logs.acknowledge(id);
        complain_if_foreign(outcome, id);
        self.0.logs.notify_one();
        self.0.settled.notify_one();
    }
}

fn complain_if_foreign(outcome: Acknowledged, id: BatchId) {
    if outcome == Acknowledged::Foreign {
        tracing::warn!(epoch = id.epoch, seq = id.seq, "the control plane acknowledged a batch that was never sent");
    }
}
