//! What the server says of itself.

use http::request::Parts;

use super::ApiServer;
use super::answer::Answer;
use super::status::Refusal;

impl ApiServer {
    pub(super) fn document(&self, path: &str, head: &Parts) -> Result<Answer, Refusal> {
        let _ = (path, head);
        Err(Refusal::no_path())
    }
}
