//! The tables that reports and objects stand in: the numbered files of `schema/`, applied in order, each once, whoever starts first.
//!
//! A version is applied in one transaction that begins by entering it as the next one. Of several that try at once, one enters it; the
//! others fail at that, look again, and find it done. No lock is held, so none can be left behind. What a file may contain, and how two
//! neighbouring versions run side by side, is said in `schema/README.md`.

use larder_wire::{Kind, Request, Statement, Value};
use sha2::{Digest as _, Sha256};

use crate::database::{Database, DatabaseError};

/// One file of `schema/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// All versions, in order, without gaps.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "reports", sql: include_str!("../../schema/0001_reports.sql") },
    Migration { version: 2, name: "objects", sql: include_str!("../../schema/0002_objects.sql") },
];

/// Why the tables are not as this client needs them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database did not do it. Making tables takes the role `owner`.
    #[error("cannot prepare the schema: {0}")]
    Database(#[from] DatabaseError),
    /// A version was made from another text than this client has: one of the two was edited.
    #[error("version {version} ({name}) of the schema is another one here than in this program")]
    Altered {
        /// The version.
        version: i64,
        /// Its name in the database.
        name: String,
    },
    /// The database was prepared by a later release, which says that this one cannot work on it.
    #[error(
        "the schema is at version {found}, which programs can use that know {compatible_from} or more; this one knows {known}"
    )]
    Newer {
        /// The version in the database.
        found: i64,
        /// The oldest version that can work on it.
        compatible_from: i64,
        /// The version that this client knows.
        known: i64,
    },
    /// What stands in `schema_version` is nothing that a client writes.
    #[error("the record of the schema cannot be read: {0}")]
    Unreadable(String),
}

/// A line of the record.
struct Applied {
    version: i64,
    name: String,
    sha256: String,
    compatible_from: i64,
}

/// Makes the tables that are missing, and says which version the database is at: that of this client, or a later one that is compatible.
///
/// ```
/// use larder_client::{database::Embedded, schema};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let database = Embedded::open(directory.path())?;
/// let version = schema::prepare(&database).await?;
/// assert_eq!(schema::prepare(&database).await?, version);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`SchemaError`].
pub async fn prepare(database: &dyn Database) -> Result<i64, SchemaError> {
    apply(database, MIGRATIONS).await
}

/// Looks whether this client can work on the database, and changes nothing: for those who only read. Says which version it is at, 0 if it has no
/// tables yet.
///
/// # Errors
/// See [`SchemaError`].
pub async fn verify(database: &dyn Database) -> Result<i64, SchemaError> {
    check(&record(database).await?, MIGRATIONS)
}

async fn apply(database: &dyn Database, migrations: &[Migration]) -> Result<i64, SchemaError> {
    loop {
        let applied = record(database).await?;
        let current = check(&applied, migrations)?;
        let Some(next) = migrations.iter().find(|it| it.version > current) else { return Ok(current) };
        match database.execute(&next.request()).await {
            Ok(_) => {}
            // Somebody else was faster, or is about to be found to have been.
            Err(error) if error.kind() == Some(Kind::Expectation) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Migration {
    /// All of it in one transaction. Entering the version fails unless it is the next one.
    fn request(&self) -> Request {
        let enter = Statement::with(
            "INSERT INTO schema_version (version, name, sha256, compatible_from) SELECT ?1, ?2, ?3, ?4 \
             WHERE (SELECT COALESCE(MAX(version), 0) FROM schema_version) = ?1 - 1",
            [self.version.into(), self.name.into(), self.sha256().into(), self.compatible_from().into()],
        );
        let mut statements = Vec::new();
        if self.version == 1 {
            statements.push(Statement::new(RECORD));
        }
        statements.push(enter.expecting(1));
        statements.extend(self.statements().map(Statement::new));
        Request { timeout_ms: Some(TIMEOUT_MS), ..Request::new(statements) }
    }

    fn statements(&self) -> impl Iterator<Item = String> {
        let lines: Vec<&str> = self.sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let statements: Vec<String> = lines
            .split_inclusive(|line| line.trim_end().ends_with(';'))
            .map(|lines| lines.join("\n").trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect();
        statements.into_iter()
    }

    fn compatible_from(&self) -> i64 {
        let line = self.sql.lines().find_map(|line| line.strip_prefix("-- compatible-from:"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(self.version)
    }

    fn sha256(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An index over a large table takes a while.
const TIMEOUT_MS: u64 = 60_000;

const RECORD: &str = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
                      sha256 TEXT NOT NULL, compatible_from INTEGER NOT NULL)";

/// What was applied, in order; nothing if there is no record yet.
async fn record(database: &dyn Database) -> Result<Vec<Applied>, SchemaError> {
    let select = "SELECT version, name, sha256, compatible_from FROM schema_version ORDER BY version";
    match database.query(&Request::new([Statement::new(select)])).await {
        Ok(response) => response.results.into_iter().flat_map(|it| it.rows).map(Applied::read).collect(),
        // There is no such table. If it is something else, making the table will say so.
        Err(error) if error.kind() == Some(Kind::Invalid) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

impl Applied {
    fn read(row: Vec<Value>) -> Result<Self, SchemaError> {
        match <[Value; 4]>::try_from(row) {
            Ok(
                [
                    Value::Integer(version),
                    Value::Text(name),
                    Value::Text(sha256),
                    Value::Integer(compatible_from),
                ],
            ) => Ok(Self { version, name, sha256, compatible_from }),
            other => Err(SchemaError::Unreadable(format!("{other:?}"))),
        }
    }
}

/// The version that the database is at, if this client can work on it.
fn check(applied: &[Applied], migrations: &[Migration]) -> Result<i64, SchemaError> {
    for it in applied {
        let known = migrations.iter().find(|migration| migration.version == it.version);
        if known.is_some_and(|migration| migration.sha256() != it.sha256) {
            return Err(SchemaError::Altered { version: it.version, name: it.name.clone() });
        }
    }
    let known = migrations.last().map_or(0, |it| it.version);
    match applied.last() {
        None => Ok(0),
        Some(&Applied { version: found, compatible_from, .. })
            if found > known && compatible_from > known =>
        {
            Err(SchemaError::Newer { found, compatible_from, known })
        }
        Some(last) => Ok(last.version),
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests;
