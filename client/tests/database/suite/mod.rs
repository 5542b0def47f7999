//! What every database does: the same tests for each, which `on!` makes for a function that opens one.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

pub(crate) mod changes;
pub(crate) mod reading;
pub(crate) mod reports;
pub(crate) mod writing;

use larder_client::database::{Database, DatabaseError};
use larder_client::wire::{Request, Statement, Value};

/// Makes the tests: each opens a database and hands it over.
macro_rules! on {
    ($open:path) => {
        $crate::suite::tests!($open, writing: [
            a_batch_is_all_or_nothing, statements_stand_for_themselves_if_asked, values_come_back_as_they_were,
            what_is_expected_and_not_met_undoes_all, a_row_that_is_returned, refusals_have_their_kinds,
            a_statement_runs_for_each_row, writers_at_once_lose_nothing,
        ]);
        $crate::suite::tests!($open, reading: [
            statements_of_a_read_see_one_snapshot, rows_stream_in_order, a_stream_that_is_dropped_ends,
            a_stream_fails_where_its_statement_does, large_rows_stream, nothing_is_written_by_a_read,
            a_read_ends_at_its_deadline, slow_readers_get_all,
        ]);
        $crate::suite::tests!($open, changes: [
            commits_are_told_in_order, a_watch_goes_on_where_it_was, a_commit_that_is_not_known_is_gone,
        ]);
        $crate::suite::tests!($open, reports: [
            a_report_comes_back_bit_for_bit, findings_come_back_as_their_writer_gave_them,
            an_older_report_changes_nothing, a_put_comes_after_the_delete, what_was_written_later_yields_to_who_lives,
            a_moved_report_stays_deleted, what_was_moved_is_compared, prefixes_are_literal, pages_follow_each_other,
            allow_lists_of_any_length, what_is_not_live_goes, old_reports_go, streams_are_in_order,
            large_payloads_come_in_pieces, tombstones_are_told_and_forgotten, figures_of_classes,
            what_is_indexed_is_retired, many_at_once, writers_race,
        ]);
    };
}

macro_rules! tests {
    ($open:path, $room:ident: [$($name:ident),* $(,)?]) => {
        mod $room {
            $(#[tokio::test]
            async fn $name() {
                let (_home, database) = $open();
                $crate::suite::$room::$name(database).await;
            })*
        }
    };
}

pub(crate) use {on, tests};

async fn execute(database: &dyn Database, sql: &str) {
    database.execute(&Request::new([Statement::new(sql)])).await.unwrap();
}

async fn table(database: &dyn Database) {
    execute(database, "CREATE TABLE t (a INTEGER PRIMARY KEY, b)").await;
}

async fn rows(database: &dyn Database, sql: &str) -> Vec<Vec<Value>> {
    database.query(&Request::new([Statement::new(sql)])).await.unwrap().results.swap_remove(0).rows
}

async fn count(database: &dyn Database, table: &str) -> i64 {
    match rows(database, &format!("SELECT count(*) FROM {table}")).await[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

fn numbers(to: i64) -> Request {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n";
    Request::new([Statement::with(sql, [to.into()])])
}

#[track_caller]
fn failed<T>(result: Result<T, DatabaseError>) -> DatabaseError {
    result.err().expect("is refused")
}
