//! Laying a configuration over an object: what the configuration says counts, everything else stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::element::Element;
use super::shape::{FormOf, Shape, fields, items};

/// `live` with `config` laid over it; nothing if both are empty.
pub(super) fn merge(live: Option<&Value>, config: Option<&Value>, shape: Shape<'_>) -> Option<Value> {
    let (before, after) = (shape.forms_of(live), shape.forms_of(config));
    let form = if config.is_none() { before.first() } else { after.first() };
    let is_leaf = match form {
        FormOf::Scalar => true,
        FormOf::Map => {
            let is_empty = |it| fields(it).is_none_or(Map::is_empty);
            shape.is_atomic_map() || is_empty(live) && is_empty(config)
        }
        FormOf::List => {
            let is_empty = |it| items(it).is_none_or(Vec::is_empty);
            shape.list().is_none() || is_empty(live) && is_empty(config)
        }
    };
    match form {
        _ if is_leaf => config.or(live).cloned(),
        FormOf::Map => merge_fields(fields(live), fields(config), shape),
        _ => merge_items(items(live), items(config), shape),
    }
}

fn merge_fields(
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
    shape: Shape<'_>,
) -> Option<Value> {
    let names: BTreeSet<&String> = [live, config].into_iter().flatten().flat_map(|it| it.keys()).collect();
    let mut merged = Map::new();
    for name in names {
        let (live, config) = (live.and_then(|it| it.get(name)), config.and_then(|it| it.get(name)));
        if let Some(value) = merge(live, config, shape.field(name)) {
            merged.insert(name.clone(), value);
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// A list that is told apart by keys or values: items of both, those of the configuration in its order.
struct Lists<'v> {
    live: Vec<(Element, &'v Value)>,
    config: Vec<(Element, &'v Value)>,
    /// By step; `None` where it stands there more than once: such items are not merged.
    live_by_step: BTreeMap<Element, Option<&'v Value>>,
    config_by_step: BTreeMap<Element, &'v Value>,
}

fn merge_items(live: Option<&Vec<Value>>, config: Option<&Vec<Value>>, shape: Shape<'_>) -> Option<Value> {
    let live = with_steps(live, shape);
    let mut live_by_step = BTreeMap::new();
    for (step, item) in &live {
        let is_repeated = live_by_step.contains_key(step);
        live_by_step.insert(step.clone(), (!is_repeated).then_some(*item));
    }
    let mut config_by_step = BTreeMap::new();
    let mut config = with_steps(config, shape);
    config.retain(|(step, item)| config_by_step.insert(step.clone(), *item).is_none());
    let merged = Lists { live, config, live_by_step, config_by_step }.merge(shape.item());
    (!merged.is_empty()).then_some(Value::Array(merged))
}

fn with_steps<'v>(list: Option<&'v Vec<Value>>, shape: Shape<'_>) -> Vec<(Element, &'v Value)> {
    list.into_iter().flatten().filter_map(|it| Some((shape.element(it).ok()?, it))).collect()
}

impl Lists<'_> {
    /// Goes through both lists at once. Items that only the live list has stay where they are between those that both have.
    fn merge(&self, item: Shape<'_>) -> Vec<Value> {
        let mut merged = Vec::new();
        let mut done: BTreeSet<&Element> = BTreeSet::new();
        let mut shared: VecDeque<&Element> =
            self.config.iter().map(|it| &it.0).filter(|it| self.live_by_step.contains_key(*it)).collect();
        let mut next_shared = shared.pop_front();
        let (mut at_live, mut at_config) = (0, 0);
        while at_live < self.live.len() || at_config < self.config.len() {
            let (live, config) = (self.live.get(at_live), self.config.get(at_config));
            if let (Some((here, _)), Some((there, _))) = (live, config) {
                if here == there {
                    done.insert(here);
                    merged.extend(self.both(here, item));
                    (at_live, at_config) = (at_live + 1, at_config + 1);
                    next_shared = shared.pop_front();
                    continue;
                }
                if self.config_by_step.contains_key(here) && next_shared.is_some_and(|it| it != here) {
                    at_live += 1;
                    continue;
                }
            }
            if let Some((here, value)) = live {
                if !self.config_by_step.contains_key(here) {
                    merged.extend(merge(Some(value), None, item));
                    at_live += 1;
                    continue;
                }
                if done.contains(here) {
                    at_live += 1;
                }
            }
            if let Some((there, _)) = config {
                done.insert(there);
                merged.extend(self.both(there, item));
                at_config += 1;
                if next_shared == Some(there) {
                    next_shared = shared.pop_front();
                }
            }
        }
        merged
    }

    fn both(&self, step: &Element, item: Shape<'_>) -> Option<Value> {
        let live = self.live_by_step.get(step).map(|it| it.unwrap_or(&Value::Null));
        merge(live, self.config_by_step.get(step).copied(), item)
    }
}
