//! A user as Kubernetes knows one.

use std::collections::BTreeMap;

/// Everybody who has shown who they are.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// Everybody who has not.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// May do everything, whatever the cluster's rules say.
const MASTERS: &str = "system:masters";

/// Who sends a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The uid, where there is one.
    pub uid: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// What authorizers may want to know besides; keys are in lower case.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody who has shown nothing.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// The same, among those who have shown who they are.
    pub(super) fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|it| it == AUTHENTICATED || it == UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether the user is of `system:authenticated`.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.groups.iter().any(|it| it == AUTHENTICATED)
    }

    /// Whether the user is of `system:masters`.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|it| it == MASTERS)
    }
}
