//! What one client of the load sends again and again: a whole HTTP request as bytes, of which only the id
//! is written anew each time, and what has to come back.
//!
//! Encoding 5.5 KB of base64 for each request would measure this program. So a request is encoded once, with
//! a mark where the id belongs, and the mark's places are remembered.

use anyhow::{Context as _, ensure};
use larder_wire::{Request, Response, Statement, Value};
use memchr::memmem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::Repeated;

/// Bytes in the blob of a row.
pub(super) const BODY: usize = 5_500;
/// Rows in a request of `many`.
pub(super) const ROWS: u64 = 1_000;
/// The first id that `fill` writes; ids of rows and their blobs then agree, see [`Blobs::of`].
pub(super) const FIRST_FILLED: u64 = ROWS;
/// The first id that is inserted while the clock runs. Ids have ten digits from here on.
pub(super) const FIRST_INSERTED: u64 = 1_000_000_000;
/// Rows in a list.
const LISTED: u64 = 100;

const INSERT: &str = "INSERT INTO bench (id, body) VALUES (?, ?)";

/// Incompressible bodies, the same in every run.
pub(super) struct Blobs(Vec<Vec<u8>>);

impl Blobs {
    /// Divides [`ROWS`], so that the n-th row of every full request has the same blob.
    const DIFFERENT: u64 = 50;

    pub(super) fn random() -> Self {
        let mut random = Random(0x006c_6172_6465_7221);
        let mut blob = || (0..BODY).map(|_| (random.next() >> 32) as u8).collect();
        Self((0..Self::DIFFERENT).map(|_| blob()).collect())
    }

    /// Bodies of somebody else's, at least one.
    pub(super) fn of_bodies(bodies: Vec<Vec<u8>>) -> Self {
        Self(bodies)
    }

    /// The body of the row `id`, if `fill` wrote it.
    pub(super) fn of(&self, id: u64) -> &[u8] {
        &self.0[(id % self.0.len() as u64) as usize]
    }
}

/// Marsaglia's xorshift64*: fast, and nothing hangs on its quality.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// How a request, and an id in it, is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The id in eight bytes, most significant first, which is valid whatever its size.
    Msgpack,
    /// The id in ten digits.
    Json,
}

impl Form {
    /// An id that is in no other place of a request.
    fn mark(self) -> i64 {
        match self {
            Self::Msgpack => 0x6d61_726b_7468_6964,
            Self::Json => 1_987_654_321,
        }
    }

    fn write(self, id: u64, place: &mut [u8]) {
        match self {
            Self::Msgpack => place.copy_from_slice(&id.to_be_bytes()),
            Self::Json => write_digits(id, place),
        }
    }

    fn width(self) -> usize {
        match self {
            Self::Msgpack => 8,
            Self::Json => 10,
        }
    }

    fn marked(self) -> Vec<u8> {
        let mut mark = vec![0; self.width()];
        self.write(self.mark().unsigned_abs(), &mut mark);
        mark
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Msgpack => larder_wire::MSGPACK,
            Self::Json => larder_wire::JSON,
        }
    }

    fn encode(self, request: &Request) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Msgpack => rmp_serde::to_vec_named(request)?,
            Self::Json => serde_json::to_vec(request)?,
        })
    }

    fn decode(self, body: &[u8]) -> anyhow::Result<Response> {
        Ok(match self {
            Self::Msgpack => rmp_serde::from_slice(body)?,
            Self::Json => serde_json::from_slice(body)?,
        })
    }
}

fn write_digits(mut id: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (id % 10) as u8;
        id /= 10;
    }
}

/// Where the next id comes from.
#[derive(Clone)]
enum Ids {
    /// The request has none.
    None,
    /// From one counter for all clients, so that a table grows at its end.
    Next(Arc<AtomicU64>, u64),
    /// Any of `count` from [`FIRST_FILLED`] on.
    Any(Random, u64),
}

/// What has to come back.
#[derive(Clone)]
enum Expected {
    Version,
    Changed(u64),
    Row(Arc<Blobs>),
    Rows(u64),
}

