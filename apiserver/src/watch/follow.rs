//! The one task of a process that reads the log of changes.
//!
//! It reads changes only while somebody watches. Otherwise it goes no further than to look, once a second at most, whether the history is still the one
//! that it was: who begins to watch finds a head that is nearly there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::ring::Ring;
use crate::store::{Core, Revision, StoreError};

/// How often it looks even if nothing calls it.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the log until it is dropped. `watchers` counts those who watch.
pub(super) async fn follow(core: Arc<Core>, ring: Arc<Ring>, mut watchers: watch::Receiver<usize>) {
    let mut pulse = core.pulse();
    let mut pause = Duration::ZERO;
    loop {
        let watched = *watchers.borrow_and_update() > 0;
        pulse.borrow_and_update();
        match read(&core, &ring, watched).await {
            Ok(()) => pause = Duration::ZERO,
            Err(error) => {
                tracing::debug!(%error, "changes cannot be read for now");
                pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        let called = async {
            tokio::select! {
                _ = pulse.changed(), if watched => {}
                _ = watchers.changed() => {}
            }
        };
        // To look is right whoever called, and if nobody did.
        let _ = timeout(LOOK, called).await;
    }
}

/// Reads what is new, all of it.
async fn read(core: &Core, ring: &Ring, watched: bool) -> Result<(), StoreError> {
    if ring.head() == 0 {
        ring.skip_to(core.standing(0).await?.latest);
        return Ok(());
    }
    if !watched {
        return look(core, ring).await;
    }
    loop {
        let head = ring.head();
        let batch = core.changes_after(head, None).await?;
        if let Err(error) = batch.standing.check(head) {
            return start_again(core, ring, head, batch.standing.compacted, &error).await;
        }
        let is_partial = batch.is_partial();
        ring.append(batch.changes, batch.upto);
        if !is_partial {
            return Ok(());
        }
    }
}

async fn look(core: &Core, ring: &Ring) -> Result<(), StoreError> {
    let head = ring.head();
    let standing = core.standing(head).await?;
    match standing.check(head) {
        Ok(()) if standing.latest == head => Ok(()),
        Ok(()) => {
            ring.skip_to(standing.latest);
            Ok(())
        }
        Err(error) => start_again(core, ring, head, standing.compacted, &error).await,
    }
}

/// Goes on after the head turned out to be no part of what is remembered.
async fn start_again(
    core: &Core,
    ring: &Ring,
    head: Revision,
    compacted: Revision,
    reason: &StoreError,
) -> Result<(), StoreError> {
    if head < compacted {
        // This process slept through it. Whoever watches finds out for himself.
        ring.skip_to(core.standing(0).await?.latest);
        return Ok(());
    }
    tracing::warn!(%reason, "the database is not the one that it was: watchers have to begin anew");
    ring.lose(core.begin().await?);
    Ok(())
}
