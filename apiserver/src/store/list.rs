//! Lists: of one revision, in the order of keys, as they come out of the database.
//!
//! A list is one read of one snapshot. A snapshot that is held for long is in the way of the database, which then ends it; so does a connection that
//! breaks. The list goes on all the same, behind the last key, at the revision that it began at: what was changed since is in the log. So a list
//! is as long as its reader wants to take, and holds nothing that others wait for.

use std::sync::Arc;

use larder_client::database::{DatabaseError, Rows};
use larder_client::wire::{Kind, Request, Value};

use super::core::{Core, Standing};
use super::error::damaged;
use super::row::Row;
use super::select::{self, Driver, Select};
use super::terms::Terms;
use super::{Json, Key, Revision, Selection, StoreError, Stored, body};

/// Which moment a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The present.
    Latest,
    /// This revision.
    Exactly(Revision),
    /// This revision or a later one; waits for it up to three seconds.
    AtLeast(Revision),
}

/// A list that is asked for.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Which objects.
    pub selection: Selection,
    /// When.
    pub at: At,
    /// Behind this key.
    pub after: Option<Key>,
    /// At most this many; a page may be shorter where its objects are large.
    pub limit: Option<usize>,
}

/// A list, as it comes. All of it is of one revision.
pub struct List {
    /// That revision.
    pub revision: Revision,
    total: Option<u64>,
    reading: Reading,
}

/// A page of a list, in memory: of objects, or of [`Packed`] ones.
pub struct Page<T = Stored> {
    /// The revision that it is of.
    pub revision: Revision,
    /// The objects.
    pub items: Vec<T>,
    /// The last key of the page, if more follow.
    pub next: Option<Key>,
    /// How many follow, where there is no selector to count by.
    pub remaining: Option<u64>,
}

/// Where reading is.
struct Reading {
    core: Arc<Core>,
    resource: String,
    /// `limit` is how many may still come.
    query: ListQuery,
    /// The last key that was read, if any was since `query` says behind which key reading began.
    last: Option<String>,
    driver: Option<Driver>,
    rows: Box<dyn Rows>,
    /// Whether anything came since reading began or went on.
    progressed: bool,
    /// Whether `rows` broke off.
    broken: bool,
    /// The version of the last object; most have the same.
    version: Arc<str>,
}

/// An object as it comes out of the database: compressed, which is how most of a page is held until it is sent.
pub struct Packed {
    key: Key,
    revision: Revision,
    version: Arc<str>,
    body: Vec<u8>,
}

impl Packed {
    /// The object.
    ///
    /// # Errors
    /// What is stored is not what was compressed: the database is damaged.
    pub fn unpack(self) -> Result<Stored, StoreError> {
        let Self { key, revision, version, body } = self;
        Ok(Stored { key, revision, version, rest: body::unpack(&body)? })
    }
}

impl Json for Packed {
    fn version(&self) -> &str {
        &self.version
    }

    fn length(&self) -> Result<usize, StoreError> {
        body::length(&self.body)
    }

    fn write_json(&self, api_version: &str, kind: &str, out: &mut Vec<u8>) -> Result<(), StoreError> {
        body::write_packed(&self.body, api_version, kind, self.revision, out)
    }
}

/// Bytes of objects at which a page ends.
const PAGE: usize = 8 << 20;

impl Core {
    pub(super) async fn list(
        self: &Arc<Self>,
        resource: &str,
        query: &ListQuery,
        counts: bool,
    ) -> Result<List, StoreError> {
        let at = match query.at {
            At::Exactly(revision) => Some(revision),
            At::AtLeast(revision) => {
                self.wait_for(revision).await?;
                None
            }
            At::Latest => None,
        };
        let driver = self.driver(resource, &query.selection).await?;
        let select = Select { resource, query, at, driver: driver.as_ref(), counts };
        let (standing, total, rows) = self.begin_list(&select).await?;
        let revision = at.unwrap_or(standing.latest);
        let query = ListQuery { at: At::Exactly(revision), ..query.clone() };
        let (core, resource) = (Arc::clone(self), resource.to_owned());
        let reading = Reading {
            core,
            resource,
            query,
            last: None,
            driver,
            rows,
            progressed: false,
            broken: false,
            version: Arc::from(""),
        };
        Ok(List { revision, total, reading })
    }

    /// What finds the selected objects with the least effort; `None` if that is to go through all.
    async fn driver(&self, resource: &str, selection: &Selection) -> Result<Option<Driver>, StoreError> {
        let drivers = select::drivers(resource, selection);
        if drivers.is_empty() {
            return Ok(None);
        }
        let probe = select::probe(resource, selection, &drivers);
        let response = self.database.query(&Request::new(probe)).await?;
        let counts = response.results.into_iter().flat_map(|it| it.rows);
        let counts: Vec<u64> =
            counts.map(|row| Row::from(row).revision()).collect::<Result<_, StoreError>>()?;
        Ok(select::choose(drivers, &counts))
    }

