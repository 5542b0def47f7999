//! Network file systems. FUSE stands for all of them: it is one that a test can mount (with bindfs, which passes everything on to a
//! directory), and what is told apart is told by the same number of the system. What such disks cost is measured with a delay in
//! each fsync.

use larder_harness::{Skip, need, prepared, setup};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use crate::fsync::build_shim;
use crate::lab::{
    self, Dice, Site, check_file, eventually, long_or_short, must_execute, number, report, status,
};
use crate::load::{Found, Load, create_tables};

/// A directory, and the same directory over FUSE.
struct Mount {
    home: tempfile::TempDir,
}

impl Mount {
    /// `None` where the system lets nobody mount it; in continuous integration as root it has to be.
    fn new() -> Result<Option<Self>, Skip> {
        let (bindfs, library) = (prepared("bindfs")?, prepared("libfuse.so.2")?);
        let mount = Self { home: tempfile::tempdir().unwrap() };
        for directory in [mount.local(), mount.remote()] {
            std::fs::create_dir(directory).unwrap();
        }
        let output = Command::new(bindfs)
            .args(["--no-allow-other", "-o", "default_permissions"])
            .args([mount.local(), mount.remote()])
            .env("LD_LIBRARY_PATH", library.parent().unwrap())
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(Some(mount));
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        assert!(!lab::must_have_privileges(), "bindfs: {said}");
        report("network", &format!("SKIPPED: this system mounts no FUSE ({said})"));
        Ok(None)
    }

    fn local(&self) -> PathBuf {
        self.home.path().join("local")
    }

    fn remote(&self) -> PathBuf {
        self.home.path().join("remote")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.remote()).status();
    }
}

