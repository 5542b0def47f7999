//! A client that watches: goes on where it was, and begins anew only if it is told that its revision is expired.

use std::time::Duration;

use larder_apiserver::store::{Revision, StoreError};
use larder_apiserver::watch::{Event, From, Watch, Watches};

use super::oracle::{Choice, Objects, Oracle};
use crate::suite::{RESOURCE, event};

/// What one client has seen.
pub(super) struct Watcher {
    pub(super) choice: Choice,
    watch: Option<Watch>,
    /// Up to here it was told everything.
    at: Revision,
    /// From here on `events` are all.
    since: Revision,
    events: Vec<String>,
    /// The objects that it was told of when it began, until the end of them came.
    initial: Option<Objects>,
    /// Where it was when it was told that it is too late.
    refused: bool,
    /// Where what there was ended, and what that was, until the model has judged it.
    began: Option<(Revision, Objects)>,
    pub(super) expired: usize,
}

impl Watcher {
    pub(super) fn new(choice: Choice) -> Self {
        Self {
            choice,
            watch: None,
            at: 0,
            since: 0,
            events: Vec::new(),
            initial: None,
            refused: false,
            began: None,
            expired: 0,
        }
    }

    /// Loses its connection.
    pub(super) fn disconnect(&mut self) {
        // What was told for sure is what a bookmark would have said.
        if let Some(watch) = self.watch.take() {
            self.at = self.at.max(watch.told());
        }
    }

    /// Watches, if it does, while others write.
    pub(super) async fn follow_until(&mut self, mut over: tokio::sync::watch::Receiver<bool>) {
        while let Some(mut watch) = self.watch.take() {
            tokio::select! {
                _ = over.wait_for(|over| *over) => {
                    self.watch = Some(watch);
                    return;
                }
                event = watch.next() => self.hear(watch, event),
            }
        }
    }

    fn hear(&mut self, watch: Watch, heard: Result<Event, StoreError>) {
        match heard {
            Ok(event) => {
                self.take(&event);
                self.watch = Some(watch);
            }
            Err(StoreError::Expired { .. }) => self.refused = true,
            Err(error) => panic!("{error}"),
        }
    }

    /// Watches until it was told everything up to a revision, and looks whether that is what the model says.
    pub(super) async fn reach(&mut self, watches: &Watches, upto: Revision, oracle: &Oracle) {
        let reached = tokio::time::timeout(Duration::from_secs(30), self.follow(watches, upto, oracle)).await;
        assert!(reached.is_ok(), "{:?} is stuck at {} before {upto}", self.choice, self.at);
        if let Some((revision, told)) = self.began.take() {
            let found =
                |objects: Objects| objects.into_iter().map(|(key, (at, _))| (key, at)).collect::<Vec<_>>();
            let expected = oracle.objects(revision, self.choice);
            assert_eq!(found(told), found(expected), "{:?} at {revision}", self.choice);
        }
        let expected = oracle.events(self.since, upto, self.choice);
        assert_eq!(self.events, expected, "{:?} from {} to {upto}", self.choice, self.since);
        (self.since, self.at) = (upto.max(self.since), upto.max(self.at));
        self.events.clear();
    }

    async fn follow(&mut self, watches: &Watches, upto: Revision, oracle: &Oracle) {
        loop {
            if std::mem::take(&mut self.refused) {
                self.expire(oracle);
            }
            let Some(mut watch) = self.watch.take() else {
                self.connect(watches, oracle).await;
                continue;
            };
            if self.initial.is_none() && watch.told() >= upto {
                self.watch = Some(watch);
                return;
            }
            // Nothing may come that concerns it, so it looks again.
            match tokio::time::timeout(Duration::from_millis(10), watch.next()).await {
                Err(_) => self.watch = Some(watch),
                Ok(heard) => self.hear(watch, heard),
            }
        }
    }

    async fn connect(&mut self, watches: &Watches, oracle: &Oracle) {
        let from = if self.at == 0 { From::Present(None) } else { From::Revision(self.at) };
        match watches.watch(RESOURCE, self.choice.selection(), from).await {
            Ok(watch) => {
                assert!(self.at == 0 || !oracle.lost.contains(&self.at), "{} is lost", self.at);
                self.initial = (self.at == 0).then(Objects::new);
                self.watch = Some(watch);
            }
            Err(StoreError::Expired { .. }) => self.refused = true,
            Err(error) => panic!("{error}"),
        }
    }

    fn expire(&mut self, oracle: &Oracle) {
        let since = oracle.since(self.at);
        let is_lost = oracle.lost.contains(&self.at) || oracle.lost.contains(&self.since);
        assert!(is_lost || since >= super::world::WINDOW, "{} expired after {since} changes", self.at);
        self.expired += 1;
        (self.at, self.since, self.initial, self.began) = (0, 0, None, None);
        self.events.clear();
    }

    fn take(&mut self, it: &Event) {
        match (it, &mut self.initial) {
            (Event::Added(told), Some(initial)) => {
                let key = told.stored.key.to_string();
                assert!(initial.insert(key, (told.stored.revision, String::new())).is_none());
            }
            (Event::InitialEnd(revision), initial) => {
                self.began = Some((*revision, initial.take().expect("what there was ends once")));
                (self.at, self.since) = (*revision, *revision);
            }
            (Event::Added(told) | Event::Modified(told) | Event::Deleted(told), _) => {
                assert!(told.stored.revision > self.at, "{} comes after {}", event(it), self.at);
                self.at = told.stored.revision;
                self.events.push(event(it));
            }
        }
    }
}
