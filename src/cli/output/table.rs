//! Rows as a table for people: kept until the statement ends, since widths depend on all of them, and therefore
//! bounded. Where a terminal is too narrow for the columns, each row is a block of lines.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement};
use larder_wire::encode::{Encoder, Trailer};
use larder_wire::{Column, Error, Row, StatementResult, ValueRef};

use super::lines::write_block;
use super::{escape, value};

/// Characters that a table keeps, at most: what 1000 rows of a wide table have.
const KEPT: usize = 4 << 20;
/// Characters that a column needs to be readable.
const NARROWEST: usize = 6;

/// Writes each result as a table, and under it how many rows there were.
pub(super) struct Table {
    /// The width of the terminal; without one, lines are as long as they are.
    width: Option<u16>,
    max_rows: usize,
    columns: Vec<Column>,
    rows: Vec<Vec<Shown>>,
    kept: usize,
    cut: bool,
}

#[derive(Debug)]
struct Shown {
    text: String,
    kind: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Text,
    Number,
    Null,
}

impl Table {
    pub(super) fn new(width: Option<u16>, max_rows: usize) -> Self {
        let (columns, rows) = (Vec::new(), Vec::new());
        Self { width, max_rows, columns, rows, kept: 0, cut: false }
    }

    /// Whether a row was left out already, so that further ones need not come.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Ends a list of records: how many of what there are, and a further line.
    pub(super) fn finish_with(&mut self, out: &mut Vec<u8>, what: &str, note: Option<&str>) {
        let shown = counted(self.rows.len() as u64, what);
        self.write_rows(out);
        let line = if self.cut {
            format!("(the first {shown}; --json shows all)\n")
        } else {
            format!("({shown})\n")
        };
        out.extend_from_slice(line.as_bytes());
        if let Some(note) = note {
            out.extend_from_slice(escape::text(note).as_bytes());
            out.push(b'\n');
        }
    }

    fn write_rows(&mut self, out: &mut Vec<u8>) {
        let rows = std::mem::take(&mut self.rows);
        let too_narrow = self.width.is_some_and(|it| self.columns.len() * NARROWEST > usize::from(it));
        if too_narrow {
            for row in &rows {
                write_block(out, &self.columns, row.iter().map(|it| it.text.as_str()));
            }
        } else if !self.columns.is_empty() {
            out.extend_from_slice(self.drawn(rows).trim_fmt().as_bytes());
            out.push(b'\n');
        }
    }

    fn drawn(&self, rows: Vec<Vec<Shown>>) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some(width) = self.width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        let name = |it: &Column| Cell::new(escape::text(&it.name)).add_attribute(Attribute::Bold);
        table.set_header(self.columns.iter().map(name));
        for row in rows {
            table.add_row(row.into_iter().map(Shown::into_cell));
        }
        table
    }

    fn write_count(&self, out: &mut Vec<u8>, rows: u64, shown: u64) {
        let line = if self.cut {
            let shown = counted(shown, "row");
            format!("(the first {shown}; --max-rows N shows more, -o csv, json or ndjson shows all)\n")
        } else {
            format!("({})\n", counted(rows, "row"))
        };
        out.extend_from_slice(line.as_bytes());
    }
}

impl Shown {
    fn new(value: ValueRef<'_>) -> Self {
        let kind = match value {
            ValueRef::Null => Look::Null,
            ValueRef::Integer(_) | ValueRef::Real(_) => Look::Number,
            ValueRef::Text(_) | ValueRef::Blob(_) => Look::Text,
        };
        Self { text: value::shown(value), kind }
    }

    fn into_cell(self) -> Cell {
        // Widths are counted by characters, and a tab has none of its own.
        let cell = Cell::new(self.text.replace('\t', "    "));
        match self.kind {
            Look::Text => cell,
            Look::Number => cell.set_alignment(CellAlignment::Right),
            Look::Null => cell.add_attribute(Attribute::Dim),
        }
    }
}

