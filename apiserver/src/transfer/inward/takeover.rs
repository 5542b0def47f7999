//! The moment in which requests begin to come here.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::try_join_all;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep, timeout};
use uuid::Uuid;

use super::{Inward, point};
use crate::registry::{Resource, Scope};
use crate::transfer::TransferError;
use crate::transfer::cluster::{Answer, Cluster};
use crate::transfer::gate::PROBE;
use crate::transfer::service::{self, Answerer};
use crate::transfer::stage::{self, Mark, Stage};
use crate::transfer::survey::Survey;

/// How long the aggregator may take to find that it reaches us. Requests fail until then.
const REACHED: Duration = Duration::from_secs(15);

/// How long one answer may take.
const ANSWERED: Duration = Duration::from_secs(3);

const LOOK: Duration = Duration::from_millis(50);

/// Takes over, or takes everything back.
pub(super) async fn take_over(inward: &mut Inward<'_>, mark: Mark) -> Result<Mark, TransferError> {
    inward.transfer.leadership.confirm().await?;
    let error = match try_to(inward, &mark).await {
        Ok(mark) => return Ok(mark),
        Err(error) => error,
    };
    // A write that failed may be there all the same; if that cannot be told, requests wait.
    match stage::read(&inward.transfer.store, &inward.survey.group).await? {
        Some(mark @ Mark { stage: Stage::Open { .. }, .. }) => {
            inward.transfer.gate.learn(&inward.survey.group, Some(&mark));
            inward.opened(&mark);
            Ok(mark)
        }
        _ => {
            // Nothing has been answered from here yet.
            tracing::warn!(group = inward.survey.group, %error, "requests are sent to kube-apiserver again");
            inward.survey.give_back(inward.transfer).await?;
            Err(error)
        }
    }
}

async fn try_to(inward: &mut Inward<'_>, mark: &Mark) -> Result<Mark, TransferError> {
    let transfer = inward.transfer;
    point(transfer, &inward.survey).await?;
    reached(inward).await?;
    routed(&transfer.cluster, &inward.survey, true).await?;
    // Other kube-apiservers hear of it a little later, and writes that were under way come to their end.
    sleep(transfer.options.settle).await;
    // The clocks of the two may differ by as much as anybody's; a second is what creation times are rounded to.
    let since = Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let caught_up = inward.copiers.iter_mut().map(async |it| Ok((it.id.clone(), it.catch_up().await?)));
    let behind: BTreeMap<_, _> =
        try_join_all(caught_up).await.map_err(|it: TransferError| it)?.into_iter().collect();
    let stays: usize = inward.copiers.iter().map(|it| it.stays.len()).sum();
    if stays > 0 && !transfer.options.force {
        return Err(TransferError::Stays { group: inward.survey.group.clone(), count: stays });
    }
    let stage = Stage::Open { behind, since, are_originals: true };
    let mark = stage::begin(&transfer.store, &inward.survey.group, Some(mark), stage).await?;
    transfer.gate.learn(&inward.survey.group, Some(&mark));
    inward.opened(&mark);
    Ok(mark)
}

/// Returns once the aggregator has reached us for every version.
async fn reached(inward: &Inward<'_>) -> Result<(), TransferError> {
    let (transfer, group) = (inward.transfer, &inward.survey.group);
    let until = Instant::now() + REACHED;
    for version in &inward.survey.versions {
        loop {
            let answerer = service::answerer(&transfer.cluster, &transfer.backend(), group, version).await?;
            let reason = match answerer {
                Answerer::Larder(Ok(())) => break,
                Answerer::Larder(Err(reason)) => reason,
                Answerer::Local => "kube-apiserver made it its own again".to_owned(),
                Answerer::Other(who) => format!("{who} took it over"),
            };
            if Instant::now() > until {
                let reason = format!("the aggregator does not reach Larder for {version}: {reason}");
                return Err(TransferError::Refused { group: group.clone(), reason });
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Returns once requests come here, or do not any more, as far as one can see from one kube-apiserver.
pub(in crate::transfer) async fn routed(
    cluster: &Cluster,
    survey: &Survey,
    here: bool,
) -> Result<(), TransferError> {
    let until = Instant::now() + REACHED;
    for (resource, definition) in &survey.definitions {
        for version in &resource.versions {
            let is_theirs = definition.served().any(|it| it == version.name);
            let (name, path) = probe(resource, &version.name);
            loop {
                let answered = timeout(ANSWERED, cluster.answer(Method::GET, &path, None)).await;
                // What is unavailable is asked for again by the client, longer than we can wait.
                let answerer = match answered {
                    Ok(answer) => who(&answer?, &name),
                    Err(_) => Who::Other("nobody".to_owned()),
                };
                match answerer {
                    Who::Larder if here => break,
                    Who::Kubernetes if !here => break,
                    Who::Nobody if !here && !is_theirs => break,
                    it if Instant::now() > until => {
                        let reason = format!("{path} is answered by the wrong server: {it}");
                        return Err(TransferError::Refused { group: survey.group.clone(), reason });
                    }
                    _ => sleep(LOOK).await,
                }
            }
        }
    }
    Ok(())
}

/// Who answered a probe.
#[derive(Debug)]
enum Who {
    Larder,
    /// kube-apiserver, which has looked for the object.
    Kubernetes,
    /// kube-apiserver, which knows no such resource.
    Nobody,
    Other(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Larder => f.write_str("Larder"),
            Self::Kubernetes => f.write_str("kube-apiserver"),
            Self::Nobody => f.write_str("nobody"),
            Self::Other(status) => f.write_str(status),
        }
    }
}

fn who(answer: &Answer, name: &str) -> Who {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status {
        StatusCode::CONFLICT if String::from_utf8_lossy(&answer.body).contains("Larder") => Who::Larder,
        StatusCode::NOT_FOUND if said["details"]["name"] == name => Who::Kubernetes,
        StatusCode::NOT_FOUND => Who::Nobody,
        other => Who::Other(other.to_string()),
    }
}

/// The name of an object that nobody has, and where to ask for it.
fn probe(resource: &Resource, version: &str) -> (String, String) {
    let name = format!("{PROBE}{}", Uuid::new_v4());
    let namespace = match resource.scope {
        Scope::Namespaced => "namespaces/default/",
        Scope::Cluster => "",
    };
    let (group, plural) = (&resource.group, &resource.names.plural);
    let path = format!("/apis/{group}/{version}/{namespace}{plural}/{name}");
    (name, path)
}
