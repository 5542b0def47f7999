//! The floor that a server on top of SQLite is measured against: the same SQLite, in process, on the same
//! file system, with the same durability, and nothing between the caller and the file.
//!
//! One connection on the caller's thread; the caller holds the clock. Checkpoints are SQLite's own
//! (`wal_autocheckpoint` at its default), since that is what an application gets that does not write a server.

mod beside;
mod rows;

use larder_wire::encode::{Encoder as _, Ndjson, Style, Trailer};
use rusqlite::{Connection, params};
use std::hint::black_box;
use std::path::Path;

use crate::statement::{self, CurrentRow};

pub use beside::Beside;
pub use rows::Rows;

const INSERT: &str = "INSERT INTO bench (id, body) VALUES (?, ?)";

/// How much is encoded before it is given to the sink.
const CHUNK: usize = 64 * 1024;

/// SQLite said no.
#[derive(Debug, thiserror::Error)]
#[error("SQLite in process: {0}")]
pub struct FloorError(#[from] rusqlite::Error);

/// A database of its own, used from one thread.
#[derive(Debug)]
pub struct Floor {
    connection: Connection,
}

/// What [`Floor::encode`] went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Rows stepped.
    pub rows: u64,
    /// Bytes written into the sink.
    pub bytes: u64,
}

impl Floor {
    /// Makes or opens the database in `path` with the settings of the sidecar: WAL, `synchronous=FULL`,
    /// pages of 4096 bytes.
    ///
    /// # Errors
    /// The file cannot be made, or the file system does not carry a WAL.
    pub fn open(path: &Path) -> Result<Self, FloorError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", 4096)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self { connection })
    }

    /// Runs SQL that sets the stage; not what is measured.
    ///
    /// # Errors
    /// SQLite refuses it.
    pub fn prepare(&self, sql: &str) -> Result<(), FloorError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Inserts one row into `bench`, in a commit of its own.
    ///
    /// # Errors
    /// The id is taken, or the disk fails.
    pub fn insert(&self, id: i64, body: &[u8]) -> Result<(), FloorError> {
        self.connection.prepare_cached(INSERT)?.execute(params![id, body])?;
        Ok(())
    }

    /// Inserts one row for each of `bodies` into `bench`, with ids from `first` on, all in one commit.
    ///
    /// # Errors
    /// An id is taken, or the disk fails; then nothing is inserted.
    pub fn insert_group<'b>(
        &mut self,
        first: i64,
        bodies: impl Iterator<Item = &'b [u8]>,
    ) -> Result<(), FloorError> {
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(INSERT)?;
            for (id, body) in (first..).zip(bodies) {
                statement.execute(params![id, body])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Rows in `bench`.
    ///
    /// # Errors
    /// There is no such table.
    pub fn count(&self) -> Result<i64, FloorError> {
        Ok(self.connection.query_row("SELECT count(*) FROM bench", [], |row| row.get(0))?)
    }

    /// Steps through a query and writes its rows as NDJSON into a sink that forgets them.
    ///
    /// # Errors
    /// The query fails.
    pub fn encode(&self, sql: &str) -> Result<Encoded, FloorError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut sink = Sink::default();
        let mut encoder = Ndjson::new(Style::default());
        encoder.start(&mut sink.chunk);
        let columns = statement::columns(&statement);
        encoder.columns(&mut sink.chunk, 0, &columns);
        let mut stepped = statement.query([])?;
        let mut rows = 0;
        while let Some(row) = stepped.next()? {
            encoder.row(&mut sink.chunk, &CurrentRow::new(row, columns.len()));
            rows += 1;
            sink.flush_if_full();
        }
        encoder.end(&mut sink.chunk, rows, 0.0);
        encoder.finish(&mut sink.chunk, &Trailer { rows, ..Trailer::default() });
        sink.flush();
        Ok(Encoded { rows, bytes: sink.bytes })
    }
}

#[derive(Default)]
struct Sink {
    chunk: Vec<u8>,
    bytes: u64,
}

impl Sink {
    fn flush_if_full(&mut self) {
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes += black_box(&self.chunk).len() as u64;
        self.chunk.clear();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn floor() -> (tempfile::TempDir, Floor) {
        let dir = tempfile::tempdir().unwrap();
        let floor = Floor::open(&dir.path().join("floor.db")).unwrap();
        floor.prepare("CREATE TABLE bench (id INTEGER PRIMARY KEY, body BLOB NOT NULL)").unwrap();
        (dir, floor)
    }

    #[test]
    fn it_is_as_durable_as_the_sidecar() {
        let (_dir, floor) = floor();
        let pragma = |name: &str| -> String {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            match floor.connection.pragma_query_value(None, name, read).unwrap() {
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            }
        };
        assert_eq!(pragma("journal_mode"), "wal");
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(pragma("page_size"), "Integer(4096)");
        assert_eq!(pragma("wal_autocheckpoint"), "Integer(1000)");
    }

    #[test]
    fn a_group_is_whole_or_absent() {
        let (_dir, mut floor) = floor();
        floor.insert(7, b"in the way").unwrap();
        assert!(floor.insert_group(5, [&b"a"[..], b"b", b"c"].into_iter()).is_err());
        assert_eq!(floor.count().unwrap(), 1);
        floor.insert_group(8, [&b"a"[..], b"b", b"c"].into_iter()).unwrap();
        assert_eq!(floor.count().unwrap(), 4);
    }

    #[test]
    fn every_row_is_encoded() {
        let (_dir, floor) = floor();
        let encoded = floor.encode("SELECT 1 AS one, 'two', 3.5 UNION ALL SELECT 4, NULL, x'00'").unwrap();
        let expected = concat!(
            r#"{"columns":["one","'two'","3.5"],"types":["","",""],"statement":0}"#,
            "\n[1,\"two\",3.5]\n[4,null,{\"$blob\":\"AA==\"}]\n",
            r#"{"end":{"rows":2,"statement_time":0.0,"time":0.0,"seq":0}}"#,
            "\n"
        );
        assert_eq!(encoded, Encoded { rows: 2, bytes: expected.len() as u64 });
    }
}
