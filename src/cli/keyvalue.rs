//! Which store of keys and values a command means, as whom it speaks to it, and how reports are laid out there.
//!
//! No secret is ever an argument: tokens and passwords come from the environment or from files.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder_client::fallback::{Consul, Directory, Etcd, KeyValue, Layout, Login, Shelf, Timeouts};
use larder_client::{Credentials, Endpoint};

use super::Failure;

const CONSUL: &str = "http://127.0.0.1:8500";
const ETCD: &str = "http://127.0.0.1:2379";

/// A store, as it is typed: `consul`, `consul=URL`, `etcd`, `etcd=URL` or `directory=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Consul(Endpoint),
    Etcd(Endpoint),
    Directory(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').map_or((text, None), |(name, place)| (name, Some(place)));
        let endpoint =
            |default: &str| place.unwrap_or(default).parse::<Endpoint>().map_err(|error| error.to_string());
        match (name, place) {
            ("consul", _) => Ok(Self::Consul(endpoint(CONSUL)?)),
            ("etcd", _) => Ok(Self::Etcd(endpoint(ETCD)?)),
            ("directory", Some(path)) if !path.is_empty() => Ok(Self::Directory(path.into())),
            _ => Err("expected consul[=URL], etcd[=URL] or directory=PATH".to_owned()),
        }
    }
}

impl Source {
    /// The path of a directory that is not there, which opening it would make.
    pub(crate) fn missing(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) if !path.is_dir() => Some(path),
            _ => None,
        }
    }

    /// Fails where nothing can be read from: a mistyped path, or a volume that is not mounted, is no empty store.
    pub(crate) fn expect_there(&self) -> Result<(), Failure> {
        match self.missing() {
            Some(path) => Err(Failure::Away(format!("there is no directory {}", path.display()))),
            None => Ok(()),
        }
    }
}

/// The keys that reports stand under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutName {
    /// Those of NeuVector: `scan/data/…`, `bench/…`.
    #[default]
    Neuvector,
    /// `<prefix>/data/<key>`.
    Plain,
}

/// How a store of keys and values is spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store of keys and values")]
pub(crate) struct Access {
    /// The keys that reports stand under.
    #[arg(long, value_enum, default_value_t)]
    layout: LayoutName,
    /// The prefix of the plain layout.
    #[arg(long, value_name = "TEXT", default_value = "larder")]
    layout_prefix: String,
    /// The CA certificates that the store is checked against, PEM, if its URL is https.
    #[arg(long, env = "LARDER_STORE_CA", value_name = "FILE")]
    store_ca: Option<PathBuf>,
    /// The certificate that the store is shown, PEM.
    #[arg(long, env = "LARDER_STORE_CERT", value_name = "FILE", requires = "store_key")]
    store_cert: Option<PathBuf>,
    /// The private key of that certificate, PEM.
    #[arg(long, env = "LARDER_STORE_KEY", value_name = "FILE", requires = "store_cert")]
    store_key: Option<PathBuf>,
    /// The file with Consul's token, unless LARDER_CONSUL_TOKEN holds it.
    #[arg(long, env = "LARDER_CONSUL_TOKEN_FILE", value_name = "FILE")]
    consul_token_file: Option<PathBuf>,
    /// The user of etcd, whose password LARDER_ETCD_PASSWORD holds.
    #[arg(long, env = "LARDER_ETCD_USER", value_name = "NAME")]
    etcd_user: Option<String>,
}

impl Access {
    /// The reports in a store, of which a call takes `timeout` at most, or what is usual.
    pub(crate) fn shelf(&self, source: &Source, timeout: Option<Duration>) -> Result<Shelf, Failure> {
        Ok(Shelf::new(self.open(source, timeout)?, self.layout()))
    }

    /// The store itself, of which a call takes `timeout` at most, or what is usual. Nothing is sent yet.
    pub(crate) fn open(
        &self,
        source: &Source,
        timeout: Option<Duration>,
    ) -> Result<Arc<dyn KeyValue>, Failure> {
        let timeouts = limited(timeout);
        Ok(match source {
            Source::Consul(endpoint) => Arc::new(self.consul(endpoint)?.with_timeouts(timeouts)),
            Source::Etcd(endpoint) => {
                let etcd = Etcd::new(endpoint.clone(), self.credentials(endpoint)?)?.with_timeouts(timeouts);
                Arc::new(match self.login()? {
                    Some(login) => etcd.with_login(login),
                    None => etcd,
                })
            }
            Source::Directory(path) => Arc::new(match timeout {
                Some(timeout) => Directory::open_with_patience(path, timeout)?,
                None => Directory::open(path)?,
            }),
        })
    }

    /// The agent itself, for what only Consul has: sessions and members.
    pub(crate) fn consul(&self, endpoint: &Endpoint) -> Result<Consul, Failure> {
        let consul = Consul::new(endpoint.clone(), self.credentials(endpoint)?)?;
        match self.token()? {
            Some(token) => consul.with_token(&token).map_err(|error| Failure::Usage(error.to_string())),
            None => Ok(consul),
        }
    }

    /// Whether reports stand under NeuVector's keys.
    pub(crate) fn is_neuvector(&self) -> bool {
        self.layout == LayoutName::Neuvector
    }

    fn layout(&self) -> Layout {
        match self.layout {
            LayoutName::Neuvector => Layout::NeuVector,
            LayoutName::Plain => {
                Layout::Plain { prefix: self.layout_prefix.trim_end_matches('/').to_owned() }
            }
        }
    }

    fn credentials(&self, endpoint: &Endpoint) -> Result<Option<Credentials>, Failure> {
        if !endpoint.is_encrypted() {
            return Ok(None);
        }
        let Some(ca) = &self.store_ca else {
            return Err(Failure::Usage(format!("{endpoint} is encrypted: --store-ca is missing")));
        };
        Ok(Some(match (&self.store_cert, &self.store_key) {
            (Some(cert), Some(key)) => Credentials::from_files(ca, cert, key)?,
            _ => Credentials::trusting(ca)?,
        }))
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(token) = variable("LARDER_CONSUL_TOKEN") {
            return Ok(Some(token));
        }
        self.consul_token_file.as_deref().map(secret).transpose()
    }

    fn login(&self) -> Result<Option<Login>, Failure> {
        let Some(user) = self.etcd_user.clone() else { return Ok(None) };
        let password = variable("LARDER_ETCD_PASSWORD").ok_or_else(|| {
            Failure::Usage("--etcd-user needs the password in LARDER_ETCD_PASSWORD".to_owned())
        })?;
        Ok(Some(Login { user, password }))
    }
}

/// The usual time limits, or shorter ones.
fn limited(timeout: Option<Duration>) -> Timeouts {
    let usual = Timeouts::default();
    match timeout {
        Some(timeout) => Timeouts { connect: usual.connect.min(timeout), answer: timeout },
        None => usual,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}

fn secret(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(Failure::io(format!("reading {}", file.display())))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_as_they_are_typed() {
        let endpoint = |text: &str| text.parse::<Endpoint>().expect("a URL");
        for (text, expected) in [
            ("consul", Source::Consul(endpoint(CONSUL))),
            ("consul=http://127.0.0.1:18500", Source::Consul(endpoint("http://127.0.0.1:18500"))),
            ("etcd", Source::Etcd(endpoint(ETCD))),
            ("etcd=https://etcd:2379", Source::Etcd(endpoint("https://etcd:2379"))),
            ("directory=/var/a=b", Source::Directory("/var/a=b".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "directory", "directory=", "redis", "consul=nonsense", "consul=", "=x"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
