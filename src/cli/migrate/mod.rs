//! `larder migrate`: reports from a store of keys and values into the database, and back.
//!
//! What moves reports and keeps the laws is the crate's mover; here is who leads, when it may run, what is shown of it, and how it ends. It
//! stops between batches: what a signal does is to close the gate.

mod dry;
mod index;
mod leader;
mod members;
mod show;
mod stop;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder_client::migrate::{Depot, DepotError, Evacuation, Halt, Leader, Leadership, Migrator, Mover};
use larder_client::reports::ReportStore;

use super::Failure;
use super::connect::Connect;
use super::failure::is_unprepared;
use super::keyvalue::{Access, Source};
use super::output::listing::Show;
use super::output::say;
use super::reports::place;
use leader::LeaderFlags;
use members::{MemberFlags, Members};
use show::{Screen, Summary};
use stop::Stop;

/// Passes that are made to settle what others change meanwhile, at most.
const PASSES: usize = 8;

/// Moves reports out of a store of keys and values into the database, or back.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Where the reports are: consul[=URL], etcd[=URL] or directory=PATH.
    #[arg(long, value_name = "STORE")]
    from: Source,
    /// Move what is there now, and end: what it does without --interval. It waits for its turn (--leader, --members) as long as that takes.
    #[arg(long, conflicts_with = "interval")]
    once: bool,
    /// Run for ever, and look for reports this often, as 30s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    interval: Option<Duration>,
    /// Whether findings are read out of payloads in JSON and indexed, so that questions can be asked.
    #[arg(long, value_enum, default_value = "on")]
    findings: OnOff,
    /// The way back: move everything out of the database, into the store that --from names.
    #[arg(long)]
    evacuate: bool,
    /// Change nothing: say what would be moved, and what would have to stay.
    #[arg(long, conflicts_with = "interval")]
    dry_run: bool,
    #[command(flatten)]
    leader: LeaderFlags,
    #[command(flatten)]
    members: MemberFlags,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        if !self.evacuate {
            self.from.expect_there()?;
        }
        if self.dry_run {
            return self.look().await;
        }
        let store = place::prepared(&self.connect).await?;
        let store = if self.findings == OnOff::On { store } else { store.moving_closed() };
        let shelf = Arc::new(self.access.shelf(&self.from, self.connect.timeout())?);
        let database = Arc::new(store.clone());
        if self.evacuate {
            self.go(database, shelf, None).await
        } else {
            self.go(shelf, database, Some(store)).await
        }
    }

    /// Says what would be moved.
    async fn look(self) -> Result<ExitCode, Failure> {
        let store = place::store(&self.connect)?;
        let shelf = || self.access.shelf(&self.from, self.connect.timeout());
        let is_prepared = match store.count("").await {
            Err(error) if is_unprepared(&error) && !self.evacuate => false,
            counted => counted.map(|_| true)?,
        };
        let summary = if self.evacuate {
            let shelf = self.from.missing().is_none().then(shelf).transpose()?;
            dry::run(&store, shelf.as_ref()).await?
        } else {
            dry::run(&shelf()?, is_prepared.then_some(&store)).await?
        };
        Screen::new(self.show).end(&summary)
    }

    /// Moves from one to the other; `into` is the database, if that is the other.
    async fn go<F: Depot, T: Depot>(
        self,
        from: Arc<F>,
        to: Arc<T>,
        into: Option<ReportStore>,
    ) -> Result<ExitCode, Failure> {
        let screen = Screen::new(self.show);
        let members = self.members.start(&self.from, &self.access, self.evacuate)?;
        let leadership = self.leader.start(&self.from, &self.access)?;
        let stop = Stop::on_signal(members.gate())?;
        let mover = Mover::new(from, to, Arc::clone(&leadership), stop.gate());
        let into = into.filter(|_| self.findings == OnOff::On);
        let index = into.as_ref().map(|store| index::keep(store, &*leadership, mover.progress()));
        let followed = screen.follow(mover.progress());
        let ended = match self.interval {
            Some(interval) => for_ever(mover, interval, self.evacuate, &members, &stop).await,
            None => once(mover, &*leadership, self.evacuate, &members, &stop).await,
        };
        leadership.resign().await;
        followed.end().await;
        drop(index);
        let summary = ended?;
        let indexed = match (&into, self.interval, summary.is_stopped()) {
            (Some(store), None, false) => index::finish(store).await,
            _ => Ok(()),
        };
        let code = screen.end(&summary)?;
        indexed?;
        if let Some(store) = into.filter(|_| !summary.is_stopped()) {
            place::tell_closed(&store).await?;
        }
        // Who runs for ever is meant to be stopped.
        if summary.is_stopped() && self.interval.is_none() { Err(Failure::Cancelled) } else { Ok(code) }
    }
}

