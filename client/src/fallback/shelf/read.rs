//! Reading one report: what its keys hold, taken together.

use super::header::Header;
use super::metadata::{Extras, Place, from_inline};
use super::{ATTEMPTS, PIECE, Shelf, ShelfError, gzip};
use crate::fallback::store::Revision;
use crate::reports::{Asset, Report, ReportKey, Version};
use jiff::{SignedDuration, Timestamp};

/// A scan counts as just made for this long.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// What a store knows of one key.
#[derive(Clone, Debug)]
pub struct Lookup<T> {
    /// The copy that stands there. It may lie below the tombstone; then it is as good as gone.
    pub copy: Option<T>,
    /// The sequence of the latest deletion that is known there.
    pub tombstone: Option<i64>,
}

/// A report, as it was read.
#[derive(Clone, Debug)]
pub struct Held {
    /// The report.
    pub report: Report,
    /// How new it is.
    pub version: Version,
    /// Who wrote it.
    pub origin: Origin,
    /// The keys that it was read from.
    pub holding: Holding,
}

/// A report of which only the version was read.
#[derive(Clone, Debug)]
pub struct Head {
    /// How new it is.
    pub version: Version,
    /// Who wrote it.
    pub origin: Origin,
    /// Bytes of its payload, where the entry beside the value says so.
    pub size: Option<usize>,
    /// The keys that it was read from.
    pub holding: Holding,
}

/// What a key holds, if that is not too much.
#[derive(Clone, Debug)]
pub enum Within {
    /// All of it.
    Whole(Box<Lookup<Held>>),
    /// More bytes than were asked for: about so many.
    Larger(usize),
}

/// Who wrote a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client of this crate.
    Larder,
    /// Somebody who wrote the value alone: an older controller. Its time is what the report or the state key says, or the oldest there is.
    Foreign,
}

impl Origin {
    /// Whether nobody knows when a copy of this version was scanned: it may be newer than all that is known.
    #[must_use]
    pub fn is_undated(self, version: Version) -> bool {
        self == Self::Foreign && version.scanned_at == Timestamp::UNIX_EPOCH
    }

    /// Whether a copy of the version `standing` is to give way to a newer one. What nobody dates does so only to a scan that has just been made: that
    /// of an older one may be the older.
    pub(crate) fn yields(self, standing: Version, to: Version) -> bool {
        standing < to && (!self.is_undated(standing) || is_recent(to))
    }
}

/// Whether a scan has just been made.
fn is_recent(version: Version) -> bool {
    Timestamp::now().duration_since(version.scanned_at) < RECENT
}

/// The keys of a copy with the revisions that they were read at, so that exactly this copy can be [removed](Shelf::remove).
#[derive(Clone, Debug)]
pub struct Holding {
    pub(super) key: ReportKey,
    pub(super) value: Option<Revision>,
    pub(super) metadata: Option<Revision>,
    /// Further pieces of the value, or of its copy for older controllers.
    pub(super) pieces: Vec<(String, Revision)>,
    /// Chunks that only this copy refers to.
    pub(super) chunks: Vec<String>,
}

impl Held {
    /// Why the payload is no report that anybody can read: a gzip stream that is cut off or does not match its checksum.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        gzip::fault(&self.report.payload)
    }
}

impl<T> Lookup<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Lookup<U> {
        Lookup { copy: self.copy.map(change), tombstone: self.tombstone }
    }
}

impl Shelf {
    /// The report under `key`, with everything that belongs to it.
    ///
    /// # Errors
    /// [`ShelfError::Incomplete`] and [`ShelfError::Damaged`] say that there is a copy which cannot be read. A value whose gzip stream is
    /// broken is no error: it is given as it stands, and [`Held::fault`] tells.
    pub async fn get(&self, key: &ReportKey) -> Result<Lookup<Held>, ShelfError> {
        match self.get_within(key, usize::MAX).await? {
            Within::Whole(lookup) => Ok(*lookup),
            Within::Larger(size) => Err(self.damaged(key, format!("it has {size} bytes"))),
        }
    }

