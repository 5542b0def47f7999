//! A disk without room, and a database at its quota.
//!
//! The disk is a small tmpfs in a mount namespace of its own: the test runs itself again inside of one. Where the system
//! allows no such namespace the test says so and is skipped, except in continuous integration as root.

use larder_harness::{Server, setup};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::lab::{
    self, Dice, Site, check_file, eventually, execute, is_ready, long_or_short, must_execute, number, report,
    size,
};
use crate::load::{Found, Load, create_tables};

const INSIDE: &str = "LARDER_FAULTS_INSIDE";
const DISK_MIB: u64 = 64;

/// Runs the named test of this binary in a mount namespace of its own; says why if that cannot be.
fn run_inside(test: &str) -> Result<(), String> {
    let possible = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
    let said = possible.map_err(|error| format!("unshare: {error}"))?;
    if !said.status.success() {
        return Err(format!("unshare: {}", String::from_utf8_lossy(&said.stderr).trim()));
    }
    let status = Command::new("unshare")
        .args(["--mount", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "yes")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside of its namespace");
    Ok(())
}

/// Runs `test` inside if this is outside; whether this is inside.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if let Err(reason) = run_inside(test) {
        assert!(!lab::must_have_privileges(), "no namespace for a small disk: {reason}");
        report("disk full", &format!("SKIPPED: this system has no namespace for a small disk ({reason})"));
    }
    false
}

