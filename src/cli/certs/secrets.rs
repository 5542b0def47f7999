//! `larder certs secrets`: the CA and the certificates of a cluster without cert-manager, in Secrets.
//!
//! The Secrets are laid out as a directory in a temporary place, `directory` and `rotation` do there what they do anywhere, and
//! what changed is written back: the CA first, so that no leaf is ever without the CA that signed it. A run that was cut short is
//! completed by the next, and one that finds nothing to do changes nothing. No key but those of these Secrets is read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use time::{Duration, OffsetDateTime};

use super::cluster::{ClusterArgs, Namespace, Secret, object_name};
use super::directory::{CertificateDirectory, PUBLIC, SECRET, write};
use super::rotation::{self, Step};
use crate::tls::{AUTHORITY_DAYS, Leaf, Term};

/// Where the parts of the CA are in its Secret, and in a directory. The first two make it a CA for others, too.
const CA_PARTS: [(&str, &str); 5] = [
    ("tls.crt", "ca.crt"),
    ("tls.key", "ca.key"),
    ("next.crt", "next.crt"),
    ("next.key", "next.key"),
    ("old.crt", "old.crt"),
];
const BUNDLE: &str = "ca.crt";
/// When the last step of a rotation was done, in unix seconds.
const STEPPED: &str = "rotated";

/// Keeps a CA and its certificates in Secrets.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// The Secret of the CA; its keys are for this command alone
    #[arg(long, value_name = "SECRET", default_value = "larder-ca", value_parser = object_name)]
    ca: String,
    /// A Secret to put the trust bundle in alone, as ca.crt; each certificate's Secret has it too
    #[arg(long, value_name = "SECRET", value_parser = object_name)]
    bundle: Option<String>,
    /// A server's certificate under these names, in this Secret
    #[arg(long, value_name = "SECRET=NAME,…", value_parser = server)]
    server: Vec<Wanted>,
    /// A client's certificate of this identity, in this Secret
    #[arg(long, value_name = "SECRET=IDENTITY", value_parser = client)]
    client: Vec<Wanted>,
    /// Issue anew what ends within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=300))]
    renew_within: u32,
    /// Change the CA: do the step whose turn it is, of three
    #[arg(long)]
    rotate: bool,
    /// How long after a step the next is refused, since Secrets take time to reach every pod; in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "rotate")]
    settle: u32,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// A certificate that is wanted, and the Secret that it is wanted in.
#[derive(Clone, Debug)]
struct Wanted {
    secret: String,
    leaf: Leaf,
}

fn server(text: &str) -> anyhow::Result<Wanted> {
    let (secret, names) = split(text)?;
    Ok(Wanted { secret, leaf: Leaf::server(&names.split(',').collect::<Vec<_>>())? })
}

fn client(text: &str) -> anyhow::Result<Wanted> {
    let (secret, identity) = split(text)?;
    Ok(Wanted { secret, leaf: Leaf::client(identity)? })
}

fn split(text: &str) -> anyhow::Result<(String, &str)> {
    let (secret, rest) = text.split_once('=').context("wants SECRET=NAME")?;
    Ok((object_name(secret).map_err(anyhow::Error::msg)?, rest))
}

impl Secrets {
    /// Runs the command; what was done goes to `out`.
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.keep(out))
    }

    async fn keep(self, out: &mut impl Write) -> anyhow::Result<()> {
        let wanted: Vec<Wanted> = self.server.into_iter().chain(self.client).collect();
        let namespace = self.cluster.secrets()?;
        let place = tempfile::tempdir().context("a temporary directory for the certificates")?;
        let room = Room { root: place.path().to_owned() };
        let ca = namespace.read(&self.ca).await?;
        let mut held = Vec::new();
        for it in &wanted {
            held.push(namespace.read(&it.secret).await?);
        }
        let directory = room.lay_out(&ca, &wanted, &held)?;
        let mut stepped = ca.text(STEPPED)?.map(str::to_owned);
        if self.rotate {
            let step = due(&directory, stepped.as_deref(), self.settle)?;
            write!(out, "{}", rotation::rotate(&directory, step)?)?;
            stepped = Some(OffsetDateTime::now_utc().unix_timestamp().to_string());
        }
        for it in &wanted {
            directory.issue_if_needed(&it.secret, &it.leaf, self.renew_within)?;
        }
        let ca_parts = room.ca(stepped)?;
        report(out, &self.ca, namespace.write(ca, ca_parts).await?)?;
        for (it, secret) in wanted.iter().zip(held) {
            report(out, &it.secret, namespace.write(secret, room.leaf(&it.secret)?).await?)?;
        }
        if let Some(name) = &self.bundle {
            keep_bundle(&namespace, name, &room, out).await?;
        }
        Ok(())
    }
}

