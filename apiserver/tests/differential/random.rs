//! Random changes of one object by several managers.
//!
//! `LARDER_DIFFERENTIAL_SCHEDULES` says how many schedules there are; each is its seed's.

use serde_json::{Map, Value, json};

use crate::request::{Request, Verb, thing};

/// How many schedules are run.
pub(crate) fn schedules() -> u64 {
    std::env::var("LARDER_DIFFERENTIAL_SCHEDULES").map_or(60, |it| it.parse().unwrap())
}

const STEPS: u64 = 12;

/// The requests of a seed.
pub(crate) fn schedule(seed: u64) -> Vec<Request> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let name = format!("random-{seed}");
    (0..STEPS).map(|_| step(&name, &mut random)).collect()
}

fn step(name: &str, random: &mut Random) -> Request {
    let manager = ["alice", "bob", "carol", "kubectl"][random.below(4)];
    let fields = json!({"spec": spec(random)});
    let request = match random.below(10) {
        0..6 => Request::new(Verb::Apply, name, &thing(name, with_labels(fields, random))),
        6 => Request::new(Verb::Create, name, &thing(name, fields)),
        7 => {
            let mut body = thing(name, fields);
            body["metadata"]["resourceVersion"] = "$VERSION".into();
            Request::new(Verb::Replace, name, &body)
        }
        8 => Request::new(Verb::MergePatch, name, &with_labels(fields, random)),
        _ => {
            let phase = ["New", "Done"][random.below(2)];
            let condition = json!({"type": random.letter(), "status": random.letter()});
            let status = json!({"status": {"phase": phase, "conditions": [condition]}});
            let verb = [Verb::MergePatch, Verb::Apply][random.below(2)];
            let body = if verb == Verb::Apply { thing(name, status) } else { status };
            Request::new(verb, name, &body).status()
        }
    };
    let request = request.by(manager);
    if request.verb == Verb::Apply && random.below(3) == 0 { request.force() } else { request }
}

fn with_labels(mut fields: Value, random: &mut Random) -> Value {
    if random.below(3) == 0 {
        fields["metadata"] = json!({"labels": {random.letter(): random.letter()}});
    }
    fields
}

fn spec(random: &mut Random) -> Value {
    let mut spec = Map::new();
    for name in ["text", "given", "either", "set", "list", "ports", "map", "whole", "words", "free", "nested"]
    {
        if random.below(3) == 0 {
            spec.insert(name.to_owned(), field(name, random));
        }
    }
    Value::Object(spec)
}

fn field(name: &str, random: &mut Random) -> Value {
    match name {
        "either" if random.below(2) == 0 => json!(random.below(3)),
        "set" | "words" => {
            let mut words: Vec<String> = random.some(|it| it.letter());
            words.dedup();
            let mut seen = std::collections::BTreeSet::new();
            words.retain(|it| seen.insert(it.clone()));
            json!(words)
        }
        "list" => keyed(random, |random, name| {
            let mut item = json!({"name": name});
            if random.below(2) == 0 {
                item["value"] = random.letter().into();
            }
            if random.below(3) == 0 {
                item["labels"] = json!({random.letter(): random.letter()});
            }
            item
        }),
        "ports" => keyed(random, |random, letter| {
            let mut item = json!({"port": letter.as_bytes()[0] - b'a'});
            if random.below(2) == 0 {
                item["protocol"] = ["TCP", "UDP"][random.below(2)].into();
            }
            if random.below(2) == 0 {
                item["comment"] = random.letter().into();
            }
            item
        }),
        "map" => Value::Object(random.some(|it| (it.letter(), pair(it))).into_iter().collect()),
        "whole" => pair(random),
        "nested" => json!({"deep": pair(random)}),
        "free" => match random.below(3) {
            0 => json!({random.letter(): pair(random)}),
            1 => json!({random.letter(): [random.letter()]}),
            _ => json!({random.letter(): random.letter()}),
        },
        _ => random.letter().into(),
    }
}

/// A list of items with keys, each key once.
fn keyed(random: &mut Random, item: impl Fn(&mut Random, &str) -> Value) -> Value {
    let mut names: Vec<String> = random.some(|it| it.letter());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|it| seen.insert(it.clone()));
    names.iter().map(|it| item(random, it)).collect()
}

fn pair(random: &mut Random) -> Value {
    let mut fields = Map::new();
    for name in ["a", "b"] {
        if random.below(2) == 0 {
            fields.insert(name.to_owned(), random.letter().into());
        }
    }
    Value::Object(fields)
}

/// Marsaglia's xorshift: enough to choose.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn letter(&mut self) -> String {
        ["a", "b", "c"][self.below(3)].to_owned()
    }

    fn some<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }
}
