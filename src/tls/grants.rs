//! Which role was granted to whom: the `--grant ROLE=IDENTITY` flags.
//!
//! A grant names one identity exactly. There are no wildcards and no groups: a list that can be read
//! aloud is worth more here than one that is short.

use std::collections::HashMap;
use std::str::FromStr;

use larder_wire::Role;

use super::identity::Identity;

/// One `ROLE=IDENTITY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What may be done.
    pub(crate) role: Role,
    /// By whom: a URI or DNS name, or the common name of a certificate without either.
    pub(crate) identity: String,
}

/// What is wrong with a grant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    /// No `=`.
    #[error("{0:?} is not ROLE=IDENTITY, such as writer=spiffe://cluster.local/ns/reports/sa/controller")]
    NoSeparator(String),
    /// No such role.
    #[error("{0}")]
    Role(String),
    /// Nobody, or a name that no certificate can hold.
    #[error("{0:?} is no identity: it is empty, starts or ends with a space, or holds a control character")]
    Identity(String),
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let parts = text.split_once('=');
        let (role, identity) = parts.ok_or_else(|| GrantError::NoSeparator(text.to_owned()))?;
        let role = role.parse().map_err(GrantError::Role)?;
        if identity.is_empty() || identity.trim() != identity || identity.contains(char::is_control) {
            return Err(GrantError::Identity(identity.to_owned()));
        }
        Ok(Self { role, identity: identity.to_owned() })
    }
}

/// All grants; for each identity the highest role that it was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    roles: HashMap<String, Role>,
}

impl Grants {
    /// The highest role of any of the client's names.
    pub(crate) fn role(&self, identity: &Identity) -> Option<Role> {
        identity.names().iter().filter_map(|name| self.roles.get(name)).copied().max()
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        let mut roles = HashMap::new();
        for Grant { role, identity } in grants {
            let held = roles.entry(identity).or_insert(role);
            *held = role.max(*held);
        }
        Self { roles }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::tls::{Authority, Leaf};

    fn grants(texts: &[&str]) -> Grants {
        texts.iter().map(|text| text.parse::<Grant>().unwrap()).collect()
    }

    fn identity(name: &str) -> Identity {
        let issued = Authority::generate("test").unwrap().issue(&Leaf::client(name).unwrap()).unwrap();
        Identity::of(&issued.certificate.der).unwrap()
    }

    #[test]
    fn a_grant_keeps_everything_behind_the_first_equals_sign() {
        let grant: Grant = "owner=CN with = in it".parse().unwrap();
        assert_eq!(grant, Grant { role: Role::Owner, identity: "CN with = in it".to_owned() });
    }

    #[test]
    fn what_is_not_a_grant_is_refused_with_its_reason() {
        let error = |text: &str| text.parse::<Grant>().unwrap_err();
        assert!(matches!(error("reader"), GrantError::NoSeparator(_)));
        assert!(matches!(error("king=alice"), GrantError::Role(_)));
        assert!(matches!(error("reader="), GrantError::Identity(_)));
        assert!(matches!(error("reader= alice"), GrantError::Identity(_)));
        assert!(matches!(error("reader=a\nb"), GrantError::Identity(_)));
    }

    #[test]
    fn the_match_is_exact() {
        let grants = grants(&["reader=alice.example"]);
        assert_eq!(grants.role(&identity("alice.example")), Some(Role::Reader));
        assert_eq!(grants.role(&identity("Alice.example")), None);
        assert_eq!(grants.role(&identity("alice.example.org")), None);
    }

    #[test]
    fn the_highest_role_wins_in_whatever_order() {
        for texts in [["reader=a", "admin=a"], ["admin=a", "reader=a"]] {
            assert_eq!(grants(&texts).role(&identity("a")), Some(Role::Admin));
        }
    }
}
