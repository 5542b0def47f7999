//! The pod without a cluster: the image's last stage laid out as a file tree, and the real binary run in it by bubblewrap as the manifest
//! has it. Its user, no capabilities, a root that cannot be written to, only the manifest's mounts, its arguments, a network of its
//! own with its ports, and as process 1. Secrets are laid out as kubelets do it, and asked is what kubelets ask.

use http::StatusCode;
use larder_harness::{Authority, Daemon, Pair, Skip, need, prepared};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::image::{Stage, needed};
use crate::objects::{manifests, printed};
use crate::pod::Pod;

/// A node with one pod's volumes on it.
pub(crate) struct Node {
    home: TempDir,
    pub(crate) pod: Pod,
    bwrap: PathBuf,
    user: (u32, u32),
    is_root: bool,
    pub(crate) authority: Authority,
    pub(crate) data: Data,
}

/// What is mounted for the database.
pub(crate) enum Data {
    /// A volume.
    Volume,
    /// Nothing; nor is there a place to mount to.
    Nothing,
    /// A volume of so many bytes.
    Small(u64),
}

/// A pod that runs.
pub(crate) struct Container {
    pub(crate) daemon: Daemon,
    /// The server, seen from outside of its namespaces.
    pid: u32,
    started: Instant,
}

impl Node {
    /// Lays out tree and volumes for a pod of this overlay.
    pub(crate) fn with(overlay: &str) -> Result<Self, Skip> {
        let (bwrap, stage) = (prepared("bwrap")?, Stage::last());
        let node = Self {
            home: tempfile::tempdir().unwrap(),
            pod: Pod::of(&manifests(&[overlay])),
            bwrap,
            user: stage.user(),
            is_root: fs::metadata("/proc/self").unwrap().uid() == 0,
            authority: Authority::new("larder"),
            data: Data::Volume,
        };
        fs::set_permissions(node.home.path(), Permissions::from_mode(0o755)).unwrap();
        node.lay_out_image(&stage);
        for (volume, _, is_writable) in node.pod.mounts() {
            fs::create_dir(node.volume(volume)).unwrap();
            if is_writable {
                node.give(&node.volume(volume), 0o2775);
            }
        }
        let server = node.authority.server(&node.path("made"), "server");
        node.write_secret("tls", &server, &node.authority.pem());
        Ok(node)
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Where the contents of a volume are.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.path("volumes").join(name)
    }

    /// Owner root, group of the pod: what `fsGroup` makes of a volume, and `defaultMode` of a Secret.
    pub(crate) fn give(&self, path: &Path, mode: u32) {
        if self.is_root {
            chown(path, Some(0), Some(self.user.1)).unwrap();
        }
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// The binary where the Dockerfile puts it, what it links, and the places that a kubelet mounts to.
    fn lay_out_image(&self, stage: &Stage) {
        let root = self.path("image");
        let built = Path::new(env!("CARGO_BIN_EXE_larder"));
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap());
        let put = |from: &Path, at: &Path| {
            let to = inside(at);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
        };
        put(built, &stage.binary());
        let found = printed(Command::new("ldd").arg(built));
        let paths = found.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
        let libraries: Vec<_> = paths.collect();
        for library in needed(built) {
            let path = libraries.iter().find(|path| path.ends_with(&library));
            let path = path.unwrap_or_else(|| panic!("{library} is not in {found}"));
            put(path, path);
        }
        for (_, path, _) in self.pod.mounts() {
            fs::create_dir_all(inside(Path::new(path))).unwrap();
        }
        for directory in ["/proc", "/dev", "/etc"] {
            fs::create_dir_all(inside(Path::new(directory))).unwrap();
        }
    }

    /// A Secret's volume, changed as kubelets change it: a new directory, and one rename of a link to it.
    pub(crate) fn write_secret(&self, volume: &str, pair: &Pair, ca: &str) {
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        self.write_files(
            volume,
            &[("tls.crt", &text(&pair.cert)), ("tls.key", &text(&pair.key)), ("ca.crt", ca)],
        );
    }

