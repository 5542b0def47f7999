//! Moving for as long as a process runs: whenever it leads, every group, again after what has gone wrong, and looked after once it is done.

use std::sync::Arc;

use futures_util::future::join_all;
use larder_client::migrate::Leader;
use tokio::time::{Duration, sleep, timeout};

use super::{Transfer, TransferError};

/// Between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Before something is tried again that somebody has to do something about. Every attempt at taking over that is taken back costs clients some seconds.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// How often what is done is looked after: registrations that somebody changed are put right.
const LOOK: Duration = Duration::from_secs(300);

/// How often is told how far it is.
const TOLD: Duration = Duration::from_secs(10);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of etcd, into the store.
    In,
    /// Out of the store, into etcd.
    Out,
}

impl Transfer {
    /// Moves everything, for ever: dropping the future is how it ends, at any point.
    pub async fn run(self: Arc<Self>, direction: Direction) {
        let groups = self.groups();
        let all = join_all(groups.iter().map(|group| self.look_after(group, direction)));
        tokio::select! {
            _ = all => {}
            () = self.tell() => {}
        }
    }

    /// Moves one group, whenever this process leads.
    async fn look_after(&self, group: &str, direction: Direction) {
        let (mut leader, mut backend) = (self.leadership.leader(), self.backend.clone());
        let mut pause = PAUSES.0;
        let mut is_done = false;
        loop {
            if leader.wait_for(|it| *it == Leader::Me).await.is_err() {
                return;
            }
            let moved = match direction {
                Direction::In => self.bring_in(group).await,
                Direction::Out => self.take_out(group).await,
            };
            let wait = match &moved {
                Ok(()) => {
                    if !is_done {
                        tracing::info!(group, ?direction, "everything is moved");
                    }
                    LOOK
                }
                Err(error) if error.passes() => {
                    tracing::warn!(group, %error, "a move goes on in a moment");
                    pause
                }
                Err(error) => {
                    tracing::error!(group, %error, "a move waits for somebody to do something");
                    LONG_PAUSE
                }
            };
            is_done = moved.is_ok();
            pause = if is_done { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
            // New certificates have to be told at once; an end of that is no news.
            if let Ok(Err(_)) = timeout(wait, backend.changed()).await {
                sleep(wait).await;
            }
        }
    }

    /// Says from time to time how far it is.
    async fn tell(&self) {
        let mut progress = self.progress();
        while progress.changed().await.is_ok() {
            sleep(TOLD).await;
            let now = progress.borrow_and_update().clone();
            tracing::info!(
                found = now.found,
                copied = now.copied,
                same = now.same,
                deleted = now.deleted,
                removed = now.removed,
                overruled = now.overruled,
                stays = now.stays,
                "moving"
            );
        }
        std::future::pending().await
    }

    /// Moves everything once, all groups to their end, and says what could not be moved.
    ///
    /// # Errors
    /// The first thing that somebody has to do something about.
    pub async fn run_once(&self, direction: Direction) -> Result<(), TransferError> {
        for group in self.groups() {
            let mut pause = PAUSES.0;
            loop {
                self.leads().await;
                let moved = match direction {
                    Direction::In => self.bring_in(&group).await,
                    Direction::Out => self.take_out(&group).await,
                };
                match moved {
                    Ok(()) => break,
                    Err(error) if error.passes() => {
                        tracing::warn!(group, %error, "a move goes on in a moment")
                    }
                    Err(error) => return Err(error),
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
        Ok(())
    }

    async fn leads(&self) {
        if self.leadership.leader().wait_for(|it| *it == Leader::Me).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
