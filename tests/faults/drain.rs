//! SIGTERM under load, clients that hold on, a second process, and how fast the next start is.

use larder_harness::{Server, setup};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

use crate::clients::open_tls;
use crate::lab::{
    self, Dice, Site, check_file, eventually, long_or_short, must_execute, number, report, size,
};
use crate::load::{Found, Load, create_tables};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("SIGTERM");
    let rounds = long_or_short(30, 4);
    let mut server = setup!().start();
    create_tables(&server).await;
    let (mut total, mut slowest) = (Found::default(), Duration::ZERO);
    for round in 0..rounds {
        let load = Load::start(&Site::of(&server), &format!("s{round}"), 16, dice.next());
        tokio::time::sleep(dice.millis(100, 400)).await;
        let started = Instant::now();
        assert_eq!(server.terminate().code(), Some(0));
        slowest = slowest.max(started.elapsed());
        let ledger = load.stop().await;
        let log = server.data().join("larder.db-wal");
        assert_eq!(size(&log), 0, "the log is moved into the database");
        let database = check_file(&server.data().join("larder.db"));
        total += ledger.check_in(&database);
        drop(database);
        server.start_again();
        assert_eq!(lab::status(&server, "database.recovered_after_unclean_stop").await, false);
    }
    report(
        "SIGTERM",
        &format!(
            "{rounds} stops under 16 writers: {total}; exit code 0, no log left, slowest stop {:.1} s",
            slowest.as_secs_f64()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_client_does_not_hold_the_exit() {
    let _turn = lab::turn().await;
    let limit = Duration::from_secs(2);
    let mut server = setup!().args(["--drain-timeout", "2s"]).start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(20_000)])).await;
    let site = Site::of(&server);
    // One sends half of its body, one does not read its answer, one has said nothing, one has not even shaken hands.
    let mut half = open_tls(&site, "writer").await;
    half.write_all(b"POST /execute HTTP/1.1\r\nhost: larder\r\ncontent-length: 1000\r\n\r\n[").await.unwrap();
    let mut deaf = open_tls(&site, "reader").await;
    let request = "GET /query?q=SELECT%20*%20FROM%20event HTTP/1.1\r\nhost: larder\r\naccept: application/x-ndjson\r\n\r\n";
    deaf.write_all(request.as_bytes()).await.unwrap();
    let silent = open_tls(&site, "reader").await;
    let stranger = tokio::net::TcpStream::connect(site.url.trim_start_matches("https://")).await.unwrap();
    eventually("the stuck read runs", async || {
        (lab::status(&server, "readers.in_use").await.as_u64().unwrap() >= 1).then_some(())
    })
    .await;
    let started = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    let took = started.elapsed();
    assert!(took >= limit / 2 && took < limit + Duration::from_secs(3), "{took:?}");
    assert_eq!(size(&server.data().join("larder.db-wal")), 0);
    drop((half, deaf, silent, stranger));
    report(
        "SIGTERM",
        &format!(
            "four stuck clients and --drain-timeout 2s: gone after {:.1} s, exit code 0",
            took.as_secs_f64()
        ),
    );
}

/// Rows of 5.5 KB.
pub(crate) fn many_rows(count: u64) -> String {
    format!(
        "INSERT INTO event WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         SELECT 'bulk', i, hex(randomblob(2750)) FROM n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_holder_and_starts_fast() {
    let _turn = lab::turn().await;
    let mut server = setup!().args(["--write-timeout", "1m"]).start();
    create_tables(&server).await;
    let second = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success(), "two processes in one directory");
    assert!(said.contains(&format!("process {}", server.pid())), "names no holder: {said}");
    number(&server, "SELECT count(*) FROM event").await;

    let copies = long_or_short(10, 1);
    for copy in 0..copies {
        let name = format!("UPDATE event SET request = 'copy {copy}' WHERE request = 'bulk'");
        must_execute(&server, json!([many_rows(10_000), name])).await;
    }
    let clean = restart(&mut server, true);
    // A last transaction fills the log, which is left behind.
    must_execute(
        &server,
        json!(["UPDATE event SET body = hex(randomblob(2750)) WHERE part % 2 = 0 AND request = 'copy 0'"]),
    )
    .await;
    let log = size(&server.data().join("larder.db-wal"));
    let killed = restart(&mut server, false);
    let bytes = size(&server.data().join("larder.db"));
    let whole = "SELECT count(*) FROM event WHERE length(body) = 5500";
    assert_eq!(number(&server, whole).await, copies * 10_000);
    for took in [clean, killed] {
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    report(
        "start",
        &format!(
            "a second process is refused and told of the first; with a database of {} MiB ready {:.2} s after a clean stop, {:.2} s after kill -9 with a log of {} MiB",
            bytes >> 20,
            clean.as_secs_f64(),
            killed.as_secs_f64(),
            log >> 20
        ),
    );
}

/// How long the process takes from its start until it says that it is ready.
fn restart(server: &mut Server, cleanly: bool) -> Duration {
    if cleanly {
        assert_eq!(server.terminate().code(), Some(0));
    } else {
        server.kill();
    }
    let started = Instant::now();
    server.start_again();
    started.elapsed()
}
