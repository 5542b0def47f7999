//! What is shown of a migration: a bar on a terminal, otherwise a JSON line for each state; a summary at the end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use larder_client::migrate::{Departure, Phase, Progress, Skip, Skipped, Times};
use larder_wire::Value;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::output::Sink;
use crate::cli::output::listing::{Record, Show};
use crate::cli::{Failure, progress};

/// Between two drawings of the bar.
const DRAWN: Duration = Duration::from_millis(100);
/// Between two JSON lines of the same phase.
const SAID: Duration = Duration::from_secs(2);

/// Where it is shown.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    show: Show,
    table: bool,
}

/// A task that shows how far it is.
pub(super) struct Followed {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

/// A state, as a program reads it.
#[derive(Serialize)]
struct State<'p> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'p str>,
    pass: u64,
    total: u64,
    listed: bool,
    moved: u64,
    already_there: u64,
    older: u64,
    deleted: u64,
    changed: u64,
    skipped: BTreeMap<&'static str, u64>,
    remaining: u64,
    tombstones: u64,
    bytes: u64,
    reports_per_second: f64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'p str>,
}

/// What was done, and what was left.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    state: &'static str,
    pub(super) moved: u64,
    pub(super) already_there: u64,
    pub(super) older: u64,
    pub(super) deleted: u64,
    tombstones: u64,
    pub(super) bytes: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    #[serde(skip)]
    times: Times,
    left: u64,
    reasons: BTreeMap<&'static str, u64>,
    skipped: Vec<Left>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// What was found without anything being done.
    #[serde(skip)]
    is_dry: bool,
}

/// A report that stays where it was.
#[derive(Debug, Serialize)]
struct Left {
    key: String,
    reason: &'static str,
    detail: String,
}

impl Screen {
    pub(super) fn new(show: Show) -> Self {
        Self { show, table: show.as_table(&Sink::stdout()) }
    }

    /// Shows how far it is, until it is told to end.
    pub(super) fn follow(self, progress: watch::Receiver<Progress>) -> Followed {
        let (end, ended) = oneshot::channel();
        let task =
            if self.table { tokio::spawn(draw(progress, ended)) } else { tokio::spawn(say(progress, ended)) };
        Followed { task, end }
    }

    /// Prints the summary; says what the process ends with.
    pub(super) fn end(self, summary: &Summary) -> Result<ExitCode, Failure> {
        self.print(summary, &mut Sink::stdout())
    }

    fn print(self, summary: &Summary, sink: &mut Sink) -> Result<ExitCode, Failure> {
        self.show.one(summary, sink)?;
        if self.table && !summary.skipped.is_empty() {
            let mut list = self.show.list::<Left>(sink);
            summary.skipped.iter().try_for_each(|it| list.add(it))?;
            let unnamed = summary.left.saturating_sub(summary.skipped.len() as u64);
            let note = (unnamed > 0).then(|| format!("and {unnamed} more"));
            list.finish("report", note.as_deref())?;
        }
        Ok(if summary.left > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl Followed {
    /// Ends it, with the last state shown.
    pub(super) async fn end(self) {
        // A task that has ended by itself had nobody to show anything to.
        let _ = self.end.send(());
        drop(self.task.await);
    }
}

async fn draw(mut progress: watch::Receiver<Progress>, mut ended: oneshot::Receiver<()>) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} reports  {msg}") {
        bar.set_style(style);
    }
    while !pause(&mut progress, &mut ended, DRAWN).await {
        let now = progress.borrow_and_update();
        bar.set_length(now.total);
        bar.set_position(now.done());
        bar.set_message(message(&now));
    }
    bar.finish_and_clear();
}

/// What stands behind the bar.
fn message(now: &Progress) -> String {
    if let Phase::Waiting(reason) = &now.phase {
        return format!("waiting: {reason}");
    }
    let skipped: String = now.skipped.iter().map(|(skip, count)| format!("  {count} {skip}")).collect();
    let (rate, remaining, more) = (now.rate(), now.remaining(), if now.listed { "" } else { "+" });
    format!("{rate:.0}/s  {remaining}{more} to go  {}{skipped}", progress::bytes(now.bytes))
}

