//! What is shown of a migration: a bar on a terminal, otherwise a JSON line for each state; a summary at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use larder_client::migrate::{Departure, Phase, Progress, Skip, Skipped, Totals};
use larder_wire::Value;
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cli::output::listing::{Record, Show};
use crate::cli::output::{Sink, escape};
use crate::cli::{Failure, progress};

/// Between two drawings of the bar.
const DRAWN: Duration = Duration::from_millis(100);
/// Between two JSON lines of the same phase.
const SAID: Duration = Duration::from_secs(2);

/// Reports left behind that are told of while a migration runs, at most.
const TOLD: usize = 1000;

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
    left: u64,
    reasons: BTreeMap<&'static str, u64>,
    skipped: Vec<Left>,
    /// Reports that were not come to, if it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// What was found without anything being done.
    #[serde(skip)]
    is_dry: bool,
}

/// A report that stays where it was, as soon as that is known.
#[derive(Serialize)]
struct Named {
    state: &'static str,
    #[serde(flatten)]
    left: Left,
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
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {msg}") {
        bar.set_style(style);
    }
    let mut told = Told::default();
    while !pause(&mut progress, &mut ended, DRAWN).await {
        let now = progress.borrow_and_update();
        // A bar of no length looks full.
        bar.set_length(now.total.max(1));
        bar.set_position(now.done());
        bar.set_message(message(&now));
        for Left { key, reason, detail } in told.news(&now) {
            bar.println(escape::text(&format!("left behind: {key} ({reason}): {detail}")));
        }
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
    let (done, total, bytes) = (now.done(), now.total, progress::bytes(now.bytes));
    format!("{done}/{total} reports  {rate:.0}/s  {remaining}{more} to go  {bytes}{skipped}")
}

async fn say(mut progress: watch::Receiver<Progress>, mut ended: oneshot::Receiver<()>) {
    let (mut told, mut said, mut sink) = (Told::default(), Said::default(), Sink::stdout());
    loop {
        let is_over = pause(&mut progress, &mut ended, DRAWN).await;
        let now = progress.borrow_and_update().clone();
        let news = told.news(&now).try_for_each(|left| line(&Named { state: "skipped", left }, &mut sink));
        let state = if said.is_due(&now) { line(&State::of(&now), &mut sink) } else { Ok(()) };
        if is_over || news.and(state).is_err() {
            return;
        }
    }
}

fn line(it: &impl Serialize, sink: &mut Sink) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(it).map_err(|error| Failure::Other(error.into()))?;
    line.push(b'\n');
    sink.write(&line)
}

