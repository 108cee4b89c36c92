//! Lists in pages, continued by opaque cursors.
//!
//! A cursor holds only the place within a list, never the list: the prefix comes from the actor at every call, so that
//! a cursor of another tenant continues one's own list and nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::CatalogError;

pub const DEFAULT_LIMIT: usize = 50;
pub const MAX_LIMIT: usize = 200;

/// Which part of a list is asked for; the default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// At most this many items; [`DEFAULT_LIMIT`] when absent, [`MAX_LIMIT`] when more.
    pub limit: Option<usize>,
    /// [`Listing::next`] of the page before.
    pub cursor: Option<String>,
}

impl Page {
    pub(crate) fn size(&self) -> Result<usize, CatalogError> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(0) => Err(CatalogError::invalid("limit", "must be at least 1")),
            Some(limit) => Ok(limit.min(MAX_LIMIT)),
        }
    }

    /// The place to continue behind: `N` bytes, the size of what the list is ordered by.
    pub(crate) fn position<const N: usize>(&self) -> Result<Option<[u8; N]>, CatalogError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| <[u8; N]>::try_from(bytes).ok())
            .map(Some)
            .ok_or_else(|| CatalogError::invalid("cursor", "is not a cursor of this list"))
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// The cursor of the next page; absent at the end.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    pub(crate) fn new(items: Vec<T>, last: Option<&[u8]>) -> Self {
        Self { items, next: last.map(|position| URL_SAFE_NO_PAD.encode(position)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused_and_a_large_limit_is_cut() {
        let next = Listing::new(vec![()], Some(&7_u64.to_be_bytes())).next;
        let page = Page { limit: Some(10_000), cursor: next };
        assert_eq!(page.size().unwrap(), MAX_LIMIT);
        assert_eq!(page.position::<8>().unwrap(), Some(7_u64.to_be_bytes()));
        assert!(matches!(page.position::<16>(), Err(CatalogError::Validation(_))));
        let nonsense = Page { limit: Some(0), cursor: Some("%%%".to_owned()) };
        assert!(nonsense.size().is_err() && nonsense.position::<8>().is_err());
    }
}
