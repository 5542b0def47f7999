//! Which results are meant.

use serde::{Deserialize, Serialize};

/// Values that a list of a filter may have.
pub(super) const VALUES: usize = 1000;

/// How bad a failure is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Not given, or nothing that is known.
    #[default]
    None,
    /// To be known.
    Info,
    /// Little.
    Low,
    /// Middling.
    Medium,
    /// Bad.
    High,
    /// Worst.
    Critical,
}

impl Severity {
    /// All, from the least.
    pub const ALL: [Self; 6] = [Self::None, Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// What a report calls it; empty for [`Severity::None`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|it| it.name() == name).unwrap_or_default()
    }

    /// As it is stored: its place among all.
    pub(super) fn rank(self) -> i64 {
        self as i64
    }

    pub(super) fn ranked(rank: i64) -> Self {
        Self::ALL.into_iter().find(|it| it.rank() == rank).unwrap_or_default()
    }
}

/// What came of applying a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Not given, or nothing that is known.
    #[default]
    None,
    /// It is as the policy wants it.
    Pass,
    /// It is not.
    Fail,
    /// It is not, and that is not counted as a failure.
    Warn,
    /// It could not be checked.
    Error,
    /// It was not checked.
    Skip,
}

impl Outcome {
    /// All.
    pub const ALL: [Self; 6] = [Self::None, Self::Pass, Self::Fail, Self::Warn, Self::Error, Self::Skip];

    /// What a report calls it, and how it is stored; empty for [`Outcome::None`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Skip => "skip",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|it| it.name() == name).unwrap_or_default()
    }
}

/// Which results are meant: those that meet all of it. A list that is empty leaves the choice open, otherwise one of its values will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these policies.
    pub policies: Vec<String>,
    /// Of these rules.
    pub rules: Vec<String>,
    /// About what is in these namespaces; the empty one for what is in none.
    pub namespaces: Vec<String>,
    /// Of these severities.
    pub severities: Vec<Severity>,
    /// Of this severity or a worse one.
    pub severity_at_least: Option<Severity>,
    /// With these outcomes.
    pub results: Vec<Outcome>,
    /// From these sources.
    pub sources: Vec<String>,
    /// Of these categories.
    pub categories: Vec<String>,
    /// About these kinds of things.
    pub kinds: Vec<String>,
    /// About things of these names.
    pub names: Vec<String>,
    /// In reports of these resources, as `policyreports.wgpolicyk8s.io`.
    pub reports: Vec<String>,
    /// Checked then or later, in seconds since 1970.
    pub since: Option<i64>,
}

impl Filter {
    /// What fails, and what could not be checked.
    #[must_use]
    pub fn failing() -> Self {
        Self { results: vec![Outcome::Fail, Outcome::Error], ..Self::default() }
    }

    /// Whether severities are chosen from.
    pub(super) fn has_severity(&self) -> bool {
        !self.severities.is_empty() || self.severity_at_least.is_some()
    }

    /// The severities that are left, from the least.
    pub(super) fn severities(&self) -> Vec<Severity> {
        let least = self.severity_at_least.unwrap_or_default();
        let is_meant = |it: &Severity| self.severities.is_empty() || self.severities.contains(it);
        Severity::ALL.into_iter().filter(|it| *it >= least && is_meant(it)).collect()
    }

    /// Whether it names more values than a question takes.
    pub(super) fn is_too_long(&self) -> bool {
        let lists = [&self.policies, &self.rules, &self.namespaces, &self.sources];
        let others = [&self.categories, &self.kinds, &self.names, &self.reports];
        lists.into_iter().chain(others).any(|it| it.len() > VALUES)
    }

    /// The outcomes that are left.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let is_meant = |it: &Outcome| self.results.is_empty() || self.results.contains(it);
        Outcome::ALL.into_iter().filter(is_meant).collect()
    }
}
