//! Payloads that are too large for a row: 4 MiB and more, written in pieces under a number of their own before the row that names it.
//!
//! The row is the moment at which the report is there. A writer that ends before leaves pieces that no row names; their number is a
//! sequence, so their age is known, and [`ReportStore::sweep`] removes them. Clocks may be wrong: no row comes but with all pieces that it names.

use bytes::Bytes;
use jiff::Timestamp;
use larder_wire::{Request, Statement, Value};

use super::rows::Upload;
use super::{ReportError, ReportStore};
use crate::reports::Clock;

/// Payloads up to this length stand in the row; pieces have this length.
pub(super) const PART: usize = 4 << 20;
/// Pieces in one request: well below the 16 MiB that a sidecar takes.
const AT_ONCE: usize = 2;

/// Fails, and all that it is sent with, unless all pieces of some payloads are there.
pub(super) fn all_there(uploads: &[Upload]) -> Statement {
    let numbers: Vec<_> = uploads.iter().map(|it| it.number).collect();
    let numbers = serde_json::to_string(&numbers).unwrap_or_default();
    let pieces: usize = uploads.iter().map(|it| it.size.div_ceil(PART)).sum();
    let select = "SELECT 1 WHERE (SELECT COUNT(*) FROM payload_part WHERE upload IN (SELECT value FROM json_each(?1))) = ?2";
    let pieces = i64::try_from(pieces).unwrap_or(i64::MAX);
    Statement::with(select, [numbers.into(), pieces.into()]).expecting(1)
}

impl ReportStore {
    /// Writes a payload in pieces.
    pub(super) async fn upload(&self, payload: &Bytes) -> Result<Upload, ReportError> {
        let number = self.clock.next();
        let pieces: Vec<&[u8]> = payload.chunks(PART).collect();
        for (batch, pieces) in pieces.chunks(AT_ONCE).enumerate() {
            let row = |(index, piece): (usize, &&[u8])| {
                let part = i64::try_from(batch * AT_ONCE + index).unwrap_or(i64::MAX);
                vec![number.into(), part.into(), Value::from(*piece)]
            };
            let insert = "INSERT INTO payload_part (upload, part, body) VALUES (?1, ?2, ?3)";
            let insert = Statement::many(insert, pieces.iter().enumerate().map(row));
            self.database.execute(&Request::new([insert])).await?;
        }
        Ok(Upload { number, size: payload.len() })
    }

    /// Puts a payload together; `None` if its pieces are gone, since the report was replaced or deleted.
    pub(super) async fn download(&self, upload: Upload) -> Result<Option<Bytes>, ReportError> {
        let select = "SELECT body FROM payload_part WHERE upload = ?1 ORDER BY part";
        let request = Request::new([Statement::with(select, [upload.number.into()])]);
        let mut rows = self.database.stream(&request).await?;
        let mut payload = Vec::with_capacity(upload.size.min(super::PAYLOAD_LIMIT));
        while let Some(row) = rows.next().await? {
            for value in row {
                let Value::Blob(piece) = value else { return Ok(None) };
                payload.extend_from_slice(&piece);
            }
        }
        Ok((payload.len() == upload.size).then(|| payload.into()))
    }

    /// Removes pieces of payloads that no report names and that were written before `before`; says how many. An hour is long enough for who is still
    /// writing.
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64, ReportError> {
        let before = Clock::latest(before);
        let delete = "DELETE FROM payload_part WHERE upload < ?1 \
                      AND upload NOT IN (SELECT upload FROM report WHERE upload IS NOT NULL)";
        let request = Request::new([Statement::with(delete, [before.into()])]);
        Ok(self.database.execute(&request).await?.results.first().map_or(0, |it| it.rows_affected))
    }
}
