//! Who takes part, as members announce themselves and as Consul tells it, and what the gate makes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_client::fallback::{Condition, Consul, KeyValue, Memory, Mode, Operation};
use larder_client::migrate::roster::*;
use larder_client::migrate::{Gate, GateState, Rules};
use larder_harness::need;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::depots::consul;

const TTL: Duration = Duration::from_secs(20);
const PREFIX: &str = "larder/member/";

fn said(version: &str, mode: Mode) -> Announcement {
    Announcement { version: version.to_owned(), mode, heartbeat: 0 }
}

fn announcements(store: &Arc<Memory>) -> Announcements {
    Announcements::new(Arc::<Memory>::clone(store), PREFIX, TTL)
}

async fn put(store: &dyn KeyValue, key: &str, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let put = Operation::Put { key: key.to_owned(), value, condition: Condition::Any };
    assert!(store.commit(vec![put]).await.unwrap());
}

fn arriving() -> Rules {
    let supported = Supported { since: (6, 0, 0), interim: false };
    Rules::arriving(move |version| supported.includes(version))
}

async fn becomes(state: &mut watch::Receiver<GateState>, text: &str) {
    let reached = state.wait_for(|it| it.to_string() == text);
    let reached = tokio::time::timeout(TTL * 10, reached).await.map(drop);
    reached.unwrap_or_else(|_| panic!("not {text:?}"));
}

#[tokio::test(start_paused = true)]
async fn the_gate_follows_who_comes_changes_and_goes() {
    let store = Arc::new(Memory::new());
    let gate = Gate::start(Arc::new(announcements(&store)), arriving(), Duration::from_secs(5));
    let mut state = gate.state();
    becomes(&mut state, "closed: the members are not known yet").await;
    becomes(&mut state, "closed: no member is alive").await;
    let a = Announcer::start(announcements(&store), "a", said("v6.0.0", Mode::Auto));
    becomes(&mut state, "open").await;
    let b = Announcer::start(announcements(&store), "b", said("v5.4.1-s1", Mode::Off));
    becomes(&mut state, "closed: b runs v5.4.1-s1; b is set to off").await;
    b.stop().await;
    becomes(&mut state, "open").await;
    a.set(Mode::Leaving);
    becomes(&mut state, "closed: a is set to leaving").await;
    a.set(Mode::Required);
    becomes(&mut state, "open").await;
    put(&*store, "larder/member/c", "no announcement").await;
    becomes(&mut state, "closed: c is alive and does not say its version").await;
    // It is silent: it is gone after the time to live, as far as anybody saw it, and forgotten much later.
    let begun = Instant::now();
    becomes(&mut state, "open").await;
    assert!((TTL..TTL * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let members = announcements(&store).members().await.unwrap();
    assert!(
        members.iter().any(|it| it.id == "c" && it.alive),
        "who just began to look takes everybody for alive"
    );
    sleep(TTL * 30).await;
    let left = store.list(PREFIX, None, 10).await.unwrap();
    assert_eq!(left.into_iter().map(|it| it.key).collect::<Vec<_>>(), ["larder/member/a"]);
}

/// A roster that can be made to fail, or to hang.
struct Moody(watch::Receiver<Option<bool>>);

#[async_trait::async_trait]
impl Roster for Moody {
    async fn members(&self) -> Result<Vec<Member>, RosterError> {
        let mood = *self.0.borrow();
        match mood {
            Some(true) => {
                let (version, mode) = (Some("v6.0.0".to_owned()), Some(Mode::Auto));
                Ok(vec![Member { id: "a".to_owned(), version, mode, alive: true }])
            }
            Some(false) => Err(RosterError("Consul is away".to_owned())),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_found_out_closes_the_gate() {
    let (mood, moody) = watch::channel(Some(true));
    let gate = Gate::start(Arc::new(Moody(moody)), arriving(), Duration::from_secs(5));
    let mut state = gate.state();
    becomes(&mut state, "open").await;
    mood.send_replace(Some(false));
    becomes(&mut state, "closed: the members cannot be asked for: Consul is away").await;
    mood.send_replace(Some(true));
    becomes(&mut state, "open").await;
    mood.send_replace(None);
    becomes(&mut state, "closed: the members cannot be asked for: no answer within 10s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neuvectors_members_are_checked_against_consuls() {
    let server = need!(larder_harness::Consul::start());
    let store = Arc::new(consul(&server));
    let controllers = NeuVector::new(Arc::<Consul>::clone(&store), Arc::<Consul>::clone(&store));
    // The agent is a server of its cluster, and no controller has said that it is there.
    let members = controllers.members().await.unwrap();
    assert!(matches!(&members[..], [Member { version: None, alive: true, .. }]), "{members:?}");
    put(
        &*store,
        "object/controller/host-1/c1",
        r#"{"version":"v6.0.0","cluster_ip":"127.0.0.1","leader":true}"#,
    )
    .await;
    put(&*store, "object/controller/host-2/c2", r#"{"version":"v5.4.1","cluster_ip":"10.9.9.9"}"#).await;
    let members = controllers.members().await.unwrap();
    let brief: Vec<_> = members.iter().map(|it| (&*it.id, it.version.as_deref(), it.alive)).collect();
    assert_eq!(brief, [("c1", Some("v6.0.0"), true), ("c2", Some("v5.4.1"), false)]);
    assert_eq!(arriving().judge(&members).to_string(), "closed: c1 does not say how it is set");
    put(&*store, "larder/member/c1", r#"{"version":"v6.0.0","mode":"auto","heartbeat":1}"#).await;
    let announced = Announcements::new(Arc::<Consul>::clone(&store), PREFIX, TTL);
    let joined = Joined::new(Arc::new(controllers), Arc::new(announced));
    assert_eq!(arriving().judge(&joined.members().await.unwrap()), GateState::Open);
}
