//! Everything that `larder serve` can be told: each flag, its `LARDER_…` variable, its default, its meaning. Parsed into
//! types and checked before anything is opened, so that a mistake is reported with the flag's name.
//!
//! No flag carries a secret: keys are files.

use clap::Args;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::tls::{Clients, Grant, TlsFiles};

/// The flags of `larder serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// The data directory; created if missing
    #[arg(long, env = "LARDER_DATA", value_name = "DIR", default_value = "larder-data")]
    pub(crate) data: PathBuf,
    /// Where SQL is served, over mutual TLS [default: 0.0.0.0:4001, with --dev 127.0.0.1:4001]
    #[arg(long, env = "LARDER_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where probes and metrics are served, over plain HTTP [default: 0.0.0.0:4002, with --dev 127.0.0.1:4002]
    #[arg(long, env = "LARDER_PROBE_LISTEN", value_name = "ADDR")]
    probe_listen: Option<SocketAddr>,
    /// The server's certificate and its chain (PEM)
    #[arg(long, env = "LARDER_TLS_CERT", value_name = "FILE", required_unless_present = "dev")]
    tls_cert: Option<PathBuf>,
    /// The server's private key (PEM)
    #[arg(long, env = "LARDER_TLS_KEY", value_name = "FILE", required_unless_present = "dev")]
    tls_key: Option<PathBuf>,
    /// The CAs that clients' certificates are signed by (PEM, any number). Of several files all but the first may be missing, and may come and go
    #[arg(
        long,
        env = "LARDER_CLIENT_CA",
        value_name = "FILE",
        value_delimiter = ',',
        required_unless_present = "dev"
    )]
    client_ca: Vec<PathBuf>,
    /// A file whose first line names the revision of the certificates in /healthz [default: a digest of them]
    #[arg(long, env = "LARDER_TLS_REVISION", value_name = "FILE")]
    tls_revision: Option<PathBuf>,
    /// Give a role (reader, writer, owner, admin) to a client identity (URI or DNS name of its certificate, else its CN)
    #[arg(long = "grant", env = "LARDER_GRANT", value_name = "ROLE=IDENTITY", value_delimiter = ',')]
    pub(crate) grants: Vec<Grant>,
    /// Serve on loopback with certificates made on the spot; grants their client everything
    #[arg(long, env = "LARDER_DEV")]
    pub(crate) dev: bool,
    /// With --dev: no TLS at all; whoever reaches the loopback address may do everything
    #[arg(long, env = "LARDER_PLAIN", requires = "dev")]
    pub(crate) plain: bool,
    /// When ready, write the addresses that are listened on to this file as JSON
    #[arg(long, env = "LARDER_ANNOUNCE", value_name = "FILE")]
    pub(crate) announce: Option<PathBuf>,
    /// How long requests may go on after SIGTERM
    #[arg(long, env = "LARDER_DRAIN_TIMEOUT", value_name = "TIME", default_value = "20s")]
    pub(crate) drain_timeout: Span,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// What one caller, and all callers together, may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// How long a read may take, unless it asks for another time
    #[arg(long, env = "LARDER_READ_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub(crate) read_timeout: Span,
    /// How long a write may take, waiting included, unless it asks for another time
    #[arg(long, env = "LARDER_WRITE_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub(crate) write_timeout: Span,
    /// The longest time that a request may ask for
    #[arg(long, env = "LARDER_MAX_TIMEOUT", value_name = "TIME", default_value = "5m")]
    pub(crate) max_timeout: Span,
    /// How long an answer may wait for its reader before the read is ended
    #[arg(long, env = "LARDER_STALL_TIMEOUT", value_name = "TIME", default_value = "10s")]
    pub(crate) stall_timeout: Span,
    /// How long a request's body may take to arrive
    #[arg(long, env = "LARDER_BODY_TIMEOUT", value_name = "TIME", default_value = "30s")]
    pub(crate) body_timeout: Span,
    /// How long a connection may idle between requests
    #[arg(long, env = "LARDER_IDLE_TIMEOUT", value_name = "TIME", default_value = "90s")]
    pub(crate) idle_timeout: Span,
    /// The longest body of a request, compressed or not
    #[arg(long, env = "LARDER_MAX_BODY", value_name = "SIZE", default_value = "16MiB")]
    pub(crate) max_body: Size,
    /// All bodies that are held in memory at the same time
    #[arg(long, env = "LARDER_BODY_MEMORY", value_name = "SIZE", default_value = "64MiB")]
    pub(crate) body_memory: Size,
    /// The longest answer in a format that cannot be streamed (MessagePack)
    #[arg(long, env = "LARDER_MAX_RESULT", value_name = "SIZE", default_value = "16MiB")]
    pub(crate) max_result: Size,
    /// Connections at the same time
    #[arg(long, env = "LARDER_MAX_CONNECTIONS", value_name = "N", default_value_t = 512)]
    pub(crate) max_connections: usize,
    /// Requests a second for each identity; 0 is no limit
    #[arg(long, env = "LARDER_RATE_LIMIT", value_name = "N", default_value_t = 0)]
    pub(crate) rate_limit: u32,
}

