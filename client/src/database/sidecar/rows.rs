//! An answer as it streams in: the objects of the MessagePack stream, one by one, each decoded once it is
//! whole. What has not arrived yet or was handed out already is not kept.

use bytes::{Bytes, BytesMut};
use larder_wire::encode::Trailer;
use larder_wire::{Error as SqlError, ErrorReply, Value};
use serde::Deserialize;

use super::answer::Answer;
use super::boundary::Boundary;
use super::error::Error;

/// One object of the stream, at most: far above what a sidecar keeps in one row.
const OBJECT_LIMIT: usize = 1 << 30;

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
    /// What has arrived and was not handed out yet.
    arrived: Bytes,
    /// Instead of it, an object that more than one piece is needed for.
    begun: BytesMut,
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
        let (arrived, begun, boundary) = (Bytes::new(), BytesMut::new(), Boundary::default());
        Self { answer, arrived, begun, boundary, ahead: None, finished: false }
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
        let Some(bytes) = self.object().await? else { return Ok(None) };
        let malformed = |error: rmp_serde::decode::Error| Error::Broken(error.to_string());
        if is_array(bytes[0]) {
            let row = rmp_serde::from_slice(&bytes).map_err(malformed)?;
            return Ok(Some(Item::Event(Event::Row(row))));
        }
        let object: Object = rmp_serde::from_slice(&bytes).map_err(malformed)?;
        self.finished |= object.end.as_ref().is_some_and(|it| it.time.is_some());
        object.understood().map(Some)
    }

    /// The bytes of the next object: those of the piece in which it arrived, and a copy only where it is in several.
    async fn object(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(object) = self.whole()? {
                return Ok(Some(object));
            }
            let waiting = self.arrived.len() + self.begun.len();
            if waiting > OBJECT_LIMIT {
                return Err(Error::Broken(format!("a row of it is longer than {OBJECT_LIMIT} bytes")));
            }
            match self.answer.chunk().await? {
                Some(chunk) if waiting == 0 => self.arrived = chunk,
                Some(chunk) => {
                    self.begun.extend_from_slice(&std::mem::take(&mut self.arrived));
                    self.begun.extend_from_slice(&chunk);
                }
                None if waiting == 0 => return Ok(None),
                None => return Err(Error::Broken("it ends within a row".to_owned())),
            }
        }
    }

    /// The next object, if all of it is here.
    fn whole(&mut self) -> Result<Option<Bytes>, Error> {
        let bytes = if self.begun.is_empty() { &self.arrived[..] } else { &self.begun[..] };
        let Some(end) = self.boundary.find(bytes).map_err(Error::Broken)? else { return Ok(None) };
        self.boundary = Boundary::default();
        if !self.begun.is_empty() {
            self.arrived = std::mem::take(&mut self.begun).freeze();
        }
        Ok(Some(self.arrived.split_to(end)))
    }

    fn refused(&self, error: SqlError) -> Error {
        let reply = ErrorReply { error, applied: larder_wire::Applied::No, request_id: None };
        Error::Refused { status: self.answer.status(), reply: Box::new(reply) }
    }
}

/// Whether a MessagePack object that begins with this byte is an array (fixarray, array 16, array 32).
fn is_array(first: u8) -> bool {
    matches!(first, 0x90..=0x9f | 0xdc | 0xdd)
}