    /// As [`Shelf::get`], of a report that has `limit` bytes at most. What is larger is not read, as far as the keys tell its size.
    ///
    /// # Errors
    /// As for [`Shelf::get`].
    pub async fn get_within(&self, key: &ReportKey, limit: usize) -> Result<Within, ShelfError> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let header = self.header(key).await?;
            match self.read_by(key, &header, limit).await {
                // Chunks vanish when a newer report takes their place; the same entry without them is damage.
                Err(ShelfError::Damaged { .. } | ShelfError::Incomplete { .. })
                    if before != Some(header.revisions()) =>
                {
                    before = Some(header.revisions());
                }
                read => return read,
            }
        }
        Err(self.contended(key))
    }

    /// The report that a header speaks of.
    pub(super) async fn read_by(
        &self,
        key: &ReportKey,
        header: &Header,
        limit: usize,
    ) -> Result<Within, ShelfError> {
        let Some((version, origin)) = header.copy else {
            let nothing = Lookup { copy: None, tombstone: header.tombstone() };
            return Ok(Within::Whole(Box::new(nothing)));
        };
        // Before the pieces are read: whoever writes one of them since cannot lose it by a removal of what was read.
        let holding = self.holding(key, header).await?;
        let size = header.size(origin, &holding);
        if size > limit {
            return Ok(Within::Larger(size));
        }
        let report = match origin {
            Origin::Larder => self.ours(key, header).await,
            Origin::Foreign => self.foreign(key, header, version).await,
        };
        let held = Held { report: report?, version, origin, holding };
        Ok(Within::Whole(Box::new(Lookup { copy: Some(held), tombstone: header.tombstone() })))
    }

    /// The version of the report under `key`, and the keys that it stands in.
    ///
    /// # Errors
    /// As [`Shelf::get`], but a copy of which pieces are missing has a version all the same.
    pub async fn head(&self, key: &ReportKey) -> Result<Lookup<Head>, ShelfError> {
        let header = self.header(key).await?;
        self.head_of(key, header).await
    }

    /// As [`Shelf::head`], also where the entry cannot be read, as [`Shelf::put`] takes it.
    pub(crate) async fn head_to_put(&self, key: &ReportKey) -> Result<Lookup<Head>, ShelfError> {
        let header = self.header_to_put(key).await?;
        self.head_of(key, header).await
    }

    async fn head_of(&self, key: &ReportKey, header: Header) -> Result<Lookup<Head>, ShelfError> {
        let lookup = Lookup { copy: header.copy, tombstone: header.tombstone() };
        if lookup.copy.is_none() {
            return Ok(Lookup { copy: None, tombstone: lookup.tombstone });
        }
        let holding = self.holding(key, &header).await?;
        let size = header
            .metadata
            .filter(|_| lookup.copy.map(|it| it.1) == Some(Origin::Larder))
            .map(|it| it.0.size);
        Ok(lookup.map(|(version, origin)| Head { version, origin, size, holding }))
    }

    async fn ours(&self, key: &ReportKey, header: &Header) -> Result<Report, ShelfError> {
        let (Some((metadata, _)), Some(value)) = (&header.metadata, &header.value) else {
            return Err(self.damaged(key, "its value is gone"));
        };
        let payload = match &metadata.place {
            Place::Value => value.value.clone(),
            Place::Chunks { generation, count, .. } => self.read_chunks(key, generation, *count).await?,
        };
        let extras = match &metadata.extras {
            None => None,
            Some(Extras::Inline(text)) => {
                Some(from_inline(text).map_err(|reason| self.damaged(key, reason))?.into())
            }
            Some(Extras::Chunks { generation, count }) => {
                Some(self.read_chunks(key, generation, *count).await?)
            }
        };
        metadata.report(key, payload, extras.as_deref()).map_err(|reason| self.damaged(key, reason))
    }

    async fn foreign(
        &self,
        key: &ReportKey,
        header: &Header,
        version: Version,
    ) -> Result<Report, ShelfError> {
        let first = header.value.as_ref().map(|it| it.value.clone()).unwrap_or_default();
        let whole = self.layout.in_pieces(key) && first.len() == PIECE;
        let payload = if whole { self.read_pieces(key, &first).await? } else { first };
        Ok(Report {
            key: key.clone(),
            // A mover leaves alone what a wrong clock dates, and says so.
            scanned_at: header.ahead.unwrap_or(version.scanned_at),
            scanner_version: String::new(),
            encoding: gzip::encoding(&payload),
            payload,
            asset: Asset::default(),
            findings: None,
            checks: None,
        })
    }

    /// The keys of a copy and their revisions.
    async fn holding(&self, key: &ReportKey, header: &Header) -> Result<Holding, ShelfError> {
        let value = header.value.as_ref();
        let chunks = header.generations().into_iter().flat_map(|(generation, count)| {
            (0..count).map(move |number| self.layout.chunk(key, &generation, number))
        });
        Ok(Holding {
            key: key.clone(),
            value: value.map(|it| it.revision),
            metadata: header.metadata_revision(),
            pieces: self.pieces_beside(key, header).await?,
            chunks: chunks.collect(),
        })
    }
}
