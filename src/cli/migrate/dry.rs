//! What a migration would do, found by reading alone. What becomes of each report is decided as the mover does it.

use jiff::{SignedDuration, Timestamp};
use larder_client::migrate::{
    Because, Decision, Depot, DepotError, Found, Holding, Offer, Pace, Parcel, Skip, Skipped, Standing,
    There, decide,
};
use larder_client::reports::ReportKey;

use super::failed;
use super::show::Summary;
use crate::cli::Failure;

/// Keys in one reading of the list.
const PAGE: usize = 256;

/// What a depot holds that is not there yet.
const NOTHING: Standing = Standing { holding: Holding::Nothing, tombstone: None };

/// Looks at every report that `from` holds, one at a time, and at what `to` holds in its place, if there is such a thing.
pub(super) async fn run<F: Depot, T: Depot>(from: &F, to: Option<&T>) -> Result<Summary, Failure> {
    let mut look = Look { from, to, summary: Summary::dry() };
    let mut begin: Option<String> = None;
    loop {
        let page = from.list(begin.as_deref(), PAGE).await.map_err(of(from))?;
        for (key, detail) in page.strange {
            look.summary.skip(Skipped { key, skip: Skip::Undecodable, detail });
        }
        look.summary.skip_unnamed(Skip::Undecodable, page.more_strange);
        for (key, there) in page.keys.iter().zip(look.standing(&page.keys).await?) {
            look.at(key, there).await?;
        }
        begin = page.next;
        if begin.is_none() {
            look.at_pieces().await?;
            return Ok(look.summary);
        }
    }
}

/// Both sides, and what would become of the reports that were looked at.
struct Look<'d, F, T> {
    from: &'d F,
    to: Option<&'d T>,
    summary: Summary,
}

impl<F: Depot, T: Depot> Look<'_, F, T> {
    async fn standing(&self, keys: &[ReportKey]) -> Result<Vec<Standing>, Failure> {
        match self.to {
            Some(to) => to.look(keys).await.map_err(of(to)),
            None => Ok(vec![NOTHING; keys.len()]),
        }
    }

    async fn at(&mut self, key: &ReportKey, there: Standing) -> Result<(), Failure> {
        let found = self.from.read(key, Pace::default().largest).await.map_err(of(self.from))?;
        match found {
            Found::Absent => {}
            Found::Large(bytes) => self.skip(key, Skip::Oversize, format!("{bytes} bytes")),
            Found::Unreadable(reason, detail) => self.skip(key, reason, detail),
            Found::Report { parcel, tombstone, .. } => self.decide(&parcel, tombstone, there).await?,
        }
        Ok(())
    }

    async fn decide(
        &mut self,
        parcel: &Parcel,
        tombstone: Option<i64>,
        there: Standing,
    ) -> Result<(), Failure> {
        let (key, version) = (&parcel.report.key, parcel.version());
        let is_dead = tombstone > Some(version.sequence);
        if is_ahead(version.scanned_at) && !is_dead {
            self.skip(key, Skip::Future, format!("scanned at {}", version.scanned_at));
            return Ok(());
        }
        if let Some(fault) = parcel.fault() {
            self.skip(key, Skip::Undecodable, fault.to_owned());
            return Ok(());
        }
        if there.holding == Holding::Unreadable {
            self.skip(key, Skip::Refused, format!("{} cannot read what it has", self.target()));
            return Ok(());
        }
        self.summary.bytes += parcel.size() as u64;
        let offer = Offer { version, tombstone, undated: parcel.is_undated() };
        let there_already = there.holding == Holding::Report(version);
        let there = self.after_the_write(parcel, tombstone, there).await?;
        match decide(&offer, &there) {
            Decision::Remove(Because::Moved) if there_already => self.summary.already_there += 1,
            Decision::Remove(Because::Moved) => self.summary.moved += 1,
            Decision::Remove(Because::Older) => self.summary.older += 1,
            Decision::Remove(Because::Deleted) => self.summary.deleted += 1,
            Decision::Leave(skip) => self.skip(key, skip, format!("{} has {there}", self.target())),
        }
        Ok(())
    }

    /// What would be read back. A tombstone beside the report goes over before it. What is older is written over, unless nobody dates it, and what is
    /// not stays as it is.
    async fn after_the_write(
        &self,
        parcel: &Parcel,
        beside: Option<i64>,
        there: Standing,
    ) -> Result<There, Failure> {
        let tombstone = there.tombstone.max(beside);
        let moved = There { version: Some(parcel.version()), tombstone, same: true, undated: false };
        let (Holding::Report(other), Some(to)) = (there.holding, self.to) else { return Ok(moved) };
        if Some(other.sequence) < tombstone {
            return Ok(moved);
        }
        let stays = There { version: Some(other), same: false, ..moved };
        if other > parcel.version() {
            return Ok(stays);
        }
        let Some(back) = holds(to, &parcel.report.key).await? else { return Ok(moved) };
        if other == parcel.version() {
            // What stands beside the payload may have been filled in from it there.
            return Ok(There { same: back.report.payload == parcel.report.payload, ..stays });
        }
        Ok(if back.yields(parcel.version()) { moved } else { There { undated: true, ..stays } })
    }

    /// Pieces of values stay whose report is not known on the other side, and will not be.
    async fn at_pieces(&mut self) -> Result<(), Failure> {
        let pieces = self.from.loose_pieces().await.map_err(of(self.from))?;
        for few in pieces.chunks(PAGE) {
            let keys: Vec<_> = few.iter().map(|it| it.key.clone()).collect();
            for (piece, _) in few.iter().zip(self.standing(&keys).await?).filter(|it| !it.1.is_known()) {
                self.summary.skip(piece.into());
            }
        }
        Ok(())
    }

    fn target(&self) -> &str {
        self.to.map_or("the other store", Depot::name)
    }

    fn skip(&mut self, key: &ReportKey, skip: Skip, detail: String) {
        self.summary.skip(Skipped { key: key.to_string(), skip, detail });
    }
}

/// The report that a depot has.
async fn holds(depot: &impl Depot, key: &ReportKey) -> Result<Option<Parcel>, Failure> {
    let found = depot.read(key, Pace::default().largest).await.map_err(of(depot))?;
    Ok(if let Found::Report { parcel, .. } = found { Some(*parcel) } else { None })
}

/// A depot's failure, with its name.
fn of(depot: &impl Depot) -> impl FnOnce(DepotError) -> Failure {
    let name = depot.name().to_owned();
    move |error| failed(&name, error)
}

/// Whether the mover would leave it for the time that it names.
fn is_ahead(scanned_at: Timestamp) -> bool {
    let hour = SignedDuration::try_from(Pace::default().ahead).unwrap_or(SignedDuration::from_hours(1));
    scanned_at.duration_since(Timestamp::now()) > hour
}
