//! How many may come in.
//!
//! A connection waits from its first request until it has shown a valid token, and then has a seat of its user. Either
//! place is held as long as the connection's own state is in memory, however it ends: it is part of that state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_catalog::model::Actor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LiveConfig;

#[derive(Debug)]
pub(crate) struct Door {
    waiting: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    /// Seats that are taken, by user.
    users: Mutex<HashMap<String, usize>>,
    per_user: usize,
    most: usize,
}

/// A connection, known by the place that it has.
#[derive(Debug, Clone)]
pub(crate) struct Visitor(Arc<Mutex<Place>>);

#[derive(Debug)]
#[allow(dead_code, reason = "places are held, not read")]
enum Place {
    Waiting(OwnedSemaphorePermit),
    Seat(Seat),
}

#[derive(Debug)]
struct Seat {
    door: Arc<Door>,
    user: String,
    _socket: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSeat {
    #[error("Too many connections: the control plane has {0}, which is all it takes")]
    Full(usize),
    #[error("Too many connections: this user has {0}, which is all one may have")]
    UserFull(usize),
}

impl Door {
    pub(crate) fn new(config: &LiveConfig) -> Arc<Self> {
        Arc::new(Self {
            waiting: Arc::new(Semaphore::new(config.waiting)),
            sockets: Arc::new(Semaphore::new(config.sockets)),
            users: Mutex::default(),
            per_user: config.sockets_per_user,
            most: config.sockets,
        })
    }

    /// Lets a stranger wait, unless too many do.
    pub(crate) fn enter(&self) -> Option<Visitor> {
        let permit = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        Some(Visitor(Arc::new(Mutex::new(Place::Waiting(permit)))))
    }

    /// Gives a visitor a seat of its own in exchange for the place that it has.
    pub(crate) fn seat(self: &Arc<Self>, visitor: &Visitor, actor: &Actor) -> Result<(), NoSeat> {
        let socket = Arc::clone(&self.sockets).try_acquire_owned().map_err(|_| NoSeat::Full(self.most))?;
        let user = format!("{}/{}", actor.organization, actor.subject);
        {
            let mut users = self.lock();
            let taken = users.entry(user.clone()).or_default();
            if *taken >= self.per_user {
                return Err(NoSeat::UserFull(self.per_user));
            }
            *taken += 1;
        }
        let seat = Seat { door: Arc::clone(self), user, _socket: socket };
        // What it had before is dropped after the lock, as a seat that is given back locks the door.
        let before = std::mem::replace(&mut *visitor.lock(), Place::Seat(seat));
        drop(before);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visitor {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.door.lock();
        if let Some(taken) = users.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::OrganizationId;

    use super::*;

    fn door() -> Arc<Door> {
        Door::new(&LiveConfig { waiting: 1, sockets: 3, sockets_per_user: 2, ..LiveConfig::default() })
    }

    #[test]
    fn strangers_wait_one_place_each_until_they_have_a_seat_or_leave() {
        let (door, actor) = (door(), Actor::system(OrganizationId::generate()));
        let first = door.enter().unwrap();
        assert!(door.enter().is_none());
        door.seat(&first, &actor).unwrap();
        let second = door.enter().unwrap();
        assert!(door.enter().is_none());
        drop(second);
        assert!(door.enter().is_some());
    }

    #[test]
    fn users_have_so_many_seats_and_all_of_them_together_so_many() {
        let door = door();
        let (one, other) = (Actor::system(OrganizationId::generate()), Actor::system(OrganizationId::generate()));
        let sit = |actor| {
            let visitor = door.enter().unwrap();
            door.seat(&visitor, actor).map(|()| visitor)
        };
        let (first, _second) = (sit(&one).unwrap(), sit(&one).unwrap());
        assert_eq!(sit(&one).unwrap_err(), NoSeat::UserFull(2));
        let _third = sit(&other).unwrap();
        assert_eq!(sit(&other).unwrap_err(), NoSeat::Full(3));
        drop(first);
        let _fourth = sit(&one).unwrap();
    }

    #[test]
    fn who_signs_in_again_has_one_seat() {
        let (door, actor) = (door(), Actor::system(OrganizationId::generate()));
        let visitor = door.enter().unwrap();
        for _ in 0..5 {
            door.seat(&visitor, &actor).unwrap();
        }
        drop(visitor);
        assert!(door.lock().is_empty());
    }
}
