//! Which server a command speaks to, and as whom.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use larder_client::{Credentials, Endpoint, Options, Sidecar};

use super::Failure;

const DEFAULT_URL: &str = "https://127.0.0.1:4001";

/// The options that every command with a server has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connect {
    /// Where the server listens [default: https://127.0.0.1:4001].
    #[arg(long, env = "LARDER_URL", value_name = "URL")]
    url: Option<String>,
    /// The name in the server's certificate, if it is another than in the URL.
    #[arg(long, env = "LARDER_SERVER_NAME", value_name = "NAME")]
    server_name: Option<String>,
    /// The CA certificates that the server is checked against, PEM.
    #[arg(long, env = "LARDER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client's certificate chain, PEM.
    #[arg(long, env = "LARDER_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of the client's certificate, PEM.
    #[arg(long, env = "LARDER_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take all that from where `larder serve --dev` has put it [default: ./larder-data].
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "larder-data")]
    dev: Option<PathBuf>,
    /// Give up a request after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Connect {
    /// The server that is meant. Nothing is sent yet.
    pub(crate) fn sidecar(&self) -> Result<Sidecar, Failure> {
        let sidecar = match &self.dev {
            Some(directory) => self.developer(directory)?,
            None => self.named()?,
        };
        let mut options = Options::default();
        if let Some(timeout) = self.timeout {
            // The server answers its own deadline; we wait a little longer than it does.
            let patience = timeout + Duration::from_secs(1);
            let connect = options.connect.min(timeout);
            options = Options { connect, answer: patience, idle: patience, ..options };
        }
        Ok(sidecar.with_options(options))
    }

    /// How long a request may take.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// How long a request may take, for the server.
    pub(crate) fn timeout_ms(&self) -> Option<u64> {
        self.timeout.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    fn named(&self) -> Result<Sidecar, Failure> {
        let mut endpoint: Endpoint = self.url.as_deref().unwrap_or(DEFAULT_URL).parse()?;
        if let Some(name) = &self.server_name {
            endpoint = endpoint.certified_as(name)?;
        }
        if !endpoint.is_encrypted() {
            return Ok(Sidecar::plain(endpoint)?);
        }
        let (Some(ca), Some(cert), Some(key)) = (&self.ca, &self.cert, &self.key) else {
            return Err(Failure::Usage(self.what_is_missing()));
        };
        Ok(Sidecar::new(endpoint, Credentials::from_files(ca, cert, key)?)?)
    }

    fn developer(&self, directory: &Path) -> Result<Sidecar, Failure> {
        let file = directory.join("dev.url");
        let url = std::fs::read_to_string(&file).map_err(|error| {
            Failure::Usage(format!("{}: {error}; is `larder serve --dev` running here?", file.display()))
        })?;
        let endpoint: Endpoint = url.parse()?;
        if !endpoint.is_encrypted() {
            return Ok(Sidecar::plain(endpoint)?);
        }
        let certs = directory.join("certs");
        let [ca, cert, key] = ["ca.crt", "client.crt", "client.key"].map(|name| certs.join(name));
        Ok(Sidecar::new(endpoint, Credentials::from_files(ca, cert, key)?)?)
    }

    fn what_is_missing(&self) -> String {
        let given = [("--ca", &self.ca), ("--cert", &self.cert), ("--key", &self.key)];
        let missing: Vec<_> = given.iter().filter(|(_, it)| it.is_none()).map(|(name, _)| *name).collect();
        let hint = if Path::new("larder-data/dev.url").exists() {
            "; for the development server in this directory, say --dev"
        } else {
            " (or LARDER_CA, LARDER_CERT, LARDER_KEY; or --dev for a development server)"
        };
        format!("missing {}{hint}", missing.join(", "))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a positive number of seconds".to_owned()),
    }
}
