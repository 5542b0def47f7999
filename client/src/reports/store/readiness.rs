//! Whether the tables still are those that this program knows.
//!
//! A later release may change them while this one runs. Whoever keeps a fallback must then use that, rather than write what the later release cannot
//! read. Looking costs a round trip, so it is done every few seconds: a release that cannot live beside the one before it is not rolled out in less.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::ReportStore;
use crate::schema::{self, SchemaError};

/// For how long a look counts.
const LOOK: Duration = Duration::from_secs(5);

/// When the tables were last found to be right.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<Instant>>);

impl Readiness {
    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ReportStore {
    /// Looks whether this program can work on the tables, unless it just did. There may be none yet, which the statements find out.
    pub(crate) async fn ready(&self) -> Result<(), SchemaError> {
        let is_recent = self.readiness.last().is_some_and(|it| it.elapsed() < LOOK);
        if is_recent {
            return Ok(());
        }
        schema::verify(&*self.database).await?;
        *self.readiness.last() = Some(Instant::now());
        Ok(())
    }
}
