//! Keys, and ranges of them as a selection asks for.

use std::fmt;

/// Where an object is, within its resource. Keys are ordered as Kubernetes orders them: by the bytes of `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Empty for cluster-wide resources.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// As it is stored: `namespace/name`, or the name alone.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl From<&str> for Key {
    fn from(stored: &str) -> Self {
        let (namespace, name) = stored.split_once('/').unwrap_or(("", stored));
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// The first and the last possible key of a namespace, in the order of bytes: `/` is followed by `0`.
pub(super) fn namespace_bounds(namespace: &str) -> (String, String) {
    (format!("{namespace}/"), format!("{namespace}0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_stored_joined_and_come_back() {
        for stored in ["a/b", "b", "a-b/c"] {
            assert_eq!(Key::from(stored).to_string(), stored);
        }
    }

    #[test]
    fn a_namespace_has_its_keys_and_no_others() {
        let (first, end) = namespace_bounds("a");
        let inside = |key: &str| *key >= *first && *key < *end;
        assert!(inside("a/a") && inside("a/\u{10ffff}"));
        assert!(!inside("a-b/a") && !inside("ab/a") && !inside("a") && !inside("a0/x"));
    }
}
