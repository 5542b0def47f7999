//! What rqlite's own clients expect of `/db/execute`, `/db/query` and `/db/request`
//! (<https://rqlite.io/docs/api/api/>): `values` instead of `rows`, an `error` string in the place of a
//! statement's result, ids and counts left out where they are zero, blobs as bare base64.

use super::json::{write_base64, write_integer, write_json, write_real, write_value};
use super::{Encoder, Style, Trailer};
use crate::error::Error;
use crate::result::{Column, StatementResult};
use crate::value::{Row, ValueRef};

/// rqlite's query parameters that change the form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RqliteOptions {
    /// `?associative`: rows as objects, types by column name.
    pub associative: bool,
    /// `?timings`: seconds for each statement and for the whole.
    pub timings: bool,
    /// `?blob_array`: blobs as arrays of numbers.
    pub blob_array: bool,
}

/// Writes an answer in rqlite's dialect.
#[derive(Debug, Default)]
pub struct Rqlite {
    options: RqliteOptions,
    results: usize,
    /// The columns that an object shows, with their names: of several with one name, the last.
    shown: Vec<(usize, String)>,
    in_rows: bool,
    rows: u64,
}

impl Rqlite {
    /// An encoder with these options.
    #[must_use]
    pub fn new(options: RqliteOptions) -> Self {
        Self { options, ..Self::default() }
    }

    fn open_result(&mut self, out: &mut Vec<u8>) {
        if self.results > 0 {
            out.push(b',');
        }
        self.results += 1;
        out.push(b'{');
    }

    fn open_rows(&mut self, out: &mut Vec<u8>, columns: &[Column]) {
        self.in_rows = true;
        self.rows = 0;
        if self.options.associative {
            self.shown = last_of_each_name(columns);
            out.extend_from_slice(b"\"types\":{");
            for (position, (index, name)) in self.shown.iter().enumerate() {
                separate(out, position);
                write_json(out, name);
                out.push(b':');
                write_json(out, &columns[*index].type_name);
            }
            out.extend_from_slice(b"},\"rows\":[");
            return;
        }
        let (names, types): (Vec<_>, Vec<_>) = columns.iter().map(|it| (&it.name, &it.type_name)).unzip();
        out.extend_from_slice(b"\"columns\":");
        write_json(out, &names);
        out.extend_from_slice(b",\"types\":");
        write_json(out, &types);
    }

    fn close_rows(&mut self, out: &mut Vec<u8>) {
        // Without rows, rqlite leaves `values` out.
        if self.options.associative || self.rows > 0 {
            out.push(b']');
        }
        self.in_rows = false;
    }

    fn write_value(&self, out: &mut Vec<u8>, value: ValueRef<'_>) {
        match value {
            ValueRef::Blob(bytes) if self.options.blob_array => {
                write_json(out, bytes);
            }
            ValueRef::Blob(bytes) => {
                out.push(b'"');
                write_base64(out, bytes);
                out.push(b'"');
            }
            // Go's JSON has no infinities; rqlite fails there, null is what its clients can read.
            ValueRef::Real(value) if !value.is_finite() => out.extend_from_slice(b"null"),
            other => write_value(out, other, Style::default()),
        }
    }

    fn write_array(&self, out: &mut Vec<u8>, row: &dyn Row) {
        out.push(b'[');
        for index in 0..row.len() {
            separate(out, index);
            self.write_value(out, row.get(index));
        }
        out.push(b']');
    }

    fn write_object(&self, out: &mut Vec<u8>, row: &dyn Row) {
        out.push(b'{');
        for (position, (index, name)) in self.shown.iter().enumerate() {
            separate(out, position);
            write_json(out, name);
            out.push(b':');
            self.write_value(out, row.get(*index));
        }
        out.push(b'}');
    }

    fn close_result(&self, out: &mut Vec<u8>, time: f64) {
        if self.options.timings {
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            out.extend_from_slice(b"\"time\":");
            write_real(out, time);
        }
        out.push(b'}');
    }
}

fn last_of_each_name(columns: &[Column]) -> Vec<(usize, String)> {
    let is_last = |index: usize| columns[index + 1..].iter().all(|later| later.name != columns[index].name);
    (0..columns.len()).filter(|&it| is_last(it)).map(|it| (it, columns[it].name.clone())).collect()
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

impl Encoder for Rqlite {
    fn media_type(&self) -> &'static str {
        crate::JSON
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"results\":[");
    }

    fn columns(&mut self, out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        self.open_result(out);
        self.open_rows(out, columns);
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        if !self.options.associative && self.rows == 0 {
            out.extend_from_slice(b",\"values\":[");
        }
        separate(out, usize::from(self.rows > 0));
        self.rows += 1;
        if self.options.associative { self.write_object(out, row) } else { self.write_array(out, row) }
    }

    fn end(&mut self, out: &mut Vec<u8>, _rows: u64, time: f64) {
        self.close_rows(out);
        self.close_result(out, time);
    }

    fn changed(&mut self, out: &mut Vec<u8>, _index: usize, result: &StatementResult) {
        self.open_result(out);
        if let Some(rows) = &result.rows {
            self.open_rows(out, &rows.columns);
            for row in &rows.rows {
                self.row(out, row);
            }
            self.close_rows(out);
            return self.close_result(out, result.time);
        }
        let mut fields = 0;
        for (name, value) in [
            ("last_insert_id", result.last_insert_id.unwrap_or(0)),
            ("rows_affected", result.rows_affected as i64),
        ] {
            if value != 0 {
                separate(out, fields);
                write_json(out, name);
                out.push(b':');
                write_integer(out, value);
                fields += 1;
            }
        }
        self.close_result(out, result.time);
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        self.open_result(out);
        out.extend_from_slice(b"\"error\":");
        write_json(out, &error.message);
        out.push(b'}');
    }

    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer) {
        out.push(b']');
        if self.options.timings {
            out.extend_from_slice(b",\"time\":");
            write_real(out, trailer.time);
        }
        out.push(b'}');
    }

    fn abort(&mut self, out: &mut Vec<u8>, error: &Error) {
        if self.in_rows {
            self.close_rows(out);
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"error\":");
        write_json(out, &error.message);
        out.push(b'}');
    }
}
