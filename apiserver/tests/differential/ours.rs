//! Ours: the functions of the crate in the order in which a server calls them, over a map.

use std::collections::HashMap;

use larder_apiserver::apply::{self, ApplyError, Context, PatchError};
use larder_apiserver::field::{FieldError, joined};
use larder_apiserver::object::Object;
use larder_apiserver::registry::{Registry, Version};
use larder_apiserver::rules::{self, Deletion, Effect, Part};
use larder_apiserver::schema;
use serde_json::{Value, json};

use crate::request::{Answer, Request, Verb};

pub(crate) struct Ours {
    registry: Registry,
    objects: HashMap<String, Object>,
    revision: u64,
}

/// What a request comes to: a code and an object, or a Status.
type Outcome = Result<(u16, Object), Value>;

impl Ours {
    pub(crate) fn new(document: &Value) -> Self {
        let mut registry = Registry::default();
        registry.add("the test", &document.to_string()).unwrap();
        Self { registry, objects: HashMap::new(), revision: 1 }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        let mut request = request.clone();
        if let Some(version) = self.objects.get(&request.name).and_then(|it| it.meta("resourceVersion")) {
            request.body = request.body.replace("$VERSION", version);
        }
        request.body = request.body.replace("$VERSION", "1");
        let mut warnings = Vec::new();
        match self.outcome(&request, &mut warnings) {
            Ok((code, object)) => Answer { code, warnings, body: Value::Object(object.0) },
            Err(status) => {
                let code = status["code"].as_u64().unwrap_or(200);
                Answer { code: u16::try_from(code).unwrap(), warnings, body: status }
            }
        }
    }

    fn outcome(&mut self, request: &Request, warnings: &mut Vec<String>) -> Outcome {
        let registry = self.registry.clone();
        let (resource, version) = registry.find("example.com", "v1", "things").unwrap();
        let now = jiff::Timestamp::now();
        let part = if request.status { Part::Status } else { Part::Main };
        let context = Context { resource, version, part, now };
        match request.verb {
            Verb::Create => {
                let mut object = decode(&request.body, request.validation, version, warnings)?;
                object.metadata_mut().remove("resourceVersion");
                self.create(&context, object, request, warnings)
            }
            Verb::Get => self.stored(&request.name).map(|it| (200, it)),
            Verb::Delete => self.delete(&request.name, &request.body, now),
            Verb::Replace => {
                let new = decode(&request.body, request.validation, version, warnings)?;
                let old = self.stored(&request.name)?;
                self.replace(&context, new, &old, request, warnings)
            }
            Verb::JsonPatch | Verb::MergePatch => self.patch(&context, request, warnings),
            Verb::Apply => self.apply(&context, request, warnings),
        }
    }

    fn stored(&self, name: &str) -> Result<Object, Value> {
        let missing = || {
            let details = json!({"name": name, "group": "example.com", "kind": "things"});
            status(404, "NotFound", &format!("things.example.com {name:?} not found"), details)
        };
        self.objects.get(name).cloned().ok_or_else(missing)
    }

    fn create(
        &mut self,
        context: &Context<'_>,
        mut object: Object,
        request: &Request,
        warnings: &mut Vec<String>,
    ) -> Outcome {
        let (resource, version) = (context.resource, context.version);
        rules::set_namespace(&mut object, resource.scope, "default").map_err(bad_request)?;
        if request.verb != Verb::Apply {
            for field in ["creationTimestamp", "deletionTimestamp", "uid"] {
                object.metadata_mut().remove(field);
            }
            apply::update(context, None, &mut object, request.manager);
        }
        warnings.extend(rules::drop_repeated_owners(&mut object, ""));
        rules::begin_create(&mut object, version, context.now, "the-uid");
        invalid(&object, rules::check_create(&object, resource, version, true))?;
        warnings.extend(rules::finalizer_warnings(&object, None));
        let name = object.meta("name").unwrap().to_owned();
        if self.objects.contains_key(&name) {
            let details = json!({"name": name, "group": "example.com", "kind": "things"});
            let message = format!("things.example.com {name:?} already exists");
            return Err(status(409, "AlreadyExists", &message, details));
        }
        Ok((201, self.store(object)))
    }

