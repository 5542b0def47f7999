//! The index and the questions on the embedded engine. Random histories of puts, deletes, folds and merges: after each step every question has the answer
//! of a model that is no more than a list of all reports. And what happens when two keep the index at once, when one ends half way, and
//! when a block is damaged.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod cold;
mod measure;
mod model;
mod upkeep;
mod world;

use larder_client::database::Database as _;
use larder_client::reports::questions::{
    AssetFilter, AssetOrder, AssetQuery, Direction, FindingQuery, Fix, FixFilter, Match, Published,
    QuickFilter, Score, ScoreRange, VulnerabilityFilter, VulnerabilityOrder, VulnerabilityQuery,
};
use larder_client::reports::{Asset, Finding, Severity};
use larder_client::wire::{Request, Statement};
use proptest::prelude::*;
use world::{World, filter, names, severity, steps};

fn direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(vec![Direction::Ascending, Direction::Descending])
}

fn score() -> impl Strategy<Value = Score> {
    prop::sample::select(vec![Score::V2, Score::V3])
}

fn range() -> impl Strategy<Value = (u8, u8)> {
    (0..60_u8, 0..60_u8).prop_map(|(low, more)| (low, low + more))
}

fn vulnerability_filter() -> impl Strategy<Value = VulnerabilityFilter> {
    let fixes =
        [FixFilter::All, FixFilter::All, FixFilter::WithFix, FixFilter::WithoutFix, FixFilter::WithFixAll];
    let time = || (0..6_i64).prop_map(|it| it * 400_000_000);
    let published = prop_oneof![time().prop_map(Published::Before), time().prop_map(Published::After)];
    let seldom = 0.2;
    (
        prop::sample::select(fixes.to_vec()),
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(severity(), 1..3)],
        prop::option::weighted(seldom, range()),
        prop::option::weighted(seldom, range()),
        prop::option::weighted(seldom, published),
        prop::option::weighted(seldom, time()),
    )
        .prop_map(|(fix, severities, score, score_v3, published, modified_after)| VulnerabilityFilter {
            fix,
            severities,
            score,
            score_v3,
            published,
            modified_after,
        })
}

fn vulnerability_query() -> impl Strategy<Value = VulnerabilityQuery> {
    let orders = [
        VulnerabilityOrder::Name,
        VulnerabilityOrder::Score,
        VulnerabilityOrder::ScoreV3,
        VulnerabilityOrder::Published,
        VulnerabilityOrder::Impact,
        VulnerabilityOrder::FeedRating,
    ];
    let words = prop::sample::select(vec!["", "cve-2014", "10", "hsa", "7.", "MED", "%"]);
    let quick = (words, score()).prop_map(|(text, score)| QuickFilter { text: text.to_owned(), score });
    (
        filter(),
        vulnerability_filter(),
        prop::option::weighted(0.3, quick),
        prop::sample::select(orders.to_vec()),
        direction(),
        1..6_usize,
    )
        .prop_map(|(assets, filter, quick, order, direction, limit)| VulnerabilityQuery {
            assets,
            filter,
            quick,
            order,
            direction,
            after: None,
            limit,
        })
}

fn asset_query() -> impl Strategy<Value = AssetQuery> {
    let orders = [
        AssetOrder::Key,
        AssetOrder::Name,
        AssetOrder::Repository,
        AssetOrder::Os,
        AssetOrder::ScannedAt,
        AssetOrder::Size,
        AssetOrder::Severity,
        AssetOrder::Findings,
    ];
    let words = prop::sample::select(vec!["", "", "DEF", "%", "_", "quay", "3.4"]);
    let found = prop::option::weighted(0.3, any::<bool>());
    (filter(), words, found, prop::sample::select(orders.to_vec()), direction(), 1..5_usize).prop_map(
        |(filter, search, found, order, direction, limit)| {
            let search = search.to_owned();
            AssetQuery { filter, search, found, order, direction, after: None, limit }
        },
    )
}

fn finding_query() -> impl Strategy<Value = FindingQuery> {
    let range = (score(), range()).prop_map(|(score, (low, high))| ScoreRange { score, low, high });
    let severities = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(severity(), 1..3)];
    (filter(), severities, prop::option::weighted(0.3, range), 1..9_usize).prop_map(
        |(assets, severities, score, limit)| FindingQuery { assets, severities, score, after: None, limit },
    )
}

