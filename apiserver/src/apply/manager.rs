//! What a write does to the owners of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::compare::Comparison;
use super::element::{Element, Path};
use super::managed::{self, Managed, Manager, Owned, Said};
use super::merge::merge;
use super::owned::{fields_of, misfits};
use super::remove::remove;
use super::set::FieldSet;
use super::shape::Shape;
use crate::object::Object;
use crate::registry::{Resource, Version};
use crate::rules::Part;

/// How many entries of those who update there are; the oldest are put together.
const MOST_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// What client-side apply remembers of a configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a write is about.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The version that the object is written in.
    pub version: &'a Version,
    /// The whole object, or its status.
    pub part: Part,
    /// The time of the write.
    pub now: jiff::Timestamp,
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who, as errors name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field: `.spec.list[name="a"].b`.
    pub field: String,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that it would change: a 409 with a cause for each.
    #[error("{}", message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration may not say this: a 400.
    #[error("{0}")]
    BadRequest(String),
    /// The configuration, or what is stored, does not fit the schema: Kubernetes answers 500.
    #[error("{0}")]
    Untyped(String),
}

fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field);
    }
    let mut by_manager: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        by_manager.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let mut lines = Vec::new();
    for (manager, fields) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(fields.iter().map(|it| format!("- {it}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Who makes a change: what it says, else its User-Agent up to the first slash; empty if neither is there.
#[must_use]
pub fn manager_or_agent(manager: &str, agent: &str) -> String {
    if !manager.is_empty() {
        return manager.to_owned();
    }
    let mut name = String::new();
    for char in
        agent.split('/').next().unwrap_or_default().chars().filter(|it| crate::field::is_printable(*it))
    {
        if name.len() + char.len_utf8() > 128 {
            break;
        }
        name.push(char);
    }
    name
}

/// Notes in `new` who owns what after a create (`live` is `None`), an update, or a patch that is no apply.
pub fn update(context: &Context<'_>, live: Option<&Object>, new: &mut Object, manager: &str) {
    let stored = || live.map(|it| managed::decode(it).unwrap_or_default()).unwrap_or_default();
    let managed = match (context.part, managed::said(new)) {
        (Part::Main, Said::Reset) => Managed::new(),
        (Part::Main, Said::Managed(managed)) => managed,
        _ => stored(),
    };
    new.metadata_mut().remove("managedFields");
    // Who owns what is followed from the beginning, or not at all.
    if managed.is_empty() && live.is_some_and(|it| it.meta("uid").is_some()) {
        return;
    }
    let before = live.map_or_else(|| Value::Object(context.empty().0), plain);
    // Lent, so that a large object is not copied.
    let after = Value::Object(std::mem::take(&mut new.0));
    let managed = context.updated(&before, &after, managed, manager);
    if let Value::Object(fields) = after {
        new.0 = fields;
    }
    managed::encode(&managed, new);
}

/// Applies a configuration to the object that is stored (`None`: there is none) and returns what it becomes, with managed fields and defaults. It has
/// still to go through the rules of a create or an update.
///
/// An object of which the last field was taken out is null, not absent. Kubernetes leaves it so and refuses the object for it; whoever calls
/// [`Schema::coerce`](crate::schema::Schema::coerce) on the result drops such nulls.
///
/// # Errors
/// Conflicts, unless `force`; a configuration that says what it may not, or does not fit the schema.
pub fn apply(
    context: &Context<'_>,
    live: Option<&Object>,
    config: &Object,
    manager: &str,
    force: bool,
) -> Result<Object, ApplyError> {
    context.check(config)?;
    let live = live.cloned().unwrap_or_else(|| context.empty());
    let managed = managed::decode(&live)
        .map_err(|it| ApplyError::Untyped(format!("failed to decode managed fields: {it}")))?;
    let (mut object, managed) = context.applied_by_kubectl(&live, config, managed, manager, force)?;
    if manager == "kubectl" {
        renew_last_applied(&mut object, config);
    }
    managed::encode(&managed, &mut object);
    Ok(object)
}

/// `kubectl` keeps the annotation of client-side apply in step, where there is one.
fn renew_last_applied(object: &mut Object, config: &Object) {
    let annotations = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut);
    let Some(annotation) = annotations.and_then(|it| it.get_mut(LAST_APPLIED)) else { return };
    if annotation.as_str().is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            config.metadata_mut().remove("annotations");
        }
    }
    *annotation = format!("{}\n", Value::Object(config.0)).into();
}