/// What was left behind and told, so that a pod that is killed has named it, and once.
#[derive(Default)]
struct Told(BTreeSet<(String, &'static str)>);

impl Told {
    fn news<'p>(&mut self, now: &'p Progress) -> impl Iterator<Item = Left> + use<'_, 'p> {
        let is_new = |it: &&Skipped| self.0.len() < TOLD && self.0.insert((it.key.clone(), it.skip.as_str()));
        now.named.iter().filter(is_new).cloned().map(Left::from)
    }
}

/// The last state that was said.
#[derive(Default)]
struct Said {
    phase: Phase,
    pass: u64,
    at: Option<Instant>,
    /// How the last pass ended that was told of.
    ended: Option<(u64, u64, Option<String>)>,
}

impl Said {
    /// Whether a state is worth a line. Passes behind the first are told of if they take long, or end otherwise than the one before.
    fn is_due(&mut self, now: &Progress) -> bool {
        let is_new = (&self.phase, self.pass) != (&now.phase, now.passes);
        let is_due = match now.phase {
            Phase::Waiting(_) => is_new,
            _ if now.passes == 0 => false,
            Phase::Idle if now.passes > 1 => is_new && self.ends_anew(now),
            _ if now.passes > 1 => self.has_been_silent() && now.elapsed() >= SAID,
            _ => is_new || self.has_been_silent(),
        };
        if is_new {
            (self.phase, self.pass) = (now.phase.clone(), now.passes);
        }
        if is_due {
            self.at = Some(Instant::now());
        }
        is_due
    }

    fn has_been_silent(&self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= SAID)
    }

    fn ends_anew(&mut self, now: &Progress) -> bool {
        let ended = Some((now.left(), now.changed, now.error.clone()));
        let is_other = self.ended != ended || now.gone() + now.tombstones > 0;
        self.ended = ended;
        is_other
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

    /// What all passes did, and what the last one left.
    pub(super) fn of(progress: &Progress) -> Self {
        let Totals { moved, already_there, older, deleted, tombstones, bytes, times, took } =
            progress.totals();
        let [p50_ms, p99_ms] =
            [0.5, 0.99].map(|it| 1000.0 * rounded(times.percentile(it).unwrap_or_default()));
        Self {
            moved,
            already_there,
            older,
            deleted,
            tombstones,
            bytes,
            seconds: rounded(took),
            p50_ms,
            p99_ms,
            left: progress.left() + progress.changed,
            reasons: progress.skipped.iter().map(|(skip, count)| (skip.as_str(), *count)).collect(),
            skipped: progress.named.iter().cloned().map(Left::from).collect(),
            remaining: Some(progress.remaining()).filter(|it| *it > 0),
            ..Self::default()
        }
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
        let mut left = if reasons.is_empty() {
            self.left.to_string()
        } else {
            format!("{} ({})", self.left, reasons.join(", "))
        };
        if let Some(remaining) = self.remaining {
            let _ = write!(left, ", and {remaining} were not come to");
        }
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
        let summary = Summary::of(&pass).done();
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
    fn who_is_stopped_says_what_is_left_to_do() {
        let pass = Progress { total: 2318, moved: 310, ..Progress::default() };
        let stopped = Summary::of(&pass).stopped();
        let shown = on_terminal(100, |show, sink| {
            Screen { show, table: true }.print(&stopped, sink).expect("printed");
        });
        assert!(shown.contains("0, and 2008 were not come to"), "{shown}");
        assert_eq!(serde_json::to_value(&stopped).expect("JSON")["remaining"], 2008);
        let done = Summary::of(&Progress { total: 310, ..pass }).done();
        assert_eq!(serde_json::to_value(&done).expect("JSON").get("remaining"), None);
    }

    #[test]
    fn passes_in_which_nothing_happens_are_silent() {
        let mut said = Said::default();
        let pass = |passes, phase, moved| Progress { passes, phase, moved, ..Progress::default() };
        assert!(said.is_due(&pass(1, Phase::Reports, 0)));
        assert!(said.is_due(&pass(1, Phase::Idle, 3)));
        assert!(!said.is_due(&pass(2, Phase::Reports, 0)));
        assert!(said.is_due(&pass(2, Phase::Idle, 1)), "one was moved");
        assert!(!said.is_due(&pass(3, Phase::Idle, 0)));
        assert!(!said.is_due(&pass(4, Phase::Idle, 0)));
        let failed = Progress { error: Some("away".into()), ..pass(5, Phase::Idle, 0) };
        assert!(said.is_due(&failed));
        assert!(!said.is_due(&Progress { passes: 6, ..failed }), "it is told once");
    }

    #[test]
    fn what_is_left_behind_is_told_once() {
        let skipped = |key: &str| Skipped { key: key.into(), skip: Skip::Oversize, detail: String::new() };
        let mut now = Progress { named: vec![skipped("a/1")], ..Progress::default() };
        let mut told = Told::default();
        assert_eq!(told.news(&now).count(), 1);
        now.named.push(skipped("a/2"));
        assert_eq!(told.news(&now).map(|it| it.key).collect::<Vec<_>>(), ["a/2"]);
    }

    #[test]
    fn the_bar_says_what_is_going_on() {
        let mut now = Progress { total: 10, moved: 3, listed: true, bytes: 2048, ..Progress::default() };
        now.took = Some(Duration::from_secs(1));
        now.skipped = BTreeMap::from([(Skip::Undecodable, 2)]);
        assert_eq!(message(&now), "5/10 reports  5/s  5 to go  2.00 KiB  2 undecodable");
        now.phase = Phase::Waiting("b leads".to_owned());
        assert_eq!(message(&now), "waiting: b leads");
    }
}
