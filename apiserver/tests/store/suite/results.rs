//! Result rows: what reports say, however they came and went, whoever made the rows and wherever that was stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use larder_apiserver::results::{
    Filter, Found, Group, Outcome, Questions, ResultRow, Results, ResultsError, Severity, extract,
};
use larder_apiserver::store::{Store, StoreError};
use larder_client::database::Database;
use larder_client::wire::{Request, Statement};
use serde_json::{Value, json};

use super::{RESOURCE, all, at, draft, failed, forgetful, key, listed, store};

/// Choices that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    /// Some results, with something missing here and there.
    fn results(&mut self) -> Value {
        let count = self.below(6);
        let results = (0..count).map(|_| {
            json!({
                "policy": self.one_of(&["p", "q", "r", ""]), "rule": self.one_of(&["a", "b"]),
                "severity": self.one_of(&["critical", "high", "medium", "low", "info", "odd"]),
                "result": self.one_of(&["pass", "fail", "warn", "error", "skip", ""]),
                "category": self.one_of(&["c", "d"]), "source": self.one_of(&["kyverno", "trivy"]),
                "timestamp": {"seconds": self.below(50)}, "message": "m", "scored": self.below(2) == 0,
                "resources": [{"kind": self.one_of(&["Pod", "Job"]), "name": self.one_of(&["x", "y", "z"])}],
            })
        });
        Value::Array(results.collect())
    }
}