type Applied = (Object, Managed);

impl Context<'_> {
    fn api_version(&self) -> String {
        format!("{}/{}", self.resource.group, self.version.name)
    }

    /// An object of which nothing is known but its kind.
    fn empty(&self) -> Object {
        let kind = [("apiVersion", self.api_version()), ("kind", self.resource.names.kind.clone())];
        Object(kind.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect())
    }

    fn shape(&self) -> Shape<'_> {
        Shape::top(&self.version.schema)
    }

    /// The schema's shape of `GROUP/VERSION`, if that is still served.
    fn shape_of(&self, version: &str) -> Option<Shape<'_>> {
        let name = version.strip_prefix(&self.resource.group)?.strip_prefix('/')?;
        Some(Shape::top(&self.resource.version(name)?.schema))
    }

    /// Fields that this part of an object cannot be changed through.
    fn ignored(&self) -> FieldSet {
        let mut set = FieldSet::default();
        let field = match self.part {
            Part::Status => Some("spec"),
            Part::Main => self.version.status.then_some("status"),
        };
        if let Some(field) = field {
            set.insert(&[Element::Field(field.to_owned())]);
        }
        set
    }

    fn check(&self, config: &Object) -> Result<(), ApplyError> {
        let version = config.0.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let kind = config.0.get("kind").and_then(Value::as_str).unwrap_or_default();
        if version != self.api_version() || kind != self.resource.names.kind {
            return Err(ApplyError::BadRequest(format!(
                "invalid object type: {}, Kind={kind}",
                if version.is_empty() { "/" } else { version }
            )));
        }
        let managed = config.metadata().and_then(|it| it.get("managedFields"));
        if managed.is_some_and(|it| !it.is_null()) {
            return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
        }
        let misfits = misfits(&Value::Object(config.0.clone()), self.shape());
        if misfits.is_empty() {
            return Ok(());
        }
        let place = |name| config.meta(name).unwrap_or_default().to_owned();
        let kind = format!("{}/{}; {version}, Kind={kind}", place("namespace"), place("name"));
        let errors = match misfits.as_slice() {
            [one] => one.clone(),
            some => format!("errors:\n  {}", some.join("\n  ")),
        };
        Err(ApplyError::Untyped(format!("failed to create typed patch object ({kind}): {errors}")))
    }

    /// Who owns what once `before` has become `after`, both without managed fields.
    fn updated(&self, before: &Value, after: &Value, mut managed: Managed, manager: &str) -> Managed {
        let changes = Comparison::of(before, after, self.shape()).without(&self.ignored());
        self.take_from_others(before, after, &mut managed, None);
        let set = strip(&changes.added.union(&changes.modified).without_below(&self.ignored()));
        if !set.is_empty() {
            let manager = self.manager(manager, false);
            let owned = managed.remove(&manager).map_or_else(FieldSet::default, |it| it.set);
            let version = self.api_version();
            managed.insert(
                manager,
                Owned { set: set.union(&owned), version, time: Some(crate::rules::time(self.now)) },
            );
        }
        cap(managed)
    }

    fn manager(&self, name: &str, is_applier: bool) -> Manager {
        Manager {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            is_applier,
            version: if is_applier { String::new() } else { self.api_version() },
            subresource: if self.part == Part::Status { "status" } else { "" }.to_owned(),
        }
    }

    /// What an object's change takes from its owners, all but one.
    fn taken(&self, before: &Value, after: &Value, managed: &Managed, but: Option<&Manager>) -> Taken {
        let ignored = self.ignored();
        let mut taken = Taken::default();
        for (manager, owned) in managed.iter().filter(|it| Some(it.0) != but) {
            let changes = taken.changes.entry(owned.version.clone()).or_insert_with(|| {
                let changes = Comparison::of(before, after, self.shape_of(&owned.version)?).without(&ignored);
                Some((changes.modified.union(&changes.added), changes.removed))
            });
            if let Some((set_anew, _)) = changes {
                let set = owned.set.intersection(set_anew);
                if !set.is_empty() {
                    taken.set.insert(manager.clone(), set);
                }
            }
        }
        taken.but = but.cloned();
        taken
    }

    fn take_from_others(&self, before: &Value, after: &Value, managed: &mut Managed, but: Option<&Manager>) {
        let taken = self.taken(before, after, managed, but);
        taken.take(managed);
    }

    /// Applies; and if it is `kubectl` that moves from client-side apply, what that had set is its own.
    fn applied_by_kubectl(
        &self,
        live: &Object,
        config: &Object,
        managed: Managed,
        manager: &str,
        force: bool,
    ) -> Result<Applied, ApplyError> {
        let applied = self.applied(live, config, managed.clone(), manager, force);
        let (Err(Failure::Conflicts(conflicts)), "kubectl") = (&applied, manager) else {
            return applied.map_err(Failure::into_error);
        };
        let Some(allowed) = self.last_applied(live) else { return applied.map_err(Failure::into_error) };
        let left: Vec<_> = conflicts.iter().filter(|it| !contains(&allowed, &it.1)).cloned().collect();
        if left.is_empty() {
            return self.applied(live, config, managed, manager, true).map_err(Failure::into_error);
        }
        Err(Failure::Conflicts(left).into_error())
    }

    /// What client-side apply set last and still stands so.
    fn last_applied(&self, live: &Object) -> Option<FieldSet> {
        let text = live.metadata()?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
        let last: Value = serde_json::from_str(text).ok()?;
        if last.get("apiVersion")?.as_str()? != self.api_version() {
            return None;
        }
        let changes = Comparison::of(&last, &plain(live), self.shape());
        let set = fields_of(&last, self.shape());
        Some(set.difference(&changes.modified).difference(&changes.added).difference(&changes.removed))
    }

    fn applied(
        &self,
        live: &Object,
        config: &Object,
        mut managed: Managed,
        manager: &str,
        force: bool,
    ) -> Result<Applied, Failure> {
        let (before, config) = (plain(live), Value::Object(config.0.clone()));
        if managed.is_empty() {
            managed = self.updated(&Value::Object(self.empty().0), &before, managed, BEFORE_FIRST_APPLY);
        }
        let manager = self.manager(manager, true);
        let merged = merge(Some(&before), Some(&config), self.shape()).unwrap_or(Value::Null);
        let set = fields_of(&config, self.shape()).without_below(&self.ignored());
        let last = managed.remove(&manager);
        let time = last.as_ref().and_then(|it| it.time.clone());
        let owned = Owned { set, version: self.api_version(), time };
        managed.insert(manager.clone(), owned);
        let after = self.pruned(merged, &managed, last);
        let taken = self.taken(&before, &after, &managed, Some(&manager));
        if !force && !taken.set.is_empty() {
            return Err(Failure::Conflicts(taken.conflicts()));
        }
        taken.take(&mut managed);
        if let Some(owned) = managed.get_mut(&manager) {
            owned.set = strip(&owned.set);
            if after != before {
                owned.time = Some(crate::rules::time(self.now));
            }
        }
        managed.retain(|_, it| !it.set.is_empty());
        let mut object = match after {
            Value::Object(fields) if Value::Object(fields.clone()) != before => Object(fields),
            _ => Object(before.as_object().cloned().unwrap_or_default()),
        };
        self.version.schema.fill_defaults(&mut object.0);
        Ok((object, managed))
    }

    /// Takes out what its owner applied last time, did not apply now, and nobody else owns.
    fn pruned(&self, merged: Value, managed: &Managed, last: Option<Owned>) -> Value {
        let Some(last) = last.filter(|it| !it.set.is_empty()) else { return merged };
        let Some(shape) = self.shape_of(&last.version) else { return merged };
        let mut pruned = remove(&merged, &last.set.with_named(shape), shape);
        let mut by_version: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owned in managed.values() {
            by_version.entry(&owned.version).or_default().absorb(&owned.set);
        }
        let versions: BTreeSet<&str> = by_version.keys().copied().collect();
        let ordered = versions
            .iter()
            .filter(|it| **it == last.version)
            .chain(versions.iter().filter(|it| **it != last.version));
        for version in ordered {
            let Some(shape) = self.shape_of(version) else { continue };
            let all = fields_of(&merged, shape).with_named(shape);
            let kept =
                fields_of(&pruned, shape).with_named(shape).union(&by_version[version].with_named(shape));
            pruned = remove(&merged, &all.difference(&kept), shape);
        }
        let all = fields_of(&merged, shape).with_named(shape);
        let kept = fields_of(&pruned, shape).with_named(shape);
        remove(&merged, &all.difference(&kept).intersection(&last.set.with_named(shape)), shape)
    }
}

