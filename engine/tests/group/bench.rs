//! An engine whose groups are made on purpose: the writer is held at its first request until all others wait.

use larder_engine::{Engine, Failure, Idempotency, Operation, Options, Telemetry, Write, WriteAnswer};
use larder_wire::{Error, Role, Statement, StatementResult};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Holds the writer while it is closed, and counts.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    pub(crate) replayed: AtomicUsize,
    pub(crate) largest: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl Telemetry for Gate {
    fn queued(&self, _: Duration) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }
    fn group(&self, requests: usize, _: Duration, _: Duration) {
        self.largest.fetch_max(requests, Ordering::Relaxed);
    }
    fn replayed(&self, _: usize) {
        self.replayed.fetch_add(1, Ordering::Relaxed);
    }
}

/// One request as a test writes it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) statements: Vec<Statement>,
    pub(crate) atomic: bool,
    pub(crate) role: Role,
    pub(crate) timeout: Duration,
    pub(crate) key: Option<(String, u8)>,
}

impl Request {
    pub(crate) fn of(statements: impl IntoIterator<Item = Statement>) -> Self {
        Self {
            statements: statements.into_iter().collect(),
            atomic: true,
            role: Role::Owner,
            timeout: Duration::from_secs(60),
            key: None,
        }
    }

    pub(crate) fn sql<'s>(statements: impl IntoIterator<Item = &'s str>) -> Self {
        Self::of(statements.into_iter().map(Statement::new))
    }

    pub(crate) fn each_for_itself(self) -> Self {
        Self { atomic: false, ..self }
    }

    pub(crate) fn by(self, role: Role) -> Self {
        Self { role, ..self }
    }

    pub(crate) fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub(crate) fn keyed(self, key: &str, fingerprint: u8) -> Self {
        Self { key: Some((key.to_owned(), fingerprint)), ..self }
    }
}

/// What a request got, without what differs between any two runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Vec<Result<StatementResult, Error>>, Failure>,
    pub(crate) replayed: bool,
}

impl Outcome {
    fn of(answer: Result<WriteAnswer, Failure>) -> Self {
        let replayed = answer.as_ref().is_ok_and(|it| it.replayed);
        // How far a request had come when its time was up is chance.
        let unplaced = |it: Failure| match &*it.error.code {
            "DEADLINE" => Failure { error: Error { statement: None, ..it.error }, ..it },
            _ => it,
        };
        let answer = answer.map_err(unplaced);
        let untimed = |it: Result<StatementResult, Error>| it.map(|it| StatementResult { time: 0.0, ..it });
        Self { result: answer.map(|it| it.results.into_iter().map(untimed).collect()), replayed }
    }

    /// The code of the failure, of the request or else of its first statement that failed.
    pub(crate) fn code(&self) -> Option<&str> {
        match &self.result {
            Err(failure) => Some(&failure.error.code),
            Ok(results) => results.iter().find_map(|it| it.as_ref().err()).map(|it| &*it.code),
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.code().is_none()
    }

    /// What statement `index` changed.
    pub(crate) fn changed(&self, index: usize) -> u64 {
        self.statement(index).rows_affected
    }

    /// The first value that statement `index` gave.
    pub(crate) fn value(&self, index: usize) -> larder_wire::Value {
        self.statement(index).rows.as_ref().unwrap().rows[0][0].clone()
    }

    fn statement(&self, index: usize) -> &StatementResult {
        self.result.as_ref().unwrap()[index].as_ref().unwrap()
    }
}

/// An engine on a directory.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) gate: Arc<Gate>,
}

impl Bench {
    pub(crate) fn open(directory: &Path, adjust: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { readers: 1, max_returned_bytes: 64 << 10, ..Options::new(directory) };
        adjust(&mut options);
        let gate = Arc::new(Gate::default());
        let engine = Engine::open(options, Arc::clone(&gate) as Arc<dyn Telemetry>).unwrap();
        Self { engine, gate }
    }

    /// Runs a request by itself.
    pub(crate) async fn alone(&self, request: Request) -> Outcome {
        Outcome::of(self.engine.write(self.write(request)).await)
    }

    /// Runs requests as one group, in their order.
    pub(crate) async fn together(&self, requests: Vec<Request>) -> Vec<Outcome> {
        self.gate.set(true);
        let mut answers: Vec<_> =
            requests.into_iter().map(|it| Box::pin(self.engine.write(self.write(it)))).collect();
        // Polling once puts each into the queue.
        let mut context = Context::from_waker(Waker::noop());
        let mut early: Vec<_> = answers
            .iter_mut()
            .map(|answer| match pin!(answer).poll(&mut context) {
                std::task::Poll::Ready(answer) => Some(answer),
                std::task::Poll::Pending => None,
            })
            .collect();
        self.gate.set(false);
        let mut outcomes = Vec::new();
        for (answer, early) in answers.into_iter().zip(early.iter_mut()) {
            let answer = match early.take() {
                Some(answer) => answer,
                None => answer.await,
            };
            outcomes.push(Outcome::of(answer));
        }
        outcomes
    }

    fn write(&self, request: Request) -> Write {
        let deadline = Instant::now() + request.timeout;
        let Request { statements, atomic, role, key, .. } = request;
        let query = self.engine.begin(Operation::Write, "test".into(), &statements, deadline);
        let idempotency = key.map(|(key, fingerprint)| Idempotency {
            identity: "test".to_owned(),
            key,
            fingerprint: [fingerprint; 32],
        });
        Write { statements, atomic, role, query, idempotency }
    }
}

/// Everything in a database that callers can see, as text, one line for each row.
pub(crate) fn contents(directory: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(directory.join("larder.db")).unwrap();
    let read = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let mut lines =
        read("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1");
    lines.extend(read("SELECT 'user_version ' || user_version FROM pragma_user_version"));
    for table in
        read("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_larder%' ESCAPE '\\'")
    {
        let columns = read(&format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')"));
        let columns = columns.join(" || ',' || ");
        lines.extend(read(&format!("SELECT '{table} ' || {columns} FROM \"{table}\" ORDER BY 1")));
    }
    lines.extend(read("SELECT 'key ' || key FROM _larder_idempotency ORDER BY 1"));
    lines
}
