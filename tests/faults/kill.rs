//! `kill -9` at random instants under concurrent writers.

use larder_harness::setup;
use serde_json::json;

use crate::lab::{self, Dice, Site, check_file, long_or_short, must_execute, number, report, status};
use crate::load::{Found, Load, create_tables};

const WRITERS: usize = 16;
/// Rounds whose rows are kept.
const KEPT: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_acknowledged() {
    let _turn = lab::turn().await;
    let mut dice = Dice::thrown("kill -9");
    let rounds = long_or_short(200, 20);
    let mut server = setup!().start();
    create_tables(&server).await;
    let (mut total, mut replayed, mut repeated, mut newest, mut expected) = (Found::default(), 0, 0, 0, 0);
    for round in 0..rounds {
        let load = Load::start(&Site::of(&server), &format!("r{round}"), WRITERS, dice.next());
        tokio::time::sleep(dice.millis(60, 300)).await;
        server.kill();
        let mut ledger = load.stop().await;
        if let Some((first, last)) = ledger.commits() {
            assert!(first > newest, "commit {first} after {newest}");
            newest = last;
        }
        server.start_again();
        assert!(status(&server, "seq").await.as_u64().unwrap() >= newest);
        total += ledger.check(&server).await;
        let (from_memory, anew) = ledger.repeat(&server).await;
        (replayed, repeated) = (replayed + from_memory, repeated + anew);
        expected += ledger.check(&server).await.rows as u64;
        assert_eq!(number(&server, "SELECT count(*) FROM event").await, expected, "rows of earlier rounds");
        lab::check_integrity(&server).await;
        if let Some(old) = (round + 1_u64).checked_sub(KEPT) {
            let forgotten = must_execute(
                &server,
                json!([["DELETE FROM event WHERE request GLOB ?", format!("r{old}-*")]]),
            )
            .await;
            expected -= forgotten["results"][0]["rows_affected"].as_u64().unwrap();
            newest = forgotten["seq"].as_u64().unwrap();
        } else {
            newest = status(&server, "seq").await.as_u64().unwrap();
        }
    }
    server.kill();
    check_file(&server.data().join("larder.db"));
    report(
        "kill -9",
        &format!(
            "{rounds} rounds under {WRITERS} writers: {total}; {} requests with a key repeated: {replayed} replayed, {repeated} done once; integrity_check ok after each",
            replayed + repeated
        ),
    );
}
