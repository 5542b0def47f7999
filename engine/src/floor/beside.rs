//! A database that a server has open, read beside it: the same file, and nobody between it and the caller.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

use super::FloorError;

/// Reads, and nothing else.
#[derive(Debug)]
pub struct Beside {
    connection: Connection,
}

impl Beside {
    /// Opens the database in `path`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(path: &Path) -> Result<Self, FloorError> {
        Ok(Self { connection: Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)? })
    }

    /// Steps through a query and shows the first column of each row, which holds blobs, until `see` has had enough.
    ///
    /// # Errors
    /// The query fails, or the column holds something else. An error of `see` is the inner one.
    pub fn blobs<E>(
        &self,
        sql: &str,
        mut see: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, FloorError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut stepped = statement.query([])?;
        while let Some(row) = stepped.next()? {
            let blob = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            if let Err(error) = see(blob) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::floor::Floor;

    #[test]
    fn blobs_are_seen_in_order_until_somebody_has_had_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("served.db");
        Beside::open(&path).unwrap_err();
        let served = Floor::open(&path).unwrap();
        served.prepare("CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)").unwrap();
        served.prepare("INSERT INTO t (id, b) VALUES (2, x'02'), (1, x'01'), (3, 'no blob')").unwrap();
        let beside = Beside::open(&path).unwrap();
        let mut seen = Vec::new();
        let mut see = |limit: usize| {
            seen.clear();
            let seen = &mut seen;
            let result = beside.blobs("SELECT b FROM t ORDER BY id", |blob| {
                seen.push(blob[0]);
                if seen.len() < limit { Ok(()) } else { Err("enough") }
            });
            (result.map_err(drop), seen.clone())
        };
        assert_eq!(see(2), (Ok(Err("enough")), vec![1, 2]));
        assert_eq!(see(9), (Err(()), vec![1, 2]));
        served.prepare("UPDATE t SET b = x'03' WHERE id = 3").unwrap();
        assert_eq!(see(9), (Ok(Ok(())), vec![1, 2, 3]));
    }
}
