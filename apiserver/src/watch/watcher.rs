//! One watcher: a position in the history, from which on it is told what concerns it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::watch;

use super::change::{Change, Event, Told};
use super::ring::Found;
use super::{Following, From, Place};
use crate::store::{At, List, ListQuery, Revision, Selection, Store, StoreError};

/// A watch. Dropping it ends it.
pub struct Watch {
    place: Place,
    resource: String,
    selection: Selection,
    /// The history that the position belongs to.
    history: u64,
    latest: watch::Receiver<Revision>,
    stage: Stage,
    /// Every change up to here was taken.
    position: Revision,
    /// Every change up to here was told, if it had to be.
    told: Revision,
    /// Changes that were taken and not told yet.
    ahead: VecDeque<Arc<Change>>,
}

enum Stage {
    /// Tells what there is.
    Initial(Box<List>),
    /// Waits for a revision that nobody has written yet.
    Future,
    /// Tells what changes.
    Changes,
}

impl Watch {
    pub(super) async fn begin(
        place: Place,
        resource: &str,
        selection: Selection,
        from: From,
    ) -> Result<Self, StoreError> {
        let following = &*place.0;
        let (history, latest) = following.ring.join(resource);
        let store = &following.store;
        let (stage, position) = match from {
            From::Now => {
                let _turn = following.turn().await;
                (Stage::Changes, store.revision().await?)
            }
            From::Present(at_least) => {
                let mut turn = following.turn().await;
                if let Some(revision) = at_least
                    && store.revision().await? < revision
                {
                    // Who waits for others to write keeps nobody from asking.
                    drop(turn);
                    store.wait_for(revision).await?;
                    turn = following.turn().await;
                }
                let list = initial(store, resource, &selection, at_least).await?;
                drop(turn);
                let revision = list.revision;
                (Stage::Initial(Box::new(list)), revision)
            }
            From::Revision(revision) if following.ring.knows(revision) => (Stage::Changes, revision),
            From::Revision(revision) => {
                let _turn = following.turn().await;
                (behind(store, revision).await?, revision)
            }
        };
        let resource = resource.to_owned();
        let told = if matches!(stage, Stage::Initial(_)) { 0 } else { position };
        let ahead = VecDeque::new();
        Ok(Self { place, resource, selection, history, latest, stage, position, told, ahead })
    }

    /// The next event. May be dropped while it waits, and called again: nothing is lost.
    ///
    /// # Errors
    /// [`StoreError::Expired`] if the history no longer reaches back to this watch; the watch is over.
    pub async fn next(&mut self) -> Result<Event, StoreError> {
        loop {
            match &mut self.stage {
                Stage::Initial(list) => {
                    if let Some(stored) = list.next().await? {
                        return Ok(Event::Added(Arc::new(Told::new(stored))));
                    }
                    self.stage = Stage::Changes;
                    self.told = self.position;
                    return Ok(Event::InitialEnd(self.position));
                }
                Stage::Future => self.await_future().await?,
                Stage::Changes => {
                    if let Some(event) = self.take()? {
                        return Ok(event);
                    }
                    self.advance().await?;
                }
            }
        }
    }

    /// The revision up to which everything was told, for a bookmark. Meant to be asked while [`Watch::next`] waits. It is 0 until what there was
    /// has been told.
    #[must_use]
    pub fn told(&self) -> Revision {
        if !matches!(self.stage, Stage::Changes) || !self.ahead.is_empty() {
            return self.told;
        }
        match self.following().ring.after(&self.resource, self.position, self.history) {
            Found::Nothing(head) => head,
            Found::Changes(_) | Found::Behind | Found::Lost => self.told,
        }
    }

    /// The next of the changes that were taken that has to be told.
    fn take(&mut self) -> Result<Option<Event>, StoreError> {
        while let Some(change) = self.ahead.front() {
            let event = change.event(&self.selection)?;
            self.told = change.revision();
            self.ahead.pop_front();
            if event.is_some() {
                return Ok(event);
            }
        }
        self.told = self.position;
        Ok(None)
    }

    /// Takes the next changes, or waits for some.
    async fn advance(&mut self) -> Result<(), StoreError> {
        self.latest.borrow_and_update();
        match self.following().ring.after(&self.resource, self.position, self.history) {
            Found::Changes(changes) => {
                self.position = changes.last().map_or(self.position, |it| it.revision());
                self.ahead.extend(changes);
                Ok(())
            }
            Found::Behind => self.catch_up().await,
            Found::Nothing(_) => self.wait().await,
            Found::Lost => Err(self.expired()),
        }
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        // The ring lives as long as this watch does, so nothing ends here.
        self.latest.changed().await.map_err(|_| self.expired())
    }

    /// Reads from the database what has left the ring.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let following = &*self.place.0;
        let turn = following.turn().await;
        let batch = following.store.core().changes_after(self.position, Some(&self.resource)).await?;
        drop(turn);
        batch.standing.check(self.position).map_err(|_| self.expired())?;
        // These are this watcher's alone, and nobody's memory but its own.
        let alone = Arc::new(AtomicUsize::new(0));
        self.ahead.extend(batch.changes.into_iter().map(|it| Arc::new(Change::new(it, &alone))));
        self.position = batch.upto;
        Ok(())
    }

    /// A revision that was not yet given when the watch began may turn out to be one of a history that was lost.
    async fn await_future(&mut self) -> Result<(), StoreError> {
        self.latest.borrow_and_update();
        match self.following().ring.after(&self.resource, self.position, self.history) {
            Found::Lost => return Err(self.expired()),
            _ if self.following().ring.head() < self.position => return self.wait().await,
            _ => {}
        }
        let following = &*self.place.0;
        let turn = following.turn().await;
        let stage = behind(&following.store, self.position).await?;
        drop(turn);
        self.stage = stage;
        Ok(())
    }

    fn following(&self) -> &Following {
        &self.place.0
    }

    fn expired(&self) -> StoreError {
        StoreError::Expired { asked: self.told, oldest: self.following().ring.head() }
    }
}

async fn initial(
    store: &Store,
    resource: &str,
    selection: &Selection,
    at_least: Option<Revision>,
) -> Result<List, StoreError> {
    let at = at_least.map_or(At::Latest, At::AtLeast);
    let query = ListQuery { selection: selection.clone(), at, after: None, limit: None };
    store.list(resource, &query).await
}

/// How a watch begins behind a revision that is not in memory.
async fn behind(store: &Store, revision: Revision) -> Result<Stage, StoreError> {
    match store.core().standing(revision).await?.check(revision) {
        Ok(()) => Ok(Stage::Changes),
        Err(StoreError::Future { .. }) => Ok(Stage::Future),
        Err(error) => Err(error),
    }
}
