//! Certificates that change while somebody calls: with the rehearsal of `certs/`, with the jobs that keep the Secrets, and with
//! Secrets as cert-manager keeps them. Not a request may fail; and a careless change shows that failures would be seen.

use larder_harness::{Authority, Daemon, need};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::admission::Cluster;
use crate::objects::{larder, manifests, parsed, pod_template, printed};
use crate::sandbox::{Container, Node};

fn certs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs").join(file)
}

/// `(requests, failures)` of what `certs/load` says.
fn counted(text: &str) -> (u32, u32) {
    let line = text.lines().find(|it| it.ends_with(" failed")).unwrap_or_else(|| panic!("{text}"));
    let (requests, rest) = line.split_once(" requests, ").unwrap();
    (requests.parse().unwrap(), rest.trim_end_matches(" failed").parse().unwrap())
}

#[test]
fn the_rehearsal_loses_no_request() {
    let output = printed(Command::new(certs("rehearse")).arg(larder()));
    let (requests, failures) = counted(&output);
    assert!(requests > 20 && failures == 0, "{output}");
    for line in [
        "add          2 CA trusted",
        "drop         1 CA trusted",
        "the old certificate opens nothing any more",
    ] {
        assert!(output.contains(line), "{line:?} is not in\n{output}");
    }
}

/// Callers that never pause, in the network of a container.
struct Load {
    daemon: Daemon,
    stop: PathBuf,
}

impl Load {
    /// Begins to call by the name of the Service, with the files of a client's volume.
    fn start(container: &Container, node: &Node, ca: &Path, client: &Path) -> Self {
        let stop = node.made().join("stop");
        let _ = fs::remove_file(&stop);
        // The name is that of a cluster; it leads to the container all the same.
        fs::write(node.made().join(".curlrc"), "connect-to = \"::127.0.0.1:\"\n").unwrap();
        let mut command = container.inside(certs("load"));
        command.arg(format!("https://larder.larder.svc:{}", node.pod.port("sql"))).arg(ca);
        command.args([client.join("tls.crt"), client.join("tls.key"), stop.clone()]);
        command.env("CURL_HOME", node.made());
        Self { daemon: Daemon::start(&mut command), stop }
    }

    /// Lets the callers go on for a while; the only way to see that something keeps working.
    fn goes_on(&self) {
        std::thread::sleep(Duration::from_secs(1));
    }

    fn end(mut self) -> (u32, u32, String) {
        fs::write(&self.stop, "").unwrap();
        self.daemon.wait();
        let text = self.daemon.log().text();
        let (requests, failures) = counted(&text);
        (requests, failures, text)
    }
}

