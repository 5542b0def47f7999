//! The order of versions: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then everything else by its letters.

use std::cmp::Reverse;

/// By which versions are sorted, the preferred one first.
pub(crate) fn key(version: &str) -> impl Ord + use<> {
    match parsed(version) {
        Some((major, stage, minor)) => (0, Reverse(stage), Reverse(major), Reverse(minor), String::new()),
        None => (1, Reverse(Stage::Alpha), Reverse(0), Reverse(0), version.to_owned()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha,
    Beta,
    Stable,
}

fn parsed(version: &str) -> Option<(u64, Stage, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let major = number(major)?;
    if rest.is_empty() {
        return Some((major, Stage::Stable, 0));
    }
    let (stage, minor) = match (rest.strip_prefix("alpha"), rest.strip_prefix("beta")) {
        (Some(minor), _) => (Stage::Alpha, minor),
        (_, Some(minor)) => (Stage::Beta, minor),
        _ => return None,
    };
    Some((major, stage, number(minor)?))
}

/// A number from 1 on, without leading zeros.
fn number(digits: &str) -> Option<u64> {
    let is_number =
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let ordered = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v01",
        ];
        let mut versions = ordered;
        versions.reverse();
        versions.sort_by_key(|it| key(it));
        assert_eq!(versions, ordered);
    }
}
