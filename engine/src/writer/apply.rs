//! One request inside the transaction of its group: wholly applied, or without a trace.

use larder_wire::{Error, Kind, Row, Rows, Statement, StatementResult, code};
use rusqlite::{CachedStatement, Statement as Compiled};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::{Job, Session, WriteAnswer};
use crate::ffi;
use crate::policy::Footprint;
use crate::queries::Phase;
use crate::statement::{self, CurrentRow};

/// What became of a request.
pub(super) enum Outcome {
    /// It is part of the transaction.
    Done(Applied),
    /// It failed and left no trace.
    Refused(Error),
    /// It failed at this statement and took the whole transaction with it.
    Lost { statement: usize, error: Error },
}

/// A request that is part of the transaction.
pub(super) struct Applied {
    pub(super) answer: WriteAnswer,
    pub(super) touched: Touched,
}

/// What a request changed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) tables: BTreeSet<Arc<str>>,
    pub(super) schema: bool,
    /// Whether there is something to commit.
    pub(super) anything: bool,
}

impl Touched {
    pub(super) fn merge(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.schema |= other.schema;
        self.anything |= other.anything;
    }
}

/// An error and the statement that it is about.
struct Failed {
    statement: usize,
    error: Error,
}

impl Session {
    /// Runs a request inside the open transaction, under its own savepoint, deadline and cancellation.
    ///
    /// Where it is the first in its transaction, the transaction itself is the savepoint: there is nobody to protect.
    pub(super) fn apply(&self, job: &Job, max_returned: usize, is_first: bool) -> Outcome {
        let control = &job.write.query.control;
        if let Some(reason) = control.stop_reason() {
            return Outcome::Refused(reason.error());
        }
        job.write.query.enter(Phase::Running);
        if !is_first && let Err(error) = self.server_sql("SAVEPOINT request") {
            return Outcome::Refused(crate::error::classify(&error));
        }
        ffi::reset_last_insert_rowid(self.connection());
        let mut request = Request {
            session: self,
            job,
            touched: Touched::default(),
            defers: false,
            budget: max_returned,
            changes_before: self.connection().total_changes(),
        };
        let result = request.run();
        let (defers, touched) = (request.defers, request.touched);
        let alters = touched.schema;
        let outcome = self.conclude(result, touched, is_first);
        if alters && !matches!(outcome, Outcome::Done(_)) {
            // What was compiled meanwhile was judged by a schema that is no more.
            self.forget_compiled();
        }
        if defers {
            self.stop_deferring();
        }
        outcome
    }

    /// After a panic in the middle of a request.
    pub(super) fn recover(&self) -> Outcome {
        let error = crate::error::after_panic(self.connection());
        self.roll_back();
        Outcome::Lost { statement: 0, error }
    }

    fn conclude(&self, result: Result<WriteAnswer, Failed>, touched: Touched, is_first: bool) -> Outcome {
        match result {
            _ if !self.in_transaction() => {
                let Failed { statement, error } = result.err().unwrap_or_else(vanished);
                Outcome::Lost { statement, error }
            }
            Ok(answer) if is_first => Outcome::Done(Applied { answer, touched }),
            Ok(answer) => match self.server_sql("RELEASE request") {
                Ok(()) => Outcome::Done(Applied { answer, touched }),
                Err(error) => self.undo(crate::error::classify(&error)),
            },
            Err(Failed { error, .. }) if is_first => {
                self.roll_back();
                Outcome::Refused(error)
            }
            Err(Failed { error, .. }) => self.undo(error),
        }
    }

    fn undo(&self, error: Error) -> Outcome {
        let undone = self.server_sql("ROLLBACK TO request").and_then(|()| self.server_sql("RELEASE request"));
        match undone {
            Ok(()) => Outcome::Refused(error),
            Err(undo) => {
                // Nothing of the transaction can be trusted now.
                tracing::error!(error = %undo, "a request could not be undone; its group is run again");
                self.roll_back();
                Outcome::Lost { statement: error.statement.unwrap_or(0), error }
            }
        }
    }

    /// The setting outlives savepoints and would apply to the neighbours.
    fn stop_deferring(&self) {
        if let Err(error) = self.set("defer_foreign_keys", 0) {
            tracing::error!(%error, "foreign keys stay deferred until the end of the group");
        }
    }
}

fn vanished() -> Failed {
    let error = Error::new(Kind::Internal, code::INTERNAL, "the transaction ended by itself");
    Failed { statement: 0, error }
}

