//! The server's own tables: the commit number and the idempotency keys. They are part of the database, so that they
//! are changed in the transactions that they speak of.

use larder_wire::{Error, Kind, code};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::connection::Guarded;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS _larder_state (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The answer is kept as the caller got it, so that a repetition after a lost connection gets the same.
CREATE TABLE IF NOT EXISTS _larder_idempotency (
    identity    TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer      BLOB NOT NULL,
    created_at  INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (identity, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS _larder_idempotency_by_age ON _larder_idempotency (created_at);
";

/// Creates what is missing.
pub(crate) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))
}

/// When a database is opened: creates what is missing and gives the number of the last commit.
pub(crate) fn open(guarded: &Guarded) -> rusqlite::Result<u64> {
    guarded.recorder.trusted(|| {
        create(&guarded.connection)?;
        CommitNumber::load(&guarded.connection).map(|number| number.last)
    })
}

/// Commits are numbered without writing each number down: this many are reserved at a time, in the transaction of
/// the first of them, and what a crash leaves unused is skipped.
const RESERVED: u64 = 1_000_000;

/// The number of the last commit, and up to where numbers are reserved on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitNumber {
    pub(crate) last: u64,
    reserved: u64,
}

impl CommitNumber {
    /// Where an earlier process reserved up to, or ended.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let read = "SELECT value FROM _larder_state WHERE name = 'seq'";
        let stored: Option<i64> = connection.query_row(read, [], |row| row.get(0)).optional()?;
        let last = stored.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
        Ok(Self { last, reserved: last })
    }

    /// Inside a transaction: makes sure that the next number is reserved. What to take over after the commit.
    pub(crate) fn reserve(self, connection: &Connection) -> rusqlite::Result<Self> {
        if self.last < self.reserved {
            return Ok(self);
        }
        let reserved = self.last + RESERVED;
        store(connection, reserved)?;
        Ok(Self { last: self.last, reserved })
    }

    /// The number after this one.
    pub(crate) fn next(self) -> Self {
        Self { last: self.last + 1, ..self }
    }

    /// At a clean end: gives back what was reserved and not used.
    pub(crate) fn settle(self, connection: &Connection) -> rusqlite::Result<()> {
        if self.last == self.reserved { Ok(()) } else { store(connection, self.last) }
    }

    /// In a database that was restored: numbers go on after the greater of both, so that none is used twice.
    pub(crate) fn raise(connection: &Connection, at_least: u64) -> rusqlite::Result<Self> {
        let stored = Self::load(connection)?.last.max(at_least) + 1;
        store(connection, stored)?;
        Ok(Self { last: stored, reserved: stored })
    }
}

fn store(connection: &Connection, seq: u64) -> rusqlite::Result<()> {
    let write = "INSERT INTO _larder_state (name, value) VALUES ('seq', ?1) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    connection.prepare_cached(write)?.execute(params![seq]).map(|_| ())
}

/// Names a request, so that a repetition is answered and not done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's identity: keys of different callers have nothing to do with each other.
    pub identity: String,
    /// The caller's key.
    pub key: String,
    /// Digest of what is asked for.
    pub fingerprint: [u8; 32],
}

impl Idempotency {
    /// The answer that was given before under this key.
    ///
    /// # Errors
    /// The key was used for another request.
    pub(crate) fn find<A: for<'de> Deserialize<'de>>(
        &self,
        connection: &Connection,
    ) -> Result<Option<A>, Error> {
        let read = "SELECT fingerprint, answer FROM _larder_idempotency WHERE identity = ?1 AND key = ?2";
        let found = connection
            .prepare_cached(read)
            .and_then(|mut it| {
                it.query_row(params![self.identity, self.key], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(|error| crate::error::classify(&error))?;
        let Some((fingerprint, answer)): Option<(Vec<u8>, Vec<u8>)> = found else { return Ok(None) };
        if fingerprint != self.fingerprint {
            let message = format!("idempotency key {:?} was used for another request", self.key);
            return Err(Error::new(Kind::Mismatch, code::IDEMPOTENCY_MISMATCH, message));
        }
        let broken = |error| {
            Error::new(Kind::Internal, code::INTERNAL, format!("a kept answer cannot be read: {error}"))
        };
        rmp_serde::from_slice(&answer).map(Some).map_err(broken)
    }

    /// Inside the transaction of the request: keeps its answer.
    pub(crate) fn keep(&self, connection: &Connection, answer: &impl Serialize) -> Result<(), Error> {
        let write = "INSERT INTO _larder_idempotency (identity, key, fingerprint, answer, created_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5)";
        let internal =
            |error: rmp_serde::encode::Error| Error::new(Kind::Internal, code::INTERNAL, error.to_string());
        let answer = rmp_serde::to_vec_named(answer).map_err(internal)?;
        connection
            .prepare_cached(write)
            .and_then(|mut it| it.execute(params![self.identity, self.key, self.fingerprint, answer, now()]))
            .map(|_| ())
            .map_err(|error| crate::error::classify(&error))
    }
}

/// Keys that are forgotten at a time, so that no group waits long.
pub(crate) const FORGOTTEN_AT_ONCE: usize = 1000;

/// Forgets keys older than `ttl`, at most [`FORGOTTEN_AT_ONCE`]. Says how many.
pub(crate) fn forget_keys(connection: &Connection, ttl: Duration) -> rusqlite::Result<usize> {
    let delete = "DELETE FROM _larder_idempotency WHERE (identity, key) IN \
                  (SELECT identity, key FROM _larder_idempotency WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
    let before = now() - i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    connection.prepare_cached(delete)?.execute(params![before, FORGOTTEN_AT_ONCE as i64])
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
