//! `larder bench apiserver`: what it costs to be asked for reports in the words of Kubernetes.
//!
//! Every figure is set against what the same machine does in the same run: reading and unpacking the same rows in process and getting them through TLS,
//! pushing the same events to as many readers, inserting the same bytes into the sidecar. Server and clients are processes of their own with
//! loopback and mutual TLS between them, HTTP/2 where a kube-apiserver would aggregate (lists, watches) and HTTP/1.1 where the clients of the sidecar's bench are the
//! other side of a ratio (creates). The server runs with its defaults.

mod creates;
mod figures;
mod http2;
mod lists;
mod push;
mod request;
mod site;
mod watchers;
mod workload;

use clap::ValueEnum;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

use super::load::Timing;
use super::machine::Machine;
use super::report::{Figure, Report};
use super::{Common, progress};
use creates::Creates;
use figures::Round;
use lists::Lists;
use site::Site;
use watchers::{Form, Plan};

/// Measure the Kubernetes API server
#[derive(Debug, clap::Args)]
pub(super) struct ApiServerArgs {
    /// Reports that are listed and watched
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    reports: u64,
    /// How long clients create and watch in each round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How often everything is measured in turns; medians are shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Connections that watchers share: one for each kube-apiserver that aggregates
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Only these figures
    #[arg(long, value_enum, num_args = 1.., value_name = "NAME")]
    only: Vec<Question>,
    #[command(flatten)]
    pub(super) bench: Common,
}

/// What can be asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Creating, against inserting into the sidecar
    Create,
    /// Lists, against rows through TLS
    List,
    /// Watchers while it is written
    Watch,
    /// Resident memory with many reports
    Memory,
}

impl ApiServerArgs {
    pub(super) fn measure(&self, dir: &Path) -> anyhow::Result<Report> {
        let machine = Machine::observe(dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let scale = Scale::of(self);
        let bench = Bench { args: self, scale: &scale, dir, runtime: &runtime };
        let mut figures = Vec::new();
        if self.wants(Question::Create) {
            figures.push(bench.creates()?);
        }
        if [Question::List, Question::Watch, Question::Memory].into_iter().any(|it| self.wants(it)) {
            figures.extend(bench.served()?);
        }
        let seconds = scale.watching.measure.as_secs_f64();
        Ok(Report { machine, quick: self.bench.quick, rounds: scale.rounds, seconds, figures })
    }

    fn wants(&self, question: Question) -> bool {
        self.only.is_empty() || self.only.contains(&question)
    }
}

/// How much of everything.
struct Scale {
    creating: Timing,
    watching: Timing,
    rounds: usize,
    reports: u64,
    watchers: usize,
    /// Watchers of whole reports.
    readers: usize,
    /// Reports whose memory is looked at.
    many: u64,
    /// Watchers meanwhile.
    few: usize,
}

/// Writes a second.
const WRITES: f64 = 200.0;

impl Scale {
    fn of(args: &ApiServerArgs) -> Self {
        let timing = |seconds: f64| Timing {
            warm_up: Duration::from_secs_f64((seconds / 3.0).min(1.0)),
            measure: Duration::from_secs_f64(seconds),
        };
        if args.bench.quick {
            let (creating, watching) = (timing(1.0), timing(0.3));
            return Self {
                creating,
                watching,
                rounds: 1,
                reports: 300,
                watchers: 20,
                readers: 5,
                many: 600,
                few: 10,
            };
        }
        let (timing, rounds, reports) = (timing(args.seconds), args.rounds.into(), args.reports);
        let (creating, watching, many) = (timing, timing, reports.max(100_000));
        Self { creating, watching, rounds, reports, watchers: 1000, readers: 100, many, few: 100 }
    }
}

struct Bench<'b> {
    args: &'b ApiServerArgs,
    scale: &'b Scale,
    dir: &'b Path,
    runtime: &'b Runtime,
}

