//! Who else reads reports, as flags: reports are moved only while everybody would find them.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder_client::migrate::roster::{Announcements, Joined, NeuVector, Roster, Supported};
use larder_client::migrate::{Gate, GateState, Rules};
use tokio::sync::watch;

use crate::cli::Failure;
use crate::cli::keyvalue::{Access, Source};

/// How often members are asked for.
const EVERY: Duration = Duration::from_secs(5);
/// How long a member may be silent.
const TTL: Duration = Duration::from_secs(15);
/// Where members announce themselves.
const ANNOUNCED: &str = "larder/member/";

/// Who has to be ready.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Several controllers")]
pub(super) struct MemberFlags {
    /// Whose readiness is waited for: nobody's, you answer for it; that of controllers that announce themselves in the store, under larder/member/,
    /// with their version and how they are set; that of NeuVector's controllers, by Consul's members and entries and by what they announce.
    #[arg(long, value_enum, default_value = "nobody")]
    members: Who,
    /// The first version that knows the database, as 5.5.0.
    #[arg(long, value_name = "VERSION", required_if_eq_any = [("members", "announced"), ("members", "neuvector")])]
    since: Option<Since>,
    /// Builds between releases know it too.
    #[arg(long, requires = "since")]
    interim: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Who {
    Nobody,
    Announced,
    Neuvector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since((u32, u32, u32));

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.trim_start_matches('v').split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([a, b, c]) => Ok(Self((*a, *b, *c))),
            Ok([a, b]) => Ok(Self((*a, *b, 0))),
            _ => Err("expected a version as 5.5.0".to_owned()),
        }
    }
}

/// The gates that members open. They are polled for as long as this is kept.
pub(super) struct Members {
    gate: Option<Gate>,
    left: Option<Gate>,
}

impl MemberFlags {
    /// Begins to ask for members.
    pub(super) fn start(&self, from: &Source, access: &Access, evacuate: bool) -> Result<Members, Failure> {
        let Some(roster) = self.roster(from, access)? else { return Ok(Members { gate: None, left: None }) };
        let Some(Since(since)) = self.since else { return Ok(Members { gate: None, left: None }) };
        let supported = Supported { since, interim: self.interim };
        let gate = |rules| Some(Gate::start(Arc::clone(&roster), rules, EVERY));
        Ok(if evacuate {
            // The way out is always open; what is asked for is whether somebody still writes to the database.
            Members { gate: None, left: gate(Rules::leaving()) }
        } else {
            Members { gate: gate(Rules::arriving(move |version| supported.includes(version))), left: None }
        })
    }

    fn roster(&self, from: &Source, access: &Access) -> Result<Option<Arc<dyn Roster>>, Failure> {
        if self.members == Who::Nobody {
            return Ok(None);
        }
        let store = access.open(from, None)?;
        let announced: Arc<dyn Roster> = Arc::new(Announcements::new(Arc::clone(&store), ANNOUNCED, TTL));
        match (self.members, from) {
            (Who::Neuvector, Source::Consul(endpoint)) => {
                let agents = Arc::new(access.consul(endpoint)?);
                let members = Arc::new(NeuVector::new(store, agents));
                Ok(Some(Arc::new(Joined::new(members, announced))))
            }
            (Who::Neuvector, _) => Err(Failure::Usage("--members neuvector needs --from consul".to_owned())),
            _ => Ok(Some(announced)),
        }
    }
}

impl Members {
    /// Open while reports may be moved.
    pub(super) fn gate(&self) -> watch::Receiver<GateState> {
        self.gate.as_ref().map_or_else(GateState::always_open, Gate::state)
    }

    /// Open when nobody writes to the database any more.
    pub(super) fn left(&self) -> watch::Receiver<GateState> {
        self.left.as_ref().map_or_else(GateState::always_open, Gate::state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_they_are_typed() {
        assert_eq!("5.5.1".parse(), Ok(Since((5, 5, 1))));
        assert_eq!("v5.5".parse(), Ok(Since((5, 5, 0))));
        for text in ["", "5", "5.x", "5.5.1.2", "latest"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
