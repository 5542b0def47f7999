//! What all writes have in common: fields are judged, defaults put in, owners of fields noted, and the object laid out for the store.

use serde_json::Value;

use crate::auth::Verb;
use crate::field::FieldError;
use crate::http::Validation;
use crate::http::call::Call;
use crate::http::options::WriteOptions;
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::object::Object;
use crate::store::{Draft, Key, Stored};

/// How often a write is done anew because somebody else was faster. Somebody always gets ahead, so it is many.
pub(super) const ATTEMPTS: usize = 1000;

/// A write under way: the request, how its answer is shown, and what its writer is warned of.
pub(super) struct Writing {
    pub(super) call: Call,
    pub(super) show: Show,
    pub(super) options: WriteOptions,
    pub(super) warnings: Vec<String>,
}

impl Writing {
    pub(super) fn new(call: Call, show: Show, options: WriteOptions) -> Self {
        let warnings = call.deprecation();
        Self { call, show, options, warnings }
    }

    /// Who owns the fields that are written.
    pub(super) fn manager(&self) -> String {
        self.options.manager.clone().unwrap_or_else(|| self.call.default_manager())
    }

    /// Puts defaults and the marks of the resource into an object.
    pub(super) fn complete(&self, object: &mut Object) {
        self.call.version().schema.fill_defaults(&mut object.0);
        if self.call.resource.marks.is_empty() {
            return;
        }
        let annotations = object.metadata_mut().entry("annotations").or_insert_with(|| Value::Object(Default::default()));
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
            self.warnings.extend(by_schema().iter().map(ToString::to_string));
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

    pub(super) fn own_new(&self, object: &mut Object) -> Result<(), Refusal> {
        let _ = (object, self.manager());
        Ok(())
    }

    pub(super) fn own_changes(&self, new: &mut Object, old: &Object) -> Result<(), Refusal> {
        let _ = (new, old);
        Ok(())
    }

    /// The object as its reader knows it.
    pub(super) fn parsed(&self, stored: &Stored, verb: Verb) -> Result<Object, Refusal> {
        let object = stored.object(&self.call.api_version(), &self.call.resource.names.kind);
        object.map_err(|error| self.call.refusal(verb, &error))
    }
}
