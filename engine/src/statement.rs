//! One statement on one connection: compiled, bound, stepped. Shared by the writer and the readers.

use larder_wire::{Bindings, Column, Description, Error, Kind, PlanStep, Role, Row, ValueRef, code};
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{CachedStatement, Connection, Statement};

use crate::connection::Guarded;
use crate::error::{classify, primary_code};
use crate::policy::{Footprint, Recorder};
use crate::queries::Control;

/// Compiles a statement, or takes it from the cache. The footprint is `None` if it was cached.
pub(crate) fn compile<'c>(
    connection: &'c Connection,
    recorder: &Recorder,
    sql: &str,
) -> Result<(CachedStatement<'c>, Option<Footprint>), Error> {
    let _ = recorder.take();
    let compiled = connection.prepare_cached(sql);
    let footprint = recorder.take();
    match compiled {
        Ok(statement) if is_empty(&statement) => {
            Err(Error::new(Kind::Invalid, "SQLITE_ERROR", "there is no statement in the SQL"))
        }
        Ok(statement) => Ok((statement, footprint)),
        Err(error) => {
            let error = refused(&error, footprint);
            // Blanks in front are cut off before SQLite sees the text.
            let cut = sql.len() - sql.trim_start().len();
            Err(Error { offset: error.offset.map(|offset| offset + cut), ..error })
        }
    }
}

/// A statement of blanks and comments compiles to nothing.
fn is_empty(statement: &Statement<'_>) -> bool {
    statement.column_count() == 0
        && statement.readonly()
        && statement.expanded_sql().is_none_or(|sql| sql.is_empty())
}

/// The authorizer's reason is better than SQLite's "not authorized".
fn refused(error: &rusqlite::Error, footprint: Option<Footprint>) -> Error {
    let error_code = primary_code(error);
    match footprint.and_then(|it| it.refusal) {
        Some(refusal) if error_code == Some(rusqlite::ffi::SQLITE_AUTH) => {
            Error::new(Kind::Denied, code::STATEMENT_REFUSED, refusal)
        }
        _ => classify(error),
    }
}

/// What a step that failed means: an interrupt has its reason in the control.
pub(crate) fn failed(error: &rusqlite::Error, control: &Control) -> Error {
    if primary_code(error) == Some(rusqlite::ffi::SQLITE_INTERRUPT)
        && let Some(reason) = control.stop_reason()
    {
        return reason.error();
    }
    classify(error)
}

/// Binds one set of arguments; each parameter needs one and each argument has to be one.
pub(crate) fn bind(statement: &mut Statement<'_>, bindings: &Bindings) -> Result<(), Error> {
    match bindings {
        Bindings::Positional(values) => bind_positional(statement, values),
        Bindings::Named(pairs) => bind_named(statement, pairs),
    }
}

fn bind_positional(statement: &mut Statement<'_>, values: &[larder_wire::Value]) -> Result<(), Error> {
    let expected = statement.parameter_count();
    if values.len() != expected {
        let message = format!("{} arguments are given, {expected} are expected", values.len());
        return Err(Error::new(Kind::Invalid, code::PARAMETER_COUNT, message));
    }
    for (index, value) in values.iter().enumerate() {
        bind_one(statement, index + 1, value)?;
    }
    Ok(())
}

fn bind_named(statement: &mut Statement<'_>, pairs: &[(String, larder_wire::Value)]) -> Result<(), Error> {
    let mut bound = vec![false; statement.parameter_count()];
    for (name, value) in pairs {
        let Some(index) = parameter_index(statement, name) else {
            let message = format!("the statement has no parameter {name:?}");
            return Err(Error::new(Kind::Invalid, code::PARAMETER_UNKNOWN, message));
        };
        bind_one(statement, index, value)?;
        bound[index - 1] = true;
    }
    match bound.iter().position(|bound| !bound) {
        None => Ok(()),
        Some(missing) => {
            let name = statement.parameter_name(missing + 1).unwrap_or("?").to_owned();
            let message = format!("no argument is given for parameter {} ({name})", missing + 1);
            Err(Error::new(Kind::Invalid, code::PARAMETER_COUNT, message))
        }
    }
}

/// With its prefix, or without one.
fn parameter_index(statement: &Statement<'_>, name: &str) -> Option<usize> {
    let find = |name: &str| statement.parameter_index(name).ok().flatten();
    find(name).or_else(|| [":", "@", "$"].iter().find_map(|prefix| find(&format!("{prefix}{name}"))))
}

