//! Following files while they change: good sets taken, bad ones refused, torn ones read again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use super::*;
use crate::tls::Leaf;
use crate::tls::testing::{Room, term};

fn loaded(room: &Room) -> Arc<Tls> {
    Tls::load(room.files()).unwrap()
}

fn look(follower: &mut Follower, tls: &Tls) -> (u64, u64) {
    follower.look(tls);
    let snapshot = tls.snapshot();
    (snapshot.reloaded, snapshot.refused)
}

#[test]
fn unchanged_files_keep_the_configuration() {
    let room = Room::new();
    let tls = loaded(&room);
    let before = tls.server_config();
    let cert = room.files().cert;
    fs::write(&cert, fs::read(&cert).unwrap()).unwrap();
    assert_eq!(look(&mut Follower::default(), &tls), (0, 0));
    assert!(Arc::ptr_eq(&before, &tls.server_config()));
}

#[test]
fn a_new_pair_is_taken_at_the_first_look() {
    let room = Room::new();
    let tls = loaded(&room);
    let (before, revision) = (tls.server_config(), tls.snapshot().revision);
    room.put_pair(&room.ca.issue_server(&["localhost"]).unwrap());
    assert_eq!(look(&mut Follower::default(), &tls), (1, 0));
    assert!(!Arc::ptr_eq(&before, &tls.server_config()));
    assert_ne!(revision, tls.snapshot().revision);
}

#[test]
fn a_half_written_pair_is_no_bad_pair() {
    let room = Room::new();
    let tls = loaded(&room);
    let mut follower = Follower::default();
    let pair = room.ca.issue_server(&["localhost"]).unwrap();
    fs::write(room.files().cert, &pair.certificate_pem).unwrap();
    assert_eq!(look(&mut follower, &tls), (0, 0));
    fs::write(room.files().key, &pair.key_pem).unwrap();
    assert_eq!(look(&mut follower, &tls), (1, 0));
    assert_eq!(tls.snapshot().last_error, None);
}

#[test]
fn bad_contents_are_refused_once_and_forgotten_when_the_good_are_back() {
    let room = Room::new();
    let tls = loaded(&room);
    let before = tls.server_config();
    let mut follower = Follower::default();
    let good = fs::read(room.files().key).unwrap();
    let bad = room.ca.issue_server(&["localhost"]).unwrap();

    fs::write(room.files().key, &bad.key_pem).unwrap();
    let looks: Vec<_> = (0..4).map(|_| look(&mut follower, &tls)).collect();
    assert_eq!(looks, [(0, 0), (0, 1), (0, 1), (0, 1)]);
    assert!(tls.snapshot().last_error.unwrap().contains("--tls-key"));

    fs::write(room.files().key, "rubbish").unwrap();
    look(&mut follower, &tls);
    assert_eq!(look(&mut follower, &tls), (0, 2));

    fs::write(room.files().key, good).unwrap();
    assert_eq!(look(&mut follower, &tls), (0, 2));
    assert_eq!(tls.snapshot().last_error, None);
    assert!(Arc::ptr_eq(&before, &tls.server_config()));
}

#[test]
fn a_missing_file_is_refused_and_the_last_good_set_stays() {
    let room = Room::new();
    let tls = loaded(&room);
    let mut follower = Follower::default();
    fs::remove_file(room.files().named_client_ca().unwrap().path).unwrap();
    look(&mut follower, &tls);
    assert_eq!(look(&mut follower, &tls), (0, 1));
    room.put_bundle(&[&room.ca, &room.ca]);
    assert_eq!(look(&mut follower, &tls), (1, 1));
    assert_eq!(tls.snapshot().last_error, None);
}

#[test]
fn an_expired_pair_is_refused() {
    let room = Room::new();
    let tls = loaded(&room);
    let mut follower = Follower::default();
    let late = Leaf::server(&["localhost"]).unwrap().valid(term(-9, -1));
    room.put_pair(&room.ca.issue(&late).unwrap());
    look(&mut follower, &tls);
    assert_eq!(look(&mut follower, &tls), (0, 1));
}

#[tokio::test]
async fn following_takes_the_new_files_and_ends_when_told_to() {
    let room = Room::new();
    let tls = loaded(&room);
    room.put_pair(&room.ca.issue_server(&["localhost"]).unwrap());
    let watched = tls.clone();
    let until_reloaded = async move {
        while watched.snapshot().reloaded == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), tls.follow(until_reloaded)).await.unwrap();
}
