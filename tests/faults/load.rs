//! Concurrent writers, and a ledger of what each of their requests was told, to be held against the database later.

use http::Method;
use larder_harness::{Answer, Connection, Server};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

use crate::lab::{Dice, Site, must_execute, rows};

/// What a request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Success, in this commit.
    Acknowledged { seq: u64 },
    /// A failure without effect.
    Refused { status: u16 },
    /// `"applied": "unknown"`, or nothing at all.
    Unknown,
}

/// A request of a writer.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    name: String,
    parts: usize,
    keyed: bool,
    body: String,
    pub(crate) fate: Fate,
}

/// Makes the tables that the writers write to.
pub(crate) async fn create_tables(server: &Server) {
    let create = json!([
        "CREATE TABLE event (request TEXT NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL CHECK (body <> 'bad'), \
         PRIMARY KEY (request, part))",
        "CREATE INDEX event_by_body ON event (substr(body, 1, 20))",
        // Counts the requests with a key, each of which may count once.
        "CREATE TABLE tally (run TEXT PRIMARY KEY, requests INTEGER NOT NULL)"
    ]);
    must_execute(server, create).await;
}

/// Writers at work.
pub(crate) struct Load {
    run: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: JoinSet<Vec<Entry>>,
}

impl Load {
    /// Starts writers whose requests are called `RUN-WRITER-NUMBER`.
    pub(crate) fn start(site: &Site, run: &str, writers: usize, seed: u64) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut set = JoinSet::new();
        for number in 0..writers {
            let writer = Writer {
                site: site.clone(),
                run: run.to_owned(),
                number,
                dice: Dice::of(seed.wrapping_add(number as u64)),
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
            };
            set.spawn(writer.run());
        }
        Self { run: run.to_owned(), stop, acknowledged, writers: set }
    }

    /// Requests that were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets the writers end their requests, and collects what they were told.
    pub(crate) async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let entries = self.writers.join_all().await.into_iter().flatten().collect();
        Ledger { run: self.run, entries }
    }
}

struct Writer {
    site: Site,
    run: String,
    number: usize,
    dice: Dice,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Writer {
    /// Writes until told to stop or until the connection breaks.
    async fn run(mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let Ok(mut connection) = self.site.connect("writer").await else { return entries };
        while !self.stop.load(Ordering::Relaxed) {
            let mut entry = self.compose(entries.len());
            let answer = entry.send(&mut connection).await;
            let broke = answer.is_err();
            entry.fate = answer.map_or(Fate::Unknown, |answer| entry.judge(&answer));
            let fate = entry.fate;
            entries.push(entry);
            match fate {
                Fate::Acknowledged { .. } => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                // What is refused for a while would be refused thousands of times.
                Fate::Refused { status } if status >= 429 => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                _ => {}
            }
            if broke {
                break;
            }
        }
        entries
    }

    fn compose(&mut self, count: usize) -> Entry {
        let name = format!("{}-{}-{count}", self.run, self.number);
        let body = "larder ".repeat(self.dice.between(2, 400) as usize);
        let insert = "INSERT INTO event VALUES (?, ?, ?)";
        let one = |part: usize| json!([insert, name, part, body]);
        let tally = json!([
            "INSERT INTO tally VALUES (?, 1) ON CONFLICT (run) DO UPDATE SET requests = requests + 1",
            self.run
        ]);
        let (parts, keyed, statements) = match self.dice.between(0, 16) {
            0 => (0, false, json!([one(0), [insert, name, 1, "bad"]])),
            1..4 => (1, false, json!([[format!("{insert} RETURNING request, part"), name, 0, body]])),
            4..8 => (3, false, json!([one(0), one(1), one(2)])),
            8..12 => {
                let many: Vec<_> = (0..5).map(|part| json!([name, part, body])).collect();
                (5, false, json!([{ "sql": insert, "many": many }]))
            }
            _ => (2, true, json!([one(0), tally, one(1)])),
        };
        Entry { name, parts, keyed, body: statements.to_string(), fate: Fate::Unknown }
    }
}

impl Entry {
    async fn send(&self, connection: &mut Connection) -> Result<Answer, hyper::Error> {
        let mut headers = vec![("content-type", "application/json")];
        if self.keyed {
            headers.push(("idempotency-key", &*self.name));
        }
        connection.send(Method::POST, "/execute", &headers, self.body.clone()).await
    }

    fn judge(&self, answer: &Answer) -> Fate {
        let reply = answer.json();
        if answer.status == 200 {
            assert!(self.parts > 0, "{} has to fail: {reply}", self.name);
            let returned = &reply["results"][0]["rows"];
            assert!(returned.is_null() || *returned == json!([[self.name, 0]]), "{reply}");
            return Fate::Acknowledged { seq: reply["seq"].as_u64().unwrap() };
        }
        match &reply["applied"] {
            Value::Bool(false) => Fate::Refused { status: answer.status },
            Value::String(unknown) if unknown == "unknown" => {
                assert!(answer.status >= 500, "{} {reply}", answer.status);
                Fate::Unknown
            }
            _ => panic!("{} {reply}", answer.status),
        }
    }
}

/// What all requests of a load were told.
pub(crate) struct Ledger {
    run: String,
    pub(crate) entries: Vec<Entry>,
}

/// What a ledger has shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unknown_there: usize,
    pub(crate) unknown_absent: usize,
    pub(crate) rows: usize,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown_there += other.unknown_there;
        self.unknown_absent += other.unknown_absent;
        self.rows += other.rows;
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} acknowledged requests all there, {} refused all absent, of {} without a certain answer {} whole and {} absent",
            self.acknowledged,
            self.refused,
            self.unknown_there + self.unknown_absent,
            self.unknown_there,
            self.unknown_absent
        )
    }
}

