//! Which ports the instances of this machine serve on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use outrigger_protocol::id::InstanceId;
use serde::{Deserialize, Serialize};

use crate::DriverError;

/// The two ports of an instance that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PortPair {
    /// The agent's proxy.
    pub(super) listen: u16,
    /// The program itself.
    pub(super) upstream: u16,
}

/// A free port is found by binding it, and remembered here until its instance is gone: the program binds it only
/// later, and another instance must not be given it in between. Other programs of the machine can still take it; the
/// agent then fails to start, and the next attempt looks elsewhere.
#[derive(Debug)]
pub(super) struct Ports {
    address: IpAddr,
    range: RangeInclusive<u16>,
    taken: Mutex<BTreeMap<InstanceId, PortPair>>,
}

impl Ports {
    pub(super) fn new(address: IpAddr, range: RangeInclusive<u16>) -> Self {
        Self { address, range, taken: Mutex::default() }
    }

    pub(super) fn claim(&self, instance: InstanceId, pair: PortPair) {
        self.taken().insert(instance, pair);
    }

    pub(super) fn release(&self, instance: InstanceId) {
        self.taken().remove(&instance);
    }

    /// Two free ports for `instance`, other ones for each attempt. The search begins where the id says, so that
    /// control planes that share a machine seldom look at the same place.
    pub(super) fn reserve(&self, instance: InstanceId, attempt: u32) -> Result<PortPair, DriverError> {
        let mut taken = self.taken();
        taken.remove(&instance);
        let used: BTreeSet<u16> = taken.values().flat_map(|pair| [pair.listen, pair.upstream]).collect();
        let (first, last) = (u32::from(*self.range.start()), u32::from(*self.range.end()));
        let count = (last + 1).saturating_sub(first);
        let [.., a, b, c, d] = instance.to_bytes();
        let begin = u32::from_be_bytes([a, b, c, d]).wrapping_add(attempt.wrapping_mul(count / 3));
        let candidates = (0..count).map(|offset| first + (begin % count.max(1) + offset) % count.max(1));
        let mut free = candidates
            .filter_map(|port| u16::try_from(port).ok())
            .filter(|port| !used.contains(port) && TcpListener::bind((self.address, *port)).is_ok());
        let (Some(listen), Some(upstream)) = (free.next(), free.next()) else {
            let reason = format!("none of {first} to {last} is free on {}", self.address);
            return Err(DriverError::transient("find two ports", reason));
        };
        let pair = PortPair { listen, upstream };
        taken.insert(instance, pair);
        Ok(pair)
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<InstanceId, PortPair>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_a_taken_one_is_passed_over() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // A small range whose ports are free at this moment.
        let probe = TcpListener::bind((address, 0)).unwrap();
        let first = probe.local_addr().unwrap().port().saturating_sub(5);
        let ports = Ports::new(address, first..=first + 5);
        let (one, two, three, four) =
            (InstanceId::generate(), InstanceId::generate(), InstanceId::generate(), InstanceId::generate());
        let given = [ports.reserve(one, 0).unwrap(), ports.reserve(two, 0).unwrap()];
        let mut all: Vec<u16> = given.iter().flat_map(|pair| [pair.listen, pair.upstream]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
        assert!(!all.contains(&probe.local_addr().unwrap().port()), "it is bound by somebody");
        assert!(ports.reserve(three, 0).is_err(), "one is left, two are needed");
        ports.release(one);
        assert!(ports.reserve(four, 1).is_ok());
    }
}
