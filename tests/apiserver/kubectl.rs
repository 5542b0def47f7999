//! `kubectl`, as a person uses it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use larder_harness::{Kubectl, need};

use crate::world::{World, thing};

const REPORT: &str = r#"{
    "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport", "metadata": {"name": "web", "labels": {"app": "web"}},
    "scope": {"kind": "Pod", "name": "web"}, "summary": {"pass": 3, "fail": 1},
    "results": [{"policy": "p", "rule": "r", "result": "fail", "message": "no"}]
}"#;

/// A namespace of its own, and `kubectl` in it.
struct Terminal {
    world: World,
    kubectl: Kubectl,
}

impl Terminal {
    async fn open() -> Result<Self, larder_harness::Skip> {
        let world = World::new().await;
        let kubectl = world.server.kubectl()?;
        Ok(Self { world, kubectl })
    }

    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["-n", self.world.namespace.as_str()], args].concat()
    }

    fn says(&self, args: &[&str]) -> String {
        self.kubectl.says(&self.with(args))
    }

    fn says_to(&self, args: &[&str], input: &str) -> String {
        self.kubectl.says_to(&self.with(args), input)
    }

    fn complains(&self, args: &[&str], input: &str) -> String {
        self.kubectl.complains(&self.with(args), input)
    }
}

/// Words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn check_04_and_05_resources_have_their_names() {
    let terminal = need!(Terminal::open().await);
    let listed = terminal.says(&["api-resources", "--api-group=wgpolicyk8s.io"]);
    assert!(listed.contains("polr"), "{listed}");
    terminal.says_to(&["create", "-f", "-"], &thing("a", "red").to_string());
    assert!(terminal.says(&["get", "th"]).contains("red"));
    assert!(
        terminal.says(&["get", "stuff"]).contains("thing.example.com/a")
            || terminal.says(&["get", "stuff"]).contains("red")
    );
    assert!(terminal.says(&["api-versions"]).contains("wgpolicyk8s.io/v1alpha2"));
}

#[tokio::test]
async fn check_11_fields_are_explained() {
    let terminal = need!(Terminal::open().await);
    let explained = terminal.says(&["explain", "things.spec.color"]);
    assert!(explained.contains("What it looks like."), "{explained}");
    let all = terminal.says(&["explain", "policyreports", "--recursive"]);
    assert!(all.contains("resourceSelector") && all.contains("results"), "{all}");
}

