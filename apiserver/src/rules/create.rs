//! Creating an object.

use serde_json::Value;

use super::metadata;
use crate::field::FieldError;
use crate::object::Object;
use crate::registry::{Resource, Scope, Version};

/// What may stand in a generated name: no vowels, so that it spells nothing.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Names are that long at most if they are generated.
const LONGEST: usize = 63;
const SUFFIX: usize = 5;

/// Puts an object into the namespace of the request; empty is no namespace.
///
/// # Errors
/// The object says another one: a 400 with this text.
pub fn set_namespace(object: &mut Object, scope: Scope, namespace: &str) -> Result<(), &'static str> {
    let namespace = if scope == Scope::Namespaced { namespace } else { "" };
    let metadata = object.metadata_mut();
    match metadata.get("namespace").and_then(Value::as_str).unwrap_or_default() {
        said if said == namespace => {}
        _ if namespace.is_empty() => _ = metadata.remove("namespace"),
        "" => _ = metadata.insert("namespace".to_owned(), namespace.into()),
        _ => {
            return Err(
                "the namespace of the provided object does not match the namespace sent on the request",
            );
        }
    }
    Ok(())
}

/// A name made of `generateName` and five letters, of which `random` gives one each.
#[must_use]
pub fn generated_name(base: &str, random: impl FnMut() -> u32) -> String {
    let mut end = base.len().min(LONGEST - SUFFIX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = base[..end].to_owned();
    let numbers = std::iter::repeat_with(random).take(SUFFIX);
    name.extend(numbers.map(|it| LETTERS[it as usize % LETTERS.len()] as char));
    name
}

/// Makes a new object of what a client sent: what the server decides is wiped and filled. The name is there already.
pub fn begin_create(object: &mut Object, version: &Version, now: jiff::Timestamp, uid: &str) {
    if version.status {
        object.0.remove("status");
    }
    let metadata = object.metadata_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(field);
    }
    metadata.insert("creationTimestamp".to_owned(), super::time(now).into());
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("generation".to_owned(), 1.into());
}

/// What is wrong with a new object: its metadata, then what its schema says, unless `schema` is false.
#[must_use]
pub fn check_create(
    object: &Object,
    resource: &Resource,
    version: &Version,
    schema: bool,
) -> Vec<FieldError> {
    let mut errors = metadata::check(object, resource.scope);
    if schema {
        errors.extend(version.schema.validate(&object.0));
    }
    errors
}
