//! `application/json`: `{"results":[{"columns":…,"types":…,"rows":[…]}, {"rows_affected":…}],"time":…,"seq":…}`.

use base64::Engine as _;

use super::{Encoder, Style, Trailer};
use crate::error::Error;
use crate::result::{Column, RowShape, StatementResult};
use crate::value::{BASE64, Row, ValueRef, non_finite};

/// Writes one JSON document.
#[derive(Debug, Default)]
pub struct Json {
    style: Style,
    results: usize,
    rows: RowWriter,
    in_rows: bool,
}

impl Json {
    /// An encoder of this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, ..Self::default() }
    }

    fn open_result(&mut self, out: &mut Vec<u8>) {
        if self.results > 0 {
            out.push(b',');
        }
        if self.style.pretty {
            out.extend_from_slice(b"\n  ");
        }
        self.results += 1;
    }

    fn newline(&self, out: &mut Vec<u8>) {
        if self.style.pretty {
            out.push(b'\n');
        }
    }

    fn close_rows(&mut self, out: &mut Vec<u8>) {
        out.push(b']');
        self.in_rows = false;
    }
}

impl Encoder for Json {
    fn media_type(&self) -> &'static str {
        crate::JSON
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"results\":[");
    }

    fn columns(&mut self, out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        self.open_result(out);
        out.push(b'{');
        self.rows = RowWriter::new(self.style, columns);
        write_columns(out, columns);
        out.extend_from_slice(b",\"rows\":[");
        self.in_rows = true;
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        if self.rows.written > 0 {
            out.push(b',');
        }
        if self.style.pretty {
            out.extend_from_slice(b"\n    ");
        }
        self.rows.write(out, row);
    }

    fn end(&mut self, out: &mut Vec<u8>, _rows: u64, time: f64) {
        self.close_rows(out);
        out.extend_from_slice(b",\"time\":");
        write_real(out, time);
        out.push(b'}');
    }

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        match &result.rows {
            Some(rows) => {
                self.columns(out, index, &rows.columns);
                for row in &rows.rows {
                    self.row(out, row);
                }
                self.close_rows(out);
                out.push(b',');
            }
            None => {
                self.open_result(out);
                out.push(b'{');
            }
        }
        write_changes(out, result, self.style);
        out.extend_from_slice(b",\"time\":");
        write_real(out, result.time);
        out.push(b'}');
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        self.open_result(out);
        out.extend_from_slice(b"{\"error\":");
        write_json(out, error);
        out.push(b'}');
    }

    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer) {
        self.newline(out);
        out.push(b']');
        write_trailer(out, trailer);
        out.extend_from_slice(b"}\n");
    }

    fn abort(&mut self, out: &mut Vec<u8>, error: &Error) {
        if self.in_rows {
            out.extend_from_slice(b"]}");
        }
        out.extend_from_slice(b"],\"error\":");
        write_json(out, error);
        out.extend_from_slice(b"}\n");
    }
}

/// `,"time":…,"seq":…` and what else is not at its default.
pub(super) fn write_trailer(out: &mut Vec<u8>, trailer: &Trailer) {
    if trailer.errors > 0 {
        out.extend_from_slice(b",\"errors\":");
        write_integer(out, trailer.errors as u64);
    }
    out.extend_from_slice(b",\"time\":");
    write_real(out, trailer.time);
    out.extend_from_slice(b",\"seq\":");
    write_integer(out, trailer.seq);
    if trailer.replayed {
        out.extend_from_slice(b",\"replayed\":true");
    }
}

/// `"columns":[…],"types":[…]`.
pub(super) fn write_columns(out: &mut Vec<u8>, columns: &[Column]) {
    out.extend_from_slice(b"\"columns\":");
    write_list(out, columns, |it| &it.name);
    out.extend_from_slice(b",\"types\":");
    write_list(out, columns, |it| &it.type_name);
}

fn write_list(out: &mut Vec<u8>, columns: &[Column], text: impl Fn(&Column) -> &str) {
    out.push(b'[');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_json(out, text(column));
    }
    out.push(b']');
}

/// `"rows_affected":…,"last_insert_id":…`.
pub(super) fn write_changes(out: &mut Vec<u8>, result: &StatementResult, style: Style) {
    out.extend_from_slice(b"\"rows_affected\":");
    write_integer(out, result.rows_affected);
    if let Some(id) = result.last_insert_id {
        out.extend_from_slice(b",\"last_insert_id\":");
        write_value(out, ValueRef::Integer(id), style);
    }
}

/// Writes rows as arrays or objects and counts them.
#[derive(Debug, Default)]
pub(super) struct RowWriter {
    style: Style,
    /// `"name":` of each column, escaped once.
    keys: Vec<Vec<u8>>,
    /// The columns that an object shows: of several with one name, the last.
    shown: Vec<usize>,
    pub(super) written: u64,
}

impl RowWriter {
    pub(super) fn new(style: Style, columns: &[Column]) -> Self {
        if style.rows == RowShape::Array {
            return Self { style, ..Self::default() };
        }
        let keys = columns.iter().map(|column| {
            let mut key = Vec::new();
            write_json(&mut key, &column.name);
            key.push(b':');
            key
        });
        let is_last =
            |&index: &usize| columns[index + 1..].iter().all(|later| later.name != columns[index].name);
        let shown = (0..columns.len()).filter(is_last).collect();
        Self { style, keys: keys.collect(), shown, written: 0 }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        self.written += 1;
        match self.style.rows {
            RowShape::Array => self.write_array(out, row),
            RowShape::Object => self.write_object(out, row),
        }
    }

    fn write_array(&self, out: &mut Vec<u8>, row: &dyn Row) {
        out.push(b'[');
        for index in 0..row.len() {
            if index > 0 {
                out.push(b',');
            }
            write_value(out, row.get(index), self.style);
        }
        out.push(b']');
    }

    fn write_object(&self, out: &mut Vec<u8>, row: &dyn Row) {
        out.push(b'{');
        for (position, &index) in self.shown.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.keys[index]);
            write_value(out, row.get(index), self.style);
        }
        out.push(b'}');
    }
}

pub(super) fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>, style: Style) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Integer(value) if style.ints.quotes(value) => {
            out.push(b'"');
            write_integer(out, value);
            out.push(b'"');
        }
        ValueRef::Integer(value) => write_integer(out, value),
        ValueRef::Real(value) if value.is_finite() => write_real(out, value),
        ValueRef::Real(value) => {
            out.extend_from_slice(b"{\"$real\":\"");
            out.extend_from_slice(non_finite(value).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        ValueRef::Text(text) => write_json(out, text),
        ValueRef::Blob(bytes) => {
            out.extend_from_slice(b"{\"$blob\":\"");
            write_base64(out, bytes);
            out.extend_from_slice(b"\"}");
        }
    }
}

pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

pub(super) fn write_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A finite double, with a point or an exponent, so that it stays a double when it is read.
pub(super) fn write_real(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
}

/// JSON of anything that cannot fail to be written into memory.
pub(super) fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}
