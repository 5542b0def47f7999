//! fsync that fails: of the write-ahead log, of the database, of everything. A library loaded before the C library
//! makes it fail while a file exists.

use http::Method;
use larder_harness::{Server, Setup, setup};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{
    self, Dice, Site, check_file, eventually, execute, is_ready, long_or_short, number, report,
};
use crate::load::{Found, Load, create_tables};

/// The suffixes of the files whose fsync fails; the empty one is that of all.
const MODES: [(&str, &str); 3] = [("the log", "-wal"), ("the database", ".db"), ("everything", "")];

/// A library that makes a disk bad, loaded before the C library.
pub(crate) fn build_shim(library: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/fsync_shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(library)
        .arg(source)
        .status();
    assert!(built.unwrap().success(), "cc cannot build the library");
}

/// A disk whose fsync fails on demand.
struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { home: tempfile::tempdir().unwrap() };
        build_shim(&disk.library());
        disk
    }

    fn library(&self) -> PathBuf {
        self.home.path().join("fsync.so")
    }

    fn control(&self) -> PathBuf {
        self.home.path().join("fails")
    }

    fn setup(&self) -> Setup {
        setup!().variable("LD_PRELOAD", self.library()).variable("LARDER_FSYNC_CONTROL", self.control())
    }

    fn fail(&self, suffix: &str) {
        let whole = self.home.path().join("new");
        fs::write(&whole, suffix).unwrap();
        fs::rename(whole, self.control()).unwrap();
    }

    fn heal(&self) {
        fs::remove_file(self.control()).unwrap();
    }
}

/// Asks for a checkpoint, which syncs the database, and waits until the failure has been noticed.
async fn wait_until_suspended(server: &Server) -> Duration {
    eventually("writing is suspended", async || {
        let checkpoint = server
            .connect("admin")
            .await
            .send(Method::POST, "/maintenance/checkpoint", &[], "")
            .await
            .unwrap();
        assert_ne!(checkpoint.status, 200, "a checkpoint succeeds on a disk that cannot sync");
        let probe = server.probe("/readyz").await;
        (probe.status == 503 && probe.text().contains("[-]writer")).then_some(())
    })
    .await
    .1
}

/// While nothing can be written: 503 for writes, and reads, long ones too, go on.
async fn look_at_the_suspended(server: &Server) {
    for _ in 0..20 {
        let refused = execute(server, json!(["INSERT INTO event VALUES ('never', 0, '')"])).await;
        assert_eq!(
            (refused.status, refused.json()["applied"].clone()),
            (503, json!(false)),
            "{}",
            refused.text()
        );
        number(server, "SELECT count(*) FROM event").await;
    }
    let started = Instant::now();
    let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT count(*) FROM n";
    assert_eq!(number(server, long).await, 20_000_000);
    assert!(started.elapsed() > Duration::from_millis(600), "not long: {:?}", started.elapsed());
    assert!(!is_ready(server).await);
    assert_eq!(number(server, "SELECT count(*) FROM event WHERE request = 'never'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_fsync_is_never_acknowledged() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("fsync");
    let disk = Disk::new();
    let mut server = disk.setup().start();
    create_tables(&server).await;
    let rounds = long_or_short(10, 1);
    let (mut total, mut resumed) = (Found::default(), Duration::ZERO);
    for round in 0..rounds {
        for (number, (_, suffix)) in MODES.iter().enumerate() {
            let run = format!("f{round}m{number}");
            let load = Load::start(&Site::of(&server), &run, 8, dice.next());
            eventually("writes are acknowledged", async || (load.acknowledged() > 50).then_some(())).await;
            disk.fail(suffix);
            wait_until_suspended(&server).await;
            let before = load.acknowledged();
            look_at_the_suspended(&server).await;
            assert_eq!(load.acknowledged(), before, "acknowledged while fsync fails");
            disk.heal();
            let again = async || (is_ready(&server).await && load.acknowledged() > before + 50).then_some(());
            resumed = resumed.max(eventually("writing goes on by itself", again).await.1);
            let ledger = load.stop().await;
            total += ledger.check(&server).await;
        }
        // And a kill while nobody knows what the disk has.
        let load = Load::start(&Site::of(&server), &format!("f{round}kill"), 8, dice.next());
        eventually("writes are acknowledged", async || (load.acknowledged() > 50).then_some(())).await;
        disk.fail(MODES[dice.between(0, 3) as usize].1);
        wait_until_suspended(&server).await;
        server.kill();
        let ledger = load.stop().await;
        if dice.between(0, 2) == 0 {
            disk.heal();
            server.start_again();
        } else {
            server.start_again();
            disk.heal();
        }
        total += ledger.check(&server).await;
        lab::check_integrity(&server).await;
    }
    assert!(total.unknown_there + total.unknown_absent > 0, "no commit met the failing disk");
    server.kill();
    check_file(&server.data().join("larder.db"));
    report(
        "fsync",
        &format!(
            "{} failures (of {}), {rounds} of them killed while suspended: {total}; none acknowledged, 503 and reads meanwhile; writing went on by itself within {:.1} s",
            rounds * 4,
            MODES.map(|(name, _)| name).join(", of "),
            resumed.as_secs_f64()
        ),
    );
}
