//! `larder certs` on directories of its own: what is made, what is refused, each step of a rotation.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use tempfile::TempDir;

use super::*;
use crate::tls::{Authority, Certificate};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: CertsCommand,
}

/// A directory, and the command line run on it.
struct Room {
    dir: TempDir,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: tempfile::tempdir().unwrap() };
        room.run("init DIR --ca-name reports").unwrap();
        room
    }

    fn run(&self, line: &str) -> anyhow::Result<String> {
        let dir = self.dir.path().to_str().unwrap();
        let words = line.split(' ').map(|word| word.replace("DIR", dir));
        let parsed = Line::try_parse_from(std::iter::once("certs".to_owned()).chain(words))?;
        let mut out = Vec::new();
        parsed.command.run_to(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn error(&self, line: &str) -> String {
        format!("{:#}", self.run(line).unwrap_err())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn certificates(&self, name: &str) -> Vec<Certificate> {
        Certificate::parse_pem(self.read(name).as_bytes()).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }
}

#[test]
fn keys_are_for_their_owner_alone() {
    let room = Room::new();
    room.run("issue DIR --server localhost 127.0.0.1").unwrap();
    assert_eq!(room.mode("ca"), 0o700);
    assert_eq!(room.mode("ca/ca.key"), 0o600);
    assert_eq!(room.mode("localhost.key"), 0o600);
    assert_eq!(room.read("ca.crt"), room.read("ca/ca.crt"));
}

#[test]
fn no_secret_is_printed() {
    let room = Room { dir: tempfile::tempdir().unwrap() };
    let lines =
        ["init DIR", "issue DIR --client alice", "rotate DIR", "rotate DIR", "rotate DIR", "show DIR"];
    for line in lines {
        let said = room.run(line).unwrap();
        assert!(!said.contains("PRIVATE") && !said.contains("MIG"), "{said}");
    }
}

#[test]
fn nothing_is_replaced_without_force() {
    let room = Room::new();
    room.run("issue DIR --client alice").unwrap();
    let (ca, key) = (room.read("ca/ca.key"), room.read("alice.key"));
    assert!(room.error("init DIR").contains("--force"));
    assert!(room.error("issue DIR --client alice").contains("--force"));
    assert_eq!((room.read("ca/ca.key"), room.read("alice.key")), (ca, key.clone()));
    room.run("issue DIR --client alice --force").unwrap();
    assert_ne!(room.read("alice.key"), key);
}

#[test]
fn files_are_named_after_whom_they_are_for() {
    let room = Room::new();
    let cases = [
        ("--client spiffe://cluster.local/ns/a/sa/b", "spiffe-cluster.local-ns-a-sa-b"),
        ("--server *.reports.svc larder", "wildcard.reports.svc"),
        ("--client bob --file robert", "robert"),
    ];
    for (whom, name) in cases {
        room.run(&format!("issue DIR {whom}")).unwrap();
        assert_eq!(room.certificates(&format!("{name}.crt")).len(), 1);
    }
    for whom in ["--client ca", "--client bob --file ../bob", "--client bob --file ca"] {
        assert!(room.error(&format!("issue DIR {whom}")).contains("--file"), "{whom}");
    }
}

#[test]
fn a_directory_without_a_ca_says_how_to_make_one() {
    let room = Room { dir: tempfile::tempdir().unwrap() };
    assert!(room.error("issue DIR --client alice").contains("larder certs init"));
    assert!(room.error("rotate DIR").contains("larder certs init"));
}

#[test]
fn a_rotation_goes_in_three_steps() {
    let room = Room::new();
    room.run("issue DIR --client alice").unwrap();
    let (old, key) = (room.certificates("ca.crt").remove(0), room.read("alice.key"));

    assert!(room.run("rotate DIR").unwrap().starts_with("Step 1 of 3"));
    let both = room.certificates("ca.crt");
    assert_eq!((both.len(), &both[0].der), (2, &old.der));
    assert!(room.certificates("alice.crt")[0].is_signed_by(&old));
    room.run("issue DIR --client between").unwrap();
    assert!(room.certificates("between.crt")[0].is_signed_by(&old), "peers may not know the new CA yet");

    assert!(room.run("rotate DIR").unwrap().starts_with("Step 2 of 3"));
    assert!(room.certificates("alice.crt")[0].is_signed_by(&both[1]));
    assert!(room.certificates("between.crt")[0].is_signed_by(&both[1]));
    assert_eq!(room.read("alice.key"), key);
    assert_eq!(room.certificates("ca.crt").len(), 2);

    assert!(room.run("rotate DIR").unwrap().starts_with("Step 3 of 3"));
    let last = room.certificates("ca.crt");
    assert_eq!((last.len(), &last[0].der), (1, &both[1].der));
    assert!(!room.path("ca/old.crt").exists() && !room.path("ca/next.key").exists());
    assert_eq!(room.mode("ca/ca.key"), 0o600);
}

#[test]
fn a_named_step_that_is_done_changes_nothing_and_one_too_early_is_refused() {
    let room = Room::new();
    room.run("issue DIR --client alice").unwrap();
    assert!(room.error("rotate DIR --step reissue").contains("--step add"));
    let files = || ["ca.crt", "alice.crt", "ca/ca.key"].map(|name| room.read(name));
    for (step, out_of_turn) in [("add", "drop"), ("reissue", "add"), ("drop", "reissue")] {
        room.run(&format!("rotate DIR --step {step}")).unwrap();
        let done = files();
        room.run(&format!("rotate DIR --step {step}")).unwrap();
        assert!(room.error(&format!("rotate DIR --step {out_of_turn}")).contains("--step"), "{out_of_turn}");
        assert_eq!(files(), done, "{step}");
    }
}

#[test]
fn a_rotation_cut_short_goes_on_where_it_was() {
    let room = Room::new();
    room.run("issue DIR --client alice").unwrap();
    let bundle = room.read("ca.crt");
    room.run("rotate DIR").unwrap();

    // The bundle was not written any more.
    fs::write(room.path("ca.crt"), &bundle).unwrap();
    assert!(room.error("rotate DIR --step reissue").contains("--step add"));
    assert!(room.run("rotate DIR").unwrap().starts_with("Step 1 of 3"));
    assert_eq!(room.certificates("ca.crt").len(), 2);

    // Of the two renames only the first was done.
    fs::copy(room.path("ca/ca.crt"), room.path("ca/old.crt")).unwrap();
    fs::rename(room.path("ca/next.key"), room.path("ca/ca.key")).unwrap();
    assert!(room.run("rotate DIR").unwrap().starts_with("Step 2 of 3"));
    let new = room.certificates("ca/ca.crt").remove(0);
    assert!(room.certificates("alice.crt")[0].is_signed_by(&new));
    assert!(room.run("rotate DIR").unwrap().starts_with("Step 3 of 3"));
    assert_eq!(room.certificates("ca.crt")[0].der, new.der);
}

#[test]
fn a_rotation_leaves_strangers_and_the_expired_alone() {
    let room = Room::new();
    let stranger = Authority::generate("stranger").unwrap();
    fs::write(room.path("ca.crt"), format!("{}{}", room.read("ca.crt"), stranger.certificate_pem())).unwrap();
    let theirs = stranger.issue_client("bob").unwrap().certificate_pem;
    fs::write(room.path("bob.crt"), &theirs).unwrap();
    let ca = Authority::load(&room.read("ca/ca.crt"), &room.read("ca/ca.key")).unwrap();
    let late = ca.issue(&Leaf::client("late").unwrap().valid(crate::tls::testing::term(-9, -1))).unwrap();
    fs::write(room.path("late.crt"), &late.certificate_pem).unwrap();

    for _ in 0..3 {
        room.run("rotate DIR").unwrap();
    }
    assert_eq!(room.read("bob.crt"), theirs);
    assert_eq!(room.read("late.crt"), late.certificate_pem);
    let trusted = room.certificates("ca.crt");
    assert_eq!(trusted.len(), 2);
    assert!(trusted.iter().any(|ca| ca.der == stranger.certificate().der));
}

#[test]
fn show_tells_what_is_there_and_fails_if_something_has_expired() {
    let room = Room::new();
    room.run("issue DIR --client spiffe://x/alice").unwrap();
    let shown = room.run("show DIR").unwrap();
    for word in ["ca.crt", "ca/ca.crt", "spiffe://x/alice", "leaf: client", "itself", "364"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    let alone = room.run("show DIR/spiffe-x-alice.crt").unwrap();
    assert!(alone.contains("(not here)"), "{alone}");

    let late = Authority::generate_valid("late", crate::tls::testing::term(-9, -1)).unwrap();
    fs::write(room.path("late.pem"), late.certificate_pem()).unwrap();
    assert!(room.error("show DIR").contains("1 of 4"));
}

#[test]
fn certificates_that_are_still_good_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let made = CertificateDirectory::open_or_init(dir.path(), "dev").unwrap();
    let leaf = Leaf::client("dev").unwrap();
    let pair = made.issue_if_needed("client", &leaf, 30).unwrap();
    let first = fs::read_to_string(&pair.cert).unwrap();

    let again = CertificateDirectory::open_or_init(dir.path(), "dev").unwrap();
    again.issue_if_needed("client", &leaf, 30).unwrap();
    assert_eq!(fs::read_to_string(&pair.cert).unwrap(), first);

    let short = leaf.clone().valid(Term::days(3));
    again.issue("client", &short, true).unwrap();
    again.issue_if_needed("client", &leaf, 30).unwrap();
    assert!(read_days(&pair.cert) > 300);
}

#[test]
fn a_key_that_lost_its_certificate_is_issued_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = CertificateDirectory::open_or_init(dir.path(), "dev").unwrap();
    let leaf = Leaf::client("dev").unwrap();
    let pair = made.issue_if_needed("client", &leaf, 30).unwrap();
    let other = made.issue("other", &leaf, false).unwrap();
    fs::copy(&other.key, &pair.key).unwrap();
    made.issue_if_needed("client", &leaf, 30).unwrap();
    let certificate = directory::read_certificates(&pair.cert).unwrap().remove(0);
    assert!(certificate.has_key(&fs::read_to_string(&pair.key).unwrap()));
}

fn read_days(path: &Path) -> i64 {
    let certificate = directory::read_certificates(path).unwrap().remove(0);
    (certificate.not_after - certificate.not_before).whole_days()
}
