//! What the calls of one policy came to, counted since it was loaded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::FaultKind;
use crate::proposal::Evaluation;

/// Counters that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    fuel: AtomicU64,
    micros: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
}

/// A reading of the counters. Its fields are read one after the other, so they may differ by calls under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStats {
    /// Evaluations, whatever came of them.
    pub calls: u64,
    /// Fuel of all of them together.
    pub fuel: u64,
    /// Time of all of them together.
    pub elapsed: Duration,
    /// Faults by kind; every kind is listed.
    pub faults: Vec<(FaultKind, u64)>,
}

impl Counters {
    pub(crate) fn record(&self, evaluation: &Evaluation) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fuel.fetch_add(evaluation.fuel, Ordering::Relaxed);
        let micros = u64::try_from(evaluation.elapsed.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if let Err(fault) = &evaluation.outcome {
            self.faults[fault.kind() as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> PolicyStats {
        PolicyStats {
            calls: self.calls.load(Ordering::Relaxed),
            fuel: self.fuel.load(Ordering::Relaxed),
            elapsed: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
            faults: FaultKind::ALL
                .iter()
                .zip(&self.faults)
                .map(|(&kind, count)| (kind, count.load(Ordering::Relaxed)))
                .collect(),
        }
    }
}