async fn say(mut progress: watch::Receiver<Progress>, mut ended: oneshot::Receiver<()>) {
    let mut said = (Phase::Idle, 0, Instant::now());
    let mut sink = Sink::stdout();
    loop {
        let is_over = pause(&mut progress, &mut ended, DRAWN).await;
        let now = progress.borrow_and_update().clone();
        let is_new = (&said.0, said.1) != (&now.phase, now.passes);
        if now.passes > 0 && (is_new || said.2.elapsed() >= SAID)
            || matches!(now.phase, Phase::Waiting(_)) && is_new
        {
            said = (now.phase.clone(), now.passes, Instant::now());
            let Ok(mut line) = serde_json::to_vec(&State::of(&now)) else { return };
            line.push(b'\n');
            if sink.write(&line).is_err() {
                return;
            }
        }
        if is_over {
            return;
        }
    }
}

/// Waits for a change, and then for some time to pass; `true` at the end.
async fn pause(
    progress: &mut watch::Receiver<Progress>,
    ended: &mut oneshot::Receiver<()>,
    time: Duration,
) -> bool {
    let until = Instant::now() + time;
    let changes = async {
        drop(progress.changed().await);
        tokio::time::sleep_until(until).await;
    };
    tokio::select! {
        biased;
        _ = ended => true,
        () = changes => false,
    }
}

impl<'p> State<'p> {
    fn of(now: &'p Progress) -> Self {
        let (state, waits_for) = match &now.phase {
            Phase::Idle => ("idle", None),
            Phase::Waiting(reason) => ("waiting", Some(reason.as_str())),
            Phase::Reports => ("reports", None),
            Phase::Large => ("large", None),
            Phase::Tombstones => ("tombstones", None),
        };
        Self {
            state,
            waits_for,
            pass: now.passes,
            total: now.total,
            listed: now.listed,
            moved: now.moved,
            already_there: now.already_there,
            older: now.older,
            deleted: now.deleted,
            changed: now.changed,
            skipped: now.skipped.iter().map(|(skip, count)| (skip.as_str(), *count)).collect(),
            remaining: now.remaining(),
            tombstones: now.tombstones,
            bytes: now.bytes,
            reports_per_second: now.rate().round(),
            seconds: rounded(now.elapsed()),
            error: now.error.as_deref(),
        }
    }
}

impl Summary {
    pub(super) fn dry() -> Self {
        Self { state: "dry run", is_dry: true, ..Self::default() }
    }

    /// Adds what a pass did. What it left stays in place of what the pass before left: it is the same.
    pub(super) fn add(&mut self, pass: &Progress) {
        self.moved += pass.moved;
        self.already_there += pass.already_there;
        self.older += pass.older;
        self.deleted += pass.deleted;
        self.tombstones += pass.tombstones;
        self.bytes += pass.bytes;
        self.seconds += rounded(pass.elapsed());
        self.times.add(&pass.times);
        [self.p50_ms, self.p99_ms] =
            [0.5, 0.99].map(|it| 1000.0 * rounded(self.times.percentile(it).unwrap_or_default()));
        self.left = pass.left() + pass.changed;
        self.reasons = pass.skipped.iter().map(|(skip, count)| (skip.as_str(), *count)).collect();
        self.skipped = pass.named.iter().cloned().map(Left::from).collect();
    }

    /// Adds a report that would be left.
    pub(super) fn skip(&mut self, skipped: Skipped) {
        self.skip_unnamed(skipped.skip, 1);
        self.skipped.push(skipped.into());
    }

    /// Adds things that would be left, without their names.
    pub(super) fn skip_unnamed(&mut self, skip: Skip, count: u64) {
        if count > 0 {
            self.left += count;
            *self.reasons.entry(skip.as_str()).or_default() += count;
        }
    }

