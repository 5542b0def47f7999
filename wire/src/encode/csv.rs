//! `text/csv` (RFC 4180): a header line, then a line a row. NULL is an empty field, empty text and
//! the empty blob are `""`, blobs are base64. It has no place for an error, so an aborted answer just ends: the caller cuts the connection.

use super::json::{write_base64, write_integer, write_real};
use super::{Encoder, Trailer};
use crate::error::Error;
use crate::result::{Column, StatementResult};
use crate::value::{Row, ValueRef, non_finite};

/// Writes one row set as comma-separated values.
#[derive(Debug, Default)]
pub struct Csv;

impl Encoder for Csv {
    fn media_type(&self) -> &'static str {
        crate::CSV
    }

    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn columns(&mut self, out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_field(out, &column.name);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        for index in 0..row.len() {
            if index > 0 {
                out.push(b',');
            }
            match row.get(index) {
                ValueRef::Null => {}
                ValueRef::Integer(value) => write_integer(out, value),
                ValueRef::Real(value) if value.is_finite() => write_real(out, value),
                ValueRef::Real(value) => out.extend_from_slice(non_finite(value).as_bytes()),
                ValueRef::Text(text) => write_field(out, text),
                ValueRef::Blob([]) => out.extend_from_slice(b"\"\""),
                ValueRef::Blob(bytes) => write_base64(out, bytes),
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn end(&mut self, _out: &mut Vec<u8>, _rows: u64, _time: f64) {}

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        if let Some(rows) = &result.rows {
            self.columns(out, index, &rows.columns);
            for row in &rows.rows {
                self.row(out, row);
            }
        }
    }

    fn failed(&mut self, _out: &mut Vec<u8>, _index: usize, _error: &Error) {}
    fn finish(&mut self, _out: &mut Vec<u8>, _trailer: &Trailer) {}
    fn abort(&mut self, _out: &mut Vec<u8>, _error: &Error) {}
}

fn write_field(out: &mut Vec<u8>, text: &str) {
    let bare = !text.is_empty() && !text.contains([',', '"', '\r', '\n']) && text.trim() == text;
    if bare {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for part in text.split_inclusive('"') {
        out.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            out.push(b'"');
        }
    }
    out.push(b'"');
}
