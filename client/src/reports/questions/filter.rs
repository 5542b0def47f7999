//! Which assets a question is about.

use std::collections::HashSet;
use std::sync::Arc;

use larder_wire::Value;

use crate::reports::index::Kind;

/// Keys that are sent along with a question; of a longer list, the client picks out itself what the database gives.
const SENT: usize = 5000;

/// Which assets a question is about: those that every part admits. The default admits all.
#[derive(Clone, Debug, Default)]
pub struct AssetFilter {
    /// Which kinds of assets.
    pub view: View,
    /// Namespaces (domains).
    pub namespace: Option<Match>,
    /// Services.
    pub service: Option<Match>,
    /// Images, by name.
    pub image: Option<Match>,
    /// Operating systems.
    pub os: Option<Match>,
    /// Nodes.
    pub node: Option<Match>,
    /// The assets' own names, such as those of containers.
    pub name: Option<Match>,
    /// Only reports with these keys: what a caller may see. Of any length.
    pub allowed: Option<Arc<HashSet<String>>>,
}

/// Which texts are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// One of these.
    Equals(Vec<String>),
    /// Any that contains one of these, whatever the case of ASCII letters.
    Contains(Vec<String>),
}

/// Which kinds of assets are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// Every kind.
    #[default]
    All,
    /// Containers: class `workload`.
    Containers,
    /// Nodes and the orchestrator: classes `host` and `platform`.
    Infrastructure,
    /// Images of registries: class `image`.
    Registry,
}

impl View {
    /// Whether this kind of asset is meant.
    #[must_use]
    pub fn admits(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Containers => kind == Kind::Workload,
            Self::Infrastructure => matches!(kind, Kind::Host | Kind::Platform),
            Self::Registry => kind == Kind::Image,
        }
    }

    fn classes(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Containers => Some("class = 'workload'"),
            Self::Infrastructure => Some("class IN ('host', 'platform')"),
            Self::Registry => Some("class = 'image'"),
        }
    }
}

impl AssetFilter {
    /// Whether it admits every asset of its view.
    pub(super) fn is_open(&self) -> bool {
        self.allowed.is_none() && self.columns().iter().all(|(_, it)| it.is_none())
    }

    /// The filter in SQL, for what stands behind WHERE.
    pub(super) fn condition(&self) -> Condition {
        let mut condition = Condition::new();
        if let Some(classes) = self.view.classes() {
            condition.and(classes, []);
        }
        for (column, texts) in self.columns() {
            if let Some(texts) = texts {
                condition.matches(&[column], texts);
            }
        }
        match &self.allowed {
            Some(keys) if keys.len() <= SENT => {
                let list: Vec<&String> = keys.iter().collect();
                let list = serde_json::to_string(&list).unwrap_or_default();
                condition.and("key IN (SELECT value FROM json_each(?))", [list.into()]);
            }
            allowed => condition.rest.clone_from(allowed),
        }
        condition
    }

    fn columns(&self) -> [(&'static str, &Option<Match>); 6] {
        [
            ("namespace", &self.namespace),
            ("service", &self.service),
            ("image", &self.image),
            ("os", &self.os),
            ("node", &self.node),
            ("name", &self.name),
        ]
    }
}

/// Conditions on rows of `report`, all of which have to hold. Only names of columns and operators are ever made into SQL; texts are bound.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
    /// Keys of which a row's has to be one, where the database was not told them.
    rest: Option<Arc<HashSet<String>>>,
}

impl Condition {
    pub(super) fn new() -> Self {
        Self { sql: "TRUE".to_owned(), values: Vec::new(), rest: None }
    }

    pub(super) fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    /// One of the columns has to match.
    pub(super) fn matches(&mut self, columns: &[&str], texts: &Match) {
        let (test, texts, like): (_, &[String], bool) = match texts {
            Match::Equals(texts) => ("= ?", texts, false),
            Match::Contains(texts) => (r"LIKE ? ESCAPE '\'", texts, true),
        };
        let mut tests = Vec::new();
        for column in columns {
            for text in texts {
                tests.push(format!("{column} {test}"));
                self.values.push(if like { pattern(text).into() } else { text.as_str().into() });
            }
        }
        let any = if tests.is_empty() { "FALSE".to_owned() } else { tests.join(" OR ") };
        self.sql.push_str(" AND (");
        self.sql.push_str(&any);
        self.sql.push(')');
    }

    /// Whether a row with this key, which the database let through, is admitted.
    pub(super) fn admits(&self, key: &str) -> bool {
        self.rest.as_ref().is_none_or(|keys| keys.contains(key))
    }

    /// Whether the database alone can tell what is admitted.
    pub(super) fn is_complete(&self) -> bool {
        self.rest.is_none()
    }
}

/// A pattern for LIKE that any text matches which contains this one.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
