//! When a value was scanned that somebody wrote alone, as older controllers and NeuVector's enforcers do.
//!
//! What a report says of itself counts first, be it JSON or a gob, since it cannot be of another scan: a state is written after its report, is
//! written again when the next scan begins (then it says nothing of the last), and those of benchmarks are shared by several. Where the report
//! says nothing, its state counts. What neither says is not known; it is not old for that.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::{gob, gzip};

/// Scans may be ahead of our clock by this much; what is further ahead says nothing but that a clock is wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Bytes of a report in which it has to say when it was made. It is the first thing that is said.
const BEGINNING: usize = 16 << 10;

/// When a value was scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dating {
    /// Then.
    Known(Timestamp),
    /// A clock that is wrong says then.
    Ahead(Timestamp),
    /// Nobody says so.
    Unknown,
}

impl Dating {
    /// From the beginning of a value and its states.
    pub(super) fn of<'s>(value: &[u8], states: impl Iterator<Item = &'s [u8]>) -> Self {
        let own = in_payload(value);
        let said = states.filter_map(in_state).max();
        let latest = Timestamp::now().saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        match (own.max(said), own.or(said)) {
            (Some(time), _) if time > latest => Self::Ahead(time),
            (_, Some(time)) => Self::Known(time),
            _ => Self::Unknown,
        }
    }
}

/// The state of a scan: NeuVector's says `scanned_at`, that of a benchmark `run_at`.
#[derive(Deserialize)]
struct State {
    #[serde(alias = "run_at")]
    scanned_at: Option<String>,
}

/// When a state says that a scan was made.
fn in_state(json: &[u8]) -> Option<Timestamp> {
    let state: State = serde_json::from_slice(json).ok()?;
    time(&state.scanned_at?)
}

/// When a report says that it was made.
fn in_payload(value: &[u8]) -> Option<Timestamp> {
    let mut unpacked = [0; BEGINNING];
    let beginning = gzip::beginning(value, &mut unpacked);
    gob::scanned_at(beginning).filter(is_said).or_else(|| in_json(beginning))
}

fn in_json(json: &[u8]) -> Option<Timestamp> {
    let mut found = None;
    // It breaks off, since there is more of it, unless what is looked for comes first.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(Finding(&mut found));
    found
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(is_said)
}

/// Go's zero time says nothing.
fn is_said(time: &Timestamp) -> bool {
    *time > Timestamp::UNIX_EPOCH
}

/// Looks for a time among the fields of an object.
struct Finding<'f>(&'f mut Option<Timestamp>);

impl<'de> Visitor<'de> for Finding<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if matches!(&*field, "scanned_at" | "run_at") {
                *self.0 = map.next_value::<Option<String>>()?.as_deref().and_then(time);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if self.0.is_some() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(json.as_bytes()).expect("memory takes everything");
        gzip.finish().expect("memory takes everything")
    }

    #[track_caller]
    fn says(value: &[u8], states: &[&str], expected: Dating) {
        assert_eq!(Dating::of(value, states.iter().map(|it| it.as_bytes())), expected);
    }

    fn known(time: &str) -> Dating {
        Dating::Known(time.parse().expect("a time"))
    }

    const FINISHED: &str = r#"{"scanned_at":"2024-01-01T00:00:00Z","status":"finished"}"#;
    const SCANNING: &str = r#"{"scanned_at":"0001-01-01T00:00:00Z","status":"scanning"}"#;

    #[test]
    fn a_report_knows_best_when_it_was_made() {
        let report = r#"{"scanned_at":"2024-06-01T00:00:00Z","Vuls":[]}"#;
        for states in [&[][..], &[SCANNING], &[FINISHED], &["rubbish"]] {
            says(&packed(report), states, known("2024-06-01T00:00:00Z"));
            says(report.as_bytes(), states, known("2024-06-01T00:00:00Z"));
        }
        let bench = r#"{"status":0,"run_at":"2024-06-02T00:00:00Z","items":[]}"#;
        says(&packed(bench), &[], known("2024-06-02T00:00:00Z"));
        // Behind so much else it is not looked for; what stands before it is passed over whatever it is.
        let long = format!(r#"{{"x":["{}"],"scanned_at":"2024-06-01T00:00:00Z"}}"#, "y".repeat(BEGINNING));
        says(&packed(&long), &[FINISHED], known("2024-01-01T00:00:00Z"));
    }

    #[test]
    fn a_gob_knows_it_too() {
        for states in [&[][..], &[SCANNING], &[FINISHED]] {
            says(&gob::report(1_717_200_000), states, known("2024-06-01T00:00:00Z"));
        }
        says(&gob::report(-62_135_596_800), &[FINISHED], known("2024-01-01T00:00:00Z"));
    }

    #[test]
    fn what_says_nothing_leaves_it_to_its_state() {
        says(b"\x01\x02gob", &[SCANNING, FINISHED], known("2024-01-01T00:00:00Z"));
        says(b"\x01\x02gob", &[SCANNING], Dating::Unknown);
        says(&packed(r#"{"scanned_at":"0001-01-01T00:00:00Z"}"#), &[], Dating::Unknown);
        says(&packed(r#"{"scanned_at":7}"#), &[FINISHED], known("2024-01-01T00:00:00Z"));
        says(b"", &[], Dating::Unknown);
        says(&packed("[]")[..8], &["{}"], Dating::Unknown);
    }

    #[test]
    fn a_clock_that_is_wrong_dates_nothing() {
        let far = r#"{"scanned_at":"9999-12-30T00:00:00Z"}"#;
        let ahead = Dating::Ahead("9999-12-30T00:00:00Z".parse().expect("a time"));
        says(far.as_bytes(), &[FINISHED], ahead);
        says(br#"{"scanned_at":"2024-06-01T00:00:00Z"}"#, &[far], ahead);
        says(b"gob", &[far, FINISHED], ahead);
    }
}