    fn store(&mut self, mut object: Object) -> Object {
        self.revision += 1;
        object.metadata_mut().insert("resourceVersion".to_owned(), self.revision.to_string().into());
        self.objects.insert(object.meta("name").unwrap().to_owned(), object.clone());
        object
    }

    fn replace(
        &mut self,
        context: &Context<'_>,
        mut new: Object,
        old: &Object,
        request: &Request,
        warnings: &mut Vec<String>,
    ) -> Outcome {
        let name = &request.name;
        let said = new.meta("name").unwrap_or_default();
        if said != name {
            let text = format!("the name of the object ({said}) does not match the name on the URL ({name})");
            return Err(bad_request(&text));
        }
        rules::set_namespace(&mut new, context.resource.scope, "default").map_err(bad_request)?;
        apply::update(context, Some(old), &mut new, request.manager);
        self.write(context, new, old, name, warnings)
    }

    /// What every change comes to in the end.
    fn write(
        &mut self,
        context: &Context<'_>,
        mut new: Object,
        old: &Object,
        name: &str,
        warnings: &mut Vec<String>,
    ) -> Outcome {
        match new.meta("resourceVersion") {
            None => {
                let error = FieldError::invalid(
                    "metadata.resourceVersion",
                    &0.into(),
                    "must be specified for an update",
                );
                return Err(invalid_as("things", name, vec![error]));
            }
            Some(version) if Some(version) != old.meta("resourceVersion") => {
                return Err(conflict(name, MODIFIED));
            }
            Some(_) => {}
        }
        if let Some(uid) = new.meta("uid").filter(|it| Some(*it) != old.meta("uid")) {
            return Err(conflict(name, &format!("UID {uid}")));
        }
        let Context { resource, version, part, .. } = *context;
        rules::begin_update(&mut new, old, version, part);
        invalid(&new, rules::check_update(&new, old, resource, version, part, true))?;
        if part == Part::Main {
            warnings.extend(rules::finalizer_warnings(&new, Some(old)));
        }
        match rules::effect(&mut new, old) {
            Effect::None => Ok((200, new)),
            Effect::Write => Ok((200, self.store(new))),
            Effect::Delete => {
                self.objects.remove(name);
                Ok((200, new))
            }
        }
    }

    fn patch(&mut self, context: &Context<'_>, request: &Request, warnings: &mut Vec<String>) -> Outcome {
        let old = self.stored(&request.name)?;
        let mut patched = Value::Object(old.0.clone());
        let done = match request.verb {
            Verb::JsonPatch => apply::json_patch(&mut patched, request.body.as_bytes()).map(|told| {
                if request.validation == "Warn" {
                    warnings.extend(told);
                }
            }),
            _ => apply::merge_patch(&mut patched, request.body.as_bytes()),
        };
        done.map_err(|it| match it {
            PatchError::Malformed(text) => bad_request(&text),
            PatchError::TooMany { .. } => status(413, "RequestEntityTooLarge", &it.to_string(), json!({})),
            PatchError::Failed(_) => {
                let text = "the server rejected our request due to an error in our request";
                status(422, "Invalid", text, json!({}))
            }
        })?;
        let new = decode(&patched.to_string(), request.validation, context.version, warnings)?;
        self.replace(context, new, &old, request, warnings)
    }

