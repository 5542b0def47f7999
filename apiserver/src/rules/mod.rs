//! What Kubernetes does to every object that is written, whatever its kind: metadata is filled, checked and protected.
//!
//! All of it is pure: the time, the new uid and the randomness of names come from the caller. What a request answers is made of the errors
//! by whoever serves it. A create is [`begin_create`] and [`check_create`], an update [`begin_update`] and [`check_update`], then [`effect`]
//! says what has to be stored; a deletion is `delete`.

mod create;
mod delete;
mod metadata;
pub mod names;
#[cfg(test)]
mod tests;
mod update;

pub use create::{begin_create, check_create, generated_name, set_namespace};
pub use delete::{DeleteOptions, Deletion, Preconditions, Propagation, delete};
pub use metadata::{
    check, check_embedded, check_manager, check_shared, drop_repeated_owners, finalizer_warnings,
};
pub use update::{Effect, Part, begin_update, check_update, effect};

use crate::object::Object;

/// The finalizer of objects whose dependents are to outlive them.
pub const ORPHAN: &str = "orphan";
/// The finalizer of objects whose dependents are to be deleted before them.
pub const FOREGROUND: &str = "foregroundDeletion";

/// A time as metadata has it: RFC 3339 in UTC, whole seconds.
#[must_use]
pub fn time(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn finalizers(object: &Object) -> Vec<String> {
    let list = object.metadata().and_then(|it| it.get("finalizers")).and_then(serde_json::Value::as_array);
    list.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

fn generation(object: &Object) -> i64 {
    object
        .metadata()
        .and_then(|it| it.get("generation"))
        .and_then(serde_json::Value::as_i64)
        .unwrap_or_default()
}
