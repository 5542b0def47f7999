//! Deleting: a tombstone where a copy is, was, or may turn up.
//!
//! The shelf is looked at and then the primary is asked, as for a read ([`super::window`]), so that the tombstone lies above what is there, wherever it
//! travels. Once the primary holds it, a copy that is on its way there or away from there is hidden by it, so the shelf gets one only where it
//! holds a copy itself. Where the primary did not take it, the shelf's tombstone stands for both until the primary has it too. Deleting is
//! done in every mode: a mode says where reports are written, not where they may be.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;

use super::answer::{Deleted, ReportsError, Swept};
use super::window::WINDOWS;
use super::{Away, Reports};
use crate::fallback::shelf::{Burial, ShelfError, Tombstone};
use crate::reports::{ReportKey, Version};

/// How often a deletion is made anew above a copy from a clock that is ahead.
const RAISES: usize = 8;
/// Reports of a page when many are deleted.
const PAGE: usize = 500;
/// Reports that the shelf is asked for at once.
const AT_ONCE: usize = 8;

impl Reports {
    /// Deletes a report. It is enough that one store takes part: while the other is away, its copy is hidden. What cannot be read goes too, unless a
    /// later release wrote it.
    ///
    /// # Errors
    /// [`ReportsError::Unavailable`] if no store took part.
    pub async fn delete(&self, key: &ReportKey) -> Result<Deleted, ReportsError> {
        let primary = self.bury_in_primary(key).await;
        if let Some(error) = primary.as_ref().err().and_then(Away::rejection) {
            return Err(error);
        }
        if let Err(away @ Away::Restless) = &primary {
            self.room.counters.unavailable();
            return Err(ReportsError::unavailable(Some(away), None));
        }
        let sequence = primary.as_ref().map_or_else(|_| self.room.clock.next(), |it| it.1);
        let shelf = match &primary {
            Ok(_) if self.is_absent_on_shelf(key).await == Some(true) => Ok((false, sequence)),
            _ => {
                self.bury(key, sequence, |it| async move { self.room.shelf.bury_even_damaged(&it).await })
                    .await
            }
        };
        match (primary, shelf) {
            (Ok(primary), Ok(shelf)) => Ok(deleted(primary.0 || shelf.0, true, primary.1.max(shelf.1))),
            (Ok((existed, sequence)), Err(_)) => Ok(deleted(existed, false, sequence)),
            (Err(away), Ok((existed, sequence))) => Ok(deleted(existed, !self.is_missed(&away), sequence)),
            (Err(away), Err(error)) => {
                self.room.counters.unavailable();
                Err(ReportsError::unavailable(Some(&away), Some(error)))
            }
        }
    }

    /// Buries in the primary, above what either store has shown.
    async fn bury_in_primary(&self, key: &ReportKey) -> Result<(bool, i64), Away> {
        let mut existed = false;
        for _ in 0..WINDOWS {
            let since = self.mark();
            let head = self.look_on_shelf(key).await;
            let seen = head.as_ref().and_then(|it| it.copy.as_ref()).map_or(0, |it| it.version.sequence);
            let has_left = AtomicBool::new(false);
            let has_left = &has_left;
            let (removed, sequence) = self
                .bury(key, self.room.clock.above(seen), |it| async move {
                    let bury = self.ask_told(0, |primary| primary.bury(std::slice::from_ref(&it), since));
                    let (burials, departures) = bury.await?;
                    has_left.store(departures.may_include(key), Ordering::Relaxed);
                    Ok(burials.first().copied().unwrap_or(Burial { removed: false, survivor: None }))
                })
                .await?;
            existed |= removed;
            if head.is_none() || !has_left.load(Ordering::Relaxed) {
                return Ok((existed, sequence));
            }
        }
        Err(Away::Restless)
    }

    async fn is_absent_on_shelf(&self, key: &ReportKey) -> Option<bool> {
        Some(self.room.shelf.head(key).await.ok()?.copy.is_none())
    }

