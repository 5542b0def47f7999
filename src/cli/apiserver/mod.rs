//! `larder apiserver`: puts the API server together, serves it, and ends in order.

mod args;
mod bar;
mod dev;
mod metrics;
mod probe;
mod transfer;
mod waiting;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use larder_apiserver::auth::{Authenticator, Authorizer, Bundle, Cluster, Namespaces, Tokens, Trust};
use larder_apiserver::http::{self, ApiServer, ApiServerParts, ConnectionLimits, TlsSource};
use larder_apiserver::registry::Registry;
use larder_apiserver::results::Results;
use larder_apiserver::transfer::Direction;
use larder_apiserver::watch::Watches;
use larder_client::database::{Database, Embedded};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::progress::Above;
use super::serve::{start_log, start_log_on, write_whole};
use crate::tls::Tls;
use args::{ApiServerArgs, Authorization};
use metrics::Metrics;

/// Threads that move bytes; SQLite has threads of its own.
const MAX_IO_THREADS: usize = 4;
/// How long probes that are being answered may go on when everything else has ended.
const PROBES_END: std::time::Duration = std::time::Duration::from_secs(1);

/// The command and what goes with it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApiServerCommand {
    /// What to do
    #[arg(value_enum, value_name = "TASK", default_value = "serve")]
    task: Task,
    #[command(flatten)]
    args: ApiServerArgs,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Serve; with --register after moving objects in from etcd
    Serve,
    /// Serve, and move all objects out to etcd again, until a signal
    Evacuate,
    /// Take the registration out of the cluster, and end: what is stored stays stored
    Unregister,
}

impl ApiServerCommand {
    /// Runs until SIGTERM or SIGINT.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let args = self.args;
        args.check().map_err(|message| anyhow!(message))?;
        let bar = (self.task == Task::Evacuate).then(bar::on_terminal).flatten();
        match bar.clone().map(Above) {
            Some(above) => start_log_on(&args.log, move || above.clone())?,
            None => start_log(&args.log)?,
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_IO_THREADS);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        let ended = runtime.block_on(run(self.task, args, bar));
        runtime.shutdown_background();
        ended
    }
}

async fn run(task: Task, args: ApiServerArgs, bar: Option<ProgressBar>) -> anyhow::Result<()> {
    if task != Task::Serve && args.transfer.register.is_none() {
        return Err(anyhow!("--register is needed: it says which registration is meant"));
    }
    match task {
        Task::Serve => serve(args, Direction::In, None).await,
        Task::Evacuate => serve(args, Direction::Out, bar).await,
        Task::Unregister => {
            let registry = registry(args.resources.directory.as_deref())?;
            args.transfer.unregister(args.cluster.kubeconfig.as_deref(), &registry).await
        }
    }
}

async fn serve(args: ApiServerArgs, direction: Direction, bar: Option<ProgressBar>) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), ?args, "starting");
    let dev = if args.dev { Some(dev::Directory::prepare(&args.store.data)?) } else { None };
    let files = dev.as_ref().map(dev::Directory::tls_files).or_else(|| args.tls_files());
    let tls = Tls::load(files.ok_or_else(|| anyhow!("--tls-cert and --tls-key are needed"))?)?;
    let registry = registry(args.resources.directory.as_deref())?;
    let listener = bind("--listen", args.listen()).await?;
    let probe_listener = bind("--probe-listen", args.probe_listen()).await?;
    let (address, probe_address) = (listener.local_addr()?, probe_listener.local_addr()?);
    let (drain, draining) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let database = Kept::open(&args).await?;
    let opened = waiting::open(database.shared(), args.store.options(), probe_listener).await?;
    let Some((store, probe_listener)) = opened else { return Ok(()) };
    let callers = Callers::prepare(&args, dev.as_ref()).await?;
    let metrics = Arc::new(Metrics::new());
    let watches = Watches::new(store.clone());
    let results = Results::keep(&store);
    let counted = tokio::spawn(count(results.clone(), Arc::clone(&metrics)));
    let gate = args.transfer.gate(&watches);
    let parties = (registry.clone(), store.clone(), watches.clone(), gate.clone());
    let api = ApiServer::new(ApiServerParts {
        registry,
        watches,
        gate,
        store,
        authenticator: callers.authenticator,
        authorizer: callers.authorizer,
        namespaces: callers.namespaces,
        limits: args.limits(),
        validation: args.resources.validation(),
        telemetry: Arc::clone(&metrics) as _,
        trusted: callers.trusted,
        draining: draining.clone(),
    });
    let (told, served) = (Arc::clone(&metrics), Arc::clone(&tls));
    let probe = tokio::spawn(probe::run(probe_listener, Arc::clone(&api), told, served, ended.clone()));
    let followed = until(Arc::clone(&tls), ended);
    let limits = ConnectionLimits {
        drain: args.drain_timeout.0,
        stall: args.stall_timeout.0,
        ..ConnectionLimits::default()
    };
    let shown = Arc::clone(&tls);
    let source: TlsSource = Arc::new(move || tls.server_config());
    let server = tokio::spawn(http::run(listener, source, api, limits, draining));
    tracing::info!(%address, probe = %probe_address, seconds = started.elapsed().as_secs_f64(), "listening");
    announce(&args, dev.as_ref(), address, probe_address)?;
    let moving = args.transfer.start(args.cluster.kubeconfig.as_deref(), direction, shown, parties).await?;
    if let Some(moving) = &moving {
        metrics.follow(moving.progress.clone());
        if let Some(bar) = bar {
            tokio::spawn(bar::draw(bar, moving.progress.clone()));
        }
    }
    crate::memory::forget_start();
    wait_for_a_signal().await?;
    tracing::info!(timeout = ?args.drain_timeout.0, "stopping: no new connections, requests may end");
    if let Some(moving) = moving {
        moving.end().await;
    }
    let _ = drain.send(true);
    if !server.await.unwrap_or(false) {
        tracing::warn!("not all requests ended in time");
    }
    counted.abort();
    // Whether it has ended by itself or not, it holds the rows' task no longer.
    let _ = counted.await;
    drop(results);
    database.close().await;
    let _ = end.send(true);
    followed.await?;
    // Whoever keeps a probe's connection open does not keep the process.
    let _ = tokio::time::timeout(PROBES_END, probe).await;
    tracing::info!("stopped");
    Ok(())
}