/// What a change takes from the owners of fields.
#[derive(Default)]
struct Taken {
    /// From whom what was taken because it was set anew.
    set: BTreeMap<Manager, FieldSet>,
    /// What was set anew and what was removed, as each version sees it; nothing where the version is not served any more.
    changes: BTreeMap<String, Option<(FieldSet, FieldSet)>>,
    /// From whom nothing is taken.
    but: Option<Manager>,
}

impl Taken {
    fn take(self, managed: &mut Managed) {
        managed.retain(|manager, owned| {
            if self.but.as_ref() == Some(manager) {
                return !owned.set.is_empty();
            }
            // Who wrote under a version that is not served any more owns nothing.
            let Some(Some((_, removed))) = self.changes.get(&owned.version) else { return false };
            if let Some(set) = self.set.get(manager) {
                owned.set = owned.set.difference(set);
            }
            owned.set = owned.set.difference(removed);
            !owned.set.is_empty()
        });
    }

    fn conflicts(&self) -> Vec<(Manager, Path)> {
        let paths = |(manager, set): (&Manager, &FieldSet)| {
            let manager = manager.clone();
            set.paths().into_iter().map(move |it| (manager.clone(), it))
        };
        self.set.iter().flat_map(paths).collect()
    }
}

enum Failure {
    Conflicts(Vec<(Manager, Path)>),
}

