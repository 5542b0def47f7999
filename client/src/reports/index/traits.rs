//! What is said of a vulnerability, whoever has it: severity, scores, dates, rating, and whether its packages can be mended.
//!
//! Reports may disagree. What they say is joined: the worst severity, scores and rating, the first publication, the last change. A join knows
//! no order, so it is the same however reports were folded and segments merged; it cannot be undone, so traits of a replaced report count until
//! the index lets go of it. Questions about few findings do without the index for that reason.

use std::collections::HashMap;

use crate::reports::Severity;

/// What is said of one vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Traits {
    pub(crate) severity: Severity,
    /// The scores in tenths.
    pub(crate) score: u8,
    pub(crate) score_v3: u8,
    /// Some package that has it can be mended; some cannot.
    pub(crate) mended: bool,
    pub(crate) unmended: bool,
    /// Which text of [`Ratings`].
    pub(crate) rating: Rating,
    /// In seconds since 1970; 0 if nobody knows.
    pub(crate) published: u32,
    pub(crate) modified: u32,
}

impl Traits {
    /// Takes in what somebody else says of the same vulnerability.
    #[inline]
    pub(crate) fn join(&mut self, other: &Self, ratings: &Ratings) {
        self.severity = self.severity.max(other.severity);
        self.score = self.score.max(other.score);
        self.score_v3 = self.score_v3.max(other.score_v3);
        self.mended |= other.mended;
        self.unmended |= other.unmended;
        self.modified = self.modified.max(other.modified);
        self.published = match (self.published, other.published) {
            (one, 0) | (0, one) => one,
            (one, two) => one.min(two),
        };
        if self.rating != other.rating {
            self.rating = ratings.worse(self.rating, other.rating);
        }
    }
}

/// A text of [`Ratings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rating(pub(crate) u32);

/// The ratings that were met so far; distributions have a handful. The first is the empty one.
#[derive(Debug)]
pub(crate) struct Ratings {
    texts: Vec<String>,
    numbers: HashMap<String, Rating>,
}

impl Ratings {
    pub(crate) fn new() -> Self {
        Self { texts: vec![String::new()], numbers: HashMap::from([(String::new(), Rating(0))]) }
    }

    /// The number of a text.
    pub(crate) fn number(&mut self, text: &str) -> Rating {
        if let Some(&found) = self.numbers.get(text) {
            return found;
        }
        let number = Rating(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    /// The text of a number that these ratings gave.
    pub(crate) fn text(&self, rating: Rating) -> &str {
        self.texts.get(rating.0 as usize).map_or("", String::as_str)
    }

    /// How bad a rating is.
    pub(crate) fn rank(&self, rating: Rating) -> u8 {
        rank(self.text(rating))
    }

    fn worse(&self, one: Rating, two: Rating) -> Rating {
        let key = |rating| (self.rank(rating), self.text(rating));
        if key(one) >= key(two) { one } else { two }
    }
}

/// How bad a rating is, in the words of Debian, Ubuntu, Red Hat, SUSE and Alpine. Words that nobody knows are the least.
pub(crate) fn rank(rating: &str) -> u8 {
    let is = |words: &[&str]| words.iter().any(|word| rating.eq_ignore_ascii_case(word));
    match () {
        () if is(&["critical"]) => 6,
        () if is(&["high", "important"]) => 5,
        () if is(&["medium", "moderate"]) => 4,
        () if is(&["low"]) => 3,
        () if is(&["negligible", "unimportant"]) => 2,
        () if !rating.is_empty() => 1,
        () => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_rating_stays_whoever_says_it_first() {
        let mut ratings = Ratings::new();
        let words = ["", "Low", "Moderate", "important", "Critical", "odd", "Medium"];
        let numbers: Vec<_> = words.iter().map(|word| ratings.number(word)).collect();
        for &one in &numbers {
            for &two in &numbers {
                assert_eq!(ratings.worse(one, two), ratings.worse(two, one));
                assert!(ratings.rank(ratings.worse(one, two)) >= ratings.rank(one));
            }
        }
    }
}
