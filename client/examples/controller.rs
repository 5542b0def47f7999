//! A security controller, as small as it can be: what NeuVector's does with the reports of its scans, on the public API alone.
//!
//! Reports go to a Larder sidecar, and to Consul while it is away; states stay in Consul, where every controller follows them. Run several of
//! it, against a Consul and a sidecar, and kill what you like:
//!
//! ```text
//! consul agent -dev & larder serve --dev &
//! export LARDER_URL=https://127.0.0.1:4001 LARDER_CA=larder-data/certs/ca.crt
//! export LARDER_CERT=larder-data/certs/client.crt LARDER_KEY=larder-data/certs/client.key
//! cargo run -p larder-client --example controller -- one
//! cargo run -p larder-client --example controller -- two
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use larder_client::database::Database;
use larder_client::fallback::{
    Condition, Consul, KeyChange, KeyValue as _, Layout, Mode, Operation, PutAnswer, Reports, ReportsOptions,
    Shelf,
};
use larder_client::migrate::leadership::{Campaign, ConsulLock, Leader, Leadership as _, Terms};
use larder_client::migrate::roster::{Announcement, Announcements, Announcer, Supported};
use larder_client::migrate::{Gate, Migrator, Mover, Rules, Traffic, Upkeep};
use larder_client::reports::generate::Generator;
use larder_client::reports::{Clock, Report, ReportKey, ReportStore, Version};
use larder_client::{Credentials, Sidecar, schema};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where scans are announced; the key of the report follows.
const STATES: &str = "scan/state/report/";
/// How long a controller is believed to live, and to lead, that says nothing.
const TTL: Duration = Duration::from_secs(10);
/// Between two looks at what did not work, or may have changed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the fallback is looked through for reports to bring home.
const INTERVAL: Duration = Duration::from_secs(5);

/// What a controller has to be told.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `leaving` also wants somebody to take reports out of the sidecar: an `Evacuation`, or `larder migrate --evacuate`.
    pub(crate) mode: Mode,
    pub(crate) sidecar: String,
    pub(crate) ca: String,
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) consul: String,
    pub(crate) token: Option<String>,
}

/// What is known of each asset: here the version of its report, where another controller keeps what users ask for.
pub(crate) type Assets = BTreeMap<ReportKey, Version>;

/// The state that is announced beside a report.
#[derive(Serialize, Deserialize)]
struct ScanState {
    scanned_at: String,
    status: String,
}

/// A running controller.
pub(crate) struct Controller {
    pub(crate) reports: Reports,
    pub(crate) assets: watch::Receiver<Assets>,
    consul: Consul,
    traffic: Traffic,
    leadership: Arc<Campaign<ConsulLock>>,
    announcer: Announcer,
    tasks: JoinSet<()>,
    suspects: BTreeSet<ReportKey>,
    // They work for as long as they are kept.
    _gate: Gate,
    _upkeep: Upkeep,
}

impl Controller {
    /// Starts. Neither store has to be there yet.
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        // The two stores: the sidecar, over mutual TLS, and Consul, with the keys that older controllers know.
        let credentials = Credentials::from_files(&settings.ca, &settings.cert, &settings.key)?;
        let database: Arc<dyn Database> = Arc::new(Sidecar::new(settings.sidecar.parse()?, credentials)?);
        let mut consul = Consul::new(settings.consul.parse()?, None)?;
        if let Some(token) = &settings.token {
            consul = consul.with_token(token)?;
        }
        let clock = Arc::new(Clock::new(RandomState::new().hash_one(&settings.name) as u16));
        let store = ReportStore::new(Arc::clone(&database), Arc::clone(&clock));
        let shelf = Shelf::new(Arc::new(consul.clone()), Layout::NeuVector);

        // Everybody says what it runs and how it is set; the gate opens once all of them will look for reports in the sidecar.
        let roster = || Announcements::new(Arc::new(consul.clone()), "larder/member/", TTL);
        let said = Announcement { version: settings.version, mode: settings.mode, heartbeat: 0 };
        let announcer = Announcer::start(roster(), &settings.name, said);
        let supported = Supported { since: (6, 0, 0), interim: false };
        let rules = Rules::arriving(move |version| supported.includes(version));
        let gate = Gate::start(Arc::new(roster()), rules, PAUSE);

