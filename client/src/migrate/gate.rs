//! Whether the primary may be used: only when everybody who reads reports can find them there.
//!
//! One controller of an old version, or one that is set to leave reports where they are, would not see what was moved. So the gate is open
//! while every live member is known, runs a supported version and is set so; whatever cannot be found out closes it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::roster::{Member, Roster};
use crate::fallback::{self, Mode};

/// Whether the gate is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateState {
    /// It is.
    Open,
    /// It is not, for at least one reason.
    Closed(Vec<Obstacle>),
}

impl GateState {
    /// A gate that nobody closes: for moving out of the primary, and for the command line.
    #[must_use]
    pub fn always_open() -> watch::Receiver<Self> {
        watch::channel(Self::Open).1
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }
}

/// What asks whether the primary may be written to takes this state as it is.
impl fallback::Gate for watch::Receiver<GateState> {
    fn is_open(&self) -> bool {
        self.borrow().is_open()
    }
}

impl fmt::Display for GateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Closed(obstacles) if obstacles.is_empty() => f.write_str("closed"),
            Self::Closed(obstacles) => {
                let texts: Vec<_> = obstacles.iter().map(ToString::to_string).collect();
                write!(f, "closed: {}", texts.join("; "))
            }
        }
    }
}

/// What keeps the gate closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// Nobody was asked yet, or is asked any more.
    #[error("the members are not known yet")]
    Unasked,
    /// The roster could not be read.
    #[error("the members cannot be asked for: {0}")]
    Roster(String),
    /// The roster is empty, though somebody reads it.
    #[error("no member is alive")]
    Nobody,
    /// A live member does not say what it runs.
    #[error("{0} is alive and does not say its version")]
    Unknown(String),
    /// A live member runs a version that does not know the primary.
    #[error("{member} runs {version}")]
    Version {
        /// Who.
        member: String,
        /// What it runs.
        version: String,
    },
    /// A live member does not say how it is set.
    #[error("{0} does not say how it is set")]
    Unset(String),
    /// A live member is set otherwise.
    #[error("{member} is set to {mode}")]
    Mode {
        /// Who.
        member: String,
        /// How it is set.
        mode: Mode,
    },
}

/// What every live member has to be.
#[derive(Clone)]
pub struct Rules {
    modes: &'static [Mode],
    supports: Option<Supports>,
}

/// Says whether a version knows the primary.
type Supports = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl Rules {
    /// For moving reports to the primary: of a version that `supports` says to know it, and set to `auto` or `required`.
    pub fn arriving(supports: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { modes: &[Mode::Auto, Mode::Required], supports: Some(Arc::new(supports)) }
    }

    /// For saying that the primary may be removed: set to `leaving` or `off`. Versions do not count: whoever is too old to know the primary
    /// does not write to it.
    #[must_use]
    pub fn leaving() -> Self {
        Self { modes: &[Mode::Leaving, Mode::Off], supports: None }
    }

    /// Judges members.
    #[must_use]
    pub fn judge(&self, members: &[Member]) -> GateState {
        let live: Vec<_> = members.iter().filter(|member| member.alive).collect();
        let mut obstacles: Vec<_> = live.iter().flat_map(|member| self.obstacles(member)).collect();
        if live.is_empty() {
            obstacles.push(Obstacle::Nobody);
        }
        if obstacles.is_empty() { GateState::Open } else { GateState::Closed(obstacles) }
    }

    fn obstacles(&self, member: &Member) -> Vec<Obstacle> {
        let id = || member.id.clone();
        let version = match (&member.version, &self.supports) {
            (_, None) => None,
            (None, Some(_)) => return vec![Obstacle::Unknown(id())],
            (Some(version), Some(supports)) => {
                (!supports(version)).then(|| Obstacle::Version { member: id(), version: version.clone() })
            }
        };
        let mode = match member.mode {
            // Who is too old to be set does not write to the primary, and is told of by its version where that counts.
            None if self.supports.is_none() || version.is_some() => None,
            None => Some(Obstacle::Unset(id())),
            Some(mode) => (!self.modes.contains(&mode)).then(|| Obstacle::Mode { member: id(), mode }),
        };
        version.into_iter().chain(mode).collect()
    }
}

