//! Writes: each one batch that takes the next revision, keeps what it replaces, and fails as a whole if something else stands there.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use larder_client::database::DatabaseError;
use larder_client::wire::{Kind, Request, Statement, Value};

use super::core::Core;
use super::row::{Row, number};
use super::terms::Terms;
use super::{Draft, Key, Revision, StoreError, Stored, body};

/// The next revision. First in every batch: the database has one writer, so until the batch ends nobody else takes one.
const NEXT: &str = "UPDATE revision SET latest = CASE WHEN latest < ?1 THEN ?1 ELSE latest + 1 END, kept = kept + 1 \
                    WHERE id = 1 RETURNING latest";

const CREATE: &str = "INSERT INTO object (id, resource, key, revision, uid, version, terms, hashes, body) \
                      SELECT latest, ?, ?, latest, ?, ?, ?, ?, ? FROM revision";

const INDEX: &str =
    "INSERT INTO term (hash, object) SELECT h.value, r.latest FROM revision r, json_each(?) h";

const CREATED: &str = "INSERT INTO change (revision, resource, key, object, deleted, at) \
                       SELECT latest, ?, ?, latest, 0, ? FROM revision";

/// Keeps what stands there, if it is what is expected.
const REPLACED: &str = "INSERT INTO change (revision, resource, key, object, deleted, at, \
                        prev_revision, prev_version, prev_terms, prev_body) \
                        SELECT r.latest, o.resource, o.key, o.id, ?4, ?5, o.revision, o.version, o.terms, o.body \
                        FROM revision r, object o WHERE o.resource = ?1 AND o.key = ?2 AND o.revision = ?3";

/// Where the terms are the same, which is the rule, neither of the two finds anything to do.
const UNINDEX: &str = "DELETE FROM term WHERE (hash, object) IN \
                       (SELECT h.value, o.id FROM object o, json_each(o.hashes) h \
                       WHERE o.resource = ?1 AND o.key = ?2 AND o.hashes <> ?3)";
const REINDEX: &str = "INSERT INTO term (hash, object) SELECT h.value, o.id FROM object o, json_each(?3) h \
                       WHERE o.resource = ?1 AND o.key = ?2 AND o.hashes <> ?3";

const UPDATE: &str = "UPDATE object SET revision = (SELECT latest FROM revision), uid = ?3, version = ?4, terms = ?5, hashes = ?6, \
                      body = ?7 WHERE resource = ?1 AND key = ?2";

const DELETE: &str = "DELETE FROM object WHERE resource = ? AND key = ?";

impl Core {
    /// Gives a revision to the fact that this process begins: everything that a lost history gave is below it.
    pub(crate) async fn begin(&self) -> Result<Revision, StoreError> {
        let mark = CREATED.replace("SELECT latest, ?, ?, latest", "SELECT latest, '', '', 0");
        self.write(vec![Statement::with(mark, [now()]).expecting(1)]).await
    }

    pub(super) async fn create(&self, resource: &str, draft: &Draft) -> Result<Stored, StoreError> {
        let (rest, packed, terms) = prepare(draft).await?;
        let place = || [Value::from(resource), draft.key.to_string().into()];
        let hashes = terms.hashes(resource);
        let object = [draft.uid.as_str(), &draft.version, &terms.to_json(), &hashes].map(Value::from);
        let values: Vec<Value> = place().into_iter().chain(object).chain([packed.into()]).collect();
        let mut statements = vec![Statement::with(CREATE, values)];
        if !terms.is_empty() {
            statements.push(Statement::with(INDEX, [hashes.into()]));
        }
        let values: Vec<Value> = place().into_iter().chain([now()]).collect();
        statements.push(Statement::with(CREATED, values));
        let revision = self.write(statements).await?;
        Ok(stored(draft, revision, rest))
    }

    pub(super) async fn update(
        &self,
        resource: &str,
        draft: &Draft,
        expected: Revision,
    ) -> Result<Stored, StoreError> {
        let (rest, packed, terms) = prepare(draft).await?;
        let hashes = terms.hashes(resource);
        let object = [draft.uid.as_str(), &draft.version, &terms.to_json(), &hashes].map(Value::from);
        let place = || [Value::from(resource), draft.key.to_string().into()];
        let with = |sql: &str, values: &[Value]| Statement::with(sql, [&place()[..], values].concat());
        let statements = vec![
            with(REPLACED, &[number(expected), 0.into(), now()]).expecting(1),
            with(UNINDEX, &[hashes.as_str().into()]),
            with(REINDEX, &[hashes.as_str().into()]),
            with(UPDATE, &[&object[..], &[packed.into()]].concat()),
        ];
        let revision = self.write(statements).await?;
        Ok(stored(draft, revision, rest))
    }

    pub(super) async fn delete(
        &self,
        resource: &str,
        key: &Key,
        expected: Revision,
    ) -> Result<Revision, StoreError> {
        let place = || [Value::from(resource), key.to_string().into()];
        let with = |sql: &str, values: &[Value]| Statement::with(sql, [&place()[..], values].concat());
        let statements = vec![
            with(REPLACED, &[number(expected), 1.into(), now()]).expecting(1),
            // No object has these terms, so all go.
            with(UNINDEX, &["".into()]),
            with(DELETE, &[]),
        ];
        self.write(statements).await
    }

    /// Runs a batch under the next revision, and says which that is.
    async fn write(&self, statements: Vec<Statement>) -> Result<Revision, StoreError> {
        let next = Statement::with(NEXT, [number(self.floor())]).expecting(1);
        let request = Request::new([vec![next], statements].concat());
        let response = self.database.execute(&request).await.map_err(refused)?;
        let row = response.results.into_iter().next().and_then(|it| it.rows.into_iter().next());
        let revision = Row::from(row.unwrap_or_default()).revision()?;
        self.saw(revision);
        Ok(revision)
    }
}

fn refused(error: DatabaseError) -> StoreError {
    match error.kind() {
        Some(Kind::Expectation) => StoreError::Changed,
        Some(Kind::Constraint) => StoreError::Exists,
        _ => error.into(),
    }
}

async fn prepare(draft: &Draft) -> Result<(Bytes, Vec<u8>, Terms), StoreError> {
    let rest = Bytes::from(body::rest(&draft.object));
    let packed = body::pack(rest.clone()).await?;
    Ok((rest, packed, Terms::of(draft)))
}

fn stored(draft: &Draft, revision: Revision, rest: Bytes) -> Stored {
    let version: Arc<str> = draft.version.as_str().into();
    Stored { key: draft.key.clone(), revision, version, rest }
}

/// Milliseconds since 1970.
fn now() -> Value {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Value::Integer(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