impl Failure {
    fn into_error(self) -> ApplyError {
        let Self::Conflicts(conflicts) = self;
        let conflict = |(manager, path): (Manager, Path)| Conflict {
            manager: manager.shown(),
            field: path.iter().map(ToString::to_string).collect(),
        };
        ApplyError::Conflicts(conflicts.into_iter().map(conflict).collect())
    }
}

fn contains(set: &FieldSet, path: &[Element]) -> bool {
    match path {
        [] => false,
        [last] => set.has(last),
        [first, rest @ ..] => set.below(first).is_some_and(|it| contains(it, rest)),
    }
}

/// An object without its managed fields.
fn plain(object: &Object) -> Value {
    let mut fields = object.0.clone();
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Value::Object(fields)
}

/// What nobody owns: the object's type and what the server decides.
fn strip(set: &FieldSet) -> FieldSet {
    let field = |name: &str| Element::Field(name.to_owned());
    let mut stripped = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        stripped.insert(&[field(name)]);
    }
    let server = ["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation"];
    for name in server.into_iter().chain(["managedFields", "resourceVersion"]) {
        stripped.insert(&[field("metadata"), field(name)]);
    }
    set.difference(&stripped)
}

/// Puts the oldest entries of those who update together, version by version, until there are few enough.
fn cap(mut managed: Managed) -> Managed {
    let mut updaters: Vec<(Option<String>, Manager)> = managed
        .iter()
        .filter(|it| !it.0.is_applier)
        .map(|(manager, owned)| (owned.time.clone(), manager.clone()))
        .collect();
    let mut count = updaters.len();
    updaters.sort();
    let mut first: BTreeMap<String, Manager> = BTreeMap::new();
    for (time, manager) in updaters {
        if count <= MOST_UPDATERS {
            break;
        }
        let Some(version) = managed.get(&manager).map(|it| it.version.clone()) else { continue };
        let Some(earlier) = first.get(&version) else {
            first.insert(version, manager);
            continue;
        };
        let bucket = Manager {
            name: ANCIENT.to_owned(),
            is_applier: false,
            version: version.clone(),
            subresource: String::new(),
        };
        let mut owned = match managed.remove(&bucket) {
            Some(owned) => owned,
            None => match managed.remove(earlier) {
                Some(owned) => owned,
                None => continue,
            },
        };
        if let Some(merged) = managed.remove(&manager) {
            owned.set.absorb(&merged.set);
            count -= 1;
        }
        owned.time = time;
        managed.insert(bucket, owned);
    }
    managed
}