#[tokio::test]
async fn check_12_and_91_unknown_fields_are_refused_or_warned_of() {
    let terminal = need!(Terminal::open().await);
    let mut sent = thing("a", "red");
    sent["spec"]["nonsense"] = 1.into();
    let refused = terminal.complains(&["create", "--validate=strict", "-f", "-"], &sent.to_string());
    assert!(refused.contains(r#"unknown field "spec.nonsense""#), "{refused}");
    let output = terminal
        .kubectl
        .run_with(&terminal.with(&["create", "--validate=warn", "-f", "-"]), &sent.to_string());
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && warned.contains(r#"Warning: unknown field "spec.nonsense""#),
        "{warned}"
    );
}

#[tokio::test]
async fn check_36_patches_are_refused_in_the_words_for_custom_resources() {
    let terminal = need!(Terminal::open().await);
    terminal.says_to(&["create", "-f", "-"], &thing("a", "red").to_string());
    let refused = terminal.complains(&["patch", "thing", "a", "-p", r#"{"spec": {"color": "blue"}}"#], "");
    assert!(
        refused.contains(
            "application/strategic-merge-patch+json is not supported by example.com/v1, Kind=Thing"
        ),
        "{refused}"
    );
    let patched =
        terminal.says(&["patch", "thing", "a", "--type=merge", "-p", r#"{"spec": {"color": "blue"}}"#]);
    assert_eq!(patched, "thing.example.com/a patched\n");
}

#[tokio::test]
async fn check_47_client_side_apply_becomes_server_side_apply() {
    let terminal = need!(Terminal::open().await);
    let config = thing("a", "red").to_string();
    assert_eq!(terminal.says_to(&["apply", "-f", "-"], &config), "thing.example.com/a created\n");
    assert_eq!(terminal.says_to(&["apply", "-f", "-"], &config), "thing.example.com/a unchanged\n");
    let blue = thing("a", "blue").to_string();
    assert_eq!(terminal.says_to(&["apply", "-f", "-"], &blue), "thing.example.com/a configured\n");
    let green = thing("a", "green").to_string();
    let applied = terminal.says_to(&["apply", "--server-side", "-f", "-"], &green);
    assert_eq!(applied, "thing.example.com/a serverside-applied\n");
    let yaml = terminal.says(&["get", "thing", "a", "-o", "yaml", "--show-managed-fields"]);
    assert!(yaml.contains("color: green") && yaml.contains("manager: kubectl"), "{yaml}");
    let conflict = terminal.complains(
        &["apply", "--server-side", "--field-manager=other", "-f", "-"],
        &thing("a", "red").to_string(),
    );
    assert!(conflict.contains(r#"conflict with "kubectl": .spec.color"#), "{conflict}");
}

#[tokio::test]
async fn check_84_reports_are_shown_as_tables() {
    let terminal = need!(Terminal::open().await);
    assert_eq!(terminal.says_to(&["create", "-f", "-"], REPORT), "policyreport.wgpolicyk8s.io/web created\n");
    let shown = terminal.says(&["get", "policyreports"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(words(lines[0]), ["NAME", "PASS", "FAIL", "WARN", "ERROR", "SKIP", "AGE"]);
    assert_eq!(words(lines[1])[..3], ["web", "3", "1"]);
    assert!(words(lines[1]).last().unwrap().ends_with('s'), "{shown}");
    let wide = terminal.says(&["get", "polr", "-o", "wide", "--show-labels"]);
    assert_eq!(words(wide.lines().next().unwrap())[..3], ["NAME", "KIND", "NAME"]);
    assert!(wide.contains("app=web") && wide.contains("Pod"), "{wide}");
    let everywhere = terminal.says(&["get", "polr", "-A"]);
    assert!(everywhere.lines().next().unwrap().starts_with("NAMESPACE"), "{everywhere}");
    let sorted = terminal.says(&["get", "polr", "--sort-by=.summary.pass"]);
    assert!(sorted.contains("web"), "{sorted}");
    let path = terminal.says(&["get", "polr", "web", "-o", "jsonpath={.results[0].rule}"]);
    assert_eq!(path, "r");
    let described = terminal.says(&["describe", "polr", "web"]);
    assert!(described.contains("Policy:   p") || described.contains("Policy:"), "{described}");
}

#[tokio::test]
async fn check_84_changes_are_followed() {
    let terminal = need!(Terminal::open().await);
    terminal.says_to(&["create", "-f", "-"], &thing("a", "red").to_string());
    let args = terminal.with(&["get", "thing", "a", "-w", "--output-watch-events"]);
    let mut child = terminal.kubectl.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(words(&lines.next().unwrap()), ["EVENT", "NAME", "COLOR", "AGE"]);
    assert_eq!(words(&lines.next().unwrap())[..3], ["ADDED", "a", "red"]);
    terminal.says(&["label", "thing", "a", "k=v"]);
    assert_eq!(words(&lines.next().unwrap())[..3], ["MODIFIED", "a", "red"]);
    terminal.says(&["delete", "thing", "a"]);
    assert_eq!(words(&lines.next().unwrap())[..2], ["DELETED", "a"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn check_90_waiting_and_comparing_work() {
    let mut terminal = need!(Terminal::open().await);
    terminal.says_to(&["create", "-f", "-"], &thing("a", "red").to_string());
    let status = serde_json::json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let path = terminal.world.things("/a/status");
    let args = terminal.with(&["wait", "--for=condition=Ready", "thing/a", "--timeout=60s"]);
    let waiting = terminal.kubectl.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let patched = terminal.world.merge(&path, &status).await;
    assert_eq!(patched.status, 200);
    let waited = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "thing.example.com/a condition met\n");
    let same =
        terminal.kubectl.run_with(&terminal.with(&["diff", "-f", "-"]), &thing("a", "red").to_string());
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    let other =
        terminal.kubectl.run_with(&terminal.with(&["diff", "-f", "-"]), &thing("a", "blue").to_string());
    assert_eq!(other.status.code(), Some(1), "{}", String::from_utf8_lossy(&other.stderr));
    assert!(String::from_utf8_lossy(&other.stdout).contains("+  color: blue"));
    let deleted = terminal.says(&["delete", "thing", "a", "--wait"]);
    assert!(deleted.starts_with("thing.example.com \"a\" deleted"), "{deleted}");
    assert!(terminal.says(&["wait", "--for=delete", "thing/a", "--timeout=5s"]).is_empty());
}

#[tokio::test]
async fn objects_are_edited_labelled_replaced_and_deleted() {
    let terminal = need!(Terminal::open().await);
    terminal.says_to(&["create", "-f", "-"], &thing("a", "red").to_string());
    let args = terminal.with(&["edit", "thing", "a"]);
    let edited = terminal.kubectl.command(&args).env("KUBE_EDITOR", "sed -i s/red/green/").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&edited.stdout),
        "thing.example.com/a edited\n",
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    assert_eq!(terminal.says(&["get", "thing", "a", "-o", "jsonpath={.spec.color}"]), "green");
    assert_eq!(terminal.says(&["label", "thing", "a", "k=v"]), "thing.example.com/a labeled\n");
    assert_eq!(terminal.says(&["annotate", "thing", "a", "k=v"]), "thing.example.com/a annotated\n");
    let replaced = terminal.says_to(&["replace", "-f", "-"], &thing("a", "blue").to_string());
    assert_eq!(replaced, "thing.example.com/a replaced\n");
    for name in ["b", "c", "d"] {
        terminal.says_to(&["create", "-f", "-"], &thing(name, "red").to_string());
    }
    let chunks = terminal.says(&["get", "things", "--chunk-size=1", "-o", "name"]);
    assert_eq!(chunks.lines().count(), 4, "{chunks}");
    let deleted = terminal.says(&["delete", "things", "--all"]);
    assert_eq!(deleted.lines().count(), 4, "{deleted}");
    let nothing = terminal.kubectl.run(&terminal.with(&["get", "things"]));
    assert!(String::from_utf8_lossy(&nothing.stderr).starts_with("No resources found in "));
}

/// Behind a 404 it looks whether the namespace is there.
#[tokio::test]
async fn what_is_missing_is_named() {
    let terminal = need!(Terminal::open().await);
    let missing = terminal.complains(&["get", "polr", "none"], "");
    assert!(
        missing.contains(r#"Error from server (NotFound): policyreports.wgpolicyk8s.io "none" not found"#),
        "{missing}"
    );
}
