//! `application/vnd.msgpack`: the JSON document with native blobs and integers, written whole; and the same
//! as a stream of objects, for results that are longer than a reader wants to hold.

use super::{Encoder, Trailer};
use crate::error::Error;
use crate::result::{Column, StatementResult};
use crate::value::{Row, ValueRef};

/// Writes one MessagePack map. The numbers of results and rows stand before them, so they are filled in at the end.
#[derive(Debug, Default)]
pub struct Msgpack {
    results: Slot,
    rows: Slot,
}

/// An array header of five bytes whose count is filled in later.
#[derive(Debug, Default)]
struct Slot {
    at: usize,
    count: u32,
}

impl Slot {
    fn open(out: &mut Vec<u8>) -> Self {
        let at = out.len();
        out.extend_from_slice(&[0xdd, 0, 0, 0, 0]);
        Self { at, count: 0 }
    }

    fn close(&self, out: &mut [u8]) {
        out[self.at + 1..self.at + 5].copy_from_slice(&self.count.to_be_bytes());
    }
}

impl Encoder for Msgpack {
    fn media_type(&self) -> &'static str {
        crate::MSGPACK
    }

    fn streams(&self) -> bool {
        false
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        // A map of 16-bit length, likewise filled in at the end.
        out.extend_from_slice(&[0xde, 0, 0]);
        write_str(out, "results");
        self.results = Slot::open(out);
    }

    fn columns(&mut self, out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        self.results.count += 1;
        write_map(out, 4);
        self.rows = open_rows(out, columns);
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        self.rows.count += 1;
        write_row(out, row);
    }

    fn end(&mut self, out: &mut Vec<u8>, _rows: u64, time: f64) {
        self.rows.close(out);
        write_str(out, "time");
        write_f64(out, time);
    }

    fn changed(&mut self, out: &mut Vec<u8>, _index: usize, result: &StatementResult) {
        self.results.count += 1;
        let fields =
            2 + u32::from(result.last_insert_id.is_some()) + if result.rows.is_some() { 3 } else { 0 };
        write_map(out, fields);
        if let Some(rows) = &result.rows {
            let mut slot = open_rows(out, &rows.columns);
            for row in &rows.rows {
                slot.count += 1;
                write_row(out, row);
            }
            slot.close(out);
        }
        write_changes(out, result);
        write_str(out, "time");
        write_f64(out, result.time);
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        self.results.count += 1;
        write_map(out, 1);
        write_error(out, error);
    }

    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer) {
        self.results.close(out);
        let fields = 1 + write_trailer(out, trailer);
        let head = self.results.at - "results".len() - 1;
        out[head - 2..head].copy_from_slice(&fields.to_be_bytes());
    }

    fn abort(&mut self, out: &mut Vec<u8>, _error: &Error) {
        // Nothing of it was sent: the caller answers with the error instead.
        out.clear();
    }
}

/// Writes MessagePack objects one after the other, as NDJSON does lines.
#[derive(Debug, Default)]
pub struct MsgpackStream {
    pending_end: Option<(u64, f64)>,
}

impl MsgpackStream {
    fn flush_end(&mut self, out: &mut Vec<u8>, trailer: Option<&Trailer>) {
        let Some((rows, time)) = self.pending_end.take() else { return };
        write_map(out, 1);
        write_str(out, "end");
        let fields = 2 + trailer.map_or(0, |it| u32::from(trailer_fields(it)));
        write_map(out, fields);
        write_str(out, "rows");
        write_u64(out, rows);
        write_str(out, "statement_time");
        write_f64(out, time);
        if let Some(trailer) = trailer {
            write_trailer(out, trailer);
        }
    }
}

