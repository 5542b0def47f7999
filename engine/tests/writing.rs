//! Writes, as the server hands them to the engine.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use larder_engine::{Engine, Failure, Idempotency, NoTelemetry, Operation, Options, Write, WriteAnswer};
use larder_wire::{Kind, Role, Statement};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Lab {
    engine: Engine,
    home: tempfile::TempDir,
}

impl Lab {
    fn new(adjust: impl FnOnce(&mut Options)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut options = Options::new(home.path().join("data"));
        adjust(&mut options);
        Self { engine: Engine::open(options, Arc::new(NoTelemetry)).unwrap(), home }
    }

    async fn write(&self, sql: &[&str], atomic: bool, key: Option<&str>) -> Result<WriteAnswer, Failure> {
        let statements: Vec<_> = sql.iter().map(|sql| Statement::new(*sql)).collect();
        let deadline = Instant::now() + PATIENCE;
        let query = self.engine.begin(Operation::Write, "tester".into(), &statements, deadline);
        let mut fingerprint = [0; 32];
        sql.concat().bytes().zip(&mut fingerprint).for_each(|(byte, place)| *place = byte);
        let idempotency =
            key.map(|key| Idempotency { identity: "tester".to_owned(), key: key.to_owned(), fingerprint });
        self.engine.write(Write { statements, atomic, role: Role::Owner, query, idempotency }).await
    }
}

#[tokio::test]
async fn keys_are_forgotten_even_if_somebody_writes_all_the_time() {
    let lab = Lab::new(|options| options.idempotency_ttl = Duration::from_secs(1));
    lab.write(&["CREATE TABLE t (a)"], true, None).await.unwrap();
    lab.write(&["INSERT INTO t VALUES (1)"], true, Some("key")).await.unwrap();
    let begun = Instant::now();
    loop {
        match lab.write(&["INSERT INTO t VALUES (2)"], true, Some("key")).await {
            Ok(_) => break,
            Err(failure) => assert_eq!(failure.error.kind, Kind::Mismatch, "{failure:?}"),
        }
        assert!(begun.elapsed() < PATIENCE, "the key is still known");
    }
}

/// A statement that was compiled while a trigger was away writes to the trigger's table when it is back.
#[tokio::test]
async fn watchers_hear_of_a_table_whose_trigger_was_dropped_in_vain() {
    let lab = Lab::new(|_| {});
    let setup = [
        "CREATE TABLE t (a)",
        "CREATE TABLE log (a)",
        "CREATE TRIGGER keep AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END",
    ];
    lab.write(&setup, true, None).await.unwrap();
    let insert = "INSERT INTO t VALUES (1)";
    let in_vain = ["DROP TRIGGER keep", insert, "SELECT nothing"];
    lab.write(&in_vain, true, None).await.unwrap_err();
    let mut changes = lab.engine.feed().subscribe(None).unwrap();
    lab.write(&[insert], true, None).await.unwrap();
    let told = changes.next().await.unwrap().unwrap();
    let mut tables: Vec<&str> = told[0].tables.iter().map(|it| &**it).collect();
    tables.sort_unstable();
    assert_eq!(tables, ["log", "t"]);
}

#[tokio::test]
async fn each_statement_of_a_request_is_judged() {
    let lab = Lab::new(|_| {});
    lab.write(&["CREATE TABLE t (a)"], true, None).await.unwrap();
    let answer = lab
        .write(&["CREATE TABLE _larder_mine (a)", "INSERT INTO t VALUES (1)", "COMMIT"], false, None)
        .await
        .unwrap();
    let kinds: Vec<_> =
        answer.results.iter().map(|it| it.as_ref().map_err(|error| error.kind).err()).collect();
    assert_eq!(kinds, [Some(Kind::Denied), None, Some(Kind::Denied)]);
}

/// What was deleted leaves free pages within the file; while nobody writes, the file gets shorter by them, and what was not deleted is there.
#[tokio::test]
async fn free_pages_are_given_back_while_nobody_writes() {
    let lab = Lab::new(|_| {});
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)";
    let fill = format!("INSERT INTO t SELECT i, randomblob(6000) FROM ({numbers} SELECT i FROM n)");
    lab.write(&["CREATE TABLE t (a INTEGER PRIMARY KEY, b)", &fill], true, None).await.unwrap();
    lab.write(&["DELETE FROM t WHERE a % 4 > 0"], true, None).await.unwrap();
    let file = lab.home.path().join("data/larder.db");
    let begun = Instant::now();
    // 4000 rows took 32 MB, and 1000 are left.
    while !(1 << 20..10 << 20).contains(&std::fs::metadata(&file).unwrap().len()) {
        assert!(begun.elapsed() < PATIENCE, "{} bytes", std::fs::metadata(&file).unwrap().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = "UPDATE t SET a = a WHERE length(b) = 6000";
    let answer = lab.write(&[count], true, None).await.unwrap();
    assert_eq!(answer.results[0].as_ref().unwrap().rows_affected, 1000);
}
