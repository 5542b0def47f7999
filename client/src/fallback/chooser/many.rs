//! Many reports, as they come: what a controller reads when it starts.
//!
//! A task reads page by page, as [`Reports::list`](super::Reports::list) does, so that nothing that is moved meanwhile is missed; the reports of a
//! page are then streamed from the primary, and those on the shelf are read a few at a time, as is what the stream no longer has. Never more
//! than these few are in memory.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::answer::{Answered, ReportsError, Store};
use super::list::{Item, StoresPage};
use super::{Away, Reports};
use crate::fallback::primary::{Kept, KeptStream, PrimaryError};
use crate::reports::ReportKey;

/// Reports of a page.
const PAGE: usize = 500;
/// Reports that are read from the shelf at once, and that wait to be taken.
const AT_ONCE: usize = 8;

/// Reports as they come, in the order of their keys. Dropping it stops the reading.
pub struct ReportsStream {
    reports: mpsc::Receiver<Result<Answered, ReportsError>>,
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl ReportsStream {
    /// The next report; `None` behind the last.
    ///
    /// # Errors
    /// No store answers any more, or a report cannot be read; the reading goes on behind the latter. [`ReportsError::Incomplete`] behind the last
    /// report if not all came.
    pub async fn next(&mut self) -> Result<Option<Answered>, ReportsError> {
        self.reports.recv().await.transpose()
    }

    /// Whether every store has told of everything that it holds. It is only known after the last report; before it, and if the reading has
    /// broken off, it is `false`.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end.load(std::sync::atomic::Ordering::Acquire)
    }
}

impl Reports {
    /// Every report whose key begins with `prefix`: of each the newest that is visible.
    #[must_use]
    pub fn get_many(&self, prefix: &str) -> ReportsStream {
        let (sender, reports) = mpsc::channel(AT_ONCE);
        let end = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (it, prefix, complete) = (self.clone(), prefix.to_owned(), std::sync::Arc::clone(&end));
        tokio::spawn(async move {
            match it.read_pages(&prefix, &sender).await {
                Ok(true) => complete.store(true, std::sync::atomic::Ordering::Release),
                // Who reads to the end without asking whether that was all is told so.
                Ok(false) => drop(sender.send(Err(ReportsError::Incomplete)).await),
                Err(Stopped::By(error)) => drop(sender.send(Err(error)).await),
                Err(Stopped::ByReader) => {}
            }
        });
        ReportsStream { reports, end }
    }

    /// Reads page after page; says whether all stores told of everything.
    async fn read_pages(&self, prefix: &str, sender: &Sender) -> Result<bool, Stopped> {
        let (mut after, mut complete) = (None, true);
        loop {
            let page = self.list_stores(prefix, after.as_ref(), PAGE).await.map_err(Stopped::By)?;
            after = page.next.clone();
            complete &= page.complete & self.send_page(page, sender).await?;
            if after.is_none() {
                return Ok(complete);
            }
        }
    }

    /// Sends the reports of a page; says whether none of them was missed.
    async fn send_page(&self, page: StoresPage, sender: &Sender) -> Result<bool, Stopped> {
        let keys: Vec<_> =
            page.items.iter().filter(|it| it.in_primary && !it.on_shelf).map(|it| it.key.clone()).collect();
        let mut from_primary = FromPrimary::begin(self, &keys).await;
        let (primary, shelf): (Vec<_>, Vec<_>) =
            page.items.into_iter().partition(|it| it.in_primary && !it.on_shelf);
        // What cannot be read is asked for as well: the answer, or the error, says what is known of it.
        let unreadable = page.unreadable.into_iter().map(|it| it.0);
        let mut alone: Vec<_> = shelf.into_iter().map(|it| it.key).chain(unreadable).collect();
        alone.sort_unstable();
        let mut on_shelf = stream::iter(alone)
            .map(|key| async move { (self.get(&key).await, key) })
            .buffered(AT_ONCE)
            .peekable();
        let mut complete = page.complete;
        for item in primary {
            while let Some((found, _)) = std::pin::Pin::new(&mut on_shelf).next_if(|it| it.1 < item.key).await
            {
                complete &= send(sender, found).await?;
            }
            let found = from_primary.take(&item, page.complete).await;
            complete &= send(sender, found).await?;
        }
        while let Some((found, _)) = on_shelf.next().await {
            complete &= send(sender, found).await?;
        }
        Ok(complete)
    }
}

type Sender = mpsc::Sender<Result<Answered, ReportsError>>;

/// Why a reading has ended early.
enum Stopped {
    By(ReportsError),
    ByReader,
}

/// Sends what was found; says whether nothing was missed.
async fn send(sender: &Sender, found: Result<Option<Answered>, ReportsError>) -> Result<bool, Stopped> {
    let complete = match &found {
        Ok(Some(answered)) => answered.complete,
        Ok(None) => return Ok(true),
        Err(_) => false,
    };
    let Some(found) = found.transpose() else { return Ok(complete) };
    sender.send(found).await.map_err(|_| Stopped::ByReader)?;
    Ok(complete)
}

/// The reports of a page that stand in the primary alone.
struct FromPrimary<'r> {
    reports: &'r Reports,
    stream: Option<Box<dyn KeptStream>>,
    /// One that came before it was asked for.
    ahead: HashMap<ReportKey, Kept>,
}

impl<'r> FromPrimary<'r> {
    async fn begin(reports: &'r Reports, keys: &[ReportKey]) -> Self {
        let stream =
            if keys.is_empty() { Err(Away::None) } else { reports.ask(0, |it| it.stream(keys)).await };
        Self { reports, stream: stream.ok(), ahead: HashMap::new() }
    }

    /// The report of one line of the page. Where the stream does not have it, it was moved or deleted meanwhile: it is asked for again.
    async fn take(&mut self, item: &Item, complete: bool) -> Result<Option<Answered>, ReportsError> {
        while let Some(stream) = &mut self.stream {
            if self.ahead.contains_key(&item.key) || self.ahead.keys().any(|it| *it > item.key) {
                break;
            }
            match stream.next().await {
                Ok(Some(kept)) => drop(self.ahead.insert(kept.report.key.clone(), kept)),
                // It is asked for alone, which tells why.
                Err(PrimaryError::Unreadable(_)) => {}
                Ok(None) | Err(_) => self.stream = None,
            }
        }
        match self.ahead.remove(&item.key) {
            Some(Kept { report, version }) if version >= item.version => {
                self.reports.room.counters.answered(Store::Primary, complete);
                Ok(Some(Answered { report, version, store: Store::Primary, complete }))
            }
            _ => self.reports.get(&item.key).await,
        }
    }
}