/// Waits until the server uses other certificates than those of `before`, as whoever rotates has to.
fn taken(container: &Container, node: &Node, before: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = revision(container, node);
        if now != before {
            return now;
        }
        assert!(Instant::now() < deadline, "the server still has the certificates of {before}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn revision(container: &Container, node: &Node) -> String {
    container.get(&format!("http://127.0.0.1:{}/healthz", node.pod.port("probe"))).1
}

/// The certificates' jobs on a real API server, with the rights that the manifests give them and no others.
struct Jobs {
    cluster: Cluster,
    objects: Vec<Value>,
    home: tempfile::TempDir,
}

impl Jobs {
    fn new(cluster: Cluster) -> Self {
        let objects = parsed(&manifests(&["self-signed"]));
        cluster.prepare("larder", &objects);
        for object in objects.iter().filter(|it| it["kind"] == "Role" || it["kind"] == "RoleBinding") {
            cluster.must(&["apply", "-f", "-"], &object.to_string());
        }
        let home = tempfile::tempdir().unwrap();
        let token = cluster.must(&["create", "token", "larder-certs", "--namespace", "larder"], "");
        fs::write(home.path().join("token"), token).unwrap();
        Self { cluster, objects, home }
    }

    /// Runs a job's container with its own arguments, and more.
    fn run(&self, job: &str, more: &[&str]) -> Output {
        let object =
            self.objects.iter().find(|it| it["metadata"]["name"] == job && pod_template(it).is_some());
        let container = &pod_template(object.unwrap()).unwrap()["spec"]["containers"][0];
        let args = container["args"].as_array().unwrap().iter();
        let args = args.map(|it| it.as_str().unwrap().replace("$(NAMESPACE)", "larder"));
        let server = &self.cluster.server;
        let mut command = Command::new(larder());
        command.args(args).args(more).args(["--namespace", "larder"]);
        command.arg(format!("--kube-url=https://{}", server.address()));
        command.arg("--kube-ca").arg(server.ca()).arg("--kube-token").arg(self.home.path().join("token"));
        command.output().unwrap()
    }

    fn must(&self, job: &str, more: &[&str]) -> String {
        let output = self.run(job, more);
        assert!(output.status.success(), "{job}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A file of a Secret.
    fn secret(&self, name: &str, key: &str) -> String {
        let path = format!("-o=jsonpath={{.data.{}}}", key.replace('.', "\\."));
        let encoded = self.cluster.must(&["get", "secret", name, "--namespace", "larder", &path], "");
        let decoded =
            Command::new("sh").args(["-c", "printf %s \"$1\" | base64 -d", "sh", &encoded]).output();
        String::from_utf8(decoded.unwrap().stdout).unwrap()
    }

    /// Brings Secrets to volumes, as kubelets do.
    fn deliver(&self, node: &Node) {
        for (secret, volume) in [("larder-tls", "tls"), ("larder-controller-tls", "client")] {
            let files = ["tls.crt", "tls.key", "ca.crt"].map(|key| (key, self.secret(secret, key)));
            let files: Vec<_> = files.iter().map(|(key, text)| (*key, text.as_str())).collect();
            node.write_files(volume, &files);
        }
    }
}

#[test]
fn the_jobs_keep_the_secrets_and_rotate_them_under_load() {
    let jobs = Jobs::new(need!(Cluster::bare()));
    let node = need!(Node::with("self-signed"));
    fs::create_dir(node.volume("client")).unwrap();

    let made = jobs.must("larder-certs", &[]);
    assert_eq!(made.matches(": written").count(), 4, "{made}");
    for job in ["larder-certs", "larder-certs-renew"] {
        assert_eq!(jobs.must(job, &[]).matches(": as it was").count(), 4, "{job}");
    }
    jobs.deliver(&node);
    let container = node.run();
    assert!(!container.get(&node.pod.probe("readinessProbe").0).1.contains("[!]tls"));
    let (ca, client) = (node.volume("client").join("ca.crt"), node.volume("client"));
    let load = Load::start(&container, &node, &ca, &client);

    let old = jobs.secret("larder-tls", "ca.crt");
    let mut at = revision(&container, &node);
    for (step, authorities) in [("Step 1 of 3", 2), ("Step 2 of 3", 2), ("Step 3 of 3", 1)] {
        let said = jobs.must("larder-certs-rotate", &["--settle=0"]);
        assert!(said.starts_with(step), "{said}");
        // Whoever rotates too fast is held up, whichever step is next.
        let early = jobs.run("larder-certs-rotate", &[]);
        let reason = String::from_utf8_lossy(&early.stderr).into_owned();
        assert!(!early.status.success() && reason.contains("may not have reached every pod yet"), "{reason}");
        assert_eq!(jobs.secret("larder-tls", "ca.crt").matches("BEGIN").count(), authorities);
        jobs.deliver(&node);
        at = taken(&container, &node, &at);
        load.goes_on();
    }
    let (requests, failures, log) = load.end();
    assert!(requests > 20 && failures == 0, "{log}");
    assert!(!jobs.secret("larder-tls", "ca.crt").contains(old.trim()), "the old CA is still trusted");
    assert_eq!(container.terminate().0, Some(0));
}

#[test]
fn the_jobs_touch_no_secret_of_others() {
    let jobs = Jobs::new(need!(Cluster::bare()));
    let foreign =
        ["create", "secret", "generic", "larder-tls", "--namespace", "larder", "--from-literal=a=b"];
    jobs.cluster.must(&foreign, "");
    let refused = jobs.run("larder-certs", &[]);
    let reason = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(reason.contains("the Secret larder-tls is somebody else's"), "{reason}");
    assert_eq!(jobs.secret("larder-tls", "a"), "b");
}

/// cert-manager puts into a Secret the CA that signed its certificate, and no other. So server and clients are given the other CA
/// beside it for as long as both are in use.
#[test]
fn secrets_of_cert_manager_are_rotated_under_load() {
    let node = need!(Node::with("cert-manager"));
    let identity = node.pod.granted("owner");
    let (old, new) = (Authority::new("larder"), Authority::new("larder"));
    fs::create_dir(node.volume("client")).unwrap();
    let issue = |authority: &Authority, name: &str| {
        let server =
            authority.server_for(&["larder", "larder.larder.svc"], &node.made(), &format!("{name}-server"));
        let client = authority.client(&identity, &node.made(), &format!("{name}-client"));
        (server, client)
    };
    // A client's bundle is one file: what its operator puts together of its Secret and the other CA.
    let bundle = |text: &str| {
        fs::write(node.made().join("bundle.part"), text).unwrap();
        fs::rename(node.made().join("bundle.part"), node.made().join("bundle.crt")).unwrap();
    };
    let (first, second) = (issue(&old, "old"), issue(&new, "new"));
    node.write_secret("tls", &first.0, &old.pem());
    node.write_secret("client", &first.1, &old.pem());
    bundle(&old.pem());
    let container = node.run();
    let (ca, client) = (node.made().join("bundle.crt"), node.volume("client"));
    let load = Load::start(&container, &node, &ca, &client);
    load.goes_on();

    let mut at = revision(&container, &node);
    node.write_files("extra-ca", &[("ca.crt", &new.pem())]);
    bundle(&format!("{}{}", old.pem(), new.pem()));
    at = taken(&container, &node, &at);
    load.goes_on();

    // The issuer has changed, and cert-manager issues anew: the Secrets now hold the new CA, and the extra one is the old.
    node.write_files("extra-ca", &[("ca.crt", &format!("{}{}", old.pem(), new.pem()))]);
    at = taken(&container, &node, &at);
    node.write_secret("tls", &second.0, &new.pem());
    at = taken(&container, &node, &at);
    node.write_secret("client", &second.1, &new.pem());
    load.goes_on();

    fs::remove_file(node.volume("extra-ca").join("ca.crt")).unwrap();
    bundle(&new.pem());
    let _ = taken(&container, &node, &at);
    load.goes_on();
    let (requests, failures, log) = load.end();
    assert!(requests > 20 && failures == 0, "{log}");

    let mut late = container.inside("curl");
    late.args(["-sS", "--connect-to", "::127.0.0.1:", "https://larder.larder.svc:4001/version"]);
    late.arg("--cacert").arg(&ca).arg("--cert").arg(&first.1.cert).arg("--key").arg(&first.1.key);
    assert!(!late.output().unwrap().status.success(), "the old certificate still opens the server");
    assert_eq!(container.terminate().0, Some(0));
}

#[test]
fn a_careless_change_is_seen() {
    let node = need!(Node::with("cert-manager"));
    let identity = node.pod.granted("owner");
    fs::create_dir(node.volume("client")).unwrap();
    let server = node.authority.server_for(&["larder.larder.svc"], &node.made(), "first");
    node.write_secret("tls", &server, &node.authority.pem());
    node.write_secret("client", &node.client(&identity), &node.authority.pem());
    let container = node.run();
    let client = node.volume("client");
    let load = Load::start(&container, &node, &client.join("ca.crt"), &client);
    load.goes_on();
    let at = revision(&container, &node);
    let other = Authority::new("larder");
    let server = other.server_for(&["larder.larder.svc"], &node.made(), "second");
    node.write_secret("tls", &server, &other.pem());
    let _ = taken(&container, &node, &at);
    load.goes_on();
    let (requests, failures, log) = load.end();
    assert!(failures > 0 && failures < requests, "{log}");
}