    async fn begin_list(
        &self,
        select: &Select<'_>,
    ) -> Result<(Standing, Option<u64>, Box<dyn Rows>), StoreError> {
        let statements = [select.standing(), select.rows(select.query.limit)];
        let mut rows = self.database.stream(&Request::new(statements)).await?;
        let first = rows.next().await?.ok_or_else(|| damaged("table revision is empty"))?;
        let mut first = Row::from(first);
        let standing = Standing::read(&mut first)?;
        let total = first.optional_revision()?;
        self.saw(standing.latest);
        if let Some(at) = select.at {
            standing.check(at)?;
        }
        Ok((standing, total, rows))
    }

    pub(super) async fn page(
        self: &Arc<Self>,
        resource: &str,
        query: &ListQuery,
    ) -> Result<Page<Packed>, StoreError> {
        // One more says whether there are more.
        let ahead = ListQuery { limit: query.limit.map(|it| it.saturating_add(1)), ..query.clone() };
        let counts = query.limit.is_some() && !query.selection.has_selector();
        let mut list = self.list(resource, &ahead, counts).await?;
        let (mut items, mut bytes, mut more): (Vec<Packed>, usize, bool) = (Vec::new(), 0, false);
        while let Some(item) = list.next_packed().await? {
            if query.limit.is_some_and(|it| items.len() >= it) || bytes >= PAGE {
                more = true;
                break;
            }
            bytes += item.length()?;
            items.push(item);
        }
        let next = items.last().filter(|_| more).map(|it| it.key.clone());
        let remaining = list.total.filter(|_| more).map(|it| it.saturating_sub(items.len() as u64));
        Ok(Page { revision: list.revision, items, next, remaining })
    }
}

impl Page<Packed> {
    pub(super) fn unpack(self) -> Result<Page, StoreError> {
        let Self { revision, items, next, remaining } = self;
        let items = items.into_iter().map(Packed::unpack).collect::<Result<_, _>>()?;
        Ok(Page { revision, items, next, remaining })
    }
}

impl List {
    /// The next object; `None` at the end. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// The database went away, or the list took longer than the history goes back: what came is not the whole list.
    pub async fn next(&mut self) -> Result<Option<Stored>, StoreError> {
        self.next_packed().await?.map(Packed::unpack).transpose()
    }

    /// As [`List::next`], for who wants its JSON and nothing else.
    ///
    /// # Errors
    /// As for [`List::next`].
    pub async fn next_packed(&mut self) -> Result<Option<Packed>, StoreError> {
        let reading = &mut self.reading;
        while reading.query.limit != Some(0) {
            if reading.broken {
                reading.go_on().await?;
            }
            match reading.rows.next().await {
                Ok(Some(row)) => {
                    if let Some(packed) = reading.take(row)? {
                        return Ok(Some(packed));
                    }
                }
                Ok(None) => return Ok(None),
                // Whoever waits may leave and come back: what broke off must not look as if it had ended.
                Err(error) if reading.progressed && ends_a_snapshot(&error) => reading.broken = true,
                Err(error) => {
                    (reading.broken, reading.progressed) = (true, true);
                    return Err(error.into());
                }
            }
        }
        Ok(None)
    }
}

/// Whether reading can go on at another snapshot.
fn ends_a_snapshot(error: &DatabaseError) -> bool {
    error.may_pass() || error.kind() == Some(Kind::Deadline)
}

impl Reading {
    /// Reads a row; `None` if the object is not selected.
    fn take(&mut self, row: Vec<Value>) -> Result<Option<Packed>, StoreError> {
        let mut row = Row::from(row);
        let stored_key = row.text()?;
        let key = Key::from(stored_key.as_str());
        let (revision, version, body) = (row.revision()?, row.text()?, row.bytes()?);
        self.progressed = true;
        self.last = Some(stored_key);
        if let Some(terms) = row.optional_text()?
            && !self.query.selection.accepts(&key, &Terms::from_json(&terms)?)
        {
            return Ok(None);
        }
        if *self.version != *version {
            self.version = version.into();
        }
        if let Some(limit) = &mut self.query.limit {
            *limit -= 1;
        }
        Ok(Some(Packed { key, revision, version: Arc::clone(&self.version), body }))
    }

    /// Begins another read behind the last key, at the same revision.
    async fn go_on(&mut self) -> Result<(), StoreError> {
        if let Some(last) = self.last.take() {
            self.query.after = Some(Key::from(last.as_str()));
        }
        let At::Exactly(revision) = self.query.at else { return Err(damaged("a list has no revision")) };
        let select = Select {
            resource: &self.resource,
            query: &self.query,
            at: Some(revision),
            driver: self.driver.as_ref(),
            counts: false,
        };
        let (_, _, rows) = self.core.begin_list(&select).await?;
        self.rows = rows;
        (self.broken, self.progressed) = (false, false);
        Ok(())
    }
}
