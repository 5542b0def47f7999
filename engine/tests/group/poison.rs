//! The law itself: a group gives what its requests give one by one.

use larder_wire::{Role, Statement};
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

use crate::bench::{Bench, Outcome, Request, contents};

const SCHEMA: &[&str] = &[
    "CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, weight INTEGER CHECK (weight >= 0))",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent)",
    "CREATE TABLE later (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE log (what TEXT)",
    "CREATE TRIGGER jar_log AFTER INSERT ON jar BEGIN INSERT INTO log VALUES (new.name); END",
    "CREATE TABLE trap (kind TEXT)",
    "CREATE TRIGGER trap_springs AFTER INSERT ON trap BEGIN \
     SELECT CASE new.kind WHEN 'rollback' THEN raise(ROLLBACK, 'sprung') WHEN 'abort' THEN raise(ABORT, 'sprung') \
     WHEN 'fail' THEN raise(FAIL, 'sprung') WHEN 'ignore' THEN raise(IGNORE) END; END",
    "INSERT INTO jar (name, weight) VALUES ('plum', 1), ('pear', 2), ('fig', 3)",
    "INSERT INTO parent VALUES (1), (2), (3)",
];

/// Requests that can be told from those of other places in the batch by `n`.
fn good(kind: usize, n: i64) -> Request {
    let name = format!("jar {n}");
    match kind {
        0 => Request::of([Statement::with(
            "INSERT INTO jar (name, weight) VALUES (?, ?) RETURNING id, name",
            [name.into(), n.into()],
        )]),
        1 => Request::sql([
            "INSERT INTO counted (note) VALUES ('a'), ('b')",
            "SELECT last_insert_rowid(), changes()",
        ]),
        2 => Request::sql(["UPDATE jar SET weight = weight + 1 WHERE weight < 40", "SELECT changes()"]),
        3 => Request::sql(["SELECT changes(), last_insert_rowid()"]),
        4 => Request::sql(["SELECT 1", "SELECT changes()", "SELECT last_insert_rowid()"]),
        5 => {
            Request::of([Statement::with("DELETE FROM jar WHERE id % 5 = ? RETURNING id", [(n % 5).into()])])
        }
        6 => Request::of([
            Statement::with("INSERT OR IGNORE INTO parent VALUES (?)", [n.into()]),
            Statement::with("INSERT INTO child (parent) VALUES (?)", [n.into()]),
        ]),
        7 => Request::of([Statement::many(
            "INSERT INTO log VALUES (?)",
            (0..5).map(|it| vec![format!("{n}.{it}").into()]),
        )]),
        8 => Request::of([
            Statement::new("PRAGMA defer_foreign_keys = ON"),
            Statement::with("INSERT INTO child (parent) VALUES (?)", [(100 + n).into()]),
            Statement::with("INSERT INTO parent VALUES (?)", [(100 + n).into()]),
        ]),
        9 => Request::of([
            Statement::with("INSERT INTO later (parent) VALUES (?)", [(200 + n).into()]),
            Statement::with("INSERT INTO parent VALUES (?)", [(200 + n).into()]),
        ]),
        10 => Request::of([Statement::with("INSERT INTO counted (note) VALUES (?)", [(n % 3).into()])])
            .keyed(&format!("key {}", n % 3), 0),
        11 => Request::of([
            Statement::new(format!("PRAGMA user_version = {n}")),
            Statement::new("PRAGMA user_version"),
        ]),
        12 => Request::sql(["INSERT INTO jar (name, weight) VALUES ('plum', 7) \
                             ON CONFLICT (name) DO UPDATE SET weight = excluded.weight"]),
        13 => Request::of([
            Statement::new(format!("CREATE TABLE made_{n} (a, b DEFAULT 'b')")),
            Statement::new(format!("INSERT INTO made_{n} (a) VALUES (1)")),
        ]),
        14 => Request::of([
            Statement::new(format!("ALTER TABLE log ADD COLUMN added_{n} DEFAULT {n}")),
            Statement::new("SELECT * FROM log LIMIT 1"),
        ]),
        15 => Request::sql(["INSERT INTO trap VALUES ('ignore')", "SELECT count(*) FROM trap"]),
        16 => {
            Request::sql(["INSERT OR REPLACE INTO jar (name, weight) VALUES ('fig', 9)", "SELECT changes()"])
        }
        _ => Request::sql([
            "DELETE FROM log",
            "SELECT changes()",
            "SELECT total FROM (SELECT count(*) total FROM jar)",
        ]),
    }
}
const GOOD: usize = 18;

