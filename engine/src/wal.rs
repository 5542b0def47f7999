//! Keeping the write-ahead log short. Only the writer checkpoints, between groups, so that no commit and no
//! checkpoint ever meet; readers that hold an old snapshot keep the log from being emptied, and are sent away before
//! it grows beyond its limit (<https://sqlite.org/wal.html#avoiding_excessively_large_wal_files>).

use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::connection::BUSY_TIMEOUT;
use crate::options::Options;
use crate::queries::Queries;
use crate::telemetry::{CheckpointOutcome, Telemetry};

/// Frames that the log holds, as of the last commit or checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalFrames(Arc<AtomicU32>);

impl WalFrames {
    /// Counts what `connection` commits.
    pub(crate) fn follow(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let frames = Arc::clone(&self.0);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            frames.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, frames: i64) {
        self.0.store(u32::try_from(frames).unwrap_or(0), Ordering::Relaxed);
    }
}

/// When to checkpoint and how hard to try.
pub(crate) struct WalPolicy {
    frames: WalFrames,
    /// From here on, move frames whenever it costs nobody anything.
    passive_at: u32,
    /// From here on, old snapshots are in the way.
    soft_at: u32,
    /// From here on, no commit before the log was emptied.
    hard_at: u32,
    grace: Duration,
    /// Frames that the last checkpoint left because readers needed them: no use in trying again at once.
    tried_at: u32,
    /// Frames that readers needed when the disk was full: no use in trying again at once.
    emptied_at: u32,
}

/// Bytes of log after which frames are moved into the database.
const PASSIVE_BYTES: u64 = 16 << 20;
/// How long the writer waits for readers that were told to go.
const PATIENCE: Duration = Duration::from_secs(5);

impl WalPolicy {
    pub(crate) fn new(frames: WalFrames, options: &Options, page_size: u64) -> Self {
        let frame_bytes = page_size + 24;
        let count = |bytes: u64| u32::try_from(bytes / frame_bytes).unwrap_or(u32::MAX).max(1);
        Self {
            frames,
            passive_at: count(PASSIVE_BYTES.min(options.wal_limit_bytes / 4)),
            soft_at: count(options.wal_limit_bytes / 2),
            hard_at: count(options.wal_limit_bytes),
            grace: options.snapshot_grace,
            tried_at: 0,
            emptied_at: 0,
        }
    }

    /// Between two groups: does what the length of the log asks for.
    ///
    /// # Errors
    /// The checkpoint failed with an error of the disk, which the writer has to look into.
    pub(crate) fn step(
        &mut self,
        connection: &Connection,
        queries: &Queries,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<()> {
        let frames = self.frames.get();
        if frames < self.passive_at || (frames < self.soft_at && frames < self.tried_at + self.passive_at) {
            return Ok(());
        }
        if frames < self.soft_at {
            let moved = self.checkpoint(connection, Mode::Passive, telemetry)?;
            self.tried_at = if moved.outcome == CheckpointOutcome::Complete { 0 } else { frames };
            return Ok(());
        }
        self.tried_at = 0;
        if self.restart_at_once(connection, telemetry)?.outcome == CheckpointOutcome::Complete {
            return Ok(());
        }
        let evicted = queries.evict(self.grace);
        telemetry.evicted(evicted);
        if frames >= self.hard_at {
            return self.insist(connection, queries, telemetry);
        }
        if evicted > 0 {
            self.checkpoint(connection, Mode::Restart, telemetry)?;
        }
        Ok(())
    }

    /// Empties the log, unless readers were in the way before and nothing was committed since.
    pub(crate) fn make_room(
        &mut self,
        connection: &Connection,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<()> {
        let frames = self.frames.get();
        if frames == 0 || frames == self.emptied_at {
            return Ok(());
        }
        self.emptied_at = frames;
        if self.restart_at_once(connection, telemetry)?.outcome == CheckpointOutcome::Complete {
            self.emptied_at = 0;
        }
        Ok(())
    }

    /// Empties the log if no reader is in the way, without waiting for one.
    fn restart_at_once(
        &self,
        connection: &Connection,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<Checkpoint> {
        connection.busy_timeout(Duration::ZERO)?;
        let result = self.checkpoint(connection, Mode::Restart, telemetry);
        connection.busy_timeout(BUSY_TIMEOUT)?;
        result
    }

    /// The log is at its limit: no reader is spared for longer than its grace, and the writer waits for it to go.
    fn insist(
        &self,
        connection: &Connection,
        queries: &Queries,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<()> {
        let started = Instant::now();
        while self.checkpoint(connection, Mode::Restart, telemetry)?.outcome != CheckpointOutcome::Complete {
            telemetry.evicted(queries.evict(self.grace.saturating_sub(started.elapsed())));
            if started.elapsed() > PATIENCE {
                tracing::warn!(
                    frames = self.frames.get(),
                    "the write-ahead log is over its limit and a reader holds it"
                );
                return Ok(());
            }
        }
        Ok(())
    }

    /// While nobody writes: moves everything, and gives the disk space of a long log back.
    pub(crate) fn idle(
        &mut self,
        connection: &Connection,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<()> {
        let frames = self.frames.get();
        if frames == 0 || frames == self.tried_at {
            return Ok(());
        }
        let moved = self.checkpoint(connection, Mode::Truncate, telemetry)?;
        self.tried_at = if moved.outcome == CheckpointOutcome::Complete { 0 } else { frames };
        Ok(())
    }

    /// Runs one checkpoint.
    pub(crate) fn checkpoint(
        &self,
        connection: &Connection,
        mode: Mode,
        telemetry: &dyn Telemetry,
    ) -> rusqlite::Result<Checkpoint> {
        let started = Instant::now();
        // The row form says how far it came even when readers were in the way.
        let row = connection.query_row(mode.sql(), [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let result = row.map(|(busy, frames, moved): (i64, i64, i64)| {
            let outcome = match (busy, frames == moved) {
                (0, true) => CheckpointOutcome::Complete,
                (0, false) => CheckpointOutcome::Partial,
                _ => CheckpointOutcome::Busy,
            };
            let emptied = outcome == CheckpointOutcome::Complete && mode != Mode::Passive;
            self.frames.set(if emptied { 0 } else { frames });
            Checkpoint { outcome, frames, moved }
        });
        let outcome = result.as_ref().map_or(CheckpointOutcome::Failed, |it| it.outcome);
        telemetry.checkpoint(outcome, started.elapsed());
        result
    }
}

/// How hard a checkpoint tries (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Disturbs nobody.
    Passive,
    /// Waits for readers, so that the next commit starts the log over.
    Restart,
    /// Also cuts the file to nothing.
    Truncate,
}

impl Mode {
    fn sql(self) -> &'static str {
        match self {
            Self::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Self::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Self::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        }
    }
}

/// What a checkpoint did, in frames of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) outcome: CheckpointOutcome,
    pub(crate) frames: i64,
    pub(crate) moved: i64,
}