        // Both stores as one: this is what the rest of a controller sees.
        let options = ReportsOptions { mode: settings.mode, ..ReportsOptions::default() };
        let reports =
            Reports::new(Some(Arc::new(store.clone())), shelf.clone(), clock, gate.state(), options);

        // One controller leads. It brings home what the fallback took, and keeps the index of findings.
        let lock = ConsulLock::new(&consul, "larder/leader", &settings.name, TTL);
        let leadership = Arc::new(Campaign::start(lock, Terms::of(TTL)));
        let traffic = Traffic::default();
        let mover = Mover::new(Arc::new(shelf), Arc::new(store), leadership.clone(), gate.state())
            .yielding_to(traffic.clone());
        let upkeep = Upkeep::start(Arc::clone(&database), leadership.leader(), mover.progress());

        // What users ask for is read once, in bulk, and then kept up by what is announced.
        let assets = watch::Sender::new(cold_start(&reports).await);
        let known = assets.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(bring_home(database, Migrator::new(mover)));
        tasks.spawn(follow(consul.clone(), reports.clone(), assets));
        Ok(Self {
            reports,
            assets: known,
            consul,
            traffic,
            leadership,
            announcer,
            tasks,
            suspects: BTreeSet::new(),
            _gate: gate,
            _upkeep: upkeep,
        })
    }

    /// Stores what a scanner found. The data first, then the state: whoever hears of the scan finds its report.
    pub(crate) async fn scan(&self, report: &Report) -> Result<PutAnswer> {
        // While this call is under way, the mover steps aside.
        let _call = self.traffic.enter();
        let put = self.reports.put(report).await;
        let status = if put.is_ok() { "finished" } else { "failed" };
        let state = ScanState { scanned_at: report.scanned_at.to_string(), status: status.to_owned() };
        let value = serde_json::to_vec(&state)?.into();
        let write = Operation::Put { key: state_key(&report.key), value, condition: Condition::Any };
        self.consul.commit(vec![write]).await?;
        Ok(put?)
    }

    /// Deletes reports of assets that are gone: the leader, and only what was an orphan at the last look too, since a scan may have been
    /// stored before its asset was known. (Where the live assets are all that may have reports, `Reports::retain` does it in one call.)
    pub(crate) async fn prune(&mut self, live: &HashSet<ReportKey>) -> Result<usize> {
        if *self.leadership.leader().borrow() != Leader::Me {
            return Ok(0);
        }
        let mut orphans = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.reports.list("workload/", after.as_ref(), 1000).await?;
            orphans.extend(page.items.into_iter().map(|(key, _)| key).filter(|key| !live.contains(key)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let struck: Vec<_> = orphans.intersection(&self.suspects).cloned().collect();
        self.suspects = orphans;
        // Who slept through its own deposition hears of it here.
        self.leadership.confirm().await?;
        for key in &struck {
            self.reports.delete(key).await?;
            let forget = Operation::Delete { key: state_key(key), condition: Condition::Any };
            self.consul.commit(vec![forget]).await?;
        }
        Ok(struck.len())
    }

    /// Whether this one leads.
    pub(crate) fn leader(&self) -> watch::Receiver<Leader> {
        self.leadership.leader()
    }

    /// Stops. A move that is under way may be broken off anywhere; the lead and the announcement are given back, so nobody waits for them.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.leadership.resign().await;
        self.announcer.stop().await;
    }
}

fn state_key(key: &ReportKey) -> String {
    format!("{STATES}{key}")
}

/// Reads every report that can be read now. What cannot is read when its state is seen.
async fn cold_start(reports: &Reports) -> Assets {
    let mut assets = Assets::new();
    let mut stream = reports.get_many("workload/");
    loop {
        match stream.next().await {
            Ok(Some(answered)) => {
                assets.insert(answered.report.key, answered.version);
            }
            Ok(None) => return assets,
            Err(error) => tracing::warn!(%error, "not every report could be read"),
        }
    }
}

