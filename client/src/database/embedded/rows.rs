//! From the thread that steps through rows to the task that reads them, in batches of some 64 KiB through a short channel.
//!
//! A reader that goes away ends the read. One that is slow keeps it waiting until its deadline, or until the engine wants the
//! snapshot gone.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use larder_engine::{ActiveQuery, Phase, ReadSink, ReadSummary, SinkClosed, StopReason};
use larder_wire::{Column, Error, Row, StatementReply, Value};
use tokio::sync::mpsc;

use crate::database::{DatabaseError, Rows};

/// Batches in the channel.
const CHANNEL: usize = 4;
/// Bytes at which a batch is handed over.
const BATCH: usize = 64 << 10;

enum Part {
    Columns(Vec<Column>),
    Rows(Vec<Vec<Value>>),
    End(Result<ReadSummary, Error>),
}

/// The rows of a read.
pub(super) struct EngineRows {
    parts: mpsc::Receiver<Part>,
    query: Arc<ActiveQuery>,
    ahead: std::vec::IntoIter<Vec<Value>>,
    over: bool,
}

/// Takes the rows of a read, on the engine's thread.
pub(super) struct ChannelSink {
    parts: mpsc::Sender<Part>,
    query: Arc<ActiveQuery>,
    runtime: tokio::runtime::Handle,
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl EngineRows {
    /// The two ends.
    pub(super) fn new(query: Arc<ActiveQuery>) -> (Self, ChannelSink) {
        // One place is kept for the end, so that saying how it went never waits.
        let (sender, parts) = mpsc::channel(CHANNEL + 1);
        let runtime = tokio::runtime::Handle::current();
        let sink =
            ChannelSink { parts: sender, query: Arc::clone(&query), runtime, rows: Vec::new(), bytes: 0 };
        (Self { parts, query, ahead: Vec::new().into_iter(), over: false }, sink)
    }

    /// Waits until the statement has been understood.
    pub(super) async fn begin(&mut self) -> Result<(), DatabaseError> {
        // The columns come first, if anything does.
        self.part().await.map(drop)
    }

    /// All that comes, statement by statement.
    pub(super) async fn collect(&mut self) -> Result<(Vec<StatementReply>, u64), DatabaseError> {
        let mut results: Vec<StatementReply> = Vec::new();
        loop {
            match self.part().await? {
                Some(Part::Columns(columns)) => {
                    let (columns, types) = columns.into_iter().map(|it| (it.name, it.type_name)).unzip();
                    results.push(StatementReply { columns, types, ..StatementReply::default() });
                }
                Some(Part::Rows(rows)) => {
                    if let Some(last) = results.last_mut() {
                        last.rows.extend(rows);
                    }
                }
                Some(Part::End(Ok(summary))) => return Ok((results, summary.seq)),
                Some(Part::End(Err(_))) | None => return Ok((results, 0)),
            }
        }
    }

    async fn part(&mut self) -> Result<Option<Part>, DatabaseError> {
        if self.over {
            return Ok(None);
        }
        match self.parts.recv().await {
            None => Err(DatabaseError::Broken("the read ended without saying why".to_owned())),
            Some(Part::End(Err(error))) => {
                self.over = true;
                Err(DatabaseError::refused(error))
            }
            Some(part) => {
                self.over = matches!(part, Part::End(_));
                Ok(Some(part))
            }
        }
    }
}

#[async_trait]
impl Rows for EngineRows {
    async fn next(&mut self) -> Result<Option<Vec<Value>>, DatabaseError> {
        loop {
            if let Some(row) = self.ahead.next() {
                return Ok(Some(row));
            }
            match self.part().await? {
                Some(Part::Rows(rows)) => self.ahead = rows.into_iter(),
                Some(Part::Columns(_)) => {}
                Some(Part::End(_)) | None => return Ok(None),
            }
        }
    }
}

impl Drop for EngineRows {
    fn drop(&mut self) {
        if !self.over {
            self.query.control.stop(StopReason::Abandoned);
        }
    }
}

impl ChannelSink {
    fn flush(&mut self) -> Result<(), SinkClosed> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() { Ok(()) } else { self.send(Part::Rows(rows)) }
    }

    fn send(&mut self, part: Part) -> Result<(), SinkClosed> {
        if let Ok(places) = self.parts.try_reserve_many(2) {
            take_one(places, part);
            return Ok(());
        }
        self.query.enter(Phase::Sending);
        let patience = self.query.control.deadline().saturating_duration_since(Instant::now());
        let (query, parts) = (Arc::clone(&self.query), self.parts.clone());
        let sent = self.runtime.block_on(async move {
            tokio::select! {
                places = parts.reserve_many(2) => match places {
                    Ok(places) => { take_one(places, part); Ok(()) }
                    Err(_) => Err(StopReason::Abandoned),
                },
                reason = query.control.stopped() => Err(reason),
                () = tokio::time::sleep(patience) => Err(StopReason::Stalled),
            }
        });
        self.query.enter(Phase::Running);
        sent.map_err(|reason| {
            self.query.control.stop(reason);
            SinkClosed
        })
    }
}

fn take_one(mut places: mpsc::PermitIterator<'_, Part>, part: Part) {
    if let Some(place) = places.next() {
        place.send(part);
    }
}

impl ReadSink for ChannelSink {
    fn columns(&mut self, _index: usize, columns: &[Column]) -> Result<(), SinkClosed> {
        self.send(Part::Columns(columns.to_vec()))
    }

    fn row(&mut self, row: &dyn Row) -> Result<(), SinkClosed> {
        self.bytes += (0..row.len()).map(|index| 16 + row.get(index).heap_size()).sum::<usize>();
        self.rows.push((0..row.len()).map(|index| row.get(index).to_owned()).collect());
        if self.bytes >= BATCH { self.flush() } else { Ok(()) }
    }

    fn end(&mut self, _rows: u64, _seconds: f64) -> Result<(), SinkClosed> {
        self.flush()
    }

    fn failed(&mut self, _index: usize, _error: &Error) -> Result<(), SinkClosed> {
        // A read that is all or nothing ends with the error instead.
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<ReadSummary, Error>) {
        // Where nobody reads any more, nobody minds.
        let _ = self.parts.try_send(Part::End(result));
    }
}
