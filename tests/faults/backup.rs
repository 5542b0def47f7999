//! Backup and restore under load, restores of rubbish, and a kill in the middle of one.

use bytes::Bytes;
use http::Method;
use larder_harness::{Answer, Server, setup};
use serde_json::json;
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::open_tls;
use crate::drain::many_rows;
use crate::lab::{
    self, Dice, Site, check_file, eventually, long_or_short, must_execute, number, report, rows, status,
};
use crate::load::{Found, Load, create_tables};

async fn download(server: &Server, compress: &str) -> Answer {
    let answer = server.connect("admin").await.get(&format!("/backup?compress={compress}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn restore(server: &Server, body: impl Into<Bytes>) -> Answer {
    server.connect("admin").await.send(Method::POST, "/restore", &[], body).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_what_was_acknowledged() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("backup");
    let rounds = long_or_short(20, 3);
    let (mut total, mut bytes) = (Found::default(), 0);
    for round in 0..rounds {
        // A database of its own for each: what is written meanwhile would make each backup longer than the last.
        let server = setup!().start();
        create_tables(&server).await;
        must_execute(&server, json!([many_rows(2000)])).await;
        let load = Load::start(&Site::of(&server), &format!("b{round}"), 8, dice.next());
        eventually("writes are acknowledged", async || (load.acknowledged() > 100).then_some(())).await;
        let before = status(&server, "seq").await.as_u64().unwrap();
        // A second one waits for the first, and holds up no write.
        let (plain, _) = tokio::join!(download(&server, "none"), download(&server, "zstd"));
        let counted = load.acknowledged();
        let ledger = load.stop().await;
        assert!(ledger.requests() as u64 > counted, "nobody wrote meanwhile");
        let file = server.home().join("copy.db");
        fs::write(&file, &plain.body).unwrap();
        bytes = plain.body.len();
        let seq: u64 = plain.headers["larder-seq"].to_str().unwrap().parse().unwrap();
        assert!(seq >= before, "the backup is of {seq}, {before} was acknowledged before");
        total += ledger.up_to(seq).check_in(&check_file(&file));
        ledger.check(&server).await;
    }
    vacuum_under_load(&mut dice).await;
    report(
        "backup",
        &format!(
            "{rounds} pairs of backups of {} MiB under 8 writers: each sound, {total}; vacuum under load loses nothing",
            bytes >> 20
        ),
    );
}

async fn vacuum_under_load(dice: &mut Dice) {
    let server = setup!().start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(2000)])).await;
    let load = Load::start(&Site::of(&server), "v", 8, dice.next());
    for _ in 0..3 {
        let before = load.acknowledged();
        let done = server.connect("admin").await.post("/maintenance/vacuum", "").await;
        assert_eq!(done.status, 200, "{}", done.text());
        eventually("writes go on", async || (load.acknowledged() > before + 20).then_some(())).await;
    }
    let ledger = load.stop().await;
    assert!(ledger.refusals().keys().all(|it| *it == 409), "vacuum refuses nobody: {:?}", ledger.refusals());
    ledger.check(&server).await;
    lab::check_integrity(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_takes_sound_databases_only() {
    let _turn = lab::turn().await;
    let mut server = setup!().start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(500)])).await;
    let zstd = download(&server, "zstd").await.body;
    let plain = download(&server, "none").await.body;
    must_execute(&server, json!(["INSERT INTO event VALUES ('after the backup', 0, '')"])).await;

    let mut damaged = plain.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4096].fill(0x5a);
    let mut flipped = zstd.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let refused: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("rubbish", b"rubbish ".repeat(5000)),
        ("a header alone", plain[..100].to_vec()),
        ("a truncated database", plain[..plain.len() / 2].to_vec()),
        ("a truncated compressed database", zstd[..zstd.len() / 2].to_vec()),
        ("a damaged database", damaged),
        ("a damaged compressed database", flipped),
        ("rubbish that claims to be compressed", [&zstd[..8], &[9; 5000]].concat()),
    ];
    for (what, body) in &refused {
        let answer = restore(&server, body.clone()).await;
        assert_eq!(
            (answer.status, answer.json()["applied"].clone()),
            (400, json!(false)),
            "{what}: {}",
            answer.text()
        );
        assert_eq!(
            number(&server, "SELECT count(*) FROM event").await,
            501,
            "{what} has touched the database"
        );
    }
    // Twice within a second: each old file is kept, and the newest is what is served.
    let mut kept = Vec::new();
    for body in [&zstd, &plain] {
        must_execute(&server, json!(["INSERT INTO event VALUES ('before the restore', abs(random()), '')"]))
            .await;
        let before = status(&server, "seq").await.as_u64().unwrap();
        let answer = restore(&server, body.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.json()["seq"].as_u64().unwrap() > before, "{}", answer.text());
        assert_eq!(number(&server, "SELECT count(*) FROM event").await, 500);
        kept.push(server.data().join(answer.json()["kept"].as_str().unwrap()));
    }
    let counts: Vec<i64> = kept
        .iter()
        .map(|it| check_file(it).query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap())
        .collect();
    assert_eq!(counts, [502, 501], "the old files");
    assert_eq!(fs::read_dir(server.data().join("tmp")).unwrap().count(), 0, "uploads are removed");
    assert_eq!(server.terminate().code(), Some(0));
    report(
        "restore",
        &format!(
            "{} uploads of rubbish refused with the database untouched; 2 restores within a second: swapped, both old files kept",
            refused.len()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_a_restore_leaves_one_of_both() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("restore and kill");
    let mut server = setup!().start();
    create_tables(&server).await;
    must_execute(
        &server,
        json!([many_rows(1000), "CREATE TABLE side (name TEXT)", "INSERT INTO side VALUES ('backup')"]),
    )
    .await;
    let backup = download(&server, "none").await.body;
    let (rounds, mut old, mut new) = (long_or_short(100, 12), 0, 0);
    for round in 0..rounds {
        must_execute(&server, json!([["UPDATE side SET name = ?", format!("old {round}")]])).await;
        let mut connection = server.connect("admin").await;
        let body = backup.clone();
        let restoring =
            tokio::spawn(async move { connection.send(Method::POST, "/restore", &[], body).await });
        tokio::time::sleep(dice.millis(1, 120)).await;
        server.kill();
        let acknowledged = restoring.await.unwrap().is_ok_and(|answer| answer.status == 200);
        server.start_again();
        let name = rows(&server, "SELECT name FROM side").await[0][0].as_str().unwrap().to_owned();
        match &*name {
            "backup" => new += 1,
            _ => {
                assert!(
                    name == format!("old {round}") && !acknowledged,
                    "{name} in round {round}, {acknowledged}"
                );
                old += 1;
            }
        }
        assert_eq!(number(&server, "SELECT count(*) FROM event").await, 1000);
        lab::check_integrity(&server).await;
        for entry in fs::read_dir(server.data()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("before-restore") {
                check_file(&entry.path());
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    report(
        "restore and kill",
        &format!(
            "{rounds} restores killed at random instants: {old} times the old database, {new} times the new one, always whole"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_a_backup_holds_nothing() {
    let _turn = lab::turn().await;
    let server = setup!().args(["--stall-timeout", "2s", "--wal-limit", "8MiB"]).start();
    create_tables(&server).await;
    must_execute(&server, json!([many_rows(3000)])).await;
    assert_eq!(server.connect("admin").await.post("/maintenance/checkpoint", "").await.status, 200);
    let mut slow = open_tls(&Site::of(&server), "admin").await;
    slow.write_all(b"GET /backup?compress=none HTTP/1.1\r\nhost: larder\r\n\r\n").await.unwrap();
    slow.read_exact(&mut [0; 100]).await.unwrap();
    let load = Load::start(&Site::of(&server), "slow", 8, 1);
    let mut longest = 0;
    let requests = long_or_short(20_000, 3000);
    while load.acknowledged() < requests {
        longest = longest.max(status(&server, "database.wal_bytes").await.as_u64().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.stop().await.check(&server).await;
    assert!(longest < 12 << 20, "a log of {longest} bytes");
    eventually("the copy is removed", async || {
        fs::read_dir(server.data().join("tmp")).unwrap().next().is_none().then_some(())
    })
    .await;
    report(
        "backup",
        &format!(
            "a client that stops reading one: the log stayed at {} KiB with a limit of 8 MiB during {requests} writes, and the copy was removed",
            longest >> 10
        ),
    );
}
