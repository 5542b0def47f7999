//! `larder manifests`: prints what `kubectl apply -k statefulset/overlays/…` applies, for those who have the binary and not the
//! repository.
//!
//! The objects are those that kustomize renders, built into the binary, and never written a second time here: flags change some
//! of their fields. Without flags not a byte differs. Nothing is sent anywhere.

mod edit;
mod quantity;

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Failure;
use super::certs::object_name;
use crate::config::Size;
use crate::tls::Grant;
use edit::Edits;
use quantity::Quantity;

/// Prints the objects of a cluster.
#[derive(Debug, Args)]
pub(crate) struct Manifests {
    /// Whose certificates, and under whose names
    #[arg(value_enum, default_value = "self-signed")]
    overlay: Overlay,
    /// The namespace [default: larder; with neuvector, neuvector]
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    namespace: Option<String>,
    /// The storage class of the volumes [default: the cluster's own default]
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    storage_class: Option<String>,
    /// The size of the database's volume, such as 10Gi; the database's quota becomes two fifths of it
    #[arg(long, value_name = "SIZE")]
    size: Option<Quantity>,
    /// The database's quota, such as 4GiB
    #[arg(long, value_name = "SIZE")]
    max_db_size: Option<Size>,
    /// The image
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    image: Option<String>,
    /// The Secret of the registry that the image is pulled from
    #[arg(long, value_name = "SECRET", value_parser = object_name)]
    pull_secret: Option<String>,
    /// With cert-manager: an issuer that is there already, instead of a CA of Larder's own
    #[arg(long, value_name = "[Issuer/|ClusterIssuer/]NAME", value_parser = issuer)]
    issuer: Option<Issuer>,
    /// Grant these roles instead of those that the overlay grants
    #[arg(long = "grant", value_name = "ROLE=IDENTITY")]
    grants: Vec<GrantText>,
    /// Add ServiceMonitor, alerts and dashboard; needs the Prometheus operator
    #[arg(long)]
    monitoring: bool,
    /// Add a nightly backup to a volume of its own
    #[arg(long)]
    backup: bool,
}

/// The overlays of `statefulset/overlays`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Overlay {
    /// Jobs make a CA and keep the certificates
    SelfSigned,
    /// cert-manager issues the certificates
    CertManager,
    /// A NeuVector installation's names, namespace and certificate
    Neuvector,
    /// As self-signed, and the Kubernetes API server that keeps reports in the database
    Apiserver,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug)]
struct Issuer {
    kind: &'static str,
    name: String,
}

/// A grant that was understood, as it was written.
#[derive(Clone, Debug)]
struct GrantText(String);

impl std::str::FromStr for GrantText {
    type Err = <Grant as std::str::FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Grant>().map(|_| Self(text.to_owned()))
    }
}

impl Overlay {
    fn rendered(self) -> &'static str {
        match self {
            Self::SelfSigned => include_str!("../../../statefulset/rendered/self-signed.yaml"),
            Self::CertManager => include_str!("../../../statefulset/rendered/cert-manager.yaml"),
            Self::Neuvector => include_str!("../../../statefulset/rendered/neuvector.yaml"),
            Self::Apiserver => include_str!("../../../statefulset/rendered/apiserver.yaml"),
        }
    }

    fn monitoring(self) -> &'static str {
        match self {
            Self::Neuvector => include_str!("../../../statefulset/rendered/neuvector-monitoring.yaml"),
            _ => include_str!("../../../statefulset/rendered/monitoring.yaml"),
        }
    }

    fn backup(self) -> &'static str {
        match self {
            Self::Neuvector => include_str!("../../../statefulset/rendered/neuvector-backup.yaml"),
            _ => include_str!("../../../statefulset/rendered/backup.yaml"),
        }
    }
}

impl Manifests {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let text = self.text()?;
        std::io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::io("writing"))
    }

    fn text(self) -> Result<String, Failure> {
        if self.issuer.is_some() && self.overlay != Overlay::CertManager {
            return Err(Failure::Usage("--issuer goes with cert-manager".to_owned()));
        }
        let parts = [
            Some(self.overlay.rendered()),
            self.monitoring.then(|| self.overlay.monitoring()),
            self.backup.then(|| self.overlay.backup()),
        ];
        let source = parts.into_iter().flatten().collect::<Vec<_>>().join("---\n");
        let edits = self.edits();
        if edits.is_empty() { Ok(source) } else { Ok(edited(&source, &edits)?) }
    }

    fn edits(self) -> Edits {
        let fifths = |it: Quantity| Size(((it.bytes() >> 20) * 2 / 5) << 20);
        Edits {
            namespace: self.namespace,
            storage_class: self.storage_class,
            max_db_size: self.max_db_size.or(self.size.clone().map(fifths)),
            size: self.size,
            image: self.image,
            pull_secret: self.pull_secret,
            issuer: self.issuer.map(|it| (it.kind, it.name)),
            grants: self.grants.into_iter().map(|it| it.0).collect(),
        }
    }
}

fn edited(source: &str, edits: &Edits) -> anyhow::Result<String> {
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(source).context("the manifests that were built in")?;
    edits.apply(&mut objects);
    serde_saphyr::to_string_multiple(&objects).context("writing the manifests")
}

fn issuer(text: &str) -> Result<Issuer, String> {
    let (kind, name) = match text.split_once('/') {
        None | Some(("Issuer", _)) => ("Issuer", text.trim_start_matches("Issuer/")),
        Some(("ClusterIssuer", name)) => ("ClusterIssuer", name),
        Some((kind, _)) => return Err(format!("{kind:?} is neither Issuer nor ClusterIssuer")),
    };
    Ok(Issuer { kind, name: object_name(name)? })
}

fn image(text: &str) -> Result<String, String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-/:@".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("no image's name".to_owned())
    }
}
