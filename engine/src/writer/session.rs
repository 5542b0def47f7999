//! The writer's open database, as long as it can be trusted: its connection, what is known of compiled statements,
//! the commit number and the state of the log.

use larder_wire::{Error, Kind, Statement, code};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{CachedStatement, Connection};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::bookkeeping::{self, CommitNumber};
use crate::connection::{self, CACHED_STATEMENTS, Guarded};
use crate::error::{classify, primary_code};
use crate::policy::{Footprint, INTERNAL_PREFIX};
use crate::queries::{Queries, Slot};
use crate::shared::Shared;
use crate::telemetry::Telemetry;
use crate::wal::{Checkpoint, Mode, WalPolicy};
use crate::{ffi, statement};

/// An open database that only the writer's thread touches.
pub(crate) struct Session {
    pub(crate) guarded: Guarded,
    number: Cell<CommitNumber>,
    footprints: RefCell<HashMap<Box<str>, Rc<Footprint>>>,
    wal: RefCell<WalPolicy>,
}

/// Footprints are small; beyond this many, they and the compiled statements are all forgotten.
const FOOTPRINTS: usize = 8 * CACHED_STATEMENTS;

/// Free pages are left alone while they are less than one in so many: what comes next may use them.
const FREE_SHARE: i64 = 64;
/// Pages that are freed at once, 8 MiB: whoever writes meanwhile waits for as long as it takes.
const FREED_AT_ONCE: u32 = 2048;

/// The tables and the index of [`bookkeeping`].
const INTERNAL_OBJECTS: i64 = 3;

