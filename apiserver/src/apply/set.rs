//! Sets of fields, as managed fields hold them (`FieldsV1`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::{Element, Path};
use super::shape::Shape;

/// A set of paths. A path that is in the set says nothing of those below it, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Self::is_empty)
    }

    /// Puts a path in. The top itself is never in a set.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => _ = self.members.insert(last.clone()),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether a step is in the set.
    #[must_use]
    pub fn has(&self, step: &Element) -> bool {
        self.members.contains(step)
    }

    /// What is below a step.
    #[must_use]
    pub fn below(&self, step: &Element) -> Option<&Self> {
        self.children.get(step)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.absorb(other);
        union
    }

    /// Puts in what is in the other.
    pub fn absorb(&mut self, other: &Self) {
        self.members.extend(other.members.iter().cloned());
        for (step, set) in &other.children {
            match self.children.get_mut(step) {
                Some(child) => child.absorb(set),
                None => _ = self.children.insert(step.clone(), set.clone()),
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let child = |(step, set): (&Element, &Self)| {
            let set = set.intersection(other.children.get(step)?);
            (!set.is_empty()).then(|| (step.clone(), set))
        };
        Self { members, children: self.children.iter().filter_map(child).collect() }
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let child = |(step, set): (&Element, &Self)| {
            let set = other.children.get(step).map_or_else(|| set.clone(), |it| set.difference(it));
            (!set.is_empty()).then(|| (step.clone(), set))
        };
        Self { members, children: self.children.iter().filter_map(child).collect() }
    }

    /// What is in this set and neither in the other nor below something of it.
    #[must_use]
    pub fn without_below(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let child = |(step, set): (&Element, &Self)| {
            if other.members.contains(step) {
                return None;
            }
            let set = other.children.get(step).map_or_else(|| set.clone(), |it| set.without_below(it));
            (!set.is_empty()).then(|| (step.clone(), set))
        };
        Self { members, children: self.children.iter().filter_map(child).collect() }
    }

    /// The set with the fields in it that lead to something in it and are named by the schema.
    pub(super) fn with_named(&self, shape: Shape<'_>) -> Self {
        let mut set = Self { members: self.members.clone(), children: BTreeMap::new() };
        for (step, child) in &self.children {
            if matches!(step, Element::Field(name) if shape.names(name)) {
                set.members.insert(step.clone());
            }
            set.children.insert(step.clone(), child.with_named(shape.step(step)));
        }
        set
    }

    /// Every path: those of one depth before those below.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut Path, paths: &mut Vec<Path>) {
        for step in &self.members {
            let mut path = prefix.clone();
            path.push(step.clone());
            paths.push(path);
        }
        for (step, set) in &self.children {
            prefix.push(step.clone());
            set.collect(prefix, paths);
            prefix.pop();
        }
    }

    /// The set as `FieldsV1`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for step in &self.members {
            fields.insert(step.encode(), Value::Object(Map::new()));
        }
        for (step, set) in self.children.iter().filter(|it| !it.1.is_empty()) {
            let mut below = set.to_json();
            if let (true, Some(below)) = (self.members.contains(step), below.as_object_mut()) {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(step.encode(), below);
        }
        Value::Object(fields)
    }

    /// Reads `FieldsV1`.
    ///
    /// # Errors
    /// A step is none.
    pub fn from_json(fields: &Value) -> Result<Self, String> {
        let mut set = Self::default();
        for (name, below) in fields.as_object().into_iter().flatten().filter(|it| it.0 != ".") {
            let Some(step) = Element::decode(name)? else { continue };
            let child = Self::from_json(below)?;
            if child.is_empty() || below.get(".").is_some() {
                set.members.insert(step.clone());
            }
            if !child.is_empty() {
                set.children.insert(step, child);
            }
        }
        Ok(set)
    }
}
