//! The moment in which requests begin to come here.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use super::{Inward, point};
use crate::transfer::TransferError;
use crate::transfer::cluster::Cluster;
use crate::transfer::gate::PROBE;
use crate::transfer::service::{self, Answerer};
use crate::transfer::stage::{self, Mark, Stage};
use crate::transfer::survey::Survey;

/// How long the aggregator may take to find that it reaches us. Requests fail until then.
const REACHED: Duration = Duration::from_secs(15);

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
    for (resource, _) in &survey.definitions {
        for version in &resource.versions {
            let name = format!("{PROBE}{}", Uuid::new_v4());
            let namespace = match resource.scope {
                crate::registry::Scope::Namespaced => "namespaces/default/",
                crate::registry::Scope::Cluster => "",
            };
            let (group, plural) = (&resource.group, &resource.names.plural);
            let path = format!("/apis/{group}/{}/{namespace}{plural}/{name}", version.name);
            loop {
                let answer = cluster.answer(Method::GET, &path, None).await?;
                let is_ours = answer.status == StatusCode::CONFLICT
                    && String::from_utf8_lossy(&answer.body).contains("Larder");
                let is_theirs = answer.status == StatusCode::NOT_FOUND;
                if if here { is_ours } else { is_theirs } {
                    break;
                }
                if Instant::now() > until {
                    let reason = format!("{path} is answered by the wrong server: {}", answer.status);
                    return Err(TransferError::Refused { group: survey.group.clone(), reason });
                }
                sleep(LOOK).await;
            }
        }
    }
    Ok(())
}
