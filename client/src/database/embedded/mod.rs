//! The engine in this process: the same SQL, the same policy and the same limits as the sidecar, without the network.
//!
//! There are no roles here: whoever links the engine may do everything that SQL from outside may. What is committed is on disk; nothing has
//! to be closed, though [`Embedded::close`] empties the log in order.

mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
pub use larder_engine::OpenError;
use larder_engine::{
    ActiveQuery, Change as Committed, Engine, Failure, NoTelemetry, Operation, Read, Subscription,
    WatchError, Write,
};
use larder_wire::{
    Error, Kind, Request, Response, Role, Rows as Returned, StatementReply, StatementResult, code,
};

use super::{Change, Changes, Database, DatabaseError, Rows};
use rows::EngineRows;

/// How long a write may take if the request does not say.
const WRITE: Duration = Duration::from_secs(10);
/// How long a read may take if the request does not say.
const READ: Duration = Duration::from_secs(30);

/// A database in a directory that this process has for itself.
///
/// ```
/// use larder_client::database::{Database, Embedded};
/// use larder_client::wire::{Request, Statement, Value};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let database = Embedded::open(directory.path())?;
/// let create = Statement::new("CREATE TABLE t (a TEXT)");
/// let insert = Statement::with("INSERT INTO t VALUES (?)", ["ä".into()]);
/// database.execute(&Request::new([create, insert])).await?;
///
/// let mut rows = database.stream(&Request::new([Statement::new("SELECT a FROM t")])).await?;
/// assert_eq!(rows.next().await?, Some(vec![Value::Text("ä".to_owned())]));
/// assert_eq!(rows.next().await?, None);
/// # Ok(())
/// # }
/// ```
pub struct Embedded {
    engine: Engine,
    identity: Arc<str>,
}

impl Embedded {
    /// Opens the database in `directory`, which is made if it is not there, with the defaults of the sidecar.
    ///
    /// # Errors
    /// Another process has it, or it cannot be used.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let options = larder_engine::Options::new(directory);
        Ok(Self { engine: Engine::open(options, Arc::new(NoTelemetry))?, identity: "embedded".into() })
    }

    /// Ends what is under way, moves the log into the database and closes it. Blocks until it is done; every later call is refused.
    pub fn close(&self) {
        self.engine.close();
    }

    fn begin(&self, operation: Operation, request: &Request, otherwise: Duration) -> Arc<ActiveQuery> {
        let limit = request.timeout_ms.map_or(otherwise, Duration::from_millis);
        self.engine.begin(operation, Arc::clone(&self.identity), &request.statements, Instant::now() + limit)
    }
}

#[async_trait]
impl Database for Embedded {
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError> {
        let started = Instant::now();
        let write = Write {
            statements: request.statements.clone(),
            atomic: request.atomic.unwrap_or(true),
            role: Role::Admin,
            query: self.begin(Operation::Write, request, WRITE),
            idempotency: None,
        };
        let answer = self.engine.write(write).await.map_err(failed)?;
        let results = answer.results.into_iter().map(reply).collect();
        Ok(Response { results, time: started.elapsed().as_secs_f64(), seq: answer.seq, replayed: false })
    }

    async fn query(&self, request: &Request) -> Result<Response, DatabaseError> {
        let started = Instant::now();
        let mut rows = self.read(request).await;
        let (results, seq) = rows.collect().await?;
        Ok(Response { results, time: started.elapsed().as_secs_f64(), seq, replayed: false })
    }

    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError> {
        if request.statements.len() != 1 {
            let message = "a stream has the rows of one statement";
            return Err(DatabaseError::refused(Error::new(Kind::Invalid, code::OPTION_INVALID, message)));
        }
        let mut rows = self.read(request).await;
        rows.begin().await?;
        Ok(Box::new(rows))
    }

    async fn changes(&self, from: Option<u64>) -> Result<Box<dyn Changes>, DatabaseError> {
        let subscription = self.engine.feed().subscribe(from).map_err(gone)?;
        let seen = subscription.seen();
        Ok(Box::new(EngineChanges { subscription, ahead: Vec::new().into_iter(), seen }))
    }
}

impl Embedded {
    async fn read(&self, request: &Request) -> EngineRows {
        let query = self.begin(Operation::Read, request, READ);
        let (rows, sink) = EngineRows::new(Arc::clone(&query));
        let read = Read { statements: request.statements.clone(), all_or_nothing: true, query };
        self.engine.read(read, Box::new(sink)).await;
        rows
    }
}

fn failed(failure: Failure) -> DatabaseError {
    DatabaseError::Refused { error: Box::new(failure.error), applied: failure.applied }
}

fn reply(result: Result<StatementResult, Error>) -> StatementReply {
    match result {
        Err(error) => StatementReply { error: Some(error), ..StatementReply::default() },
        Ok(StatementResult { rows_affected, last_insert_id, rows, .. }) => {
            let Returned { columns, rows } = rows.unwrap_or_default();
            let (columns, types) = columns.into_iter().map(|it| (it.name, it.type_name)).unzip();
            StatementReply { rows_affected, last_insert_id, columns, types, rows, error: None }
        }
    }
}

struct EngineChanges {
    subscription: Subscription,
    ahead: std::vec::IntoIter<Arc<Committed>>,
    seen: u64,
}

#[async_trait]
impl Changes for EngineChanges {
    fn seen(&self) -> u64 {
        self.seen
    }

    async fn next(&mut self) -> Result<Option<Change>, DatabaseError> {
        loop {
            if let Some(change) = self.ahead.next() {
                self.seen = change.seq;
                let tables: Vec<String> = change.tables.iter().map(ToString::to_string).collect();
                if tables.is_empty() && !change.schema {
                    continue;
                }
                return Ok(Some(Change { seq: change.seq, tables, schema: change.schema }));
            }
            match self.subscription.next().await.map_err(gone)? {
                Some(changes) => self.ahead = changes.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

fn gone(gap: WatchError) -> DatabaseError {
    DatabaseError::refused(Error::new(Kind::Gone, code::WATCH_EXPIRED, gap.to_string()))
}
