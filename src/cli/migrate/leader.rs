//! Which of several processes moves reports, as flags.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use larder_client::migrate::Leadership;
use larder_client::migrate::leadership::{Always, Campaign, ConsulLock, Lease, Terms};

use crate::cli::Failure;
use crate::cli::keyvalue::{Access, Source};

/// How long a lead lasts that is not renewed.
const TTL: Duration = Duration::from_secs(15);

/// Who moves, if several could.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Several controllers")]
pub(super) struct LeaderFlags {
    /// Who moves reports: always this process; who holds a lock in the Consul of --from; who holds a Lease of Kubernetes (in a pod).
    #[arg(long, value_enum, default_value = "always")]
    leader: LeaderName,
    /// The key of the lock, or the name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "larder-migrate")]
    leader_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LeaderName {
    Always,
    Consul,
    Lease,
}

impl LeaderFlags {
    /// Begins to campaign.
    pub(super) fn start(&self, from: &Source, access: &Access) -> Result<Arc<dyn Leadership>, Failure> {
        let terms = Terms::of(TTL);
        Ok(match (self.leader, from) {
            (LeaderName::Always, _) => Arc::new(Always::default()),
            (LeaderName::Consul, Source::Consul(endpoint)) => {
                let lock = ConsulLock::new(&access.consul(endpoint)?, &self.leader_name, holder(), TTL);
                Arc::new(Campaign::start(lock, terms))
            }
            (LeaderName::Consul, _) => {
                return Err(Failure::Usage("--leader consul needs --from consul".to_owned()));
            }
            (LeaderName::Lease, _) => {
                let lease = Lease::in_pod(&self.leader_name, holder(), TTL);
                Arc::new(Campaign::start(lease.map_err(|error| Failure::Usage(error.to_string()))?, terms))
            }
        })
    }
}

/// The pod or machine, and the process: nobody else's name.
fn holder() -> String {
    let uname = rustix::system::uname();
    format!("{}-{}", uname.nodename().to_string_lossy(), std::process::id())
}
