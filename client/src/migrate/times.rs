//! How long single reports are under way, in classes from which percentiles are told.
//!
//! A class is an eighth of a power of two wide, so what is told is too high by an eighth at most, in a few KiB whatever the number of reports.

use std::time::Duration;

/// Classes to a power of two, as a power of two.
const FINENESS: u32 = 3;

/// Durations, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// By class; those behind the last are empty.
    counts: Vec<u64>,
}

impl Times {
    /// Counts one.
    pub(super) fn note(&mut self, time: Duration) {
        let class = class_of(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
    }

    /// Counts those of `other` too.
    pub fn add(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    /// How long that share of them took at most, as 0.99; `None` if none was counted.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 reports")]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen > 0 && seen as f64 >= share * total as f64
        })?;
        Some(Duration::from_micros(end_of(class)))
    }
}

/// The class of a time in microseconds.
fn class_of(time: u64) -> usize {
    let above = (u64::BITS - time.leading_zeros()).saturating_sub(FINENESS + 1);
    ((u64::from(above) << FINENESS) + (time >> above)) as usize
}

/// The greatest time of a class.
fn end_of(class: usize) -> u64 {
    let above = (class >> FINENESS).saturating_sub(1);
    let first = class as u64 - ((above as u64) << FINENESS);
    (first << above) + ((1 << above) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_one_another_and_are_narrow() {
        for time in (0..5000).chain([1 << 40, u64::MAX / 2]) {
            let class = class_of(time);
            assert!(end_of(class) >= time && end_of(class) - time <= time / 8, "{time}: {}", end_of(class));
            assert!(class == 0 || end_of(class - 1) < time, "{time}");
        }
    }

    #[test]
    fn percentiles_are_told() {
        let (mut times, mut more) = (Times::default(), Times::default());
        assert_eq!(times.percentile(0.5), None);
        (1..=99).for_each(|it| times.note(Duration::from_millis(it)));
        more.note(Duration::from_secs(9));
        times.add(&more);
        let told = |share| times.percentile(share).expect("something was counted").as_secs_f64();
        assert!((0.050..0.057).contains(&told(0.5)), "{}", told(0.5));
        assert!((0.099..0.112).contains(&told(0.99)), "{}", told(0.99));
        assert!((9.0..10.2).contains(&told(1.0)), "{}", told(1.0));
    }
}
