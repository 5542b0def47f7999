//! The writes of the index, each one transaction that holds only if what it builds on is still there.

use std::time::{SystemTime, UNIX_EPOCH};

use larder_wire::{Kind, Request, Response, Statement, Value};

use super::IndexError;
use super::block::Packed;
use super::fields::{Fields, json, to_sql};
use super::run::Run;
use crate::database::{Database, DatabaseError};

/// What a segment that nobody works on for so long was left behind by: a maker that ended.
const ABANDONED_AFTER: i64 = 600;

/// Runs a transaction. `None` if somebody else had changed what it builds on.
async fn attempt(
    database: &dyn Database,
    statements: Vec<Statement>,
) -> Result<Option<Response>, IndexError> {
    match database.execute(&Request::new(statements)).await {
        Ok(response) => Ok(Some(response)),
        Err(error) if error.kind() == Some(Kind::Expectation) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a run of pending reports a live segment and moves the watermark behind it. Every report of the run has to be there still: one that
/// was deleted since was pending then, so nobody retired it.
pub(super) async fn fold(database: &dyn Database, run: Run) -> Result<bool, IndexError> {
    let mut statements = vec![
        Statement::with(
            "UPDATE counter SET value = ? WHERE name = 'indexed' AND value = ?",
            [run.high.into(), run.low.into()],
        )
        .expecting(1),
        Statement::with(
            "SELECT 1 WHERE (SELECT COUNT(*) FROM report WHERE id > ? AND id <= ?) = ?",
            [run.low.into(), run.high.into(), run.reports.into()],
        )
        .expecting(1),
    ];
    if !run.blocks.is_empty() {
        statements.push(Statement::with(
            "INSERT INTO segment (low, high, live, postings, touched) VALUES (?, ?, 1, ?, ?)",
            [run.low.into(), run.high.into(), run.postings.cast_signed().into(), now().into()],
        ));
        statements.push(blocks(None, run.blocks));
    }
    Ok(attempt(database, statements).await?.is_some())
}

/// Begins a segment that does not count yet.
pub(super) async fn begin(database: &dyn Database, low: i64, high: i64) -> Result<i64, IndexError> {
    let sql = "INSERT INTO segment (low, high, live, postings, touched) VALUES (?, ?, 0, 0, ?) RETURNING id";
    let insert = Statement::with(sql, [low.into(), high.into(), now().into()]);
    let response = database.execute(&Request::new([insert])).await?;
    let row = response.results.into_iter().next().and_then(|it| it.rows.into_iter().next());
    Fields::new(row.ok_or(IndexError::Shape("a result is missing"))?).integer()
}

/// Adds blocks to a segment that does not count yet. False if somebody has cleared it away.
pub(super) async fn append(
    database: &dyn Database,
    segment: i64,
    more: Vec<Packed>,
    postings: u64,
) -> Result<bool, IndexError> {
    let touch = "UPDATE segment SET touched = ?, postings = ? WHERE id = ? AND live = 0";
    let touch = Statement::with(touch, [now().into(), postings.cast_signed().into(), segment.into()]);
    Ok(attempt(database, vec![touch.expecting(1), blocks(Some(segment), more)]).await?.is_some())
}

/// Lets one segment, or none, count in place of others, which go away together with the reports that were retired from them.
pub(super) async fn switch(
    database: &dyn Database,
    from: &[i64],
    to: Option<i64>,
    scaffold: &[i64],
    retired: &[i64],
) -> Result<bool, IndexError> {
    let list = |ids: &[i64]| [json(ids.iter().copied())];
    let gone = "DELETE FROM segment WHERE live = 1 AND id IN (SELECT value FROM json_each(?))";
    let mut statements = vec![Statement::with(gone, list(from)).expecting(from.len() as u64)];
    if let Some(segment) = to {
        let live = Statement::with("UPDATE segment SET live = 1 WHERE id = ? AND live = 0", [segment.into()]);
        statements.push(live.expecting(1));
    }
    let dead = "DELETE FROM block WHERE segment IN (SELECT value FROM json_each(?))";
    statements.push(Statement::with(dead, list(from)));
    statements.extend(discarded(scaffold));
    let forgotten = "DELETE FROM retired WHERE report IN (SELECT value FROM json_each(?))";
    statements.push(Statement::with(forgotten, list(retired)));
    Ok(attempt(database, statements).await?.is_some())
}

/// Clears away segments that do not count.
pub(super) async fn discard(database: &dyn Database, segments: &[i64]) -> Result<(), DatabaseError> {
    database.execute(&Request::new(discarded(segments))).await.map(drop)
}

/// Clears away what makers left behind that ended before they were done.
pub(super) async fn discard_abandoned(database: &dyn Database) -> Result<(), IndexError> {
    let sql = "SELECT id FROM segment WHERE live = 0 AND touched < ?";
    let request = Request::new([Statement::with(sql, [(now() - ABANDONED_AFTER).into()])]);
    let mut found = Vec::new();
    for row in database.query(&request).await?.results.into_iter().flat_map(|it| it.rows) {
        found.push(Fields::new(row).integer()?);
    }
    if !found.is_empty() {
        discard(database, &found).await?;
    }
    Ok(())
}

fn discarded(segments: &[i64]) -> [Statement; 2] {
    let list = || [json(segments.iter().copied())];
    // Blocks first: they are found by segments that do not count yet.
    [
        Statement::with(
            "DELETE FROM block WHERE segment IN (SELECT id FROM segment WHERE live = 0 AND id IN (SELECT value FROM json_each(?)))",
            list(),
        ),
        Statement::with(
            "DELETE FROM segment WHERE live = 0 AND id IN (SELECT value FROM json_each(?))",
            list(),
        ),
    ]
}

/// Blocks of a segment; without one, of that which was inserted last.
fn blocks(segment: Option<i64>, blocks: Vec<Packed>) -> Statement {
    let sql = "INSERT INTO block (segment, first, summary, postings) \
               VALUES (COALESCE(?, (SELECT MAX(id) FROM segment)), ?, ?, ?)";
    let segment = segment.map_or(Value::Null, Value::Integer);
    let row = |block: Packed| {
        let (summary, postings) = (Value::Blob(block.summary), Value::Blob(block.postings));
        vec![segment.clone(), to_sql(block.first).into(), summary, postings]
    };
    Statement::many(sql, blocks.into_iter().map(row))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