    /// Buries in one store, above every copy that is found there. Says whether there was one, and the tombstone's sequence.
    async fn bury<E, F: Future<Output = Result<Burial, E>>>(
        &self,
        key: &ReportKey,
        mut sequence: i64,
        bury: impl Fn(Tombstone) -> F,
    ) -> Result<(bool, i64), E> {
        let mut existed = false;
        for _ in 0..RAISES {
            let burial = bury(Tombstone { key: key.clone(), sequence }).await?;
            existed |= burial.removed;
            let Some(survivor) = burial.survivor else { break };
            sequence = self.room.clock.above(survivor);
        }
        Ok((existed, sequence))
    }

    /// Deletes every report whose key begins with `prefix`.
    ///
    /// # Errors
    /// As for [`Reports::list`]; what was deleted until then stays deleted.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<Swept, ReportsError> {
        self.delete_where(prefix, |_, _| true).await
    }

    /// Deletes the reports whose key begins with `prefix` and is not among `live`. What is put meanwhile stays.
    ///
    /// # Errors
    /// As for [`Reports::delete_prefix`].
    pub async fn retain(&self, prefix: &str, live: &HashSet<ReportKey>) -> Result<Swept, ReportsError> {
        self.delete_where(prefix, |key, _| !live.contains(key)).await
    }

    /// Deletes the reports whose key begins with `prefix` and that were scanned before `before`. Those of which nobody knows when they were
    /// scanned stay.
    ///
    /// # Errors
    /// As for [`Reports::delete_prefix`].
    pub async fn expire(&self, prefix: &str, before: Timestamp) -> Result<Swept, ReportsError> {
        self.delete_where(prefix, |_, version| {
            Timestamp::UNIX_EPOCH < version.scanned_at && version.scanned_at < before
        })
        .await
    }

    /// Deletes the reports of which the version that is listed is `doomed`, with all their copies, and none that is put meanwhile.
    async fn delete_where(
        &self,
        prefix: &str,
        doomed: impl Fn(&ReportKey, &Version) -> bool,
    ) -> Result<Swept, ReportsError> {
        let mut swept = Swept { deleted: 0, complete: true };
        let mut after = None;
        loop {
            let page = self.list_stores(prefix, after.as_ref(), PAGE).await?;
            let victims: Vec<_> = page
                .items
                .into_iter()
                .filter(|it| doomed(&it.key, &it.version))
                .map(|it| (Tombstone { key: it.key, sequence: it.written.saturating_add(1) }, it.on_shelf))
                .collect();
            let (deleted, complete) = self.bury_listed(&victims).await?;
            swept.deleted += deleted as u64;
            swept.complete &= page.complete && page.unreadable.is_empty() && complete;
            after = page.next;
            if after.is_none() {
                return Ok(swept);
            }
        }
    }

    /// Says how many are gone, and whether every store took part. Those of which there is a copy all the same were put meanwhile, or by an
    /// older controller that said nothing of it.
    async fn bury_listed(&self, victims: &[(Tombstone, bool)]) -> Result<(usize, bool), ReportsError> {
        if victims.is_empty() {
            return Ok((0, true));
        }
        let tombstones: Vec<_> = victims.iter().map(|it| it.0.clone()).collect();
        let told = self.ask_told(0, |primary| primary.bury(&tombstones, None)).await;
        let (burials, away) = told.map_or_else(|away| (Vec::new(), Some(away)), |it| (it.0, None));
        let mut survivors: HashSet<_> =
            tombstones.iter().zip(burials).filter(|it| it.1.survivor.is_some()).map(|it| &it.0.key).collect();
        let on_shelf = victims.iter().filter(|it| it.1 || away.is_some()).map(|it| &it.0);
        let mut buried = stream::iter(on_shelf.collect::<Vec<_>>())
            .map(|it| async move { (&it.key, self.room.shelf.bury(it).await) })
            .buffered(AT_ONCE);
        let mut failed: Option<ShelfError> = None;
        while let Some((key, burial)) = buried.next().await {
            match burial {
                Ok(burial) => survivors.extend(burial.survivor.map(|_| key)),
                Err(error) => failed = Some(error),
            }
        }
        match (away, failed) {
            (Some(away), Some(error)) => Err(ReportsError::unavailable(Some(&away), Some(error))),
            (away, failed) => {
                let complete = failed.is_none() && !away.is_some_and(|it| self.is_missed(&it));
                Ok((victims.len() - survivors.len(), complete))
            }
        }
    }
}

fn deleted(existed: bool, complete: bool, sequence: i64) -> Deleted {
    Deleted { existed, complete, sequence }
}