/// Makes the tables, whoever comes first, and moves what the fallback has taken whenever this controller leads and the gate is open.
async fn bring_home(database: Arc<dyn Database>, migrator: Migrator<Shelf, ReportStore>) {
    while let Err(error) = schema::prepare(&*database).await {
        tracing::info!(%error, "the tables are not there yet");
        sleep(PAUSE).await;
    }
    migrator.run(INTERVAL, std::future::pending()).await;
}

/// Follows the states and reads the report of every scan that has finished.
async fn follow(consul: Consul, reports: Reports, assets: watch::Sender<Assets>) {
    let mut states = consul.follow(STATES);
    let mut due = BTreeMap::new();
    loop {
        tokio::select! {
            changes = states.next() => match changes {
                Ok(changes) => changes.into_iter().for_each(|change| note(change, &assets, &mut due)),
                Err(error) => {
                    tracing::warn!(%error, "states cannot be followed");
                    sleep(PAUSE).await;
                }
            },
            () = sleep(PAUSE), if !due.is_empty() => {}
        }
        for (key, scanned_at) in std::mem::take(&mut due) {
            match reports.get(&key).await {
                // A store that is away may hold the newer one that was announced.
                Ok(Some(found)) if found.complete || found.report.scanned_at >= scanned_at => {
                    assets.send_modify(|assets| {
                        assets.insert(key, found.version);
                    });
                }
                Ok(None) => forget(&key, &assets),
                Ok(Some(_)) | Err(_) => {
                    due.insert(key, scanned_at);
                }
            }
        }
    }
}

/// Notes what a change of a state asks for.
fn note(change: KeyChange, assets: &watch::Sender<Assets>, due: &mut BTreeMap<ReportKey, Timestamp>) {
    let Some(Ok(key)) = change.key.strip_prefix(STATES).map(ReportKey::new) else { return };
    let Some(entry) = change.entry else {
        due.remove(&key);
        return forget(&key, assets);
    };
    let Ok(state) = serde_json::from_slice::<ScanState>(&entry.value) else { return };
    let Ok(scanned_at) = state.scanned_at.parse() else { return };
    let known = assets.borrow().get(&key).map(|version| version.scanned_at);
    if state.status == "finished" && known < Some(scanned_at) {
        due.insert(key, scanned_at);
    }
}

fn forget(key: &ReportKey, assets: &watch::Sender<Assets>) {
    assets.send_modify(|assets| {
        assets.remove(key);
    });
}

impl Settings {
    fn from_environment(name: String) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        Ok(Self {
            name,
            version: "v6.0.0".to_owned(),
            mode: variable("LARDER_MODE").map_or(Ok(Mode::Auto), |mode| mode.parse())?,
            sidecar: variable("LARDER_URL")?,
            ca: variable("LARDER_CA")?,
            cert: variable("LARDER_CERT")?,
            key: variable("LARDER_KEY")?,
            consul: variable("LARDER_CONSUL").unwrap_or_else(|_| "http://127.0.0.1:8500".to_owned()),
            token: variable("LARDER_CONSUL_TOKEN").ok(),
        })
    }
}

/// Scans one of twenty containers every second until it is interrupted, and says where its report went.
#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example is looked at")]
async fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "controller".to_owned());
    let mut controller = Controller::start(Settings::from_environment(name)?).await?;
    let generator = Generator::new(1);
    let reports = (0..).map(|number| generator.report(number, 142));
    let containers: Vec<_> = reports.filter(|it| it.key.class() == "workload").take(20).collect();
    let live = containers.iter().map(|it| it.key.clone()).collect();
    for container in containers.iter().cycle() {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => { interrupted?; break }
            () = sleep(PAUSE) => {}
        }
        let report = Report { scanned_at: Timestamp::now(), ..container.clone() };
        match controller.scan(&report).await {
            Ok(put) => println!("{}: stored in the {:?} store", report.key, put.store),
            Err(error) => println!("{}: {error}; it is scanned again later", report.key),
        }
        let (known, leader) = (controller.assets.borrow().len(), controller.leader().borrow().clone());
        match controller.prune(&live).await {
            Ok(pruned) => println!("{known} assets are known, {pruned} were orphans; leader: {leader:?}"),
            Err(error) => println!("orphans are looked for later: {error}"),
        }
    }
    controller.stop().await;
    Ok(())
}
