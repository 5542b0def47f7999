//! The answers of the model, each the plainest way there is.

use std::collections::{BTreeMap, BTreeSet};

use larder_client::reports::index::Kind;
use larder_client::reports::questions::{
    AssetOrder, AssetQuery, Counted, Direction, FindingQuery, Fix, FixFilter, Published, Score,
    Vulnerability, VulnerabilityOrder, VulnerabilityQuery,
};
use larder_client::reports::{Finding, VulnerabilityId};

use crate::world::{Known, World, contains};

pub(crate) fn tenths(score: f32) -> u8 {
    (score * 10.0).round() as u8
}

fn rank(rating: &str) -> u8 {
    match rating {
        "Critical" => 5,
        "High" => 4,
        "Medium" | "Moderate" => 3,
        "Low" => 2,
        "" => 0,
        _ => 1,
    }
}

/// What findings say of their vulnerability.
fn said(findings: &[&Finding]) -> Vulnerability {
    let mended = findings.iter().filter(|it| !it.fixed_version.is_empty()).count();
    let rating = findings.iter().map(|it| &it.feed_rating[..]).max_by_key(|it| (rank(it), *it)).unwrap();
    Vulnerability {
        name: findings[0].name.clone(),
        severity: findings.iter().map(|it| it.severity).max().unwrap(),
        score: findings.iter().map(|it| tenths(it.score)).max().unwrap(),
        score_v3: findings.iter().map(|it| tenths(it.score_v3)).max().unwrap(),
        published: findings.iter().filter_map(|it| it.published).min(),
        modified: findings.iter().filter_map(|it| it.modified).max(),
        feed_rating: rating.to_owned(),
        fix: match mended {
            0 => Fix::None,
            all if all == findings.len() => Fix::All,
            _ => Fix::Some,
        },
        assets: [0; Kind::ALL.len()],
    }
}

