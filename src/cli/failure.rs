//! How a command fails: what is said on standard error, and the exit code.

use std::fmt::Write as _;
use std::io;

use larder_client::database::DatabaseError;
use larder_client::fallback::{ReportsError, ShelfError, StoreError};
use larder_client::reports::ReportError;
use larder_client::reports::index::IndexError;
use larder_client::schema::SchemaError;
use larder_client::{CredentialsError, EndpointError, Error as CallError};
use larder_wire::ErrorReply;

use super::output::escape;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments do not fit together. Exit code 2.
    Usage(String),
    /// The server refused a request; the statements are those that were sent. Exit code 1.
    Refused { reply: Box<ErrorReply>, statements: Vec<String> },
    /// The call did not get as far, or its answer did not. Exit code 3 where no answer came, otherwise 1.
    Call(CallError),
    /// A store of reports, or all of them, did not answer. Exit code 3.
    Away(String),
    /// The database was never prepared for reports. Exit code 1.
    NoTables,
    /// Where "no" has an exit code of its own: this is not "no". Exit code 4 where it would be 1.
    NotNo(Box<Failure>),
    /// A file, a pipe or the terminal. Exit code 1; 0 if somebody stopped reading our output.
    Io { doing: String, error: io::Error },
    /// Ctrl-C. Exit code 130, as shells have it.
    Cancelled,
    /// Everything else. Exit code 1.
    Other(anyhow::Error),
}

impl Failure {
    /// A failure while doing something with a file, a pipe or the terminal.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }

    /// Whether nothing is there since nothing was ever made.
    pub(crate) fn is_of_no_tables(&self) -> bool {
        matches!(self, Self::NoTables)
    }

    /// The same failure of a command whose exit code 1 says "no".
    pub(crate) fn not_a_no(self) -> Self {
        if self.exit_code() == 1 { Self::NotNo(Box::new(self)) } else { self }
    }

    /// The failure of a call that carried these statements.
    pub(crate) fn of_statements(error: CallError, statements: &[String]) -> Self {
        match error {
            CallError::Refused { reply, .. } => Self::Refused { reply, statements: statements.to_vec() },
            other => Self::Call(other),
        }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Io { error, .. } if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Usage(_) | Self::Call(CallError::Endpoint { .. }) => 2,
            Self::Call(
                CallError::Unreachable { .. } | CallError::Unanswered { .. } | CallError::Credentials { .. },
            )
            | Self::Away(_) => 3,
            Self::NotNo(_) => 4,
            Self::Cancelled => 130,
            Self::Refused { .. } | Self::Call(_) | Self::NoTables | Self::Io { .. } | Self::Other(_) => 1,
        }
    }

    /// Says it on standard error.
    #[expect(clippy::print_stderr, reason = "this is where the command line speaks of errors")]
    pub(crate) fn report(&self) {
        if self.exit_code() != 0 {
            eprint!("{}", self.text());
        }
    }

    /// What is said, line by line, with nothing in it that a terminal would obey.
    fn text(&self) -> String {
        let text = match self {
            Self::Usage(message) | Self::Away(message) => format!("error: {message}\n"),
            Self::Refused { reply, statements } => refusal(reply, statements),
            Self::Call(error) => call(error),
            Self::NoTables => "error: there are no reports in this database: its tables are made by the first `larder reports put`, `generate` or `larder migrate`\n".to_owned(),
            Self::NotNo(failure) => failure.text(),
            Self::Io { doing, error } => format!("error: {doing}: {error}\n"),
            Self::Cancelled => "cancelled\n".to_owned(),
            Self::Other(error) => format!("error: {}\n", told(error)),
        };
        escape::text(&text).into_owned()
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        Self::Call(error.into())
    }
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        Self::Call(error.into())
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::of_statements(error, &[])
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unreachable(what) | DatabaseError::Unanswered(what) => Self::Away(what),
            DatabaseError::Refused { error, .. } if lacks_tables(&error) => Self::NoTables,
            DatabaseError::Refused { error, applied } => {
                let reply = ErrorReply { error: *error, applied, request_id: None };
                Self::Refused { reply: Box::new(reply), statements: Vec::new() }
            }
            DatabaseError::Broken(what) => Self::Call(CallError::Broken(what)),
        }
    }
}

/// Whether nobody has prepared the database for reports yet.
pub(super) fn is_unprepared(error: &ReportError) -> bool {
    matches!(error, ReportError::Database(DatabaseError::Refused { error, .. }) if lacks_tables(error))
}

fn lacks_tables(error: &larder_wire::Error) -> bool {
    error.code == "SQLITE_ERROR" && error.message.starts_with("no such table")
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Database(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Database(error) => error.into(),
            IndexError::Cursor => Self::Usage("--after: that is the end of another page".to_owned()),
            other => Self::Other(other.into()),
        }
    }
}

