//! Where the numbers of lines come from.
//!
//! A line has its number before it is on disk, and a crash may take it away again. So that nothing which somebody has seen
//! stands for another line later, each run of the book numbers in a range of its own: the number of the run, which is
//! counted up and durable before the first line is taken, then that of the line within it. All of them are whole numbers
//! that JSON's readers keep exactly (RFC 8259, 6): a million runs of eight thousand million lines.

use outrigger_store::{Compare, SharedStore, Transaction};

use crate::error::OpenError;
use crate::rows;

/// Lines of a run, per deployment, as a power of two.
const LINE_BITS: u32 = 33;
/// The greatest integer of which every reader of JSON knows the neighbours: 2^53 - 1.
const LARGEST: u64 = (1 << 53) - 1;

/// The number before the first one of a run.
pub(crate) const fn before_run(run: u64) -> u64 {
    run << LINE_BITS
}

/// The run that has to be taken as well when `last` is in use: a run that comes to the second half of its range goes on in
/// the next one.
pub(crate) const fn runs_used(last: u64) -> u64 {
    (last + (1 << (LINE_BITS - 1))) >> LINE_BITS
}

/// Takes the next run. It is durable when this returns.
pub(crate) async fn begin_run(store: &SharedStore) -> Result<u64, OpenError> {
    let key = rows::run_key();
    let unnumbered = |source| OpenError::Number { source };
    let found = store.get(&key).await.map_err(unnumbered)?;
    let (run, compare) = match found {
        None => (1, Compare::Absent(key)),
        Some(entry) => {
            let last = rows::read_run(&entry.value).ok_or(OpenError::Malformed)?;
            (last.saturating_add(1), Compare::ModRevision(key, entry.mod_revision))
        }
    };
    if run >= LARGEST >> LINE_BITS {
        return Err(OpenError::Exhausted);
    }
    let (key, value) = rows::run_row(run);
    store.commit(Transaction::new().when(compare).put(key, value)).await.map_err(unnumbered)?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_half_full_takes_the_next_one_too() {
        assert_eq!(runs_used(before_run(7) + 1), 7);
        assert_eq!(runs_used(before_run(7) + (1 << 32) - 1), 7);
        assert_eq!(runs_used(before_run(7) + (1 << 32)), 8);
        assert_eq!(runs_used(before_run(8)), 8);
    }
}
