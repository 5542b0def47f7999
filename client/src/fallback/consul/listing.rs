//! Pages of keys, which Consul does not have.
//!
//! A listing comes whole, [`LISTING`](super::LISTING) bytes of JSON at most (some 160,000 keys of 100 bytes), and is held
//! while one page is cut out of it: the bytes, and 24 more a key. What is longer is asked for folder by folder. So large
//! pages are cheap, small ones are not.
//!
//! A token that may not read some keys of a listing does not see them, and Consul does not say so; that nothing is there at
//! all is therefore believed only if the token may read the prefix itself, if there is one.

use std::borrow::Cow;

use http::{Method, StatusCode};
use serde::Deserialize;

use super::super::StoreError;
use super::api::is_permission;
use super::txn::{Done, Wrapped};
use super::{Consul, is_plain};
use crate::http::{Call, escape};

/// What a listing is to give.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
}

impl Page<'_> {
    /// Whether a key belongs to it, or, of `folders`, may hold keys that do.
    fn takes(&self, key: &str, folders: bool) -> bool {
        let holds_more =
            |after: &str| folders && key != self.prefix && key.ends_with('/') && after.starts_with(key);
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after || holds_more(after))
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Consul {
    /// The page of a listing that Consul gives as a whole; `None` if it is too long for that. With `folders`, keys that have a
    /// slash behind the prefix are cut off there.
    pub(super) async fn page(
        &self,
        page: &Page<'_>,
        folders: bool,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut asked = page.prefix;
        while !is_plain_prefix(asked) {
            asked = &asked[..asked.floor_char_boundary(asked.len() - 1)];
        }
        // Folders are those behind the prefix that is asked for, so an odd prefix cannot be listed so.
        if folders && asked != page.prefix {
            return Ok(None);
        }
        let separator = if folders { "&separator=/" } else { "" };
        let path = format!("/v1/kv/{}?keys&consistent{separator}", escape(asked));
        let answer = self.api.call(Call::new(Method::GET, path), self.api.timeouts, self.listing).await?;
        let Some(answer) = answer else { return Ok(None) };
        if answer.status == StatusCode::NOT_FOUND {
            let is_consul = answer.index.is_some();
            return if is_consul {
                Ok(Some(Vec::new()))
            } else {
                Err(self.api.broken("nothing is found there"))
            };
        }
        let keys: Vec<Key<'_>> =
            serde_json::from_slice(&answer.body).map_err(|error| self.api.broken(error))?;
        let mut keys: Vec<&str> =
            keys.iter().map(|key| &*key.0).filter(|key| page.takes(key, folders)).collect();
        keys.sort_unstable();
        keys.truncate(page.limit);
        Ok(Some(keys.into_iter().map(str::to_owned).collect()))
    }

    /// A page of a listing that is too long to be read whole: folder by folder, as few of them as it takes.
    pub(super) async fn walk(&self, page: &Page<'_>) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let mut pending = vec![page.prefix.to_owned()];
        while let Some(next) = pending.pop()
            && found.len() < page.limit
        {
            let is_key = !next.ends_with('/') && next != page.prefix;
            if is_key {
                found.push(next);
                continue;
            }
            let folder = Page { prefix: &next, after: page.after, limit: page.limit - found.len() };
            if let Some(keys) = self.page(&folder, false).await? {
                found.extend(keys);
                continue;
            }
            let all = Page { limit: usize::MAX, ..folder };
            let inside = self.page(&all, true).await?;
            let mut inside = inside.ok_or_else(|| {
                self.api.refused(format!("there are too many keys under {next:?} to list them"))
            })?;
            if inside.first().is_some_and(|first| *first == next) {
                found.push(inside.remove(0));
            }
            pending.extend(inside.into_iter().rev());
        }
        Ok(found)
    }

    /// Tells an empty store from a token that sees nothing. Of all that reads, only a check says so of a key that does not exist.
    pub(super) async fn may_read(&self, prefix: &str) -> Result<(), StoreError> {
        if prefix.is_empty() {
            return Ok(());
        }
        let call = self.transaction("/v1/txn", &[Wrapped::check(prefix)])?;
        let answer = self.short(call).await?;
        let done: Done<'_> = serde_json::from_slice(&answer.body).map_err(|error| self.api.broken(error))?;
        match done.errors.iter().flatten().find(|failed| is_permission(&failed.what)) {
            Some(failed) => Err(self.api.refused(&failed.what)),
            None => Ok(()),
        }
    }
}

/// Whether a prefix may stand in a path; none at all may.
fn is_plain_prefix(prefix: &str) -> bool {
    prefix.is_empty() || is_plain(prefix)
}
