//! Whether the server lives and is ready, in the form of Kubernetes: `ok`, or with `?verbose` a line for each check. Reasons are withheld from
//! callers, who may be anybody, and logged.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};

use super::ApiServer;
use super::answer::{Answer, Content};
use super::options::Query;

/// How long the store may take to be asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Whether a restart would not help.
    Live,
    /// Whether requests are answered.
    Ready,
}

impl ApiServer {
    /// What a probe is answered, whoever asks: the code and a text. `None` for paths that are no probes.
    pub async fn probe(&self, path: &str, query: Option<&str>) -> Option<(StatusCode, String)> {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let name = parts.next().unwrap_or_default();
        let question = match name {
            "livez" | "healthz" => Question::Live,
            "readyz" => Question::Ready,
            _ => return None,
        };
        let mut checks = self.checks(question).await;
        if let Some(only) = parts.next().filter(|it| !it.is_empty()) {
            checks.retain(|(check, _)| *check == only);
            if checks.is_empty() {
                return None;
            }
        }
        let query = Query::parse(query);
        let excluded: Vec<&str> = query.all("exclude").collect();
        checks.retain(|(check, _)| !excluded.contains(check));
        Some(told(name, &checks, query.text("verbose").is_some()))
    }

    async fn checks(&self, question: Question) -> Vec<(&'static str, Result<(), String>)> {
        let mut checks = vec![("ping", Ok(()))];
        if question == Question::Ready {
            let store = tokio::time::timeout(PATIENCE, self.store.revision()).await;
            let store = match store {
                Ok(revision) => revision.map(|_| ()).map_err(|error| error.to_string()),
                Err(_) => Err("no answer".to_owned()),
            };
            let settings = if *self.trusted.borrow() { Ok(()) } else { Err("not known yet".to_owned()) };
            let stopping = if self.is_draining() { Err("stopping".to_owned()) } else { Ok(()) };
            checks.extend([("store", store), ("authentication", settings), ("shutdown", stopping)]);
        }
        checks
    }

    /// A probe on the port of the API.
    pub(super) async fn health(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        let (code, text) = self.probe(path, query).await?;
        let mut answer = Answer::new(code, Content::Text(text));
        answer.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(answer)
    }
}

fn told(name: &str, checks: &[(&str, Result<(), String>)], verbose: bool) -> (StatusCode, String) {
    let mut text = String::new();
    let mut is_good = true;
    for (check, outcome) in checks {
        // A String takes everything.
        let _ = match outcome {
            Ok(()) => writeln!(text, "[+]{check} ok"),
            Err(reason) => {
                is_good = false;
                tracing::warn!(check, reason, "a check of {name} failed");
                writeln!(text, "[-]{check} failed: reason withheld")
            }
        };
    }
    match (is_good, verbose) {
        (true, false) => (StatusCode::OK, "ok".to_owned()),
        (true, true) => (StatusCode::OK, format!("{text}{name} check passed\n")),
        (false, _) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{text}{name} check failed\n")),
    }
}
