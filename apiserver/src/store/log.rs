//! Reading the log of changes, with the objects before and after each.

use bytes::Bytes;
use larder_client::wire::{Request, Statement};

use super::core::{Core, STANDING, Standing};
use super::error::damaged;
use super::row::{Row, number};
use super::terms::Terms;
use super::{Key, Revision, StoreError, Stored, body};

/// An object as the log keeps it: packed.
pub(crate) struct Kept {
    version: String,
    /// What selectors ask for.
    pub(crate) terms: Terms,
    body: Bytes,
}

impl Kept {
    /// The object, unpacked, as if it were of `revision`.
    pub(crate) fn unpack(&self, key: &Key, revision: Revision) -> Result<Stored, StoreError> {
        let rest = body::unpack(&self.body)?;
        Ok(Stored { key: key.clone(), revision, version: self.version.as_str().into(), rest })
    }

    /// Bytes of memory, about.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + 256
    }
}

/// A change as it stands in the log. One of no resource is the mark of a process that began.
pub(crate) struct Logged {
    pub(crate) revision: Revision,
    pub(crate) resource: String,
    pub(crate) key: Key,
    pub(crate) before: Option<Kept>,
    pub(crate) after: Option<Kept>,
}

/// Changes in the order of their revisions, without gaps.
pub(crate) struct Batch {
    pub(crate) changes: Vec<Logged>,
    /// Up to which revision these are all.
    pub(crate) upto: Revision,
    /// How the revision that was asked for stands to the history. If it is not part of it, there are no changes here.
    pub(crate) standing: Standing,
}

impl Batch {
    /// Whether more changes were there already.
    pub(crate) fn is_partial(&self) -> bool {
        self.upto < self.standing.latest
    }
}

/// Changes of a batch at most, and bytes from which on it ends.
const COUNT: usize = 256;
const BYTES: usize = 4 << 20;

/// What stood there after a change is what its successor replaced, or what stands there now.
const CHANGES: &str = "\
    SELECT c.revision, c.resource, c.key, c.deleted, c.prev_revision, c.prev_version, c.prev_terms, c.prev_body, \
    COALESCE(o.revision, n.prev_revision), COALESCE(o.version, n.prev_version), \
    COALESCE(o.terms, n.prev_terms), COALESCE(o.body, n.prev_body) FROM change c \
    LEFT JOIN object o ON c.deleted = 0 AND o.resource = c.resource AND o.key = c.key AND o.revision = c.revision \
    LEFT JOIN change n ON c.deleted = 0 AND n.resource = c.resource AND n.key = c.key AND n.prev_revision = c.revision \
    WHERE c.revision > ?1";

impl Core {
    /// The changes after a revision: those of one resource, or all.
    pub(crate) async fn changes_after(
        &self,
        after: Revision,
        resource: Option<&str>,
    ) -> Result<Batch, StoreError> {
        let mut rows = self.database.stream(&request(after, resource)).await?;
        let first = rows.next().await?.ok_or_else(|| damaged("table revision is empty"))?;
        let standing = Standing::read(&mut Row::from(first))?;
        self.saw(standing.latest);
        let mut batch = Batch { changes: Vec::new(), upto: standing.latest, standing };
        if standing.check(after).is_err() {
            return Ok(batch);
        }
        let mut bytes = 0;
        while let Some(row) = rows.next().await? {
            let change = read(Row::from(row))?;
            bytes += [&change.before, &change.after].into_iter().flatten().map(Kept::size).sum::<usize>();
            batch.upto = change.revision;
            batch.changes.push(change);
            if batch.changes.len() == COUNT || bytes >= BYTES {
                return Ok(batch);
            }
        }
        batch.upto = standing.latest;
        Ok(batch)
    }
}

fn request(after: Revision, resource: Option<&str>) -> Request {
    let standing = format!("SELECT {STANDING} FROM revision");
    let standing = Statement::with(standing, [number(after), number(after)]);
    let only = if resource.is_some() { " AND c.resource = ?2" } else { "" };
    let select = format!("{CHANGES}{only} ORDER BY c.revision LIMIT {COUNT}");
    let values = [number(after)].into_iter().chain(resource.map(Into::into));
    Request::new([standing, Statement::with(select, values.collect::<Vec<_>>())])
}

fn read(mut row: Row) -> Result<Logged, StoreError> {
    let (revision, resource, key) = (row.revision()?, row.text()?, Key::from(row.text()?.as_str()));
    let deleted = row.revision()? != 0;
    let before = kept(&mut row)?;
    let after = kept(&mut row)?;
    if after.is_none() && !deleted && !resource.is_empty() {
        return Err(damaged(format_args!("what {resource} {key} was at {revision} is not there")));
    }
    Ok(Logged { revision, resource, key, before, after })
}

fn kept(row: &mut Row) -> Result<Option<Kept>, StoreError> {
    if row.optional_revision()?.is_none() {
        row.skip(3);
        return Ok(None);
    }
    let (version, terms, body) = (row.text()?, Terms::from_json(&row.text()?)?, row.bytes()?.into());
    Ok(Some(Kept { version, terms, body }))
}
