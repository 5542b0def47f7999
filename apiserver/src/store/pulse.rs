//! The one connection of a store to its database's feed of changes, which wakes whoever waits for something new.
//!
//! A feed that breaks off may mean that the database was replaced by an old copy of itself. The store then begins anew: it gives a revision to that,
//! which is above everything that was given before, so that a revision of the lost history is never taken for one of the future.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_client::database::{Changes, DatabaseError};

use super::core::Core;

/// Pauses between attempts to reach the database again.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the feed until it is dropped. The store has begun when it is called.
pub(super) async fn follow(core: Arc<Core>) {
    let mut pause = FIRST_PAUSE;
    let mut begun = true;
    loop {
        let listening = Instant::now();
        let error = listen(&core, &mut begun).await.err();
        if listening.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        begun = false;
        // Who waits looks for himself, and finds out whether anything is left.
        core.beat();
        tracing::debug!(error = error.map(tracing::field::display), "the feed of changes broke off");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn listen(core: &Core, begun: &mut bool) -> Result<(), super::StoreError> {
    let mut changes = core.database.changes(None).await?;
    if !*begun {
        core.begin().await?;
        *begun = true;
    }
    // What was committed before the feed began is not told by it.
    core.beat();
    while concerns_us(&mut *changes).await?.is_some() {
        core.beat();
    }
    Ok(())
}

/// Waits for a commit that gave a revision.
async fn concerns_us(changes: &mut dyn Changes) -> Result<Option<()>, DatabaseError> {
    loop {
        match changes.next().await? {
            Some(change) if change.tables.iter().any(|it| it == "revision") => return Ok(Some(())),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}