/// A request while it runs.
struct Request<'r> {
    session: &'r Session,
    job: &'r Job,
    touched: Touched,
    /// Whether it turned on `PRAGMA defer_foreign_keys`.
    defers: bool,
    /// Bytes that it may still return.
    budget: usize,
    /// All changes that the connection had seen when the request began.
    changes_before: u64,
}

impl<'r> Request<'r> {
    fn run(&mut self) -> Result<WriteAnswer, Failed> {
        let at_request = |error| Failed { statement: 0, error };
        if let Some(answer) = self.earlier_answer().map_err(at_request)? {
            return Ok(answer);
        }
        let results = if self.job.write.atomic { self.all_or_nothing()? } else { self.each_for_itself()? };
        let seq = self.session.number().next().last;
        let answer = WriteAnswer { results, seq, replayed: false };
        self.keep_answer(&answer).map_err(at_request)?;
        Ok(answer)
    }

    fn earlier_answer(&self) -> Result<Option<WriteAnswer>, Error> {
        let Some(idempotency) = &self.job.write.idempotency else { return Ok(None) };
        let found = self.session.trusted(|connection| idempotency.find::<WriteAnswer>(connection))?;
        Ok(found.map(|answer| WriteAnswer { replayed: true, ..answer }))
    }

    fn keep_answer(&mut self, answer: &WriteAnswer) -> Result<(), Error> {
        let Some(idempotency) = &self.job.write.idempotency else { return Ok(()) };
        self.touched.anything = true;
        self.session.trusted(|connection| idempotency.keep(connection, answer))
    }

    fn all_or_nothing(&mut self) -> Result<Vec<Result<StatementResult, Error>>, Failed> {
        let mut results = Vec::with_capacity(self.job.write.statements.len());
        for (index, statement) in self.job.write.statements.iter().enumerate() {
            let result = self.run_statement(statement).map_err(|error| failed_at(index, error))?;
            results.push(Ok(result));
        }
        if self.session.has_deferred_violations() {
            let last = self.job.write.statements.len().saturating_sub(1);
            return Err(Failed { statement: last, error: deferred_violation() });
        }
        Ok(results)
    }

    fn each_for_itself(&mut self) -> Result<Vec<Result<StatementResult, Error>>, Failed> {
        let mut results = Vec::with_capacity(self.job.write.statements.len());
        for (index, statement) in self.job.write.statements.iter().enumerate() {
            let result = match self.job.known_failures.get(&index) {
                Some(error) => Err(error.clone()),
                None => self.run_by_itself(index, statement)?,
            };
            results.push(result);
        }
        Ok(results)
    }

    /// Under a savepoint of its own. The outer error means that the transaction is gone.
    fn run_by_itself(
        &mut self,
        index: usize,
        statement: &Statement,
    ) -> Result<Result<StatementResult, Error>, Failed> {
        let session = self.session;
        let sql = |sql| session.server_sql(sql).map_err(|it| failed_at(index, crate::error::classify(&it)));
        sql("SAVEPOINT statement")?;
        let before = std::mem::take(&mut self.touched);
        let mut result = self.run_statement(statement).map_err(|error| error.in_statement(index));
        if result.is_ok() && self.session.has_deferred_violations() {
            result = Err(deferred_violation().in_statement(index));
        }
        if !self.session.in_transaction() {
            let error = result.err().unwrap_or_else(|| vanished().error);
            return Err(failed_at(index, error));
        }
        if result.is_err() {
            sql("ROLLBACK TO statement")?;
            if std::mem::take(&mut self.touched).schema {
                self.session.forget_compiled();
            }
        }
        self.touched.merge(before);
        sql("RELEASE statement")?;
        if std::mem::take(&mut self.defers) {
            self.session.stop_deferring();
        }
        Ok(result)
    }

    fn run_statement(&mut self, statement: &Statement) -> Result<StatementResult, Error> {
        let started = Instant::now();
        let (mut compiled, footprint) = self.compile(statement)?;
        self.check_role(&footprint)?;
        self.defers |= footprint.defers_foreign_keys;
        if footprint.reads_changes && self.session.connection().total_changes() == self.changes_before {
            self.forget_changes()?;
        }
        let changes_before = self.session.connection().total_changes();
        let mut result = self.step(&mut compiled, statement, &footprint)?;
        let changed = self.session.connection().total_changes() != changes_before;
        if changed {
            self.touched.tables.extend(footprint.tables.iter().cloned());
        }
        self.touched.anything |= changed || !compiled.readonly();
        drop(compiled);
        if footprint.alters {
            self.touched.schema = true;
            self.session.forget_compiled();
            self.session.check_names()?;
        }
        let found = result.rows.as_ref().map_or(result.rows_affected, |rows| rows.rows.len() as u64);
        statement::check_expectation(statement.expect_rows, found)?;
        result.time = started.elapsed().as_secs_f64();
        Ok(result)
    }