/// One client's request, in all its repetitions.
#[derive(Clone)]
pub(super) struct Script {
    request: Vec<u8>,
    places: Vec<usize>,
    form: Form,
    ids: Ids,
    id: u64,
    expected: Expected,
}

/// Makes the requests for one server.
pub(super) struct Scripts {
    pub(super) authority: String,
    pub(super) blobs: Arc<Blobs>,
    /// Gives out the ids of rows that are inserted.
    pub(super) next_id: Arc<AtomicU64>,
}

impl Scripts {
    pub(super) fn version(&self) -> Script {
        let request = format!("GET /version HTTP/1.1\r\nHost: {}\r\n\r\n", self.authority).into_bytes();
        let (form, ids, expected) = (Form::Json, Ids::None, Expected::Version);
        Script { request, places: Vec::new(), form, ids, id: 0, expected }
    }

    /// Inserts one row a request. `client` chooses the blob.
    pub(super) fn insert(&self, form: Form, client: u64) -> anyhow::Result<Script> {
        let blob = Value::from(self.blobs.of(client));
        let statement = Statement::with(INSERT, [form.mark().into(), blob]);
        self.script("/execute", form, statement, Ids::Next(self.next_id.clone(), 1), Expected::Changed(1))
    }

    /// Inserts [`ROWS`] rows a request, with ids from `next_id`.
    pub(super) fn insert_many(&self, next_id: &Arc<AtomicU64>) -> anyhow::Result<Script> {
        let form = Form::Msgpack;
        let row = |id| vec![form.mark().into(), Value::from(self.blobs.of(id))];
        let statement = Statement::many(INSERT, (0..ROWS).map(row));
        self.script("/execute", form, statement, Ids::Next(next_id.clone(), ROWS), Expected::Changed(ROWS))
    }

    /// Reads one row of `filled` by primary key.
    pub(super) fn point_read(&self, client: u64, filled: u64) -> anyhow::Result<Script> {
        let form = Form::Msgpack;
        let statement = Statement::with("SELECT body FROM bench WHERE id = ?", [form.mark().into()]);
        let ids = Ids::Any(Random(client + 1), filled);
        self.script("/query", form, statement, ids, Expected::Row(self.blobs.clone()))
    }

    /// Reads a hundred rows of `filled` in the order of their primary key.
    pub(super) fn list(&self, client: u64, filled: u64) -> anyhow::Result<Script> {
        let form = Form::Msgpack;
        let sql = format!("SELECT id, body FROM bench WHERE id >= ? ORDER BY id LIMIT {LISTED}");
        let statement = Statement::with(sql, [form.mark().into()]);
        let ids = Ids::Any(Random(client + 1), filled - LISTED);
        self.script("/query", form, statement, ids, Expected::Rows(LISTED))
    }

    fn script(
        &self,
        path: &str,
        form: Form,
        statement: Statement,
        ids: Ids,
        expected: Expected,
    ) -> anyhow::Result<Script> {
        let marks = statement.args.sets().len();
        let body = form.encode(&Request::new([statement]))?;
        let request = self.post(path, form, form.media_type(), &body);
        let places: Vec<_> = memmem::find_iter(&request, &form.marked()).collect();
        ensure!(places.len() == marks, "the mark of an id is found {} times, not {marks}", places.len());
        Ok(Script { request, places, form, ids, id: 0, expected })
    }