/// One of each question.
#[derive(Clone, Debug)]
struct Asked {
    vulnerabilities: VulnerabilityQuery,
    assets: AssetQuery,
    findings: FindingQuery,
    name: &'static str,
    affected: AssetFilter,
    score: (Score, u8),
    limit: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    let score = (score(), 0..=100_u8);
    (vulnerability_query(), asset_query(), finding_query(), names(), filter(), score, 1..5_usize).prop_map(
        |(vulnerabilities, assets, findings, name, affected, score, limit)| Asked {
            vulnerabilities,
            assets,
            findings,
            name,
            affected,
            score,
            limit,
        },
    )
}

async fn ask(world: &World, asked: &Asked) {
    ask_for_vulnerabilities(world, asked.vulnerabilities.clone()).await;
    ask_for_assets(world, asked.assets.clone()).await;
    ask_for_findings(world, asked.findings.clone()).await;
    ask_who_is_affected(world, asked).await;
    ask_for_scores(world, asked).await;
    ask_for_all_together(world, &asked.affected).await;
}

async fn ask_for_vulnerabilities(world: &World, query: VulnerabilityQuery) {
    for exact in [true, false] {
        ask_in_one_way(world, query.clone(), exact).await;
    }
}

async fn ask_in_one_way(world: &World, mut query: VulnerabilityQuery, exact: bool) {
    let questions = world.questions.clone().exact_up_to(if exact { u64::MAX } else { 0 });
    // Where nothing was found there is nothing that could be said otherwise.
    let (expected, counted) = model::vulnerabilities(world, &query, exact);
    let mut rows = Vec::new();
    loop {
        let page = questions.vulnerabilities(&query).await.unwrap();
        assert_eq!(page.counted, counted, "{query:?}");
        assert!(page.rows.len() <= query.limit);
        rows.extend(page.rows);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
        assert!(rows.len() <= expected.len(), "{query:?}");
    }
    assert_eq!(rows, expected, "{query:?}");
}

async fn ask_for_assets(world: &World, mut query: AssetQuery) {
    let expected = model::assets(world, &query);
    let mut keys = Vec::new();
    loop {
        let page = world.questions.asset_findings(&query).await.unwrap();
        assert_eq!(
            page.rows.iter().map(|it| it.summary.clone()).collect::<Vec<_>>(),
            world.questions.assets(&query).await.unwrap().rows
        );
        for row in &page.rows {
            let known = &world.live[row.summary.key.as_str()];
            assert_eq!(row.summary.asset, known.report.asset);
            assert_eq!(row.findings.len(), known.findings().len());
            assert_eq!(row.summary.findings.total(), row.findings.len() as u64);
            assert!(known.findings().iter().all(|it| row.findings.contains(it)));
        }
        keys.extend(page.rows.into_iter().map(|it| it.summary.key.to_string()));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
        assert!(keys.len() <= expected.len(), "{query:?}");
    }
    assert_eq!(keys, expected, "{query:?}");
}

async fn ask_for_findings(world: &World, mut query: FindingQuery) {
    let expected = model::findings(world, &query);
    let mut rows = Vec::new();
    loop {
        let page = world.questions.findings(&query).await.unwrap();
        rows.extend(page.rows.into_iter().map(|row| {
            let finding = row.finding;
            (row.asset.key.to_string(), finding.name, finding.package, finding.fixed_version)
        }));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
        assert!(rows.len() <= expected.len(), "{query:?}");
    }
    assert_eq!(rows, expected, "{query:?}");
}

async fn ask_who_is_affected(world: &World, asked: &Asked) {
    let expected = model::affected(asked.name, &world.admitted(&asked.affected));
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = world
            .questions
            .affected(asked.name, &asked.affected, after.as_deref(), asked.limit)
            .await
            .unwrap();
        assert_eq!(page.total, expected.len() as u64, "{asked:?}");
        rows.extend(page.rows.into_iter().map(|it| (it.summary.key.to_string(), it.findings.len())));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert!(rows.len() <= expected.len(), "{asked:?}");
    }
    assert_eq!(rows, expected, "{asked:?}");
}

