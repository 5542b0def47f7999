//! One API server process, standing alone or before a kube-apiserver, and `kubectl` to ask it with.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::{Authority, Pair};
use crate::client::{Answer, Connection, trusting};
use crate::log::Log;
use crate::pod::Account;
use crate::server::{ANNOUNCED, Running};
use crate::skip::Skip;
use crate::stores::prepared;

/// The user that standing alone everybody with a certificate is as good as.
const USER: &str = "alice";

/// How an API server is to be started.
pub struct ApiServerSetup {
    binary: PathBuf,
    args: Vec<OsString>,
    belongs: Belongs,
    names: Vec<String>,
    task: Option<&'static str>,
    on_terminal: bool,
}

/// The cluster that a server is a part of.
enum Belongs {
    /// None.
    Alone,
    /// That of this kubeconfig.
    Outside(PathBuf),
    /// The one that it is a pod of.
    Pod(Account),
}

impl ApiServerSetup {
    /// The server of this binary, standing alone: whoever has a certificate of its authority may do everything.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        Self {
            binary: binary.into(),
            args: Vec::new(),
            belongs: Belongs::Alone,
            names,
            task: None,
            on_terminal: false,
        }
    }

    /// With these arguments behind those of the harness.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|it| it.as_ref().to_owned()));
        self
    }

    /// As a part of the cluster of this kubeconfig.
    #[must_use]
    pub fn cluster(mut self, kubeconfig: impl Into<PathBuf>) -> Self {
        self.belongs = Belongs::Outside(kubeconfig.into());
        self
    }

    /// As a pod with this account, as far as it sees.
    #[must_use]
    pub fn pod(mut self, account: Account) -> Self {
        self.belongs = Belongs::Pod(account);
        self
    }

    /// With a certificate for this name too.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Makes a directory and certificates, starts the server and waits until it listens.
    #[must_use]
    pub fn start(self) -> ApiServer {
        let home = tempfile::tempdir().unwrap();
        let authority = Authority::new("larder apiserver test");
        let path = home.path();
        fs::write(path.join("ca.crt"), authority.pem()).unwrap();
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let _ = authority.server_of(&names, path, "server");
        let _ = authority.user(USER, &["people"], path, USER);
        let running = self.run(path);
        let server = ApiServer { setup: self, home, authority, running };
        server.write_kubeconfig();
        server
    }

    fn run(&self, home: &Path) -> Running {
        let command = self.command(home, self.task);
        Running::start(if self.on_terminal { on_terminal(&command) } else { command }, home)
    }

    fn command(&self, home: &Path, task: Option<&str>) -> Command {
        let mut command = match &self.belongs {
            Belongs::Pod(account) => account.command(&self.binary),
            Belongs::Alone | Belongs::Outside(_) => Command::new(&self.binary),
        };
        command.arg("apiserver").args(task).arg("--announce").arg(home.join(ANNOUNCED));
        command.args(["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--log-format", "json"]);
        command.arg("--data").arg(home.join("data"));
        command.arg("--tls-cert").arg(home.join("server.crt")).arg("--tls-key").arg(home.join("server.key"));
        match &self.belongs {
            Belongs::Outside(kubeconfig) => _ = command.arg("--kubeconfig").arg(kubeconfig),
            Belongs::Pod(_) => {}
            Belongs::Alone => {
                command.args(["--authorization", "authenticated", "--client-ca"]).arg(home.join("ca.crt"));
            }
        }
        command.args(&self.args);
        command
    }
}

/// A running API server; killed when it is dropped.
pub struct ApiServer {
    setup: ApiServerSetup,
    home: TempDir,
    authority: Authority,
    running: Running,
}

