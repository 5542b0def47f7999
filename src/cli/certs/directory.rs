//! The certificate directory on disk.
//!
//! ```text
//! DIR/ca.crt        the trust bundle: every CA that is trusted now
//! DIR/NAME.crt,key  a leaf and its key
//! DIR/ca/ca.crt,key the CA that signs; the directory is 0700, and no server needs it
//! DIR/ca/next.*     during a rotation: the CA to come
//! DIR/ca/old.crt    during a rotation: the CA to go
//! ```
//!
//! Every file is written beside its place, synced and renamed, so a server that follows it never reads half
//! of one. A key is replaced only by force.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use time::{Duration, OffsetDateTime};

use crate::tls::{Authority, Certificate, Leaf, Term};

pub(super) const PUBLIC: u32 = 0o644;
pub(super) const SECRET: u32 = 0o600;

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) cert: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

/// A directory of certificates with its own CA.
#[derive(Debug)]
pub(crate) struct CertificateDirectory {
    root: PathBuf,
}

impl CertificateDirectory {
    /// Makes the directory, a CA and the trust bundle.
    pub(crate) fn init(root: &Path, ca_name: &str, term: Term, force: bool) -> anyhow::Result<Self> {
        let directory = Self { root: root.to_owned() };
        let key = directory.ca_file("ca.key");
        if key.exists() && !force {
            bail!(
                "{} is there already; --force replaces the CA, `larder certs rotate` changes it safely",
                key.display()
            );
        }
        let authority = Authority::generate_valid(ca_name, term)?;
        directory.make_directories()?;
        for leftover in ["next.key", "next.crt", "old.crt"] {
            remove(&directory.ca_file(leftover))?;
        }
        write(&key, &authority.key_pem(), SECRET)?;
        write(&directory.ca_file("ca.crt"), authority.certificate_pem(), PUBLIC)?;
        write(&directory.bundle(), authority.certificate_pem(), PUBLIC)?;
        Ok(directory)
    }