/// Tells the metrics how far the result rows are.
async fn count(results: Results, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        ticks.tick().await;
        metrics.results(results.lag());
    }
}

fn until(tls: Arc<Tls>, mut ended: watch::Receiver<bool>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(tls.follow(async move {
        let _ = ended.wait_for(|ended| *ended).await;
    }))
}

fn registry(directory: Option<&Path>) -> anyhow::Result<Registry> {
    let mut registry = Registry::builtin();
    if let Some(directory) = directory {
        for notice in registry.add_directory(directory).context("--resources")? {
            tracing::warn!("{notice}");
        }
    }
    Ok(registry)
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}: cannot listen there"))
}

async fn wait_for_a_signal() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Where objects are kept.
enum Kept {
    Here(Arc<Embedded>),
    There(Arc<dyn Database>),
}

impl Kept {
    async fn open(args: &ApiServerArgs) -> anyhow::Result<Self> {
        if let Some(sidecar) = args.store.sidecar()? {
            return Ok(Self::There(Arc::new(sidecar)));
        }
        let data = args.store.data.clone();
        let opened = tokio::task::spawn_blocking(move || Embedded::open(data)).await?;
        Ok(Self::Here(Arc::new(opened.with_context(|| format!("--data {}", args.store.data.display()))?)))
    }

    fn shared(&self) -> Arc<dyn Database> {
        match self {
            Self::Here(embedded) => Arc::clone(embedded) as _,
            Self::There(database) => Arc::clone(database),
        }
    }

    async fn close(self) {
        if let Self::Here(embedded) = self {
            let _ = tokio::task::spawn_blocking(move || embedded.close()).await;
        }
    }
}

/// Who calls, and what they may.
struct Callers {
    authenticator: Authenticator,
    authorizer: Authorizer,
    namespaces: Option<Namespaces>,
    trusted: watch::Receiver<bool>,
}

impl Callers {
    async fn prepare(args: &ApiServerArgs, dev: Option<&dev::Directory>) -> anyhow::Result<Self> {
        let own = match dev {
            Some(dev) => Some(dev.client_ca()),
            None if args.cluster.authorization == Authorization::Authenticated => {
                args.cluster.client_ca.clone()
            }
            None => None,
        };
        match own {
            Some(file) => Self::alone(&file),
            None => Self::of_cluster(args.cluster.kubeconfig.as_deref()).await,
        }
    }

    /// Without a cluster: whoever has a certificate of this CA may do everything.
    fn alone(client_ca: &Path) -> anyhow::Result<Self> {
        let told = || format!("--client-ca {}", client_ca.display());
        let pem = std::fs::read(client_ca).with_context(told)?;
        let bundle = Bundle::from_pem(&pem, crate::tls::provider());
        let clients = Some(bundle.map_err(|error| anyhow!(error)).with_context(told)?);
        let trust = Trust { clients, front_proxy: None };
        Ok(Self {
            authenticator: Authenticator::new(Arc::new(ArcSwap::from_pointee(trust)), None),
            authorizer: Authorizer::authenticated(),
            namespaces: None,
            trusted: watch::channel(true).1,
        })
    }

    async fn of_cluster(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let cluster = Cluster::connect(kubeconfig).await.context("--kubeconfig")?;
        let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
        let (known, trusted) = watch::channel(false);
        let (following, followed) = (cluster.clone(), Arc::clone(&trust));
        tokio::spawn(async move { following.follow(followed, crate::tls::provider(), known).await });
        Ok(Self {
            authenticator: Authenticator::new(trust, Some(Tokens::new(cluster.client()))),
            authorizer: Authorizer::cluster(cluster.client()),
            namespaces: Some(Namespaces::follow(cluster.client())),
            trusted,
        })
    }
}

/// Tells scripts and people where the server is.
fn announce(
    args: &ApiServerArgs,
    dev: Option<&dev::Directory>,
    address: SocketAddr,
    probe: SocketAddr,
) -> anyhow::Result<()> {
    let (url, probe) = (format!("https://{address}"), format!("http://{probe}"));
    if let Some(dev) = dev {
        dev.write_kubeconfig(&url)?;
    }
    if let Some(file) = &args.announce {
        let text = serde_json::json!({ "url": url, "probe": probe }).to_string();
        write_whole(file, &text).with_context(|| format!("--announce {}", file.display()))?;
    }
    if let Some(dev) = dev {
        dev.greet(&probe);
    }
    Ok(())
}