    /// A request as it goes over the connection.
    pub(super) fn post(&self, path: &str, form: Form, accept: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nAccept: {accept}\r\nContent-Length: {}\r\n\r\n",
            self.authority,
            form.media_type(),
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

impl Repeated for Script {
    const STATUS: u16 = 200;

    fn next(&mut self) -> &[u8] {
        self.id = match &mut self.ids {
            Ids::None => 0,
            Ids::Next(counter, step) => counter.fetch_add(*step, Ordering::Relaxed),
            Ids::Any(random, count) => FIRST_FILLED + random.next() % *count,
        };
        for (id, place) in (self.id..).zip(&self.places) {
            self.form.write(id, &mut self.request[*place..*place + self.form.width()]);
        }
        &self.request
    }

    fn rows_inserted(&self) -> u64 {
        match self.expected {
            Expected::Changed(rows) => rows,
            _ => 0,
        }
    }

    fn verify(&self, body: &[u8]) -> anyhow::Result<()> {
        if let Expected::Version = self.expected {
            let version: serde_json::Value = serde_json::from_slice(body)?;
            return version.get("version").map(drop).context("/version does not say one");
        }
        let response = self.form.decode(body)?;
        let reply = response.results.first().context("an answer without results")?;
        match &self.expected {
            Expected::Version => {}
            Expected::Changed(rows) => ensure!(reply.rows_affected == *rows, "not {rows} rows: {reply:?}"),
            Expected::Rows(rows) => ensure!(reply.rows.len() as u64 == *rows, "not {rows} rows"),
            Expected::Row(blobs) => {
                let row = reply.rows.first().with_context(|| format!("row {} is missing", self.id))?;
                ensure!(row[..] == [Value::from(blobs.of(self.id))], "row {} has another body", self.id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use larder_wire::Args;

    fn scripts() -> Scripts {
        Scripts {
            authority: "127.0.0.1:1".into(),
            blobs: Arc::new(Blobs::random()),
            next_id: Arc::new(AtomicU64::new(FIRST_INSERTED)),
        }
    }

    fn arguments(form: Form, http: &[u8]) -> Vec<Vec<Value>> {
        let head = memmem::find(http, b"\r\n\r\n").unwrap() + 4;
        let length = format!("Content-Length: {}\r\n", http.len() - head);
        assert!(std::str::from_utf8(&http[..head]).unwrap().contains(&length));
        let request = match form {
            Form::Json => Request::from_json(&http[head..]),
            Form::Msgpack => Request::from_msgpack(&http[head..]),
        };
        let args: Args = request.unwrap().statements.remove(0).args;
        args.sets().iter().map(|it| it.positional().unwrap().to_vec()).collect()
    }

    #[test]
    fn each_repetition_has_an_id_of_its_own_and_the_same_blob() {
        for form in [Form::Msgpack, Form::Json] {
            let scripts = scripts();
            let mut one = scripts.insert(form, 3).unwrap();
            let mut other = one.clone();
            let blob = Value::from(scripts.blobs.of(3));
            for id in [FIRST_INSERTED, FIRST_INSERTED + 2] {
                let id = Value::Integer(id.cast_signed());
                assert_eq!(arguments(form, one.next()), [[id, blob.clone()]], "{form:?}");
                other.next();
            }
        }
    }

    #[test]
    fn many_rows_have_consecutive_ids_and_the_blobs_that_belong_to_them() {
        let scripts = scripts();
        let mut script = scripts.insert_many(&Arc::new(AtomicU64::new(FIRST_FILLED))).unwrap();
        for first in [FIRST_FILLED, FIRST_FILLED + ROWS] {
            let rows = arguments(Form::Msgpack, script.next());
            assert_eq!(rows.len() as u64, ROWS);
            for (id, row) in (first..).zip(rows) {
                assert_eq!(row, [Value::Integer(id.cast_signed()), Value::from(scripts.blobs.of(id))]);
            }
        }
    }

    #[test]
    fn an_answer_that_is_not_what_was_asked_for_is_found() {
        let scripts = scripts();
        let mut insert = scripts.insert(Form::Json, 0).unwrap();
        insert.next();
        insert.verify(br#"{"results":[{"rows_affected":1,"last_insert_id":5}],"time":0.1,"seq":3}"#).unwrap();
        insert.verify(br#"{"results":[{"rows_affected":0}],"time":0.1,"seq":3}"#).unwrap_err();
        let mut read = scripts.point_read(1, 10).unwrap();
        let asked = arguments(Form::Msgpack, read.next());
        let [Value::Integer(id)] = asked[0][..] else { panic!("{asked:?}") };
        let answer = |id: u64| {
            let rows = [[Value::from(scripts.blobs.of(id))]];
            let result = std::collections::BTreeMap::from([("rows", rows)]);
            rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("results", [result])])).unwrap()
        };
        read.verify(&answer(id.cast_unsigned())).unwrap();
        read.verify(&answer(id.cast_unsigned() + 1)).unwrap_err();
    }
}
