//! A request for a resource, once it is known who asks, that it may be done, and which resource it is.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use super::ApiServer;
use super::answer::AUDIT_ID;
use super::options::Query;
use super::status::Refusal;
use super::warnings::Warnings;
use crate::auth::{Place, User, Verb};
use crate::object::Object;
use crate::registry::{FieldPath, Resource, Scope, Version};
use crate::store::{Key, StoreError};
use crate::transfer::Pass;

/// A request for a resource. It owns what it needs, so that a write goes on when its caller has left.
pub(super) struct Call {
    /// Objects do not move away while this is kept.
    #[expect(dead_code, reason = "it is kept, not asked")]
    pub(super) pass: Pass,
    pub(super) server: Arc<ApiServer>,
    pub(super) user: User,
    pub(super) place: Place,
    pub(super) resource: Arc<Resource>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// What the caller is told besides the answer.
    pub(super) warnings: Warnings,
}

impl Call {
    /// The version that is asked for. The registry has found it before there was a call.
    pub(super) fn version(&self) -> &Version {
        self.resource.version(&self.place.version).expect("the registry has found it")
    }

    /// `GROUP/VERSION`.
    pub(super) fn api_version(&self) -> String {
        format!("{}/{}", self.place.group, self.place.version)
    }

    /// Where the object is that the path names.
    pub(super) fn key(&self) -> Key {
        Key { namespace: self.place.namespace.clone(), name: self.place.name.clone() }
    }

    /// Whether only the status is read or written.
    pub(super) fn is_status(&self) -> bool {
        self.place.subresource == "status"
    }

    /// Whether there is such an endpoint, and whether it takes this verb.
    pub(super) fn check(&self, verb: Verb) -> Result<(), Refusal> {
        let is_namespaced = self.resource.scope == Scope::Namespaced;
        let has_namespace = !self.place.namespace.is_empty();
        let across = !is_namespaced || has_namespace || self.place.name.is_empty();
        if has_namespace && !is_namespaced || !across {
            return Err(Refusal::no_resource());
        }
        match self.place.subresource.as_str() {
            "" => {}
            "status" if self.version().status => {
                let takes = matches!(verb, Verb::Get | Verb::Update | Verb::Patch);
                return if takes { Ok(()) } else { Err(Refusal::wrong_method()) };
            }
            _ => return Err(Refusal::no_resource()),
        }
        let is_named = !self.place.name.is_empty();
        let takes = match verb {
            Verb::Get | Verb::Update | Verb::Patch | Verb::Delete => is_named,
            Verb::List | Verb::Watch => !is_named,
            Verb::Create | Verb::DeleteCollection => !is_named && (has_namespace || !is_namespaced),
        };
        if takes { Ok(()) } else { Err(Refusal::wrong_method()) }
    }

    /// What the store calls the resource.
    pub(super) fn id(&self) -> String {
        self.resource.id()
    }

    /// Warns whoever asks for a version that is going.
    pub(super) fn warn_of_deprecation(&self) {
        self.warnings.extend(self.version().deprecation.clone());
    }

    /// Counts an operation on the store and how long it took.
    pub(super) async fn timed<T>(
        &self,
        operation: &'static str,
        done: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = std::time::Instant::now();
        let outcome = done.await;
        let is_good = !matches!(outcome, Err(StoreError::Database(_) | StoreError::Damaged(_)));
        self.server.telemetry.stored(operation, is_good, started.elapsed());
        outcome
    }

    /// What the store says, as it is told to the caller.
    pub(super) fn refusal(&self, verb: Verb, error: &StoreError) -> Refusal {
        Refusal::of_store(error, &self.resource, verb, &self.place.name)
    }

    /// The values of the fields that selectors may name.
    pub(super) fn fields(&self, object: &Object) -> Vec<(String, String)> {
        self.version().selectable.iter().map(|path| (path.join("."), field(object, path))).collect()
    }

    /// Notes who deleted what.
    pub(super) fn audit(&self, key: &Key, uid: &str, what: &str) {
        tracing::info!(
            target: "larder_apiserver::audit",
            audit_id = self.headers.get(AUDIT_ID).and_then(|it| it.to_str().ok()).unwrap_or_default(),
            user = self.user.name,
            groups = ?self.user.groups,
            resource = self.id(),
            namespace = key.namespace,
            name = key.name,
            uid,
            "{what}"
        );
    }
}

/// What a field selector compares with: texts as they are, everything else as JSON, nothing as an empty text.
fn field(object: &Object, path: &FieldPath) -> String {
    let mut value = path.first().and_then(|it| object.0.get(it));
    for part in path.iter().skip(1) {
        value = value.and_then(|it| it.get(part));
    }
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