/// Polls a roster and tells whether the gate is open, until it is dropped.
pub struct Gate {
    state: watch::Receiver<GateState>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Begins to poll. A roster that does not answer within two turns closes the gate.
    pub fn start(roster: Arc<dyn Roster>, rules: Rules, every: Duration) -> Self {
        let (sender, state) = watch::channel(GateState::Closed(vec![Obstacle::Unasked]));
        let sender = ClosedAtTheEnd(sender);
        let task = tokio::spawn(async move {
            let mut turns = interval(every);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                let now = ask(&*roster, &rules, every * 2).await;
                sender.0.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
            }
        });
        Self { state, task }
    }

    /// The state, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<GateState> {
        self.state.clone()
    }
}

/// Who still holds the state of a gate that nobody polls any more shall not find it open.
struct ClosedAtTheEnd(watch::Sender<GateState>);

impl Drop for ClosedAtTheEnd {
    fn drop(&mut self) {
        self.0.send_replace(GateState::Closed(vec![Obstacle::Unasked]));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(roster: &dyn Roster, rules: &Rules, limit: Duration) -> GateState {
    let closed = |reason| GateState::Closed(vec![Obstacle::Roster(reason)]);
    match timeout(limit, roster.members()).await {
        Ok(Ok(members)) => rules.judge(&members),
        Ok(Err(error)) => closed(error.to_string()),
        Err(_) => closed(format!("no answer within {limit:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, version: Option<&str>, mode: Option<Mode>) -> Member {
        Member { id: id.to_owned(), version: version.map(str::to_owned), mode, alive: true }
    }

    fn arriving() -> Rules {
        Rules::arriving(|version| version >= "v6")
    }

    #[track_caller]
    fn closed(rules: &Rules, members: &[Member], expected: &str) {
        assert_eq!(rules.judge(members).to_string(), format!("closed: {expected}"));
    }

    #[test]
    fn opens_when_everybody_alive_is_new_and_set() {
        let mut dead = member("c", Some("v5"), Some(Mode::Off));
        dead.alive = false;
        let members =
            [member("a", Some("v6"), Some(Mode::Auto)), member("b", Some("v7"), Some(Mode::Required)), dead];
        assert_eq!(arriving().judge(&members), GateState::Open);
        closed(&arriving(), &members[2..], "no member is alive");
        closed(&arriving(), &[], "no member is alive");
    }

    #[test]
    fn everybody_who_stands_in_the_way_is_named() {
        let members = [
            member("a", Some("v6"), Some(Mode::Auto)),
            member("b", Some("v5"), Some(Mode::Off)),
            member("c", None, None),
            member("d", Some("v6"), None),
            member("e", Some("v5"), None),
        ];
        let expected = "b runs v5; b is set to off; c is alive and does not say its version; d does not say how it is set; e runs v5";
        closed(&arriving(), &members, expected);
    }

    #[test]
    fn who_leaves_does_not_ask_for_versions() {
        let members = [member("a", Some("v5"), None), member("b", None, Some(Mode::Leaving))];
        assert_eq!(Rules::leaving().judge(&members), GateState::Open);
        let members = [member("a", Some("v6"), Some(Mode::Auto)), member("b", None, Some(Mode::Off))];
        closed(&Rules::leaving(), &members, "a is set to auto");
    }

    struct Everybody;

    #[async_trait::async_trait]
    impl Roster for Everybody {
        async fn members(&self) -> Result<Vec<Member>, crate::migrate::roster::RosterError> {
            Ok(vec![member("a", Some("v6"), Some(Mode::Auto))])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_nobody_polls_is_closed() {
        let gate = Gate::start(Arc::new(Everybody), arriving(), Duration::from_secs(1));
        let mut state = gate.state();
        state.wait_for(GateState::is_open).await.expect("it is polled");
        drop(gate);
        state.wait_for(|it| !it.is_open()).await.expect("its last word");
    }
}