/// Moves what is there.
async fn once<F: Depot, T: Depot>(
    mover: Mover<F, T>,
    leadership: &dyn Leadership,
    evacuate: bool,
    members: &Members,
    stop: &Stop,
) -> Result<Summary, Failure> {
    permitted(leadership, stop).await;
    if stop.is_signalled() {
        return Ok(Summary::default().stopped());
    }
    let progress = mover.progress();
    for _ in 0..PASSES {
        match mover.pass().await {
            Ok(outcome) if outcome.changed == 0 => break,
            Ok(_) => {}
            Err(_) if stop.is_signalled() => return Ok(Summary::of(&progress.borrow()).stopped()),
            Err(halt) => return Err(halted(halt)),
        }
    }
    if evacuate {
        let evacuation = Evacuation::new(Migrator::new(mover), members.left());
        let (_, departure) = evacuation.run_once().await.map_err(halted)?;
        return Ok(Summary::of(&progress.borrow()).departed(&departure));
    }
    Ok(Summary::of(&progress.borrow()).done())
}

/// Moves what comes, until a signal.
async fn for_ever<F: Depot, T: Depot>(
    mover: Mover<F, T>,
    interval: Duration,
    evacuate: bool,
    members: &Members,
    stop: &Stop,
) -> Result<Summary, Failure> {
    let progress = mover.progress();
    let migrator = Migrator::new(mover);
    let departure = if evacuate {
        let evacuation = Evacuation::new(migrator, members.left());
        evacuation.run(interval, stop.between_batches(progress.clone())).await;
        Some(evacuation.departure().borrow().clone())
    } else {
        migrator.run(interval, stop.between_batches(progress.clone())).await;
        None
    };
    let summary = Summary::of(&progress.borrow());
    Ok(match departure {
        Some(departure) => summary.departed(&departure),
        None => summary.stopped(),
    })
}

/// Returns once we lead and the gate is open, or a signal came.
async fn permitted(leadership: &dyn Leadership, stop: &Stop) {
    let (mut leader, mut gate) = (leadership.leader(), stop.gate());
    let mut said = String::new();
    loop {
        let (leads, state) = (leader.borrow_and_update().clone(), gate.borrow_and_update().clone());
        let waits_for = match leads {
            Leader::Me if state.is_open() => return,
            Leader::Me => state.to_string(),
            Leader::Other(who) => format!("{who} leads"),
            Leader::Unknown => "nobody leads".to_owned(),
        };
        if said != waits_for {
            say(&format!("waiting: {waits_for}\n"));
            said = waits_for;
        }
        tokio::select! {
            biased;
            () = stop.signalled() => return,
            Ok(()) = leader.changed() => {}
            Ok(()) = gate.changed() => {}
            else => return,
        }
    }
}

fn halted(halt: Halt) -> Failure {
    match halt {
        Halt::Depot { depot, error } => failed(&depot, error),
        other => Failure::Other(other.into()),
    }
}

fn failed(depot: &str, error: DepotError) -> Failure {
    let reason = error.named(depot);
    match error {
        DepotError::Away(_) => Failure::Away(reason),
        DepotError::Refused(_) => Failure::Other(anyhow::anyhow!(reason)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|it: char| it.is_alphabetic()).unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time as 30s, 5m or 1h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a time as 30s, 5m or 1h".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a positive time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_as_they_are_typed() {
        let milliseconds = |text: &str| duration(text).map(|it| it.as_millis());
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("1.5m"), Ok(90_000));
        assert_eq!(milliseconds("2"), Ok(2000));
        assert_eq!(milliseconds("250ms"), Ok(250));
        for text in ["", "s", "-1s", "0", "3d", "1e400h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
