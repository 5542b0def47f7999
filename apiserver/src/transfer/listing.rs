//! What stands here, page by page: each page is of its own moment, which is enough for who follows changes besides.

use super::TransferError;
use crate::store::{At, Key, ListQuery, Selection, Store, Stored};

/// Objects of a page at most.
const PAGE: usize = 500;

/// The objects of a resource, in the order of their keys.
pub(super) struct Listing<'s> {
    store: &'s Store,
    resource: &'s str,
    after: Option<Key>,
    is_over: bool,
    /// Objects behind the last page.
    left: u64,
}

impl<'s> Listing<'s> {
    pub(super) fn new(store: &'s Store, resource: &'s str) -> Self {
        Self { store, resource, after: None, is_over: false, left: 0 }
    }

    /// The next objects; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Stored>>, TransferError> {
        if self.is_over {
            return Ok(None);
        }
        let (selection, after, limit) = (Selection::default(), self.after.take(), Some(PAGE));
        let page =
            self.store.page(self.resource, &ListQuery { selection, at: At::Latest, after, limit }).await?;
        self.is_over = page.next.is_none();
        self.left = page.remaining.unwrap_or_default();
        self.after = page.next;
        Ok(Some(page.items).filter(|it| !it.is_empty()))
    }

    /// Objects behind the last page, as far as was seen.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}
