//! What every backend of [`Store`](crate::Store) must do, one behaviour per function.
//!
//! A backend brings a [`Fixture`] and calls [`conformance_suite!`](crate::conformance_suite), which makes a test of
//! each behaviour. The behaviours know nothing but the trait.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests: a failure is a panic")]

pub mod history;
pub mod leases;
pub mod logs;
pub mod transactions;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::StoreError;
use crate::key::{Key, KeyRange};
use crate::store::{Entry, RangeOptions, Revision, SharedStore};
use crate::transaction::Transaction;
use crate::watch::{Event, Watch};

/// A place where a store can be opened, closed and opened again.
pub trait Fixture: Send + Sync {
    /// Opens the store of this fixture; an empty one at first. The one opened before was closed.
    ///
    /// It keeps [`RETAINED`] revisions at least, and compacts what is more than twice as many old.
    fn open(&self) -> BoxFuture<'_, SharedStore>;
}

/// Revisions that the store of a [`Fixture`] keeps.
pub const RETAINED: u64 = 50;

/// How long a behaviour may wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a test of every behaviour, from an expression that makes a fresh [`Fixture`]. The caller's crate needs
/// tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::conformance_suite!(@ $fixture, transactions: [
            an_empty_store_is_at_revision_zero,
            a_put_is_read_back_with_its_revisions,
            a_value_keeps_its_create_revision_until_the_key_is_deleted,
            revisions_have_no_gaps_and_refusals_take_none,
            all_operations_happen_or_none,
            each_compare_refuses_by_its_index,
            the_last_operation_on_a_key_decides,
            deleting_a_range_spares_its_neighbours,
            a_transaction_without_operations_checks_and_takes_no_revision,
            what_is_too_large_is_refused_and_changes_nothing,
            one_of_many_concurrent_creations_wins,
            concurrent_increments_are_all_counted,
            acknowledged_transactions_are_there_after_reopening,
            a_closed_store_refuses_everything,
        ]);
        $crate::conformance_suite!(@ $fixture, history: [
            ranges_are_ordered_limited_and_reversible,
            pages_continue_at_one_revision_while_others_write,
            the_recent_past_is_read_as_it_was,
            the_distant_past_and_the_future_are_refused,
            a_watch_sees_every_change_of_its_range_in_order,
            a_watch_resumes_where_another_stopped,
            a_watch_waits_for_the_future,
            a_watch_of_compacted_revisions_says_so,
            a_watch_ends_when_the_store_closes,
            history_survives_reopening,
        ]);
        $crate::conformance_suite!(@ $fixture, leases: [
            a_free_lease_is_acquired_with_a_first_epoch,
            a_held_lease_is_refused_until_it_expires,
            the_same_holder_gets_a_new_epoch,
            a_lost_epoch_cannot_renew_or_release,
            a_guarded_transaction_is_refused_after_a_takeover,
            a_renewed_lease_keeps_its_epoch,
            epochs_grow_across_release_and_reopening,
            a_lease_takes_no_revision,
        ]);
        $crate::conformance_suite!(@ $fixture, logs: [
            appends_are_numbered_without_gaps,
            a_log_is_read_both_ways,
            an_unwritten_log_is_empty,
            trimming_removes_the_old_end_only,
            positions_are_not_reused_after_a_trim,
            logs_with_similar_names_do_not_mix,
            a_refused_transaction_appends_nothing,
            linked_appends_follow_each_other_whoever_makes_them,
            a_refused_linked_append_leaves_no_link,
        ]);
    };
    (@ $fixture:expr, $group:ident: [$($behaviour:ident,)*]) => {
        mod $group {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    $crate::conformance::$group::$behaviour(&$fixture).await;
                }
            )*
        }
    };
}

/// Commits, and returns the revision.
async fn commit(store: &SharedStore, transaction: Transaction) -> Revision {
    store.commit(transaction).await.expect("the transaction is sound").revision
}

async fn put(store: &SharedStore, key: &str, value: &str) -> Revision {
    commit(store, Transaction::new().put(key, value.to_owned())).await
}

async fn value(store: &SharedStore, key: &str) -> Option<String> {
    let entry = store.get(&Key::from(key)).await.expect("reading works");
    entry.map(|entry| String::from_utf8(entry.value.to_vec()).expect("tests write text"))
}

/// The whole store, as text.
async fn everything(store: &SharedStore) -> Vec<(String, String)> {
    let page = store.range(KeyRange::all(), RangeOptions::default()).await.expect("reading works");
    assert!(!page.more);
    page.entries.iter().map(text).collect()
}

fn text(entry: &Entry) -> (String, String) {
    let value = String::from_utf8_lossy(&entry.value).into_owned();
    (entry.key.to_string(), value)
}

/// The next event, which must come.
async fn next(watch: &mut Watch) -> Event {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event comes in time");
    event.expect("the watch goes on")
}

/// The end of a watch, which must come.
async fn end(watch: &mut Watch) -> StoreError {
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("the end comes in time");
    event.expect_err("the watch ends")
}

async fn reopen(fixture: &dyn Fixture, store: SharedStore) -> SharedStore {
    store.close().await.expect("closing works");
    drop(store);
    fixture.open().await
}

/// Runs `work` for each of `0..count` at once.
async fn concurrently<F>(store: &SharedStore, count: u32, work: impl Fn(SharedStore, u32) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|index| tokio::spawn(work(Arc::clone(store), index))).collect();
    for task in tasks {
        task.await.expect("the task succeeds");
    }
}
