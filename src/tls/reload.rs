//! The TLS configuration in use, and following its files while the server runs.
//!
//! New handshakes take the configuration of the moment; open connections keep the one they were made with.
//! What cannot be used is refused and the last good set stays. A refusal waits for the bad contents to be
//! seen twice, so that a pair of files caught between its two writes raises no false alarm. Contents that
//! were refused are tried again on every look: a certificate that is not valid yet will be.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use time::OffsetDateTime;
use tokio::time::MissedTickBehavior;

use super::contents::{Contents, Fingerprint, TlsFiles, fingerprint};
use super::convincing;
use super::error::TlsError;
use super::material::Material;

/// How often the files are looked at. Twice this is well within the promised ten seconds.
const EVERY: Duration = Duration::from_secs(2);

/// The server's TLS, as it is now.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Material>,
    reloaded: AtomicU64,
    refused: AtomicU64,
    last_error: ArcSwapOption<String>,
}

/// What there is to tell about the server's TLS at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSnapshot {
    /// When the server's certificate ends, in unix seconds.
    pub(crate) leaf_not_after: i64,
    /// How many CAs are trusted.
    pub(crate) ca_count: usize,
    /// When the first of them ends, in unix seconds; `None` where there are none.
    pub(crate) ca_not_after: Option<i64>,
    /// Names the certificates in use.
    pub(crate) revision: String,
    /// How many sets of files were taken since the start.
    pub(crate) reloaded: u64,
    /// How many sets of files were refused since the start.
    pub(crate) refused: u64,
    /// Why the files that are there now are not in use; `None` when they are.
    pub(crate) last_error: Option<String>,
    /// What is most likely a mistake in the files in use.
    pub(crate) doubt: Option<String>,
}

impl Tls {
    /// Reads the files and builds the first configuration.
    pub(crate) fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(&files)?;
        let material = Material::build(&files, &contents, OffsetDateTime::now_utc())?;
        material.warn();
        Ok(Arc::new(Self {
            files,
            current: ArcSwap::from_pointee(material),
            reloaded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_error: ArcSwapOption::empty(),
        }))
    }

    /// The configuration for the next handshake.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load().config.clone()
    }

    /// Whether a client that trusts these CAs (PEM) and calls this server by that name would believe it; the error says why not.
    pub(crate) fn convinces(&self, authorities: &str, name: &str) -> Result<(), String> {
        convincing::check(&self.current.load().chain, authorities, name)
    }

    /// Facts for metrics, status and health.
    pub(crate) fn snapshot(&self) -> TlsSnapshot {
        let current = self.current.load();
        TlsSnapshot {
            leaf_not_after: current.leaf_not_after.unix_timestamp(),
            ca_count: current.ca_count,
            ca_not_after: current.ca_not_after.map(OffsetDateTime::unix_timestamp),
            revision: current.revision.clone(),
            reloaded: self.reloaded.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            last_error: self.last_error.load().as_deref().cloned(),
            doubt: current.doubt.clone(),
        }
    }

    /// Follows the files until `shutdown` is done.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follower = Follower::default();
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                _ = ticks.tick() => {}
            }
            let tls = self.clone();
            // A volume may hang, so the files are not read on a thread that serves connections.
            let look = tokio::task::spawn_blocking(move || {
                follower.look(&tls);
                follower
            });
            follower = look.await.unwrap_or_else(|error| {
                tracing::error!(%error, "looking at the TLS files failed");
                Follower::default()
            });
        }
    }

    fn take(&self, material: Material) {
        tracing::info!(
            revision = %material.revision,
            leaf_not_after = %material.leaf_not_after,
            authorities = material.ca_count,
            "TLS files reloaded"
        );
        material.warn();
        self.current.store(Arc::new(material));
        self.reloaded.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(None);
    }

    fn refuse(&self, error: &TlsError) {
        tracing::error!(%error, "TLS files refused; the last good ones stay in use");
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(Some(Arc::new(error.to_string())));
    }
}

/// What the last looks at the files have shown.
#[derive(Default)]
pub(super) struct Follower {
    /// Bad contents that were seen once.
    suspect: Option<Fingerprint>,
    /// Bad contents that were refused and reported.
    refused: Option<Fingerprint>,
}

impl Follower {
    /// Looks at the files once and takes what is new and good.
    pub(super) fn look(&mut self, tls: &Tls) {
        let read = Contents::read(&tls.files);
        let seen = read.as_ref().map_or_else(failure, Contents::fingerprint);
        if seen == tls.current.load().fingerprint {
            return self.settle(tls);
        }
        let now = OffsetDateTime::now_utc();
        match read.and_then(|contents| Material::build(&tls.files, &contents, now)) {
            Ok(material) => {
                tls.take(material);
                *self = Self::default();
            }
            Err(error) => self.doubt(tls, seen, &error),
        }
    }

    /// The files are those in use.
    fn settle(&mut self, tls: &Tls) {
        if self.refused.is_some() {
            tracing::info!("the TLS files are again those in use");
            tls.last_error.store(None);
        }
        *self = Self::default();
    }

    fn doubt(&mut self, tls: &Tls, seen: Fingerprint, error: &TlsError) {
        if self.suspect != Some(seen) {
            self.suspect = Some(seen);
        } else if self.refused != Some(seen) {
            self.refused = Some(seen);
            tls.refuse(error);
        }
    }
}

/// Files that cannot be read are told apart by the reason.
fn failure(error: &TlsError) -> Fingerprint {
    fingerprint([error.to_string().as_bytes()])
}

#[cfg(test)]
mod tests;
