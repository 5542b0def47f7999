//! How answers are printed: chosen once, written as the rows come.
//!
//! The machine formats are those of the server, written by the same encoders; the table and the lines are for
//! people. Rows are never collected, except as many as a table shows.

pub(crate) mod escape;
mod lines;
pub(crate) mod listing;
mod table;
mod value;

use std::io::{self, IsTerminal as _, Write};

use clap::{Args, ValueEnum};
use larder_client::{Error as CallError, Event, Operation, RowStream, Sidecar};
use larder_wire::encode::{Csv, Encoder, Json, Ndjson, Style};
use larder_wire::{Column, Error, ErrorReply, Kind, Request, Rows, StatementResult, Value};

use super::Failure;
use lines::Lines;
use table::Table;

/// Bytes that are gathered before they are written.
const CHUNK: usize = 32 << 10;

/// The forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Drawn, for people.
    Table,
    /// One document.
    Json,
    /// RFC 4180, with a header line.
    Csv,
    /// One JSON document a line.
    Ndjson,
    /// A line a value.
    Line,
}

/// The options about output.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// How to print [default: table on a terminal, otherwise json].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Rows of a table that are shown.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) max_rows: usize,
}

/// Where answers go, and whether it is a terminal.
pub(crate) struct Sink {
    out: Box<dyn Write + Send>,
    terminal: bool,
    /// How wide the terminal is, if it is one and says so.
    width: Option<u16>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    /// The server's seconds from arrival to answer; unknown if the answer was not read to its end.
    pub(crate) time: Option<f64>,
}

impl Sink {
    pub(crate) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let width = if terminal { comfy_table::Table::new().width() } else { None };
        Self { out: Box::new(io::stdout()), terminal, width }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes what is safe on a terminal already.
    pub(crate) fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        let written = self.out.write_all(text).and_then(|()| self.out.flush());
        written.map_err(Failure::io("writing the output"))
    }

    /// Writes what an encoder has made of values, whole rows at a time.
    fn write_encoded(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.terminal {
            self.write(escape::encoded(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            self.write(bytes)
        }
    }
}

impl Output {
    /// Runs a request and prints its answer.
    pub(crate) async fn run(
        &self,
        sidecar: &Sidecar,
        operation: Operation,
        request: &Request,
        sink: &mut Sink,
    ) -> Result<Summary, Failure> {
        let statements: Vec<String> = request.statements.iter().map(|it| it.sql.clone()).collect();
        let failure = |error| Failure::of_statements(error, &statements);
        let stream = sidecar.stream(operation, request).await.map_err(failure)?;
        let printer = Printer::new(self.format(sink), self.max_rows, sink);
        printer.print(stream, operation, statements.len()).await.map_err(|stop| match stop {
            Stop::Call(error) => failure(error),
            Stop::Here(failure) => failure,
        })
    }

    /// The format that was asked for, or the one that suits the sink.
    pub(crate) fn format(&self, sink: &Sink) -> Format {
        self.output.unwrap_or(if sink.is_terminal() { Format::Table } else { Format::Json })
    }
}

/// Says something to the person, beside what goes into the pipe.
#[expect(clippy::print_stderr, reason = "this is where the command line speaks of what is no error")]
pub(crate) fn say(text: &str) {
    eprint!("{}", escape::text(text));
}

/// Why printing stopped.
enum Stop {
    Call(CallError),
    Here(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Here(failure)
    }
}

/// An encoder of one of the two kinds: those that escape for themselves, and those of the wire.
enum Form {
    Table(Table),
    Lines(Lines),
    Wire(Box<dyn Encoder>),
}

struct Printer<'s> {
    form: Form,
    sink: &'s mut Sink,
    buffer: Vec<u8>,
    /// Which statement is being answered.
    statement: usize,
    /// The rows of a write, which are encoded together with what it changed.
    held: Option<Rows>,
    changed: Option<(u64, Option<i64>)>,
    /// The first failure of a statement that stands for itself.
    failed: Option<Error>,
}

impl<'s> Printer<'s> {
    fn new(format: Format, max_rows: usize, sink: &'s mut Sink) -> Self {
        let style = Style { pretty: sink.is_terminal(), ..Style::default() };
        let width = sink.width;
        let form = match format {
            Format::Table => Form::Table(Table::new(width, max_rows)),
            Format::Line => Form::Lines(Lines::default()),
            Format::Json => Form::Wire(Box::new(Json::new(style))),
            Format::Csv => Form::Wire(Box::new(Csv)),
            Format::Ndjson => Form::Wire(Box::new(Ndjson::default())),
        };
        Self { form, sink, buffer: Vec::new(), statement: 0, held: None, changed: None, failed: None }
    }