impl From<SchemaError> for Failure {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Database(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable { .. } | StoreError::Unanswered { .. } => Self::Away(error.to_string()),
            StoreError::Refused { .. } => Self::Other(error.into()),
        }
    }
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Store(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<ReportsError> for Failure {
    fn from(error: ReportsError) -> Self {
        match error {
            ReportsError::Unavailable { undecided: true, .. } => Self::Away(format!(
                "{error}\nhint: it may have been done nevertheless; doing it again is harmless"
            )),
            ReportsError::Unavailable { .. } => Self::Away(error.to_string()),
            ReportsError::Shelf(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn call(error: &CallError) -> String {
    let mut text = format!("error: {error}\n");
    if matches!(error, CallError::Unanswered { .. }) {
        text.push_str("hint: if it was a write, it may have been done; look before you repeat it\n");
    }
    text
}

fn refusal(reply: &ErrorReply, statements: &[String]) -> String {
    let error = &reply.error;
    let mut text = format!("error: {}: {}\n", error.code, error.message);
    let sql = error.statement.and_then(|index| statements.get(index));
    if let (Some(index), true) = (error.statement, statements.len() > 1) {
        let _ = writeln!(text, "in statement {} of {}", index + 1, statements.len());
    }
    if let (Some(sql), Some(offset)) = (sql, error.offset) {
        text.push_str(&point_at(sql, offset));
    }
    match reply.applied {
        larder_wire::Applied::No => {}
        larder_wire::Applied::Yes => text.push_str("note: it was done nevertheless\n"),
        larder_wire::Applied::Unknown => text.push_str("note: it is not known whether it was done\n"),
    }
    text
}

/// What is shown of a long line, before and behind the place.
const CONTEXT: usize = 60;

/// The line of the SQL in which the byte lies, and a caret under it.
fn point_at(sql: &str, offset: usize) -> String {
    let offset = (0..=offset.min(sql.len())).rev().find(|&at| sql.is_char_boundary(at)).unwrap_or(0);
    let start = sql[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = sql[offset..].find('\n').map_or(sql.len(), |at| offset + at);
    let (before, behind) = (&sql[start..offset], &sql[offset..end]);
    let skipped = before.chars().count().saturating_sub(CONTEXT);
    let before: String = before.chars().skip(skipped).map(|it| if it == '\t' { ' ' } else { it }).collect();
    let behind: String = behind.chars().take(CONTEXT).collect();
    let dots = if skipped > 0 { "…" } else { "" };
    let indent = dots.chars().count() + escape::text(&before).chars().count();
    format!("  {dots}{before}{behind}\n  {:indent$}^\n", "")
}

/// An error and its causes, but for those that it names itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_client::{Endpoint, Reason};
    use larder_wire::{Applied, Error, Kind};

    fn refused(sql: &[&str], statement: usize, offset: usize, applied: Applied) -> String {
        let error = Error::new(Kind::Invalid, "SQLITE_ERROR", "near \"FORM\": syntax error");
        let error = Error { statement: Some(statement), offset: Some(offset), ..error };
        let reply = Box::new(ErrorReply { error, applied, request_id: None });
        Failure::Refused { reply, statements: sql.iter().map(|&it| it.to_owned()).collect() }.text()
    }

    #[test]
    fn a_caret_stands_under_the_place() {
        assert_eq!(
            refused(&["SELECT *\n\tFORM t\nWHERE 1"], 0, 10, Applied::No),
            "error: SQLITE_ERROR: near \"FORM\": syntax error\n   FORM t\n   ^\n"
        );
        assert_eq!(
            refused(&["SELECT 1", "SELECT 'ä' FORM t"], 1, 12, Applied::Unknown),
            "error: SQLITE_ERROR: near \"FORM\": syntax error\nin statement 2 of 2\n  SELECT 'ä' FORM t\n             ^\n\
             note: it is not known whether it was done\n"
        );
        let long = format!("SELECT {}FORM t", "x, ".repeat(100));
        let text = refused(&[&long], 0, 307, Applied::No);
        let lines: Vec<&str> = text.lines().collect();
        let column = lines[2].chars().position(|it| it == '^').expect("a caret");
        assert!(lines[1].chars().skip(column).collect::<String>().starts_with("FORM"), "{text}");
        assert!(lines[1].chars().count() < 130);
    }

    #[test]
    fn a_place_outside_the_sql_does_no_harm() {
        assert!(refused(&["SELECT"], 0, 99, Applied::No).ends_with("  SELECT\n        ^\n"));
        assert!(refused(&["SELECT"], 7, 0, Applied::No).ends_with("error\n"));
    }

    #[test]
    fn nothing_in_an_error_reaches_the_terminal_as_a_command() {
        let text = refused(&["SELECT '\u{1b}]0;owned\u{7}' FORM"], 0, 20, Applied::No);
        assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
    }

    #[test]
    fn exit_codes() {
        let endpoint: Endpoint = "https://localhost:1".parse().expect("a URL");
        let timeout = || Reason::Timeout(std::time::Duration::from_secs(1));
        let broken_pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let cases = [
            (Failure::Usage(String::new()), 2),
            (CallError::Unreachable { endpoint: endpoint.clone(), reason: timeout() }.into(), 3),
            (CallError::Unanswered { endpoint, reason: timeout() }.into(), 3),
            (CallError::Broken(String::new()).into(), 1),
            ("x".parse::<Endpoint>().expect_err("no URL").into(), 2),
            (Failure::io("writing")(broken_pipe), 0),
            (Failure::io("writing")(io::ErrorKind::NotFound.into()), 1),
            (Failure::Other(anyhow::anyhow!("x")), 1),
        ];
        for (failure, code) in cases {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }
}
