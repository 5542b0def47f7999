//! A primary in memory: the guards of the real one, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use larder_client::fallback::shelf::{Burial, Lookup, Page, Placed, Tombstone};
use larder_client::fallback::{Kept, KeptStream, Listing, Primary, PrimaryError, PrimaryStats};
use larder_client::migrate::{Parcel, Written};
use larder_client::reports::{Departures, Mark, Report, ReportKey, Told, Version};

/// Reports and tombstones.
#[derive(Debug, Default)]
pub(crate) struct MemoryPrimary {
    kept: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reports: BTreeMap<ReportKey, (Kept, u64)>,
    tombstones: BTreeMap<ReportKey, (i64, u64)>,
    /// Grows with every write: each leaves a stamp of its own, under an equal version too.
    stamp: u64,
    /// What movers took out, of reports and tombstones.
    departed: Vec<ReportKey>,
}

/// Departures that are remembered: few, so that some are forgotten in a schedule.
const REMEMBERED: usize = 4;

impl State {
    /// An answer as it is now.
    fn told<T>(&self, since: Option<Mark>, answer: T) -> Told<T> {
        let mark = |count: usize| Mark(count as i64);
        let until = self.departed.len();
        let from = since.map_or(until, |it| (it.0 as usize).min(until));
        let keys = self.departed[from..].iter().cloned();
        let remembered = until.saturating_sub(REMEMBERED);
        Told { answer, departures: Departures::new(mark(until), mark(remembered), since, keys) }
    }

    fn lookup(&self, key: &ReportKey) -> Lookup<Version> {
        Lookup {
            copy: self.reports.get(key).map(|it| it.0.version),
            tombstone: self.tombstones.get(key).map(|it| it.0),
        }
    }
}

impl MemoryPrimary {
    fn kept(&self) -> MutexGuard<'_, State> {
        self.kept.lock().expect("nobody panics with it")
    }

    /// A report with the stamp of its write.
    pub(crate) fn stamped(&self, key: &ReportKey) -> Option<(Kept, u64)> {
        self.kept().reports.get(key).cloned()
    }

    /// Removes a report, if it was not written since: what taking reports out of the primary needs.
    pub(crate) fn remove(&self, key: &ReportKey, stamp: u64) -> bool {
        let mut kept = self.kept();
        let is_same = kept.reports.get(key).is_some_and(|it| it.1 == stamp);
        if is_same {
            kept.reports.remove(key);
            kept.departed.push(key.clone());
        }
        is_same
    }

    pub(crate) fn tombstone(&self, key: &ReportKey) -> Option<i64> {
        self.kept().tombstones.get(key).map(|it| it.0)
    }

    /// Keys of reports behind `from`, and the last of them if there are more.
    pub(crate) fn keys(&self, from: Option<&str>, limit: usize) -> (Vec<ReportKey>, Option<String>) {
        let after = from.map(|it| ReportKey::new(it).expect("a key"));
        let page = Self::page(&self.kept().reports, "", after.as_ref(), limit, |key, _| key.clone());
        (page.items, page.next.map(|it| it.to_string()))
    }

    /// Tombstones behind `from` with their seals, and the last of them if there are more.
    pub(crate) fn sealed(
        &self,
        from: Option<&str>,
        limit: usize,
    ) -> (Vec<(ReportKey, i64, u64)>, Option<String>) {
        let after = from.map(|it| ReportKey::new(it).expect("a key"));
        let item = |key: &ReportKey, it: &(i64, u64)| (key.clone(), it.0, it.1);
        let page = Self::page(&self.kept().tombstones, "", after.as_ref(), limit, item);
        (page.items, page.next.map(|it| it.to_string()))
    }

    /// Takes what a mover brings.
    pub(crate) fn bring(&self, parcel: &Parcel) -> Written {
        let mut kept = self.kept();
        let (key, version) = (&parcel.report.key, parcel.version());
        if kept.tombstones.get(key).is_some_and(|it| it.0 > parcel.sequence) {
            return Written::Outdated;
        }
        kept.stamp += 1;
        let stamp = kept.stamp;
        match kept.reports.get_mut(key) {
            Some(standing) if standing.0.version == version => {
                standing.1 = stamp;
                Written::Renewed
            }
            Some((standing, _))
                if standing.version > version
                    || (standing.version.sequence > parcel.sequence
                        && parcel.over != Some(standing.version)) =>
            {
                Written::Outdated
            }
            _ => {
                let it = Kept { report: parcel.report.clone(), version };
                kept.reports.insert(key.clone(), (it, stamp));
                Written::Stored
            }
        }
    }

    pub(crate) fn bury_one(&self, key: &ReportKey, sequence: i64) -> Burial {
        let mut kept = self.kept();
        kept.stamp += 1;
        let stamp = kept.stamp;
        let sequence = kept.tombstones.get(key).map_or(sequence, |it| it.0.max(sequence));
        kept.tombstones.insert(key.clone(), (sequence, stamp));
        let standing = kept.reports.get(key).map(|it| it.0.version.sequence);
        let survivor = standing.filter(|it| *it >= sequence);
        if survivor.is_none() {
            kept.reports.remove(key);
        }
        Burial { removed: standing.is_some() && survivor.is_none(), survivor }
    }

    /// Removes a tombstone, if it was not written since.
    pub(crate) fn unbury(&self, key: &ReportKey, seal: u64) -> bool {
        let mut kept = self.kept();
        let is_same = kept.tombstones.get(key).is_some_and(|it| it.1 == seal);
        if is_same {
            kept.tombstones.remove(key);
            kept.departed.push(key.clone());
        }
        is_same
    }

    fn page<T: Clone, U>(
        map: &BTreeMap<ReportKey, T>,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        item: impl Fn(&ReportKey, &T) -> U,
    ) -> Page<U> {
        let wanted: Vec<_> = map
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix) && after.is_none_or(|after| *key > after))
            .take(limit + 1)
            .collect();
        let next = (wanted.len() > limit).then(|| wanted[limit - 1].0.clone());
        Page { items: wanted.into_iter().take(limit).map(|(key, it)| item(key, it)).collect(), next }
    }
}

