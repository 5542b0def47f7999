//! What a caller may do.

use std::fmt;
use std::str::FromStr;

/// The four roles; each may do what the former may.
///
/// ```
/// use larder_wire::Role;
/// assert!("owner".parse::<Role>().unwrap() > Role::Writer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Queries, watches, describes.
    Reader,
    /// Inserts, updates, deletes.
    Writer,
    /// Creates, alters, drops.
    Owner,
    /// Backs up, restores, maintains.
    Admin,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Writer, Self::Owner, Self::Admin];

    /// The name in a grant.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("unknown role {name:?}: expected reader, writer, owner or admin"))
    }
}
