//! Moves of reports, as the migrator makes them: write, read back, remove what was read. They are here so that reads race them.

use larder_client::fallback::shelf::{Placed, ShelfError, Tombstone};
use larder_client::fallback::{Primary, PrimaryError, Shelf};

use crate::primary::MemoryPrimary;

/// Why a move ended early. Nothing is lost by it.
#[derive(Debug)]
pub(crate) struct Ended;

impl From<ShelfError> for Ended {
    fn from(error: ShelfError) -> Self {
        assert!(!matches!(error, ShelfError::Damaged { .. } | ShelfError::Incomplete { .. }), "{error}");
        Self
    }
}

impl From<PrimaryError> for Ended {
    fn from(_: PrimaryError) -> Self {
        Self
    }
}

/// Moves what is on the shelf into the primary: each below its tombstone, then the tombstones.
pub(crate) async fn bring_home(shelf: &Shelf, primary: &impl Primary) -> Result<(), Ended> {
    let mut after = None;
    loop {
        let page = shelf.keys("", after.as_ref(), 2).await?;
        for key in &page.items {
            let lookup = shelf.get(key).await?;
            let Some(held) = lookup.copy else { continue };
            // What the tombstone hides in the primary must not keep the report out of it.
            if let Some(sequence) = lookup.tombstone {
                primary.bury(&[Tombstone { key: key.clone(), sequence }]).await?;
            }
            if Some(held.version.sequence) >= lookup.tombstone
                && primary.put(&[(&held.report, held.version.sequence)]).await?.first()
                    == Some(&Placed::Stored)
            {
                let back = primary.get(key).await?;
                let same = back.copy.as_ref().is_some_and(|it| {
                    it.version > held.version
                        || (it.version == held.version && it.report.payload == held.report.payload)
                });
                if !same && back.tombstone < Some(held.version.sequence) {
                    continue;
                }
            }
            shelf.remove(&held.holding).await?;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = shelf.tombstones("", after.as_ref(), 2).await?;
        for it in &page.items {
            primary.bury(std::slice::from_ref(&it.tombstone)).await?;
            shelf.remove_tombstone(it).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Moves what is in the primary onto the shelf: tombstones first, so that none is missing when the primary is gone.
pub(crate) async fn take_out(
    shelf: &Shelf,
    wired: &impl Primary,
    primary: &MemoryPrimary,
) -> Result<(), Ended> {
    for it in wired.tombstones("", None, usize::MAX - 1).await?.items {
        shelf.bury(&it).await?;
    }
    for (key, _) in wired.list("", None, usize::MAX - 1).await?.items {
        let Some((kept, stamp)) = primary.stamped(&key) else { continue };
        match shelf.put(&kept.report, kept.version.sequence).await? {
            Placed::Stored => {
                let back = shelf.get(&key).await?.copy;
                if back.is_some_and(|it| it.version >= kept.version) {
                    primary.remove(&key, stamp);
                }
            }
            Placed::Superseded(_) | Placed::Crossed(_) | Placed::Buried(_) => drop(primary.remove(&key, stamp)),
        }
    }
    Ok(())
}