fn bind_one(statement: &mut Statement<'_>, index: usize, value: &larder_wire::Value) -> Result<(), Error> {
    statement.raw_bind_parameter(index, Borrowed(value.borrowed())).map_err(|error| classify(&error))
}

/// A value that is bound from where it lies.
struct Borrowed<'v>(ValueRef<'v>);

impl ToSql for Borrowed<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef as Sql;
        Ok(ToSqlOutput::Borrowed(match self.0 {
            ValueRef::Null => Sql::Null,
            ValueRef::Integer(value) => Sql::Integer(value),
            ValueRef::Real(value) => Sql::Real(value),
            ValueRef::Text(text) => Sql::Text(text.as_bytes()),
            ValueRef::Blob(bytes) => Sql::Blob(bytes),
        }))
    }
}

/// The row that a statement stands on.
pub(crate) struct CurrentRow<'r, 's> {
    row: &'r rusqlite::Row<'s>,
    columns: usize,
}

impl<'r, 's> CurrentRow<'r, 's> {
    pub(crate) fn new(row: &'r rusqlite::Row<'s>, columns: usize) -> Self {
        Self { row, columns }
    }
}

impl Row for CurrentRow<'_, '_> {
    fn len(&self) -> usize {
        self.columns
    }

    fn get(&self, index: usize) -> ValueRef<'_> {
        use rusqlite::types::ValueRef as Sql;
        match self.row.get_ref(index) {
            Ok(Sql::Integer(value)) => ValueRef::Integer(value),
            Ok(Sql::Real(value)) => ValueRef::Real(value),
            Ok(Sql::Text(text)) => std::str::from_utf8(text).map_or(ValueRef::Blob(text), ValueRef::Text),
            Ok(Sql::Blob(bytes)) => ValueRef::Blob(bytes),
            Ok(Sql::Null) | Err(_) => ValueRef::Null,
        }
    }
}

/// Names and declared types of a statement's columns.
pub(crate) fn columns(statement: &Statement<'_>) -> Vec<Column> {
    let column = |it: rusqlite::Column<'_>| Column {
        name: it.name().to_owned(),
        type_name: it.decl_type().map(str::to_ascii_lowercase).unwrap_or_default(),
    };
    statement.columns().map(column).collect()
}

/// A column without a declared type is called after its first value.
pub(crate) fn infer_types(columns: &mut [Column], first: &dyn Row) {
    for (index, column) in columns.iter_mut().enumerate() {
        if column.type_name.is_empty() {
            first.get(index).storage_class().clone_into(&mut column.type_name);
        }
    }
}

/// Whether a statement gave or changed as many rows as the caller expects.
pub(crate) fn check_expectation(expected: Option<u64>, rows: u64) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != rows => {
            let message = format!("{expected} rows were expected, {rows} were found");
            Err(Error::new(Kind::Expectation, code::EXPECTATION_FAILED, message))
        }
        _ => Ok(()),
    }
}

/// What a statement needs and gives, without running it.
pub(crate) fn describe(guarded: &Guarded, sql: &str) -> Result<Description, Error> {
    let connection = &guarded.connection;
    // Only what is compiled now is judged now.
    connection.flush_prepared_statement_cache();
    let (statement, footprint) = compile(connection, &guarded.recorder, sql)?;
    let footprint = footprint.unwrap_or_default();
    let parameter = |index| statement.parameter_name(index).map(str::to_owned);
    let columns = columns(&statement);
    Ok(Description {
        parameters: (1..=statement.parameter_count()).map(parameter).collect(),
        types: columns.iter().map(|it| it.type_name.clone()).collect(),
        columns: columns.into_iter().map(|it| it.name).collect(),
        read_only: footprint.role == Role::Reader,
        role: footprint.role.to_string(),
        plan: if statement.is_explain() == 0 { plan(guarded, sql)? } else { Vec::new() },
    })
}

fn plan(guarded: &Guarded, sql: &str) -> Result<Vec<PlanStep>, Error> {
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    let failed = |error: rusqlite::Error| classify(&error);
    let mut statement = guarded.connection.prepare(&explain).map_err(failed)?;
    let mut rows = statement.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        plan.push(plan_step(row).map_err(failed)?);
    }
    Ok(plan)
}

fn plan_step(row: &rusqlite::Row<'_>) -> rusqlite::Result<PlanStep> {
    Ok(PlanStep { id: row.get(0)?, parent: row.get(1)?, detail: row.get(3)? })
}
