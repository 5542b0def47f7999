//! The rows in the database, and how far they were made: every statement that writes them.

use larder_client::wire::{Kind, Request, Statement, Value};

use super::extract::ResultRow;
use crate::store::{Core, Revision, Row, StoreError, number};

/// How far rows were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The rows say what objects were at this revision or later; those of objects that did not change since, as they are. 0 before the first.
    pub(super) revision: Revision,
    /// The last object that was gone through while all rows are made anew, or [`WHOLE`].
    pub(super) walked: u64,
    /// The latest revision.
    pub(super) latest: Revision,
    /// The revision up to which changes were forgotten.
    pub(super) compacted: Revision,
}

/// Nothing is left to be gone through.
pub(super) const WHOLE: u64 = i64::MAX as u64;

/// The columns of [`State::read`], one row.
pub(super) const STATE: &str =
    "SELECT x.revision, x.walked, r.latest, r.compacted FROM extraction x, revision r";

impl State {
    pub(super) fn read(row: &mut Row) -> Result<Self, StoreError> {
        Ok(Self {
            revision: row.revision()?,
            walked: row.revision()?,
            latest: row.revision()?,
            compacted: row.revision()?,
        })
    }

    /// Whether the rows are those of the latest revision, or of one that is as late as `asked`.
    pub(super) fn reaches(&self, asked: Revision) -> bool {
        // Where nobody ever wrote there is nothing to be made.
        let is_there = self.revision == self.latest || self.revision >= asked;
        self.latest == 0 || !self.is_lost() && self.walked == WHOLE && is_there
    }

    /// Whether the log does not reach back to where rows were made.
    pub(super) fn is_lost(&self) -> bool {
        self.revision == 0 || self.revision < self.compacted
    }
}

/// How far rows were made.
pub(super) async fn state(core: &Core) -> Result<State, StoreError> {
    State::read(&mut core.row(Statement::new(STATE)).await?)
}

/// Which rows go.
pub(super) enum Gone {
    None,
    /// Those of these objects.
    Objects(Vec<u64>),
    /// Those of the objects behind one, up to another.
    Range(u64, u64),
}

/// A batch: the rows that go and those that come, and how far they are made then.
pub(super) struct Batch {
    pub(super) from: State,
    pub(super) revision: Revision,
    pub(super) walked: u64,
    /// The latest revision of the snapshot that was read.
    pub(super) read_at: Revision,
    pub(super) gone: Gone,
    /// Objects by their ids, and their rows.
    pub(super) rows: Vec<(u64, Vec<ResultRow>)>,
}

/// Fails if somebody else was here, or if the history is not the one that was read.
const ADVANCE: &str = "UPDATE extraction SET revision = ?3, walked = ?4 WHERE id = 1 AND revision = ?1 AND walked = ?2 \
    AND EXISTS (SELECT 1 FROM revision r WHERE r.compacted = ?5 OR EXISTS (SELECT 1 FROM change c WHERE c.revision = ?5))";

const FORGET: &str = "DELETE FROM result WHERE object IN (SELECT value FROM json_each(?))";
const FORGET_RANGE: &str = "DELETE FROM result WHERE object > ? AND object <= ?";

const INSERT: &str = "INSERT INTO result (object, position, at, severity, result, scored, policy, rule, \
    kind, namespace, name, category, source, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Writes a batch; `false` if it did not count any more, so that nothing was written.
