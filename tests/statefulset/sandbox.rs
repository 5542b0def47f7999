//! A pod without a cluster: the image's last stage laid out as a file tree, and the real binary run in it by bubblewrap as the manifest
//! has it. Its user, no capabilities, the system calls that container runtimes leave it, a root that cannot be written to, only the
//! manifest's mounts, its arguments, a network of its own with its ports, and as process 1. Secrets are laid out as kubelets do it, and
//! asked is what kubelets ask.

use http::StatusCode;
use larder_harness::{Authority, Daemon, Pair, Skip, prepared};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::image::{Stage, needed};
use crate::objects::{larder, manifests, printed};
use crate::pod::Pod;

/// Where a kubelet puts an account's token, and the names that it knows.
pub(crate) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
pub(crate) const HOSTS: &str = "/etc/hosts";

/// A node with one pod's volumes on it.
pub(crate) struct Node {
    home: TempDir,
    pub(crate) pod: Pod,
    bwrap: PathBuf,
    pub(crate) user: (u32, u32),
    pub(crate) is_root: bool,
    pub(crate) authority: Authority,
    pub(crate) data: Data,
    pub(crate) surroundings: Surroundings,
}

/// What a kubelet gives a container beside the manifest's volumes.
#[derive(Default)]
pub(crate) struct Surroundings {
    /// The network of this process instead of one of its own.
    pub(crate) network: Option<u32>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Files and directories, and where they are inside.
    pub(crate) places: Vec<(PathBuf, &'static str)>,
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
    pub(crate) pid: u32,
    pub(crate) started: Instant,
}

impl Node {
    /// Lays out tree and volumes for the database's pod of this overlay.
    pub(crate) fn with(overlay: &str) -> Result<Self, Skip> {
        Self::of(Pod::of(&manifests(&[overlay])))
    }

    /// Lays out tree and volumes for a pod.
    pub(crate) fn of(pod: Pod) -> Result<Self, Skip> {
        let (bwrap, stage, filter) = (prepared("bwrap")?, Stage::last(), prepared("seccomp")?);
        let node = Self {
            home: tempfile::tempdir().unwrap(),
            pod,
            bwrap,
            user: stage.user(),
            is_root: fs::metadata("/proc/self").unwrap().uid() == 0,
            authority: Authority::new("larder"),
            data: Data::Volume,
            surroundings: Surroundings::default(),
        };
        fs::write(node.filter(), Command::new(filter).output().unwrap().stdout).unwrap();
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

    /// The system calls that a container is left with.
    fn filter(&self) -> PathBuf {
        self.path("made").join("seccomp")
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
        let built = larder();
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap());
        let put = |from: &Path, at: &Path| {
            let to = inside(at);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
        };
        put(&built, &stage.binary());
        // What it links, and the loader, which only some binaries name as linked.
        let found = printed(Command::new("ldd").arg(&built));
        let mut missing = needed(&built);
        for path in found.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
            missing.retain(|library| !path.ends_with(library));
            put(path, path);
        }
        assert!(missing.is_empty(), "{missing:?} are not in {found}");
        for (_, path, _) in self.pod.mounts() {
            fs::create_dir_all(inside(Path::new(path))).unwrap();
        }
        for directory in ["/proc", "/dev", "/etc", SERVICE_ACCOUNT] {
            fs::create_dir_all(inside(Path::new(directory))).unwrap();
        }
        fs::write(inside(Path::new(HOSTS)), "").unwrap();
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
        // bubblewrap tells on a descriptor and reads from one, which a shell can open.
        let open = "exec 9>\"$1\" 8<\"$2\"; shift 2; exec \"$@\"";
        command.args(["-c", open, "sh"]).arg(&told).arg(self.filter());
        if let Some(process) = self.surroundings.network {
            command.args(["nsenter", "--target", &process.to_string(), "--net"]);
        }
        if self.is_root {
            command.args(["setpriv", "--reuid", &user, "--regid", &group, "--clear-groups"]);
            fs::write(&told, "").unwrap();
        }
        command.arg(&self.bwrap);
        command.args(["--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--info-fd", "9"]);
        if self.surroundings.network.is_some() {
            command.arg("--share-net");
        }
        command.args(["--seccomp", "8"]);
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
        for (from, to) in &self.surroundings.places {
            command.arg("--ro-bind").arg(from).arg(to);
        }
        for (name, value) in &self.surroundings.variables {
            command.args(["--setenv", name, value]);
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
        self.run_until("\"listening\"")
    }

    /// The same once it has said this.
    pub(crate) fn run_until(&self, line: &str) -> Container {
        let started = Instant::now();
        let (daemon, told) = self.start();
        let _ = daemon.log().wait_for(line, Duration::from_secs(60));
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
        let mut command = self.inside(larder());
        command
            .args(arguments)
            .env("LARDER_CA", ca)
            .env("LARDER_CERT", &pair.cert)
            .env("LARDER_KEY", &pair.key);
        command.env("LARDER_URL", format!("https://127.0.0.1:{}", node.pod.port("sql")));
        command
    }

    /// A line of what the kernel says of the server.
    pub(crate) fn status(&self, name: &str) -> String {
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