    pub(super) fn done(self) -> Self {
        Self { state: "done", ..self }
    }

    pub(super) fn stopped(self) -> Self {
        Self { state: "stopped", ..self }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state == "stopped"
    }

    pub(super) fn departed(self, departure: &Departure) -> Self {
        let database = match departure {
            Departure::Unknown => "it is not known whether it is empty".to_owned(),
            Departure::Holds => "not empty".to_owned(),
            Departure::Used(gate) => format!("empty, and somebody may still write to it: {gate}"),
            Departure::MayBeRemoved => "empty; it may be removed".to_owned(),
        };
        Self { state: "done", database: Some(database), ..self }
    }
}

impl From<Skipped> for Left {
    fn from(it: Skipped) -> Self {
        Self { key: it.key, reason: it.skip.as_str(), detail: it.detail }
    }
}

impl Record for Summary {
    const COLUMNS: &'static [&'static str] = &[
        "moved",
        "there already",
        "older",
        "deleted",
        "tombstones",
        "payloads",
        "seconds",
        "left behind",
        "database",
    ];

    fn cells(&self) -> Vec<Value> {
        let number = |it: u64| Value::Integer(i64::try_from(it).unwrap_or(i64::MAX));
        let would = |it: u64| if self.is_dry { format!("{it} (would be)").into() } else { number(it) };
        let reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let left = if reasons.is_empty() {
            self.left.to_string()
        } else {
            format!("{} ({})", self.left, reasons.join(", "))
        };
        let mut cells = vec![
            would(self.moved),
            number(self.already_there),
            number(self.older),
            number(self.deleted),
            number(self.tombstones),
            progress::bytes(self.bytes).into(),
            self.seconds.into(),
            left.into(),
        ];
        cells.extend(self.database.as_deref().map(Value::from));
        cells
    }
}

impl Record for Left {
    const COLUMNS: &'static [&'static str] = &["left behind", "reason", "detail"];

    fn cells(&self) -> Vec<Value> {
        vec![self.key.as_str().into(), self.reason.into(), self.detail.as_str().into()]
    }
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::listing::tests::{looks, on_terminal};

    #[test]
    fn a_summary_names_what_was_left_and_why() {
        let mut pass = Progress { moved: 998, bytes: 34_000_000, tombstones: 2, ..Progress::default() };
        pass.took = Some(Duration::from_millis(12_345));
        pass.skipped = BTreeMap::from([(Skip::Oversize, 1), (Skip::Incomplete, 1)]);
        let skipped =
            |key: &str, skip, detail: &str| Skipped { key: key.into(), skip, detail: detail.into() };
        pass.named = vec![
            skipped("image/quay/4f5a", Skip::Oversize, "70000000 bytes"),
            skipped("host/a:b", Skip::Incomplete, "host/a:b/1 is missing"),
        ];
        let mut summary = Summary::default();
        summary.add(&pass);
        let summary = summary.done();
        let shown = |width| {
            on_terminal(width, |show, sink| {
                let screen = Screen { show, table: true };
                let code = screen.print(&summary, sink).expect("printed");
                assert_eq!(code, ExitCode::FAILURE);
            })
        };
        looks(&shown(100), "summary");
        looks(&shown(16), "summary-narrow");
    }

    #[test]
    fn the_bar_says_what_is_going_on() {
        let mut now = Progress { total: 10, moved: 3, listed: true, bytes: 2048, ..Progress::default() };
        now.took = Some(Duration::from_secs(1));
        now.skipped = BTreeMap::from([(Skip::Undecodable, 2)]);
        assert_eq!(message(&now), "5/s  5 to go  2.00 KiB  2 undecodable");
        now.phase = Phase::Waiting("b leads".to_owned());
        assert_eq!(message(&now), "waiting: b leads");
    }
}