async fn keep_bundle(
    namespace: &Namespace,
    name: &str,
    room: &Room,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let secret = namespace.read(name).await?;
    let data = BTreeMap::from([(BUNDLE.to_owned(), room.read(BUNDLE)?)]);
    report(out, name, namespace.write(secret, data).await?)
}

fn report(out: &mut impl Write, name: &str, changed: bool) -> anyhow::Result<()> {
    writeln!(out, "Secret {name}: {}", if changed { "written" } else { "as it was" })?;
    Ok(())
}

/// The step whose turn it is, if the one before has had time to reach everybody.
fn due(directory: &CertificateDirectory, stepped: Option<&str>, settle: u32) -> anyhow::Result<Step> {
    let step = rotation::due(directory)?;
    let last = stepped.and_then(|it| OffsetDateTime::from_unix_timestamp(it.parse().ok()?).ok());
    if let Some(last) = last {
        let left = last + Duration::seconds(settle.into()) - OffsetDateTime::now_utc();
        ensure!(
            !left.is_positive(),
            "step {step} of the rotation: the step before may not have reached every pod yet; run this again in {} s",
            left.whole_seconds() + 1
        );
    }
    Ok(step)
}

/// The temporary directory; it is gone when the command ends.
struct Room {
    root: PathBuf,
}

impl Room {
    /// Writes the Secrets into a directory of certificates; makes a new CA if there is none.
    fn lay_out(
        &self,
        ca: &Secret,
        wanted: &[Wanted],
        held: &[Secret],
    ) -> anyhow::Result<CertificateDirectory> {
        let Some(bundle) = ca.text(BUNDLE)? else {
            return CertificateDirectory::init(&self.root, "larder", Term::days(AUTHORITY_DAYS), false);
        };
        let ca_directory = self.root.join("ca");
        fs::create_dir(&ca_directory)?;
        write(&self.root.join(BUNDLE), bundle, PUBLIC)?;
        for (key, file) in CA_PARTS {
            put(&ca_directory.join(file), ca.text(key)?)?;
        }
        for (Wanted { secret: name, .. }, secret) in wanted.iter().zip(held) {
            put(&self.root.join(format!("{name}.crt")), secret.text("tls.crt")?)?;
            put(&self.root.join(format!("{name}.key")), secret.text("tls.key")?)?;
        }
        CertificateDirectory::open(&self.root)
    }

    fn read(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.root.join(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What belongs into the CA's Secret.
    fn ca(&self, stepped: Option<String>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut data = BTreeMap::from([(BUNDLE.to_owned(), self.read(BUNDLE)?)]);
        for (key, file) in CA_PARTS {
            if self.root.join("ca").join(file).exists() {
                data.insert(key.to_owned(), self.read(&format!("ca/{file}"))?);
            }
        }
        data.extend(stepped.map(|at| (STEPPED.to_owned(), at.into_bytes())));
        Ok(data)
    }

    /// What belongs into a certificate's Secret.
    fn leaf(&self, name: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        Ok(BTreeMap::from([
            (BUNDLE.to_owned(), self.read(BUNDLE)?),
            ("tls.crt".to_owned(), self.read(&format!("{name}.crt"))?),
            ("tls.key".to_owned(), self.read(&format!("{name}.key"))?),
        ]))
    }
}

fn put(path: &Path, text: Option<&str>) -> anyhow::Result<()> {
    let mode = if path.extension().is_some_and(|it| it == "key") { SECRET } else { PUBLIC };
    text.map_or(Ok(()), |text| write(path, text, mode))
}
