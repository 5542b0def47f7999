//! Changing the CA without an outage, in three steps.
//!
//! 1. *add*: a new CA joins the trust bundle. It signs nothing yet, because nobody trusts it yet.
//! 2. *reissue*: the new CA signs, and the leaves here are signed again. Their keys stay, so a server that
//!    follows the files never sees a pair that does not match.
//! 3. *drop*: the old CA leaves the trust bundle.
//!
//! Between the steps the files have to reach every peer, which is why each step is a call of its own. Where
//! the rotation stands is read from the files; a step that is done already changes nothing, and one whose turn
//! has not come is refused.

use std::fmt::Write;

use anyhow::{bail, ensure};
use clap::ValueEnum;
use time::OffsetDateTime;

use super::directory::{CertificateDirectory, write_certificate};
use crate::tls::{Authority, Certificate, Term};

/// One step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// 1: a new CA joins the trust bundle.
    Add,
    /// 2: the new CA signs every leaf here again.
    Reissue,
    /// 3: the old CA leaves the trust bundle.
    Drop,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Add => "1, add,",
            Self::Reissue => "2, reissue,",
            Self::Drop => "3, drop,",
        })
    }
}

/// The step whose turn it is.
pub(super) fn due(directory: &CertificateDirectory) -> anyhow::Result<Step> {
    if let Some(next) = directory.next()? {
        return Ok(if is_trusted(directory, next.certificate())? { Step::Reissue } else { Step::Add });
    }
    match directory.old()? {
        Some(old) if !signed_by(directory, &old)?.is_empty() => Ok(Step::Reissue),
        Some(_) => Ok(Step::Drop),
        None => Ok(Step::Add),
    }
}

/// Does one step; gives what to tell about it and about the next.
pub(super) fn rotate(directory: &CertificateDirectory, step: Step) -> anyhow::Result<String> {
    match step {
        Step::Add => add(directory),
        Step::Reissue => reissue(directory),
        Step::Drop => drop_old(directory),
    }
}

fn add(directory: &CertificateDirectory) -> anyhow::Result<String> {
    let next = match directory.next()? {
        Some(next) => next,
        None => successor(directory)?,
    };
    let bundle = directory.bundle();
    let mut report =
        format!("Step 1 of 3: {} holds the new CA {}.\n", bundle.display(), next.certificate().subject);
    if !is_trusted(directory, next.certificate())? {
        directory.trust(&next)?;
    }
    report.push_str("Next: give this bundle to every server and client.\n");
    report.push_str("When all of them have it, rotate again.\n");
    Ok(report)
}

fn successor(directory: &CertificateDirectory) -> anyhow::Result<Authority> {
    ensure!(
        directory.old()?.is_none(),
        "the rotation before is not done: its old CA is still trusted; --step drop"
    );
    let authority = directory.authority()?;
    let ca = authority.certificate();
    let name = ca.organization.as_deref().unwrap_or("larder");
    let next = Authority::generate_valid(name, Term::as_long_as(ca))?;
    directory.keep_next(&next)?;
    Ok(next)
}

fn reissue(directory: &CertificateDirectory) -> anyhow::Result<String> {
    match directory.next()? {
        Some(next) if is_trusted(directory, next.certificate())? => directory.promote_next()?,
        Some(_) => bail!("the new CA is not in the trust bundle yet; --step add"),
        None => {}
    }
    let Some(old) = directory.old()? else { bail!("no rotation has begun; --step add") };
    let authority = directory.authority()?;
    let mut report = format!("Step 2 of 3: {} signs from now on.\n", authority.certificate().subject);
    for (path, leaf) in signed_by(directory, &old)? {
        write_certificate(&path, &authority.reissue(&leaf)?)?;
        writeln!(report, "  {} signed again; its key stays", path.display())?;
    }
    report.push_str(
        "Next: give these certificates to their owners; issue those again that are kept elsewhere.\n",
    );
    report.push_str("When no peer shows one of the old CA any more, rotate again.\n");
    Ok(report)
}

fn drop_old(directory: &CertificateDirectory) -> anyhow::Result<String> {
    ensure!(directory.next()?.is_none(), "the leaves are still of the old CA; --step reissue");
    let Some(old) = directory.old()? else {
        return Ok("Step 3 of 3: no old CA is left; nothing to do.\n".to_owned());
    };
    if let Some((path, _)) = signed_by(directory, &old)?.first() {
        bail!("{} is still of the old CA; --step reissue", path.display());
    }
    let ca = directory.authority()?;
    ensure!(is_trusted(directory, ca.certificate())?, "the CA that signs is not in the trust bundle");
    directory.distrust(&old)?;
    directory.forget_old()?;
    let bundle = directory.bundle();
    let mut report = format!("Step 3 of 3: {} no longer holds {}.\n", bundle.display(), old.subject);
    report.push_str("Next: give this bundle to every server and client; then the old CA is gone.\n");
    Ok(report)
}

fn is_trusted(directory: &CertificateDirectory, ca: &Certificate) -> anyhow::Result<bool> {
    Ok(directory.trusted()?.iter().any(|trusted| trusted.der == ca.der))
}

/// The leaves of this CA that are still of use: one that has expired is not brought back to life.
fn signed_by(
    directory: &CertificateDirectory,
    ca: &Certificate,
) -> anyhow::Result<Vec<(std::path::PathBuf, Certificate)>> {
    let now = OffsetDateTime::now_utc();
    let mut leaves = directory.leaves()?;
    leaves.retain(|(_, leaf)| leaf.is_signed_by(ca) && !leaf.is_expired(now));
    Ok(leaves)
}