/// A small disk, gone with the namespace.
struct Disk {
    mount: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let mount = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_MIB}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "larder"]).arg(mount.path()).status();
        assert!(mounted.unwrap().success());
        Self { mount }
    }

    fn data(&self) -> PathBuf {
        self.mount.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.mount.path().join("ballast")
    }

    /// Fills the disk until only so many bytes are left.
    fn fill(&self, left: u64) {
        use std::io::Write;
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        while free(self.mount.path()) > left && ballast.write_all(&[7; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
    }
}

fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Waits until the disk has refused as many requests of the load as it has writers.
async fn wait_until_full(server: &Server) {
    eventually("writes are refused", async || {
        let body = "x".repeat(60_000);
        let answer =
            execute(server, json!([["INSERT INTO event VALUES ('filler', abs(random()), ?)", body]])).await;
        if answer.status == 200 {
            return None;
        }
        assert_eq!(
            (answer.status, answer.json()["applied"].clone()),
            (507, json!(false)),
            "{}",
            answer.text()
        );
        Some(())
    })
    .await;
}

async fn reads_go_on(server: &Server) {
    for _ in 0..20 {
        assert!(number(server, "SELECT count(*) FROM event").await > 0);
    }
    assert!(is_ready(server).await, "{}", server.probe("/readyz").await.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writes_and_nothing_else() {
    let _turn = lab::turn().await;
    if !is_inside("disk_full::a_full_disk_stops_writes_and_nothing_else") {
        return;
    }
    let mut dice = Dice::thrown("disk full");
    let disk = Disk::new();
    let mut server = setup!().data(disk.data()).start();
    create_tables(&server).await;
    let rounds = long_or_short(10, 2);
    let (mut total, mut resumed, mut refused) = (Found::default(), Duration::ZERO, 0);
    for round in 0..rounds {
        disk.fill(dice.between(0, 3 << 20));
        let load = Load::start(&Site::of(&server), &format!("d{round}"), 8, dice.next());
        wait_until_full(&server).await;
        reads_go_on(&server).await;
        disk.make_room();
        let before = load.acknowledged();
        let again = async || (load.acknowledged() > before + 50).then_some(());
        resumed = resumed.max(eventually("writes come back by themselves", again).await.1);
        let ledger = load.stop().await;
        let refusals = ledger.refusals();
        assert!(refusals.keys().all(|status| [409, 507].contains(status)), "{refusals:?}");
        refused += refusals.get(&507).copied().unwrap_or(0);
        total += ledger.check(&server).await;
        must_execute(&server, json!(["DELETE FROM event WHERE request = 'filler'"])).await;
    }
    assert_eq!(total.unknown_there + total.unknown_absent, 0, "a full disk leaves no doubt");
    let updates = a_full_disk_with_a_long_log(&disk, &server).await;
    let restarted = a_full_disk_and_a_kill(&disk, &mut server).await;
    report(
        "disk full",
        &format!(
            "a disk of {DISK_MIB} MiB filled {rounds} times under 8 writers: {total}; {refused} answers 507, reads and readiness go on; writes came back within {:.1} s of room without a restart; with no byte free and a log of {} KiB {} updates went through; killed and ready on the full disk in {:.1} s",
            resumed.as_secs_f64(),
            updates.0 >> 10,
            updates.1,
            restarted.as_secs_f64()
        ),
    );
}

/// What the log holds goes into pages that the database has, so that updates find room in an emptied log although
/// the disk has none and nobody gives the writer a pause.
async fn a_full_disk_with_a_long_log(disk: &Disk, server: &Server) -> (u64, u64) {
    must_execute(server, json!(["CREATE TABLE page (id INTEGER PRIMARY KEY, body TEXT)"])).await;
    let fill = "INSERT INTO page WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                SELECT i, hex(zeroblob(2500)) FROM n";
    must_execute(server, json!([fill])).await;
    // The pages are in the database, and its length no longer changes.
    let checkpoint = server.connect("admin").await.post("/maintenance/checkpoint", "").await;
    assert_eq!(checkpoint.status, 200, "{}", checkpoint.text());
    let log = disk.data().join("larder.db-wal");
    let update = json!(["UPDATE page SET body = hex(randomblob(2500)) WHERE id % 2 = 0"]);
    let mut connection = server.connect("writer").await;
    while size(&log) < 6 << 20 {
        assert_eq!(connection.post("/execute", update.to_string()).await.status, 200);
    }
    disk.fill(0);
    let bytes = size(&log);
    let mut through = 0;
    eventually("updates go through on a full disk", async || {
        let answer = connection.post("/execute", update.to_string()).await;
        match answer.status {
            200 => through += 1,
            507 => assert_eq!(answer.json()["applied"], false),
            _ => panic!("{}", answer.text()),
        }
        (through >= 20).then_some(())
    })
    .await;
    disk.make_room();
    (bytes, through)
}

async fn a_full_disk_and_a_kill(disk: &Disk, server: &mut Server) -> Duration {
    let load = Load::start(&Site::of(server), "dkill", 8, 1);
    eventually("writes are acknowledged", async || (load.acknowledged() > 100).then_some(())).await;
    disk.fill(0);
    server.kill();
    disk.fill(0);
    let ledger = load.stop().await;
    let started = std::time::Instant::now();
    server.start_again();
    let took = started.elapsed();
    ledger.check(server).await;
    reads_go_on(server).await;
    disk.make_room();
    let again = async || (execute(server, json!(["DELETE FROM page"])).await.status == 200).then_some(());
    eventually("writes come back after the restart", again).await;
    lab::check_integrity(server).await;
    assert_eq!(server.terminate().code(), Some(0));
    ledger.check_in(&check_file(&disk.data().join("larder.db")));
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_stops_growth_and_nothing_else() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("quota full");
    let quota = 8_u64 << 20;
    let mut server = setup!().arg("--max-db-size").arg(quota.to_string()).start();
    create_tables(&server).await;
    let rounds = long_or_short(10, 2);
    let (mut total, mut refused) = (Found::default(), 0);
    for round in 0..rounds {
        let load = Load::start(&Site::of(&server), &format!("q{round}"), 8, dice.next());
        wait_until_full(&server).await;
        reads_go_on(&server).await;
        must_execute(&server, json!(["DELETE FROM event WHERE request = 'filler'"])).await;
        let before = load.acknowledged();
        let again = async || {
            must_execute(&server, json!(["DELETE FROM event WHERE request = 'filler'"])).await;
            (load.acknowledged() > before + 20).then_some(())
        };
        eventually("writes come back by themselves", again).await;
        let ledger = load.stop().await;
        let refusals = ledger.refusals();
        assert!(refusals.keys().all(|status| [409, 507].contains(status)), "{refusals:?}");
        refused += refusals.get(&507).copied().unwrap_or(0);
        total += ledger.check(&server).await;
        must_execute(&server, json!(["DELETE FROM event"])).await;
    }
    assert_eq!(server.terminate().code(), Some(0));
    let database = server.data().join("larder.db");
    assert!(size(&database) <= quota, "{} bytes", size(&database));
    check_file(&database);
    report(
        "quota full",
        &format!(
            "a quota of {} MiB reached {rounds} times under 8 writers: {total}; {refused} answers 507, reads and DELETE go on and make room; {} bytes at the end",
            quota >> 20,
            size(&database)
        ),
    );
}
