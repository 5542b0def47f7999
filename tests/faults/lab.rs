//! What all faults share: how long to go on, chance that can be replayed, a way to ask the server, and the line that
//! says what was done.

use larder_harness::{Answer, Connection, Pair, Server, trusting};
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// How long anything may take that has to happen by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the long form was asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("LARDER_FAULTS").is_some_and(|it| it == "long")
}

/// One of two numbers: of the long form, or of the short one.
pub(crate) fn long_or_short<T>(long: T, short: T) -> T {
    if is_long() { long } else { short }
}

/// Whether this is continuous integration as root, where what needs privileges must not be skipped.
pub(crate) fn must_have_privileges() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::env::var_os("CI").is_some() && std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

/// Waits until no other fault runs.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// The line of a fault: what was done, and what was measured.
#[expect(clippy::print_stdout, reason = "whoever runs the lab wants to read it")]
pub(crate) fn report(fault: &str, line: &str) {
    println!("fault {fault}: {line}");
}

/// Chance that can be replayed: `LARDER_FAULTS_SEED`, or else the clock.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn thrown(fault: &str) -> Self {
        let from_clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed =
            std::env::var("LARDER_FAULTS_SEED").map_or_else(|_| from_clock(), |it| it.parse().unwrap());
        report(fault, &format!("replay the dice with LARDER_FAULTS_SEED={seed}"));
        Self(seed)
    }

    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low * 1000, high * 1000))
    }
}

/// Where a server is, for tasks that outlive a borrow of it.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) url: String,
    home: PathBuf,
}

impl Site {
    pub(crate) fn of(server: &Server) -> Self {
        Self { url: server.url().to_owned(), home: server.home().to_owned() }
    }

    /// What a client with the certificate of `role` brings to the handshake.
    pub(crate) fn tls(&self, role: &str) -> ClientConfig {
        let file = |extension| self.home.join(format!("{role}.{extension}"));
        trusting(&self.home.join("ca.crt"), Some(&Pair { cert: file("crt"), key: file("key") }))
    }

    pub(crate) async fn connect(&self, role: &str) -> std::io::Result<Connection> {
        Connection::open(&self.url, Some(self.tls(role))).await
    }
}

/// Runs statements as the owner.
pub(crate) async fn execute(server: &Server, statements: Value) -> Answer {
    server.connect("owner").await.post("/execute", statements.to_string()).await
}

/// Runs statements as the owner, which have to succeed.
pub(crate) async fn must_execute(server: &Server, statements: Value) -> Value {
    let answer = execute(server, statements).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The rows of a query.
pub(crate) async fn rows(server: &Server, sql: &str) -> Vec<Vec<Value>> {
    let answer = server.connect("reader").await.post("/query", json!([sql]).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()["results"][0]["rows"].clone()).unwrap()
}

/// The only number that a query gives.
pub(crate) async fn number(server: &Server, sql: &str) -> u64 {
    rows(server, sql).await[0][0].as_u64().unwrap()
}

/// A part of `/status`.
pub(crate) async fn status(server: &Server, key: &str) -> Value {
    server.connect("reader").await.get(&format!("/status?key={key}")).await.json()
}

/// Asks until there is an answer. How long it took comes with it.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> (T, Duration) {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return (answer, started.elapsed());
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn is_ready(server: &Server) -> bool {
    server.probe("/readyz").await.status == 200
}

/// Has the server check its database, and waits for the result.
pub(crate) async fn check_integrity(server: &Server) {
    let answer =
        server.connect("admin").await.send(http::Method::POST, "/maintenance/integrity-check", &[], "").await;
    assert_eq!(answer.unwrap().status, 202);
    wait_until_sound(server).await;
}

/// Waits for the end of a check.
pub(crate) async fn wait_until_sound(server: &Server) {
    eventually("the integrity check ends", async || {
        let integrity = status(server, "integrity").await;
        match integrity["state"].as_str().unwrap() {
            "ok" => Some(()),
            "running" => None,
            _ => panic!("{integrity}"),
        }
    })
    .await;
}

/// Checks a database that no server has open.
pub(crate) fn check_file(path: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).unwrap();
    let said: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok", "{}", path.display());
    database
}

/// Bytes of a file, 0 if it is not there.
pub(crate) fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |it| it.len())
}

/// The figure of a line of `/proc/PID/status`, in MiB.
pub(crate) fn process_mib(server: &Server, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
