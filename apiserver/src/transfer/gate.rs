//! Whether a request may be answered from the store yet, or still.
//!
//! Between the moment in which requests begin to come here and the one in which the last write to etcd was copied, an object that was just made there is
//! not here: requests wait for that moment instead of seeing it. On the way out, writes, lists and watches are turned away with `429` and `Retry-After`
//! for the second that passes until kube-apiserver answers them itself: a write would be lost, and from a list that was answered here and a watch that
//! is answered there a client would learn nothing ever after, since revisions here are far above those of etcd. For the same reason watches that are
//! open are ended with `410` before kube-apiserver answers, and so is one that comes back in that second. Objects are read here until etcd is right.
//!
//! Every replica follows the stages in the store. Of what it knows nothing, it lets nothing through.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use larder_client::migrate::{Call, Traffic};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::stage::{Mark, STAGES, Stage};
use crate::store::{Selection, StoreError};
use crate::watch::{Event, From, Watches};

/// How long a request waits for the gate to open, at most. Clients give up after some ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(8);

/// Between two attempts to follow the store.
const PAUSE: Duration = Duration::from_millis(500);

/// Objects of this name do not exist: who asks for one wants to know who answers.
pub(super) const PROBE: &str = "larder-probe-";

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read one object.
    Read,
    /// Read many.
    List,
    /// Follow many.
    Watch,
    /// Change something.
    Write,
}

/// Why a request is not answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// It is to be sent again after a second: `429`.
    #[error("the objects of this group are moving between Larder and etcd; please try again")]
    Later,
    /// It was to find out who answers: `409`, since clients send again what is answered with `429`.
    #[error("Larder answers")]
    Probed,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct Pass {
    #[expect(dead_code, reason = "it is kept, not asked")]
    call: Option<Call>,
}

/// The gate before the groups of a server. Clones are one and the same.
#[derive(Clone)]
pub struct Gate(Option<Arc<Inner>>);

