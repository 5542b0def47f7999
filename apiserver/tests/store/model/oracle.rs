//! What the store has to show, made from what writers were answered.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use larder_apiserver::store::{Requirement, Revision, Selection, Test};

/// What was written: where, and the labels of what stands there since.
pub(super) type Written = (String, Option<String>);

/// Everything that was acknowledged, in the order of revisions.
#[derive(Clone, Default)]
pub(super) struct Oracle {
    log: BTreeMap<Revision, Written>,
    /// Every revision that anybody was given, in whatever history.
    given: BTreeSet<Revision>,
    /// Those of histories that were lost.
    pub(super) lost: BTreeSet<Revision>,
}

/// Objects by key: revision and labels.
pub(super) type Objects = BTreeMap<String, (Revision, String)>;

/// Keys, labels and selectors of the model.
pub(super) const NAMESPACES: [&str; 3] = ["a", "a-b", "b"];
pub(super) const LABELS: [&str; 6] = ["", "x=1", "x=2", "x=2,y=", "x=1,y=1", "y=7"];

#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    All,
    Namespace,
    Equal,
    OneOf,
    NotEqual,
    Exists,
    Absent,
    Greater,
    Name,
}

pub(super) const CHOICES: [Choice; 9] = [
    Choice::All,
    Choice::Namespace,
    Choice::Equal,
    Choice::OneOf,
    Choice::NotEqual,
    Choice::Exists,
    Choice::Absent,
    Choice::Greater,
    Choice::Name,
];

impl Choice {
    pub(super) fn selection(self) -> Selection {
        let values = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        let label = |key: &str, test: Test| {
            let labels = vec![Requirement { key: key.to_owned(), test }];
            Selection { labels, ..Selection::default() }
        };
        match self {
            Self::All => Selection::default(),
            Self::Namespace => Selection { namespace: Some("a".to_owned()), ..Selection::default() },
            Self::Equal => {
                Selection { namespace: Some("b".to_owned()), ..label("x", Test::In(values(&["1"]))) }
            }
            Self::OneOf => label("x", Test::In(values(&["1", "2"]))),
            Self::NotEqual => label("x", Test::NotIn(values(&["2"]))),
            Self::Exists => label("y", Test::Exists),
            Self::Absent => label("y", Test::Absent),
            Self::Greater => label("y", Test::Greater(3)),
            Self::Name => Selection { name: Some("n3".to_owned()), ..Selection::default() },
        }
    }

    pub(super) fn accepts(self, key: &str, labels: &str) -> bool {
        let has = |label: &str| labels.split(',').any(|it| it == label);
        let has_y = labels.split(',').any(|it| it.starts_with("y="));
        match self {
            Self::All => true,
            Self::Namespace => key.starts_with("a/"),
            Self::Equal => key.starts_with("b/") && has("x=1"),
            Self::OneOf => has("x=1") || has("x=2"),
            Self::NotEqual => !has("x=2"),
            Self::Exists => has_y,
            Self::Absent => !has_y,
            Self::Greater => has("y=7"),
            Self::Name => key.ends_with("/n3"),
        }
    }
}

impl Oracle {
    /// Takes in what writers were answered: each revision once in all histories, each write where it was possible.
    pub(super) fn take(&mut self, written: Vec<(Revision, Written)>) {
        for (revision, it) in written {
            assert!(self.given.insert(revision), "revision {revision} was given twice");
            self.log.insert(revision, it);
        }
        let mut there: BTreeSet<&String> = BTreeSet::new();
        for (revision, (key, labels)) in &self.log {
            match labels {
                Some(_) => drop(there.insert(key)),
                None => assert!(there.remove(key), "{key} was deleted at {revision} and was not there"),
            }
        }
    }

    /// Notes that the latest revision is this one, of a history that just began.
    pub(super) fn begins(&mut self, latest: Revision) {
        let last = self.given.last().copied().unwrap_or(0);
        assert!(latest > last, "{latest} is not above {last}");
        self.given.insert(latest);
    }

    /// The history goes on where it was at a revision; what came after it is lost.
    pub(super) fn lose(&mut self, back_to: &Self) {
        let lost: Vec<Revision> = self.given.difference(&back_to.given).copied().collect();
        self.lost.extend(lost);
        self.log.clone_from(&back_to.log);
    }

    pub(super) fn latest(&self) -> Revision {
        self.log.keys().next_back().copied().unwrap_or(0)
    }

    /// How many changes came after a revision.
    pub(super) fn since(&self, revision: Revision) -> usize {
        self.log.range(revision + 1..).count()
    }

    /// The revisions of this history.
    pub(super) fn revisions(&self) -> Vec<Revision> {
        self.log.keys().copied().collect()
    }

    pub(super) fn objects(&self, at: Revision, choice: Choice) -> Objects {
        let mut objects = Objects::new();
        for (revision, (key, labels)) in self.log.range(..=at) {
            match labels {
                Some(labels) => drop(objects.insert(key.clone(), (*revision, labels.clone()))),
                None => drop(objects.remove(key)),
            }
        }
        objects.retain(|key, (_, labels)| choice.accepts(key, labels));
        objects
    }

    /// What a watcher has to be told, from behind one revision up to another: `+key@revision`, `~…`, `-…`.
    pub(super) fn events(&self, after: Revision, upto: Revision, choice: Choice) -> Vec<String> {
        let mut objects = self.objects(after, Choice::All);
        let mut events = Vec::new();
        for (revision, (key, labels)) in self.log.range((Excluded(after), Included(upto.max(after)))) {
            let before = objects.get(key).is_some_and(|(_, labels)| choice.accepts(key, labels));
            let now = labels.as_ref().is_some_and(|labels| choice.accepts(key, labels));
            let sign = match (before, now) {
                (false, true) => "+",
                (true, true) => "~",
                (true, false) => "-",
                (false, false) => "",
            };
            if !sign.is_empty() {
                events.push(format!("{sign}{key}@{revision}"));
            }
            match labels {
                Some(labels) => drop(objects.insert(key.clone(), (*revision, labels.clone()))),
                None => drop(objects.remove(key)),
            }
        }
        events
    }
}