    fn encode(&mut self, write: impl FnOnce(&mut dyn Encoder, &mut Vec<u8>)) {
        let encoder: &mut dyn Encoder = match &mut self.form {
            Form::Table(table) => table,
            Form::Lines(lines) => lines,
            Form::Wire(encoder) => encoder.as_mut(),
        };
        write(encoder, &mut self.buffer);
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.buffer);
        match self.form {
            Form::Wire(_) => self.sink.write_encoded(&bytes),
            Form::Table(_) | Form::Lines(_) => self.sink.write(&bytes),
        }
    }

    /// Prints an answer to its end, or to where nobody wants more of it.
    async fn print(
        mut self,
        mut stream: RowStream,
        operation: Operation,
        statements: usize,
    ) -> Result<Summary, Stop> {
        let mut summary = Summary::default();
        self.encode(|encoder, out| encoder.start(out));
        loop {
            let event = match stream.next().await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => return Err(self.broken_off(error)),
            };
            self.event(event, operation, &mut summary);
            if self.statement + 1 == statements && matches!(&self.form, Form::Table(it) if it.is_cut()) {
                self.encode(|encoder, out| encoder.end(out, 0, 0.0));
                break;
            }
            if self.buffer.len() >= CHUNK {
                self.flush()?;
            }
        }
        self.flush()?;
        match self.failed {
            None => Ok(summary),
            Some(error) => Err(Stop::Call(refused(error))),
        }
    }

    fn event(&mut self, event: Event, operation: Operation, summary: &mut Summary) {
        let index = self.statement;
        match event {
            Event::Columns { names, types, .. } => self.columns(operation, names, types),
            Event::Row(row) => self.row(row),
            Event::Changed { rows_affected, last_insert_id } => {
                self.changed = Some((rows_affected, last_insert_id));
            }
            Event::Failed(error) => {
                self.encode(|encoder, out| encoder.failed(out, index, &error));
                self.failed.get_or_insert(Error { statement: Some(index), ..error });
                self.statement += 1;
            }
            Event::End { rows, time, trailer } => {
                self.end(rows, time);
                if let Some(trailer) = trailer {
                    summary.time = Some(trailer.time);
                    self.encode(|encoder, out| encoder.finish(out, &trailer));
                }
            }
        }
    }

    fn columns(&mut self, operation: Operation, names: Vec<String>, types: Vec<String>) {
        let types = types.into_iter().chain(std::iter::repeat(String::new()));
        let columns: Vec<Column> =
            names.into_iter().zip(types).map(|(name, type_name)| Column { name, type_name }).collect();
        if operation == Operation::Execute {
            self.held = Some(Rows { columns, rows: Vec::new() });
        } else {
            let index = self.statement;
            self.encode(|encoder, out| encoder.columns(out, index, &columns));
        }
    }

    fn row(&mut self, row: Vec<Value>) {
        match &mut self.held {
            Some(held) => held.rows.push(row),
            None => self.encode(|encoder, out| encoder.row(out, &row)),
        }
    }

    fn end(&mut self, count: u64, time: f64) {
        let (index, rows) = (self.statement, self.held.take());
        match self.changed.take() {
            Some((rows_affected, last_insert_id)) => {
                let rows = rows.filter(|it| !it.columns.is_empty());
                let result = StatementResult { rows_affected, last_insert_id, rows, time };
                self.encode(|encoder, out| encoder.changed(out, index, &result));
            }
            None => {
                let rows = rows.unwrap_or_default();
                if !rows.columns.is_empty() {
                    self.encode(|encoder, out| encoder.columns(out, index, &rows.columns));
                }
                rows.rows.iter().for_each(|row| self.encode(|encoder, out| encoder.row(out, row)));
                self.encode(|encoder, out| encoder.end(out, count, time));
            }
        }
        self.statement += 1;
    }

    /// Closes what was opened, so that a document that was begun says that it is not whole.
    fn broken_off(mut self, error: CallError) -> Stop {
        let told = match &error {
            CallError::Refused { reply, .. } => reply.error.clone(),
            other => Error::new(Kind::Unavailable, "BROKEN_OFF", other.to_string()),
        };
        self.encode(|encoder, out| encoder.abort(out, &told));
        match self.flush() {
            Ok(()) => Stop::Call(error),
            Err(failure) => Stop::Here(failure),
        }
    }
}

fn refused(error: Error) -> CallError {
    let reply = ErrorReply { error, applied: larder_wire::Applied::No, request_id: None };
    CallError::Refused { status: http::StatusCode::OK, reply: Box::new(reply) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Pieces(Sender<Vec<u8>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(terminal: bool) -> (Sink, Receiver<Vec<u8>>) {
        let (sender, receiver) = channel();
        (Sink { out: Box::new(Pieces(sender)), terminal, width: None }, receiver)
    }

    /// What a format makes of a value that would clear the screen and a column that would rename the window.
    fn printed(format: Format, terminal: bool) -> String {
        let (mut sink, pieces) = sink(terminal);
        let mut printer = Printer::new(format, 10, &mut sink);
        let event = |event| (event, Operation::Query);
        for (event, operation) in [
            event(Event::Columns { statement: 0, names: vec!["\u{9d}0;x".into()], types: vec![] }),
            event(Event::Row(vec!["\u{1b}[2J\u{7f}\u{9b}31m\rä".into()])),
            event(Event::End { rows: 1, time: 0.0, trailer: None }),
        ] {
            printer.event(event, operation, &mut Summary::default());
        }
        printer.flush().expect("written");
        drop(sink);
        String::from_utf8(pieces.into_iter().flatten().collect()).expect("UTF-8")
    }

    #[test]
    fn no_format_lets_a_value_command_the_terminal() {
        for format in Format::value_variants() {
            let text = printed(*format, true);
            let text = text.replace("\r\n", "\n");
            assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{format:?}: {text:?}");
            assert!(text.contains('ä'), "{format:?}: {text:?}");
        }
    }

    #[test]
    fn a_pipe_gets_values_as_they_are() {
        assert!(printed(Format::Csv, false).contains("\u{1b}[2J\u{7f}\u{9b}31m\rä"));
    }
}