pub(super) async fn write(core: &Core, batch: Batch) -> Result<bool, StoreError> {
    match core.database.execute(&batch.request()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Some(Kind::Expectation) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Batch {
    fn request(self) -> Request {
        let Self { from, revision, walked, read_at, gone, rows } = self;
        let values = [from.revision, from.walked, revision, walked, read_at].map(number);
        let mut statements = vec![Statement::with(ADVANCE, values).expecting(1)];
        match gone {
            Gone::None => {}
            Gone::Objects(ids) => {
                let ids = serde_json::to_string(&ids).expect("numbers are JSON");
                statements.push(Statement::with(FORGET, [ids.into()]));
            }
            Gone::Range(low, high) => {
                statements.push(Statement::with(FORGET_RANGE, [number(low), number(high)]));
            }
        }
        let values: Vec<Vec<Value>> = rows.into_iter().flat_map(|(id, rows)| values_of(id, rows)).collect();
        if !values.is_empty() {
            statements.push(Statement::many(INSERT, values));
        }
        Request::new(statements)
    }
}

fn values_of(id: u64, rows: Vec<ResultRow>) -> impl Iterator<Item = Vec<Value>> {
    (0..).zip(rows).map(move |(position, row)| {
        let numbers = [number(id), number(position), row.at.into(), row.severity.rank().into()];
        let outcome = [row.result.name().into(), i64::from(row.scored).into()];
        let names = [row.policy, row.rule, row.kind, row.namespace, row.name];
        let others = [row.category, row.source, row.message];
        let texts = names.into_iter().chain(others).map(Value::Text);
        numbers.into_iter().chain(outcome).chain(texts).collect()
    })
}

/// The last of the next objects that have rows, or `None` if they are few: the objects that are gone may have left as many rows as they like, and all
/// in one transaction would take long.
pub(super) async fn nth_with_rows(core: &Core, behind: u64, count: u64) -> Result<Option<u64>, StoreError> {
    let select = "SELECT count(*), max(object) FROM \
                  (SELECT DISTINCT object FROM result WHERE object > ? ORDER BY object LIMIT ?) found";
    let mut row = core.row(Statement::with(select, [number(behind), number(count)])).await?;
    let (found, last) = (row.revision()?, row.optional_revision()?);
    Ok(last.filter(|_| found == count))
}

/// How many objects there are, and how many of them up to one.
pub(super) async fn walked(core: &Core, upto: u64) -> Result<(u64, u64), StoreError> {
    let select = "SELECT count(*), (SELECT count(*) FROM object WHERE id <= ?) FROM object";
    let mut row = core.row(Statement::with(select, [number(upto)])).await?;
    Ok((row.revision()?, row.revision()?))
}

/// How many changes came after a revision.
pub(super) async fn behind(core: &Core, revision: Revision) -> Result<u64, StoreError> {
    let select = "SELECT count(*) FROM change WHERE revision > ?";
    core.row(Statement::with(select, [number(revision)])).await?.revision()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder_client::database::{Database, Embedded};

    use super::*;
    use crate::store::{Store, StoreOptions};

    async fn store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().expect("a directory");
        let database: Arc<dyn Database> = Arc::new(Embedded::open(home.path()).expect("a database"));
        let store = Store::open(database, StoreOptions::default()).await.expect("a store");
        (home, store)
    }

    fn batch(from: State, read_at: Revision) -> Batch {
        let row = ResultRow { policy: "p".to_owned(), ..ResultRow::default() };
        let (revision, walked, gone) = (from.latest, WHOLE, Gone::Objects(vec![7]));
        Batch { from, revision, walked, read_at, gone, rows: vec![(7, vec![row])] }
    }

    async fn rows(core: &Core) -> u64 {
        let count = Statement::new("SELECT count(*) FROM result");
        core.row(count).await.and_then(|mut it| it.revision()).expect("a count")
    }

    #[tokio::test]
    async fn a_batch_counts_once() {
        let (_home, store) = store().await;
        let core = store.core();
        let from = state(core).await.expect("a state");
        assert!(write(core, batch(from, from.latest)).await.expect("a database"));
        assert!(!write(core, batch(from, from.latest)).await.expect("a database"), "it was made from there");
        let now = state(core).await.expect("a state");
        assert_eq!((now.revision, now.walked, rows(core).await), (from.latest, WHOLE, 1));
    }

    #[tokio::test]
    async fn what_was_read_in_another_history_is_not_written() {
        let (_home, store) = store().await;
        let core = store.core();
        let from = state(core).await.expect("a state");
        for read_at in [from.latest + 1, from.latest - 1] {
            assert!(
                !write(core, batch(from, read_at)).await.expect("a database"),
                "{read_at} was not given here"
            );
        }
        assert_eq!((state(core).await.expect("a state"), rows(core).await), (from, 0));
        // Others may have written since.
        core.begin().await.expect("a revision");
        assert!(write(core, batch(from, from.latest)).await.expect("a database"));
    }
}