impl Encoder for MsgpackStream {
    fn media_type(&self) -> &'static str {
        crate::MSGPACK_STREAM
    }

    fn ends_with_errors(&self) -> bool {
        true
    }

    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn columns(&mut self, out: &mut Vec<u8>, index: usize, columns: &[Column]) {
        self.flush_end(out, None);
        write_map(out, 3);
        write_columns(out, columns);
        write_str(out, "statement");
        write_u64(out, index as u64);
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        write_row(out, row);
    }

    fn end(&mut self, _out: &mut Vec<u8>, rows: u64, time: f64) {
        self.pending_end = Some((rows, time));
    }

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        self.flush_end(out, None);
        if let Some(rows) = &result.rows {
            self.columns(out, index, &rows.columns);
            for row in &rows.rows {
                self.row(out, row);
            }
        }
        write_map(out, 1);
        write_str(out, "changed");
        write_map(out, 1 + u32::from(result.last_insert_id.is_some()));
        write_changes(out, result);
        self.end(out, result.rows.as_ref().map_or(0, |it| it.rows.len() as u64), result.time);
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        self.flush_end(out, None);
        write_map(out, 1);
        write_error(out, error);
    }

    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer) {
        self.pending_end.get_or_insert((0, 0.0));
        self.flush_end(out, Some(trailer));
    }

    fn abort(&mut self, out: &mut Vec<u8>, error: &Error) {
        self.failed(out, error.statement.unwrap_or(0), error);
    }
}

fn open_rows(out: &mut Vec<u8>, columns: &[Column]) -> Slot {
    write_columns(out, columns);
    write_str(out, "rows");
    Slot::open(out)
}

fn write_columns(out: &mut Vec<u8>, columns: &[Column]) {
    write_str(out, "columns");
    write_array(out, columns.len());
    columns.iter().for_each(|it| write_str(out, &it.name));
    write_str(out, "types");
    write_array(out, columns.len());
    columns.iter().for_each(|it| write_str(out, &it.type_name));
}

fn write_row(out: &mut Vec<u8>, row: &dyn Row) {
    write_array(out, row.len());
    for index in 0..row.len() {
        write_value(out, row.get(index));
    }
}

fn write_changes(out: &mut Vec<u8>, result: &StatementResult) {
    write_str(out, "rows_affected");
    write_u64(out, result.rows_affected);
    if let Some(id) = result.last_insert_id {
        write_str(out, "last_insert_id");
        write_value(out, ValueRef::Integer(id));
    }
}

fn write_error(out: &mut Vec<u8>, error: &Error) {
    write_str(out, "error");
    let start = out.len();
    if rmp_serde::encode::write_named(out, error).is_err() {
        out.truncate(start);
        out.push(0xc0);
    }
}

fn trailer_fields(trailer: &Trailer) -> u16 {
    2 + u16::from(trailer.errors > 0) + u16::from(trailer.replayed)
}

/// Writes the fields of the trailer and says how many there are.
fn write_trailer(out: &mut Vec<u8>, trailer: &Trailer) -> u16 {
    write_str(out, "time");
    write_f64(out, trailer.time);
    write_str(out, "seq");
    write_u64(out, trailer.seq);
    if trailer.errors > 0 {
        write_str(out, "errors");
        write_u64(out, trailer.errors as u64);
    }
    if trailer.replayed {
        write_str(out, "replayed");
        out.push(0xc3);
    }
    trailer_fields(trailer)
}

/// Appends to memory, which cannot fail; `rmp` writes into anything and so returns results.
macro_rules! infallible {
    ($write:expr) => {
        debug_assert!($write.is_ok())
    };
}

fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.push(0xc0),
        ValueRef::Integer(value) => {
            let written = rmp::encode::write_sint(out, value);
            infallible!(written);
        }
        ValueRef::Real(value) => write_f64(out, value),
        ValueRef::Text(text) => write_str(out, text),
        ValueRef::Blob(bytes) => {
            let written = rmp::encode::write_bin(out, bytes);
            infallible!(written);
        }
    }
}

fn write_str(out: &mut Vec<u8>, text: &str) {
    let written = rmp::encode::write_str(out, text);
    infallible!(written);
}

fn write_u64(out: &mut Vec<u8>, value: u64) {
    let written = rmp::encode::write_uint(out, value);
    infallible!(written);
}

fn write_f64(out: &mut Vec<u8>, value: f64) {
    let written = rmp::encode::write_f64(out, value);
    infallible!(written);
}

fn write_array(out: &mut Vec<u8>, len: usize) {
    let written = rmp::encode::write_array_len(out, u32::try_from(len).unwrap_or(u32::MAX));
    infallible!(written);
}

fn write_map(out: &mut Vec<u8>, len: u32) {
    let written = rmp::encode::write_map_len(out, len);
    infallible!(written);
}
