//! What holds of every lead.

use larder_client::migrate::{Leader, NotLeading};
use tokio::time::{Instant, sleep};

use super::{Candidate, Court, TTL};

fn other(name: &str) -> Leader {
    Leader::Other(name.to_owned())
}

fn deposed_by(name: &str) -> Result<(), NotLeading> {
    Err(NotLeading::Deposed(Some(name.to_owned())))
}

/// `a` leads and `b` knows it.
async fn both(court: &Court) -> (Candidate, Candidate) {
    let a = court.candidate("a");
    a.sees(Leader::Me).await;
    let b = court.candidate("b");
    b.sees(other("a")).await;
    (a, b)
}

pub(crate) async fn exactly_one_of_two_leads(court: Court) {
    let (a, b) = both(&court).await;
    // It stays so for longer than a seat is kept without being renewed.
    let begun = Instant::now();
    while begun.elapsed() < 2 * TTL {
        assert_eq!((a.believes(), b.believes()), (Leader::Me, other("a")));
        assert_eq!(a.leadership.confirm().await, Ok(()));
        assert_eq!(b.leadership.confirm().await, deposed_by("a"));
        sleep(TTL / 10).await;
    }
}

pub(crate) async fn who_resigns_is_followed_at_once(court: Court) {
    let (a, b) = both(&court).await;
    a.leadership.resign().await;
    let begun = Instant::now();
    assert_eq!(a.believes(), Leader::Unknown);
    b.sees(Leader::Me).await;
    assert!(begun.elapsed() < TTL, "nobody has to wait for the end of a seat that was left");
    assert!(a.leadership.confirm().await.is_err());
    assert_eq!(b.leadership.confirm().await, Ok(()));
}

pub(crate) async fn who_is_dropped_is_followed(court: Court) {
    let (a, b) = both(&court).await;
    let Candidate { leadership, wire: _wire } = a;
    drop(leadership);
    let begun = Instant::now();
    b.sees(Leader::Me).await;
    assert!(begun.elapsed() < TTL);
}

pub(crate) async fn who_cannot_renew_steps_down_and_is_followed_and_knows_it_afterwards(court: Court) {
    let (a, b) = both(&court).await;
    a.wire.cut();
    assert!(matches!(a.leadership.confirm().await, Err(NotLeading::Unconfirmed(_))));
    b.sees(Leader::Me).await;
    assert_eq!(a.believes(), Leader::Unknown);
    assert_eq!(b.leadership.confirm().await, Ok(()));
    a.wire.heal();
    a.sees(other("b")).await;
    assert_eq!(a.leadership.confirm().await, deposed_by("b"));
}

pub(crate) async fn who_is_held_up_steps_down_before_another_leads(court: Court) {
    let (a, b) = both(&court).await;
    a.wire.stall();
    a.sees(Leader::Unknown).await;
    assert_eq!(b.believes(), other("a"));
    b.sees(Leader::Me).await;
    a.wire.heal();
    a.sees(other("b")).await;
}

pub(crate) async fn without_a_keeper_nobody_leads(court: Court) {
    let a = court.candidate("a");
    a.wire.cut();
    a.sees(Leader::Unknown).await;
    assert!(matches!(a.leadership.confirm().await, Err(NotLeading::Unconfirmed(_))));
    // And once there is one, somebody does.
    a.wire.heal();
    a.sees(Leader::Me).await;
}
