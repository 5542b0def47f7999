//! `PUT …/NAME`, and what it shares with patches: an object that takes the place of another.

use axum::body::Body;

use super::detached;
use super::received::{MediaType, received};
use super::write::Writing;
use crate::auth::Verb;
use crate::field::FieldError;
use crate::http::answer::Answer;
use crate::http::call::Call;
use crate::http::options::{Write, WriteOptions};
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::object::Object;
use crate::present::accept::Shown;
use crate::rules::{self, Effect, Part};
use crate::store::{StoreError, Stored};

pub(super) async fn update(call: Call, body: Body) -> Result<Answer, Refusal> {
    let show = Show::of(&call, Shown::One)?;
    let media_type = MediaType::of_object(&call)?;
    let body = call.server.budget.receive(body).await?;
    let options = WriteOptions::read(&call.query, Write::Update)?;
    let object = received(&call, media_type, &body.bytes, options.fields)?;
    check_name(&call, &object)?;
    let writing = Writing::new(call, show, options);
    detached(async move {
        let _body = body;
        writing.update(object).await
    })
    .await
}

/// The object has the name and the namespace of the path.
pub(super) fn check_name(call: &Call, object: &Object) -> Result<(), Refusal> {
    let path = &call.place.name;
    let name = object.meta("name").unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({path} based on URL) was undeterminable: name must be provided"
        )));
    }
    if name != path {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({path})"
        )));
    }
    match object.meta("namespace") {
        Some(namespace) if !call.place.namespace.is_empty() && namespace != call.place.namespace => {
            Err(Refusal::bad_request(format!(
                "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
                call.place.namespace
            )))
        }
        _ => Ok(()),
    }
}

/// What became of a write.
pub(super) enum Outcome {
    /// It was done, or there was nothing to do; this is how the object is.
    Done(Answer),
    /// Somebody else has written meanwhile.
    Overtaken,
}

impl Writing {
    async fn update(mut self, mut object: Object) -> Result<Answer, Refusal> {
        let (scope, namespace) = (self.call.resource.scope, self.call.place.namespace.clone());
        self.drop_repeated_owners(&mut object, "");
        rules::set_namespace(&mut object, scope, &namespace).map_err(Refusal::bad_request)?;
        let name = self.call.place.name.clone();
        self.call.server.admit(&self.call.resource, &namespace, &name, false).await?;
        let current = self.current(Verb::Update).await?;
        let current = current.ok_or_else(|| Refusal::not_found(&self.call.resource, &name))?;
        self.check_revision(&object, &current)?;
        self.check_uid(&object, &current)?;
        self.complete(&mut object);
        match self.replace(Verb::Update, &current, object).await? {
            Outcome::Done(answer) => Ok(answer),
            Outcome::Overtaken => Err(Refusal::modified(&self.call.resource, &name)),
        }
    }

    /// The object that the path names.
    pub(super) async fn current(&self, verb: Verb) -> Result<Option<Stored>, Refusal> {
        let (id, key) = (self.call.id(), self.call.key());
        let found = self.call.timed("get", self.call.server.store.get(&id, &key)).await;
        found.map_err(|error| self.call.refusal(verb, &error))
    }

    /// Puts `new` in the place of `current`, as far as an update may, by an update of this verb.
    pub(super) async fn replace(
        &mut self,
        verb: Verb,
        current: &Stored,
        mut new: Object,
    ) -> Result<Outcome, Refusal> {
        let old = self.parsed(current, verb)?;
        let part = self.part();
        rules::begin_update(&mut new, &old, self.call.version(), part);
        self.own_changes(&mut new, &old);
        self.put(verb, current, new, &old, part).await
    }

    /// Checks and stores an object of which the fields have their owners.
    pub(super) async fn put(
        &mut self,
        verb: Verb,
        current: &Stored,
        mut new: Object,
        old: &Object,
        part: Part,
    ) -> Result<Outcome, Refusal> {
        let (resource, version) = (&self.call.resource, self.call.version());
        let errors = rules::check_update(&new, old, resource, version, part, self.enforces());
        let schema = version.schema.clone();
        let name = self.call.place.name.clone();
        self.judge(&name, &errors, || match part {
            Part::Main => schema.validate_update(&new.0, &old.0),
            Part::Status => schema.validate_status(&new.0, &old.0),
        })?;
        self.call.warnings.extend(rules::finalizer_warnings(&new, Some(old)));
        match rules::effect(&mut new, old) {
            Effect::None => self.done(self.show.one(current)?),
            _ if self.options.dry_run => self.done(self.show.object(&new)?),
            Effect::Write => {
                let (id, draft) = (self.call.id(), self.draft(new));
                let store = &self.call.server.store;
                match self.call.timed("update", store.update(&id, &draft, current.revision)).await {
                    Ok(stored) => self.done(self.show.one(&stored)?),
                    Err(error) => self.overtaken(verb, error),
                }
            }
            Effect::Delete => self.finish(verb, current, &new).await,
        }
    }

    /// The last finalizer of an object that is being deleted is gone.
    async fn finish(&mut self, verb: Verb, current: &Stored, last: &Object) -> Result<Outcome, Refusal> {
        let (id, store) = (self.call.id(), &self.call.server.store);
        let deleted = self.call.timed("delete", store.delete(&id, &current.key, current.revision)).await;
        if let Err(error) = deleted {
            return self.overtaken(verb, error);
        }
        self.call.audit(&current.key, last.meta("uid").unwrap_or_default(), "its last finalizer is gone");
        self.done(self.show.object(last)?)
    }

    fn overtaken(&self, verb: Verb, error: StoreError) -> Result<Outcome, Refusal> {
        match error {
            StoreError::Changed => Ok(Outcome::Overtaken),
            error => Err(self.call.refusal(verb, &error)),
        }
    }

    fn done(&mut self, json: Vec<u8>) -> Result<Outcome, Refusal> {
        Ok(Outcome::Done(Answer::json(json).encoded(self.show.encoding)))
    }

    /// Whoever writes an object has seen what he replaces.
    pub(super) fn check_revision(&self, new: &Object, current: &Stored) -> Result<(), Refusal> {
        let (resource, name) = (&self.call.resource, &self.call.place.name);
        let said = new.meta("resourceVersion").unwrap_or_default();
        match said.parse::<u64>() {
            _ if said.is_empty() => Err(Refusal::invalid(resource, name, &[unset_revision()])),
            Ok(0) => Err(Refusal::invalid(resource, name, &[unset_revision()])),
            Ok(revision) if revision == current.revision => Ok(()),
            Ok(_) => Err(Refusal::modified(resource, name)),
            Err(_) => {
                let quoted = crate::field::quote(said);
                Err(Refusal::bad_request(format!("strconv.ParseUint: parsing {quoted}: invalid syntax")))
            }
        }
    }

    /// An update that names an object means that one. Of a patch it is a change of what cannot be changed.
    fn check_uid(&self, new: &Object, current: &Stored) -> Result<(), Refusal> {
        let Some(sent) = new.meta("uid") else { return Ok(()) };
        let old = self.parsed(current, Verb::Update)?;
        let there = old.meta("uid").unwrap_or_default();
        if sent == there {
            return Ok(());
        }
        let why = format!("Precondition failed: UID in precondition: {sent}, UID in object meta: {there}");
        Err(Refusal::conflict(&self.call.resource, &self.call.place.name, &why))
    }
}

fn unset_revision() -> FieldError {
    FieldError::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update")
}