/// Statements that fail.
fn failing(kind: usize) -> Statement {
    Statement::new(match kind {
        0 => "INSERT INTO jar (name, weight) VALUES ('new one', 1), ('pear', 2)",
        1 => "INSERT INTO jar (name, weight) VALUES ('light', -1)",
        2 => "INSERT INTO jar (name) VALUES (NULL)",
        3 => "INSERT INTO child (parent) VALUES (999)",
        4 => "INSERT OR ROLLBACK INTO jar (name, weight) VALUES ('pear', 2)",
        5 => "INSERT INTO trap VALUES ('rollback')",
        6 => "INSERT INTO trap VALUES ('abort')",
        7 => "INSERT INTO trap VALUES ('fail')",
        8 => "INSERT OR FAIL INTO jar (name, weight) VALUES ('partial', 1), ('pear', 2)",
        9 => "INSERT INTO later (parent) VALUES (998)",
        10 => "INSERT INTO log VALUES (zeroblob(4000000))",
        11 => "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        12 => "SELECT hex(zeroblob(100000))",
        13 => "SELECT nothing FROM nowhere",
        14 => "INSERT INTO jar (name) VALUES (?)",
        15 => "COMMIT",
        16 => "INSERT INTO _larder_state VALUES ('seq', 0)",
        17 => "CREATE TABLE jar (id)",
        18 => "ALTER TABLE jar RENAME TO _larder_jar",
        19 => "UPDATE OR ROLLBACK jar SET name = 'pear'",
        20 => {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO log SELECT 'x' FROM n"
        }
        _ => "ROLLBACK",
    })
}
const FAILING: usize = 22;

/// Whether the request ends only by its deadline.
fn is_endless(kind: usize) -> bool {
    kind < 2 * FAILING && [11, 20].contains(&(kind % FAILING))
}

/// Requests that fail as a whole, after having done something.
fn poison(kind: usize, n: i64) -> Request {
    let first = Statement::with("INSERT INTO log VALUES (?)", [format!("poison {n}").into()]);
    let last = Statement::with("INSERT INTO log VALUES (?)", [format!("after {n}").into()]);
    let request = match kind {
        kind if kind < FAILING => Request::of([first, failing(kind), last]),
        kind if kind < 2 * FAILING => {
            let kind = kind - FAILING;
            Request::of([first, failing(kind), last, failing((kind + 5) % 11)]).each_for_itself()
        }
        kind => match kind - 2 * FAILING {
            0 => Request::of([
                first,
                Statement::new("UPDATE jar SET weight = 5 WHERE name = 'nobody'").expecting(1),
            ]),
            1 => Request::sql(["PRAGMA defer_foreign_keys = 1", "INSERT INTO child (parent) VALUES (997)"]),
            2 => Request::sql([
                "PRAGMA defer_foreign_keys = 1",
                "INSERT INTO child (parent) VALUES (996)",
                "COMMIT",
            ]),
            3 => Request::of([first, Statement::new("CREATE TABLE forbidden (a)")]).by(Role::Writer),
            4 => Request::of([first, Statement::new("PRAGMA user_version = 77")]).by(Role::Writer),
            5 => Request::of([
                Statement::new("DROP TRIGGER jar_log"),
                Statement::with(
                    "INSERT INTO jar (name, weight) VALUES (?, ?) RETURNING id, name",
                    ["x".into(), 1.into()],
                ),
                failing(5),
            ]),
            6 => Request::of([first, Statement::new("SELECT ?"), last]),
            7 => Request::of([last]).keyed("key 1", 9),
            8 => Request::of([
                Statement::new("PRAGMA user_version = 78"),
                Statement::new("DROP TABLE counted"),
                failing(4),
            ]),
            9 => Request::of([
                Statement::new("DROP TRIGGER jar_log"),
                Statement::with(
                    "INSERT INTO jar (name, weight) VALUES (?, ?) RETURNING id, name",
                    ["x".into(), 1.into()],
                ),
                failing(0),
            ]),
            _ => Request::of([first, failing(5), last]).keyed("poisoned", 1),
        },
    };
    if is_endless(kind) { request.within(Duration::from_millis(250)) } else { request }
}
const POISON: usize = 2 * FAILING + 11;