    fn check_role(&self, footprint: &Footprint) -> Result<(), Error> {
        let role = self.job.write.role;
        if footprint.role <= role {
            return Ok(());
        }
        let message = format!("the statement takes the role {}, the caller is {role}", footprint.role);
        Err(Error::new(Kind::Denied, code::ROLE_INSUFFICIENT, message))
    }

    /// Views within views can make compiling as long as running, so it ends at the deadline too.
    fn compile(&self, statement: &Statement) -> Result<(CachedStatement<'r>, Rc<Footprint>), Error> {
        let control = &self.job.write.query.control;
        let _installed = self.session.guarded.slot.install(Arc::clone(control));
        self.session.compile(statement).map_err(|error| match control.stop_reason() {
            Some(reason) if error.code == "SQLITE_INTERRUPT" => reason.error(),
            _ => error,
        })
    }

    /// `changes()` before a request has changed anything must not tell what a neighbour changed.
    fn forget_changes(&self) -> Result<(), Error> {
        self.session
            .server_sql("DELETE FROM _larder_state WHERE false")
            .map_err(|error| crate::error::classify(&error))
    }

    fn step(
        &mut self,
        compiled: &mut Compiled<'_>,
        statement: &Statement,
        footprint: &Footprint,
    ) -> Result<StatementResult, Error> {
        let connection = self.session.connection();
        let rowid_before = connection.last_insert_rowid();
        let mut result = StatementResult::default();
        let width = compiled.column_count();
        if width > 0 {
            result.rows = Some(Rows { columns: statement::columns(compiled), rows: Vec::new() });
        }
        for bindings in statement.args.sets() {
            statement::bind(compiled, bindings)?;
            let changes_before = connection.total_changes();
            self.collect(compiled, width, &mut result)?;
            if connection.total_changes() != changes_before {
                result.rows_affected += connection.changes();
            }
        }
        let rowid = connection.last_insert_rowid();
        // An upsert that only updated leaves the rowid of an earlier insert.
        let inserted = footprint.inserts && result.rows_affected > 0 && rowid != 0;
        let is_new = rowid != rowid_before || !footprint.updates;
        result.last_insert_id = (inserted && is_new).then_some(rowid);
        Ok(result)
    }

    fn collect(
        &mut self,
        compiled: &mut Compiled<'_>,
        width: usize,
        result: &mut StatementResult,
    ) -> Result<(), Error> {
        let control = Arc::clone(&self.job.write.query.control);
        let _installed = self.session.guarded.slot.install(Arc::clone(&control));
        let mut cursor = compiled.raw_query();
        while let Some(row) = cursor.next().map_err(|error| statement::failed(&error, &control))? {
            let Some(rows) = &mut result.rows else { continue };
            let row = CurrentRow::new(row, width);
            if rows.rows.is_empty() {
                statement::infer_types(&mut rows.columns, &row);
            }
            self.spend(&row)?;
            rows.rows.push((0..width).map(|index| row.get(index).to_owned()).collect());
        }
        Ok(())
    }

    /// Returned rows are held until the commit, so they are limited.
    fn spend(&mut self, row: &CurrentRow<'_, '_>) -> Result<(), Error> {
        const PER_VALUE: usize = 32;
        let size: usize = (0..row.len()).map(|index| PER_VALUE + row.get(index).heap_size()).sum();
        match self.budget.checked_sub(size + PER_VALUE) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => {
                let message = "a write returns more rows than are kept in memory: read them with /query";
                Err(Error::new(Kind::TooLarge, code::RESULT_TOO_LARGE, message))
            }
        }
    }
}

fn failed_at(statement: usize, error: Error) -> Failed {
    Failed { statement, error: error.in_statement(statement) }
}

fn deferred_violation() -> Error {
    Error::new(Kind::Constraint, "SQLITE_CONSTRAINT_FOREIGNKEY", "FOREIGN KEY constraint failed")
}