impl Ledger {
    pub(crate) fn requests(&self) -> usize {
        self.entries.len()
    }

    /// How often each status was the reason of a refusal.
    pub(crate) fn refusals(&self) -> BTreeMap<u16, usize> {
        let mut refusals = BTreeMap::new();
        for entry in &self.entries {
            if let Fate::Refused { status } = entry.fate {
                *refusals.entry(status).or_default() += 1;
            }
        }
        refusals
    }

    /// The first and the last commit that was acknowledged.
    pub(crate) fn commits(&self) -> Option<(u64, u64)> {
        let seqs = || {
            self.entries
                .iter()
                .filter_map(|it| if let Fate::Acknowledged { seq } = it.fate { Some(seq) } else { None })
        };
        Some((seqs().min()?, seqs().max()?))
    }

    /// Holds the ledger against the database.
    pub(crate) async fn check(&self, server: &Server) -> Found {
        let sql = format!(
            "SELECT request, count(*) FROM event WHERE request GLOB '{}-*' GROUP BY request",
            self.run
        );
        let there = rows(server, &sql).await;
        let there =
            there.iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap())).collect();
        let tally = rows(server, &format!("SELECT requests FROM tally WHERE run = '{}'", self.run)).await;
        self.compare(there, tally.first().map_or(0, |row| row[0].as_u64().unwrap()))
    }

    /// Holds the ledger against a database file.
    pub(crate) fn check_in(&self, database: &rusqlite::Connection) -> Found {
        let mut select = database
            .prepare("SELECT request, count(*) FROM event WHERE request GLOB ?1 || '-*' GROUP BY request")
            .unwrap();
        let there = select
            .query_map([&self.run], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))
            .unwrap();
        let there = there.map(Result::unwrap).collect();
        let tally = database
            .query_row("SELECT requests FROM tally WHERE run = ?1", [&self.run], |row| row.get::<_, i64>(0));
        self.compare(there, tally.map_or(0, i64::unsigned_abs))
    }

    /// Only what was acknowledged up to this commit.
    pub(crate) fn up_to(&self, seq: u64) -> Self {
        let acknowledged = |it: &&Entry| matches!(it.fate, Fate::Acknowledged { seq: it } if it <= seq);
        let mut entries: Vec<_> = self.entries.iter().filter(acknowledged).cloned().collect();
        entries.extend(
            self.entries
                .iter()
                .filter(|it| !acknowledged(it))
                .cloned()
                .map(|it| Entry { fate: Fate::Unknown, ..it }),
        );
        Self { run: self.run.clone(), entries }
    }

    fn compare(&self, mut there: HashMap<String, u64>, tally: u64) -> Found {
        let mut found = Found::default();
        let mut keyed = 0;
        for entry in &self.entries {
            let count = there.remove(&entry.name).unwrap_or(0) as usize;
            let whole = count == entry.parts && count > 0;
            keyed += u64::from(entry.keyed && whole);
            found.rows += count;
            match entry.fate {
                Fate::Acknowledged { .. } => {
                    assert!(whole, "an acknowledged write has {count} of its rows: {entry:?}");
                    found.acknowledged += 1;
                }
                Fate::Refused { .. } => {
                    assert_eq!(count, 0, "a refused write has left rows: {entry:?}");
                    found.refused += 1;
                }
                Fate::Unknown if whole => found.unknown_there += 1,
                Fate::Unknown => {
                    assert_eq!(count, 0, "a write is there in part: {entry:?}");
                    found.unknown_absent += 1;
                }
            }
        }
        assert!(there.is_empty(), "rows that nobody wrote: {there:?}");
        assert_eq!(tally, keyed, "requests with a key have been counted more or less than once");
        found
    }

    /// Repeats requests with a key: all whose fate is unknown and some that were acknowledged. Says how many
    /// were answered from memory and how many were done now.
    pub(crate) async fn repeat(&mut self, server: &Server) -> (usize, usize) {
        let mut connection = server.connect("writer").await;
        let (mut replayed, mut done) = (0, 0);
        let mut spared = 0;
        for entry in self.entries.iter_mut().filter(|entry| entry.keyed) {
            if matches!(entry.fate, Fate::Refused { .. })
                || (entry.fate != Fate::Unknown && {
                    spared += 1;
                    spared > 20
                })
            {
                continue;
            }
            let answer = entry.send(&mut connection).await.unwrap();
            let reply = answer.json();
            assert_eq!(answer.status, 200, "{reply}");
            let again = entry.judge(&answer);
            let is_replay = reply["replayed"] == true;
            if entry.fate != Fate::Unknown {
                assert!(is_replay && again == entry.fate, "{reply} for {entry:?}");
            }
            if is_replay {
                replayed += 1
            } else {
                done += 1
            }
            entry.fate = again;
        }
        (replayed, done)
    }
}
