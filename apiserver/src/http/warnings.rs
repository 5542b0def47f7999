//! What the caller of a request is warned of, while it is done: he is told whether it succeeds or not.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;

/// All warnings of an answer together.
const MOST: usize = 4096;

/// The warnings of a request. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Warns of this too. What was said already is said once.
    pub(super) fn extend(&self, texts: impl IntoIterator<Item = String>) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            if !said.contains(&text) {
                said.push(text);
            }
        }
    }

    /// `299 - "TEXT"` for each, within what a header may hold.
    pub(super) fn headers(&self) -> Vec<HeaderValue> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = MOST;
        let mut values = Vec::new();
        for text in &*said {
            let length = text.chars().count();
            if length > left {
                continue;
            }
            left -= length;
            let shown: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
            let quoted = format!("299 - \"{}\"", shown.replace('\\', r"\\").replace('"', r#"\""#));
            values.extend(HeaderValue::from_bytes(quoted.as_bytes()));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_once_and_bounded() {
        let warnings = Warnings::default();
        let texts =
            [r#"unknown field "spec.x""#, r#"unknown field "spec.x""#, "a\nb", &"x".repeat(5000), "c"];
        warnings.clone().extend(texts.map(str::to_owned));
        let values = [r#"299 - "unknown field \"spec.x\"""#, r#"299 - "a b""#, r#"299 - "c""#];
        assert_eq!(warnings.headers(), values);
    }
}
