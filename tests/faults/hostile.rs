//! SQL that nobody should run: refused, or bounded in time and memory, and never at the expense of others.

use http::{Method, header};
use larder_harness::{Answer, ROLES, Server, setup};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::heartbeat::Heartbeat;

/// Nobody may run these, by any endpoint.
const REFUSED: &[&str] = &[
    // Other files.
    "ATTACH 'evil.db' AS e",
    "ATTACH DATABASE ':memory:' AS e",
    "ATTACH '' AS e",
    "ATTACH 'file:evil.db?mode=rwc' AS e",
    "DETACH main",
    "DETACH DATABASE temp",
    "VACUUM",
    "VACUUM main",
    "VACUUM INTO 'evil.db'",
    "VACUUM main INTO '/tmp/larder-evil.db'",
    "/**/VACUUM/**/INTO/**/'evil.db'",
    "SELECT load_extension('evil.so')",
    "SELECT load_extension('evil.so', 'init')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('evil', 'x')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('simple', x'0000000000000000')",
    "SELECT * FROM fsdir('/')",
    "SELECT * FROM sqlite_dbpage",
    "UPDATE sqlite_dbpage SET data = zeroblob(4096) WHERE pgno = 1",
    "SELECT * FROM sqlite_stmt",
    "CREATE VIRTUAL TABLE e USING csv(filename = '/etc/passwd')",
    "CREATE VIRTUAL TABLE e USING fts3(a)",
    "CREATE VIRTUAL TABLE e USING fts4(a)",
    "CREATE VIRTUAL TABLE e USING fts3tokenize(simple)",
    "CREATE VIRTUAL TABLE e USING dbstat",
    "CREATE VIRTUAL TABLE e USING json_each",
    "CREATE VIRTUAL TABLE temp.e USING fts5(a)",
    "CREATE VIRTUAL TABLE e USING nothing",
    // Settings, in every spelling.
    "PRAGMA journal_mode = DELETE",
    "PRAGMA journal_mode(OFF)",
    "PRAGMA main.journal_mode = MEMORY",
    "pragma/**/journal_mode=wal",
    "PRAGMA \"journal_mode\" = 'delete'",
    "PRAGMA [journal_mode](delete)",
    "PRAGMA `journal_mode` = delete",
    "SELECT * FROM pragma_journal_mode('delete')",
    "-- harmless\nPRAGMA journal_mode = DELETE",
    "/* harmless */ PRAGMA synchronous = OFF",
    "PRAGMA synchronous(0)",
    "PRAGMA main.synchronous = NORMAL",
    "PRAGMA writable_schema = ON",
    "PRAGMA writable_schema = RESET",
    "PRAGMA writable_schema(1)",
    "PRAGMA Writable_Schema",
    "PRAGMA query_only = 0",
    "PRAGMA query_only(0)",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA foreign_keys(0)",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA reverse_unordered_selects = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA cell_size_check = OFF",
    "PRAGMA legacy_alter_table = ON",
    "PRAGMA automatic_index = OFF",
    "PRAGMA cache_size = -1000000",
    "PRAGMA main.cache_size(1000000)",
    "PRAGMA default_cache_size = 1",
    "PRAGMA cache_spill = 0",
    "PRAGMA mmap_size = 1000000000",
    "PRAGMA page_size = 65536",
    "PRAGMA max_page_count = 1",
    "PRAGMA max_page_count(4294967294)",
    "PRAGMA auto_vacuum = FULL",
    "PRAGMA incremental_vacuum(10)",
    "PRAGMA wal_autocheckpoint = 1",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_checkpoint",
    "PRAGMA journal_size_limit = 0",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA locking_mode",
    "PRAGMA busy_timeout = 0",
    "PRAGMA busy_timeout",
    "PRAGMA temp_store = FILE",
    "PRAGMA temp_store_directory = '/tmp'",
    "PRAGMA data_store_directory = '/tmp'",
    "PRAGMA hard_heap_limit = 1",
    "PRAGMA hard_heap_limit(1)",
    "PRAGMA soft_heap_limit = 1",
    "PRAGMA soft_heap_limit",
    "PRAGMA threads = 8",
    "PRAGMA analysis_limit = 0",
    "PRAGMA optimize",
    "PRAGMA optimize(0xfffe)",
    "PRAGMA shrink_memory",
    "PRAGMA secure_delete = ON",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA schema_version = 1",
    "PRAGMA schema_version(77)",
    "PRAGMA integrity_check",
    "PRAGMA quick_check",
    "SELECT * FROM pragma_integrity_check",
    "SELECT * FROM pragma_quick_check(10)",
    "SELECT * FROM pragma_wal_checkpoint",
    "SELECT * FROM pragma_optimize",
    "SELECT (SELECT 1 FROM pragma_incremental_vacuum(5))",
    "PRAGMA read_uncommitted = 1",
    "PRAGMA full_column_names = 1",
    "PRAGMA count_changes = 1",
    "PRAGMA empty_result_callbacks = 1",
    "PRAGMA vdbe_trace = ON",
    "PRAGMA parser_trace = ON",
    "PRAGMA case_sensitive_like = 1",
    "PRAGMA fullfsync = 0",
    "PRAGMA checkpoint_fullfsync = 0",
    "PRAGMA lock_status",
    "PRAGMA stats",
    "PRAGMA activate_extensions = 'see'",
    "PRAGMA key = 'x'",
    "PRAGMA nothing = 1",
    "PRAGMA temp.user_version = 3",
    "PRAGMA temp.table_info(jar)",
    // Transactions.
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE TRANSACTION",
    "/* */ bEgIn DEFERRED",
    "COMMIT",
    "END",
    "END TRANSACTION",
    "ROLLBACK",
    "SAVEPOINT s",
    "SAVEPOINT request",
    "RELEASE request",
    "RELEASE SAVEPOINT statement",
    "ROLLBACK TO request",
    "ROLLBACK TRANSACTION TO SAVEPOINT statement",
    "EXPLAIN COMMIT",
    "EXPLAIN QUERY PLAN ROLLBACK",
    // The schema's own tables, and the server's.
    "INSERT INTO sqlite_master VALUES ('table', 'e', 'e', 0, '')",
    "UPDATE sqlite_master SET sql = ''",
    "UPDATE main.sqlite_schema SET rootpage = 2",
    "DELETE FROM sqlite_schema",
    "DROP TABLE sqlite_master",
    "DROP TABLE sqlite_sequence",
    "CREATE TABLE sqlite_evil (a)",
    "CREATE TRIGGER e AFTER INSERT ON sqlite_master BEGIN SELECT 1; END",
    "CREATE INDEX e ON sqlite_master (name)",
    "SELECT * FROM _larder_state",
    "SELECT * FROM _LARDER_state",
    "SELECT * FROM main.\"_larder_state\"",
    "SELECT count(*) FROM _larder_idempotency",
    "SELECT 1 WHERE EXISTS (SELECT * FROM [_larder_state])",
    "SELECT * FROM jar, _larder_state",
    "INSERT INTO _larder_state VALUES ('seq', 9)",
    "UPDATE _larder_state SET value = 0",
    "DELETE FROM _larder_idempotency",
    "REPLACE INTO _larder_state SELECT 'seq', 1",
    "INSERT INTO jar (name) SELECT name FROM _larder_state",
    "DROP TABLE _larder_state",
    "DROP INDEX _larder_idempotency_by_age",
    "CREATE INDEX e ON _larder_state (value)",
    "CREATE TABLE _larder_evil (a)",
    "CREATE TABLE _LARDER_evil AS SELECT 1",
    "CREATE VIEW _larder_evil AS SELECT 1",
    "CREATE TRIGGER e AFTER UPDATE ON _larder_state BEGIN DELETE FROM jar; END",
    "CREATE TRIGGER _larder_evil AFTER UPDATE ON jar BEGIN DELETE FROM jar; END",
    "CREATE INDEX _larder_evil ON jar (name)",
    "CREATE VIRTUAL TABLE _larder_evil USING fts5(a)",
    "ALTER TABLE _larder_state RENAME TO mine",
    "ALTER TABLE _larder_state ADD COLUMN evil",
    "ALTER TABLE jar RENAME TO _larder_jar",
    "ALTER TABLE jar RENAME TO \"_Larder_jar\"",
    // Objects that would outlive the request in a connection.
    "CREATE TEMP TABLE e (a)",
    "CREATE TEMPORARY VIEW e AS SELECT 1",
    "CREATE TEMP TRIGGER e AFTER INSERT ON jar BEGIN SELECT 1; END",
    "CREATE TABLE temp.e (a)",
    "CREATE TABLE temp.e AS SELECT * FROM jar",
    // Not one statement.
    "",
    ";",
    "-- nothing",
    "/* unterminated",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE jar",
    "SELECT 'unterminated",
    "SELECT \u{0}1",
    "SELECT '\u{0}'",
    "SELEC 1",
    "\u{feff}\u{200b}",
    // Functions that would tell of others, or of memory.
    "SELECT total_changes()",
    "SELECT sqlite_offset(name) FROM jar",
    "SELECT \"nothing\"",
];

