//! The index of findings, kept up in the background by whoever leads.
//!
//! The database's own feed of changes wakes it, so it hears of what any controller puts and of what a [mover](super::Mover) brings, and neither
//! waits for it. Looks have a pause between them and are one after the other, however many reports come: what arrives meanwhile is
//! seen to with the next. The lead saves work and no more: several may keep one index, see [`Index`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::leadership::Leader;
use super::progress::{Phase, Progress};
use crate::database::Database;
use crate::reports::index::{Index, IndexError, Pace};

/// The table whose changes make work.
const REPORTS: &str = "report";
/// What comes within this time is seen to with one look.
const PAUSE: Duration = Duration::from_millis(500);
/// After a look that failed, and before a feed that ended is asked for again.
const RETRY: Duration = Duration::from_secs(5);
/// A pass that moved so many reports ends with one segment of everything.
const MUCH: u64 = 1000;
/// How long what replaced and deleted reports said of vulnerabilities may count, unless clearing it away takes long.
const TIDYING: Duration = Duration::from_secs(120);
/// The part of the time that is spent on clearing away, at most: one in so many.
const SHARE: u32 = 100;

/// Keeps up the index until it is dropped. Dropped at work, it leaves the index as right as it was.
pub struct Upkeep {
    task: JoinHandle<()>,
}

struct Tender {
    database: Arc<dyn Database>,
    index: Index,
    progress: watch::Receiver<Progress>,
    due: Notify,
    /// The last pass after which everything was put together.
    compacted: u64,
    tidying: Tidying,
    failing: bool,
}

/// When what is gone is cleared away.
struct Tidying {
    pause: Duration,
    /// Not before this.
    earliest: Instant,
    /// Then, if something is to be cleared away.
    due: Option<Instant>,
}

impl Tidying {
    fn new(pause: Duration) -> Self {
        Self { pause, earliest: Instant::now() + pause, due: None }
    }

    /// Returns when it is time.
    async fn is_due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Clears away if it is time; sees when it will be.
    async fn tend(&mut self, index: &Index) -> Result<(), IndexError> {
        let begun = Instant::now();
        if self.due.is_some_and(|due| due <= begun) {
            self.due = None;
            index.tidy().await?;
            self.earliest = Instant::now() + self.pause.max(begun.elapsed() * SHARE);
        }
        if self.due.is_none() && index.retired().await? > 0 {
            self.due = Some(self.earliest.max(Instant::now() + self.pause));
        }
        Ok(())
    }
}

impl Upkeep {
    /// Keeps up the index of `database` while `leader` says that it is us. `progress` is of the mover that brings reports there, so that a
    /// move is kept pace with and made whole at its end; without one, that of a channel whose sender is gone.
    pub fn start(
        database: Arc<dyn Database>,
        leader: watch::Receiver<Leader>,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self::start_tidying(database, leader, progress, TIDYING)
    }

    /// As [`Upkeep::start`], with another time than two minutes for which what replaced and deleted reports said of vulnerabilities may count.
    pub fn start_tidying(
        database: Arc<dyn Database>,
        mut leader: watch::Receiver<Leader>,
        progress: watch::Receiver<Progress>,
        within: Duration,
    ) -> Self {
        let index = Index::new(Arc::clone(&database));
        let (due, tidying) = (Notify::new(), Tidying::new(within));
        let mut tender = Tender { database, index, progress, due, compacted: 0, tidying, failing: false };
        let task = tokio::spawn(async move {
            while leader.wait_for(|it| *it == Leader::Me).await.is_ok() {
                tokio::select! {
                    () = deposed(&mut leader) => {}
                    () = tender.tend() => {}
                }
            }
        });
        Self { task }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn deposed(leader: &mut watch::Receiver<Leader>) {
    if leader.wait_for(|it| *it != Leader::Me).await.is_err() {
        // Whoever led when it was last heard of leads for ever.
        std::future::pending().await
    }
}

impl Tender {
    async fn tend(&mut self) {
        let listens = listen(&*self.database, &self.due);
        let passes = hear_of_ends(self.progress.clone(), &self.due);
        let works = async {
            loop {
                tokio::select! {
                    () = self.due.notified() => sleep(PAUSE).await,
                    () = self.tidying.is_due() => {}
                }
                let mut done = look(&self.index, &self.progress, &mut self.compacted).await;
                if done.is_ok() && !is_moving(&self.progress.borrow()) {
                    done = self.tidying.tend(&self.index).await;
                }
                tell(&done, &mut self.failing);
                if done.is_err() {
                    sleep(RETRY).await;
                    self.due.notify_one();
                }
            }
        };
        tokio::select! {
            () = listens => {}
            () = passes => {}
            () = works => {}
        }
    }
}

/// Sees to the index once, as the move beside it wants it.
async fn look(
    index: &Index,
    progress: &watch::Receiver<Progress>,
    compacted: &mut u64,
) -> Result<(), IndexError> {
    let (moves, pass, moved) = {
        let progress = progress.borrow();
        (is_moving(&progress), progress.passes, progress.moved)
    };
    if moves {
        return index.keep_up(Pace::Bulk).await;
    }
    if moved >= MUCH && *compacted != pass {
        index.compact().await?;
        *compacted = pass;
        return Ok(());
    }
    index.keep_up(Pace::Steady).await
}

fn is_moving(progress: &Progress) -> bool {
    matches!(progress.phase, Phase::Reports | Phase::Large | Phase::Tombstones)
}

/// Says so for every commit that changed reports, and whenever some may have been missed.
async fn listen(database: &dyn Database, due: &Notify) {
    loop {
        let watched = database.changes(None).await;
        due.notify_one();
        if let Ok(mut changes) = watched {
            while let Ok(Some(change)) = changes.next().await {
                if change.tables.iter().any(|table| table == REPORTS) {
                    due.notify_one();
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// Says so when a pass has ended.
async fn hear_of_ends(mut progress: watch::Receiver<Progress>, due: &Notify) {
    while progress.wait_for(is_moving).await.is_ok() && progress.wait_for(|it| !is_moving(it)).await.is_ok() {
        due.notify_one();
    }
    std::future::pending().await
}

/// A failure is told once: an outage is somebody else's to tell of, and questions are answered right meanwhile.
fn tell(done: &Result<(), IndexError>, failing: &mut bool) {
    if let Err(error) = done
        && !*failing
    {
        tracing::warn!(%error, "the index of findings is not kept up; questions take longer");
    }
    *failing = done.is_err();
}
