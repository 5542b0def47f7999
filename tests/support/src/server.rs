//! One server process and its directory.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

use crate::authority::{Authority, Pair};
use crate::client::{Answer, Connection, trusting};
use crate::log::Log;

/// The roles; each has a client certificate of the identity `ROLE.test`.
pub const ROLES: [&str; 4] = ["reader", "writer", "owner", "admin"];
/// The name of a client whose certificate is good and who is granted nothing.
pub const STRANGER: &str = "stranger";

const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is to be started.
pub struct Setup {
    binary: PathBuf,
    args: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    data: Option<PathBuf>,
}

impl Setup {
    /// The server of this binary, with every choice left to it.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), args: Vec::new(), variables: Vec::new(), data: None }
    }

    /// With this argument behind those of the harness.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// With these arguments behind those of the harness.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// With this environment variable.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// With the database in this directory instead of one of its own.
    #[must_use]
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    fn run(&self, home: &Path) -> Running {
        Running::start(command(self, home, &home.join(ANNOUNCED)), home)
    }

    fn data_in(&self, home: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| home.join("data"))
    }

    /// Makes a directory and certificates, starts the server and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Server {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("larder test");
        let path = home.path();
        fs::write(path.join("ca.crt"), authority.pem()).unwrap();
        let _ = authority.server(path, "server");
        for name in ROLES.into_iter().chain([STRANGER]) {
            let _ = authority.client(&format!("{name}.test"), path, name);
        }
        let running = self.run(path);
        Server { setup: self, home, authority, running }
    }
}

/// A running server; killed when it is dropped.
pub struct Server {
    setup: Setup,
    home: TempDir,
    authority: Authority,
    running: Running,
}

impl Server {
    /// Where the SQL is: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// Where the probes are: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn probe_url(&self) -> &str {
        &self.running.probe
    }

    /// The directory of the database.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.setup.data_in(self.home.path())
    }

    /// The directory that holds the data, the certificates and nothing that the server should touch otherwise.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The authority that the server trusts and that signed its certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The certificate of a role or of [`STRANGER`].
    #[must_use]
    pub fn pair(&self, name: &str) -> Pair {
        let file = |extension| self.home.path().join(format!("{name}.{extension}"));
        Pair { cert: file("crt"), key: file("key") }
    }

    /// What the server has logged since it was started last.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.running.log
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// A connection with the certificate of a role or of [`STRANGER`].
    pub async fn connect(&self, name: &str) -> Connection {
        self.connect_with(Some(&self.pair(name))).await.unwrap()
    }

    /// A connection with this certificate or with none.
    ///
    /// # Errors
    /// There is no connection. With TLS 1.3 a refused certificate may be seen only by the first request.
    pub async fn connect_with(&self, pair: Option<&Pair>) -> std::io::Result<Connection> {
        let tls = trusting(&self.home.path().join("ca.crt"), pair);
        Connection::open(self.url(), Some(tls)).await
    }

    /// The answer of the probe port.
    pub async fn probe(&self, path: &str) -> Answer {
        Connection::open(self.probe_url(), None).await.unwrap().get(path).await
    }

    /// Ends the server as Kubernetes does, and says how it went.
    ///
    /// # Panics
    /// It does not end within a minute.
    pub fn terminate(&mut self) -> ExitStatus {
        self.running.terminate()
    }

    /// Ends the server at once, as `kill -9` and a power cut of the process do.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts the server again, which has ended, on the same data; its ports are others.
    pub fn start_again(&mut self) {
        assert!(self.running.has_ended(), "the server is running");
        self.running = self.setup.run(self.home.path());
    }
}

/// A process of this binary that tells where it listens.
pub(crate) struct Running {
    child: Child,
    pub(crate) log: Log,
    pub(crate) url: String,
    pub(crate) probe: String,
}

/// What the process writes when it is ready, in its home.
pub(crate) const ANNOUNCED: &str = "announced.json";

impl Running {
    /// Starts a process that announces itself in `home`, and waits until it has.
    pub(crate) fn start(mut command: Command, home: &Path) -> Self {
        let announcement = home.join(ANNOUNCED);
        let ended = home.join("ended");
        let _ = fs::remove_file(&announcement);
        let watch = watch(home);
        command.current_dir(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Wakes the one who waits below; the directory is gone if the test ended first.
        let log = Log::of(child.stderr.take().unwrap(), move || drop(fs::write(ended, "")));
        let mut running = Self { child, log, url: String::new(), probe: String::new() };
        let deadline = Instant::now() + PATIENCE;
        while !announcement.exists() {
            assert!(!running.log.has_ended(), "ended before it was ready:\n{}", running.log.text());
            assert!(wait(&watch, deadline), "is not ready:\n{}", running.log.text());
        }
        let announced: Value = serde_json::from_slice(&fs::read(&announcement).unwrap()).unwrap();
        let address =
            |name: &str| announced[name].as_str().unwrap_or_else(|| panic!("{announced}")).to_owned();
        (running.url, running.probe) = (address("url"), address("probe"));
        running
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it as Kubernetes does, and says how it went.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        assert!(self.log.wait_for_end(PATIENCE), "does not stop:\n{}", self.log.text());
        self.child.wait().unwrap()
    }

    /// Asks it to end, and does not wait.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    #[expect(clippy::print_stderr, reason = "the log of a failed test is what is looked for first")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.text());
        }
    }
}

fn command(setup: &Setup, home: &Path, announcement: &Path) -> Command {
    let mut command = Command::new(&setup.binary);
    command.arg("serve").arg("--data").arg(setup.data_in(home)).arg("--announce").arg(announcement);
    command.args(["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--log-format", "json"]);
    for (flag, file) in [("--tls-cert", "server.crt"), ("--tls-key", "server.key"), ("--client-ca", "ca.crt")]
    {
        command.arg(flag).arg(home.join(file));
    }
    for role in ROLES {
        command.arg("--grant").arg(format!("{role}={role}.test"));
    }
    command.args(&setup.args).envs(setup.variables.iter().map(|(name, value)| (name, value)));
    command
}

/// Tells when files appear in `dir`.
fn watch(dir: &Path) -> OwnedFd {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
    let appearing =
        inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE | inotify::WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&watch, dir, appearing).unwrap();
    watch
}

/// Waits until a file has appeared; `false` if the deadline has passed.
fn wait(watch: &OwnedFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let ready = poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&left.try_into().unwrap())).unwrap();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events.next().is_ok() {}
    ready > 0
}
