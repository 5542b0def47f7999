//! Moving for as long as a process runs: whenever it leads, every group, again after what has gone wrong, and looked after once it is done.

use std::sync::Arc;

use futures_util::future::join_all;
use larder_client::migrate::Leader;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{Progress, Transfer, TransferError};

/// Between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Before something is tried again that somebody has to do something about. Every attempt at taking over that is taken back costs clients some seconds.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// How often what is done is looked after: registrations that somebody changed are put right.
const LOOK: Duration = Duration::from_secs(300);

/// How long nobody may lead without being told of.
const LEADERLESS: Duration = Duration::from_secs(30);

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
        self.tally.count(|it| it.open = groups.iter().cloned().collect());
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
            let mut moved = if is_done { Ok(()) } else { self.check_rights(group, direction).await };
            if moved.is_ok() {
                if !self.leads(group, &mut leader).await {
                    return;
                }
                moved = self.go(group, direction).await;
            }
            let wait = self.note(group, direction, &moved, pause);
            is_done = moved.is_ok();
            pause = if is_done { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
            // New certificates have to be told at once; an end of that is no news.
            if let Ok(Err(_)) = timeout(wait, backend.changed()).await {
                sleep(wait).await;
            }
        }
    }

    /// Says how an attempt ended; returns when the next one is due.
    fn note(
        &self,
        group: &str,
        direction: Direction,
        moved: &Result<(), TransferError>,
        pause: Duration,
    ) -> Duration {
        let Err(error) = moved else {
            let mut is_new = false;
            self.tally.count(|it| is_new = it.open.remove(group));
            if is_new {
                tracing::info!(group, ?direction, "everything is moved");
            }
            return LOOK;
        };
        self.tally.count(|it| {
            it.errors += 1;
            it.open.insert(group.to_owned());
        });
        if error.passes() {
            tracing::warn!(group, %error, "a move goes on in a moment");
            return pause;
        }
        tracing::error!(group, %error, "a move waits for somebody to do something");
        // To ask again about rights costs nobody anything.
        if matches!(error, TransferError::Forbidden { .. }) { PAUSES.1 } else { LONG_PAUSE }
    }

    /// Waits until this process leads, and says what stands in the way if nobody does. `false` if it never will.
    async fn leads(&self, group: &str, leader: &mut watch::Receiver<Leader>) -> bool {
        loop {
            if let Ok(led) = timeout(LEADERLESS, leader.wait_for(|it| *it == Leader::Me)).await {
                return led.is_ok();
            }
            if *leader.borrow() == Leader::Unknown
                && let Err(error) = self.leadership.confirm().await
            {
                tracing::warn!(group, %error, "nobody moves");
            }
        }
    }

    async fn go(&self, group: &str, direction: Direction) -> Result<(), TransferError> {
        match direction {
            Direction::In => self.bring_in(group).await,
            Direction::Out => self.take_out(group).await,
        }
    }

    /// Says from time to time how far it is.
    async fn tell(&self) {
        let mut progress = self.progress();
        let mut before = (progress.borrow_and_update().clone(), Instant::now());
        while progress.changed().await.is_ok() {
            sleep(TOLD).await;
            let now = (progress.borrow_and_update().clone(), Instant::now());
            log(&before, &now);
            before = now;
        }
        std::future::pending().await
    }
}

/// Says how far it is, and how fast it was since it was said last.
fn log(before: &(Progress, Instant), now: &(Progress, Instant)) {
    let (progress, seconds) = (&now.0, now.1.duration_since(before.1).as_secs_f64());
    let handled = progress.handled().saturating_sub(before.0.handled());
    tracing::info!(
        found = progress.found,
        copied = progress.copied,
        same = progress.same,
        deleted = progress.deleted,
        removed = progress.removed,
        overruled = progress.overruled,
        stays = progress.stays,
        errors = progress.errors,
        left = progress.left(),
        rate = (handled as f64 / seconds.max(f64::EPSILON)).round(),
        phases = progress.phases(),
        "moving"
    );
}
