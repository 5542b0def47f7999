//! Records of a list, printed as they come: a table for people, a JSON object a line for programs.

use clap::Args;
use larder_wire::encode::{Csv, Encoder as _};
use larder_wire::{Column, Row, Value};
use serde::Serialize;

use super::table::Table;
use super::{CHUNK, Sink, escape, lines, value};
use crate::cli::Failure;

/// What a list is made of.
pub(crate) trait Record: Serialize {
    /// The names of the columns, as people read them.
    const COLUMNS: &'static [&'static str];

    /// What stands in the columns.
    fn cells(&self) -> Vec<Value>;
}

/// How records are shown.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Show {
    /// Print JSON: one object, or an object a line. What a pipe gets anyway.
    #[arg(long)]
    json: bool,
    /// Print a table. What a terminal gets anyway.
    #[arg(long, conflicts_with = "json")]
    table: bool,
}

impl Show {
    /// Whether people are to read it.
    pub(crate) fn as_table(self, sink: &Sink) -> bool {
        self.table || !self.json && sink.is_terminal()
    }

    /// A list that goes to `sink`.
    pub(crate) fn list<R: Record>(self, sink: &mut Sink) -> Listing<'_> {
        self.list_of(R::COLUMNS, sink)
    }

    /// A list whose columns are not known before.
    pub(crate) fn list_of<'s>(self, names: &[&str], sink: &'s mut Sink) -> Listing<'s> {
        let width = sink.width;
        if self.as_table(sink) {
            let mut table = Table::new(width, usize::MAX);
            table.columns(&mut Vec::new(), 0, &columns(names));
            Listing { form: Form::Table(Box::new(table)), sink, buffer: Vec::new() }
        } else {
            json(sink)
        }
    }

    /// One record: a block of lines, or one JSON object.
    pub(crate) fn one<R: Record>(self, record: &R, sink: &mut Sink) -> Result<(), Failure> {
        if self.as_table(sink) {
            let mut out = Vec::new();
            let cells = record.cells();
            let shown = (0..cells.len()).map(|index| value::shown(Row::get(&cells, index)));
            lines::write_block(&mut out, &columns(R::COLUMNS), shown);
            // The empty line that parts blocks is of no use behind the last.
            out.pop();
            sink.write(&out)
        } else {
            let mut out = serialized(record)?;
            out.push(b'\n');
            sink.write_encoded(&out)
        }
    }
}

/// A list of JSON objects, one a line.
pub(crate) fn json(sink: &mut Sink) -> Listing<'_> {
    Listing { form: Form::Json, sink, buffer: Vec::new() }
}

/// A list as CSV, RFC 4180, with a header line.
pub(crate) fn csv<R: Record>(sink: &mut Sink) -> Listing<'_> {
    let mut buffer = Vec::new();
    Csv.columns(&mut buffer, 0, &columns(R::COLUMNS));
    Listing { form: Form::Csv, sink, buffer }
}

/// A list under way.
pub(crate) struct Listing<'s> {
    form: Form,
    sink: &'s mut Sink,
    buffer: Vec<u8>,
}

enum Form {
    Table(Box<Table>),
    Json,
    Csv,
}

impl Listing<'_> {
    /// Adds a record. A table is written at the end, since the widths of its columns depend on all of them.
    pub(crate) fn add<R: Record>(&mut self, record: &R) -> Result<(), Failure> {
        match &mut self.form {
            Form::Table(table) => table.row(&mut Vec::new(), &record.cells()),
            Form::Json => {
                self.buffer.extend(serialized(record)?);
                self.buffer.push(b'\n');
            }
            Form::Csv => Csv.row(&mut self.buffer, &record.cells()),
        }
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Whether the table is full: further records would not be shown.
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.form, Form::Table(table) if table.is_cut())
    }

    /// Ends the list. What people read ends with a line that says how many there are, and what else there is to know.
    pub(crate) fn finish(mut self, what: &str, note: Option<&str>) -> Result<(), Failure> {
        if let Form::Table(table) = &mut self.form {
            table.finish_with(&mut self.buffer, what, note);
        }
        self.flush()
    }

    /// Ends a list of which there is `more`. Who reads a table is told with the note; a program finds it on standard error.
    #[expect(clippy::print_stderr, reason = "standard output has the list, and nothing else")]
    pub(crate) fn finish_page(
        self,
        what: &str,
        note: Option<&str>,
        more: Option<&str>,
    ) -> Result<(), Failure> {
        let is_table = matches!(self.form, Form::Table(_));
        let notes: Vec<&str> = note.into_iter().chain(more).collect();
        self.finish(what, (!notes.is_empty()).then(|| notes.join("\n")).as_deref())?;
        if let Some(more) = more.filter(|_| !is_table) {
            eprintln!("{}", escape::text(more));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.buffer);
        match self.form {
            Form::Table(_) => self.sink.write(&bytes),
            Form::Json | Form::Csv => self.sink.write_encoded(&bytes),
        }
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    names.iter().map(|&name| Column { name: name.to_owned(), type_name: String::new() }).collect()
}

fn serialized(record: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(record).map_err(|error| Failure::Other(error.into()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a terminal of this width shows.
    pub(crate) fn on_terminal(width: u16, show: impl FnOnce(Show, &mut Sink)) -> String {
        let written = Written::default();
        let mut sink = Sink { out: Box::new(written.clone()), terminal: true, width: Some(width) };
        show(Show::default(), &mut sink);
        let bytes = written.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[track_caller]
    pub(crate) fn looks(shown: &str, golden: &str) {
        let file = format!("{}/src/cli/reports/golden/{golden}.txt", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(shown, std::fs::read_to_string(file).unwrap_or_default(), "\n{shown}");
    }

    #[derive(Serialize)]
    struct Named(&'static str);

    impl Record for Named {
        const COLUMNS: &'static [&'static str] = &["name"];
        fn cells(&self) -> Vec<Value> {
            vec![self.0.into()]
        }
    }

    #[test]
    fn a_terminal_is_given_nothing_to_obey_whatever_the_form() {
        let show = |json, csv: bool| {
            on_terminal(80, |_, sink| {
                let show = Show { json, table: !json };
                let mut list = if csv { super::csv::<Named>(sink) } else { show.list::<Named>(sink) };
                list.add(&Named("\u{1b}[2J\u{9b}31m")).expect("added");
                list.finish("name", Some("\u{1b}[2J")).expect("finished");
                show.one(&Named("\u{1b}[2J"), sink).expect("shown");
            })
        };
        for text in [show(true, false), show(false, false), show(true, true)] {
            let text = text.replace("\r\n", "\n");
            assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
        }
    }
}