    pub(crate) fn write_files(&self, volume: &str, files: &[(&str, &str)]) {
        let volume = self.volume(volume);
        let stamp = format!("..{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let fresh = volume.join(&stamp);
        fs::create_dir(&fresh).unwrap();
        for (name, text) in files {
            fs::write(fresh.join(name), text).unwrap();
            self.give(&fresh.join(name), 0o440);
            if fs::symlink_metadata(volume.join(name)).is_err() {
                symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
            }
        }
        symlink(&stamp, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    /// A client's certificate of this identity.
    pub(crate) fn client(&self, identity: &str) -> Pair {
        self.authority.client(identity, &self.path("made"), identity)
    }

    /// Files of the test's own.
    pub(crate) fn made(&self) -> PathBuf {
        self.path("made")
    }

    /// The command that runs the container, and the file in which it tells the server's process.
    fn command(&self) -> (Command, PathBuf) {
        let told = self.path("made").join("bwrap.json");
        let _ = fs::remove_file(&told);
        let (user, group) = (self.user.0.to_string(), self.user.1.to_string());
        let mut command = Command::new("sh");
        // bubblewrap tells on a descriptor, which a shell can open.
        command.args(["-c", "exec 9>\"$1\"; shift; exec \"$@\"", "sh"]).arg(&told);
        if self.is_root {
            command.args(["setpriv", "--reuid", &user, "--regid", &group, "--clear-groups"]);
            fs::write(&told, "").unwrap();
        }
        command.arg(&self.bwrap);
        command.args(["--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--info-fd", "9"]);
        command.args(["--uid", &user, "--gid", &group, "--cap-drop", "ALL", "--clearenv"]);
        command.arg("--ro-bind").arg(self.path("image")).arg("/");
        command.args(["--proc", "/proc", "--dev", "/dev"]);
        for (volume, path, is_writable) in self.pod.mounts() {
            match self.data {
                Data::Nothing if volume == "data" => {
                    let _ = fs::remove_dir(self.path("image").join(path.strip_prefix('/').unwrap()));
                    continue;
                }
                Data::Small(bytes) if volume == "data" => {
                    command.args(["--size", &bytes.to_string(), "--tmpfs", path]);
                    continue;
                }
                _ => {}
            }
            let bind = if is_writable { "--bind" } else { "--ro-bind" };
            command.arg(bind).arg(self.volume(volume)).arg(path);
        }
        command.args(["--remount-ro", "/", "--chdir", "/", "--"]);
        command.arg(Stage::last().binary()).args(self.pod.args());
        (command, told)
    }

    /// Starts the container, whether it works or not.
    pub(crate) fn start(&self) -> (Daemon, PathBuf) {
        let (mut command, told) = self.command();
        (Daemon::start(&mut command), told)
    }

    /// Starts the container and waits until its startup probe succeeds.
    pub(crate) fn run(&self) -> Container {
        let started = Instant::now();
        let (daemon, told) = self.start();
        let _ = daemon.log().wait_for("\"listening\"", Duration::from_secs(60));
        let told: Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
        let pid = told["child-pid"].as_u64().unwrap() as u32;
        let container = Container { daemon, pid, started };
        let (startup, patience) = self.pod.probe("startupProbe");
        assert_eq!(container.get(&startup).0, StatusCode::OK);
        assert!(container.started.elapsed() < patience);
        container
    }
}

impl Container {
    /// Runs a command in the container's network.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--net"]);
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// What a probe gets.
    pub(crate) fn get(&self, url: &str) -> (StatusCode, String) {
        let mut curl = self.inside("curl");
        let said = printed(curl.args(["-sS", "--max-time", "10", "--write-out", "\n%{http_code}", url]));
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The command line, as the client of this pair.
    pub(crate) fn larder(&self, node: &Node, pair: &Pair, arguments: &[&str]) -> Command {
        let ca = node.made().join("ca.crt");
        fs::write(&ca, node.authority.pem()).unwrap();
        let mut command = self.inside(env!("CARGO_BIN_EXE_larder"));
        command
            .args(arguments)
            .env("LARDER_CA", ca)
            .env("LARDER_CERT", &pair.cert)
            .env("LARDER_KEY", &pair.key);
        command.env("LARDER_URL", format!("https://127.0.0.1:{}", node.pod.port("sql")));
        command
    }

    fn status(&self, name: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    }

    /// Ends it as a kubelet does; says how it went.
    pub(crate) fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let begun = Instant::now();
        let pid = self.pid.to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = self.daemon.wait();
        (ended.code(), begun.elapsed(), self.daemon.log().text())
    }
}

/// What the README quotes.
#[expect(clippy::print_stdout, reason = "whoever runs the test with --nocapture wants to read it")]
fn report(line: &str) {
    println!("pod {line}");
}

fn count(container: &Container, node: &Node, pair: &Pair) -> String {
    printed(&mut container.larder(node, pair, &["query", "-o", "csv", "SELECT count(*) FROM report"]))
}

#[test]
fn the_pod_starts_serves_follows_its_secret_drains_and_comes_back() {
    let node = need!(Node::with("self-signed"));
    let container = node.run();

    // Confined as the manifest says.
    let user = node.user.0.to_string();
    if node.is_root {
        assert_eq!(container.status("Uid:").split_whitespace().collect::<Vec<_>>(), [&user; 4]);
    }
    assert_eq!(container.status("NSpid:").split_whitespace().last(), Some("1"));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(&container.status(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!(container.status("NoNewPrivs:"), "1");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid)).unwrap();
    let writable = |line: &&str| line.split_whitespace().nth(5).unwrap().split(',').any(|it| it == "rw");
    let writable: Vec<_> =
        mounts.lines().filter(writable).map(|it| it.split_whitespace().nth(4).unwrap()).collect();
    let expected: Vec<_> = node.pod.mounts().filter(|it| it.2).map(|it| it.1).collect();
    let outside: Vec<_> =
        writable.iter().filter(|it| !it.starts_with("/dev") && !it.starts_with("/proc")).collect();
    assert_eq!(outside.len(), expected.len(), "{outside:?}");
    assert!(expected.iter().all(|it| outside.contains(&it)), "{outside:?}");

    let ids = ["Uid:", "Gid:", "NSpid:", "NoNewPrivs:", "CapEff:", "CapBnd:"];
    let confined = ids.map(|it| format!("{it} {}", container.status(it).replace('\t', " "))).join(", ");
    report(&format!("confined: {confined}; can be written to: {}", expected.join(" ")));
    report(&format!("started: {:.2} s to the startup probe", container.started.elapsed().as_secs_f64()));

    // It serves those that the manifest names, and nobody else.
    let owner = node.client(&node.pod.granted("owner"));
    let create = "CREATE TABLE report (name TEXT PRIMARY KEY, body BLOB)";
    printed(&mut container.larder(&node, &owner, &["execute", create]));
    printed(&mut container.larder(&node, &owner, &["execute", "INSERT INTO report VALUES ('a', x'00')"]));
    let stranger = node.client("stranger.example");
    let refused = container.larder(&node, &stranger, &["query", "SELECT 1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("IDENTITY_NOT_GRANTED"), "{refused:?}");
    let (readiness, _) = node.pod.probe("readinessProbe");
    assert_eq!(container.get(&readiness).0, StatusCode::OK);
    assert_eq!(container.get(&node.pod.probe("livenessProbe").0).0, StatusCode::OK);

    // A Secret that Kubernetes changes is followed.
    let health = format!("http://127.0.0.1:{}/healthz", node.pod.port("probe"));
    let before = container.get(&health).1;
    let renewed = node.authority.server(&node.made(), "renewed");
    node.write_secret("tls", &renewed, &node.authority.pem());
    let _ = container.daemon.log().wait_for("TLS files reloaded", Duration::from_secs(10));
    assert_ne!(container.get(&health).1, before);
    assert_eq!(count(&container, &node, &owner), "count(*)\r\n1\r\n");

    // What is under way when the pod is ended is answered.
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n";
    let mut asking = container.larder(&node, &owner, &["query", "-o", "csv", slow]);
    let asking = asking.stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for_a_read(&container, &node);
    let (code, took, log) = container.terminate();
    let answered = asking.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answered.stdout), "count(*)\r\n3000000\r\n");
    assert_eq!(code, Some(0), "{log}");
    assert!(took < node.pod.grace(), "{took:?}");
    report(&format!(
        "ended: answered what was under way, exit code 0 after {:.2} s of {} s",
        took.as_secs_f64(),
        node.pod.grace().as_secs()
    ));
    assert!(log.contains("\"stopped\""), "{log}");
    assert_eq!(fs::metadata(node.volume("data").join("larder.db-wal")).map_or(0, |it| it.len()), 0);

    // The next pod finds the volume as it was left.
    let container = node.run();
    assert_eq!(count(&container, &node, &owner), "count(*)\r\n1\r\n");
    assert_eq!(container.get(&readiness).0, StatusCode::OK);
    assert_eq!(container.terminate().0, Some(0));
}

/// Waits until the server says that somebody reads.
fn wait_for_a_read(container: &Container, node: &Node) {
    let metrics = format!("http://127.0.0.1:{}/metrics", node.pod.port("probe"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !container.get(&metrics).1.contains("\nlarder_readers_in_use 1\n") {
        assert!(Instant::now() < deadline, "nobody reads");
    }
}

#[test]
fn the_neuvector_pod_knows_the_controller_by_another_ca_than_the_shared_one() {
    let node = need!(Node::with("neuvector"));
    let controllers = Authority::new("larder");
    node.write_files("client-ca", &[("ca.crt", &controllers.pem())]);
    // The whole of neuvector-internal-certs is mounted: what its upgrader has prepared lies beside what is in use.
    let shared = node.authority.peer(&node.made(), "NeuVector");
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let (cert, key, ca) = (text(&shared.cert), text(&shared.key), node.authority.pem());
    let triples = ["", "new-", "dest-"];
    let names: Vec<_> = triples
        .iter()
        .flat_map(|it| {
            [("tls.crt", &cert), ("tls.key", &key), ("ca.crt", &ca)]
                .map(|(name, text)| (format!("{it}{name}"), text))
        })
        .collect();
    let files: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    node.write_files("tls", &files);

    let container = node.run();
    let controller = controllers.client(&node.pod.granted("owner"), &node.made(), "controller");
    printed(&mut container.larder(&node, &controller, &["execute", "CREATE TABLE report (name TEXT)"]));
    // Enforcer and scanner hold the shared certificate; it opens nothing.
    let refused = container.larder(&node, &shared, &["query", "SELECT 1"]).output().unwrap();
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
    let (_, readiness) = container.get(&node.pod.probe("readinessProbe").0);
    assert!(
        readiness.contains("[!]clients: a client showed a certificate that no CA in --client-ca has signed"),
        "{readiness}"
    );
    assert!(!readiness.contains("[!]tls"), "two CAs on purpose are no mistake: {readiness}");

    // The rotation's first step: both CAs, the old pair. Then a new pair. Each is followed while connections come.
    let next = Authority::new("larder");
    let renewed = next.peer(&node.made(), "renewed");
    let health = format!("http://127.0.0.1:{}/healthz", node.pod.port("probe"));
    let mut revisions = vec![container.get(&health).1];
    for (number, (pair, bundle)) in
        [(&renewed, format!("{ca}{}", next.pem())), (&renewed, next.pem())].iter().enumerate()
    {
        node.write_secret("tls", pair, bundle);
        let deadline = Instant::now() + Duration::from_secs(10);
        while number == 0 && container.get(&health).1 == revisions[0] {
            assert!(Instant::now() < deadline, "the rotation is not followed");
        }
        revisions.push(container.get(&health).1);
    }
    assert_ne!(revisions[0], revisions[1], "{revisions:?}");
    assert_eq!(container.terminate().0, Some(0));
}