impl ApiServer {
    /// Where the API is: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// Where probes and metrics are: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn probe_url(&self) -> &str {
        &self.running.probe
    }

    /// The port of the API.
    ///
    /// # Panics
    /// The server has announced something else than an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The directory that holds data and certificates.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The authority that signed the server's certificate and, if it stands alone, its users'.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
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

    /// The certificate of the usual user.
    #[must_use]
    pub fn user(&self) -> Pair {
        let file = |extension| self.home.path().join(format!("{USER}.{extension}"));
        Pair { cert: file("crt"), key: file("key") }
    }

    /// A connection of the usual user.
    ///
    /// # Panics
    /// There is none.
    pub async fn connect(&self) -> Connection {
        self.connect_with(Some(&self.user())).await
    }

    /// A connection with this certificate or with none.
    ///
    /// # Panics
    /// There is none.
    pub async fn connect_with(&self, pair: Option<&Pair>) -> Connection {
        let tls = trusting(&self.home.path().join("ca.crt"), pair);
        Connection::open(self.url(), Some(tls)).await.unwrap()
    }

    /// A connection of the usual user that speaks HTTP/2.
    ///
    /// # Panics
    /// There is none.
    pub async fn connect_http2(&self) -> Connection {
        let mut tls = trusting(&self.home.path().join("ca.crt"), Some(&self.user()));
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Connection::open(self.url(), Some(tls)).await.unwrap()
    }

    /// The answer of the probe port.
    ///
    /// # Panics
    /// There is none.
    pub async fn probe(&self, path: &str) -> Answer {
        Connection::open(&self.running.probe, None).await.unwrap().get(path).await
    }

    /// `kubectl` as the usual user.
    ///
    /// # Errors
    /// There is none on this machine.
    pub fn kubectl(&self) -> Result<Kubectl, Skip> {
        Kubectl::new(self.home.path().join("kubeconfig"))
    }

    /// Ends the server as Kubernetes does, and says how it went.
    pub fn terminate(&mut self) -> ExitStatus {
        self.running.terminate()
    }

    /// Asks the server to end, and does not wait for it.
    pub fn ask_to_end(&self) {
        self.running.ask_to_end();
    }

    /// Ends the server at once.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts the server again, which has ended, on the same data; its ports are others.
    ///
    /// # Panics
    /// It has not ended.
    pub fn start_again(&mut self) {
        assert!(self.running.has_ended(), "the server is running");
        self.running = self.setup.run(self.home.path());
        self.write_kubeconfig();
    }

    /// As [`ApiServer::start_again`], for another task from now on.
    pub fn start_again_to(&mut self, task: &'static str) {
        self.setup.task = Some(task);
        self.start_again();
    }

    /// As [`ApiServer::start_again`], at a terminal from now on: its log is what that shows.
    pub fn start_again_at_terminal(&mut self) {
        self.setup.on_terminal = true;
        self.start_again();
    }

    /// Has the binary do a task that has an end, with the arguments of the server.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run_once(&self, task: &str) -> Output {
        self.setup.command(self.home.path(), Some(task)).current_dir(self.home.path()).output().unwrap()
    }

    fn write_kubeconfig(&self) {
        let (ca, user) = (self.home.path().join("ca.crt"), self.user());
        let config =
            kubeconfig(self.url(), &ca, json!({"client-certificate": user.cert, "client-key": user.key}));
        fs::write(self.home.path().join("kubeconfig"), config.to_string()).unwrap();
    }
}

/// The same command, with a terminal for its output that is copied to standard error.
fn on_terminal(command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|it| format!("'{}'", it.to_str().unwrap().replace('\'', r"'\''")));
    let line = words.collect::<Vec<_>>().join(" ");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec script --quiet --flush --return --command \"$1\" /dev/null >&2", "sh"]).arg(line);
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// A kubeconfig of one cluster and one user.
pub(crate) fn kubeconfig(url: &str, ca: &Path, user: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
}

/// `kubectl` with a kubeconfig and a cache of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// With this kubeconfig.
    ///
    /// # Errors
    /// There is no `kubectl` on this machine.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Result<Self, Skip> {
        Ok(Self { binary: prepared("kubectl")?, kubeconfig: kubeconfig.into() })
    }

    /// The directory that it is in.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.binary.parent().unwrap()
    }

    /// The command, for whoever wants to run it in another way.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let home = self.kubeconfig.parent().unwrap_or(Path::new("."));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(args);
        command.env("HOME", home).env_remove("KUBECONFIG").env("KUBECTL_KUBERC", "false").current_dir(home);
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, "")
    }

    /// Runs it to its end with this input.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run_with(&self, args: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who does not read it has no need of it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What it prints.
    ///
    /// # Panics
    /// It fails.
    pub fn says(&self, args: &[&str]) -> String {
        self.says_to(args, "")
    }

    /// What it prints if it is given this input.
    ///
    /// # Panics
    /// It fails.
    pub fn says_to(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (said, wrong) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {}\n{said}{wrong}", output.status);
        said
    }

    /// What it complains of.
    ///
    /// # Panics
    /// It succeeds.
    #[must_use]
    pub fn complains(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (said, wrong) = (text(output.stdout), text(output.stderr));
        assert!(!output.status.success(), "kubectl {args:?} succeeds:\n{said}{wrong}");
        wrong
    }
}
