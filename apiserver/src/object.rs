//! A Kubernetes object as JSON, and access to the metadata that every object has.

use serde_json::{Map, Value};

/// A Kubernetes object: a JSON object with `apiVersion`, `kind` and `metadata`.
///
/// Keys are sorted, as those of custom resources are in Kubernetes' own answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub Map<String, Value>);

impl Object {
    /// A text of the metadata; `None` if it is missing, empty or no text.
    #[must_use]
    pub fn meta(&self, field: &str) -> Option<&str> {
        self.metadata()?.get(field)?.as_str().filter(|it| !it.is_empty())
    }

    /// The metadata, if it is there and an object.
    #[must_use]
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata")?.as_object()
    }

    /// The metadata; made if it is not there, replaced if it is no object.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let metadata = self.0.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata.as_object_mut().expect("it was made an object")
    }

    /// The labels that are texts, in the order of their keys.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.metadata().and_then(|it| it.get("labels")).and_then(Value::as_object);
        labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}
