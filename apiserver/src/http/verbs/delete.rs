//! `DELETE …/NAME`.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::detached;
use super::received::{MediaType, parsed};
use super::write::ATTEMPTS;
use crate::auth::Verb;
use crate::http::answer::Answer;
use crate::http::call::Call;
use crate::http::options::delete_options;
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::present::accept::Shown;
use crate::rules::{self, DeleteOptions, Deletion};
use crate::store::{Draft, Key, StoreError, Stored};

pub(super) async fn delete(call: Call, body: Body) -> Result<Answer, Refusal> {
    let show = Show::of(&call, Shown::One)?;
    let options = received_options(&call, body).await?;
    let call = Arc::new(call);
    detached(async move {
        let key = call.key();
        let deleted = Deleting { call: Arc::clone(&call), options }.delete(&key, None, Verb::Delete).await?;
        let json = match deleted {
            Deleted::Gone { uid } => success(&call, &uid),
            Deleted::Waits(stored) => show.one(&stored)?,
        };
        Ok(Answer::json(json).encoded(show.encoding))
    })
    .await
}

/// The options of a deletion, from its body or its query.
pub(super) async fn received_options(call: &Call, body: Body) -> Result<DeleteOptions, Refusal> {
    let body = call.server.budget.receive(body).await?;
    let read = read_options(call, &body.bytes)?;
    delete_options(&call.query, read.as_ref())
}

fn read_options(call: &Call, body: &Bytes) -> Result<Option<Map<String, Value>>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    let media_type = MediaType::of_object(call)?;
    // What a client sends that has no options.
    if body.trim_ascii() == b"null" {
        return Ok(Some(Map::new()));
    }
    let read = parsed(media_type, body);
    read.map(|it| Some(it.object))
        .map_err(|error| Refusal::bad_request(format!("DeleteOptions cannot be read: {error}")))
}

/// The Status of a deletion that is done.
fn success(call: &Call, uid: &str) -> Vec<u8> {
    let details = json!({
        "name": call.place.name,
        "group": call.place.group,
        "kind": call.resource.names.plural,
        "uid": uid,
    });
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
    let mut json = status.to_string().into_bytes();
    json.push(b'\n');
    json
}

/// Deletions with the same options.
#[derive(Clone)]
pub(super) struct Deleting {
    pub(super) call: Arc<Call>,
    pub(super) options: DeleteOptions,
}

/// What became of an object.
pub(super) enum Deleted {
    /// It is not there any more.
    Gone { uid: String },
    /// It waits for its finalizers.
    Waits(Stored),
}

impl Deleting {
    /// Deletes one object, however often others write it meanwhile. `seen` is how it was last seen.
    pub(super) async fn delete(
        &self,
        key: &Key,
        mut seen: Option<Stored>,
        verb: Verb,
    ) -> Result<Deleted, Refusal> {
        for _ in 0..ATTEMPTS {
            let current = match seen.take() {
                Some(stored) => stored,
                None => self.current(key, verb).await?,
            };
            match self.attempt(key, current).await {
                Err(StoreError::Changed) => {}
                Ok(done) => return done,
                Err(error) => return Err(Refusal::of_store(&error, &self.call.resource, verb, &key.name)),
            }
        }
        Err(Refusal::modified(&self.call.resource, &key.name))
    }

    async fn current(&self, key: &Key, verb: Verb) -> Result<Stored, Refusal> {
        let found = self.call.timed("get", self.call.server.store.get(&self.call.id(), key)).await;
        let found = found.map_err(|error| Refusal::of_store(&error, &self.call.resource, verb, &key.name))?;
        found.ok_or_else(|| Refusal::not_found(&self.call.resource, &key.name))
    }

    async fn attempt(&self, key: &Key, current: Stored) -> Result<Result<Deleted, Refusal>, StoreError> {
        let (call, is_dry) = (&self.call, !self.options.dry_run.is_empty());
        let object = current.object(&call.api_version(), &call.resource.names.kind)?;
        let uid = object.meta("uid").unwrap_or_default().to_owned();
        let deletion = match rules::delete(&object, &self.options, jiff::Timestamp::now()) {
            Ok(deletion) => deletion,
            Err(why) => return Ok(Err(Refusal::conflict(&call.resource, &key.name, &why))),
        };
        let (id, store) = (call.id(), &call.server.store);
        Ok(Ok(match deletion {
            Deletion::Waiting => Deleted::Waits(current),
            Deletion::Remove if is_dry => Deleted::Gone { uid },
            Deletion::Remove => {
                call.timed("delete", store.delete(&id, key, current.revision)).await?;
                call.audit(key, &uid, "deleted");
                Deleted::Gone { uid }
            }
            Deletion::Mark(marked) if is_dry => Deleted::Waits(current.with(&marked)),
            Deletion::Mark(marked) => {
                let draft = Draft {
                    key: key.clone(),
                    uid: uid.clone(),
                    version: current.version.to_string(),
                    fields: call.fields(&marked),
                    object: marked,
                };
                let stored = call.timed("update", store.update(&id, &draft, current.revision)).await?;
                call.audit(key, &uid, "marked to be deleted once its finalizers are gone");
                Deleted::Waits(stored)
            }
        }))
    }
}
