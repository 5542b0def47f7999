//! Is the database sound? What is known, and how it is found out.

use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;

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
    /// Whether a check is under way.
    pub(crate) running: AtomicBool,
    /// Pages that it has read.
    pub(crate) pages_read: Arc<AtomicU64>,
    /// Pages that there are.
    pub(crate) pages: AtomicU64,
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

    pub(crate) fn set(&self, status: IntegrityStatus) {
        *lock(&self.status) = status;
    }
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
