//! Along the rows of several tables, from wherever one was.

use outrigger_store::{Entry, Key, KeyRange, RangeOptions};

use crate::catalog::{Catalog, READ};
use crate::error::CatalogError;

/// Rows that lie together and are of one kind.
pub(super) struct Stretch<T> {
    pub(super) of: T,
    pub(super) range: KeyRange,
}

/// Some of them.
pub(super) struct Found<T> {
    pub(super) of: T,
    pub(super) entries: Vec<Entry>,
}

impl Catalog {
    /// The first rows behind `after`, at most `most` and all of one stretch; nothing at the end. The stretches are in the
    /// order of their keys.
    pub(super) async fn rows_behind<T: Copy>(
        &self,
        stretches: &[Stretch<T>],
        after: Option<&Key>,
        most: usize,
    ) -> Result<Option<Found<T>>, CatalogError> {
        for Stretch { of, range } in stretches {
            let rest = after.map_or_else(|| range.clone(), |key| range.after(key));
            if rest.is_empty() {
                continue;
            }
            let page = self.store().range(rest, RangeOptions::default().limit(most)).await.map_err(READ)?;
            if !page.entries.is_empty() {
                return Ok(Some(Found { of: *of, entries: page.entries }));
            }
        }
        Ok(None)
    }
}