/// These are refused only when they run: describing them compiles them and does nothing.
fn is_judged_when_run(sql: &str) -> bool {
    ["VACUUM", "pragma_", "_larder_evil", "_larder_jar"]
        .iter()
        .any(|it| sql.to_lowercase().contains(&it.to_lowercase()))
}

/// These are fine for whoever has the role, at `/execute`, and refused to everybody at `/query`.
const OF_OWNERS: &[&str] = &[
    "PRAGMA user_version = 5",
    "PRAGMA user_version(5)",
    "  PRAGMA main.user_version = 5",
    "PRAGMA application_id = 7",
    "CREATE TABLE IF NOT EXISTS jar (a)",
    "CREATE INDEX IF NOT EXISTS by_name ON jar (name)",
    "ANALYZE jar",
    "REINDEX jar",
];

/// Everything that a role can reach with SQL, as path and body.
fn routes(sql: &str) -> [(&'static str, &'static str, String); 6] {
    let body = json!([sql]).to_string();
    [
        ("reader", "/query", json!({"statements": [sql], "timeout_ms": 1000}).to_string()),
        ("reader", "/db/query", body.clone()),
        ("reader", "/db/request", body.clone()),
        ("writer", "/execute", json!({"statements": [sql], "timeout_ms": 1000}).to_string()),
        ("writer", "/db/execute", body.clone()),
        ("reader", "/describe", body),
    ]
}