/// How the database is kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub(crate) struct EngineArgs {
    /// What makes commits whole: wal, a write-ahead log, or rollback, a rollback journal, slower and for network file systems
    #[arg(long, env = "LARDER_JOURNAL", value_name = "KIND", default_value = "wal")]
    pub(crate) journal: JournalKind,
    /// The largest size of the database; what would go beyond gets 507
    #[arg(long, env = "LARDER_MAX_DB_SIZE", value_name = "SIZE")]
    max_db_size: Option<Size>,
    /// The longest value, row or SQL text
    #[arg(long, env = "LARDER_MAX_VALUE", value_name = "SIZE", default_value = "16MiB")]
    max_value: Size,
    /// Reads at the same time
    #[arg(long, env = "LARDER_READERS", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    readers: u16,
    /// Writes that may wait
    #[arg(long, env = "LARDER_WRITE_QUEUE", value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    write_queue: u32,
    /// The write-ahead log's limit: readers that keep it from being emptied are ended before it grows beyond
    #[arg(long, env = "LARDER_WAL_LIMIT", value_name = "SIZE", default_value = "64MiB")]
    wal_limit: Size,
    /// How long a read may hold its snapshot while the log is beyond half its limit
    #[arg(long, env = "LARDER_SNAPSHOT_GRACE", value_name = "TIME", default_value = "1s")]
    snapshot_grace: Span,
    /// All memory that SQLite may take
    #[arg(long, env = "LARDER_SQLITE_MEMORY", value_name = "SIZE", default_value = "256MiB")]
    sqlite_memory: Size,
    /// How long an idempotency key is remembered
    #[arg(long, env = "LARDER_IDEMPOTENCY_TTL", value_name = "TIME", default_value = "24h")]
    idempotency_ttl: Span,
}

/// The journals of SQLite that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum JournalKind {
    /// A write-ahead log
    Wal,
    /// A rollback journal
    Rollback,
}

/// How the log is written, to standard error.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArgs {
    /// What is logged: error, warn, info, debug, or a filter such as info,larder=debug
    #[arg(long, env = "LARDER_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// How lines are written
    #[arg(long, env = "LARDER_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// The forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl ServeArgs {
    /// Where SQL is served.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| self.any_address(4001))
    }

    /// Where probes are answered.
    pub(crate) fn probe_listen(&self) -> SocketAddr {
        self.probe_listen.unwrap_or_else(|| self.any_address(4002))
    }

    fn any_address(&self, port: u16) -> SocketAddr {
        let ip = if self.dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        SocketAddr::new(IpAddr::V4(ip), port)
    }

    /// The files of the server's TLS; `None` where `--dev` makes them.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            clients: Clients::SignedBy(self.client_ca.clone()),
            revision: self.tls_revision.clone(),
        })
    }

    /// What only shows when flags are seen together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let limits = &self.limits;
        if self.dev && !self.listen().ip().is_loopback() {
            return Err(format!("--dev serves on loopback only, --listen is {}", self.listen()));
        }
        if !self.dev && self.grants.is_empty() {
            return Err(
                "without any --grant ROLE=IDENTITY nobody may do anything: grant a role, or use --dev"
                    .to_owned(),
            );
        }
        if limits.max_body.0 > limits.body_memory.0 {
            return Err(format!(
                "--max-body {} is more than --body-memory {}",
                limits.max_body.0, limits.body_memory.0
            ));
        }
        if self.engine.wal_limit.0 < MIN_WAL_LIMIT {
            return Err(format!("--wal-limit has to be {MIN_WAL_LIMIT} bytes at least"));
        }
        for (flag, span) in
            [("--read-timeout", limits.read_timeout), ("--write-timeout", limits.write_timeout)]
        {
            if span.0 > limits.max_timeout.0 {
                return Err(format!("{flag} is longer than --max-timeout"));
            }
        }
        Ok(())
    }

    /// The engine's part.
    pub(crate) fn engine_options(&self) -> larder_engine::Options {
        let engine = &self.engine;
        let length = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
        larder_engine::Options {
            journal: match engine.journal {
                JournalKind::Wal => larder_engine::Journal::WriteAhead,
                JournalKind::Rollback => larder_engine::Journal::Rollback,
            },
            readers: engine.readers.into(),
            write_queue: engine.write_queue as usize,
            max_database_bytes: engine.max_db_size.map(|size| size.0),
            max_value_bytes: length(engine.max_value),
            max_returned_bytes: length(self.limits.max_result),
            heap_bytes: engine.sqlite_memory.0,
            wal_limit_bytes: engine.wal_limit.0,
            snapshot_grace: engine.snapshot_grace.0,
            idempotency_ttl: engine.idempotency_ttl.0,
            ..larder_engine::Options::new(&self.data)
        }
    }
}

/// Less would mean a checkpoint for every few commits.
const MIN_WAL_LIMIT: u64 = 1 << 20;

/// A number of bytes: `512`, `64KiB`, `16MiB`, `2GiB`, `1MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a size such as 512, 64KiB, 16MiB or 2GiB");
        let (number, unit) = split_unit(text);
        let unit: u64 = match unit {
            "" | "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" | "K" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            "TiB" | "T" => 1 << 40,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Size).ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    /// In the largest unit that leaves nothing over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(shift, _): &(u32, &str)| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let (shift, unit) = units.into_iter().find(fits).unwrap_or((0, ""));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// A length of time: `500ms`, `10s`, `5m`, `24h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a time such as 500ms, 10s, 5m or 24h");
        let (number, unit) = split_unit(text);
        let unit: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        let millis =
            number.checked_mul(unit).filter(|millis| (1..=MAX_MILLIS).contains(millis)).ok_or_else(bad)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// A year: what is longer is a mistake, and would overflow clocks.
const MAX_MILLIS: u64 = 366 * 86_400_000;

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_or_refused() {
        for (text, bytes) in
            [("512", 512), ("64KiB", 65536), ("16MiB", 16 << 20), ("2GiB", 2 << 30), ("1MB", 1_000_000)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for (bytes, text) in
            [(2 << 30, "2GiB"), (1500 << 20, "1500MiB"), (65536, "64KiB"), (1_000_000, "1000000")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in ["", "0", "MiB", "-1", "1.5GiB", "12 MiB", "99999999999999999999", "17179869184GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "10", "0s", "s", "-1s", "1y", "99999999999999999999h", "400d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
