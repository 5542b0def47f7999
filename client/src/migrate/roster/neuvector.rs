//! NeuVector's own roster: what controllers say of themselves in Consul, checked against who is a member of its cluster.
//!
//! Each controller puts `object/controller/<host>/<id>` with `version` and `cluster_ip` (`share.CLUSDevice`, whose field `Ver` is tagged so). Such entries outlive their controllers, and a controller
//! that just started has none yet; so both sides are looked at: an entry without a live member is dead, and a live server without an
//! entry is a member of which nothing is known. Enforcers are members too, as clients, and have no part in this.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::{Member, Roster, RosterError};
use crate::fallback::{Consul, Entry, KeyValue, StoreError};

/// Where controllers are.
const PREFIX: &str = "object/controller/";
/// Entries in one reading.
const PAGE: usize = 1000;
/// Serf's number for a member that is alive.
const ALIVE: u8 = 1;
/// Serf's number for a member that left by itself.
const LEFT: u8 = 3;

/// A member of Consul's cluster, as `/v1/agent/members` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AgentMember {
    /// Its node name.
    pub name: String,
    /// Its address.
    pub addr: String,
    /// Serf's number of its state: 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: u8,
    /// What it says of itself; `role` is `consul` for servers, `node` for clients.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Knows the members of Consul's cluster.
#[async_trait]
pub trait Agents: Send + Sync + 'static {
    /// Everybody, those too that left or failed and are still remembered.
    async fn members(&self) -> Result<Vec<AgentMember>, RosterError>;
}

#[async_trait]
impl Agents for Consul {
    async fn members(&self) -> Result<Vec<AgentMember>, RosterError> {
        let answer = self.api().get("/v1/agent/members", None).await;
        let answer = answer.map_err(|error| RosterError(error.to_string()))?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| RosterError(format!("no answer of Consul: {error}")))
    }
}

/// NeuVector's controllers.
pub struct NeuVector {
    store: Arc<dyn KeyValue>,
    agents: Arc<dyn Agents>,
}

#[derive(Deserialize)]
struct Controller {
    #[serde(default)]
    version: String,
    #[serde(default)]
    cluster_ip: String,
}

impl NeuVector {
    /// Reads controllers from Consul's keys and its members.
    pub fn new(store: Arc<dyn KeyValue>, agents: Arc<dyn Agents>) -> Self {
        Self { store, agents }
    }

    async fn controllers(&self) -> Result<Vec<(String, Option<Controller>)>, RosterError> {
        let failed = |error: StoreError| RosterError(error.to_string());
        let mut controllers = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(PREFIX, after.as_deref(), PAGE).await.map_err(failed)?;
            let keys: Vec<_> = listed.into_iter().map(|it| it.key).collect();
            let Some(last) = keys.last().cloned() else { return Ok(controllers) };
            let values = self.store.get(&keys).await.map_err(failed)?;
            controllers.extend(keys.into_iter().zip(values).filter_map(|(key, entry)| {
                let id = key.rsplit('/').next().unwrap_or(&key).to_owned();
                entry.map(|Entry { value, .. }| (id, serde_json::from_slice(&value).ok()))
            }));
            after = Some(last);
        }
    }
}

#[async_trait]
impl Roster for NeuVector {
    async fn members(&self) -> Result<Vec<Member>, RosterError> {
        // Members last: who joins between the two readings is seen without an entry, and not overlooked.
        let controllers = self.controllers().await?;
        Ok(check(controllers, &self.agents.members().await?))
    }
}

fn check(controllers: Vec<(String, Option<Controller>)>, agents: &[AgentMember]) -> Vec<Member> {
    let is_server = |agent: &&AgentMember| agent.tags.get("role").is_some_and(|role| role == "consul");
    let living = agents.iter().filter(|agent| agent.status == ALIVE).filter(is_server);
    let mut unknown: BTreeMap<_, _> = living.map(|agent| (agent.addr.clone(), agent.name.clone())).collect();
    let mut members = Vec::new();
    for (id, controller) in controllers {
        let Some(Controller { version, cluster_ip }) = controller else {
            members.push(Member { id, version: None, mode: None, alive: true });
            continue;
        };
        unknown.remove(&cluster_ip);
        // Who failed may come back, and counts for as long as its entry stands and it has not left.
        let alive = agents.iter().any(|agent| agent.addr == cluster_ip && agent.status != LEFT);
        members.push(Member { id, version: Some(version).filter(|it| !it.is_empty()), mode: None, alive });
    }
    members.extend(unknown.into_values().map(|id| Member { id, version: None, mode: None, alive: true }));
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(id: &str, version: &str, ip: &str) -> (String, Option<Controller>) {
        (id.to_owned(), Some(Controller { version: version.to_owned(), cluster_ip: ip.to_owned() }))
    }

    fn agent(ip: &str, status: u8, role: &str) -> AgentMember {
        let tags = [("role".to_owned(), role.to_owned())].into();
        AgentMember { name: ip.to_owned(), addr: ip.to_owned(), status, tags }
    }

    #[track_caller]
    fn finds(
        controllers: Vec<(String, Option<Controller>)>,
        agents: &[AgentMember],
        expected: &[(&str, Option<&str>, bool)],
    ) {
        let found = check(controllers, agents);
        let found: Vec<_> =
            found.iter().map(|it| (it.id.as_str(), it.version.as_deref(), it.alive)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn members_and_versions_are_counted_both() {
        let agents =
            [agent("10.0.0.1", 1, "consul"), agent("10.0.0.2", 1, "consul"), agent("10.0.0.9", 1, "node")];
        finds(
            vec![controller("a", "v5.4.1", "10.0.0.1"), controller("old", "v5.3.0", "10.0.0.7")],
            &agents,
            &[("a", Some("v5.4.1"), true), ("old", Some("v5.3.0"), false), ("10.0.0.2", None, true)],
        );
    }

    #[test]
    fn who_failed_may_live_and_who_left_does_not() {
        let agents = [agent("10.0.0.1", 4, "consul"), agent("10.0.0.2", 3, "consul")];
        finds(
            vec![controller("a", "v6.0.0", "10.0.0.1"), controller("b", "v6.0.0", "10.0.0.2")],
            &agents,
            &[("a", Some("v6.0.0"), true), ("b", Some("v6.0.0"), false)],
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_somebody_unknown() {
        finds(
            vec![("a".to_owned(), None), controller("b", "", "10.0.0.1")],
            &[agent("10.0.0.1", 1, "consul")],
            &[("a", None, true), ("b", None, true)],
        );
    }
}
