//! What all writes have in common: fields are judged, defaults put in, owners of fields noted, and the object laid out for the store.

use http::header;
use serde_json::Value;

use crate::apply;
use crate::auth::Verb;
use crate::field::FieldError;
use crate::http::Validation;
use crate::http::call::Call;
use crate::http::options::WriteOptions;
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::object::Object;
use crate::rules;
use crate::store::{Draft, Key, Stored};

/// How often a write is done anew because somebody else was faster. Somebody always gets ahead, so it is many.
pub(super) const ATTEMPTS: usize = 1000;

/// A write under way: the request, and how its answer is shown.
pub(super) struct Writing {
    pub(super) call: Call,
    pub(super) show: Show,
    pub(super) options: WriteOptions,
    /// It is an apply, which notes by itself who owns what.
    pub(super) is_apply: bool,
}

impl Writing {
    pub(super) fn new(call: Call, show: Show, options: WriteOptions) -> Self {
        Self { call, show, options, is_apply: false }
    }

    /// Who owns the fields that are written.
    pub(super) fn manager(&self) -> String {
        let agent = self.call.headers.get(header::USER_AGENT);
        let agent = agent.map(|it| String::from_utf8_lossy(it.as_bytes())).unwrap_or_default();
        let said = self.options.manager.as_deref().unwrap_or_default();
        apply::manager_or_agent(said, &agent)
    }

    /// Puts defaults and the marks of the resource into an object.
    pub(super) fn complete(&self, object: &mut Object) {
        self.fill_defaults(object);
        self.mark(object);
    }

    /// `when` says what came before, in the words of Kubernetes' warning.
    pub(super) fn drop_repeated_owners(&mut self, object: &mut Object, when: &str) {
        self.call.warnings.extend(rules::drop_repeated_owners(object, when));
    }

    pub(super) fn fill_defaults(&self, object: &mut Object) {
        self.call.version().schema.fill_defaults(&mut object.0);
    }

    /// Puts in the marks of the resource. As with what Kubernetes' admission puts into a new object, nobody owns them unless he has set them
    /// himself: in a new object that is done when its fields have their owners.
    pub(super) fn mark(&self, object: &mut Object) {
        if self.call.resource.marks.is_empty() {
            return;
        }
        let annotations =
            object.metadata_mut().entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            for (key, value) in &self.call.resource.marks {
                annotations.insert(key.clone(), value.as_str().into());
            }
        }
    }

    /// Whether schemas are to be enforced by the rules, and not only looked at.
    pub(super) fn enforces(&self) -> bool {
        self.call.server.validation == Validation::Enforce
    }

    /// Refuses what the rules found wrong, and warns of what only the schema does, if that is how it is wanted.
    pub(super) fn judge(
        &mut self,
        name: &str,
        errors: &[FieldError],
        by_schema: impl FnOnce() -> Vec<FieldError>,
    ) -> Result<(), Refusal> {
        if !errors.is_empty() {
            self.call.server.telemetry.refused(&self.call.id());
            return Err(Refusal::invalid(&self.call.resource, name, errors));
        }
        if self.call.server.validation == Validation::Warn {
            self.call.warnings.extend(by_schema().iter().map(ToString::to_string));
        }
        Ok(())
    }

    /// Lays an object out for the store.
    pub(super) fn draft(&self, object: Object) -> Draft {
        let version = self.call.version();
        let text = |field| object.meta(field).unwrap_or_default().to_owned();
        Draft {
            key: Key { namespace: text("namespace"), name: text("name") },
            uid: text("uid"),
            version: version.name.clone(),
            fields: self.call.fields(&object),
            object,
        }
    }

    /// What the algebra of changes has to know.
    pub(super) fn context(&self) -> apply::Context<'_> {
        apply::Context {
            resource: &self.call.resource,
            version: self.call.version(),
            part: self.part(),
            now: jiff::Timestamp::now(),
        }
    }

    /// Notes who owns the fields of a new object.
    pub(super) fn own_new(&self, new: &mut Object) {
        apply::update(&self.context(), None, new, &self.manager());
    }

    /// Notes who owns the fields that an update changes.
    pub(super) fn own_changes(&self, new: &mut Object, old: &Object) {
        apply::update(&self.context(), Some(old), new, &self.manager());
    }

    /// The object as its reader knows it.
    pub(super) fn parsed(&self, stored: &Stored, verb: Verb) -> Result<Object, Refusal> {
        let object = stored.object(&self.call.api_version(), &self.call.resource.names.kind);
        let mut object = object.map_err(|error| self.call.refusal(verb, &error))?;
        self.call.version().adopt(&mut object);
        Ok(object)
    }
}
