//! The commands of the shell that are not SQL; they begin with a point, as in the shell of SQLite.

use std::path::Path;

use clap::ValueEnum as _;
use larder_client::{Error as CallError, Operation, Sidecar};
use larder_wire::{Request, Statement, Value};

use super::{Next, Session};
use crate::cli::output::{Format, escape};
use crate::cli::{Failure, backup, progress, status};

const HELP: &str = "\
.tables              tables and views
.schema [NAME]       how they were created
.mode MODE           table, json, csv, ndjson or line
.timer on|off        how long each statement takes
.backup FILE         a copy of the database; compressed if FILE ends in .zst
.status              how the server is
.help                this
.quit                leave (also Ctrl-D)
SQL ends with a semicolon. Ctrl-C stops what runs; a write that has begun is finished by the server.
A line that begins with a space is not kept in the history.
";

/// Names that the server or SQLite keeps for itself.
const NOT_OURS: &str = r"name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_larder\_%' ESCAPE '\'";

/// Runs one command, given without its point.
pub(super) async fn run(session: &mut Session, command: &str) -> Result<Next, Failure> {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["tables"] => tables(session).await?,
        ["schema"] => schema(session, None).await?,
        ["schema", name] => schema(session, Some(name)).await?,
        ["mode", mode] => session.output.output = Some(format(mode)?),
        ["timer", "on"] => session.timer = true,
        ["timer", "off"] => session.timer = false,
        ["backup", file] => fetch(session, Path::new(file)).await?,
        ["status"] => {
            let table = session.output.format(&session.sink) == Format::Table;
            status::print(&session.sidecar, table, &mut session.sink).await?;
        }
        ["help"] => session.sink.write(HELP.as_bytes())?,
        ["quit" | "exit"] => return Ok(Next::Quit),
        _ => return Err(Failure::Usage(format!(".{command} is not known or not complete; see .help"))),
    }
    Ok(Next::Go)
}

fn format(name: &str) -> Result<Format, Failure> {
    Format::from_str(name, true)
        .map_err(|_| Failure::Usage("the modes are table, json, csv, ndjson and line".to_owned()))
}

async fn tables(session: &mut Session) -> Result<(), Failure> {
    let sql = format!(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND {NOT_OURS} ORDER BY name"
    );
    let names = texts(&session.sidecar, Statement::new(sql)).await?;
    print(session, &names, "")
}

async fn schema(session: &mut Session, name: Option<&str>) -> Result<(), Failure> {
    let of = if name.is_some() { "AND tbl_name = ? COLLATE NOCASE" } else { "" };
    let sql = format!(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND {NOT_OURS} {of} \
         ORDER BY tbl_name, type = 'table' DESC, name"
    );
    let arguments: Vec<Value> = name.into_iter().map(Value::from).collect();
    let created = texts(&session.sidecar, Statement::with(sql, arguments)).await?;
    print(session, &created, ";")
}

async fn fetch(session: &mut Session, file: &Path) -> Result<(), Failure> {
    let written = backup::fetch(&session.sidecar, file, false).await?;
    let line = format!("{}: {}\n", file.display(), progress::bytes(written));
    session.sink.write(escape::text(&line).as_bytes())
}

/// The first column of what a statement reads.
async fn texts(sidecar: &Sidecar, statement: Statement) -> Result<Vec<String>, Failure> {
    let mut stream = sidecar.stream(Operation::Query, &Request::new([statement])).await?;
    let mut texts = Vec::new();
    while let Some(event) = stream.next().await? {
        if let larder_client::Event::Row(row) = event {
            match row.into_iter().next() {
                Some(Value::Text(text)) => texts.push(text),
                other => return Err(CallError::Broken(format!("{other:?} is no name")).into()),
            }
        }
    }
    Ok(texts)
}

fn print(session: &mut Session, lines: &[String], end: &str) -> Result<(), Failure> {
    let text: String = lines.iter().map(|line| format!("{}{end}\n", escape::text(line))).collect();
    session.sink.write(text.as_bytes())
}