/// All rows of the question, in order, and what there is in all. Where it is not `exact`, all that the index holds says what a vulnerability is.
pub(crate) fn vulnerabilities(
    world: &World,
    query: &VulnerabilityQuery,
    exact: bool,
) -> (Vec<Vulnerability>, Counted) {
    let mut by_name: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    let assets = world.admitted(&query.assets);
    let findings: Vec<&Finding> = if exact {
        assets.iter().flat_map(|it| it.findings()).collect()
    } else {
        world.live.values().flat_map(Known::findings).chain(&world.ghosts).collect()
    };
    for finding in findings {
        by_name.entry(&finding.name).or_default().push(finding);
    }
    let mut counted = Counted::default();
    let mut rows = Vec::new();
    for (name, findings) in by_name {
        let mut row = said(&findings);
        for asset in &assets {
            row.assets[asset.kind() as usize] += u64::from(asset.findings().iter().any(|it| it.name == name));
        }
        if row.impact() == 0 || !admits(query, &row) {
            continue;
        }
        counted.total += 1;
        *counted.severities.of(row.severity) += 1;
        (0..Kind::ALL.len()).for_each(|kind| counted.kinds[kind] += u64::from(row.assets[kind] > 0));
        if quick(query, &row) {
            counted.matched += 1;
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| {
        let id = VulnerabilityId::of(&row.name).get();
        let sign = if query.direction == Direction::Ascending { 1 } else { -1 };
        (sign * number(query.order, row), id)
    });
    if query.order == VulnerabilityOrder::Name {
        rows.sort_by_key(|row| (VulnerabilityId::of(&row.name).name().is_none(), name_key(&row.name)));
        if query.direction == Direction::Descending {
            rows.reverse();
        }
    }
    (rows, counted)
}

fn name_key(name: &str) -> (u64, String) {
    match VulnerabilityId::of(name) {
        id if id.name().is_some() => (id.get(), String::new()),
        _ => (u64::MAX, name.to_owned()),
    }
}

fn number(order: VulnerabilityOrder, row: &Vulnerability) -> i64 {
    match order {
        VulnerabilityOrder::Name => 0,
        VulnerabilityOrder::Score => row.score.into(),
        VulnerabilityOrder::ScoreV3 => row.score_v3.into(),
        VulnerabilityOrder::Published => row.published.unwrap_or(0),
        VulnerabilityOrder::Impact => row.impact() as i64,
        VulnerabilityOrder::FeedRating => rank(&row.feed_rating).into(),
    }
}

fn admits(query: &VulnerabilityQuery, row: &Vulnerability) -> bool {
    let filter = &query.filter;
    let fix = match filter.fix {
        FixFilter::All => true,
        FixFilter::WithFix => row.fix != Fix::None,
        FixFilter::WithoutFix => row.fix == Fix::None,
        FixFilter::WithFixAll => row.fix == Fix::All,
    };
    let published = match filter.published {
        None => true,
        Some(Published::Before(time)) => row.published.is_some_and(|it| it < time),
        Some(Published::After(time)) => row.published.is_some_and(|it| it >= time),
    };
    fix && published
        && (filter.severities.is_empty() || filter.severities.contains(&row.severity))
        && filter.score.is_none_or(|(low, high)| low <= row.score && row.score <= high)
        && filter.score_v3.is_none_or(|(low, high)| low <= row.score_v3 && row.score_v3 <= high)
        && filter.modified_after.is_none_or(|time| row.modified.is_some_and(|it| it > time))
}

fn quick(query: &VulnerabilityQuery, row: &Vulnerability) -> bool {
    let Some(quick) = &query.quick else { return true };
    let score = if quick.score == Score::V2 { row.score } else { row.score_v3 };
    let score = format!("{}.{}", score / 10, score % 10);
    [&row.name, &row.feed_rating, &score].into_iter().any(|text| contains(text, &quick.text))
}

/// The keys of the assets of a question, in order.
pub(crate) fn assets(world: &World, query: &AssetQuery) -> Vec<String> {
    let mut rows: Vec<_> = world
        .admitted(&query.filter)
        .into_iter()
        .filter(|it| query.found.is_none_or(|found| found != it.findings().is_empty()))
        .filter(|it| searched(it).iter().any(|text| contains(text, &query.search)))
        .collect();
    rows.sort_by_key(|it| order(query.order, it));
    if query.direction == Direction::Descending {
        rows.reverse();
    }
    rows.into_iter().map(|it| it.report.key.to_string()).collect()
}

fn searched(known: &Known) -> [&str; 10] {
    let asset = &known.report.asset;
    [
        known.report.key.as_str(),
        &asset.name,
        &asset.namespace,
        &asset.service,
        &asset.image,
        &asset.os,
        &asset.node,
        &asset.repository,
        &asset.tag,
        &known.report.scanner_version,
    ]
}

fn order(order: AssetOrder, known: &Known) -> (String, Vec<i128>, String) {
    let asset = &known.report.asset;
    let mut counts = [0_i128; 4];
    known.findings().iter().for_each(|it| counts[3 - it.severity as usize] += 1);
    let (text, numbers): (&str, Vec<i128>) = match order {
        AssetOrder::Key => ("", vec![]),
        AssetOrder::Name => (&asset.name, vec![]),
        AssetOrder::Repository => (&asset.repository, vec![]),
        AssetOrder::Os => (&asset.os, vec![]),
        AssetOrder::ScannedAt => ("", vec![known.report.scanned_at.as_nanosecond()]),
        AssetOrder::Size => ("", vec![known.report.payload.len() as i128]),
        AssetOrder::Severity => ("", counts.to_vec()),
        AssetOrder::Findings => ("", vec![counts.iter().sum()]),
    };
    (text.to_owned(), numbers, known.report.key.to_string())
}

/// All findings of a question, in order: the key, the vulnerability, the package.
pub(crate) fn findings(world: &World, query: &FindingQuery) -> Vec<(String, String, String, String)> {
    let mut rows = BTreeSet::new();
    let mut number = 0;
    for known in world.admitted(&query.assets) {
        let asset = &known.report.asset;
        for finding in known.findings() {
            let score = query.score.is_none_or(|range| {
                let score = if range.score == Score::V2 { finding.score } else { finding.score_v3 };
                (range.low..=range.high).contains(&tenths(score))
            });
            if score && (query.severities.is_empty() || query.severities.contains(&finding.severity)) {
                let class = known.report.key.class().to_owned();
                let place = (class, asset.node.clone(), asset.namespace.clone(), asset.name.clone());
                let key = known.report.key.to_string();
                let package = (finding.package.clone(), finding.fixed_version.clone());
                number += 1;
                rows.insert((place, key, name_key(&finding.name), finding.name.clone(), package, number));
            }
        }
    }
    rows.into_iter().map(|(_, key, _, name, (package, fixed), _)| (key, name, package, fixed)).collect()
}

/// The keys of the assets that have a vulnerability, and how many of its packages each has.
pub(crate) fn affected(name: &str, assets: &[&Known]) -> Vec<(String, usize)> {
    let count = |known: &Known| known.findings().iter().filter(|it| it.name == name).count();
    assets.iter().map(|it| (it.report.key.to_string(), count(it))).filter(|it| it.1 > 0).collect()
}