    fn apply(&mut self, context: &Context<'_>, request: &Request, warnings: &mut Vec<String>) -> Outcome {
        let config = Object(schema::read(request.body.as_bytes()).unwrap().object);
        let old = self.objects.get(&request.name).cloned();
        let mut new =
            apply::apply(context, old.as_ref(), &config, request.manager, request.force).map_err(|it| {
                match it {
                    ApplyError::Conflicts(conflicts) => {
                        let causes: Vec<Value> = conflicts
                    .iter()
                    .map(|it| {
                        let message = format!("conflict with {}", it.manager);
                        json!({"reason": "FieldManagerConflict", "message": message, "field": it.field})
                    })
                    .collect();
                        let message = ApplyError::Conflicts(conflicts).to_string();
                        status(409, "Conflict", &message, json!({"causes": causes}))
                    }
                    ApplyError::BadRequest(text) => bad_request(&text),
                    ApplyError::Untyped(text) => status(500, "", &text, Value::Null),
                }
            })?;
        context.version.schema.coerce_metadata(&mut new.0).map_err(|it| bad_request(&it))?;
        match old {
            None if request.status => self.stored(&request.name).map(|it| (200, it)),
            None => self.create(context, new, request, warnings),
            Some(old) => self.write(context, new, &old, &request.name, warnings),
        }
    }

    fn delete(&mut self, name: &str, body: &str, now: jiff::Timestamp) -> Outcome {
        let object = self.stored(name)?;
        let options = if body.is_empty() {
            rules::DeleteOptions::default()
        } else {
            serde_json::from_str(body).unwrap()
        };
        match rules::delete(&object, &options, now).map_err(|it| conflict(name, &it))? {
            Deletion::Waiting => Ok((200, object)),
            Deletion::Mark(marked) => Ok((200, self.store(marked))),
            Deletion::Remove => {
                self.objects.remove(name);
                let details = json!({"name": name, "group": "example.com", "kind": "things"});
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Err(status)
            }
        }
    }
}

const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn conflict(name: &str, why: &str) -> Value {
    let message = format!("Operation cannot be fulfilled on things.example.com {name:?}: {why}");
    status(409, "Conflict", &message, json!({"name": name, "group": "example.com", "kind": "things"}))
}

/// Reads, coerces and defaults a body.
fn decode(
    body: &str,
    validation: &str,
    version: &Version,
    warnings: &mut Vec<String>,
) -> Result<Object, Value> {
    let cannot =
        |text: &str| bad_request(&format!("Thing in version \"v1\" cannot be handled as a Thing: {text}"));
    let read = schema::read(body.as_bytes()).map_err(|it| cannot(&it.to_string()))?;
    let mut object = read.object;
    let coerced = version.schema.coerce(&mut object).map_err(|it| cannot(&it))?;
    version.schema.fill_defaults(&mut object);
    let mut told: Vec<String> = read.duplicates.iter().map(|it| format!("duplicate field {it:?}")).collect();
    told.extend(coerced.unknown.iter().map(|it| format!("unknown field {it:?}")));
    match validation {
        "Ignore" => Ok(Object(object)),
        "Strict" if !told.is_empty() => Err(cannot(&format!("strict decoding error: {}", told.join(", ")))),
        _ => {
            warnings.extend(told);
            Ok(Object(object))
        }
    }
}

fn status(code: u16, reason: &str, message: &str, details: Value) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    if !details.is_null() {
        status["details"] = details;
    }
    status
}

fn bad_request(text: &str) -> Value {
    status(400, "BadRequest", text, Value::Null)
}

fn invalid(object: &Object, errors: Vec<FieldError>) -> Result<(), Value> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(invalid_as("Thing", object.meta("name").unwrap_or_default(), errors))
}

fn invalid_as(kind: &str, name: &str, mut errors: Vec<FieldError>) -> Value {
    errors.dedup();
    let causes: Vec<Value> = errors
        .iter()
        .map(|it| json!({"reason": it.reason.as_str(), "message": it.message, "field": it.field}))
        .collect();
    let message = format!("{kind}.example.com {name:?} is invalid: {}", joined(&errors));
    let mut details = json!({"group": "example.com", "kind": kind, "causes": causes});
    if !name.is_empty() {
        details["name"] = name.into();
    }
    status(422, "Invalid", &message, details)
}
