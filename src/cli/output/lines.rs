//! A row as a block of lines, `name = value` each, for rows that are too wide for a table.

use larder_wire::encode::{Encoder, Trailer};
use larder_wire::{Column, Error, Row, StatementResult};

use super::{escape, value};

/// Writes each row as a block.
#[derive(Default)]
pub(super) struct Lines {
    columns: Vec<Column>,
}

impl Encoder for Lines {
    fn media_type(&self) -> &'static str {
        "text/plain"
    }

    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn columns(&mut self, _out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        self.columns = columns.to_vec();
    }

    fn row(&mut self, out: &mut Vec<u8>, row: &dyn Row) {
        write_block(out, &self.columns, (0..row.len()).map(|index| value::shown(row.get(index))));
    }

    fn end(&mut self, _out: &mut Vec<u8>, _rows: u64, _time: f64) {}

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        if let Some(rows) = &result.rows {
            self.columns(out, index, &rows.columns);
            rows.rows.iter().for_each(|row| self.row(out, row));
        }
        out.extend_from_slice(format!("rows_affected = {}\n", result.rows_affected).as_bytes());
        if let Some(id) = result.last_insert_id {
            out.extend_from_slice(format!("last_insert_id = {id}\n").as_bytes());
        }
    }

    fn failed(&mut self, out: &mut Vec<u8>, _index: usize, error: &Error) {
        out.extend_from_slice(format!("error = {}\n", escape::text(&error.to_string())).as_bytes());
    }

    fn finish(&mut self, _out: &mut Vec<u8>, _trailer: &Trailer) {}
    fn abort(&mut self, _out: &mut Vec<u8>, _error: &Error) {}
}

/// One row: names set flush right, an empty line behind it.
pub(super) fn write_block<T: AsRef<str>>(
    out: &mut Vec<u8>,
    columns: &[Column],
    values: impl Iterator<Item = T>,
) {
    let names: Vec<_> = columns.iter().map(|it| escape::text(&it.name)).collect();
    let width = names.iter().map(|it| it.chars().count()).max().unwrap_or(0);
    for (name, value) in names.iter().zip(values) {
        let indented = value.as_ref().replace('\n', &format!("\n{:width$}   ", ""));
        out.extend_from_slice(format!("{name:>width$} = {indented}\n").as_bytes());
    }
    out.push(b'\n');
}
