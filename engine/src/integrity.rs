//! Is the database sound? Looked into after an unclean stop and on demand, beside the traffic.

use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::connection;
use crate::engine::Shared;
use crate::ffi;
use crate::policy::Access;
use crate::queries::{Operation, lock};

/// What is known of the soundness of the database.
#[derive(Clone, Debug, PartialEq)]
pub enum IntegrityStatus {
    /// Nobody looked since the start, and there was no reason to.
    Unchecked,
    /// A check is under way.
    Running {
        /// The part of the database that was read, 0 to 1.
        progress: f64,
    },
    /// It was found sound.
    Sound {
        /// Seconds that the check took.
        seconds: f64,
    },
    /// It was found damaged.
    Damaged {
        /// What SQLite found.
        damage: Vec<String>,
    },
    /// The check did not come to an end; it is tried again.
    Interrupted {
        /// Why.
        reason: String,
    },
}

/// The state of checks.
#[derive(Debug)]
pub(crate) struct Integrity {
    status: Mutex<IntegrityStatus>,
    running: AtomicBool,
    pages_read: Arc<AtomicU64>,
    pages: AtomicU64,
}

impl Integrity {
    pub(crate) fn new() -> Self {
        Self {
            status: Mutex::new(IntegrityStatus::Unchecked),
            running: AtomicBool::new(false),
            pages_read: Arc::default(),
            pages: AtomicU64::new(0),
        }
    }

    pub(crate) fn status(&self) -> IntegrityStatus {
        match lock(&self.status).clone() {
            IntegrityStatus::Running { .. } => {
                let (read, all) =
                    (self.pages_read.load(Ordering::Relaxed), self.pages.load(Ordering::Relaxed));
                IntegrityStatus::Running {
                    progress: if all == 0 { 0.0 } else { (read as f64 / all as f64).min(1.0) },
                }
            }
            other => other,
        }
    }

    fn set(&self, status: IntegrityStatus) {
        *lock(&self.status) = status;
    }
}

/// Starts a check on a thread of its own. Says whether it was started: one runs at a time.
pub(crate) fn start(shared: &Arc<Shared>) -> bool {
    if shared.integrity.running.swap(true, Ordering::AcqRel) {
        return false;
    }
    shared.integrity.set(IntegrityStatus::Running { progress: 0.0 });
    let checked = Arc::downgrade(shared);
    let spawned = std::thread::Builder::new().name("larder-check".to_owned()).spawn(move || {
        for attempt in 1..=ATTEMPTS {
            let Some(shared) = checked.upgrade() else { return };
            if run(&shared, attempt) || shared.is_closing() {
                shared.integrity.running.store(false, Ordering::Release);
                return;
            }
            drop(shared);
            std::thread::sleep(PAUSE);
        }
        if let Some(shared) = checked.upgrade() {
            shared.integrity.running.store(false, Ordering::Release);
        }
    });
    if let Err(error) = spawned {
        shared.integrity.set(IntegrityStatus::Interrupted { reason: error.to_string() });
        shared.integrity.running.store(false, Ordering::Release);
        return false;
    }
    true
}

/// A check holds a snapshot, so under heavy writing it is sent away like every other reader.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Runs a check; says whether it came to an end.
fn run(shared: &Shared, attempt: u32) -> bool {
    let started = Instant::now();
    shared.integrity.set(IntegrityStatus::Running { progress: 0.0 });
    match check(shared) {
        Ok(damage) if damage.is_empty() => {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(seconds, "the database is sound");
            shared.integrity.set(IntegrityStatus::Sound { seconds });
            true
        }
        Ok(damage) => {
            tracing::error!(?damage, "the database is damaged");
            shared.integrity.set(IntegrityStatus::Damaged { damage });
            true
        }
        Err(reason) => {
            tracing::warn!(attempt, reason, "the integrity check did not come to an end");
            shared.integrity.set(IntegrityStatus::Interrupted { reason });
            false
        }
    }
}

fn check(shared: &Shared) -> Result<Vec<String>, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let _occupied = shared.readers.occupy();
    let path = shared.directory.database();
    let guarded = connection::open_reader(&path, &shared.options, Access::Read).map_err(text)?;
    shared.watchdog.watch(&guarded.slot);
    let query = shared.queries.begin(
        Operation::Read,
        "larder".into(),
        "PRAGMA integrity_check",
        Instant::now() + LONGEST,
    );
    let connection = guarded.connection;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(text)?;
    shared.integrity.pages.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
    let mut connection = connection;
    let (slot, counter) = (Arc::clone(&guarded.slot), ffi::page_counter(&connection));
    let pages_read = Arc::clone(&shared.integrity.pages_read);
    let watch = move || {
        pages_read.store(counter(), Ordering::Relaxed);
        slot.should_stop()
    };
    connection.progress_handler(1000, Some(watch)).map_err(text)?;
    let _installed = guarded.slot.install(Arc::clone(&query.control));
    query.holds_snapshot(true);
    query.enter(crate::queries::Phase::Running);
    let result = guarded.recorder.trusted(|| full_check(&connection));
    query.holds_snapshot(false);
    result.map_err(|error| {
        query.control.stop_reason().map_or_else(|| text(error), |reason| reason.error().message)
    })
}

/// Reads everything: tables, indexes, their agreement, the free list. Empty if sound.
pub(crate) fn full_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    findings(connection, "PRAGMA integrity_check")
}

/// Like [`full_check`], without comparing indexes with their tables.
pub(crate) fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    findings(connection, "PRAGMA quick_check")
}

fn findings(connection: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(pragma)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(if found == ["ok"] { Vec::new() } else { found })
}
