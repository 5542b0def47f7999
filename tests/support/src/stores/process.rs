//! A server's process, which never outlives the test, and free ports for it.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::log::Log;

const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server may find its ports taken.
const ATTEMPTS: usize = 5;
/// Ports that no system gives out by itself, so that only another harness can be faster.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// The shell starts the server and ends it when its own standard input does: when the test drops it, or when the test's
/// process is gone, however it went.
const GUARD: &str = r#"exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ read -r _ <&3; kill -9 $server; } >/dev/null 2>&1 &
wait $server"#;

/// A running server. Dropping it kills it, and shows its log if the test has failed.
pub(super) struct Process {
    name: String,
    guard: Child,
    log: Log,
}

impl Process {
    /// Starts a server and waits until it says `ready`. `None` if it ended before.
    fn start(binary: &Path, args: &[OsString], home: &Path, ready: &str) -> (Self, bool) {
        let (reader, writer) = io::pipe().unwrap();
        let guard = guarded(binary, args, home, writer);
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut process = Self { name, guard, log: Log::default() };
        process.log = Log::of(reader, || ());
        let is_ready = process.log.shows(ready, PATIENCE);
        (process, is_ready)
    }

    /// As [`Process::start`], on other ports if these are taken: `args` are made for each attempt.
    pub(super) fn start_on_free_ports<P>(
        binary: &Path,
        home: &Path,
        ready: &str,
        mut args: impl FnMut() -> (P, Vec<OsString>),
    ) -> (Self, P) {
        for _ in 1..ATTEMPTS {
            let (ports, args) = args();
            let (process, is_ready) = Self::start(binary, &args, home, ready);
            if is_ready {
                return (process, ports);
            }
            let log = process.log.text();
            assert!(log.contains("address already in use"), "{} does not start:\n{log}", process.name);
        }
        panic!("no free ports for {}", binary.display());
    }

    /// Starts a server again where it was.
    pub(super) fn start_at(binary: &Path, args: &[OsString], home: &Path, ready: &str) -> Self {
        let (process, is_ready) = Self::start(binary, args, home, ready);
        assert!(is_ready, "{} does not start again:\n{}", process.name, process.log.text());
        process
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the log of a failed test is what is looked for first")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.name, self.log.text());
        }
    }
}

fn guarded(binary: &Path, args: &[OsString], home: &Path, log: PipeWriter) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", GUARD, "guard"]).arg(binary).args(args).current_dir(home);
    shell.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
    shell.spawn().unwrap()
}

/// A port of the loopback that nobody listens on.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = PORTS.end - PORTS.start;
    let start = std::process::id().wrapping_mul(97);
    loop {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span;
        let port = u16::try_from(PORTS.start + step).unwrap();
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// Posts to a server that has no client of its own yet, and returns the whole answer, which is a success.
pub(super) fn post(port: u16, path: &str, body: &str) -> String {
    let answer = exchange(port, &format!("POST {path}"), "", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

/// Sends a request (`GET /path`, header lines, a body) and returns the whole answer.
pub(super) fn exchange(port: u16, request: &str, headers: &str, body: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The arguments of a command line, each as the system wants it.
pub(super) fn args<const N: usize>(args: [String; N]) -> Vec<OsString> {
    args.into_iter().map(OsString::from).collect()
}
