//! Putting reports: into the primary where it may be written to, else onto the shelf, under one sequence in both.
//!
//! A put that the primary did not answer may have been done; the shelf then holds the same version, which the migrator finds to be the
//! same report. After a put into the primary an older copy on the shelf is removed, if it is still the one that was seen before.
//!
//! A put has to lie above the tombstone of a delete that was made by a clock that is ahead, and tombstones are moved as reports are: so a put too
//! asks the shelf first and the primary afterwards, and looks again if the key has left that in between ([`super::window`]).

use std::ops::ControlFlow::{self, Break, Continue};

use futures_util::stream::{self, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::answer::{Put, PutAnswer, ReportsError, Store};
use super::mode::{Begun, Mode};
use super::{Away, Reports};
use crate::fallback::shelf::{Head, Lookup, Placed, ShelfError, Tombstone};
use crate::reports::{Report, ReportKey, Version};

/// Scans may be ahead of our clock by this much.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Bytes that a payload may have.
const PAYLOAD: usize = 64 << 20;
/// How often a put is made anew under a greater sequence.
const RAISES: usize = 8;
/// Reports, and bytes of payload, that go to the primary at once.
const BATCH: (usize, usize) = (256, 4 << 20);
/// Reports that the shelf is asked for at once.
const AT_ONCE: usize = 8;

/// Where a put goes.
struct Target {
    primary: bool,
    /// Why the shelf takes it, if only for now.
    instead: Option<Away>,
    shelf: bool,
    /// Ends with the put: a change of the mode waits for it.
    _begun: Begun,
}

/// What became of a put into the primary, and what stood on the shelf before it.
struct InPrimary {
    placed: Placed,
    head: Option<Lookup<Head>>,
    /// Whether what the shelf told is out of date, since the key has left the primary.
    has_left: bool,
}

impl Reports {
    /// Puts a report. Once this answers [`Put::Stored`], every later [`get`](Self::get) finds it or a newer one, or says that a store is away.
    ///
    /// # Errors
    /// The report cannot be stored, or no store that may take it did. [`ReportsError::is_undecided`] tells whether it may be stored all the
    /// same; putting it again is harmless.
    pub async fn put(&self, report: &Report) -> Result<PutAnswer, ReportsError> {
        check(report)?;
        let sequence = self.room.clock.next();
        let mut target = self.target()?;
        if target.primary {
            match self.put_to_primary(report, sequence).await {
                Ok(put) => return Ok(self.answer(put, Store::Primary)),
                Err(away) => target.instead = Some(away),
            }
        }
        self.fall_back(report, sequence, &target).await
    }

    /// Puts reports, some MiB at a time. The answers are in their order; each report is on its own.
    pub async fn put_many(&self, reports: &[Report]) -> Vec<Result<PutAnswer, ReportsError>> {
        let mut answers = Vec::with_capacity(reports.len());
        let mut left = reports;
        while !left.is_empty() {
            let (batch, rest) = left.split_at(batch(left));
            answers.extend(self.put_batch(batch).await);
            left = rest;
        }
        answers
    }

    async fn put_batch(&self, reports: &[Report]) -> Vec<Result<PutAnswer, ReportsError>> {
        let sequences: Vec<_> = reports.iter().map(|_| self.room.clock.next()).collect();
        let mut target = match self.target() {
            Ok(target) => target,
            Err(error) => return reports.iter().map(|_| Err(error.clone())).collect(),
        };
        let sound: Vec<_> = reports
            .iter()
            .zip(&sequences)
            .filter(|it| check(it.0).is_ok())
            .map(|(it, at)| (it, *at))
            .collect();
        let mut placed: Vec<_> = sound.iter().map(|_| None).collect();
        if target.primary && !sound.is_empty() {
            match self.put_at_once(&sound).await {
                Ok(answers) => placed = answers.into_iter().map(Some).collect(),
                // One of them is at fault, and each is on its own.
                Err(away) if away.rejection().is_some() && sound.len() > 1 => {
                    let puts: Vec<_> = reports.iter().map(|it| self.put(it)).collect();
                    return stream::iter(puts).buffered(AT_ONCE).collect().await;
                }
                Err(away) => target.instead = Some(away),
            }
        }
        let mut placed = placed.into_iter();
        let puts = reports.iter().zip(sequences).map(|(report, sequence)| {
            let checked = check(report);
            let placed = if checked.is_ok() { placed.next().flatten() } else { None };
            let target = &target;
            async move {
                checked?;
                self.finish(report, sequence, placed, target).await
            }
        });
        let puts: Vec<_> = puts.collect();
        stream::iter(puts).buffered(AT_ONCE).collect().await
    }

    /// Puts reports into the primary, after a look at the shelf.
    async fn put_at_once(&self, reports: &[(&Report, i64)]) -> Result<Vec<InPrimary>, Away> {
        let Some((first, _)) = reports.first() else { return Ok(Vec::new()) };
        // Whoever knows that it is away does not look at the shelf for its sake.
        self.primary()?;
        let since = self.first_mark(&first.key).await?;
        let keys: Vec<_> = reports.iter().map(|it| it.0.key.clone()).collect();
        let heads =
            stream::iter(keys).map(|key| async move { self.look_on_shelf(&key).await }).buffered(AT_ONCE);
        // A shelf that does not tell of one soon is not waited for once more.
        let heads = heads.take_while(|head| std::future::ready(head.is_some()));
        let heads: Vec<_> = heads.collect().await;
        let bytes = reports.iter().map(|it| it.0.payload.len()).sum();
        let (placed, departures) = self.ask_told(bytes, |primary| primary.put(reports, Some(since))).await?;
        let heads = heads.into_iter().chain(std::iter::repeat_with(|| None));
        let answer = |((placed, head), (report, _)): ((Placed, Option<_>), &(&Report, i64))| InPrimary {
            has_left: head.is_some() && departures.may_include(&report.key),
            placed,
            head,
        };
        Ok(placed.into_iter().zip(heads).zip(reports).map(answer).collect())
    }

    /// What is left to do for one report of a batch.
    async fn finish(
        &self,
        report: &Report,
        sequence: i64,
        placed: Option<InPrimary>,
        target: &Target,
    ) -> Result<PutAnswer, ReportsError> {
        let version = Version::new(report.scanned_at, sequence);
        let Some(InPrimary { placed, head, has_left }) = placed else {
            return self.fall_back(report, sequence, target).await;
        };
        if has_left {
            return Box::pin(self.put(report)).await;
        }
        let put = match placed {
            Placed::Superseded(newer) => match tombstone_above(newer, &report.key, head.as_ref()) {
                None => Put::Superseded(newer),
                Some(_) => return Box::pin(self.put(report)).await,
            },
            Placed::Stored => match self.tidy(version, head).await {
                Ok(()) => Put::Stored(version),
                Err(tombstone) => return self.put_above(report, tombstone).await,
            },
            Placed::Buried(above) | Placed::Crossed(above) => return self.put_above(report, above).await,
        };
        Ok(self.answer(put, Store::Primary))
    }

    async fn put_above(&self, report: &Report, above: i64) -> Result<PutAnswer, ReportsError> {
        self.raise(above);
        Box::pin(self.put(report)).await
    }

    fn answer(&self, put: Put, store: Store) -> PutAnswer {
        match put {
            Put::Stored(_) => self.room.counters.answered(store, true),
            Put::Superseded(newer) => {
                self.room.clock.see(newer.sequence);
                self.room.counters.superseded();
            }
        }
        PutAnswer { put, store }
    }

    fn target(&self) -> Result<Target, ReportsError> {
        let begun = self.room.epoch.begin();
        let open = self.room.gate.is_open();
        let target = |primary, shelf, begun| Target { primary, instead: None, shelf, _begun: begun };
        match begun.mode {
            Mode::Off | Mode::Leaving => Ok(target(false, true, begun)),
            Mode::Auto => Ok(target(open && self.room.primary.is_some(), true, begun)),
            Mode::Required if open => Ok(target(true, false, begun)),
            Mode::Required => Err(ReportsError::GateClosed),
        }
    }

    /// Puts into the primary, above every tombstone that is met there or on the shelf, and above an earlier scan that was written later.
    async fn put_to_primary(&self, report: &Report, mut sequence: i64) -> Result<Put, Away> {
        for _ in 0..RAISES {
            let version = Version::new(report.scanned_at, sequence);
            let Some(InPrimary { placed, head, has_left }) =
                self.put_at_once(&[(report, sequence)]).await?.into_iter().next()
            else {
                break;
            };
            if has_left {
                continue;
            }
            match placed {
                Placed::Superseded(newer) => match tombstone_above(newer, &report.key, head.as_ref()) {
                    None => return Ok(Put::Superseded(newer)),
                    // What keeps it out was deleted, and the primary does not know yet.
                    Some(tombstone) => {
                        let bury = self.ask_told(0, |it| it.bury(std::slice::from_ref(&tombstone), None));
                        drop(bury.await?);
                    }
                },
                Placed::Buried(above) | Placed::Crossed(above) => sequence = self.raise(above),
                Placed::Stored => match self.tidy(version, head).await {
                    Ok(()) => return Ok(Put::Stored(version)),
                    Err(tombstone) => sequence = self.raise(tombstone),
                },
            }
        }
        Err(Away::Failed(super::PrimaryError::Unanswered("it tells nothing of the report".into())))
    }

    /// A sequence above another.
    fn raise(&self, above: i64) -> i64 {
        self.room.counters.raised();
        self.room.clock.above(above)
    }

    /// Puts onto the shelf, if that may be.
    async fn fall_back(
        &self,
        report: &Report,
        mut sequence: i64,
        target: &Target,
    ) -> Result<PutAnswer, ReportsError> {
        if let Some(error) = target.instead.as_ref().and_then(Away::rejection) {
            return Err(error);
        }
        let primary = target.instead.as_ref().filter(|_| target.primary);
        let (mut failed, mut restless) = (None, None);
        for _ in 0..if target.shelf { RAISES } else { 0 } {
            // Whoever has just waited for the primary in vain does not wait again.
            let since = if target.instead.is_some() { None } else { self.first_mark(&report.key).await.ok() };
            let placed = self.room.shelf.put(report, sequence).await;
            let seen = match since {
                Some(_) => self.ask_told(0, |it| it.head(&report.key, since)).await.ok(),
                None => None,
            };
            let has_left = seen.as_ref().is_some_and(|it| it.1.may_include(&report.key));
            restless = has_left.then_some(Away::Restless);
            if has_left && placed.is_ok() {
                continue;
            }
            let put = match self.above_primary(report, sequence, placed, seen.map(|it| it.0)).await {
                Ok(Break(put)) => put,
                Ok(Continue(greater)) => {
                    sequence = greater;
                    continue;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            if primary.is_some() {
                self.room.counters.failed_over();
            }
            return Ok(self.answer(put, Store::Fallback));
        }
        self.room.counters.unavailable();
        Err(ReportsError::unavailable(primary.or(restless.as_ref()), failed))
    }

    /// What a put onto the shelf is worth beside the tombstone that the primary holds, as far as it says so; or the sequence under which it is to be
    /// made anew.
    async fn above_primary(
        &self,
        report: &Report,
        sequence: i64,
        placed: Result<Placed, ShelfError>,
        primary: Option<Lookup<Version>>,
    ) -> Result<ControlFlow<Put, i64>, ShelfError> {
        let version = Version::new(report.scanned_at, sequence);
        let hidden = |it| tombstone_above(it, &report.key, primary.as_ref());
        Ok(match placed? {
            Placed::Stored => match hidden(version) {
                None => Break(Put::Stored(version)),
                Some(tombstone) => Continue(self.raise(tombstone.sequence)),
            },
            Placed::Superseded(newer) => match hidden(newer) {
                None => Break(Put::Superseded(newer)),
                // What keeps it out was deleted, and the shelf does not know yet.
                Some(tombstone) => {
                    self.room.shelf.bury(&tombstone).await?;
                    Continue(self.room.clock.above(tombstone.sequence))
                }
            },
            Placed::Buried(above) | Placed::Crossed(above) => Continue(self.raise(above)),
        })
    }

    /// What the shelf holds of a report of which the primary is asked; nothing if it does not say so soon.
    pub(super) async fn look_on_shelf(&self, key: &ReportKey) -> Option<Lookup<Head>> {
        let head: Result<_, ShelfError> =
            timeout(self.room.options.tidying, self.room.shelf.head_to_put(key)).await.ok()?;
        head.ok()
    }

    /// After a put into the primary: removes an older copy from the shelf. A tombstone there that lies above the put is an error, since
    /// it would hide what was just put.
    async fn tidy(&self, version: Version, seen: Option<Lookup<Head>>) -> Result<(), i64> {
        let Some(seen) = seen else { return Ok(()) };
        if let Some(tombstone) = seen.tombstone.filter(|it| *it > version.sequence) {
            return Err(tombstone);
        }
        let is_stale = |it: &Head| it.origin.yields(it.version, version);
        let Some(stale) = seen.copy.filter(is_stale) else { return Ok(()) };
        // Else somebody wrote it anew, or the shelf is away: newest wins, and the migrator comes by.
        let removed = timeout(self.room.options.tidying, self.room.shelf.remove(&stale.holding)).await;
        if matches!(removed, Ok(Ok(true))) {
            self.room.counters.stale_removed();
        }
        Ok(())
    }
}

/// The tombstone that one store holds above a version which stands in the other: what stands there is gone.
fn tombstone_above<T>(standing: Version, key: &ReportKey, seen: Option<&Lookup<T>>) -> Option<Tombstone> {
    let sequence = seen?.tombstone.filter(|it| *it > standing.sequence)?;
    Some(Tombstone { key: key.clone(), sequence })
}

/// Whether a report may be stored at all.
fn check(report: &Report) -> Result<(), ReportsError> {
    let (key, scanned_at, size) = (&report.key, report.scanned_at, report.payload.len());
    if scanned_at.duration_since(Timestamp::now()) > AHEAD {
        return Err(ReportsError::ClockAhead { key: key.clone(), scanned_at });
    }
    if size > PAYLOAD {
        return Err(ReportsError::TooLarge { key: key.clone(), size, limit: PAYLOAD });
    }
    Ok(())
}

/// How many of `reports` go at once: at least one.
fn batch(reports: &[Report]) -> usize {
    let (count, limit) = BATCH;
    let mut bytes = 0;
    let fits = reports.iter().take(count).take_while(|it| {
        bytes += it.payload.len();
        bytes <= limit
    });
    fits.count().max(1)
}