async fn put(store: &Store, place: &str, results: Value) {
    loop {
        let it = draft(place, "", json!({"results": results}));
        let done = match store.get(RESOURCE, &key(place)).await.unwrap() {
            None => store.create(RESOURCE, &it).await,
            Some(there) => store.update(RESOURCE, &it, there.revision).await,
        };
        match done {
            Ok(_) => return,
            Err(StoreError::Exists | StoreError::Changed) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn remove(store: &Store, place: &str) {
    if let Some(there) = store.get(RESOURCE, &key(place)).await.unwrap() {
        store.delete(RESOURCE, &key(place), there.revision).await.unwrap();
    }
}

/// `report: policy/rule name result@at` of what is found.
fn shown(found: &Found) -> String {
    let ResultRow { policy, rule, name, result, at, .. } = &found.row;
    format!("{}: {policy}/{rule} {name} {}@{at}", found.report, result.name())
}

async fn asked(questions: &Questions, filter: &Filter, limit: usize) -> Result<Vec<Found>, ResultsError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = questions.list(filter, after.as_deref(), limit).await?;
        assert!(page.rows.len() <= limit);
        found.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// What the objects themselves say.
async fn expected(store: &Store) -> Vec<Found> {
    let mut list = store.list(RESOURCE, &all()).await.unwrap();
    let mut found = Vec::new();
    while let Some(stored) = list.next().await.unwrap() {
        let object = stored.object("example.com/v1", "Report").unwrap();
        let rows = extract(&object.0).0.into_iter();
        let report = stored.key.clone();
        found.extend(rows.map(|row| Found {
            report_resource: RESOURCE.to_owned(),
            report: report.clone(),
            row,
        }));
    }
    found
}

/// Everything that two lists have, in one order.
fn sorted(found: &[Found]) -> Vec<String> {
    let mut lines: Vec<String> = found.iter().map(|it| format!("{it:?}")).collect();
    lines.sort();
    lines
}

/// Everything is there, once, as the objects have it, newest first.
pub(crate) async fn check(store: &Store, questions: &Questions) {
    let found = asked(questions, &Filter::default(), 7).await.unwrap();
    assert!(found.windows(2).all(|pair| pair[0].row.at >= pair[1].row.at));
    assert_eq!(sorted(&found), sorted(&expected(store).await));
}

pub(crate) async fn rows_follow_their_objects(database: Arc<dyn Database>) {
    let store = store(&database).await;
    let results = Results::keep(&store);
    let questions = results.questions();
    let lines = async || {
        let found = asked(&questions, &Filter::default(), 100).await.unwrap();
        found.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(lines().await, [""; 0]);
    let item =
        |policy: &str, at: u32| json!({"policy": policy, "result": "fail", "timestamp": {"seconds": at}});
    put(&store, "a/one", json!([item("p", 1), item("q", 5)])).await;
    put(&store, "a/two", json!([item("p", 3)])).await;
    assert_eq!(lines().await, ["a/one: q/  fail@5", "a/two: p/  fail@3", "a/one: p/  fail@1"]);
    put(&store, "a/one", json!([item("p", 2)])).await;
    assert_eq!(lines().await, ["a/two: p/  fail@3", "a/one: p/  fail@2"]);
    remove(&store, "a/two").await;
    assert_eq!(lines().await, ["a/one: p/  fail@2"]);
    // Made again under the same key it is another object.
    remove(&store, "a/one").await;
    put(&store, "a/one", json!([item("r", 9)])).await;
    assert_eq!(lines().await, ["a/one: r/  fail@9"]);
    put(&store, "a/one", json!("no list any more")).await;
    assert_eq!(lines().await, [""; 0]);
    assert!(results.lag().rows >= 1 && !results.lag().anew, "{:?}", results.lag());
}

fn accepts(filter: &Filter, found: &Found) -> bool {
    let row = &found.row;
    let one_of = |values: &[String], value: &str| values.is_empty() || values.iter().any(|it| it == value);
    one_of(&filter.policies, &row.policy)
        && one_of(&filter.rules, &row.rule)
        && one_of(&filter.namespaces, &row.namespace)
        && one_of(&filter.sources, &row.source)
        && one_of(&filter.categories, &row.category)
        && one_of(&filter.kinds, &row.kind)
        && one_of(&filter.names, &row.name)
        && one_of(&filter.reports, &found.report_resource)
        && (filter.severities.is_empty() || filter.severities.contains(&row.severity))
        && filter.severity_at_least.is_none_or(|it| row.severity >= it)
        && (filter.results.is_empty() || filter.results.contains(&row.result))
        && filter.since.is_none_or(|it| row.at >= it)
}

fn filter(dice: &mut Dice) -> Filter {
    let mut some = |texts: &[&str]| match dice.below(4) {
        0 => vec![dice.one_of(texts).to_owned()],
        1 => vec![dice.one_of(texts).to_owned(), dice.one_of(texts).to_owned()],
        _ => Vec::new(),
    };
    let mut filter = Filter {
        policies: some(&["p", "q", "none"]),
        rules: some(&["a", "b"]),
        namespaces: some(&["a", "b", ""]),
        sources: some(&["kyverno", "trivy"]),
        categories: some(&["c", "d"]),
        kinds: some(&["Pod", "Job"]),
        names: some(&["x", "y", "z"]),
        reports: some(&[RESOURCE]),
        ..Filter::default()
    };
    if dice.below(3) == 0 {
        filter.severities = vec![Severity::ALL[dice.below(6)], Severity::ALL[dice.below(6)]];
    }
    filter.severity_at_least = (dice.below(3) == 0).then(|| Severity::ALL[dice.below(6)]);
    if dice.below(3) == 0 {
        filter.results = vec![Outcome::ALL[dice.below(6)], Outcome::ALL[dice.below(6)]];
    }
    filter.since = (dice.below(3) == 0).then(|| i64::try_from(dice.below(50)).unwrap());
    filter
}

pub(crate) async fn filters_and_pages_leave_out_nothing(database: Arc<dyn Database>) {
    let (store, questions) = (store(&database).await, Questions::new(Arc::clone(&database)));
    let mut dice = Dice(1);
    for it in 0..60 {
        put(&store, &format!("{}/{it}", dice.one_of(&["a", "b"])), dice.results()).await;
    }
    let everything = expected(&store).await;
    let mut hits = 0;
    for _ in 0..60 {
        let filter = filter(&mut dice);
        let matching: Vec<Found> = everything.iter().filter(|it| accepts(&filter, it)).cloned().collect();
        hits += usize::from(matching.len() > 1);
        let found = asked(&questions, &filter, 1 + dice.below(20)).await.unwrap();
        assert!(found.windows(2).all(|pair| pair[0].row.at >= pair[1].row.at));
        assert_eq!(sorted(&found), sorted(&matching), "{filter:?}");
    }
    assert!(hits > 10, "only {hits} questions find anything");
}

const GROUPS: [Group; 8] = [
    Group::Policy,
    Group::Rule,
    Group::Namespace,
    Group::Kind,
    Group::Severity,
    Group::Result,
    Group::Source,
    Group::Category,
];

fn value(group: Group, row: &ResultRow) -> String {
    let text: &str = match group {
        Group::Policy => &row.policy,
        Group::Rule => &row.rule,
        Group::Namespace => &row.namespace,
        Group::Kind => &row.kind,
        Group::Severity => row.severity.name(),
        Group::Result => row.result.name(),
        Group::Source => &row.source,
        Group::Category => &row.category,
    };
    text.to_owned()
}

pub(crate) async fn counts_are_those_of_the_rows(database: Arc<dyn Database>) {
    let (store, questions) = (store(&database).await, Questions::new(Arc::clone(&database)));
    let mut dice = Dice(2);
    for it in 0..60 {
        put(&store, &format!("{}/{it}", dice.one_of(&["a", "b"])), dice.results()).await;
    }
    let everything = expected(&store).await;
    for round in 0..40 {
        let filter = if round % 4 == 0 { Filter::failing() } else { filter(&mut dice) };
        let groups: Vec<Group> = (0..=dice.below(3)).map(|_| GROUPS[dice.below(8)]).collect();
        let mut counted: BTreeMap<Vec<String>, (u64, i64, i64)> = BTreeMap::new();
        for Found { row, .. } in everything.iter().filter(|it| accepts(&filter, it)) {
            let values = groups.iter().map(|it| value(*it, row)).collect();
            let slot = counted.entry(values).or_insert((0, row.at, row.at));
            *slot = (slot.0 + 1, slot.1.min(row.at), slot.2.max(row.at));
        }
        let (mut found, mut after, mut most) = (BTreeMap::new(), None, u64::MAX);
        loop {
            let page = questions.counts(&filter, &groups, after.as_deref(), 3).await.unwrap();
            for it in page.counts {
                assert!(it.count <= most, "the most come first");
                most = it.count;
                assert!(found.insert(it.values, (it.count, it.since, it.latest)).is_none(), "once each");
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, counted, "{filter:?} by {groups:?}");
    }
    // A cursor is of one question.
    let cursor = questions.counts(&Filter::default(), &[Group::Rule], None, 1).await.unwrap().next.unwrap();
    for (groups, cursor) in [
        (&[Group::Rule, Group::Kind][..], cursor.as_str()),
        (&[Group::Severity], &cursor),
        (&[Group::Rule], "x!"),
        (&[Group::Rule], ""),
    ] {
        let page = questions.counts(&Filter::default(), groups, Some(cursor), 1).await;
        assert!(matches!(page, Err(ResultsError::Cursor)), "{page:?}");
    }
    assert!(matches!(questions.list(&Filter::default(), Some(&cursor), 1).await, Err(ResultsError::Cursor)));
}

/// Writers, each on keys of its own, who ask after every write: there is the latest and nothing else.
pub(crate) async fn no_answer_is_out_of_date(database: Arc<dyn Database>) {
    let stores = [store(&database).await, store(&database).await];
    let keeping = [Results::keep(&stores[0]), Results::keep(&stores[1])];
    let alone = Questions::new(Arc::clone(&database));
    let asking = [keeping[0].questions(), keeping[1].questions(), alone];
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (store, questions) = (stores[writer % 2].clone(), asking[(writer + 1) % 3].clone());
            tokio::spawn(async move {
                let place = format!("n{writer}/r");
                let filter = Filter { namespaces: vec![format!("n{writer}")], ..Filter::default() };
                for step in 0..25 {
                    put(&store, &place, json!([{"policy": "p", "rule": step.to_string()}])).await;
                    let found = questions.list(&filter, None, 10).await.unwrap().rows;
                    let rules: Vec<&str> = found.iter().map(|it| it.row.rule.as_str()).collect();
                    assert_eq!(rules, [step.to_string()]);
                    if step % 5 == 4 {
                        remove(&store, &place).await;
                        assert!(questions.list(&filter, None, 10).await.unwrap().rows.is_empty());
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

pub(crate) async fn whoever_is_stopped_wherever_rows_are_right(database: Arc<dyn Database>) {
    let stores = [forgetful(&database, 20).await, forgetful(&database, 20).await];
    let mut dice = Dice(3);
    for round in 0..12 {
        let makers: Vec<_> = (0..3)
            .map(|it| {
                let keeping = (it < 2).then(|| Results::keep(&stores[it % 2]));
                let questions = Questions::new(Arc::clone(&database));
                let patience = Duration::from_millis(5 + 7 * it as u64);
                tokio::spawn(async move {
                    // Both end in the middle of something.
                    let _ = tokio::time::timeout(patience, questions.catch_up()).await;
                    drop(keeping);
                })
            })
            .collect();
        for it in 0..30 {
            let place = format!("{}/{}", dice.one_of(&["a", "b"]), dice.below(25));
            if dice.below(4) == 0 {
                remove(&stores[it % 2], &place).await;
            } else {
                put(&stores[it % 2], &place, dice.results()).await;
            }
        }
        if round % 3 == 2 {
            stores[0].compact().await.unwrap();
        }
        for maker in makers {
            maker.await.unwrap();
        }
        if round % 4 == 3 {
            check(&stores[0], &Questions::new(Arc::clone(&database))).await;
        }
    }
    check(&stores[1], &Questions::new(database)).await;
}

pub(crate) async fn the_log_waits_for_rows_but_not_for_ever(database: Arc<dyn Database>) {
    let (store, questions) = (forgetful(&database, 10).await, Questions::new(Arc::clone(&database)));
    put(&store, "a/first", json!([{"policy": "p"}])).await;
    let early = store.revision().await.unwrap();
    let write = async |from: usize, to: usize| {
        for it in from..to {
            put(&store, &format!("a/{it}"), json!([{"policy": "p", "rule": it.to_string()}])).await;
        }
    };
    // Nobody makes rows yet, so nobody is waited for.
    write(0, 20).await;
    store.compact().await.unwrap();
    assert!(matches!(failed(listed(&store, &at(early)).await), StoreError::Expired { .. }));
    check(&store, &questions).await;
    let made = store.revision().await.unwrap();
    write(20, 60).await;
    store.compact().await.unwrap();
    assert_eq!(listed(&store, &at(made)).await.unwrap().len(), 21, "what rows are made from is kept");
    questions.catch_up().await.unwrap();
    store.compact().await.unwrap();
    assert!(matches!(failed(listed(&store, &at(made)).await), StoreError::Expired { .. }));
    // Who is behind by more than ten times as much has to begin anew.
    let made = store.revision().await.unwrap();
    write(60, 180).await;
    remove(&store, "a/3").await;
    store.compact().await.unwrap();
    assert!(matches!(failed(listed(&store, &at(made)).await), StoreError::Expired { .. }));
    check(&store, &questions).await;
}

pub(crate) async fn who_cannot_wait_is_told_how_far_it_is(database: Arc<dyn Database>) {
    let (store, questions) = (store(&database).await, Questions::new(Arc::clone(&database)));
    let hasty = questions.clone().with_patience(Duration::ZERO);
    put(&store, "a/0", json!([{"policy": "p"}])).await;
    let told = hasty.list(&Filter::default(), None, 1).await;
    assert!(matches!(told, Err(ResultsError::Incomplete { objects: 1, .. })), "{told:?}");
    let reached = questions.catch_up().await.unwrap();
    for it in 1..200 {
        put(&store, &format!("a/{it}"), json!([{"policy": "p"}])).await;
    }
    let asked = store.revision().await.unwrap();
    let told = hasty.list(&Filter::default(), None, 1).await;
    let Err(ResultsError::Behind { asked: told, reached: so_far, behind }) = told else { panic!("{told:?}") };
    assert_eq!(told, asked);
    assert!(so_far >= reached && so_far < asked && behind > 0 && behind < 200, "{so_far} {behind}");
    check(&store, &questions).await;
    let many = Filter { policies: vec!["p".to_owned(); 1001], ..Filter::default() };
    assert!(matches!(questions.list(&many, None, 1).await, Err(ResultsError::TooMany(1000))));
}

pub(crate) async fn large_reports_go_in_bounded_batches(database: Arc<dyn Database>) {
    let (store, questions) = (store(&database).await, Questions::new(Arc::clone(&database)));
    questions.catch_up().await.unwrap();
    let long = |it: usize| json!({"policy": "p", "rule": it.to_string(), "message": "m".repeat(400)});
    for report in 0..6 {
        put(&store, &format!("a/{report}"), (0..1500).map(long).collect()).await;
    }
    put(&store, "a/whole", (0..12_000).map(|_| json!({"policy": "q"})).collect()).await;
    let counts = questions.counts(&Filter::default(), &[Group::Policy], None, 9).await.unwrap().counts;
    let counts: Vec<_> = counts.into_iter().map(|it| (it.values, it.count)).collect();
    assert_eq!(counts, [(vec!["q".to_owned()], 10_000), (vec!["p".to_owned()], 9000)]);
}

pub(crate) async fn views_say_the_same(database: Arc<dyn Database>) {
    let (store, questions) = (store(&database).await, Questions::new(Arc::clone(&database)));
    let item =
        |at: u32| json!({"policy": "p", "result": "fail", "severity": "high", "timestamp": {"seconds": at}});
    put(&store, "a/r", json!([item(60), item(120)])).await;
    let ask = async |sql: &str| {
        let response = database.query(&Request::new([Statement::new(sql)])).await.unwrap();
        format!("{:?}", response.results[0].rows)
    };
    assert!(ask("SELECT behind, complete FROM result_state").await.contains("Integer(0)]"));
    questions.catch_up().await.unwrap();
    assert_eq!(ask("SELECT behind, complete FROM result_state").await, "[[Integer(0), Integer(1)]]");
    let first = ask("SELECT report, severity, at FROM report_result ORDER BY at LIMIT 1").await;
    assert_eq!(first, r#"[[Text("a/r"), Text("high"), Text("1970-01-01T00:01:00Z")]]"#);
    let failing = ask("SELECT policy, namespace, severity, results, since FROM failing_policy").await;
    let since = r#"Integer(2), Text("1970-01-01T00:01:00Z")"#;
    assert_eq!(failing, format!(r#"[[Text("p"), Text("a"), Integer(4), {since}]]"#));
    put(&store, "a/r", json!([item(60)])).await;
    assert_eq!(ask("SELECT behind FROM result_state").await, "[[Integer(1)]]");
}