/// Starts a server that does not come up, and gives what it says.
fn refusal(data: &Path, shim: Option<&Path>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--dev", "--plain", "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"]);
    command.arg("--data").arg(data);
    if let Some(shim) = shim {
        command.env("LD_PRELOAD", shim).env("LARDER_NO_SHM", "yes");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_file_system_is_refused_or_gets_a_rollback_journal() {
    let _turn = lab::turn().await;
    let Some(mount) = need!(Mount::new()) else { return };
    let mut dice = Dice::thrown("network");
    let data = mount.remote().join("data");
    assert_eq!(
        refusal(&data, None),
        format!(
            "error: the data directory {} is on FUSE, where a write-ahead log is not safe: use a volume of block storage, or, slower, \
             --journal rollback",
            data.display()
        )
    );

    // A database with a log that nobody has emptied comes along.
    let mut server = setup!().data(mount.local().join("data")).start();
    create_tables(&server).await;
    let load = Load::start(&Site::of(&server), "local", 8, dice.next());
    eventually("writes are acknowledged", async || (load.acknowledged() > 50).then_some(())).await;
    server.kill();
    let before = load.stop().await;
    assert!(lab::size(&mount.local().join("data/larder.db-wal")) > 0);
    let mut server = setup!().data(&data).args(["--journal", "rollback"]).start();
    let mut total = before.check(&server).await;
    let database = status(&server, "database").await;
    assert_eq!((&database["journal"], &database["file_system"]), (&json!("rollback"), &json!("FUSE")));
    let readiness = server.probe("/readyz").await;
    assert_eq!(readiness.status, 200, "{}", readiness.text());
    assert!(readiness.text().contains("[!]journal: a rollback journal is in use"), "{}", readiness.text());
    let _ = server.log().wait_for("a rollback journal is in use", Duration::ZERO);

    // Writers and readers, and kills between them: what was acknowledged is there.
    let rounds = long_or_short(10, 2);
    let mut asked = 0;
    for round in 0..rounds {
        let load = Load::start(&Site::of(&server), &format!("r{round}"), 8, dice.next());
        let started = Instant::now();
        while load.acknowledged() < 100 || started.elapsed() < Duration::from_millis(500) {
            number(&server, "SELECT count(*) FROM event").await;
            asked += 1;
            assert!(started.elapsed() < lab::PATIENCE, "only {} writes", load.acknowledged());
        }
        server.kill();
        let ledger = load.stop().await;
        server.start_again();
        total += ledger.check(&server).await;
        lab::check_integrity(&server).await;
    }
    // What looks after the database works without a log, too.
    let mut admin = server.connect("admin").await;
    for what in ["checkpoint", "optimize", "vacuum"] {
        let path = format!("/maintenance/{what}");
        let answer = admin.send(http::Method::POST, &path, &[], "").await.unwrap();
        assert!(answer.status < 300, "{what}: {}", answer.text());
    }
    let copy = admin.get("/backup").await;
    assert_eq!(copy.status, 200);
    assert!(server.terminate().success());
    assert_eq!(lab::size(&data.join("larder.db-journal")), 0);

    // And back to a local disk, with a log again.
    let mut server = setup!().data(mount.local().join("data")).start();
    assert_eq!(status(&server, "database.journal").await, json!("wal"));
    must_execute(&server, json!(["INSERT INTO event VALUES ('home', 0, 'again')"])).await;
    assert!(server.terminate().success());
    check_file(&mount.local().join("data/larder.db"));
    report(
        "network",
        &format!(
            "FUSE with a rollback journal, killed {rounds} times under 8 writers: {total}; {asked} reads beside them were answered"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_keep_writers_from_a_rollback_journal() {
    let _turn = lab::turn().await;
    let server = setup!().args(["--journal", "rollback", "--snapshot-grace", "300ms"]).start();
    create_tables(&server).await;
    must_execute(&server, json!(["INSERT INTO event VALUES ('first', 0, 'x')"])).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, event WHERE i < 0";
    let mut reader = server.connect("reader").await;
    let reading = tokio::spawn(async move { reader.post("/query", json!([endless]).to_string()).await });
    eventually("it reads", async || (status(&server, "readers.in_use").await == 1).then_some(())).await;
    let started = Instant::now();
    must_execute(&server, json!(["INSERT INTO event VALUES ('second', 0, 'x')"])).await;
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let evicted = reading.await.unwrap();
    assert_eq!((evicted.status, evicted.code().as_str()), (503, "SNAPSHOT_EVICTED"), "{}", evicted.text());

    // Nor do writers that never pause keep readers away.
    let load = Load::start(&Site::of(&server), "busy", 16, 7);
    eventually("writes are acknowledged", async || (load.acknowledged() > 50).then_some(())).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        number(&server, "SELECT count(*) FROM event").await;
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let total: Found = load.stop().await.check(&server).await;
    report(
        "network",
        &format!(
            "a rollback journal under 16 writers: {total}; the slowest of 50 reads beside them took {} ms",
            slowest.as_millis()
        ),
    );
}

#[test]
fn a_log_that_sqlite_does_not_get_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let shim = home.path().join("shim.so");
    build_shim(&shim);
    let said = refusal(&home.path().join("data"), Some(&shim));
    assert!(said.contains("--journal rollback"), "{said}");
}

/// Commits a second and the slowest of a hundred writes, with each fsync longer by `delay`.
async fn measure(shim: &Path, delay: Duration, journal: &str, writers: usize) -> (f64, f64) {
    let server = setup!()
        .variable("LD_PRELOAD", shim)
        .variable("LARDER_FSYNC_DELAY", delay.as_micros().to_string())
        .args(["--journal", journal])
        .start();
    must_execute(&server, json!(["CREATE TABLE report (name INTEGER PRIMARY KEY, body BLOB)"])).await;
    let ended = Arc::<AtomicBool>::default();
    let mut set = JoinSet::new();
    for _ in 0..writers {
        let (mut connection, ended) = (server.connect("writer").await, Arc::clone(&ended));
        set.spawn(async move {
            let body = json!([["INSERT INTO report (body) VALUES (?)", "x".repeat(5500)]]).to_string();
            let mut taken = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let started = Instant::now();
                assert_eq!(connection.post("/execute", body.clone()).await.status, 200);
                taken.push(started.elapsed());
            }
            taken
        });
    }
    let length = Duration::from_secs(long_or_short(10, 1));
    tokio::time::sleep(length).await;
    ended.store(true, Ordering::Relaxed);
    let mut taken = set.join_all().await.concat();
    taken.sort();
    let rate = taken.len() as f64 / length.as_secs_f64();
    (rate, taken[taken.len() * 99 / 100].as_secs_f64() * 1000.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_network_file_system_costs() {
    let _turn = lab::turn().await;
    let home = tempfile::tempdir().unwrap();
    let shim = home.path().join("shim.so");
    build_shim(&shim);
    for delay in long_or_short(vec![0, 2, 12], vec![12]) {
        for writers in [1, 64] {
            let delay = Duration::from_millis(delay);
            let wal = measure(&shim, delay, "wal", writers).await;
            let rollback = measure(&shim, delay, "rollback", writers).await;
            report(
                "network",
                &format!(
                    "each fsync {} ms longer, {writers} writers of 5.5 KB: a log {:.0} writes a second (p99 {:.0} ms), a rollback journal {:.0} (p99 {:.0} ms)",
                    delay.as_millis(),
                    wal.0,
                    wal.1,
                    rollback.0,
                    rollback.1
                ),
            );
            // A commit to a log is one sync, one with a journal several; writers that come together share them.
            if delay > Duration::from_millis(10) {
                assert!(wal.0 > rollback.0, "{wal:?} {rollback:?}");
            }
        }
    }
}
