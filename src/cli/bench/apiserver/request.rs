//! What is sent to write a report, as bytes, and what has to come back.

use anyhow::{Context as _, ensure};
use memchr::memmem;
use serde_json::Value;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::load::Repeated;
use super::workload::{self, Turn};

/// A request that writes a report, made anew for each.
#[derive(Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    /// Creates the report, or replaces it where the turn says what.
    pub(super) fn write(&mut self, authority: &str, turn: Turn) -> &[u8] {
        self.body.clear();
        workload::write(turn, &mut self.body);
        let (namespace, name) = (workload::namespace(turn.report), workload::name(turn.report));
        let (method, name) = match turn.replaces {
            None => ("POST", String::new()),
            Some(_) => ("PUT", format!("/{name}")),
        };
        self.bytes.clear();
        // Memory takes everything.
        let _ = write!(
            self.bytes,
            "{method} /apis/wgpolicyk8s.io/v1alpha2/namespaces/{namespace}/policyreports{name} HTTP/1.1\r\nHost: {authority}\r\n\
             User-Agent: larder-bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.body.len()
        );
        self.bytes.extend_from_slice(&self.body);
        &self.bytes
    }
}

/// The revision of the first object in an answer.
pub(super) fn revision(answer: &[u8]) -> anyhow::Result<u64> {
    const FIELD: &[u8] = br#""resourceVersion":""#;
    let start = memmem::find(answer, FIELD).context("an answer without a revision")? + FIELD.len();
    let digits = answer[start..].iter().take_while(|it| it.is_ascii_digit()).count();
    let digits = std::str::from_utf8(&answer[start..start + digits])?;
    digits.parse().context("a revision that is no number")
}

/// Whether an object is the report that was sent, and is complete.
pub(super) fn check(object: &Value, turn: Turn) -> anyhow::Result<()> {
    let mut sent = Vec::new();
    workload::write(turn, &mut sent);
    let sent: Value = serde_json::from_slice(&sent)?;
    let name = &sent["metadata"]["name"];
    for field in ["apiVersion", "kind", "results", "scope", "summary"] {
        ensure!(object[field] == sent[field], "{name} has another `{field}` than was sent");
    }
    check_metadata(&object["metadata"], turn.report)
}

/// The same of its metadata alone.
pub(super) fn check_metadata(metadata: &Value, report: u64) -> anyhow::Result<()> {
    let mut sent = Vec::new();
    workload::write(Turn::first(report), &mut sent);
    let sent: Value = serde_json::from_slice(&sent)?;
    for field in ["name", "namespace", "labels", "ownerReferences"] {
        ensure!(metadata[field] == sent["metadata"][field], "not the metadata that was sent: {metadata}");
    }
    ensure!(metadata["uid"].is_string() && metadata["creationTimestamp"].is_string(), "not all: {metadata}");
    Ok(())
}

/// One of several clients that create reports, each another.
pub(super) struct Create {
    request: Request,
    authority: String,
    next: Arc<AtomicU64>,
    report: u64,
}

impl Create {
    /// Reports from `next` on.
    pub(super) fn new(authority: &str, next: &Arc<AtomicU64>) -> Self {
        Self {
            request: Request::default(),
            authority: authority.to_owned(),
            next: Arc::clone(next),
            report: 0,
        }
    }
}

impl Repeated for Create {
    const STATUS: u16 = 201;

    fn next(&mut self) -> &[u8] {
        self.report = self.next.fetch_add(1, Ordering::Relaxed);
        self.request.write(&self.authority, Turn::first(self.report))
    }

    fn rows_inserted(&self) -> u64 {
        1
    }

    fn verify(&self, body: &[u8]) -> anyhow::Result<()> {
        ensure!(revision(body)? > 0, "a revision of 0");
        check(&serde_json::from_slice(body)?, Turn::first(self.report))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_that_is_not_what_was_sent_is_found() {
        let mut create = Create::new("x:1", &Arc::new(AtomicU64::new(5)));
        let request = create.next();
        let body = request.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        let mut answer: Value = serde_json::from_slice(&request[body..]).unwrap();
        let mut verify = |change: &dyn Fn(&mut Value)| {
            change(&mut answer);
            create.verify(&serde_json::to_vec(&answer).unwrap())
        };
        verify(&|_| {}).unwrap_err();
        verify(&|it| {
            it["metadata"]["uid"] = json!("u");
            it["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        })
        .unwrap_err();
        verify(&|it| it["metadata"]["resourceVersion"] = json!("17")).unwrap();
        verify(&|it| drop(it["results"].as_array_mut().unwrap().pop())).unwrap_err();
    }

    #[test]
    fn what_is_replaced_is_named() {
        let mut request = Request::default();
        let turn = Turn { report: 1, scan: 2, replaces: Some(34) };
        let text = String::from_utf8(request.write("x:1", turn).to_vec()).unwrap();
        assert!(
            text.starts_with("PUT /apis/") && text.contains(&format!("/{} HTTP/1.1\r\n", workload::name(1)))
        );
        assert_eq!(revision(text.as_bytes()).unwrap(), 34);
        revision(b"{}").unwrap_err();
    }
}