async fn ask_for_scores(world: &World, asked: &Asked) {
    let (score, least) = asked.score;
    let worst = |known: &world::Known| {
        let scores =
            known.findings().iter().map(|it| if score == Score::V2 { it.score } else { it.score_v3 });
        scores.map(model::tenths).max().unwrap_or(0)
    };
    let mut expected: Vec<_> = world
        .admitted(&asked.affected)
        .into_iter()
        .filter(|it| !it.findings().is_empty())
        .map(|it| (worst(it), it.report.key.to_string()))
        .filter(|it| it.0 >= least)
        .collect();
    expected.sort_unstable();
    expected.reverse();
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let questions = &world.questions;
        let page = questions
            .scored_at_least(score, least, &asked.affected, after.as_ref(), asked.limit)
            .await
            .unwrap();
        let of = |it: &larder_client::reports::questions::AssetSummary| {
            if score == Score::V2 { it.score } else { it.score_v3 }
        };
        rows.extend(page.rows.into_iter().map(|it| (of(&it), it.key.to_string())));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert!(rows.len() <= expected.len(), "{asked:?}");
    }
    assert_eq!(rows, expected, "{asked:?}");
}

async fn ask_for_all_together(world: &World, filter: &AssetFilter) {
    let overview = world.questions.overview(filter).await.unwrap();
    let admitted = world.admitted(filter);
    assert_eq!(overview.assets, admitted.len() as u64);
    assert_eq!(overview.found, admitted.iter().filter(|it| !it.findings().is_empty()).count() as u64);
    assert_eq!(overview.findings.total(), admitted.iter().map(|it| it.findings().len() as u64).sum::<u64>());
    assert_eq!(overview.newest, admitted.iter().map(|it| it.report.scanned_at).max());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn every_question_has_the_answer_of_the_model(
        steps in steps(),
        asked in prop::collection::vec(asked(), 8),
        crowded in prop::bool::weighted(0.3),
    ) {
        runtime().block_on(async {
            let mut world = World::new().await;
            if crowded {
                world.crowd().await;
            }
            for (number, step) in steps.into_iter().enumerate() {
                world.step(step).await;
                ask(&world, &asked[number % asked.len()]).await;
            }
            for asked in &asked {
                ask(&world, asked).await;
            }
        });
    }
}

#[tokio::test]
async fn one_damaged_row_is_named_and_ends_no_dump() {
    let mut world = World::new().await;
    for step in [0, 1, 2] {
        let finding = Finding { name: format!("CVE-2024-{step:04}"), score: 5.0, ..Finding::default() };
        world.put(&format!("workload/{step}"), Asset::default(), vec![finding]).await;
    }
    let damage = "UPDATE report SET findings = x'deadbeef' WHERE key = 'workload/1'";
    world.database.execute(&Request::new([Statement::new(damage)])).await.unwrap();
    let page = world.questions.findings(&FindingQuery::default()).await.unwrap();
    let names: Vec<_> = page.rows.iter().map(|it| it.finding.name.as_str()).collect();
    assert_eq!(names, ["CVE-2024-0000", "CVE-2024-0002"]);
    let unreadable: Vec<_> = page.unreadable.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(unreadable, ["workload/1"]);
}

#[tokio::test]
async fn a_vulnerability_is_what_the_admitted_reports_say_of_it() {
    let mut world = World::new().await;
    let finding = |severity, score, fixed: &str| Finding {
        name: "CVE-2024-0001".to_owned(),
        severity,
        score,
        score_v3: score,
        fixed_version: fixed.to_owned(),
        ..Finding::default()
    };
    let of = |namespace: &str| Asset { namespace: namespace.to_owned(), ..Asset::default() };
    world.put("workload/mine", of("mine"), vec![finding(Severity::Low, 2.0, "")]).await;
    world.put("workload/secret", of("secret"), vec![finding(Severity::Critical, 9.8, "2")]).await;
    world.index.compact().await.unwrap();
    let allowed = std::sync::Arc::new(std::collections::HashSet::from(["workload/mine".to_owned()]));
    let mine =
        AssetFilter { namespace: Some(Match::Equals(vec!["mine".to_owned()])), ..AssetFilter::default() };
    let low = async |assets: AssetFilter| {
        let query = VulnerabilityQuery { assets, ..VulnerabilityQuery::default() };
        let row = world.questions.vulnerabilities(&query).await.unwrap().rows.remove(0);
        assert_eq!((row.severity, row.score, row.fix), (Severity::Low, 20, Fix::None));
        let filter = VulnerabilityFilter { severities: vec![Severity::Critical], ..Default::default() };
        let page = world.questions.vulnerabilities(&VulnerabilityQuery { filter, ..query }).await.unwrap();
        assert!(page.rows.is_empty());
    };
    low(mine).await;
    low(AssetFilter { allowed: Some(allowed), ..AssetFilter::default() }).await;
    // What is gone says nothing any more, though the index still counts it.
    world.store.delete(&"workload/secret".parse().unwrap()).await.unwrap();
    low(AssetFilter::default()).await;
}
