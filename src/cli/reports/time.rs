//! Times as people type them.

use jiff::Timestamp;
use jiff::civil::Date;

/// `now`, `2024-05-01T10:00:00Z`, `2024-05-01` (its beginning, UTC), or an age as `7d`, `12h`, `30m`.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(Timestamp::now());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(date) = text.parse::<Date>() {
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC);
        return midnight.map(|it| it.timestamp()).map_err(|error| error.to_string());
    }
    ago(text).ok_or_else(|| {
        "expected a time as 2024-05-01T10:00:00Z, a date as 2024-05-01, an age as 7d, 12h or 30m, or now"
            .to_owned()
    })
}

/// As [`parse`], when a scan was made: after 1970, since before that a time says that nobody knows it.
pub(super) fn parse_scan(text: &str) -> Result<Timestamp, String> {
    let time = parse(text)?;
    if time > Timestamp::UNIX_EPOCH { Ok(time) } else { Err("expected a time after 1970-01-01".to_owned()) }
}

fn ago(text: &str) -> Option<Timestamp> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        _ => return None,
    };
    let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let age = jiff::SignedDuration::from_secs(count.checked_mul(seconds)?);
    Timestamp::now().checked_sub(age).ok()
}

/// As people read it: to the second, in UTC.
pub(super) fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// As people read what was printed for programs.
pub(super) fn of_text(time: &str) -> String {
    time.parse().map_or_else(|_| time.to_owned(), shown)
}

/// A second since 1970, for programs.
pub(super) fn of_second(second: i64) -> Option<String> {
    Timestamp::from_second(second).ok().map(|it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_dates_and_ages() {
        let reads = |text: &str, expected: &str| assert_eq!(parse(text).map(shown), Ok(expected.to_owned()));
        reads("2024-05-01T10:00:00Z", "2024-05-01 10:00:00Z");
        reads("2024-05-01T10:00:00.5+02:00", "2024-05-01 08:00:00Z");
        reads("2024-05-01", "2024-05-01 00:00:00Z");
        let week = Timestamp::now().as_second() - parse("7d").expect("an age").as_second();
        assert!((604_799..=604_801).contains(&week), "{week}");
        for text in ["", "yesterday", "7", "d", "7y", "99999999999999999999d", "9223372036854775807d", "ä"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
