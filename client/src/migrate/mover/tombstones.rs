//! Bringing deletions over, after the reports: what they killed is gone by then, so that nothing comes back when they go.
//!
//! The depot that takes them keeps them for a while, against the copy that a deposed leader still has in hand and writes late. After a
//! pass that left nothing, those whose time is over are forgotten.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Halt, Pass};
use crate::migrate::decision::Skip;
use crate::migrate::depot::{Depot, Grave, Holding, Standing, Tombstone};
use crate::reports::ReportKey;

impl<F: Depot, T: Depot> Pass<F, T> {
    /// Moves the tombstones.
    pub(super) async fn move_tombstones(&self) -> Result<(), Halt> {
        let mut next = None;
        loop {
            let page = self.from.tombstones(next.as_deref(), self.pace.batch_reports).await;
            let page = page.map_err(|it| self.here_failed(it))?;
            for (key, reason) in page.strange {
                self.skip_once(&key, Skip::Undecodable, reason);
            }
            if !page.graves.is_empty() {
                self.turn().await?;
                self.move_graves(page.graves).await?;
            }
            match page.next {
                Some(from) => next = Some(from),
                None => return Ok(()),
            }
        }
    }

    /// Takes tombstones over there; see [`Depot::bury`] for the answers.
    pub(super) async fn bury_there(&self, tombstones: &[Tombstone]) -> Result<Vec<Option<String>>, Halt> {
        self.to.bury(tombstones).await.map_err(|it| self.there_failed(it))
    }

    fn skip_once(&self, key: &ReportKey, skip: Skip, detail: String) {
        if !self.rest(|rest| rest.skipped.contains(key)) {
            self.skip(key, skip, detail);
        }
    }

    async fn move_graves(&self, graves: Vec<Grave<F::Seal>>) -> Result<(), Halt> {
        let tombstones: Vec<_> = graves.iter().map(|it| it.tombstone.clone()).collect();
        for (tombstone, refused) in tombstones.iter().zip(self.bury_there(&tombstones).await?) {
            if let Some(reason) = refused {
                self.skip_once(&tombstone.key, Skip::Refused, reason);
            }
        }
        let keys: Vec<_> = tombstones.iter().map(|it| it.key.clone()).collect();
        let there = self.to.look(&keys).await.map_err(|it| self.there_failed(it))?;
        let here = self.from.look(&keys).await.map_err(|it| self.here_failed(it))?;
        let mut settled = Vec::new();
        for ((grave, here), there) in graves.into_iter().zip(here).zip(there) {
            if took_over(&grave.tombstone, &there) && !lies_on_something(&grave.tombstone, &here) {
                settled.push(grave);
            } else if !self.rest(|rest| rest.skipped.contains(&grave.tombstone.key)) {
                self.changed();
            }
        }
        self.unbury_here(settled).await
    }

    async fn unbury_here(&self, graves: Vec<Grave<F::Seal>>) -> Result<(), Halt> {
        if graves.is_empty() {
            return Ok(());
        }
        self.leadership.confirm().await?;
        for grave in graves {
            let removed = self.from.unbury(&grave.tombstone.key, &grave.seal).await;
            match removed.map_err(|it| self.here_failed(it))? {
                true => self.progress.send_modify(|it| it.tombstones += 1),
                false => self.changed(),
            }
        }
        Ok(())
    }

    /// Forgets the tombstones there whose time is over, but for the keys of reports that stay here: those may be what they kill.
    pub(super) async fn forget_tombstones(&self) -> Result<(), Halt> {
        let retention = SignedDuration::try_from(self.pace.retention).unwrap_or(SignedDuration::MAX);
        let before = Timestamp::now().saturating_sub(retention).unwrap_or(Timestamp::MIN);
        let skipped: BTreeSet<ReportKey> = self.rest(|rest| std::mem::take(&mut rest.skipped));
        let mut next = None;
        loop {
            let page = self.to.tombstones(next.as_deref(), self.pace.page).await;
            let page = page.map_err(|it| self.there_failed(it))?;
            let old =
                |grave: &Grave<T::Seal>| grave.since < before && !skipped.contains(&grave.tombstone.key);
            let mut old: Vec<_> = page.graves.into_iter().filter(old).collect();
            // Few at a time: the lead is confirmed for each few.
            while !old.is_empty() {
                let rest = old.split_off(old.len().min(self.pace.batch_reports.max(1)));
                self.unbury_there(std::mem::replace(&mut old, rest)).await?;
            }
            match page.next {
                Some(from) => next = Some(from),
                None => return Ok(()),
            }
        }
    }

    async fn unbury_there(&self, graves: Vec<Grave<T::Seal>>) -> Result<(), Halt> {
        if graves.is_empty() {
            return Ok(());
        }
        self.turn().await?;
        self.leadership.confirm().await?;
        for grave in graves {
            // One that was renewed meanwhile stays.
            let removed = self.to.unbury(&grave.tombstone.key, &grave.seal).await;
            if removed.map_err(|it| self.there_failed(it))? {
                self.progress.send_modify(|it| it.forgotten += 1);
            }
        }
        Ok(())
    }
}

/// Whether a tombstone can no longer be missed: it stands there, or what was written after it.
fn took_over(tombstone: &Tombstone, there: &Standing) -> bool {
    there.tombstone.is_some_and(|at| at >= tombstone.sequence)
}

/// Whether a tombstone is what keeps something here from being seen.
fn lies_on_something(tombstone: &Tombstone, here: &Standing) -> bool {
    match here.holding {
        Holding::Nothing => false,
        Holding::Report(version) => version.sequence < tombstone.sequence,
        Holding::Unreadable => true,
    }
}
