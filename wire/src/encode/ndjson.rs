//! `application/x-ndjson`: for each statement `{"columns":…}`, a line a row, `{"end":{…}}`; or, instead of
//! an end, `{"error":…}`. A reader that sees neither `end` nor `error` lost its connection.

use super::json::{
    RowWriter, write_changes, write_columns, write_integer, write_json, write_real, write_trailer,
};
use super::{Encoder, Style, Trailer};
use crate::error::Error;
use crate::result::{Column, StatementResult};
use crate::value::Row;

/// Writes one JSON document a line.
///
/// The `end` of the last statement carries `time` and `seq` of the whole request, so it is held back until
/// [`Encoder::finish`].
#[derive(Debug, Default)]
pub struct Ndjson {
    style: Style,
    rows: RowWriter,
    pending_end: Option<Vec<u8>>,
}

impl Ndjson {
    /// An encoder of this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, ..Self::default() }
    }

    fn flush_end(&mut self, out: &mut Vec<u8>) {
        if let Some(end) = self.pending_end.take() {
            out.extend_from_slice(b"{\"end\":{");
            out.extend_from_slice(&end);
            out.extend_from_slice(b"}}\n");
        }
    }
}

impl Encoder for Ndjson {
    fn media_type(&self) -> &'static str {
        crate::NDJSON
    }

    fn ends_with_errors(&self) -> bool {
        true
    }

    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn columns(&mut self, out: &mut Vec<u8>, index: usize, columns: &[Column]) {
        self.flush_end(out);
        self.rows = RowWriter::new(self.style, columns);
        out.push(b'{');
        write_columns(out, columns);
        out.extend_from_slice(b",\"statement\":");
        write_integer(out, index);
        out.extend_from_slice(b"}\n");
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        self.rows.write(out, row);
        out.push(b'\n');
    }

    fn end(&mut self, _out: &mut Vec<u8>, rows: u64, time: f64) {
        let mut end = Vec::with_capacity(48);
        end.extend_from_slice(b"\"rows\":");
        write_integer(&mut end, rows);
        end.extend_from_slice(b",\"statement_time\":");
        write_real(&mut end, time);
        self.pending_end = Some(end);
    }

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        let empty = Vec::new();
        let (columns, rows) =
            result.rows.as_ref().map_or((&empty, &[][..]), |it| (&it.columns, &it.rows[..]));
        self.columns(out, index, columns);
        for row in rows {
            self.row(out, row);
        }
        self.end(out, rows.len() as u64, result.time);
        if let Some(end) = &mut self.pending_end {
            end.push(b',');
            write_changes(end, result, self.style);
        }
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        self.flush_end(out);
        out.extend_from_slice(b"{\"error\":");
        write_json(out, error);
        out.extend_from_slice(b"}\n");
    }

    fn finish(&mut self, out: &mut Vec<u8>, trailer: &Trailer) {
        let mut end = self.pending_end.take().unwrap_or_else(|| b"\"rows\":0".to_vec());
        write_trailer(&mut end, trailer);
        self.pending_end = Some(end);
        self.flush_end(out);
    }

    fn abort(&mut self, out: &mut Vec<u8>, error: &Error) {
        self.failed(out, error.statement.unwrap_or(0), error);
    }
}
