//! `larder certs`: a small CA for those who have none.
//!
//! This file is the command line and what it says to people; `directory` keeps the files, `rotation` changes
//! the CA in three safe steps, `show` tells what is in a file. No secret is ever printed.

mod cluster;
mod directory;
mod rotation;
mod secrets;
mod show;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use crate::tls::{AUTHORITY_DAYS, LEAF_DAYS, Leaf, Term};

pub(crate) use cluster::object_name;
pub(crate) use directory::CertificateDirectory;
use rotation::Step;

/// Make, issue, rotate and show certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a CA and the trust bundle
    Init {
        /// Where: DIR/ca.crt is the trust bundle, DIR/ca/ holds the CA's key
        dir: PathBuf,
        /// What the CA is called
        #[arg(long, default_value = "larder", value_name = "NAME")]
        ca_name: String,
        /// How long the CA is valid
        #[arg(long, default_value_t = AUTHORITY_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// Replace a CA that is there: nothing that it signed will be trusted any more
        #[arg(long)]
        force: bool,
    },
    /// Issue a server's or a client's certificate, with a new key
    Issue {
        /// The directory that `init` made
        dir: PathBuf,
        /// A server under these host names and addresses
        #[arg(long, num_args = 1.., value_name = "NAME", required_unless_present = "client")]
        server: Vec<String>,
        /// A client with this identity: a URI, a DNS name, or else a common name
        #[arg(long, value_name = "IDENTITY", conflicts_with = "server")]
        client: Option<String>,
        /// The files' name, without .crt and .key [default: made from the first name]
        #[arg(long, value_name = "NAME")]
        file: Option<String>,
        /// How long the certificate is valid
        #[arg(long, default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// Replace the key and certificate that are there
        #[arg(long)]
        force: bool,
    },
    /// Change the CA in three steps, one for each call; says what to do before the next
    Rotate {
        /// The directory that `init` made
        dir: PathBuf,
        /// Do this step and no other: add, reissue or drop; one that is done already changes nothing
        #[arg(long)]
        step: Option<Step>,
    },
    /// Keep a CA and its certificates in Secrets of Kubernetes: make what is missing, issue anew what ends soon, or rotate
    Secrets(secrets::Secrets),
    /// Tell what certificates a directory or a file holds; fails if one has expired
    Show {
        /// A directory or a PEM file
        path: PathBuf,
    },
}

impl CertsCommand {
    /// Runs the command; what it has to say goes to standard output.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.run_to(&mut io::stdout().lock())
    }

    fn run_to(self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Init { dir, ca_name, days, force } => init(out, &dir, &ca_name, days, force),
            Self::Issue { dir, server, client, file, days, force } => {
                let leaf = leaf(&server, client.as_deref())?.valid(Term::days(days));
                let first = client.as_deref().or_else(|| server.first().map(String::as_str));
                let file = file.unwrap_or_else(|| directory::file_name(first.unwrap_or_default()));
                issue(out, &dir, &file, &leaf, force)?;
                client.map_or(Ok(()), |identity| grant_hint(out, &identity))
            }
            Self::Rotate { dir, step } => rotate(out, &dir, step),
            Self::Secrets(command) => command.run(out),
            Self::Show { path } => show::show(out, &path),
        }
    }
}

fn init(out: &mut impl Write, dir: &Path, name: &str, days: u32, force: bool) -> anyhow::Result<()> {
    let directory = CertificateDirectory::init(dir, name, Term::days(days), force)?;
    let path = dir.display();
    writeln!(
        out,
        "Made the CA in {path}/ca (keep ca.key to yourself) and the trust bundle {}.",
        directory.bundle().display()
    )?;
    writeln!(out, "Next:")?;
    writeln!(out, "  larder certs issue {path} --server localhost 127.0.0.1")?;
    writeln!(out, "  larder certs issue {path} --client controller.reports")?;
    Ok(())
}

fn leaf(server: &[String], client: Option<&str>) -> anyhow::Result<Leaf> {
    Ok(match client {
        Some(identity) => Leaf::client(identity)?,
        None => Leaf::server(server)?,
    })
}

fn issue(out: &mut impl Write, dir: &Path, file: &str, leaf: &Leaf, force: bool) -> anyhow::Result<()> {
    let directory = CertificateDirectory::open(dir)?;
    let pair = directory.issue(file, leaf, force)?;
    writeln!(out, "Wrote {} and {}.", pair.cert.display(), pair.key.display())?;
    Ok(())
}

fn grant_hint(out: &mut impl Write, identity: &str) -> anyhow::Result<()> {
    writeln!(out, "Grant it a role where the server starts: --grant 'writer={identity}'")?;
    Ok(())
}

fn rotate(out: &mut impl Write, dir: &Path, step: Option<Step>) -> anyhow::Result<()> {
    let directory = CertificateDirectory::open(dir)?;
    let step = step.map_or_else(|| rotation::due(&directory), Ok)?;
    let report =
        rotation::rotate(&directory, step).with_context(|| format!("step {step} of the rotation"))?;
    write!(out, "{report}")?;
    Ok(())
}

#[cfg(test)]
mod tests;
