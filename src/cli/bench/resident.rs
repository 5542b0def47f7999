//! What a server costs that has a database of some size: memory at rest and under load, and the time of a
//! restart. These have no floor; the targets are absolute.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::load::Timing;
use super::script::{Blobs, Form};
use super::session::Session;
use super::stage::{CLIENTS, rows_of};

/// Beside [`CLIENTS`] writers. Half of them read single rows, half of them a hundred rows a request.
const READERS: u64 = 16;

/// What was seen.
pub(super) struct Resident {
    /// For each restart, seconds from the start of the process until it was ready.
    pub(super) ready: Vec<Duration>,
    /// Bytes, after the last restart, before the first request.
    pub(super) idle: u64,
    /// Bytes at the peak under load; 0 if no load was asked for.
    pub(super) loaded: u64,
}

/// Fills a database with `size` bytes of values and looks at its server. What filling it took is forgotten by
/// the restarts before anything is measured.
pub(super) fn measure(
    data: &Path,
    size: u64,
    restarts: usize,
    load: Option<Timing>,
) -> anyhow::Result<Resident> {
    let mut session = Session::start(data, &Arc::new(Blobs::random()))?;
    session.fill(rows_of(size))?;
    let mut ready = Vec::new();
    for _ in 0..restarts {
        session = session.restart(data)?;
        ready.push(session.server.ready_after);
    }
    std::thread::sleep(load.map_or(Duration::ZERO, |it| it.warm_up));
    let idle = session.server.resident()?;
    let loaded = load.map_or(Ok(0), |timing| peak_under_load(&mut session, timing))?;
    session.verify()?;
    session.server.stop()?;
    Ok(Resident { ready, idle, loaded })
}

fn peak_under_load(session: &mut Session, timing: Timing) -> anyhow::Result<u64> {
    let mut scripts = Vec::new();
    for client in 0..CLIENTS {
        scripts.push(session.scripts.insert(Form::Msgpack, client)?);
    }
    for client in 0..READERS {
        scripts.push(match client % 2 {
            0 => session.scripts.point_read(client, session.filled)?,
            _ => session.scripts.list(client, session.filled)?,
        });
    }
    session.server.forget_peak()?;
    session.load(scripts, timing)?;
    session.server.peak()
}
