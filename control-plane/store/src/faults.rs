//! A disk that fails: storage in memory which refuses an operation, runs full, or loses power.
//!
//! What it models, and where it is harsher than most disks:
//!
//! - Only a synchronisation makes writes durable. Until then each of them may survive a loss of power or not, in
//!   part or in another order, whatever came later.
//! - A write may tear anywhere; its bytes are old or new, never a third value.
//! - A synchronisation that fails loses what it should have made durable, for good: reads still show it, and no later
//!   synchronisation writes it. (Linux marks such pages clean: <https://wiki.postgresql.org/wiki/Fsync_Errors>.)
//! - After a loss of power every operation fails until [`Disk::restart`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What a disk does to the operation that a fault is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing else does.
    FailOnce,
    /// It fails, and so does everything after it until [`Disk::restart`].
    FailOnwards,
    /// The power fails, with the writes that survive drawn from the seed.
    LosePower { seed: u64 },
}

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What reads show.
    live: Vec<u8>,
    /// What the last synchronisation has made certain.
    durable: Vec<u8>,
    /// What happened since, in order.
    unsynced: Vec<Pending>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    capacity: Option<u64>,
    dead: bool,
    /// Sessions of before a restart are over.
    restarts: u64,
}

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => content.resize(*len, 0),
            Self::Write { offset, data } => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that durably holds `content`.
    #[must_use]
    pub fn with_content(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { live: content.clone(), durable: content, ..State::default() })))
    }

    /// Storage on this disk, for one opening of a store.
    #[must_use]
    pub fn backend(&self) -> impl StorageBackend + use<> {
        DiskBackend { disk: self.clone(), restarts: self.state().restarts }
    }

    /// What reads show now.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        self.state().live.clone()
    }

    /// How many operations there have been: lengths, reads, writes, resizes and synchronisations.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Sets a fault for the operation number `operation` (counted from 0), in place of any set before.
    pub fn set_fault(&self, operation: u64, fault: Fault) {
        self.state().fault = Some((operation, fault));
    }

    /// Limits how long the content may become; writes beyond it find no room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Fails the power now.
    pub fn lose_power(&self, seed: u64) {
        self.state().lose_power(seed);
    }

    /// Starts the machine again: what is there is durable, no fault is set, and older sessions are over.
    pub fn restart(&self) {
        let mut state = self.state();
        if !state.dead {
            // Only the process ended; the kernel keeps its writes.
            state.durable = state.live.clone();
        }
        state.live = state.durable.clone();
        state.unsynced.clear();
        state.fault = None;
        state.dead = false;
        state.restarts += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose_power(&mut self, seed: u64) {
        if std::mem::replace(&mut self.dead, true) {
            return;
        }
        let mut random = SplitMix(seed);
        // Some losses take nearly everything, some nearly nothing.
        let keep = random.below(101);
        let mut survivors: Vec<Pending> = Vec::new();
        for pending in self.unsynced.drain(..) {
            match pending {
                Pending::SetLen(_) if random.below(100) < keep => survivors.push(pending),
                Pending::SetLen(_) => {}
                Pending::Write { offset, data } => tear(&mut random, keep, offset, &data, &mut survivors),
            }
        }
        if random.below(2) == 0 {
            shuffle(&mut random, &mut survivors);
        }
        for survivor in &survivors {
            survivor.apply(&mut self.durable);
        }
    }

    /// Counts an operation, and says which fault meets it.
    fn begin(&mut self) -> io::Result<bool> {
        let operation = self.operations;
        self.operations += 1;
        if self.dead {
            return Err(io::Error::other("the disk has no power"));
        }
        match self.fault {
            Some((at, Fault::FailOnce)) if at == operation => Ok(true),
            Some((at, Fault::FailOnwards)) if at <= operation => Ok(true),
            Some((at, Fault::LosePower { seed })) if at <= operation => {
                self.lose_power(seed);
                Err(io::Error::other("the disk has lost power"))
            }
            _ => Ok(false),
        }
    }

    fn fits(&self, len: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if len as u64 > capacity && len > self.live.len() => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn change(&mut self, pending: Pending) {
        pending.apply(&mut self.live);
        self.unsynced.push(pending);
    }
}

/// Cuts a write into pieces of one size and keeps some of them.
fn tear(random: &mut SplitMix, keep: u64, offset: usize, data: &[u8], survivors: &mut Vec<Pending>) {
    let sizes = [data.len().max(1), 4096, 512, 1 + random.index(64)];
    let size = sizes[random.index(sizes.len())];
    for (at, piece) in (0..).step_by(size).zip(data.chunks(size)) {
        if random.below(100) < keep {
            survivors.push(Pending::Write { offset: offset + at, data: piece.to_vec() });
        }
    }
}

fn shuffle(random: &mut SplitMix, items: &mut [Pending]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.index(last + 1));
    }
}