struct Inner {
    marks: watch::Sender<HashMap<String, Mark>>,
    /// Writes that are being answered.
    writes: Traffic,
    task: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gate {
    /// The gate of a server whose objects were never anywhere else.
    #[must_use]
    pub fn always_open() -> Self {
        Self(None)
    }

    /// The gate of a server whose objects move: it follows the store for as long as it is kept.
    #[must_use]
    pub fn following(watches: Watches) -> Self {
        let marks = watch::Sender::default();
        let task = tokio::spawn(follow(watches, marks.clone())).abort_handle();
        Self(Some(Arc::new(Inner { marks, writes: Traffic::default(), task })))
    }

    /// Waits until a request may be answered from the store. The pass has to be kept until the answer is made.
    ///
    /// # Errors
    /// It may not; also if its name is one that nothing has, by which a mover finds out who answers.
    pub async fn admit(&self, group: &str, intent: Intent, name: Option<&str>) -> Result<Pass, Turned> {
        let Some(inner) = &self.0 else { return Ok(Pass { call: None }) };
        if name.is_some_and(|it| it.starts_with(PROBE)) {
            return Err(Turned::Probed);
        }
        let mut marks = inner.marks.subscribe();
        let opened = timeout(PATIENCE, marks.wait_for(|it| !is_shut(it.get(group))));
        // What is waited for is a lock, held for reading: kept while it is taken once more below, it would lock out both and a writer in between for ever.
        let is_open = matches!(opened.await, Ok(Ok(_)));
        if !is_open {
            return Err(Turned::Later);
        }
        // First counted, then looked: who waits for the last write sees it, or it sees him.
        let call = (intent == Intent::Write).then(|| inner.writes.enter());
        match (inner.marks.borrow().get(group).map(|it| &it.stage), intent) {
            (Some(Stage::Open { .. } | Stage::Settled), _) | (Some(Stage::Leaving), Intent::Read) => {
                Ok(Pass { call })
            }
            // It is told at once that it is over.
            (Some(Stage::Leaving | Stage::Gone { .. }), Intent::Watch) => Ok(Pass { call }),
            _ => Err(Turned::Later),
        }
    }

    /// Returns when the watches of a group have to end with `410`, so that clients list again where they are answered then. That is before
    /// kube-apiserver answers: a watch that broke off in between would go on there.
    pub async fn gone(&self, group: &str) {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        let is_gone = |it: &HashMap<String, Mark>| {
            matches!(it.get(group), Some(Mark { stage: Stage::Leaving | Stage::Gone { .. }, .. }))
        };
        if inner.marks.subscribe().wait_for(is_gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Learns of a stage at once.
    pub(super) fn learn(&self, group: &str, mark: Option<&Mark>) {
        if let Some(inner) = &self.0 {
            inner.marks.send_modify(|marks| {
                match mark {
                    Some(mark) => learn(marks, group, mark.clone()),
                    None => drop(marks.remove(group)),
                };
            });
        }
    }

    /// Waits until no write is being answered, but not for ever.
    pub(super) async fn quiet(&self, limit: Duration) {
        if let Some(inner) = &self.0 {
            inner.writes.quiet(limit).await;
        }
    }
}

/// Whether it may open later.
fn is_shut(mark: Option<&Mark>) -> bool {
    mark.is_none_or(|it| matches!(it.stage, Stage::Copying { .. }))
}

fn learn(marks: &mut HashMap<String, Mark>, group: &str, mark: Mark) {
    if marks.get(group).is_none_or(|it| it.revision < mark.revision) {
        marks.insert(group.to_owned(), mark);
    }
}

async fn follow(watches: Watches, marks: watch::Sender<HashMap<String, Mark>>) {
    loop {
        if let Err(error) = follow_once(&watches, &marks).await {
            tracing::debug!(%error, "the stages of moves cannot be followed");
        }
        sleep(PAUSE).await;
    }
}

async fn follow_once(
    watches: &Watches,
    marks: &watch::Sender<HashMap<String, Mark>>,
) -> Result<(), StoreError> {
    let mut watch = watches.watch(STAGES, Selection::default(), From::Present(None)).await?;
    loop {
        match watch.next().await? {
            Event::Added(told) | Event::Modified(told) => {
                let mark = Mark::of(&told.stored)?;
                marks.send_modify(|it| learn(it, &told.stored.key.name, mark));
            }
            Event::Deleted(told) => {
                marks.send_modify(|it| drop(it.remove(&told.stored.key.name)));
            }
            Event::InitialEnd(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn gate() -> Gate {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        Gate(Some(Arc::new(Inner { marks: watch::Sender::default(), writes: Traffic::default(), task })))
    }

    fn mark(stage: Stage, revision: u64) -> Mark {
        Mark { stage, revision, was_defined: true }
    }

    #[tokio::test]
    async fn a_group_that_is_left_ends_watches_before_anything_else() {
        let gate = gate();
        gate.learn("g", Some(&mark(Stage::Leaving, 1)));
        let admitted = async |intent| gate.admit("g", intent, None).await.map(drop);
        assert_eq!(admitted(Intent::Read).await, Ok(()));
        // Let through, it is told that it is over, wherever it wants to go on.
        assert_eq!(admitted(Intent::Watch).await, Ok(()));
        gate.gone("g").await;
        assert_eq!(admitted(Intent::List).await, Err(Turned::Later));
        assert_eq!(admitted(Intent::Write).await, Err(Turned::Later));
        gate.learn("g", Some(&mark(Stage::Gone { until: 1, kept: Vec::new() }, 2)));
        assert_eq!(admitted(Intent::Read).await, Err(Turned::Later));
        assert_eq!(admitted(Intent::Watch).await, Ok(()));
    }

    #[test]
    fn requests_and_stages_that_begin_do_not_hold_each_other_up_for_ever() {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(4).enable_all().build().expect("a runtime");
            runtime.block_on(crowd());
            tell.send(()).expect("somebody waits");
        });
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "they hold each other up");
    }

    async fn crowd() {
        let gate = gate();
        gate.learn("g", Some(&mark(Stage::Settled, 1)));
        let requests = (0..3).map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                for _ in 0..20_000 {
                    gate.admit("g", Intent::Write, None).await.expect("it is open");
                }
            })
        });
        let requests: Vec<_> = requests.collect();
        for revision in 2..20_000 {
            gate.learn("g", Some(&mark(Stage::Settled, revision)));
            tokio::task::yield_now().await;
        }
        for request in requests {
            request.await.expect("it ends");
        }
    }
}
