//! `PATCH …/NAME`: JSON patches, merge patches, and server-side apply.
//!
//! A patch is made anew on what stands there when somebody else was faster, so that it never conflicts, unless it names a revision itself.

use axum::body::Body;
use bytes::Bytes;
use serde_json::Value;

use super::detached;
use super::received::{Findings, MediaType, parsed};
use super::update::{Outcome, check_name};
use super::write::{ATTEMPTS, Writing};
use crate::apply::{self, ApplyError, PatchError};
use crate::auth::{Attributes, Verb};
use crate::field::FieldError;
use crate::http::answer::Answer;
use crate::http::call::Call;
use crate::http::options::{FieldValidation, Write, WriteOptions};
use crate::http::show::Show;
use crate::http::status::{Cause, Refusal};
use crate::object::Object;
use crate::present::accept::Shown;
use crate::rules::{self, Part};
use crate::schema;
use crate::store::Stored;

pub(super) async fn patch(call: Call, body: Body) -> Result<Answer, Refusal> {
    let media_type = MediaType::of_patch(&call)?;
    let show = Show::of(&call, Shown::One)?;
    let body = call.server.budget.receive(body).await?;
    let write = if media_type == MediaType::Apply { Write::Apply } else { Write::Patch };
    let options = WriteOptions::read(&call.query, write)?;
    call.server.admit(&call.resource, &call.place.namespace, &call.place.name, false).await?;
    let writing = Writing::new(call, show, options);
    detached(async move {
        let bytes = body.bytes.clone();
        let _body = body;
        match media_type {
            MediaType::Apply => writing.apply(&bytes).await,
            _ => writing.patch(media_type, bytes).await,
        }
    })
    .await
}

impl Writing {
    async fn patch(mut self, media_type: MediaType, patch: Bytes) -> Result<Answer, Refusal> {
        for _ in 0..ATTEMPTS {
            let current = self.current(Verb::Patch).await?;
            let current =
                current.ok_or_else(|| Refusal::not_found(&self.call.resource, &self.call.place.name))?;
            let new = self.patched(&current, media_type, &patch)?;
            if let Outcome::Done(answer) = self.replace(Verb::Patch, &current, new).await? {
                return Ok(answer);
            }
        }
        Err(Refusal::modified(&self.call.resource, &self.call.place.name))
    }

    /// What the object becomes, before the rules of updates.
    fn patched(&mut self, current: &Stored, media_type: MediaType, patch: &[u8]) -> Result<Object, Refusal> {
        let mut document = Value::Object(self.parsed(current, Verb::Patch)?.0);
        let mut findings = Findings::default();
        let done = match media_type {
            MediaType::JsonPatch => {
                apply::json_patch(&mut document, patch).map(|told| findings.of_patch = told)
            }
            _ => {
                findings.duplicates = schema::read(patch).map(|it| it.duplicates).unwrap_or_default();
                apply::merge_patch(&mut document, patch)
            }
        };
        done.map_err(refused_patch)?;
        let wrong = |why: &str| unreadable_patch(patch, why);
        let Value::Object(fields) = document else { return Err(wrong("it does not leave an object")) };
        let mut new = Object(fields);
        self.check_kind(&new).map_err(|why| wrong(&why))?;
        let coerced = self.call.version().schema.coerce(&mut new.0).map_err(|why| wrong(&why))?;
        findings.unknown = coerced.unknown;
        self.call.warnings.extend(findings.judged(self.options.fields).map_err(|why| wrong(&why))?);
        check_name(&self.call, &new)?;
        self.check_revision(&new, current)?;
        self.drop_repeated_owners(&mut new, " after mutating admission happens");
        self.complete(&mut new);
        Ok(new)
    }

    /// A patch may not make something else of an object.
    fn check_kind(&self, new: &Object) -> Result<(), String> {
        let expected =
            [("apiVersion", self.call.api_version()), ("kind", self.call.resource.names.kind.clone())];
        match expected.iter().find(|(field, it)| new.0.get(*field).and_then(Value::as_str) != Some(it)) {
            Some((field, it)) => Err(format!("{field} must be {it}")),
            None => Ok(()),
        }
    }