impl Session {
    pub(crate) fn new(mut guarded: Guarded, shared: &Shared) -> rusqlite::Result<Self> {
        shared.frames.follow(&mut guarded.connection)?;
        let connection = &guarded.connection;
        let (number, page_size) = guarded.recorder.trusted(|| {
            bookkeeping::create(connection)?;
            let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            Ok::<_, rusqlite::Error>((CommitNumber::load(connection)?, page_size))
        })?;
        shared.watchdog.watch(&guarded.slot, Slot::interrupt_if_due);
        ffi::time_syncs(connection, Arc::clone(&shared.telemetry));
        let page_size = u64::try_from(page_size).unwrap_or(4096);
        let wal = WalPolicy::new(shared.frames.clone(), &shared.options, page_size);
        Ok(Self {
            guarded,
            number: Cell::new(number),
            footprints: RefCell::default(),
            wal: RefCell::new(wal),
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.guarded.connection
    }

    /// Runs one of the server's own statements.
    pub(crate) fn server_sql(&self, sql: &str) -> rusqlite::Result<()> {
        self.trusted(|connection| connection.prepare_cached(sql)?.raw_execute().map(|_| ()))
    }

    /// Runs the server's own SQL, which no policy judges.
    pub(crate) fn trusted<T>(&self, run: impl FnOnce(&Connection) -> T) -> T {
        self.guarded.recorder.trusted(|| run(&self.guarded.connection))
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.guarded.connection.is_autocommit()
    }

    /// Leaves no transaction open, whatever happened.
    pub(super) fn roll_back(&self) {
        if self.in_transaction()
            && let Err(error) = self.server_sql("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// Compiles a caller's statement and says what it would do.
    pub(super) fn compile(
        &self,
        statement: &Statement,
    ) -> Result<(CachedStatement<'_>, Rc<Footprint>), Error> {
        let (connection, recorder) = (&self.guarded.connection, &self.guarded.recorder);
        // The cache of compiled statements knows them without the blanks around them, and so do the footprints.
        let sql = statement.sql.trim();
        let (compiled, seen) = statement::compile(connection, recorder, &statement.sql)?;
        if let Some(seen) = seen {
            return Ok((compiled, self.remember(sql, seen)));
        }
        if let Some(footprint) = self.footprints.borrow().get(sql) {
            return Ok((compiled, Rc::clone(footprint)));
        }
        // It was in the cache and nobody was judged for it: it is one of the server's own, which are compiled
        // unjudged. Who sends the text of one (`COMMIT`, say) does not get that, but is judged.
        compiled.discard();
        let (compiled, seen) = statement::compile(connection, recorder, &statement.sql)?;
        Ok((compiled, self.remember(sql, seen.unwrap_or_default())))
    }

    fn remember(&self, sql: &str, seen: Footprint) -> Rc<Footprint> {
        let footprint = Rc::new(seen);
        if self.footprints.borrow().len() >= FOOTPRINTS {
            // Both together, so that no cached statement is without its footprint. The one just compiled is in
            // use and comes back to the cache later, with its footprint remembered below.
            self.forget_compiled();
        }
        self.footprints.borrow_mut().insert(sql.into(), Rc::clone(&footprint));
        footprint
    }

    /// After the schema changed: what was known of compiled statements may be wrong.
    pub(super) fn forget_compiled(&self) {
        self.guarded.connection.flush_prepared_statement_cache();
        self.footprints.borrow_mut().clear();
    }

    /// A rename is judged by the old name, so the new ones are looked at when it is done.
    pub(super) fn check_names(&self) -> Result<(), Error> {
        let count = "SELECT count(*) FROM sqlite_schema WHERE substr(lower(name), 1, 8) = ?1";
        let found: rusqlite::Result<i64> =
            self.trusted(|connection| connection.query_row(count, [INTERNAL_PREFIX], |row| row.get(0)));
        match found {
            Ok(INTERNAL_OBJECTS) => Ok(()),
            Ok(_) => {
                let message = format!("names that begin with {INTERNAL_PREFIX} are the server's own");
                Err(Error::new(Kind::Denied, code::STATEMENT_REFUSED, message))
            }
            Err(error) => Err(classify(&error)),
        }
    }

    pub(super) fn has_deferred_violations(&self) -> bool {
        ffi::has_deferred_violations(&self.guarded.connection)
    }

    pub(super) fn after_group(&self, queries: &Queries, telemetry: &dyn Telemetry) -> rusqlite::Result<()> {
        self.trusted(|connection| self.wal.borrow_mut().step(connection, queries, telemetry))
    }

    pub(super) fn checkpoint_idle(&self, telemetry: &dyn Telemetry) -> rusqlite::Result<()> {
        self.trusted(|connection| self.wal.borrow_mut().idle(connection, telemetry))
    }

    /// Gives free pages back to the file system, some at a time, if they are more than a small share of all: those of the end of the file take their
    /// places. Nothing happens if the database was made without `auto_vacuum`, or there is no room for moving pages.
    pub(super) fn shrink(&self) -> rusqlite::Result<()> {
        let done = self.trusted(|connection| {
            let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            if count("freelist_count")? <= count("page_count")? / FREE_SHARE {
                return Ok(());
            }
            // Each step frees one page.
            let mut freeing = connection.prepare(&format!("PRAGMA incremental_vacuum({FREED_AT_ONCE})"))?;
            let mut freed = freeing.raw_query();
            while freed.next()?.is_some() {}
            Ok(())
        });
        match done {
            Err(error) if primary_code(&error) == Some(rusqlite::ffi::SQLITE_FULL) => Ok(()),
            done => done,
        }
    }

    pub(crate) fn checkpoint(&self, mode: Mode, telemetry: &dyn Telemetry) -> rusqlite::Result<Checkpoint> {
        self.trusted(|connection| self.wal.borrow().checkpoint(connection, mode, telemetry))
    }

    pub(super) fn forget_keys(&self, ttl: Duration) -> rusqlite::Result<usize> {
        self.trusted(|connection| bookkeeping::forget_keys(connection, ttl))
    }

    /// Sets a PRAGMA as the server.
    pub(super) fn set(&self, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.trusted(|connection| connection::set(connection, name, value))
    }

    /// The number of the last commit.
    pub(crate) fn last_commit(&self) -> u64 {
        self.number.get().last
    }

    /// The last commit, and what is reserved.
    pub(crate) fn number(&self) -> CommitNumber {
        self.number.get()
    }

    /// After the database was replaced: numbers go on from here.
    pub(crate) fn continue_from(&self, number: CommitNumber) {
        self.number.set(number);
    }

    /// Length of the database.
    pub(crate) fn bytes(&self) -> rusqlite::Result<u64> {
        self.trusted(|connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            Ok(u64::try_from(pages * page_size).unwrap_or(0))
        })
    }

    /// Writes a copy without gaps to a new file.
    pub(crate) fn vacuum_into(&self, path: &Path) -> rusqlite::Result<()> {
        let path = path.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
        self.trusted(|connection| {
            connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
            for config in [
                DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE,
                DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE,
            ] {
                connection.set_db_config(config, true)?;
            }
            let result = connection.execute("VACUUM INTO ?1", [path]).map(|_| ());
            for config in [
                DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE,
                DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE,
            ] {
                connection.set_db_config(config, false)?;
            }
            connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
            result
        })
    }

    /// Before it is closed in doubt: what the log holds is not to be moved, since it may not be what was written.
    pub(super) fn abandon(&self) {
        let kept = self.connection().set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        if let Err(error) = kept {
            tracing::error!(%error, "the log may be moved into the database although it is in doubt");
        }
    }

    /// The disk is full: empties the log, so that commits find room in it. Readers are not waited for.
    pub(super) fn make_room(&self, telemetry: &dyn Telemetry) -> rusqlite::Result<()> {
        self.trusted(|connection| self.wal.borrow_mut().make_room(connection, telemetry))
    }

    /// Lets SQLite look after its statistics.
    pub(crate) fn optimize(&self) -> rusqlite::Result<()> {
        self.trusted(|connection| connection.execute_batch("PRAGMA optimize = 0x10002"))?;
        self.forget_compiled();
        Ok(())
    }

    /// Before a clean end: gives back unused commit numbers and empties the log.
    pub(crate) fn settle(&self, telemetry: &dyn Telemetry) {
        let settled = self.trusted(|connection| self.number.get().settle(connection));
        if let Err(error) = settled {
            tracing::warn!(%error, "the commit number could not be settled; numbers will be skipped");
        }
        match self.checkpoint(Mode::Truncate, telemetry) {
            Ok(done) => {
                tracing::info!(outcome = ?done.outcome, "the write-ahead log is moved into the database")
            }
            Err(error) => tracing::warn!(%error, "the write-ahead log stays: the next start will read it"),
        }
    }
}
