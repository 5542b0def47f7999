//! `POST …`.

use axum::body::Body;
use http::StatusCode;

use super::detached;
use super::received::{MediaType, received};
use super::write::Writing;
use crate::auth::Verb;
use crate::http::answer::{Answer, Content};
use crate::http::call::Call;
use crate::http::options::{Write, WriteOptions};
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::object::Object;
use crate::present::accept::Shown;
use crate::rules;
use crate::store::{Key, StoreError, Stored};

/// How often another name is made up if one is taken.
const NAMES: usize = 8;

pub(super) async fn create(call: Call, body: Body) -> Result<Answer, Refusal> {
    let show = Show::of(&call, Shown::One)?;
    let media_type = MediaType::of_object(&call)?;
    let body = call.server.budget.receive(body).await?;
    let options = WriteOptions::read(&call.query, Write::Create)?;
    let object = received(&call, media_type, &body.bytes, options.fields)?;
    let writing = Writing::new(call, show, options);
    detached(async move {
        let _body = body;
        writing.create(object).await
    })
    .await
}

impl Writing {
    /// Makes a new object of what was sent, and keeps it.
    async fn create(mut self, mut object: Object) -> Result<Answer, Refusal> {
        let scope = self.call.resource.scope;
        self.drop_repeated_owners(&mut object, "");
        rules::set_namespace(&mut object, scope, &self.call.place.namespace).map_err(Refusal::bad_request)?;
        if object.meta("resourceVersion").is_some() {
            return Err(Refusal::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let name = object.meta("name").unwrap_or_default().to_owned();
        self.call.server.admit(&self.call.resource, &self.call.place.namespace, &name, true).await?;
        let base = object.meta("generateName").filter(|_| name.is_empty()).map(str::to_owned);
        self.fill_defaults(&mut object);
        let Some(base) = base else { return self.keep_new(object, false).await };
        for attempt in 1..=NAMES {
            let name = rules::generated_name(&base, random);
            let mut named = object.clone();
            named.metadata_mut().insert("name".to_owned(), name.as_str().into());
            match self.keep_new(named, true).await {
                Err(refusal) if refusal.code() == StatusCode::CONFLICT && attempt == NAMES => {
                    return Err(Refusal::no_unique_name(&self.call.resource, &name));
                }
                Err(refusal) if refusal.code() == StatusCode::CONFLICT => {}
                done => return done,
            }
        }
        Err(Refusal::no_unique_name(&self.call.resource, &base))
    }

    /// Keeps an object that an apply has made: the owners of its fields are noted.
    pub(super) async fn keep_applied(&mut self, object: Object) -> Result<Answer, Refusal> {
        self.is_apply = true;
        self.keep_new(object, false).await
    }

    async fn keep_new(&mut self, mut object: Object, is_generated: bool) -> Result<Answer, Refusal> {
        let uid = uuid::Uuid::new_v4().to_string();
        rules::begin_create(&mut object, self.call.version(), jiff::Timestamp::now(), &uid);
        if !self.is_apply {
            self.own_new(&mut object);
        }
        self.mark(&mut object);
        let errors = rules::check_create(&object, &self.call.resource, self.call.version(), self.enforces());
        let name = object.meta("name").unwrap_or_default().to_owned();
        let schema = self.call.version().schema.clone();
        self.judge(&name, &errors, || schema.validate(&object.0))?;
        self.call.warnings.extend(rules::finalizer_warnings(&object, None));
        let draft = self.draft(object);
        let id = self.call.id();
        if self.options.dry_run {
            return match self.existing(&draft.key).await? {
                Some(stored) => Err(self.taken(&draft.key, Some(&stored), is_generated)),
                None => self.made(self.show.object(&draft.object)?),
            };
        }
        let stored = self.call.timed("create", self.call.server.store.create(&id, &draft)).await;
        match stored {
            Ok(stored) => self.made(self.show.one(&stored)?),
            Err(StoreError::Exists) => {
                let there = if is_generated { None } else { self.existing(&draft.key).await? };
                Err(self.taken(&draft.key, there.as_ref(), is_generated))
            }
            Err(error) => Err(Refusal::of_store(&error, &self.call.resource, Verb::Create, &name)),
        }
    }

    fn made(&mut self, json: Vec<u8>) -> Result<Answer, Refusal> {
        Ok(Answer::new(StatusCode::CREATED, Content::Json(json)).encoded(self.show.encoding))
    }

    async fn existing(&self, key: &Key) -> Result<Option<Stored>, Refusal> {
        let found = self.call.timed("get", self.call.server.store.get(&self.call.id(), key)).await;
        found.map_err(|error| self.call.refusal(Verb::Create, &error))
    }

    fn taken(&self, key: &Key, there: Option<&Stored>, is_generated: bool) -> Refusal {
        let there = there.and_then(|it| self.parsed(it, Verb::Create).ok());
        let is_going = there.is_some_and(|it| it.meta("deletionTimestamp").is_some());
        Refusal::already_exists(&self.call.resource, &key.name, is_going && !is_generated)
    }
}

fn random() -> u32 {
    // The low bits of a random uuid are all random.
    uuid::Uuid::new_v4().as_u128() as u32
}
