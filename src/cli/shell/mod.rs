//! `larder shell`: SQL as it is typed, or as it comes through a pipe.
//!
//! A statement is asked about first (`/describe`) and goes where it belongs: what only reads to `/query`, the
//! rest to `/execute`. Each stands for itself; transactions are the server's. On a terminal an error is shown
//! and the shell goes on; through a pipe the first error ends it.

mod commands;
mod editor;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Instant;

use clap::Args;
use larder_client::{Operation, Sidecar};
use larder_wire::{Request, Statement};

use super::connect::Connect;
use super::output::{Output, Sink};
use super::{Failure, split};
use editor::{Editor, Input};

/// Runs what is typed.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connect: Connect,
}

impl Shell {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut session = Session {
            sidecar: self.connect.sidecar()?,
            timeout_ms: self.connect.timeout_ms(),
            output: self.output,
            timer: false,
            sink: Sink::stdout(),
        };
        if io::stdin().is_terminal() { session.converse().await } else { session.obey().await }
    }
}

/// Whether the shell goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Quit,
}

/// A shell and its settings.
struct Session {
    sidecar: Sidecar,
    timeout_ms: Option<u64>,
    output: Output,
    timer: bool,
    sink: Sink,
}

impl Session {
    /// With a person.
    async fn converse(&mut self) -> Result<(), Failure> {
        self.greet().await?;
        let mut editor = Editor::open()?;
        loop {
            let (back, input) = editor.read().await?;
            editor = back;
            let done = match input {
                // What is dropped ends: on the server too, unless it is a write that has begun.
                Input::Text(text) => tokio::select! {
                    done = self.run(&text) => done,
                    _ = tokio::signal::ctrl_c() => Err(Failure::Cancelled),
                },
                Input::Nothing => Ok(Next::Go),
                Input::End => return Ok(()),
            };
            match done {
                Ok(Next::Go) => {}
                Ok(Next::Quit) => return Ok(()),
                Err(failure) => failure.report(),
            }
        }
    }

    /// Says whom one is speaking to, which also shows at once if nobody is there.
    async fn greet(&mut self) -> Result<(), Failure> {
        let body = self.sidecar.get("/version").await?.bytes(1 << 16).await?;
        let version: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let part = |name: &str| version[name].as_str().map(str::to_owned);
        let mut line = format!("larder {}", part("version").unwrap_or_default());
        if let Some(sqlite) = part("sqlite_version") {
            line = format!("{line}, SQLite {sqlite}");
        }
        let line = format!("{line} at {}; .help says more\n", self.sidecar.endpoint());
        self.sink.write(super::output::escape::text(&line).as_bytes())
    }

    /// From a pipe or a file: each statement as soon as it is whole.
    async fn obey(&mut self) -> Result<(), Failure> {
        let mut text = String::new();
        loop {
            let read = io::stdin().lock().read_line(&mut text);
            let at_end = read.map_err(Failure::io("reading standard input"))? == 0;
            let next = if at_end || is_whole(&text) {
                self.run(&std::mem::take(&mut text)).await?
            } else {
                Next::Go
            };
            if at_end || next == Next::Quit {
                return Ok(());
            }
        }
    }

    /// Runs a command of the shell, or one statement after the other.
    async fn run(&mut self, text: &str) -> Result<Next, Failure> {
        if let Some(command) = text.trim().strip_prefix('.') {
            return commands::run(self, command).await;
        }
        for sql in split::split(text) {
            self.statement(Statement::new(sql)).await?;
        }
        Ok(Next::Go)
    }

    async fn statement(&mut self, statement: Statement) -> Result<(), Failure> {
        let began = Instant::now();
        let request = Request { timeout_ms: self.timeout_ms, ..Request::new([statement]) };
        answer(&self.sidecar, &self.output, &request, &mut self.sink).await?;
        if self.timer {
            let line = format!("({:.1} ms)\n", began.elapsed().as_secs_f64() * 1000.0);
            self.sink.write(line.as_bytes())?;
        }
        Ok(())
    }
}

/// Sends a statement to where it belongs and prints what comes.
async fn answer(
    sidecar: &Sidecar,
    output: &Output,
    request: &Request,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let sql = &request.statements[0].sql;
    let described = sidecar.describe(&[sql]).await;
    let described = described.map_err(|error| Failure::of_statements(error, std::slice::from_ref(sql)))?;
    let reads = described.first().is_some_and(|it| it.read_only);
    let operation = if reads { Operation::Query } else { Operation::Execute };
    output.run(sidecar, operation, request, sink).await.map(drop)
}

/// Whether what was typed so far can be run: a command of the shell, or SQL up to a semicolon.
fn is_whole(text: &str) -> bool {
    if text.trim_start().starts_with('.') || split::is_blank(text) {
        return true;
    }
    let mut rest = text;
    while let Some(end) = split::end_of_statement(rest) {
        rest = &rest[end..];
    }
    split::is_blank(rest)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn input_is_whole_at_a_semicolon_or_a_command() {
        for whole in ["", "  \n", ".tables", " .help", "SELECT 1;", "SELECT 1; -- done\n", "-- nothing"] {
            assert!(is_whole(whole), "{whole:?}");
        }
        for part in ["SELECT 1", "SELECT 1; SELECT", "SELECT '.help;", "SELECT ';\n"] {
            assert!(!is_whole(part), "{part:?}");
        }
    }
}
