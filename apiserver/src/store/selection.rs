//! Which objects of a resource are meant: the meaning of selectors (Kubernetes' `labels.Requirement.Matches` and field selectors).

use super::Key;
use super::terms::Terms;

/// Which objects of a resource are meant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only this name.
    pub name: Option<String>,
    /// All of these.
    pub labels: Vec<Requirement>,
    /// All of these: path, whether it has to be equal, value. A field that is missing is equal to nothing written: `""`. `metadata.name` and
    /// `metadata.namespace` may be asked for too.
    pub fields: Vec<(String, bool, String)>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What is required of it.
    pub test: Test,
}

/// What a label selector requires of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is there and has one of these values.
    In(Vec<String>),
    /// It is not there, or has none of these.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there, an integer, and greater.
    Greater(i64),
    /// It is there, an integer, and less.
    Less(i64),
}

impl Selection {
    /// Whether there is anything but a namespace to select by.
    pub(crate) fn has_selector(&self) -> bool {
        self.name.is_some() || self.needs_terms()
    }

    /// Whether more than the key decides.
    pub(crate) fn needs_terms(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Whether an object may be meant that stands there.
    pub(crate) fn covers(&self, key: &Key) -> bool {
        self.namespace.as_ref().is_none_or(|it| *it == key.namespace)
            && self.name.as_ref().is_none_or(|it| *it == key.name)
    }

    /// Whether an object is meant that stands where one may be, with these terms.
    pub(crate) fn accepts(&self, key: &Key, terms: &Terms) -> bool {
        let field = |path: &str| match path {
            "metadata.name" => key.name.as_str(),
            "metadata.namespace" => key.namespace.as_str(),
            path => terms.field(path),
        };
        self.labels.iter().all(|it| it.test.accepts(terms.label(&it.key)))
            && self.fields.iter().all(|(path, equal, value)| (field(path) == value) == *equal)
    }
}

impl Test {
    fn accepts(&self, value: Option<&str>) -> bool {
        let is_one_of = |values: &[String]| value.is_some_and(|it| values.iter().any(|one| one == it));
        let number = || value.and_then(|it| it.parse::<i64>().ok());
        match self {
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Greater(bound) => number().is_some_and(|it| it > *bound),
            Self::Less(bound) => number().is_some_and(|it| it < *bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_tested_as_kubernetes_tests_them() {
        let values = || vec!["a".to_owned(), String::new()];
        for (test, none, empty, a, seven) in [
            (Test::In(values()), false, true, true, false),
            (Test::NotIn(values()), true, false, false, true),
            (Test::Exists, false, true, true, true),
            (Test::Absent, true, false, false, false),
            (Test::Greater(6), false, false, false, true),
            (Test::Greater(7), false, false, false, false),
            (Test::Less(8), false, false, false, true),
            (Test::Less(-1), false, false, false, false),
        ] {
            let found = [None, Some(""), Some("a"), Some("7")].map(|value| test.accepts(value));
            assert_eq!(found, [none, empty, a, seven], "{test:?}");
        }
    }

    #[test]
    fn fields_that_are_missing_are_empty() {
        let key = Key::from("ns/n");
        let terms = Terms::from_json(r#"{".spec.owner":"x","spec.owner":"a label"}"#).expect("terms");
        let accepts = |path: &str, equal, value: &str| {
            let fields = vec![(path.to_owned(), equal, value.to_owned())];
            Selection { fields, ..Selection::default() }.accepts(&key, &terms)
        };
        assert!(accepts("spec.owner", true, "x") && !accepts("spec.owner", false, "x"));
        assert!(accepts("spec.none", true, "") && accepts("spec.none", false, "x"));
        assert!(accepts("metadata.name", true, "n") && accepts("metadata.namespace", false, "n"));
    }
}
