//! What a migration would do, found by reading alone.

use jiff::{SignedDuration, Timestamp};
use larder_client::migrate::{Depot, DepotError, Found, Holding, Pace, Skip, Skipped, Standing};

use super::named;
use super::show::Summary;
use crate::cli::Failure;

/// Keys in one reading of the list.
const PAGE: usize = 256;

/// What a depot holds that is not there yet.
const NOTHING: Standing = Standing { holding: Holding::Nothing, tombstone: None };

/// Looks at every report that `from` holds, one at a time, and at what `to` holds in its place, if there is such a thing.
pub(super) async fn run<F: Depot, T: Depot>(from: &F, to: Option<&T>) -> Result<Summary, Failure> {
    let away = |depot: &str, error: DepotError| Failure::Away(named(depot, &error.to_string()));
    let mut summary = Summary::dry();
    let mut begin: Option<String> = None;
    loop {
        let page = from.list(begin.as_deref(), PAGE).await.map_err(|error| away(from.name(), error))?;
        for (name, detail) in page.strange {
            summary.skip(Skipped { key: name, skip: Skip::Undecodable, detail });
        }
        summary.skip_unnamed(Skip::Undecodable, page.more_strange);
        let standing = match to {
            Some(to) => to.look(&page.keys).await.map_err(|error| away(to.name(), error))?,
            None => vec![NOTHING; page.keys.len()],
        };
        for (key, there) in page.keys.iter().zip(standing) {
            let found =
                from.read(key, Pace::default().largest).await.map_err(|error| away(from.name(), error))?;
            let skip = |skip, detail| Skipped { key: key.to_string(), skip, detail };
            match found {
                Found::Absent => {}
                Found::Large(bytes) => summary.skip(skip(Skip::Oversize, format!("{bytes} bytes"))),
                Found::Unreadable(reason, detail) => summary.skip(skip(reason, detail)),
                Found::Report { parcel, tombstone, .. } => {
                    let version = parcel.version();
                    if let Some(fault) = parcel.fault() {
                        summary.skip(skip(Skip::Undecodable, fault.to_owned()));
                    } else if is_ahead(version.scanned_at) {
                        summary.skip(skip(Skip::Future, format!("scanned at {}", version.scanned_at)));
                    } else if tombstone.max(there.tombstone) > Some(version.sequence) {
                        summary.deleted += 1;
                    } else {
                        match there.holding {
                            Holding::Report(other) if other > version => summary.older += 1,
                            Holding::Report(other) if other == version => summary.already_there += 1,
                            _ => summary.moved += 1,
                        }
                        summary.bytes += parcel.size() as u64;
                    }
                }
            }
        }
        begin = page.next;
        if begin.is_none() {
            return Ok(summary);
        }
    }
}

/// Whether the mover would leave it for the time that it names.
fn is_ahead(scanned_at: Timestamp) -> bool {
    let hour = SignedDuration::try_from(Pace::default().ahead).unwrap_or(SignedDuration::from_hours(1));
    scanned_at.duration_since(Timestamp::now()) > hour
}