#[async_trait]
impl Primary for MemoryPrimary {
    fn name(&self) -> &str {
        "a primary in memory"
    }

    async fn probe(&self) -> Result<(), PrimaryError> {
        Ok(())
    }

    async fn put(
        &self,
        reports: &[(&Report, i64)],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Placed>>, PrimaryError> {
        let mut kept = self.kept();
        let mut place = |(report, sequence): &(&Report, i64)| {
            let version = Version { scanned_at: report.scanned_at, sequence: *sequence };
            if let Some(tombstone) = kept.tombstones.get(&report.key).filter(|it| it.0 > *sequence) {
                return Placed::Buried(tombstone.0);
            }
            match kept.reports.get(&report.key) {
                Some((standing, _)) if standing.version > version => Placed::Superseded(standing.version),
                Some((standing, _)) if standing.version.sequence > *sequence => {
                    Placed::Crossed(standing.version.sequence)
                }
                _ => {
                    kept.stamp += 1;
                    let it = (Kept { report: (*report).clone(), version }, kept.stamp);
                    kept.reports.insert(report.key.clone(), it);
                    Placed::Stored
                }
            }
        };
        let placed = reports.iter().map(&mut place).collect();
        Ok(kept.told(since, placed))
    }

    async fn get(&self, key: &ReportKey, since: Option<Mark>) -> Result<Told<Lookup<Kept>>, PrimaryError> {
        let kept = self.kept();
        let copy = kept.reports.get(key).map(|it| it.0.clone());
        Ok(kept.told(since, Lookup { copy, tombstone: kept.lookup(key).tombstone }))
    }

    async fn head(
        &self,
        key: &ReportKey,
        since: Option<Mark>,
    ) -> Result<Told<Lookup<Version>>, PrimaryError> {
        let kept = self.kept();
        Ok(kept.told(since, kept.lookup(key)))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ReportKey>,
        limit: usize,
        beside: &[ReportKey],
        since: Option<Mark>,
    ) -> Result<Told<Listing>, PrimaryError> {
        let kept = self.kept();
        let page = Self::page(&kept.reports, prefix, after, limit, |key, it| (key.clone(), it.0.version));
        let beside = beside.iter().map(|key| kept.lookup(key)).collect();
        Ok(kept.told(since, Listing { page, beside }))
    }

    async fn stream(&self, keys: &[ReportKey]) -> Result<Box<dyn KeptStream>, PrimaryError> {
        let kept = self.kept();
        let mut found: Vec<_> = keys.iter().filter_map(|it| Some(kept.reports.get(it)?.0.clone())).collect();
        found.sort_by(|one, other| one.report.key.cmp(&other.report.key));
        Ok(Box::new(Snapshot(found.into_iter())))
    }

    async fn bury(
        &self,
        tombstones: &[Tombstone],
        since: Option<Mark>,
    ) -> Result<Told<Vec<Burial>>, PrimaryError> {
        let bury = |it: &Tombstone| self.bury_one(&it.key, it.sequence);
        let burials = tombstones.iter().map(bury).collect();
        Ok(self.kept().told(since, burials))
    }

    async fn stats(&self) -> Result<PrimaryStats, PrimaryError> {
        let kept = self.kept();
        Ok(PrimaryStats {
            reports: kept.reports.len() as u64,
            bytes: kept.reports.values().map(|it| it.0.report.payload.len() as u64).sum(),
            newest: kept.reports.values().map(|it| it.0.version.scanned_at).max(),
        })
    }
}

/// Reports as they stood when the stream was begun.
struct Snapshot(std::vec::IntoIter<Kept>);

#[async_trait]
impl KeptStream for Snapshot {
    async fn next(&mut self) -> Result<Option<Kept>, PrimaryError> {
        Ok(self.0.next())
    }
}
