//! An answer as it streams in: the objects of the MessagePack stream, one by one. Rows are taken as they arrive ([`super::row`]), the few
//! other objects once they are whole. What was handed out already is not kept.

use bytes::{Bytes, BytesMut};
use larder_wire::encode::Trailer;
use larder_wire::{Error as SqlError, ErrorReply, Value};
use serde::Deserialize;

use super::answer::Answer;
use super::boundary::Boundary;
use super::error::Error;
use super::row::{Row, is_array};

/// What is no row is shorter.
const OBJECT_LIMIT: usize = 64 << 20;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The rows of a statement begin.
    Columns {
        /// Which statement, counted from 0.
        statement: usize,
        /// The names of the columns.
        names: Vec<String>,
        /// Their types, in lower case; `""` where none is known.
        types: Vec<String>,
    },
    /// A row.
    Row(Vec<Value>),
    /// What a statement of a write did.
    Changed {
        /// Rows inserted, updated and deleted.
        rows_affected: u64,
        /// The rowid of the last insert.
        last_insert_id: Option<i64>,
    },
    /// A statement failed, and the answer goes on: each stands for itself.
    Failed(SqlError),
    /// A statement is over.
    End {
        /// How many rows it gave.
        rows: u64,
        /// The seconds that it ran.
        time: f64,
        /// What stands at the end of the whole answer, if this is the end. `rows` of it is not known here.
        trailer: Option<Trailer>,
    },
}

/// An answer that is being read. Dropping it tells the sidecar to stop.
#[derive(Debug)]
pub struct RowStream {
    answer: Answer,
    /// What has arrived and was not taken yet.
    arrived: Bytes,
    row: Row,
    boundary: Boundary,
    ahead: Option<Item>,
    finished: bool,
}

/// An object of the stream, understood. Whether an error ends the answer shows only behind it.
#[derive(Debug)]
enum Item {
    Event(Event),
    Error(SqlError),
}

/// Everything that an object of the stream may hold.
#[derive(Deserialize)]
struct Object {
    columns: Option<Vec<String>>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    statement: usize,
    changed: Option<Changed>,
    error: Option<SqlError>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    rows: u64,
    #[serde(default)]
    statement_time: f64,
    time: Option<f64>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    replayed: bool,
    #[serde(default)]
    errors: usize,
}

impl Object {
    fn understood(self) -> Result<Item, Error> {
        if let Some(error) = self.error {
            return Ok(Item::Error(error));
        }
        if let Some(names) = self.columns {
            return Ok(Item::Event(Event::Columns { statement: self.statement, names, types: self.types }));
        }
        if let Some(Changed { rows_affected, last_insert_id }) = self.changed {
            return Ok(Item::Event(Event::Changed { rows_affected, last_insert_id }));
        }
        let Some(end) = self.end else {
            return Err(Error::Broken("an object of it is none of a stream of rows".to_owned()));
        };
        let (seq, replayed, errors) = (end.seq, end.replayed, end.errors);
        let trailer = end.time.map(|time| Trailer { time, seq, replayed, errors, rows: 0 });
        Ok(Item::Event(Event::End { rows: end.rows, time: end.statement_time, trailer }))
    }
}

#[derive(Deserialize)]
struct Changed {
    #[serde(default)]
    rows_affected: u64,
    last_insert_id: Option<i64>,
}

impl RowStream {
    pub(super) fn new(answer: Answer) -> Self {
        let (arrived, row, boundary) = (Bytes::new(), Row::default(), Boundary::default());
        Self { answer, arrived, row, boundary, ahead: None, finished: false }
    }

    /// The next part; `None` once the answer is whole.
    ///
    /// # Errors
    /// The connection broke, the statement failed ([`Error::Refused`]), or the answer ended too early.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        let item = match self.ahead.take() {
            Some(item) => Some(item),
            None => self.item().await?,
        };
        match item {
            Some(Item::Event(event)) => Ok(Some(event)),
            Some(Item::Error(error)) => {
                self.ahead = self.item().await?;
                if self.ahead.is_some() { Ok(Some(Event::Failed(error))) } else { Err(self.refused(error)) }
            }
            None if self.finished => Ok(None),
            None => Err(Error::Broken("it ends too early".to_owned())),
        }
    }

    /// The header fields of the answer.
    #[must_use]
    pub fn headers(&self) -> &http::HeaderMap {
        self.answer.headers()
    }

    async fn item(&mut self) -> Result<Option<Item>, Error> {
        loop {
            if let Some(item) = self.arrived()? {
                return Ok(Some(item));
            }
            match self.answer.chunk().await? {
                Some(chunk) if self.arrived.is_empty() => self.arrived = chunk,
                Some(chunk) => {
                    let mut both = BytesMut::from(std::mem::take(&mut self.arrived));
                    both.extend_from_slice(&chunk);
                    self.arrived = both.freeze();
                }
                None if self.arrived.is_empty() && !self.row.is_begun() => return Ok(None),
                None => return Err(Error::Broken("it ends within a row".to_owned())),
            }
        }
    }

    /// The next object, if all of it is here.
    fn arrived(&mut self) -> Result<Option<Item>, Error> {
        let is_row = self.row.is_begun() || self.arrived.first().is_some_and(|first| is_array(*first));
        if is_row {
            let row = self.row.read(&mut self.arrived).map_err(Error::Broken)?;
            return Ok(row.map(|row| Item::Event(Event::Row(row))));
        }
        let Some(end) = self.boundary.find(&self.arrived).map_err(Error::Broken)? else {
            let is_long = self.arrived.len() > OBJECT_LIMIT;
            return if is_long {
                Err(Error::Broken("an object of it is too long".to_owned()))
            } else {
                Ok(None)
            };
        };
        self.boundary = Boundary::default();
        let object: Object = rmp_serde::from_slice(&self.arrived.split_to(end))
            .map_err(|error| Error::Broken(error.to_string()))?;
        self.finished |= object.end.as_ref().is_some_and(|it| it.time.is_some());
        object.understood().map(Some)
    }

    fn refused(&self, error: SqlError) -> Error {
        let reply = ErrorReply { error, applied: larder_wire::Applied::No, request_id: None };
        Error::Refused { status: self.answer.status(), reply: Box::new(reply) }
    }
}
