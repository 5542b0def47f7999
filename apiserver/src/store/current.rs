//! Objects by their ids, as they stand there now: for what is made from objects and kept beside them.
//!
//! An id is never given twice, in whatever history, so what was made from an object can be named by it.

use std::sync::Arc;

use larder_client::database::Rows;
use larder_client::wire::{Request, Statement};

use super::core::{Core, STANDING, Standing};
use super::error::damaged;
use super::row::{Row, number};
use super::{Key, Revision, StoreError, Stored, body};

/// An object, and which one it is.
pub(crate) struct Current {
    pub(crate) id: u64,
    pub(crate) stored: Stored,
}

/// Objects as they come out of one snapshot.
pub(crate) struct Objects {
    /// The latest revision of that snapshot.
    pub(crate) latest: Revision,
    rows: Box<dyn Rows>,
}

/// Which objects the changes after a revision were of.
pub(crate) struct Touched {
    /// How that revision stands to the history.
    pub(crate) standing: Standing,
    /// The revision of a change, and the id of its object, 0 if there is none.
    pub(crate) changes: Vec<(Revision, u64)>,
}

const COLUMNS: &str = "o.id, o.key, o.revision, o.version, o.body";

impl Core {
    /// The next changes after a revision.
    pub(crate) async fn touched_after(&self, after: Revision, limit: u64) -> Result<Touched, StoreError> {
        let standing =
            Statement::with(format!("SELECT {STANDING} FROM revision"), [number(after), number(after)]);
        let changes = "SELECT revision, object FROM change WHERE revision > ? ORDER BY revision LIMIT ?";
        let changes = Statement::with(changes, [number(after), number(limit)]);
        let response = self.database.query(&Request::new([standing, changes])).await?;
        let mut rows = response.results.into_iter().flat_map(|it| it.rows).map(Row::from);
        let mut first = rows.next().ok_or_else(|| damaged("table revision is empty"))?;
        let standing = Standing::read(&mut first)?;
        self.saw(standing.latest);
        let changes = rows.map(|mut row| Ok((row.revision()?, row.revision()?)));
        Ok(Touched { standing, changes: changes.collect::<Result<_, StoreError>>()? })
    }

    /// Those of these objects that are there, in the order in which they are asked for.
    pub(crate) async fn objects_of(&self, ids: &[u64]) -> Result<Objects, StoreError> {
        let ids = serde_json::to_string(ids).map_err(damaged)?;
        // The order of a CROSS JOIN is kept: first the ids, then the objects.
        let select = format!("SELECT {COLUMNS} FROM json_each(?) j CROSS JOIN object o WHERE o.id = j.value");
        self.objects(Statement::with(select, [ids.into()])).await
    }

    /// The next objects behind an id, in the order of ids.
    pub(crate) async fn objects_behind(&self, id: u64, limit: u64) -> Result<Objects, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM object o WHERE o.id > ? ORDER BY o.id LIMIT ?");
        self.objects(Statement::with(select, [number(id), number(limit)])).await
    }

    async fn objects(&self, select: Statement) -> Result<Objects, StoreError> {
        let latest = Statement::new("SELECT latest FROM revision");
        let mut rows = self.database.stream(&Request::new([latest, select])).await?;
        let first = rows.next().await?.ok_or_else(|| damaged("table revision is empty"))?;
        Ok(Objects { latest: Row::from(first).revision()?, rows })
    }
}

impl Objects {
    /// The next object; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Current>, StoreError> {
        let Some(row) = self.rows.next().await? else { return Ok(None) };
        let mut row = Row::from(row);
        let (id, key) = (row.revision()?, Key::from(row.text()?.as_str()));
        let (revision, version): (_, Arc<str>) = (row.revision()?, row.text()?.into());
        let stored = Stored { key, revision, version, rest: body::unpack(&row.bytes()?)? };
        Ok(Some(Current { id, stored }))
    }
}
