//! What was packed comes back, and what was not is refused.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::reports::{Severity, VulnerabilityId};

fn severity() -> impl Strategy<Value = Severity> {
    use Severity::{Critical, High, Low, Medium};
    prop_oneof![Just(Low), Just(Medium), Just(High), Just(Critical)]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1999..2030_u32, 0..99_999_u32).prop_map(|(year, number)| format!("CVE-{year}-{number:04}")),
        1 => "CVE-[0-9]{0,5}-[0-9]{0,12}",
        1 => "(GHSA|RHSA)-[a-c]{1,2}",
        1 => ".*",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 5 => "lib[a-d]{1,3}[0-9]", 1 => "\\PC*", 1 => ".*"]
}

fn date() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![Just(None), (0..40_000_i64).prop_map(|day| Some(day * 86_400)), any::<Option<i64>>()]
}

prop_compose! {
    fn finding()(
        (name, severity, score, score_v3) in (name(), severity(), 0..=100_u8, 0..=100_u8),
        (package, version, fixed_version, file) in (text(), text(), text(), text()),
        (published, modified, feed_rating, in_base) in (date(), date(), text(), any::<bool>()),
        (prefix, key) in (any::<bool>(), text()),
    ) -> Finding {
        Finding {
            database_key: if prefix { format!("{key}:{name}") } else { key },
            name, severity, package, version, fixed_version, file, published, modified, feed_rating, in_base,
            score: f32::from(score) / 10.0,
            score_v3: f32::from(score_v3) / 10.0,
        }
    }
}

/// Findings, some of them several times.
fn findings() -> impl Strategy<Value = Vec<Finding>> {
    vec((finding(), 1..3_usize), 0..60)
        .prop_map(|all| all.into_iter().flat_map(|(it, times)| vec![it; times]).collect())
}

fn sorted(findings: &[Finding]) -> Vec<String> {
    let mut texts: Vec<String> = findings.iter().map(|it| format!("{it:?}")).collect();
    texts.sort_unstable();
    texts
}

/// What reading can do with bytes: findings or an error, never more; both ways of reading agree.
fn read(blob: &[u8]) -> Result<Vec<Finding>, PackedError> {
    let (findings, marks) = (decode(blob), marks(blob));
    match (&findings, &marks) {
        (Ok(findings), Ok(marks)) => assert_eq!(findings.len(), marks.marks.len()),
        (Err(PackedError::TooLarge), _) => {}
        (findings, marks) => assert_eq!(findings.as_ref().err(), marks.as_ref().err()),
    }
    findings
}

fn with_right_checksum(mut blob: Vec<u8>) -> Vec<u8> {
    if blob.len() > 5 {
        blob[0] = VERSION;
        let crc = crc32fast::hash(&blob[5..]);
        blob[1..5].copy_from_slice(&crc.to_le_bytes());
    }
    blob
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_findings_come_back(findings in findings()) {
        let blob = encode(&findings);
        let read = decode(&blob).unwrap();
        prop_assert_eq!(sorted(&read), sorted(&findings));
        prop_assert_eq!(encode(&read), blob, "the same findings in another order are the same blob");
    }

    #[test]
    fn marks_say_what_findings_say(findings in findings()) {
        let blob = encode(&findings);
        let (findings, marks) = (decode(&blob).unwrap(), marks(&blob).unwrap());
        prop_assert!(marks.marks.is_sorted_by_key(|mark| mark.vulnerability));
        for (finding, mark) in findings.iter().zip(&marks.marks) {
            let name = mark.vulnerability.name().or_else(|| {
                marks.names.iter().find(|(id, _)| *id == mark.vulnerability).map(|(_, name)| name.clone())
            });
            prop_assert_eq!(name.as_ref(), Some(&finding.name));
            prop_assert_eq!(mark.severity, finding.severity);
            prop_assert_eq!(f32::from(mark.score) / 10.0, finding.score);
            prop_assert_eq!(f32::from(mark.score_v3) / 10.0, finding.score_v3);
            prop_assert_eq!(mark.has_fix, !finding.fixed_version.is_empty());
            prop_assert_eq!(&marks.feed_ratings[mark.feed_rating as usize], &finding.feed_rating);
            let published = finding.published.map_or(0, |it| it.clamp(1, i64::from(u32::MAX)));
            prop_assert_eq!(i64::from(mark.published), published);
        }
    }

    #[test]
    fn rubbish_is_an_error(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn rubbish_with_a_right_checksum_does_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&with_right_checksum(bytes));
    }

    #[test]
    fn damage_is_noticed(findings in findings(), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut blob = encode(&findings);
        let place = place.index(blob.len());
        blob[place] ^= 1 << bit;
        prop_assert!(read(&blob).is_err());
        prop_assert!(read(&blob[..place]).is_err());
        // And if nobody noticed, no harm comes of it.
        let _ = read(&with_right_checksum(blob));
    }
}

#[test]
fn a_newer_version_is_named() {
    let mut blob = encode(&[]);
    blob[0] = 2;
    assert_eq!(decode(&blob), Err(PackedError::Version(2)));
    assert_eq!(decode(&[]), Err(PackedError::Damaged));
}

#[test]
fn what_is_always_the_same_takes_next_to_nothing() {
    let finding = Finding { name: "CVE-2021-20530".into(), package: "curl".into(), ..Finding::default() };
    let blob = encode(&vec![finding.clone(); 10_000]);
    assert!(blob.len() < 100);
    assert_eq!(decode(&blob).unwrap().len(), 10_000);
    assert_eq!(decode(&encode_rows(&vec![Row::from(&finding); ROWS + 1])), Err(PackedError::TooLarge));
}

/// A blob of a few kilobytes that says 1,000,000 times the same megabyte.
#[test]
fn a_bomb_of_text_stops_at_the_limit() {
    let finding = Finding { file: "a".repeat(1 << 20), ..Finding::default() };
    let blob = encode_rows(&vec![Row::from(&finding); ROWS]);
    assert!(blob.len() < 1000);
    assert_eq!(decode(&blob), Err(PackedError::TooLarge));
    assert_eq!(marks(&blob).unwrap().marks.len(), ROWS);
}

#[test]
fn scores_are_kept_to_a_tenth() {
    for (score, kept) in
        [(7.5, 7.5), (6.449_999, 6.4), (10.0, 10.0), (-1.0, 0.0), (f32::NAN, 0.0), (1e9, 10.0)]
    {
        let blob = encode(&[Finding { score, ..Finding::default() }]);
        assert_eq!(decode(&blob).unwrap()[0].score, kept);
    }
}

#[test]
fn a_name_that_is_no_number_has_its_text() {
    let finding = Finding { name: "GHSA-1".into(), ..Finding::default() };
    assert_eq!(marks(&encode(&[finding])).unwrap().names, [(VulnerabilityId::of("GHSA-1"), "GHSA-1".into())]);
}
