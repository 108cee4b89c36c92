//! What the store can still do, and how it gets from one such state to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Cause, StoreError};
use crate::store::Health;

#[derive(Debug, Clone)]
enum State {
    Ready,
    Full,
    Failed(Cause),
    Closed,
}

/// The state of a store. It moves between ready and full; failed is left only by closing, closed never.
#[derive(Debug)]
pub(super) struct Condition(Mutex<State>);

impl Condition {
    pub(super) fn ready() -> Self {
        Self(Mutex::new(State::Ready))
    }

    pub(super) fn health(&self) -> Health {
        match &*self.state() {
            State::Ready => Health::Ready,
            State::Full => Health::Full,
            State::Failed(source) => Health::Failed(StoreError::Failed { source: source.clone() }),
            State::Closed => Health::Closed,
        }
    }

    /// Whether it is worth trying to write.
    pub(super) fn may_write(&self) -> bool {
        matches!(*self.state(), State::Ready | State::Full)
    }

    /// A write went through.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        if matches!(*state, State::Full) {
            tracing::info!("the store writes again");
            *state = State::Ready;
        }
    }

    /// A write found no room.
    pub(super) fn found_no_room(&self) {
        let mut state = self.state();
        if matches!(*state, State::Ready) {
            tracing::error!("the store's storage is full; writes are refused until there is room");
            *state = State::Full;
        }
    }

    /// The storage can no longer be trusted with writes.
    pub(super) fn fail(&self, cause: &Cause) {
        let mut state = self.state();
        if matches!(*state, State::Ready | State::Full) {
            tracing::error!(error = %cause, "the store's storage failed; writes are refused until a restart");
            *state = State::Failed(cause.clone());
        }
    }

    /// Says whether everything had been in order until now.
    pub(super) fn close(&self) -> bool {
        matches!(std::mem::replace(&mut *self.state(), State::Closed), State::Ready)
    }

    /// Why writing is impossible now.
    pub(super) fn unwritable(&self) -> StoreError {
        match &*self.state() {
            State::Closed => StoreError::Closed,
            State::Failed(source) => StoreError::Failed { source: source.clone() },
            State::Full | State::Ready => StoreError::Full,
        }
    }

    /// Why reading is impossible now.
    pub(super) fn unreadable(&self) -> StoreError {
        match &*self.state() {
            State::Closed => StoreError::Closed,
            State::Failed(source) => StoreError::ReadFailed { source: source.clone() },
            State::Full | State::Ready => {
                StoreError::ReadFailed { source: Cause::new("the storage could not be opened for reading") }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