fn is_refused(answer: &Answer) -> bool {
    let in_result = answer.status == 200 && answer.json_or_null()["results"][0]["error"].is_string();
    (400..500).contains(&answer.status) || in_result
}

async fn with_jar() -> Server {
    let server = setup!().start();
    let create = json!([
        "CREATE TABLE jar (id INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO jar (name) VALUES ('plum'), ('pear')"
    ]);
    assert_eq!(server.connect("owner").await.post("/execute", create.to_string()).await.status, 200);
    server
}

/// All names below a directory, but for those that come and go in that of the data.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        names.insert(path.display().to_string());
        if path.is_dir() {
            names.extend(files(&path));
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_may_do_is_refused_everywhere() {
    let server = with_jar().await;
    let before = files(server.home());
    let mut connections = Vec::new();
    for role in ROLES {
        connections.push((role, server.connect(role).await));
    }
    let mut wrong = Vec::new();
    for sql in REFUSED {
        for (needed, path, body) in routes(sql) {
            for (role, connection) in &mut connections {
                let is_described = path == "/describe" && is_judged_when_run(sql);
                if is_described || (needed == "writer" && *role == "reader") {
                    continue;
                }
                let answer = connection.post(path, body.clone()).await;
                if !is_refused(&answer) {
                    wrong.push(format!("{role} {path} {sql:?}: {} {:?}", answer.status, answer.body));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} went through:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(files(server.home()), before);
    assert!(!Path::new("/tmp/larder-evil.db").exists());
    let (_, admin) = &mut connections[3];
    let rows = admin
        .post("/query", r#"["SELECT count(*) FROM jar", "PRAGMA journal_mode", "PRAGMA user_version"]"#)
        .await
        .json();
    assert_eq!(
        [0, 1, 2].map(|it| rows["results"][it]["rows"][0][0].clone()),
        [json!(2), json!("wal"), json!(0)]
    );
    let mut names = Vec::new();
    let schema = admin.post("/query", r#"["SELECT name FROM sqlite_schema ORDER BY 1"]"#).await.json();
    for row in schema["results"][0]["rows"].as_array().unwrap() {
        names.push(row[0].as_str().unwrap().to_owned());
    }
    names.retain(|name| !name.starts_with("_larder") && !name.starts_with("sqlite_autoindex"));
    assert_eq!(names, ["jar"]);
}

#[tokio::test]
async fn what_owners_may_do_is_refused_to_others() {
    let server = with_jar().await;
    for sql in OF_OWNERS {
        let body = json!([sql]).to_string();
        for role in ROLES {
            let mut connection = server.connect(role).await;
            let answer = connection.post("/query", body.clone()).await;
            assert!(is_refused(&answer), "{role} /query {sql}: {:?}", answer.body);
            for path in ["/execute", "/db/execute", "/db/request"] {
                let answer = connection.post(path, body.clone()).await;
                let may = ["owner", "admin"].contains(&role);
                assert_eq!(
                    is_refused(&answer),
                    !may,
                    "{role} {path} {sql}: {} {:?}",
                    answer.status,
                    answer.body
                );
            }
        }
    }
}

/// A statement that costs, with its arguments.
struct Bomb {
    name: String,
    sql: String,
    args: Vec<Value>,
    writes: bool,
}

fn read(name: &str, sql: impl Into<String>) -> Bomb {
    Bomb { name: name.to_owned(), sql: sql.into(), args: Vec::new(), writes: false }
}

fn write(name: &str, sql: impl Into<String>) -> Bomb {
    Bomb { writes: true, ..read(name, sql) }
}

fn repeated(part: &str, count: usize, by: &str) -> String {
    vec![part; count].join(by)
}

const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
/// 16 MB of text without a copy of it in the request.
const LONG: &str = "hex(zeroblob(7900000))";

fn bombs() -> Vec<Bomb> {
    let upto =
        |n: u32| format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let object = |n: u32| {
        format!(
            "(SELECT '{{' || group_concat('\"k' || i || '\":1') || '}}' FROM (SELECT value i FROM json_each('[' || rtrim(replace(hex(zeroblob({n})), '00', '1,'), ',') || ']')))"
        )
    };
    vec![
        read("endless recursion", format!("{ENDLESS} SELECT count(*) FROM n")),
        read("endless rows", format!("{ENDLESS} SELECT i FROM n WHERE i < 0")),
        read("endless distinct", format!("{ENDLESS} SELECT DISTINCT i FROM n WHERE i < 0 OR i = -i")),
        read(
            "endless union",
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT count(*) FROM n",
        ),
        read("endless sort", format!("{ENDLESS} SELECT i FROM n ORDER BY -i")),
        read(
            "growing recursion",
            "WITH RECURSIVE n (t) AS (SELECT 'x' UNION ALL SELECT t || t FROM n) SELECT max(length(t)) FROM n",
        ),
        read("cross join", "SELECT count(*) FROM big a, big b, big c"),
        read("cross join sorted", "SELECT a.v || b.v FROM big a, big b ORDER BY 1"),
        read("count", "SELECT count(*) FROM big"),
        read("big sort", "SELECT v, id FROM big ORDER BY v || id"),
        read("sort in memory", format!("{} SELECT i FROM n ORDER BY i * 7919 % 1000003", upto(1_500_000))),
        read(
            "sort of few long",
            format!("{} SELECT hex(zeroblob(400000)) || i t FROM n ORDER BY 1", upto(200)),
        ),
        read("windows", "SELECT group_concat(v) OVER (ORDER BY id ROWS 20000 PRECEDING) FROM big"),
        read("aggregate of everything", "SELECT length(group_concat(v || v || v || v || v)) FROM big"),
        read("json aggregate", "SELECT length(json_group_array(v || v || v || v)) FROM big"),
        read("a gigabyte of zeros", "SELECT zeroblob(1000000000)"),
        read("a gigabyte of chance", "SELECT randomblob(1000000000)"),
        read("a gigabyte of text", "SELECT printf('%1000000000d', 1)"),
        read("a gigabyte of precision", "SELECT printf('%.1000000000f', 1.0)"),
        read("a star of a gigabyte", "SELECT printf('%.*c', 1000000000, 'x')"),
        read("hex of hex", "SELECT hex(hex(hex(hex(hex(zeroblob(15000000))))))"),
        read(
            "replace that grows",
            "SELECT replace(replace(hex(zeroblob(4000)), '0', hex(zeroblob(4000))), '0', hex(zeroblob(4000)))",
        ),
        read(
            "doubling",
            format!(
                "SELECT length({})",
                (0..60).fold("'x'".to_owned(), |it, _| format!("replace({it}, 'x', 'xx')"))
            ),
        ),
        read("many long values", format!("SELECT {}", repeated("zeroblob(16000000)", 100, ", "))),
        read("many long texts", format!("SELECT {}", repeated(LONG, 100, ", "))),
        read("rows of long values", format!("{} SELECT zeroblob(15000000) FROM n", upto(2000))),
        read("instr", format!("SELECT instr({LONG}, substr({LONG}, 1, 8000000) || '1')")),
        read("replace", format!("SELECT length(replace({LONG}, substr({LONG}, 1, 8000000) || '1', ''))")),
        read("trim", format!("SELECT length(trim({LONG}, {LONG} || 'x'))")),
        read(
            "unhex",
            "SELECT length(unhex(replace(hex(zeroblob(2000000)), '0', 'zz'), replace(hex(zeroblob(2000000)), '0', 'yx') || 'z'))",
        ),
        read("like", format!("SELECT {LONG} LIKE '{}1'", repeated("%0_", 42, ""))),
        read("like of letters", format!("SELECT {LONG} LIKE '{}1'", repeated("%0", 63, ""))),
        read("glob", format!("SELECT glob('{}1', {LONG})", repeated("*0", 63, ""))),
        read("glob of classes", format!("SELECT glob('{}1', {LONG})", repeated("*[0-9]", 20, ""))),
        read("like over a table", "SELECT count(*) FROM big a, big b WHERE a.v LIKE '%' || b.v || '%x'"),
        read(
            "hexes in a line",
            format!(
                "SELECT {}",
                repeated("length(hex(zeroblob(7900000)))", 2000, "+").replace("+length", " + length")
            ),
        ),
        Bomb {
            args: vec![json!("x".repeat(8_000_000))],
            ..read(
                "lengths in a line",
                format!("SELECT {}", repeated(&repeated("length(?1)", 150, "+"), 100, ", ")),
            )
        },
        Bomb {
            args: vec![json!("x".repeat(8_000_000))],
            ..read(
                "concatenations in a line",
                format!(
                    "SELECT {}",
                    repeated(&format!("length(?1{})", repeated("", 150, "||''")), 100, ", ")
                ),
            )
        },
        Bomb {
            args: vec![json!("x".repeat(7_000_000)), json!("x".repeat(7_000_000))],
            ..read(
                "comparisons in a line",
                format!("SELECT {}", repeated(&repeated("(?1=?2)", 150, "+"), 100, ", ")),
            )
        },
        read("deep expression", format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000))),
        read("deep sum", format!("SELECT {}", repeated("1", 100_000, "+"))),
        read("deep nots", format!("SELECT {}1", "NOT ".repeat(100_000))),
        read("deep subqueries", format!("SELECT {}1{}", "(SELECT ".repeat(3000), ")".repeat(3000))),
        read("deep case", format!("SELECT {}1{}", "CASE WHEN 1 THEN ".repeat(10_000), " END".repeat(10_000))),
        read("long list", format!("SELECT 1 IN ({})", repeated("random()", 100_000, ","))),
        read(
            "long list of numbers",
            format!(
                "SELECT count(*) FROM big WHERE id IN ({})",
                (0..100_000).map(|it| it.to_string()).collect::<Vec<_>>().join(",")
            ),
        ),
        read(
            "many ors",
            format!(
                "SELECT count(*) FROM big WHERE {}",
                (0..190).map(|it| format!("v LIKE '%{it}%x'")).collect::<Vec<_>>().join(" OR ")
            ),
        ),
        read("many columns", format!("SELECT {}", repeated("1", 3000, ","))),
        read(
            "wide join",
            format!(
                "SELECT count(*) FROM {}",
                (0..64).map(|it| format!("jar j{it}")).collect::<Vec<_>>().join(", ")
            ),
        ),
        read(
            "wider join",
            format!(
                "SELECT count(*) FROM {}",
                (0..500).map(|it| format!("jar j{it}")).collect::<Vec<_>>().join(", ")
            ),
        ),
        read(
            "joins to plan",
            format!(
                "SELECT count(*) FROM {} WHERE {}",
                (0..60).map(|it| format!("big b{it}")).collect::<Vec<_>>().join(", "),
                (1..60)
                    .map(|it| format!("(b{it}.id = b{}.id OR b{it}.v = b{}.v)", it - 1, it / 2))
                    .collect::<Vec<_>>()
                    .join(" AND ")
            ),
        ),
        read("many unions", repeated("SELECT 1", 2000, " UNION ")),
        read("views of views", "SELECT count(*) FROM v30"),
        read(
            "nested with",
            format!(
                "WITH {} SELECT count(*) FROM c25",
                (0..26)
                    .map(|it| if it == 0 {
                        "c0 AS (SELECT 1 a LIMIT 9)".to_owned()
                    } else {
                        format!("c{it} AS (SELECT DISTINCT x.a FROM c{m} x, c{m} y LIMIT 9)", m = it - 1)
                    })
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
        read("json depth", format!("SELECT json_valid('{}')", "[".repeat(200_000))),
        read("json depth in objects", format!("SELECT json('{}')", "{\"a\":".repeat(50_000))),
        read(
            "json each",
            format!("SELECT count(*) FROM json_each('[' || replace({LONG}, '0', '0,') || '0]')"),
        ),
        read(
            "json each of a million",
            "SELECT sum(a.value) FROM json_each('[' || replace(hex(zeroblob(2000000)), '00', '1,') || '1]') a, json_each('[' || replace(hex(zeroblob(2000000)), '00', '1,') || '1]') b",
        ),
        read(
            "json tree",
            "SELECT count(fullkey) FROM json_tree('[' || replace(hex(zeroblob(2000000)), '00', '1,') || '1]')",
        ),
        read(
            "json patch",
            format!(
                "SELECT length(json_patch({0}, {0}))",
                object(60_000).replace("'\"k' || i", "'\"k' || (abs(random()) % 1000000000)")
            ),
        ),
        read(
            "json patch of few",
            format!(
                "SELECT length(json_patch({0}, {0}))",
                object(20_000).replace("'\"k' || i", "'\"k' || (abs(random()) % 1000000000)")
            ),
        ),
        read("json error", format!("SELECT json_error_position('[' || replace({LONG}, '0', '0,'))")),
        read(
            "full-text prefixes",
            "SELECT count(*) FROM text WHERE text MATCH 'a* b* c* d* e* f* a* b* c* d* e* f*'",
        ),
        read(
            "full-text phrase",
            format!("SELECT count(*) FROM text WHERE text MATCH '\"{}\"'", repeated("a", 1000, " ")),
        ),
        read(
            "full-text nots",
            format!("SELECT count(*) FROM text WHERE text MATCH '{}a{}'", "(".repeat(5000), ")".repeat(5000)),
        ),
        read(
            "full-text rank",
            "SELECT count(*) FROM text WHERE text MATCH 'a' AND rank MATCH 'load_extension(1)'",
        ),
        read("rtree check", "SELECT rtreecheck('boxes')"),
        read("rtree node", "SELECT rtreenode(2, zeroblob(1000000)), rtreedepth(x'ff')"),
        read("dbstat", "SELECT sum(ncell) FROM dbstat a, dbstat b, dbstat c"),
        read("dates", format!("{} SELECT max(strftime('%Y-%m-%d %f', i)) FROM n", upto(2_000_000))),
        read("date modifiers", format!("SELECT date('now', {})", repeated("'+1000000 days'", 90, ","))),
        read("formats", format!("SELECT length(format('{}', 1))", "%d".repeat(300_000))),
        read("quote", format!("SELECT length(quote(replace({LONG}, '0', '''')))")),
        read("soundex", format!("SELECT soundex({LONG})")),
        read("upper", format!("SELECT {}", repeated(&format!("length(upper(lower({LONG})))"), 50, ", "))),
        write("endless insert", format!("{ENDLESS} INSERT INTO jar (name) SELECT 'x' FROM n")),
        write("endless update", "UPDATE big SET v = (SELECT max(a.v || b.v) FROM big a, big b)"),
        write(
            "delete of all by cross join",
            "DELETE FROM big WHERE id IN (SELECT a.id FROM big a, big b WHERE a.v > b.v)",
        ),
        write(
            "upserts",
            format!(
                "{ENDLESS} INSERT INTO jar (id, name) SELECT 1, i FROM n WHERE true ON CONFLICT (id) DO UPDATE SET name = name || 'x'"
            ),
        ),
        write("returning everything", "UPDATE big SET v = v RETURNING v || zeroblob(1000)"),
        write(
            "returning long values",
            format!("UPDATE jar SET name = name RETURNING {}", repeated("zeroblob(16000000)", 60, ", ")),
        ),
        write("full-text rebuild", "INSERT INTO text (text) VALUES ('rebuild')"),
        write("full-text optimize", "INSERT INTO text (text) VALUES ('optimize')"),
        write("full-text check", "INSERT INTO text (text, rank) VALUES ('integrity-check', 1)"),
        write(
            "full-text rank function",
            "INSERT INTO text (text, rank) VALUES ('rank', 'load_extension(''evil.so'')')",
        ),
        write("full-text page size", "INSERT INTO text (text, rank) VALUES ('pgsz', 999999999)"),
        write("full-text delete all", "INSERT INTO text (text) VALUES ('delete-all')"),
        write("full-text shadow", "UPDATE text_data SET block = x'00'"),
        write("rtree shadow", "DELETE FROM boxes_node"),
        write("check bomb", "INSERT INTO checked VALUES (1)"),
        write("generated bomb", "INSERT INTO generated (a) VALUES (1)"),
        write("generated doubling", "INSERT INTO doubled (a) VALUES (hex(zeroblob(400000)))"),
        write("trigger recursion", "INSERT INTO ping VALUES (1)"),
        write("trigger bomb", "INSERT INTO fuse VALUES (1)"),
        write("index of everything", "CREATE INDEX big_by_all ON big (v || id, v, id)"),
        write("unique index", "CREATE UNIQUE INDEX big_unique ON big (v, id)"),
        write(
            "expression index bomb",
            "CREATE INDEX jar_bomb ON jar (length(hex(zeroblob(7900000)) || name))",
        ),
        write("analyze", "ANALYZE"),
        write("reindex", "REINDEX"),
        write(
            "table as select",
            format!("CREATE TABLE copy AS {ENDLESS} SELECT i, hex(zeroblob(1000)) t FROM n"),
        ),
        write(
            "wide table",
            format!(
                "CREATE TABLE wide ({})",
                (0..3000).map(|it| format!("c{it}")).collect::<Vec<_>>().join(",")
            ),
        ),
        write("column with a bomb", "ALTER TABLE big ADD COLUMN evil AS (hex(zeroblob(length(v) * 100000)))"),
        write("drop column of a big table", "ALTER TABLE big DROP COLUMN w"),
    ]
}

/// One call of a function of C on values of 16 MB, or many calls in one row, between which SQLite looks at nothing.
fn bombs_that_outlast_their_deadline() -> Vec<Bomb> {
    vec![
        read("glob of a long class", format!("SELECT glob('*[{}]1', {LONG})", repeated("1", 120, ""))),
        read(
            "json appends",
            format!(
                "SELECT length(json_insert('[' || replace(hex(zeroblob(3900000)), '00', '1,') || '1]', {}))",
                repeated("'$[#]',1", 60, ",")
            ),
        ),
        read(
            "json lookups",
            format!(
                "SELECT {}",
                repeated(
                    "length(json_extract('[' || replace(hex(zeroblob(3900000)), '00', '1,') || '1]', '$[#-1]'))",
                    100,
                    ", "
                )
            ),
        ),
        read(
            "full-text near",
            format!(
                "SELECT count(*) FROM text WHERE text MATCH 'NEAR({}, 1000000)'",
                repeated("a", 100, " ")
            ),
        ),
        read(
            "full-text snippet",
            "SELECT snippet(text, 0, '[', ']', '…', 64) FROM text WHERE text MATCH 'a OR b OR c'",
        ),
        read(
            "full-text highlight",
            format!(
                "SELECT length(highlight(text, 0, '{0}', '{0}')) FROM text WHERE text MATCH 'a'",
                "x".repeat(1000)
            ),
        ),
    ]
}

fn schema() -> Value {
    let mut statements = vec![
        "CREATE TABLE big (id INTEGER PRIMARY KEY, v TEXT, w INTEGER DEFAULT 1)".to_owned(),
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) \
         INSERT INTO big (v) SELECT hex(randomblob(12)) FROM n".to_owned(),
        "CREATE VIRTUAL TABLE text USING fts5(body)".to_owned(),
        "INSERT INTO text SELECT replace(hex(zeroblob(500000)), '0', 'a ')".to_owned(),
        "INSERT INTO text SELECT substr('abcdef', 1 + id % 6, 1) || v || ' ' || substr('abcdef', 1 + id % 5, 2) FROM big WHERE id < 20000".to_owned(),
        "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1)".to_owned(),
        "INSERT INTO boxes SELECT id, id, id + 1 FROM big WHERE id < 5000".to_owned(),
        "CREATE TABLE checked (a CHECK (length(replace(hex(zeroblob(4000 + a)), '0', hex(zeroblob(1000)))) > 0))".to_owned(),
        format!("CREATE TABLE generated (a, b AS ({}) STORED)", repeated("length(hex(zeroblob(7900000 + a)))", 100, "+")),
        "CREATE TABLE doubled (a, b AS (a || a || a || a) STORED, c AS (b || b || b || b) STORED, d AS (c || c || c || c) STORED)".to_owned(),
        "CREATE TABLE ping (a)".to_owned(),
        "CREATE TABLE pong (a)".to_owned(),
        "CREATE TRIGGER ping_pong AFTER INSERT ON ping BEGIN INSERT INTO pong VALUES (1), (2), (3), (4); END".to_owned(),
        "CREATE TRIGGER pong_ping AFTER INSERT ON pong BEGIN INSERT INTO ping VALUES (1), (2), (3), (4); END".to_owned(),
        "CREATE TABLE fuse (a)".to_owned(),
        "CREATE TRIGGER fuse_burns AFTER INSERT ON fuse BEGIN UPDATE big SET v = v || (SELECT count(*) FROM big a, big b); END".to_owned(),
        "CREATE VIEW v0 AS SELECT 1 AS a LIMIT 9".to_owned(),
    ];
    statements.extend(
        (1..31).map(|n| {
            format!("CREATE VIEW v{n} AS SELECT DISTINCT x.a FROM v{m} x, v{m} y LIMIT 9", m = n - 1)
        }),
    );
    json!({"statements": statements, "timeout_ms": 60000})
}

const ALLOWED: Duration = Duration::from_millis(500);
const HOPELESS: Duration = Duration::from_secs(60);
/// Of what has half a second, and on two busy processors.
const PATIENCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_costs_is_bounded_and_nobody_else_pays() {
    explode(bombs(), &["/query", "/execute", "/describe"]).await;
}

/// As reads they hold one of the readers' threads and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "SQLite cannot interrupt a function: these take seconds for each 16 MB, the less the smaller --max-value is"]
async fn what_outlasts_its_deadline() {
    explode(bombs_that_outlast_their_deadline(), &["/query", "/execute"]).await;
}

async fn explode(bombs: Vec<Bomb>, reading: &[&str]) {
    let server = with_jar().await;
    let mut owner = server.connect("owner").await;
    let created = owner.post("/execute", schema().to_string()).await;
    assert_eq!(created.status, 200, "{:?}", created.body);
    let before = files(server.home());
    let heartbeat = Heartbeat::start(&server).await;
    let mut reader = server.connect("reader").await;
    let mut wrong = Vec::new();
    for Bomb { name, sql, args, writes } in bombs {
        let mut statement = vec![json!(sql)];
        statement.extend(args);
        let body = json!({"statements": [statement], "timeout_ms": ALLOWED.as_millis() as u64}).to_string();
        let paths = if writes { &["/execute"] } else { reading };
        for path in paths {
            let connection = if *path == "/execute" { &mut owner } else { &mut reader };
            let _ = heartbeat.take_longest();
            let started = Instant::now();
            let content = [(header::CONTENT_TYPE.as_str(), "application/json")];
            let sent = connection.send(Method::POST, path, &content, body.clone());
            let answer =
                tokio::time::timeout(HOPELESS, sent).await.unwrap_or_else(|_| panic!("{path} {name} hangs"));
            let took = started.elapsed();
            let waited = heartbeat.take_longest();
            let status = answer.as_ref().map_or(0, |it| it.status);
            let known =
                [200, 400, 403, 408, 409, 413, 503].contains(&status) || (status == 0 && *path == "/query");
            if took > PATIENCE || waited > PATIENCE || !known {
                let body = answer.map_or_else(
                    |error| error.to_string(),
                    |it| String::from_utf8_lossy(&it.body[..it.body.len().min(200)]).into_owned(),
                );
                wrong.push(format!(
                    "{path} {name}: {status} after {took:?}, others waited {waited:?}: {body}"
                ));
            }
            if status == 0 {
                reader = server.connect("reader").await;
            }
        }
    }
    assert!(heartbeat.stop().await > 0);
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(files(server.home()), before);
    let resident = memory(&server, "VmRSS");
    assert!(resident < 1 << 30, "{resident} bytes, at most {}", memory(&server, "VmHWM"));
    still_works(&server).await;
}

/// A figure of the process, in bytes.
fn memory(server: &Server, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn still_works(server: &Server) {
    let mut admin = server.connect("admin").await;
    for (path, body) in [
        ("/execute", r#"["INSERT INTO jar (name) VALUES ('last')"]"#),
        ("/query", r#"["SELECT name FROM jar WHERE name = 'last'"]"#),
        ("/describe", r#"["SELECT 1"]"#),
        ("/db/execute", r#"["DELETE FROM jar WHERE name = 'last'"]"#),
        ("/db/query", r#"["SELECT 1"]"#),
        ("/db/request", r#"["SELECT 1"]"#),
        ("/maintenance/checkpoint", ""),
    ] {
        let answer = admin.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    }
    for path in ["/status", "/queries", "/version", "/query?q=SELECT%201", "/backup"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.probe(path).await.status, 200, "{path}");
    }
}
