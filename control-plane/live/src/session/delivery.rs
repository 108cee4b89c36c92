//! From a queue into a socket.
//!
//! Socket.IO's own buffer takes so many packets and then refuses; it does not tell when there is room again. It has to
//! have room when a ping is due, or the connection counts as dead. So it is never filled on purpose: what is handed
//! over in a moment is less than it holds. When it is full all the same, the client does not read, and gets time.

use std::time::Duration;

use serde::Serialize;
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError};
use tokio::time::{Instant, sleep, timeout};

use super::{End, Reply, Shared};
use crate::queue::{Entry, Queue};
use crate::stats::add;
use crate::update::Update;

/// Packets that Socket.IO keeps for a connection that does not take them.
pub(crate) const BUFFER: usize = 128;
/// Packets that are handed over before a connection that takes them has had the time to.
const AT_A_TIME: usize = BUFFER / 4;
const TURN: Duration = Duration::from_millis(1);
/// Between two attempts when the buffer is full.
const PAUSE: Duration = Duration::from_millis(20);

/// What Socket.IO did not take.
enum NotSent {
    Full,
    Closed,
}

/// Hands over what is in the queue until the client is gone or has been behind for too long.
pub(super) async fn hand_over(socket: &SocketRef, queue: &Queue, shared: &Shared) -> End {
    let patience = shared.config.patience;
    let mut turn = Instant::now();
    let mut handed_over = 0;
    loop {
        let entry = queue.next().await;
        let full_since = Instant::now();
        loop {
            let now = Instant::now();
            match emit(socket, &entry) {
                Ok(()) => break,
                Err(NotSent::Closed) => return End::Left,
                Err(NotSent::Full) if now.saturating_duration_since(full_since) > patience => return End::Behind,
                Err(NotSent::Full) => sleep(PAUSE).await,
            }
        }
        match &entry {
            Entry::Update(_) => add(&shared.counters.sent, 1),
            Entry::Missed(count) => add(&shared.counters.missed, *count),
            Entry::Reply(_) => {}
        }
        let now = Instant::now();
        if queue.behind(now) > patience {
            return End::Behind;
        }
        if now.saturating_duration_since(turn) > TURN {
            (turn, handed_over) = (now, 0);
        }
        handed_over += 1;
        if handed_over >= AT_A_TIME {
            sleep(TURN).await;
        }
    }
}

/// Says why, and goodbye, as soon as there is room for it. A client that does not read within `grace` is left to its
/// next ping, for which there is no room either.
pub(super) async fn farewell(socket: &SocketRef, message: String, grace: Duration) {
    let say = async {
        let entry = Entry::Reply(Reply::Error { message });
        while let Err(NotSent::Full) = emit(socket, &entry) {
            sleep(PAUSE).await;
        }
        while let Err(SocketError::InternalChannelFull) = socket.clone().disconnect() {
            sleep(PAUSE).await;
        }
    };
    // Nothing more can be done for it.
    let _ = timeout(grace, say).await;
}

fn emit(socket: &SocketRef, entry: &Entry) -> Result<(), NotSent> {
    let sent = match entry {
        Entry::Update(update) => match &**update {
            Update::Log(log) => socket.emit("log_update", log),
            Update::Status(status) => socket.emit("status_update", status),
            Update::Metrics(metrics) => socket.emit("metrics_update", metrics),
        },
        Entry::Reply(Reply::Confirmed(confirmation)) => socket.emit("subscription_confirmed", confirmation),
        Entry::Reply(Reply::Unsubscribed(confirmation)) => socket.emit("unsubscription_confirmed", confirmation),
        Entry::Reply(Reply::Refused(refusal)) => socket.emit("subscription_error", refusal),
        Entry::Reply(Reply::Error { message }) => socket.emit("error", &Problem { message }),
        Entry::Missed(count) => {
            socket.emit("error", &Problem { message: &format!("too slow: {count} updates missed here") })
        }
    };
    match sent {
        Ok(()) => Ok(()),
        Err(SendError::Socket(SocketError::InternalChannelFull)) => Err(NotSent::Full),
        Err(SendError::Socket(SocketError::Closed)) => Err(NotSent::Closed),
        Err(SendError::Serialize(error)) => {
            tracing::warn!(%error, "an update could not be written");
            Ok(())
        }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    message: &'a str,
}
