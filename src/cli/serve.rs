//! `larder serve`: opens the database, serves it, and ends in order.

use anyhow::{Context, anyhow};
use larder_engine::Engine;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::certs::CertificateDirectory;
use crate::config::{LogArgs, LogFormat, ServeArgs};
use crate::http::{self, App};
use crate::metrics::Metrics;
use crate::tls::{Clients, Grant, Grants, Leaf, Tls, TlsFiles};

/// Threads that move bytes; SQLite has threads of its own.
const MAX_IO_THREADS: usize = 4;

/// How long probes that are being answered may go on when everything else has ended.
const PROBES_END: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    args.check().map_err(|message| anyhow!(message))?;
    start_log(&args.log)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_IO_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let ended = runtime.block_on(serve(args));
    // The database is closed; what still checks an upload or sends a copy has nothing left to do.
    runtime.shutdown_background();
    ended
}

pub(super) fn start_log(args: &LogArgs) -> anyhow::Result<()> {
    start_log_on(args, std::io::stderr)
}

/// As [`start_log`], by another way to standard error.
pub(super) fn start_log_on<W>(args: &LogArgs, writer: W) -> anyhow::Result<()>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {:?}", args.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match args.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let (tls, grants) = prepare_tls(&args)?;
    let metrics = Arc::new(Metrics::new());
    let telemetry = Arc::clone(&metrics);
    let options = args.engine_options();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), sqlite = larder_engine::sqlite_version(), ?options, ?args.limits, "starting");
    let engine = tokio::task::spawn_blocking(move || Engine::open(options, telemetry)).await??;
    let engine = Arc::new(engine);
    for (part, remark) in engine.remarks() {
        tracing::warn!(part, "{remark}");
    }
    let listener = bind("--listen", args.listen()).await?;
    let probe_listener = bind("--probe-listen", args.probe_listen()).await?;
    let (address, probe_address) = (listener.local_addr()?, probe_listener.local_addr()?);
    let (drain, draining) = watch::channel(false);
    let (end, ended) = watch::channel(false);
    let app = App::new(Arc::clone(&engine), metrics, tls.clone(), args.limits.clone(), draining.clone());
    let probe = tokio::spawn(http::probe::run(probe_listener, Arc::clone(&app), ended.clone()));
    if let Some(tls) = tls {
        let mut ended = ended;
        tokio::spawn(tls.follow(async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }));
    }
    let server = tokio::spawn(http::server::run(listener, app, grants, draining, args.drain_timeout.0));
    tracing::info!(%address, probe = %probe_address, seconds = started.elapsed().as_secs_f64(), "listening");
    announce(&args, address, probe_address)?;
    crate::memory::forget_start();
    wait_for_the_end(&engine).await?;
    tracing::info!(timeout = ?args.drain_timeout.0, "stopping: no new connections, requests may end");
    let _ = drain.send(true);
    let drained = server.await.unwrap_or(false);
    if !drained {
        tracing::warn!("not all requests ended in time");
    }
    let alive = engine.is_alive();
    tokio::task::spawn_blocking(move || engine.close()).await?;
    let _ = end.send(true);
    // Whoever keeps a probe's connection open does not keep the process.
    let _ = tokio::time::timeout(PROBES_END, probe).await;
    tracing::info!("stopped");
    if alive { Ok(()) } else { Err(anyhow!("the writer ended by itself")) }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{flag} {address}: cannot listen there"))
}

/// A signal, or the writer's thread ending by itself, without which there is nothing to serve.
async fn wait_for_the_end(engine: &Engine) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = look.tick() => if !engine.is_alive() {
                tracing::error!("the writer ended by itself; stopping, so that a restart recovers");
                return Ok(());
            },
        }
    }
}

fn prepare_tls(args: &ServeArgs) -> anyhow::Result<(Option<Arc<Tls>>, Grants)> {
    let mut grants = args.grants.clone();
    if args.plain {
        tracing::warn!("--plain: whoever reaches the loopback port may do everything");
        return Ok((None, grants.into_iter().collect()));
    }
    let files = match args.tls_files() {
        Some(files) => files,
        None => {
            grants.push("admin=dev".parse::<Grant>().map_err(|error| anyhow!(error.to_string()))?);
            development_files(&args.data)?
        }
    };
    Ok((Some(Tls::load(files)?), grants.into_iter().collect()))
}

/// How long before their end `--dev` makes its certificates anew.
pub(super) const RENEW_DAYS: u32 = 30;

/// Where `--dev` keeps its certificates.
fn development_directory(data: &Path) -> PathBuf {
    data.join("certs")
}

fn development_files(data: &Path) -> anyhow::Result<TlsFiles> {
    let root = development_directory(data);
    std::fs::create_dir_all(&root).with_context(|| format!("--data: cannot create {}", root.display()))?;
    let directory = CertificateDirectory::open_or_init(&root, "larder dev")?;
    let server = directory.issue_if_needed(
        "server",
        &Leaf::server(&["localhost", "127.0.0.1", "::1"])?,
        RENEW_DAYS,
    )?;
    directory.issue_if_needed("client", &Leaf::client("dev")?, RENEW_DAYS)?;
    Ok(TlsFiles {
        cert: server.cert,
        key: server.key,
        clients: Clients::SignedBy(vec![directory.bundle()]),
        revision: None,
    })
}

/// Tells scripts and people where the server is.
fn announce(args: &ServeArgs, address: SocketAddr, probe: SocketAddr) -> anyhow::Result<()> {
    let url = format!("{}://{address}", if args.plain { "http" } else { "https" });
    let probe_url = format!("http://{probe}");
    if let Some(file) = &args.announce {
        let text = serde_json::json!({ "url": url, "probe": probe_url }).to_string();
        write_whole(file, &text).with_context(|| format!("--announce {}", file.display()))?;
    }
    if args.dev {
        write_whole(&args.data.join("dev.url"), &url)?;
        write_whole(&args.data.join("probe.url"), &probe_url)?;
        greet(args, &url, &probe_url);
    }
    Ok(())
}

/// A reader sees the old text or the new one, never half of it.
pub(super) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "this is for the person at the terminal")]
fn greet(args: &ServeArgs, url: &str, probe: &str) {
    let certs = development_directory(&args.data);
    let certs = certs.canonicalize().unwrap_or(certs);
    let credentials = if args.plain {
        String::new()
    } else {
        let [ca, cert, key] =
            ["ca.crt", "client.crt", "client.key"].map(|name| certs.join(name).display().to_string());
        format!(" --cacert {} --cert {} --key {}", quote(&ca), quote(&cert), quote(&key))
    };
    println!("larder {} is ready. Try:", env!("CARGO_PKG_VERSION"));
    println!();
    println!("  curl{credentials} {url}/execute -d 'CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)'");
    println!("  curl{credentials} {url}/execute -d '[[\"INSERT INTO t (name) VALUES (?)\", \"larder\"]]'");
    println!("  curl{credentials} {url}/query -d 'SELECT * FROM t'");
    println!();
    println!("Probes and metrics: {probe}/readyz {probe}/metrics");
}

/// For a shell.
pub(super) fn quote(path: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
    if path.chars().all(is_plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