/// Every fifth is poison.
fn batch() -> impl Strategy<Value = Vec<Request>> {
    let picked = prop::collection::vec((0..GOOD, 0..POISON), 5..24);
    picked.prop_map(|kinds| {
        let mut endless = 0;
        let request = |(n, (kind, poisonous)): (usize, (usize, usize))| {
            let place = i64::try_from(n).unwrap();
            if n % 5 != 3 {
                return good(kind, place);
            }
            // A second one would only wait for the first until its own time is up.
            endless += usize::from(is_endless(poisonous));
            poison(if endless > 1 && is_endless(poisonous) { poisonous + 1 } else { poisonous }, place)
        };
        kinds.into_iter().enumerate().map(request).collect()
    })
}

/// Small enough for a few megabytes to be too much.
const QUOTA: u64 = 2 << 20;

fn open(directory: &Path) -> Bench {
    Bench::open(directory, |options| options.max_database_bytes = Some(QUOTA))
}

async fn prepare(directory: &Path) {
    let outcome = open(directory).alone(Request::sql(SCHEMA.iter().copied())).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Each request on an engine of its own.
async fn one_by_one(directory: &Path, requests: &[Request]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.push(open(directory).alone(request.clone()).await);
    }
    outcomes
}

async fn compare(requests: Vec<Request>) {
    let (together, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(together.path()).await;
    prepare(apart.path()).await;
    let expected = one_by_one(apart.path(), &requests).await;
    let bench = open(together.path());
    let found = bench.together(requests.clone()).await;
    drop(bench);
    for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "request {n}, {:?}", requests[n]);
    }
    assert_eq!(contents(together.path()), contents(apart.path()));
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_group_gives_what_its_requests_give_alone(requests in batch()) {
        run(compare(requests));
    }
}

/// Each way to fail between two that do not.
#[test]
fn no_failure_touches_its_neighbours() {
    let around = |kind: usize| {
        let n = i64::try_from(kind).unwrap();
        [good(0, 2 * n), poison(kind, n), good(kind % GOOD, 2 * n + 1)]
    };
    let (endless, ending): (Vec<_>, Vec<_>) = (0..POISON).partition(|kind| is_endless(*kind));
    run(compare(ending.into_iter().flat_map(around).collect()));
    endless.into_iter().for_each(|kind| run(compare(around(kind).into())));
}

/// The poison is poison, and a group is a group: otherwise the tests above would show nothing.
#[test]
fn poison_fails_and_groups_are_shared() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path()).await;
        let bench = open(directory.path());
        for kind in 0..POISON {
            let _ = bench.alone(good(10, 1)).await;
            let outcome = bench.alone(poison(kind, 1)).await;
            assert!(!outcome.is_ok(), "poison {kind}: {outcome:?}");
        }
        let outcomes = bench.together((0..20).map(|n| good(7, n)).collect()).await;
        assert!(outcomes.iter().all(Outcome::is_ok));
        assert_eq!(bench.gate.largest.load(std::sync::atomic::Ordering::Relaxed), 20);
        let mut requests: Vec<_> = (0..20).map(|n| good(7, n)).collect();
        requests[10] = poison(4, 0);
        let replayed = bench.gate.replayed.load(std::sync::atomic::Ordering::Relaxed);
        let _ = bench.together(requests).await;
        assert_eq!(bench.gate.replayed.load(std::sync::atomic::Ordering::Relaxed), replayed + 1);
    });
}
