//! `larder certs show`: a table of what certificates say. Reads certificates only, never a key.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use comfy_table::{ContentArrangement, Table};
use time::OffsetDateTime;
use time::macros::format_description;

use super::directory::{certificate_files, read_certificates};
use crate::tls::Certificate;

const HEADER: [&str; 8] =
    ["File", "Subject", "Names", "Kind", "Not before", "Not after", "Days left", "Signed by"];

/// Writes the table; an error if there is nothing to show, or if something has expired.
pub(super) fn show(out: &mut impl Write, path: &Path) -> anyhow::Result<()> {
    let base = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let mut shown = Vec::new();
    for file in files(path)? {
        let name = file.strip_prefix(base).unwrap_or(&file).display().to_string();
        shown.extend(read_certificates(&file)?.into_iter().map(|certificate| (name.clone(), certificate)));
    }
    ensure!(!shown.is_empty(), "{} holds no certificate", path.display());
    let now = OffsetDateTime::now_utc();
    writeln!(out, "{}", table(&shown, now))?;
    match shown.iter().filter(|(_, certificate)| certificate.is_expired(now)).count() {
        0 => Ok(()),
        n => bail!("{n} of {} certificates have expired", shown.len()),
    }
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = certificate_files(path)?;
    let ca = path.join("ca");
    if ca.is_dir() {
        files.extend(certificate_files(&ca)?);
    }
    Ok(files)
}

fn table(shown: &[(String, Certificate)], now: OffsetDateTime) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(HEADER);
    for (file, certificate) in shown {
        table.add_row([
            file.clone(),
            certificate.subject.clone(),
            certificate.names.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            kind(certificate).to_owned(),
            date(certificate.not_before),
            date(certificate.not_after),
            days_left(certificate, now),
            signer(certificate, shown),
        ]);
    }
    table
}

fn kind(certificate: &Certificate) -> &'static str {
    match (certificate.is_ca, certificate.for_server, certificate.for_client) {
        (true, ..) => "CA",
        (false, true, true) => "leaf: server, client",
        (false, true, false) => "leaf: server",
        (false, false, true) => "leaf: client",
        (false, false, false) => "leaf: neither",
    }
}

fn days_left(certificate: &Certificate, now: OffsetDateTime) -> String {
    match certificate.not_after - now {
        left if left.is_negative() => "expired".to_owned(),
        left => left.whole_days().to_string(),
    }
}

/// The signer is found by its key, not its name: two CAs may share one.
fn signer(certificate: &Certificate, shown: &[(String, Certificate)]) -> String {
    if certificate.is_signed_by(certificate) {
        return "itself".to_owned();
    }
    let known = shown.iter().find(|(_, ca)| ca.is_ca && certificate.is_signed_by(ca));
    known.map_or_else(|| format!("{} (not here)", certificate.issuer), |(_, ca)| ca.subject.clone())
}

fn date(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]");
    at.format(form).unwrap_or_else(|_| at.to_string())
}
