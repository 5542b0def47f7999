//! `/watch` as a client reads it: server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), of which the
//! sidecar writes `event`, `id` and one `data` line each.

use async_trait::async_trait;
use larder_wire::Kind;

use super::{Answer, Error};
use crate::database::{Change, Changes, DatabaseError};

/// An event, at most: a commit names tables, and a schema has some hundred.
const LIMIT: usize = 1 << 20;

/// Changes as a sidecar tells them.
pub(super) struct Watch {
    answer: Answer,
    lines: Vec<u8>,
    event: Event,
    seen: u64,
}

#[derive(Default)]
struct Event {
    name: String,
    id: Option<u64>,
    data: String,
}

impl Watch {
    /// Waits for the first event, which says where the watch begins.
    pub(super) async fn begin(answer: Answer) -> Result<Self, Error> {
        let mut watch = Self { answer, lines: Vec::new(), event: Event::default(), seen: 0 };
        match watch.event().await? {
            Some(first) if first.name == "ready" => Ok(watch),
            _ => Err(Error::Broken("it does not say from where on it tells changes".to_owned())),
        }
    }

    /// The next event with a name; `None` at the end.
    async fn event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            if !line.is_empty() {
                self.event.read(&line);
                continue;
            }
            let event = std::mem::take(&mut self.event);
            self.seen = event.id.unwrap_or(self.seen);
            if !event.name.is_empty() {
                return Ok(Some(event));
            }
        }
    }

    async fn line(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.lines.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.lines[..end]).into_owned();
                self.lines.drain(..=end);
                return Ok(Some(line));
            }
            if self.lines.len() > LIMIT {
                return Err(Error::Broken(format!("an event of it is longer than {LIMIT} bytes")));
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.lines.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Event {
    /// Takes in one line. One that begins with a colon is a comment.
    fn read(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = value.parse().ok().or(self.id),
            "data" => self.data.push_str(value),
            _ => {}
        }
    }
}

#[async_trait]
impl Changes for Watch {
    fn seen(&self) -> u64 {
        self.seen
    }

    async fn next(&mut self) -> Result<Option<Change>, DatabaseError> {
        let malformed = |error: serde_json::Error| DatabaseError::Broken(error.to_string());
        loop {
            let Some(event) = self.event().await? else { return Ok(None) };
            match event.name.as_str() {
                "change" => return serde_json::from_str(&event.data).map(Some).map_err(malformed),
                "error" => {
                    let error: larder_wire::Error = serde_json::from_str(&event.data).map_err(malformed)?;
                    return Err(DatabaseError::refused(larder_wire::Error { kind: Kind::Gone, ..error }));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_make_an_event_and_comments_none() {
        let mut event = Event::default();
        for line in
            ["event: change", ": still here", "id: 12", "data:{\"seq\":12,", "data: \"tables\":[\"t\"]}"]
        {
            event.read(line);
        }
        assert_eq!((event.name.as_str(), event.id), ("change", Some(12)));
        let change: Change = serde_json::from_str(&event.data).expect("a change");
        assert_eq!(change, Change { seq: 12, tables: vec!["t".to_owned()], schema: false });
    }
}
