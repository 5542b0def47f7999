//! Which fields differ between two objects.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::element::{Element, Path};
use super::set::FieldSet;
use super::shape::{FormOf, Shape, fields, items};

/// The fields in which two objects differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// Only the first has them.
    pub(super) removed: FieldSet,
    /// Both have them, and they are not the same.
    pub(super) modified: FieldSet,
    /// Only the second has them.
    pub(super) added: FieldSet,
}

impl Comparison {
    /// What is changed from `old` to `new`.
    pub(super) fn of(old: &Value, new: &Value, shape: Shape<'_>) -> Self {
        let mut walker = Walker { path: Vec::new(), found: Self::default() };
        walker.compare(Some(old), Some(new), shape);
        walker.found
    }

    /// Without what is in a set, and below it.
    pub(super) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.without_below(ignored),
            modified: self.modified.without_below(ignored),
            added: self.added.without_below(ignored),
        }
    }
}

struct Walker {
    path: Path,
    found: Comparison,
}

impl Walker {
    fn compare(&mut self, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) {
        let (before, after) = (shape.forms_of(old), shape.forms_of(new));
        let is_leaf = match (old, new) {
            (_, None) => self.handle(before.first(), old, new, shape),
            (None, _) => self.handle(after.first(), old, new, shape),
            _ if before == after => self.handle(after.first(), old, new, shape),
            _ => {
                self.handle(before.first(), old, new, shape);
                self.handle(after.first(), old, new, shape)
            }
        };
        match (old, new) {
            _ if is_leaf => {}
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            _ => {}
        }
    }

    /// Compares values in one form; tells whether they were one value each.
    fn handle(&mut self, form: FormOf, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) -> bool {
        let is_leaf = match form {
            FormOf::Scalar => true,
            FormOf::Map => {
                let is_empty = |it| fields(it).is_none_or(serde_json::Map::is_empty);
                shape.is_atomic_map() || is_empty(old) && is_empty(new)
            }
            FormOf::List => {
                let is_empty = |it| items(it).is_none_or(Vec::is_empty);
                shape.list().is_none() || is_empty(old) && is_empty(new)
            }
        };
        match form {
            _ if is_leaf => self.leaf(old, new),
            FormOf::Map => self.fields(old, new, shape),
            _ => self.items(old, new, shape),
        }
        is_leaf
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (old, new) if old != new => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn fields(&mut self, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) {
        let (old, new) = (fields(old), fields(new));
        let names: BTreeSet<&String> = [old, new].into_iter().flatten().flat_map(|it| it.keys()).collect();
        for name in names {
            let (old, new) = (old.and_then(|it| it.get(name)), new.and_then(|it| it.get(name)));
            self.step(Element::Field(name.clone()), old, new, shape.field(name));
        }
    }

    fn step(&mut self, step: Element, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) {
        self.path.push(step);
        self.compare(old, new, shape);
        self.path.pop();
    }

    /// Items that stand there more than once are compared together: what is marked then is the step itself.
    fn items(&mut self, old: Option<&Value>, new: Option<&Value>, shape: Shape<'_>) {
        let (old, new) = (index(items(old), shape), index(items(new), shape));
        let steps: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for step in steps {
            let before = old.get(step).map_or(&[][..], Vec::as_slice);
            let after = new.get(step).map_or(&[][..], Vec::as_slice);
            let item = shape.item();
            match (before, after) {
                ([_, _, ..], [_, _, ..]) if before == after => {}
                ([_, _, ..], [_, _, ..]) => self.marked(step, |it| &mut it.modified),
                ([_, _, ..], rest) => {
                    if let Some(new) = rest.first() {
                        self.step(step.clone(), None, Some(*new), item);
                    }
                    self.marked(step, |it| &mut it.removed);
                }
                (rest, [_, _, ..]) => {
                    if let Some(old) = rest.first() {
                        self.step(step.clone(), Some(*old), None, item);
                    }
                    self.marked(step, |it| &mut it.added);
                }
                (before, after) => {
                    self.step(step.clone(), before.first().copied(), after.first().copied(), item);
                }
            }
        }
    }

    fn marked(&mut self, step: &Element, which: impl FnOnce(&mut Comparison) -> &mut FieldSet) {
        self.path.push(step.clone());
        which(&mut self.found).insert(&self.path);
        self.path.pop();
    }
}

/// The items of a list by their steps. Those that have none are left out.
fn index<'v>(list: Option<&'v Vec<Value>>, shape: Shape<'_>) -> BTreeMap<Element, Vec<&'v Value>> {
    let mut index: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for item in list.into_iter().flatten() {
        if let Ok(step) = shape.element(item) {
            index.entry(step).or_default().push(item);
        }
    }
    index
}
