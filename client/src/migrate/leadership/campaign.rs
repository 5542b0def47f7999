//! Campaigning for a seat, whoever keeps it: try, renew, step down in time, resign.
//!
//! What a [`Seat`] has to know is how to take it, how to leave it and who sits there; when to do which of these is here, once. A leader
//! that could not renew for [`Terms::deadline`] steps down by itself, before the server lets somebody else in.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Leader, Leadership, NotLeading};

/// Who sits where one wants to sit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// This process.
    Ours,
    /// Somebody else; their name, if they gave one.
    Theirs(Option<String>),
    /// Nobody.
    Free,
}

/// Why the keeper of a seat could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SeatError(pub String);

/// A seat that one at a time can have, kept by a server.
#[async_trait]
pub trait Seat: Send + Sync + 'static {
    /// Takes it if it is free, renews it if it is ours, and says who has it now.
    async fn take(&self) -> Result<Hold, SeatError>;

    /// Asks the server, and it alone, who has it. Changes nothing.
    async fn ask(&self) -> Result<Hold, SeatError>;

    /// Leaves it, if it is ours, so that another need not wait.
    async fn leave(&self) -> Result<(), SeatError>;
}

/// How long a seat lasts and how often it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long after its last renewal the server keeps it for its holder.
    pub ttl: Duration,
    /// How long a leader that cannot renew believes in itself. Less than the `ttl`.
    pub deadline: Duration,
    /// How often it is renewed, or asked for.
    pub every: Duration,
}

impl Terms {
    /// The terms of a seat of this time to live: as client-go has them, two thirds of it and a seventh, roughly.
    #[must_use]
    pub fn of(ttl: Duration) -> Self {
        Self { ttl, deadline: ttl * 2 / 3, every: ttl / 6 }
    }
}

/// A campaign for a seat, running in the background until it is dropped or resigned from.
pub struct Campaign<S: Seat> {
    seat: Arc<S>,
    leader: watch::Sender<Leader>,
    stop: watch::Sender<bool>,
    limit: Duration,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<S: Seat> Campaign<S> {
    /// Begins to campaign.
    pub fn start(seat: S, terms: Terms) -> Self {
        let (seat, leader, stop) = (Arc::new(seat), watch::Sender::default(), watch::Sender::new(false));
        let task = tokio::spawn(campaign(Arc::clone(&seat), terms, leader.clone(), stop.subscribe()));
        Self { seat, leader, stop, limit: terms.deadline, task: Mutex::new(Some(task)) }
    }
}

#[async_trait]
impl<S: Seat> Leadership for Campaign<S> {
    fn leader(&self) -> watch::Receiver<Leader> {
        self.leader.subscribe()
    }

    async fn confirm(&self) -> Result<(), NotLeading> {
        if *self.stop.borrow() {
            return Err(NotLeading::Deposed(None));
        }
        let asked = timeout(self.limit, self.seat.ask()).await;
        match asked.unwrap_or_else(|_| Err(SeatError(format!("no answer within {:?}", self.limit)))) {
            Ok(Hold::Ours) => Ok(()),
            Ok(Hold::Theirs(who)) => Err(NotLeading::Deposed(Some(who.unwrap_or_else(|| "somebody".into())))),
            Ok(Hold::Free) => Err(NotLeading::Deposed(None)),
            Err(SeatError(reason)) => Err(NotLeading::Unconfirmed(reason)),
        }
    }

    async fn resign(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take() {
            // It fails only if it was aborted with the runtime.
            drop(task.await);
        }
    }
}

/// The task sees it and leaves the seat; nobody waits for that.
impl<S: Seat> Drop for Campaign<S> {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn campaign<S: Seat>(
    seat: Arc<S>,
    terms: Terms,
    leader: watch::Sender<Leader>,
    mut stop: watch::Receiver<bool>,
) {
    let mut renewed = None;
    let mut turns = interval(terms.every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            now = turn(&*seat, terms, &mut renewed, &mut turns) => {
                leader.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
            }
        }
    }
    leader.send_replace(Leader::Unknown);
    // A server that cannot be told lets the seat go when its time is over.
    drop(timeout(terms.deadline, seat.leave()).await);
}

/// One attempt: who leads after it. A leader has until its deadline, and not longer, for an attempt that succeeds.
async fn turn<S: Seat>(
    seat: &S,
    terms: Terms,
    renewed: &mut Option<Instant>,
    turns: &mut tokio::time::Interval,
) -> Leader {
    let patience = renewed.map_or(terms.deadline, |at| terms.deadline.saturating_sub(at.elapsed()));
    let asked = timeout(patience, async {
        turns.tick().await;
        // The time counts from before the call: the server's begins no earlier.
        (Instant::now(), seat.take().await)
    });
    match asked.await {
        Ok((before, Ok(Hold::Ours))) => {
            *renewed = Some(before);
            Leader::Me
        }
        Ok((_, Ok(Hold::Theirs(who)))) => {
            *renewed = None;
            Leader::Other(who.unwrap_or_default())
        }
        Ok((_, Ok(Hold::Free))) => {
            *renewed = None;
            Leader::Unknown
        }
        Ok((_, Err(_))) if renewed.is_some_and(|at| at.elapsed() < terms.deadline) => Leader::Me,
        Ok((_, Err(_))) | Err(_) => {
            *renewed = None;
            Leader::Unknown
        }
    }
}