    async fn apply(mut self, config: &[u8]) -> Result<Answer, Refusal> {
        let read = parsed(MediaType::Yaml, config)
            .map_err(|why| Refusal::bad_request(format!("error decoding YAML: {why}")))?;
        let findings = Findings { duplicates: read.duplicates, ..Findings::default() };
        if self.options.fields != FieldValidation::Ignore {
            let judged = findings.judged(self.options.fields);
            self.call.warnings.extend(
                judged.map_err(|why| Refusal::bad_request(format!("error strict decoding YAML: {why}")))?,
            );
        }
        let config = Object(read.object);
        for _ in 0..ATTEMPTS {
            let done = match self.current(Verb::Patch).await? {
                Some(current) => self.apply_to(&current, &config).await?,
                None => match self.apply_anew(&config).await {
                    // Somebody else has made it meanwhile.
                    Err(refusal)
                        if refusal.code() == http::StatusCode::CONFLICT && config.meta("uid").is_none() =>
                    {
                        Outcome::Overtaken
                    }
                    done => Outcome::Done(done?),
                },
            };
            if let Outcome::Done(answer) = done {
                return Ok(answer);
            }
        }
        Err(Refusal::modified(&self.call.resource, &self.call.place.name))
    }

    async fn apply_to(&mut self, current: &Stored, config: &Object) -> Result<Outcome, Refusal> {
        let old = self.parsed(current, Verb::Patch)?;
        let mut new = self.applied(Some(&old), config)?;
        if config.meta("resourceVersion").is_some_and(|it| it != current.revision.to_string()) {
            return Err(Refusal::modified(&self.call.resource, &self.call.place.name));
        }
        let part = self.part();
        new.metadata_mut().insert("resourceVersion".to_owned(), current.revision.to_string().into());
        rules::begin_update(&mut new, &old, self.call.version(), part);
        self.put(Verb::Patch, current, new, &old, part).await
    }

    /// An apply makes what is not there, if its sender may.
    async fn apply_anew(&mut self, config: &Object) -> Result<Answer, Refusal> {
        let call = &self.call;
        if call.is_status() {
            return Err(Refusal::not_found(&call.resource, &call.place.name));
        }
        if let Some(uid) = config.meta("uid") {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Refusal::conflict(&call.resource, &call.place.name, &why));
        }
        let attributes = Attributes::Resource {
            verb: Verb::Create,
            place: call.place.clone(),
            labels: Vec::new(),
            fields: Vec::new(),
        };
        call.server.authorize(&call.user, &attributes, "").await?;
        call.server.admit(&call.resource, &call.place.namespace, &call.place.name, true).await?;
        let mut new = self.applied(None, config)?;
        rules::set_namespace(&mut new, self.call.resource.scope, &self.call.place.namespace)
            .map_err(Refusal::bad_request)?;
        self.complete(&mut new);
        self.keep_applied(new).await
    }

    /// The object with a configuration applied to it.
    fn applied(&mut self, live: Option<&Object>, config: &Object) -> Result<Object, Refusal> {
        let mut config = config.clone();
        let name =
            config.metadata_mut().entry("name").or_insert_with(|| self.call.place.name.as_str().into());
        if name.as_str().is_none_or(str::is_empty) {
            *name = self.call.place.name.as_str().into();
        }
        check_name(&self.call, &config)?;
        let force = self.options.force.unwrap_or(false);
        let applied = apply::apply(&self.context(), live, &config, &self.manager(), force);
        let mut new = applied.map_err(refused_apply)?;
        self.call.version().schema.coerce_metadata(&mut new.0).map_err(Refusal::bad_request)?;
        self.drop_repeated_owners(&mut new, " after mutating admission happens");
        self.complete(&mut new);
        Ok(new)
    }

    pub(super) fn part(&self) -> Part {
        if self.call.is_status() { Part::Status } else { Part::Main }
    }
}

fn refused_patch(error: PatchError) -> Refusal {
    match error {
        PatchError::Malformed(why) => Refusal::bad_request(why),
        PatchError::TooMany { .. } => Refusal::too_large(format!("Request entity too large: {error}")),
        PatchError::Failed(why) => {
            tracing::debug!(why, "a patch failed");
            Refusal::unprocessable()
        }
    }
}

fn unreadable_patch(patch: &[u8], why: &str) -> Refusal {
    let text = String::from_utf8_lossy(patch);
    Refusal::invalid_kind("", "", "", &[FieldError::invalid_text("patch", &text, why)])
}

fn refused_apply(error: ApplyError) -> Refusal {
    let message = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.into_iter().map(|it| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", it.manager),
                field: it.field,
            });
            Refusal::manager_conflict(message, causes.collect())
        }
        ApplyError::BadRequest(_) => Refusal::bad_request(message),
        ApplyError::Untyped(_) => Refusal::untyped(message),
    }
}
