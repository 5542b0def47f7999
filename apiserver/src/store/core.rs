//! What all parts of an open store have in common: the database, and what is known of its history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use larder_client::database::Database;
use larder_client::wire::{Request, Statement};
use tokio::sync::watch;

use super::row::{Row, number};
use super::{Revision, StoreError, StoreOptions};

/// What all parts of an open store have in common.
pub(crate) struct Core {
    pub(super) database: Arc<dyn Database>,
    pub(super) options: StoreOptions,
    /// The latest revision that this process has seen. Whatever it writes gets a later one, even if the database forgot.
    seen: AtomicU64,
    /// Beats when there may be something new.
    pub(super) pulse: watch::Sender<u64>,
}

/// How a revision stands to the history that the database has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The latest revision.
    pub(crate) latest: Revision,
    /// The revision up to which changes were forgotten.
    pub(crate) compacted: Revision,
    /// Whether the revision that was asked about was given in this history, as far as that is remembered.
    pub(crate) known: bool,
}

impl Standing {
    /// Whether what came after a revision is known.
    ///
    /// Revisions are not dense, so one that was not given here was given by a history that was lost in a restore, or made up.
    pub(crate) fn check(&self, asked: Revision) -> Result<(), StoreError> {
        if asked > self.latest {
            return Err(StoreError::Future { asked, current: self.latest });
        }
        if asked < self.compacted || !self.known {
            return Err(StoreError::Expired { asked, oldest: self.compacted });
        }
        Ok(())
    }

    /// Reads the columns that [`STANDING`] selects.
    pub(super) fn read(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self { latest: row.revision()?, compacted: row.revision()?, known: row.revision()? != 0 })
    }
}

/// Columns for [`Standing::read`] from the table `revision`; takes the revision twice.
pub(super) const STANDING: &str =
    "latest, compacted, (compacted = ? OR EXISTS (SELECT 1 FROM change WHERE revision = ?))";

impl Core {
    pub(super) fn new(database: Arc<dyn Database>, options: StoreOptions) -> Self {
        Self { database, options, seen: AtomicU64::new(0), pulse: watch::Sender::new(0) }
    }

    /// Notes a revision that was seen.
    pub(super) fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision, Ordering::AcqRel);
    }

    /// What the next revision has to be at least: the time, so that it is above whatever a history gave that was lost, whoever has seen it; and above
    /// everything that this process has seen, for clocks that were set back.
    pub(super) fn floor(&self) -> Revision {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Revision::try_from(elapsed.as_micros()).unwrap_or(0);
        now.max(self.seen.load(Ordering::Acquire) + 1)
    }

    /// Asks how a revision stands to the history.
    pub(crate) async fn standing(&self, asked: Revision) -> Result<Standing, StoreError> {
        let select = format!("SELECT {STANDING} FROM revision");
        let mut row = self.row(Statement::with(select, [number(asked), number(asked)])).await?;
        let standing = Standing::read(&mut row)?;
        self.saw(standing.latest);
        Ok(standing)
    }

    /// The only row of a question that has one.
    async fn row(&self, statement: Statement) -> Result<Row, StoreError> {
        let response = self.database.query(&Request::new([statement])).await?;
        let row = response.results.into_iter().next().and_then(|it| it.rows.into_iter().next());
        row.map(Row::from).ok_or_else(|| super::error::damaged("table revision is empty"))
    }

    /// Beats whenever there may be something new.
    pub(crate) fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    pub(super) fn beat(&self) {
        self.pulse.send_modify(|beats| *beats += 1);
    }
}