    /// Opens a directory that `init` made, and ends a change of the CA that was cut short.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let directory = Self { root: root.to_owned() };
        let key = directory.ca_file("ca.key");
        ensure!(
            key.exists(),
            "{} is not there; `larder certs init {}` makes a CA",
            key.display(),
            root.display()
        );
        directory.finish_promotion()?;
        Ok(directory)
    }

    /// Opens the directory, or makes it if it is not there.
    pub(crate) fn open_or_init(root: &Path, ca_name: &str) -> anyhow::Result<Self> {
        let is_there = root.join("ca/ca.key").exists() && root.join("ca.crt").exists();
        if is_there {
            Self::open(root)
        } else {
            Self::init(root, ca_name, Term::days(crate::tls::AUTHORITY_DAYS), true)
        }
    }

    /// The trust bundle.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.root.join("ca.crt")
    }

    /// Where the pair of this name is.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        Pair { cert: self.root.join(format!("{name}.crt")), key: self.root.join(format!("{name}.key")) }
    }

    /// Issues a leaf with a new key as `name.crt` and `name.key`.
    pub(crate) fn issue(&self, name: &str, leaf: &Leaf, force: bool) -> anyhow::Result<Pair> {
        ensure!(is_file_name(name), "{name:?} cannot name a pair of files here; choose another with --file");
        let pair = self.pair(name);
        if !force && (pair.key.exists() || pair.cert.exists()) {
            bail!("{} or its certificate is there already; --force replaces both", pair.key.display());
        }
        let issued = self.authority()?.issue(leaf)?;
        write(&pair.key, &issued.key_pem, SECRET)?;
        write(&pair.cert, &issued.certificate_pem, PUBLIC)?;
        Ok(pair)
    }

    /// The pair of this name; issued if it is not there, not whole, not of the present CA, says something else, or ends
    /// within so many days.
    pub(crate) fn issue_if_needed(&self, name: &str, leaf: &Leaf, days: u32) -> anyhow::Result<Pair> {
        let pair = self.pair(name);
        let soon = OffsetDateTime::now_utc() + Duration::days(days.into());
        let ca = self.authority()?;
        let key = read(&pair.key).unwrap_or_default();
        let is_good = |held: &Certificate| {
            held.is_signed_by(ca.certificate())
                && leaf.says_the_same_as(held)
                && !held.is_expired(soon)
                && held.has_key(&key)
        };
        let held = read_certificates(&pair.cert).unwrap_or_default();
        if held.first().is_some_and(is_good) { Ok(pair) } else { self.issue(name, leaf, true) }
    }

    /// The CA that signs now.
    pub(super) fn authority(&self) -> anyhow::Result<Authority> {
        self.load("ca")
    }

    /// The CA to come, while there is one.
    pub(super) fn next(&self) -> anyhow::Result<Option<Authority>> {
        self.ca_file("next.crt").exists().then(|| self.load("next")).transpose()
    }

    /// The CA to go, while there is one.
    pub(super) fn old(&self) -> anyhow::Result<Option<Certificate>> {
        let path = self.ca_file("old.crt");
        if path.exists() { Ok(read_certificates(&path)?.into_iter().next()) } else { Ok(None) }
    }

    /// Keeps a new CA beside the one that signs. Without its certificate it does not count.
    pub(super) fn keep_next(&self, authority: &Authority) -> anyhow::Result<()> {
        write(&self.ca_file("next.key"), &authority.key_pem(), SECRET)?;
        write(&self.ca_file("next.crt"), authority.certificate_pem(), PUBLIC)
    }

    /// Lets the CA to come sign from now on. The old key is gone then: nothing needs it any more.
    pub(super) fn promote_next(&self) -> anyhow::Result<()> {
        write(&self.ca_file("old.crt"), &read(&self.ca_file("ca.crt"))?, PUBLIC)?;
        rename(&self.ca_file("next.key"), &self.ca_file("ca.key"))?;
        rename(&self.ca_file("next.crt"), &self.ca_file("ca.crt"))
    }

    /// Two renames are not one: a crash between them leaves the new key beside the old certificate.
    fn finish_promotion(&self) -> anyhow::Result<()> {
        let (cert, key) = (self.ca_file("next.crt"), self.ca_file("next.key"));
        if cert.exists() && !key.exists() { rename(&cert, &self.ca_file("ca.crt")) } else { Ok(()) }
    }

    /// Forgets the CA to go.
    pub(super) fn forget_old(&self) -> anyhow::Result<()> {
        remove(&self.ca_file("old.crt"))
    }

    /// Every CA in the trust bundle.
    pub(super) fn trusted(&self) -> anyhow::Result<Vec<Certificate>> {
        read_certificates(&self.bundle())
    }

    /// Adds a CA to the trust bundle.
    pub(super) fn trust(&self, authority: &Authority) -> anyhow::Result<()> {
        let bundle = read(&self.bundle())?;
        write(&self.bundle(), &format!("{}\n{}", bundle.trim_end(), authority.certificate_pem()), PUBLIC)
    }

    /// Takes one CA out of the trust bundle and leaves the others.
    pub(super) fn distrust(&self, old: &Certificate) -> anyhow::Result<()> {
        let kept = self.trusted()?.into_iter().filter(|ca| ca.der != old.der);
        let bundle: String = kept.map(|ca| ca.pem()).collect();
        ensure!(!bundle.is_empty(), "{} would be left empty", self.bundle().display());
        write(&self.bundle(), &bundle, PUBLIC)
    }

    /// Every leaf here, with its file.
    pub(super) fn leaves(&self) -> anyhow::Result<Vec<(PathBuf, Certificate)>> {
        let mut leaves = Vec::new();
        for path in certificate_files(&self.root)? {
            let first = read_certificates(&path)?.into_iter().next();
            leaves.extend(first.filter(|c| !c.is_ca).map(|c| (path, c)));
        }
        Ok(leaves)
    }

    fn load(&self, name: &str) -> anyhow::Result<Authority> {
        let (cert, key) = (self.ca_file(&format!("{name}.crt")), self.ca_file(&format!("{name}.key")));
        Authority::load(&read(&cert)?, &read(&key)?).with_context(|| format!("{}", cert.display()))
    }

    /// A file that belongs to the CA.
    pub(super) fn ca_file(&self, name: &str) -> PathBuf {
        self.root.join("ca").join(name)
    }

    pub(super) fn make_directories(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.root).with_context(|| format!("making {}", self.root.display()))?;
        let ca = self.root.join("ca");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&ca);
        made.and_then(|()| fs::set_permissions(&ca, Permissions::from_mode(0o700)))
            .with_context(|| format!("making {}", ca.display()))
    }
}

/// A name for files, from the name of a server or client.
pub(super) fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let mapped: String = name.replacen("*.", "wildcard.", 1).replace("://", "-").chars().map(safe).collect();
    mapped.trim_start_matches(['.', '-']).to_owned()
}

pub(super) fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "ca" && name == file_name(name) && name.len() <= 200
}

/// The certificate files of a directory, in order of name.
pub(super) fn certificate_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let is_certificate = |path: &PathBuf| path.extension().is_some_and(|e| e == "crt" || e == "pem");
    let mut files: Vec<_> = paths.into_iter().filter(|path| is_certificate(path) && path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Every certificate in a file.
pub(super) fn read_certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    Certificate::parse_pem(read(path)?.as_bytes()).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Puts a whole file in place at once, and on disk.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(dir)?.sync_all()
    };
    written().with_context(|| format!("writing {}", path.display()))
}

/// Puts a certificate in place.
pub(super) fn write_certificate(path: &Path, pem: &str) -> anyhow::Result<()> {
    write(path, pem, PUBLIC)
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    let synced = || -> std::io::Result<()> {
        fs::rename(from, to)?;
        File::open(to.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    synced().with_context(|| format!("renaming {} to {}", from.display(), to.display()))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
