//! Where reports are: in the database that is meant, and perhaps in a fallback beside it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use clap::Args;
use larder_client::database::DatabaseError;
use larder_client::fallback::{Mode, Reports, ReportsOptions, Store};
use larder_client::reports::{Clock, ReportStore};
use larder_client::schema::{self, SchemaError};
use larder_client::wire::code;

use crate::cli::Failure;
use crate::cli::connect::Connect;
use crate::cli::keyvalue::{Access, Source};
use crate::cli::output::say;

/// A fallback store beside the database.
#[derive(Clone, Debug, Args)]
pub(super) struct Fallback {
    /// Use this store too, as a controller does: consul[=URL], etcd[=URL] or directory=PATH. A directory has to be there.
    #[arg(long, env = "LARDER_FALLBACK", value_name = "STORE", help_heading = "Store of keys and values")]
    fallback: Option<Source>,
    #[command(flatten)]
    access: Access,
}

/// Where reports are.
pub(super) enum Place {
    /// In a database.
    Database(ReportStore),
    /// In a database and on a shelf, of which the newest counts.
    Both(Reports),
}

impl Fallback {
    /// Where a command reads.
    pub(super) async fn reading(&self, connect: &Connect) -> Result<Place, Failure> {
        self.expect_there()?;
        match verified(connect).await {
            Err(Failure::Away(reason)) if self.fallback.is_some() => {
                self.place(self::store(connect)?, connect, Some(reason))
            }
            store => self.place(store?, connect, None),
        }
    }

    /// Where a command writes. The tables are made if they are missing; where there is a fallback, it may be that nobody is there to make them.
    pub(super) async fn writing(&self, connect: &Connect) -> Result<Place, Failure> {
        self.expect_there()?;
        let store = store(connect)?;
        match prepare(&store).await {
            Err(Failure::Away(reason)) if self.fallback.is_some() => self.place(store, connect, Some(reason)),
            prepared => prepared.and_then(|()| self.place(store, connect, None)),
        }
    }

    /// Fails where there is no fallback, though one is meant: it would be taken for one that holds nothing, and what is written to it would be
    /// behind a volume that is mounted later.
    fn expect_there(&self) -> Result<(), Failure> {
        self.fallback.as_ref().map_or(Ok(()), Source::expect_there)
    }

    /// Both stores, of which the database is not waited for again if it is `away`.
    fn place(&self, store: ReportStore, connect: &Connect, away: Option<String>) -> Result<Place, Failure> {
        let Some(source) = &self.fallback else { return Ok(Place::Database(store)) };
        let shelf = self.access.shelf(source, connect.timeout())?;
        let clock = clock();
        let store = ReportStore::new(Arc::clone(store.database()), Arc::clone(&clock));
        let reports = Reports::new(Some(Arc::new(store)), shelf, clock, || true, options(connect));
        if let Some(reason) = away {
            say(&format!("note: the database is away: {reason}\n"));
            reports.primary_is_away(reason);
        }
        Ok(Place::Both(reports))
    }
}

/// What a controller's settings are, with shorter times if it is to be quick.
fn options(connect: &Connect) -> ReportsOptions {
    let usual = ReportsOptions { mode: Mode::Auto, ..ReportsOptions::default() };
    let Some(timeout) = connect.timeout() else { return usual };
    let [deadline, tidying, hurry, patience] =
        [usual.deadline, usual.tidying, usual.hurry, usual.patience].map(|it| it.min(timeout));
    ReportsOptions { deadline, tidying, hurry, patience, ..usual }
}

/// The reports of a database. Nothing is sent yet.
pub(crate) fn store(connect: &Connect) -> Result<ReportStore, Failure> {
    Ok(ReportStore::new(Arc::new(connect.sidecar()?), clock()))
}

/// The reports of a database, whose tables are those that are known here.
pub(super) async fn verified(connect: &Connect) -> Result<ReportStore, Failure> {
    let store = store(connect)?;
    schema::verify(&**store.database()).await?;
    Ok(store)
}

/// Says how many reports of a database are left out of every answer about findings, if any are.
pub(crate) async fn tell_closed(store: &ReportStore) -> Result<(), Failure> {
    let what = match store.count_closed().await? {
        0 => return Ok(()),
        1 => "1 report says".to_owned(),
        count => format!("{count} reports say"),
    };
    say(&format!(
        "note: {what} nothing here of what they found: they are gob, damaged or of an unknown kind, or were moved with --findings off\n"
    ));
    Ok(())
}

/// The reports of a database, whose tables are made if they are missing.
pub(crate) async fn prepared(connect: &Connect) -> Result<ReportStore, Failure> {
    let store = store(connect)?;
    prepare(&store).await?;
    Ok(store)
}

async fn prepare(store: &ReportStore) -> Result<(), Failure> {
    match schema::prepare(&**store.database()).await {
        Ok(_) => Ok(()),
        Err(SchemaError::Database(DatabaseError::Refused { error, .. }))
            if error.code == code::ROLE_INSUFFICIENT =>
        {
            Err(Failure::Other(anyhow::anyhow!(
                "the tables for reports are missing or old, and this certificate may not make them: that takes the role owner, once ({}: {})",
                error.code,
                error.message
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// A clock that no other process of this moment has.
pub(crate) fn clock() -> Arc<Clock> {
    Arc::new(Clock::new((RandomState::new().hash_one(0) & 0x3ff) as u16))
}

/// A store, as it is printed.
pub(super) fn name(store: Store) -> &'static str {
    match store {
        Store::Primary => "database",
        Store::Fallback => "fallback",
    }
}