impl Encoder for Table {
    fn media_type(&self) -> &'static str {
        "text/plain"
    }

    fn start(&mut self, _out: &mut Vec<u8>) {}

    fn columns(&mut self, _out: &mut Vec<u8>, _index: usize, columns: &[Column]) {
        self.columns = columns.to_vec();
        self.rows.clear();
        (self.kept, self.cut) = (0, false);
    }

    fn row(&mut self, _out: &mut Vec<u8>, row: &dyn Row) {
        if self.rows.len() >= self.max_rows || self.kept > KEPT {
            self.cut = true;
            return;
        }
        let row: Vec<Shown> = (0..row.len()).map(|index| Shown::new(row.get(index))).collect();
        self.kept += row.iter().map(|it| it.text.len()).sum::<usize>();
        self.rows.push(row);
    }

    fn end(&mut self, out: &mut Vec<u8>, rows: u64, _time: f64) {
        let shown = self.rows.len() as u64;
        self.write_rows(out);
        self.write_count(out, rows, shown);
        self.cut = false;
    }

    fn changed(&mut self, out: &mut Vec<u8>, index: usize, result: &StatementResult) {
        if let Some(rows) = &result.rows {
            self.columns(out, index, &rows.columns);
            rows.rows.iter().for_each(|row| self.row(out, row));
            self.end(out, rows.rows.len() as u64, result.time);
        }
        out.extend_from_slice(counted(result.rows_affected, "row").as_bytes());
        out.extend_from_slice(b" changed");
        if let Some(id) = result.last_insert_id {
            out.extend_from_slice(format!(", last id {id}").as_bytes());
        }
        out.push(b'\n');
    }

    fn failed(&mut self, out: &mut Vec<u8>, index: usize, error: &Error) {
        let line = format!("statement {} failed: {error}", index + 1);
        out.extend_from_slice(escape::text(&line).as_bytes());
        out.push(b'\n');
    }

    fn finish(&mut self, _out: &mut Vec<u8>, _trailer: &Trailer) {}

    fn abort(&mut self, out: &mut Vec<u8>, _error: &Error) {
        if !self.rows.is_empty() {
            self.write_rows(out);
            out.extend_from_slice(b"(the answer broke off here)\n");
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    match what.strip_suffix('y') {
        _ if count == 1 => format!("1 {what}"),
        Some(stem) => format!("{count} {stem}ies"),
        None if what.ends_with('s') => format!("{count} {what}es"),
        None => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_wire::{Rows, Value};

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|&name| Column { name: name.to_owned(), type_name: String::new() }).collect()
    }

    fn table(mut table: Table, names: &[&str], rows: &[Vec<Value>]) -> String {
        let mut out = Vec::new();
        table.start(&mut out);
        table.columns(&mut out, 0, &columns(names));
        rows.iter().for_each(|row| table.row(&mut out, row));
        table.end(&mut out, rows.len() as u64, 0.0);
        String::from_utf8(out).expect("UTF-8")
    }

    #[track_caller]
    fn looks(shown: &str, golden: &str) {
        let file = format!("{}/src/cli/output/golden/{golden}.txt", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(shown, std::fs::read_to_string(file).expect(golden), "\n{shown}");
    }

    #[test]
    fn values_of_every_kind() {
        let rows = [
            vec![Value::Integer(7), "text".into(), Value::Blob(vec![0xca, 0xfe]), Value::Real(0.5)],
            vec![Value::Null, "two\nlines".into(), Value::Blob(vec![0; 5632]), Value::Real(-1.0)],
            vec![Value::Integer(12345), "\u{1b}[31mred\u{7}".into(), Value::Null, Value::Null],
        ];
        looks(&table(Table::new(None, 10), &["id", "note", "bytes", "x"], &rows), "values");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let rows: Vec<Vec<Value>> = (0..5).map(|it| vec![Value::Integer(it)]).collect();
        looks(&table(Table::new(None, 2), &["n"], &rows), "cut");
        looks(&table(Table::new(None, 5), &["n"], &rows[..1]), "one");
        looks(&table(Table::new(None, 5), &["n"], &[]), "none");
    }

    #[test]
    fn memory_is_bounded_by_characters_too() {
        let mut wide = Table::new(None, usize::MAX);
        let row = vec![Value::from("x".repeat(1000)); 100];
        wide.columns(&mut Vec::new(), 0, &columns(&["x"; 100]));
        (0..1000).for_each(|_| wide.row(&mut Vec::new(), &row));
        assert!(wide.is_cut() && wide.rows.len() < 50);
    }

    #[test]
    fn a_narrow_terminal_wraps_or_shows_blocks() {
        let rows = [vec![Value::Integer(1), "a long line of words that has to be broken".into()]];
        let wrapped = table(Table::new(Some(30), 10), &["id", "note"], &rows);
        looks(&wrapped, "wrapped");
        assert!(wrapped.lines().all(|it| it.chars().count() <= 30));
        let rows = [vec![Value::Integer(1), "two\nlines".into(), Value::Null]];
        looks(&table(Table::new(Some(12), 10), &["id", "a\u{9b}b", "c"], &rows), "blocks");
    }

    #[test]
    fn writes_say_what_they_changed() {
        let mut out = Vec::new();
        let mut printed = Table::new(None, 10);
        let mut result = StatementResult { rows_affected: 1, last_insert_id: Some(42), ..Default::default() };
        printed.changed(&mut out, 0, &result);
        result.rows = Some(Rows { columns: columns(&["id"]), rows: vec![vec![Value::Integer(42)]] });
        printed.changed(&mut out, 1, &result);
        printed.changed(&mut out, 2, &StatementResult::default());
        looks(&String::from_utf8(out).expect("UTF-8"), "changed");
    }

    #[test]
    fn an_answer_that_breaks_off_shows_what_came() {
        let mut out = Vec::new();
        let mut printed = Table::new(None, 10);
        printed.columns(&mut out, 0, &columns(&["n"]));
        printed.row(&mut out, &vec![Value::Integer(1)]);
        printed.abort(&mut out, &Error::new(larder_wire::Kind::Deadline, "DEADLINE", "its time was up"));
        looks(&String::from_utf8(out).expect("UTF-8"), "aborted");
    }
}
