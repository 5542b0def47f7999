//! A report, as a controller gives and gets it.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Finding, ReportKey};

/// What a scan said of one asset. The payload comes back bit for bit; findings and checks are what questions can be asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Its name.
    pub key: ReportKey,
    /// When the scan was made. Of two reports under one key, the one scanned later is kept.
    pub scanned_at: Timestamp,
    /// The version of the scanner or of its database, as it calls itself.
    pub scanner_version: String,
    /// What the payload is.
    pub encoding: Encoding,
    /// The report itself, up to 64 MiB.
    pub payload: Bytes,
    /// What the asset is called and where it runs, for questions that ask by it. What is empty here, a database fills with what the payload says of
    /// it, if it reads that for findings; so it does with the version of the scanner.
    pub asset: Asset,
    /// What was found, if the writer gives it: it comes back, sorted and with scores to a tenth. `None` if it is to be read from the payload, where that is JSON;
    /// then questions are answered from what is read, and a report that is fetched has `None` too.
    pub findings: Option<Vec<Finding>>,
    /// The checks of a benchmark; `None` if they are to be read from the payload, where that is JSON.
    pub checks: Option<Vec<Check>>,
}

impl Report {
    /// Whether its writer gave findings or checks, so that none are read from the payload.
    pub(crate) fn is_given(&self) -> bool {
        self.findings.is_some() || self.checks.is_some()
    }
}

/// What a payload is. The store does not look into it, except for findings in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Nothing is known of it.
    #[default]
    Opaque,
    /// Plain JSON.
    Json,
    /// JSON, compressed as gzip.
    GzipJson,
    /// JSON, compressed as zstd.
    ZstdJson,
    /// Go's gob, compressed as gzip.
    GzipGob,
}

/// The asset that a report speaks of, as its owner knows it. Everything may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asset {
    /// Its name, as people say it.
    pub name: String,
    /// The namespace (domain) that it runs in.
    pub namespace: String,
    /// The service or deployment that it belongs to.
    pub service: String,
    /// The image that it runs, or is.
    pub image: String,
    /// The operating system at its base, as `ubuntu:22.04`.
    pub os: String,
    /// The node that it runs on, or is.
    pub node: String,
    /// The repository of an image.
    pub repository: String,
    /// The tag of an image.
    pub tag: String,
}

impl Asset {
    /// The same, with what is empty taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let or = |one: String, other: String| if one.is_empty() { other } else { one };
        Self {
            name: or(self.name, other.name),
            namespace: or(self.namespace, other.namespace),
            service: or(self.service, other.service),
            image: or(self.image, other.image),
            os: or(self.os, other.os),
            node: or(self.node, other.node),
            repository: or(self.repository, other.repository),
            tag: or(self.tag, other.tag),
        }
    }
}

/// One check of a benchmark, such as a CIS benchmark of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// The number of the test, as `1.2.3`.
    pub test_number: String,
    /// `PASS`, `INFO`, `WARN`, `MANUAL`, `HIGH`, `NOTE` or `ERROR`.
    pub level: String,
    /// What is tested.
    pub header: String,
    /// What was seen.
    pub message: Vec<String>,
    /// What to do.
    pub remediation: String,
    /// The profile that the test belongs to.
    pub profile: String,
    /// Whether it counts.
    pub scored: bool,
    /// Whether a machine did it.
    pub automated: bool,
}
