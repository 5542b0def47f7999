//! Rows that a server has stored, taken to a floor: the same rows, with nobody between the caller and the file.

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::hint::black_box;
use std::path::Path;

use super::{Floor, FloorError};

/// All rows of some tables, in memory, table by table in the order of their insertion.
#[derive(Debug)]
pub struct Rows {
    tables: Vec<Table>,
}

#[derive(Debug, PartialEq)]
struct Table {
    create: Vec<String>,
    insert: String,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Reads tables of the database in `path`, which a server may have open.
    ///
    /// # Errors
    /// There is no such table.
    pub fn of(path: &Path, tables: &[&str]) -> Result<Self, FloorError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let tables = tables.iter().map(|table| Table::of(&connection, table)).collect::<Result<_, _>>()?;
        Ok(Self { tables })
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }

    /// Bytes of their texts and blobs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let length = |value: &Value| match value {
            Value::Text(text) => text.len() as u64,
            Value::Blob(blob) => blob.len() as u64,
            _ => 0,
        };
        self.tables.iter().flat_map(|table| table.rows.iter().flatten()).map(length).sum()
    }
}

impl Table {
    fn of(connection: &Connection, table: &str) -> Result<Self, FloorError> {
        let mut made = connection.prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY rowid",
        )?;
        let create = made.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut all = connection.prepare(&format!("SELECT * FROM {table} ORDER BY rowid"))?;
        let columns = all.column_count();
        let places = vec!["?"; columns].join(", ");
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        let rows = all.query_map([], row)?.collect::<Result<_, _>>()?;
        Ok(Self { create, insert: format!("INSERT INTO {table} VALUES ({places})"), rows })
    }
}

impl Floor {
    /// Makes the tables of `rows` with their indexes.
    ///
    /// # Errors
    /// One is there already.
    pub fn make_room_for(&self, rows: &Rows) -> Result<(), FloorError> {
        rows.tables.iter().flat_map(|table| &table.create).try_for_each(|sql| self.prepare(sql))
    }

    /// Inserts `rows`, so many in a commit.
    ///
    /// # Errors
    /// A row is there already, or the disk fails.
    pub fn insert_rows(&mut self, rows: &Rows, in_a_commit: usize) -> Result<(), FloorError> {
        for table in &rows.tables {
            for group in table.rows.chunks(in_a_commit) {
                let transaction = self.connection.transaction()?;
                {
                    let mut statement = transaction.prepare_cached(&table.insert)?;
                    for row in group {
                        statement.execute(params_from_iter(row))?;
                    }
                }
                transaction.commit()?;
            }
        }
        Ok(())
    }

    /// Steps through a query and takes every row into memory of the caller's, to forget it there. Says how many there were.
    ///
    /// # Errors
    /// The query fails.
    pub fn read(&self, sql: &str) -> Result<u64, FloorError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut stepped = statement.query([])?;
        let mut rows = 0;
        while let Some(row) = stepped.next()? {
            let row: Vec<Value> = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            black_box(row);
            rows += 1;
        }
        Ok(rows)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_on_the_other_side() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from.db", "to.db"].map(|name| dir.path().join(name));
        let one = Floor::open(&from).unwrap();
        one.prepare("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b BLOB)").unwrap();
        one.prepare("CREATE INDEX t_a ON t (a)").unwrap();
        one.prepare("INSERT INTO t (a, b) VALUES ('x', x'00'), (NULL, x''), (1.5, 'y')").unwrap();
        one.prepare("CREATE TABLE u (c TEXT PRIMARY KEY); INSERT INTO u VALUES ('four')").unwrap();
        let tables = ["t", "u"];
        let rows = Rows::of(&from, &tables).unwrap();
        assert_eq!((rows.count(), rows.bytes()), (4, 1 + 1 + 3 + 1 + 4));
        let mut other = Floor::open(&to).unwrap();
        other.make_room_for(&rows).unwrap();
        other.insert_rows(&rows, 2).unwrap();
        assert_eq!(Rows::of(&to, &tables).unwrap().tables, rows.tables);
        assert_eq!(other.read("SELECT b, a FROM t").unwrap(), 3);
        assert!(other.insert_rows(&rows, 2).is_err());
    }
}
