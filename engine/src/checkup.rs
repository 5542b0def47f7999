//! Looking into the soundness of the database beside the traffic: after an unclean stop, and on demand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::integrity::{IntegrityStatus, full_check};
use crate::policy::Access;
use crate::queries::{Operation, Slot};
use crate::shared::Shared;
use crate::{connection, ffi};

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
    shared.watchdog.watch(&guarded.slot, Slot::interrupt_if_due);
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