impl Bench<'_> {
    fn creates(&self) -> anyhow::Result<Figure> {
        let dir = self.dir.join("creates");
        std::fs::create_dir(&dir)?;
        let mut creates = Creates::start(&dir)?;
        let mut rounds = Vec::new();
        for () in self.rounds("inserting and creating") {
            rounds.push(creates.run(self.runtime, self.scale.creating)?);
        }
        creates.leave()?;
        std::fs::remove_dir_all(dir)?;
        Ok(figures::creates(&rounds))
    }

    /// What is asked of a server that has reports.
    fn served(&self) -> anyhow::Result<Vec<Figure>> {
        let mut site = Site::start(&self.dir.join("reports"))?;
        progress(&format!("creating {} reports", self.scale.reports));
        self.fill(&mut site, self.scale.reports)?;
        site.explained(site.settle())?;
        let mut figures = Vec::new();
        if self.args.wants(Question::List) {
            figures.extend(site.explained(self.lists(&site))?);
        }
        if self.args.wants(Question::Watch) {
            figures.extend(site.explained(self.watchers(&site))?);
        }
        if self.args.wants(Question::Memory) {
            progress(&format!("creating reports up to {}", self.scale.many));
            self.fill(&mut site, self.scale.many)?;
            figures.push(site.explained(self.memory(&site))?);
        }
        site.server.stop()?;
        Ok(figures)
    }

    fn fill(&self, site: &mut Site, count: u64) -> anyhow::Result<()> {
        let filled = self.runtime.block_on(site.fill(count));
        site.explained(filled)?;
        rustix::fs::sync();
        Ok(())
    }

    fn lists(&self, site: &Site) -> anyhow::Result<Vec<Figure>> {
        progress("reading every list, and comparing it with what was sent");
        let mut lists = self.runtime.block_on(Lists::verify(site))?;
        let mut rounds = Vec::new();
        for () in self.rounds("lists") {
            let (floor, _) = push::bodies(&site.database(), &site.server.certs(), site.count())?;
            let timed = lists::EVERY.into_iter();
            let timed =
                timed.map(|which| anyhow::Ok((which, self.runtime.block_on(lists.time(site, which))?)));
            rounds.push(Round { floor, lists: timed.collect::<Result<_, _>>()? });
        }
        Ok(figures::lists(&lists, &rounds))
    }

    fn watchers(&self, site: &Site) -> anyhow::Result<Vec<Figure>> {
        let plan = Plan {
            form: Form::Metadata,
            watchers: self.scale.watchers,
            connections: usize::from(self.args.connections).min(self.scale.watchers),
            rate: WRITES,
            timing: self.scale.watching,
            stuck: false,
        };
        let whole = Plan { form: Form::Object, watchers: self.scale.readers, ..plan };
        let plans = [
            ("watch", "watching", plan),
            ("watch-stuck", "watching beside some that do not read", Plan { stuck: true, ..plan }),
            ("watch-whole", "watching whole reports", whole),
        ];
        let mut figures = Vec::new();
        let mut scan = 0;
        for (name, doing, plan) in plans {
            let (mut seen, mut floor) = (Vec::new(), Vec::new());
            for () in self.rounds(doing) {
                scan += 1000;
                let one = watchers::run(self.runtime, site, &plan, scan)?;
                floor.push(watchers::floor(self.runtime, site, &plan, &one.event)?);
                seen.push(one);
            }
            figures.push(figures::watchers(name, &plan, &seen, &floor));
        }
        Ok(figures)
    }

    /// The peak while it is watched and written to. What filling it took is not counted.
    fn memory(&self, site: &Site) -> anyhow::Result<Figure> {
        let plan = Plan {
            form: Form::Metadata,
            watchers: self.scale.few,
            connections: usize::from(self.args.connections),
            rate: WRITES,
            timing: self.scale.watching,
            stuck: false,
        };
        site.server.forget_peak()?;
        watchers::run(self.runtime, site, &plan, 1_000_000)?;
        Ok(figures::memory(site.count(), plan.watchers, site.server.peak()?))
    }

    /// Says before each round which it is. What was written before leaves nothing to be done.
    fn rounds(&self, doing: &str) -> impl Iterator<Item = ()> {
        let (doing, rounds) = (doing.to_owned(), self.scale.rounds);
        (1..=rounds).map(move |round| {
            progress(&format!("round {round} of {rounds}: {doing}"));
            rustix::fs::sync();
        })
    }
}
