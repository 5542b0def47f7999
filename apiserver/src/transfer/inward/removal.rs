//! Removing from etcd what is here.

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::Duration;

use super::Inward;
use super::copier::Copier;
use crate::transfer::definition::Definition;
use crate::transfer::entrance::Old;
use crate::transfer::pace::Pace;
use crate::transfer::progress::Phase;
use crate::transfer::stage::{self, Mark, Stage};
use crate::transfer::{Transfer, TransferError, shape};

/// Objects that are removed at once.
const AT_ONCE: usize = 8;

/// How often it is begun again because somebody writes.
const PASSES: usize = 1000;

impl Inward<'_> {
    /// Removes everything from etcd, and closes the side entrance.
    pub(super) async fn remove(&mut self, mark: Mark) -> Result<(), TransferError> {
        let options = self.transfer.options;
        self.follow(options.settle).await?;
        self.cut().await?;
        for _ in 0..PASSES {
            let removed = self.remove_once().await?;
            if removed > 0 {
                continue;
            }
            let stays: usize = self.copiers.iter().map(|it| it.stays.len()).sum();
            self.transfer.tally.count(|it| it.stays = stays as u64);
            if stays > 0 {
                return Err(TransferError::Stays { group: self.survey.group.clone(), count: stays });
            }
            self.phase(Phase::Waiting);
            if self.follow(options.quiet).await? == 0 {
                return self.settle(mark).await;
            }
        }
        Err(TransferError::Behind)
    }

    /// Follows late writes for some time.
    async fn follow(&mut self, time: Duration) -> Result<u64, TransferError> {
        let followed = self.copiers.iter_mut().map(async |it| match it.follow(time, None).await {
            // Late writes are found in the list too.
            Err(TransferError::Behind) => Ok(1),
            followed => followed,
        });
        Ok(try_join_all(followed).await?.into_iter().sum())
    }

    /// Ends the watches that show etcd, and lets nobody see it any more.
    async fn cut(&self) -> Result<(), TransferError> {
        self.survey.hide(self.transfer).await?;
        // kube-apiserver lets requests end for a second before it ends watches.
        tokio::time::sleep(self.transfer.options.settle.max(Duration::from_secs(2))).await;
        for copier in &self.copiers {
            Definition::open(&self.transfer.cluster, &copier.resource).await?;
        }
        Ok(())
    }

    /// Removes what is there now. Returns how many there were that could be removed.
    async fn remove_once(&mut self) -> Result<u64, TransferError> {
        let transfer = self.transfer;
        let removed = self.copiers.iter_mut().map(async |copier| {
            let (entrance, mut begun, mut all) = (copier.entrance.clone(), None, 0);
            transfer.tally.begin(&copier.id, Phase::Removing);
            let mut pages = entrance.pages();
            while let Some(page) = pages.next().await? {
                transfer.leadership.confirm().await?;
                copier.at(*begun.get_or_insert(page.revision));
                transfer.tally.expect(&copier.id, page.items.len() as u64 + page.remaining);
                all += remove_page(copier, &page.items, transfer).await?;
            }
            Ok::<u64, TransferError>(all)
        });
        Ok(try_join_all(removed).await?.into_iter().sum())
    }

    /// Nothing is left.
    async fn settle(&self, mark: Mark) -> Result<(), TransferError> {
        let transfer = self.transfer;
        transfer.leadership.confirm().await?;
        for copier in &self.copiers {
            Definition::close(&transfer.cluster, &copier.id).await?;
        }
        let mark = stage::begin(&transfer.store, &self.survey.group, Some(&mark), Stage::Settled).await?;
        transfer.gate.learn(&self.survey.group, Some(&mark));
        self.phase(Phase::Done);
        Ok(())
    }
}

async fn remove_page(copier: &mut Copier, items: &[Old], transfer: &Transfer) -> Result<u64, TransferError> {
    let mut removed = 0;
    for some in items.chunks(AT_ONCE) {
        let mut settled = Vec::new();
        for old in some {
            if copier.is_settled(old).await? {
                settled.push(old);
            }
        }
        let copier = &*copier;
        let released = settled.into_iter().map(|it| release(copier, it, &transfer.pace));
        let now = try_join_all(released).await?.into_iter().filter(|it| *it).count() as u64;
        transfer.tally.count(|it| it.removed += now);
        transfer.tally.did(&copier.id, some.len());
        removed += now;
    }
    Ok(removed)
}

/// Removes one object from etcd, if it is still as it was read. Its finalizers go first: nobody looks after them any more there.
async fn release(copier: &Copier, old: &Old, pace: &Pace) -> Result<bool, TransferError> {
    pace.turn().await;
    if !shape::has_finalizers(old) {
        return Ok(copier.entrance.delete(old).await?);
    }
    let patch = json!({"metadata": {"finalizers": Value::Null, "annotations": {shape::RELEASED: "true"}}});
    let Some(patched) = copier.entrance.patch(old, patch).await? else { return Ok(false) };
    // One that was being deleted went with its last finalizer.
    copier.entrance.delete(&patched).await?;
    Ok(true)
}
