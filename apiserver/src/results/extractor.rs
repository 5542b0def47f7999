//! Making rows from objects, batch by batch.
//!
//! A batch takes the objects that the next changes were of and makes their rows from what they are now. That may be later than those changes: then the rows
//! are ahead, and are made once more when the log gets there. Where the log does not reach back, every object is gone through, in the order of ids,
//! and the log is followed from where that began.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::extract::{ResultRow, extract};
use super::table::{self, Batch, Gone, State, WHOLE};
use crate::store::{Core, Current, StoreError, Stored};

/// Changes, or objects, of a batch at most,
const COUNT: u64 = 64;
/// and bytes of rows from which on it ends.
const BYTES: usize = 1 << 20;
/// From this length on an object takes milliseconds, which no thread of the runtime should spend.
const LARGE: usize = 256 << 10;

/// Who makes rows. One batch at a time: several at once would do the same.
pub(super) struct Extractor {
    pub(super) core: Arc<Core>,
    turn: Mutex<()>,
    pub(super) seen: Seen,
}

/// What was last seen, for metrics.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) revision: AtomicU64,
    pub(super) latest: AtomicU64,
    pub(super) anew: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) cut: AtomicU64,
}

/// What a step found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is missing.
    Current,
    /// Something was done, by whomever: there may be more.
    Further,
}

/// Rows of a few objects.
#[derive(Default)]
struct Made {
    rows: Vec<(u64, Vec<ResultRow>)>,
    bytes: usize,
    cut: u64,
}

impl Extractor {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, turn: Mutex::new(()), seen: Seen::default() }
    }

    /// Makes the next batch.
    pub(super) async fn step(&self) -> Result<Step, StoreError> {
        let _turn = self.turn.lock().await;
        let state = table::state(&self.core).await?;
        self.saw(&state);
        if state.reaches(state.latest) {
            return Ok(Step::Current);
        }
        if state.is_lost() {
            self.begin_anew(state).await?;
        } else if state.walked < WHOLE {
            self.walk(state).await?;
        } else {
            self.follow(state).await?;
        }
        Ok(Step::Further)
    }

    /// All rows are to be made anew. Those that are there stay until it is their turn.
    async fn begin_anew(&self, from: State) -> Result<(), StoreError> {
        tracing::info!(from = from.revision, "making all result rows anew");
        let (revision, walked, gone) = (from.latest, 0, Gone::None);
        self.write(Batch { from, revision, walked, read_at: from.latest, gone, rows: Vec::new() }, 0).await
    }

    /// Goes through the next objects.
    async fn walk(&self, from: State) -> Result<(), StoreError> {
        let last = table::nth_with_rows(&self.core, from.walked, COUNT).await?.unwrap_or(WHOLE);
        let mut objects = self.core.objects_behind(from.walked, COUNT).await?;
        let (mut made, mut count, mut walked) = (Made::default(), 0, last);
        while let Some(object) = objects.next().await? {
            if object.id > last {
                break;
            }
            count += 1;
            let id = object.id;
            made.add(object).await?;
            if count == COUNT || made.bytes >= BYTES {
                walked = id;
                break;
            }
        }
        let (read_at, gone) = (objects.latest, Gone::Range(from.walked, walked));
        let batch = Batch { from, revision: from.revision, walked, read_at, gone, rows: made.rows };
        self.write(batch, made.cut).await
    }

    /// Follows the next changes.
    async fn follow(&self, from: State) -> Result<(), StoreError> {
        let touched = self.core.touched_after(from.revision, COUNT).await?;
        if touched.standing.check(from.revision).is_err() {
            // It was compacted or replaced meanwhile; the next step sees that.
            return Ok(());
        }
        let changes = touched.changes;
        let mut ids: Vec<u64> = Vec::new();
        for (_, id) in &changes {
            if *id != 0 && !ids.contains(id) {
                ids.push(*id);
            }
        }
        let mut objects = self.core.objects_of(&ids).await?;
        let mut made = Made::default();
        let mut is_whole = true;
        while let Some(object) = objects.next().await? {
            made.add(object).await?;
            if made.bytes >= BYTES {
                is_whole = false;
                break;
            }
        }
        // Of an object that did not come it is not known whether it is gone, unless all came.
        let known: BTreeSet<u64> = made.rows.iter().map(|(id, _)| *id).collect();
        let covered = |id: u64| is_whole || id == 0 || known.contains(&id);
        let done: Vec<_> = changes.iter().take_while(|(_, id)| covered(*id)).collect();
        let Some(&&(revision, _)) = done.last() else { return Ok(()) };
        let gone: BTreeSet<u64> = done.iter().map(|(_, id)| *id).chain(known).collect();
        let gone = Gone::Objects(gone.into_iter().collect());
        let batch = Batch { from, revision, walked: WHOLE, read_at: objects.latest, gone, rows: made.rows };
        self.write(batch, made.cut).await
    }

    async fn write(&self, batch: Batch, cut: u64) -> Result<(), StoreError> {
        let count: usize = batch.rows.iter().map(|(_, rows)| rows.len()).sum();
        let state = State { revision: batch.revision, walked: batch.walked, ..batch.from };
        if table::write(&self.core, batch).await? {
            self.saw(&state);
            self.seen.rows.fetch_add(count as u64, Ordering::Relaxed);
            self.seen.cut.fetch_add(cut, Ordering::Relaxed);
        }
        Ok(())
    }

    fn saw(&self, state: &State) {
        self.seen.revision.store(state.revision, Ordering::Relaxed);
        self.seen.latest.store(state.latest, Ordering::Relaxed);
        let is_anew = state.latest > 0 && (state.walked < WHOLE || state.is_lost());
        self.seen.anew.store(u64::from(is_anew), Ordering::Relaxed);
    }
}

impl Made {
    async fn add(&mut self, object: Current) -> Result<(), StoreError> {
        let Current { id, stored } = object;
        let key = stored.key.clone();
        let (rows, is_cut) = if stored.rest.len() < LARGE {
            rows(&stored)?
        } else {
            let made = tokio::task::spawn_blocking(move || rows(&stored)).await;
            made.unwrap_or_else(|error| Err(crate::store::damaged(error)))?
        };
        if is_cut {
            tracing::warn!(%key, "a report has more results than are kept as rows");
            self.cut += 1;
        }
        self.bytes += rows.iter().map(ResultRow::size).sum::<usize>();
        self.rows.push((id, rows));
        Ok(())
    }
}

/// The rows of an object. One whose bytes cannot mean any is not parsed.
fn rows(stored: &Stored) -> Result<(Vec<ResultRow>, bool), StoreError> {
    const LIST: &[u8] = br#""results":["#;
    if !stored.rest.windows(LIST.len()).any(|it| it == LIST) {
        return Ok((Vec::new(), false));
    }
    Ok(extract(&stored.object("", "")?.0))
}