#[derive(Debug)]
struct DiskBackend {
    disk: Disk,
    restarts: u64,
}

impl DiskBackend {
    /// The disk's state for one operation, and whether that operation is to fail.
    fn operate(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.disk.state();
        if state.restarts != self.restarts {
            return Err(io::Error::other("this session was before the restart"));
        }
        let fails = state.begin()?;
        Ok((state, fails))
    }

    /// Like [`DiskBackend::operate`], for operations that have no effect when they fail.
    fn operate_or_fail(&self) -> io::Result<MutexGuard<'_, State>> {
        match self.operate()? {
            (state, false) => Ok(state),
            (_, true) => Err(io::Error::other("the operation was made to fail")),
        }
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.operate_or_fail()?.live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.operate_or_fail()?;
        let start = index(offset)?;
        let found = state.live.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate_or_fail()?;
        let len = index(len)?;
        state.fits(len)?;
        state.change(Pending::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, fails) = self.operate()?;
        let unsynced = std::mem::take(&mut state.unsynced);
        if fails {
            return Err(io::Error::other("the synchronisation was made to fail"));
        }
        for pending in &unsynced {
            pending.apply(&mut state.durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut state, fails) = self.operate()?;
        let offset = index(offset)?;
        if fails {
            // A short write: the first half arrived.
            let half = data[..data.len() / 2].to_vec();
            state.change(Pending::Write { offset, data: half });
            return Err(io::Error::other("the write was made to fail"));
        }
        state.fits(offset + data.len())?;
        state.change(Pending::Write { offset, data: data.to_vec() });
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// An index below `bound`, which must not be 0.
    pub fn index(&mut self, bound: usize) -> usize {
        // A remainder of a usize is one.
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synchronised_survives_and_the_rest_may_not() {
        for seed in 0..200 {
            let disk = Disk::new();
            let storage = disk.backend();
            storage.set_len(8192).unwrap();
            storage.write(0, &[1; 8192]).unwrap();
            storage.sync_data().unwrap();
            storage.write(100, &[2; 5000]).unwrap();
            disk.lose_power(seed);
            assert!(storage.len().is_err());
            disk.restart();
            let content = disk.content();
            assert_eq!(content.len(), 8192);
            assert!(content[..100].iter().chain(&content[5100..]).all(|&byte| byte == 1));
            assert!(content[100..5100].iter().all(|&byte| byte == 1 || byte == 2));
        }
    }

    #[test]
    fn a_failed_synchronisation_is_not_made_up_for_by_a_later_one() {
        let disk = Disk::new();
        let storage = disk.backend();
        disk.set_fault(1, Fault::FailOnce);
        storage.write(0, b"lost").unwrap();
        storage.sync_data().unwrap_err();
        storage.sync_data().unwrap();
        assert_eq!(disk.content(), b"lost");
        disk.lose_power(0);
        disk.restart();
        assert!(disk.content().is_empty());
    }

    #[test]
    fn a_full_disk_refuses_growth_and_nothing_else() {
        let disk = Disk::with_content(vec![0; 4096]);
        let storage = disk.backend();
        disk.set_capacity(Some(4096));
        storage.write(10, &[1; 100]).unwrap();
        assert_eq!(storage.set_len(8192).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(storage.write(4090, &[1; 100]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(None);
        storage.set_len(8192).unwrap();
    }
}
