//! The way out: copy back, let go, empty.
//!
//! 1. The side entrance is opened, after the CRD was made if there is none and there was one, or there are objects; everything is copied back with what changes meanwhile, and read back.
//! 2. Watches end with `410`, and writes and lists are turned away for a moment; the last changes are copied; the versions of the CRD are served
//!    again, and kube-apiserver answers by itself.
//! 3. Clients list again there, and get the revisions of etcd.
//! 4. What stands here is deleted, object by object; the side entrance is closed; nothing is left.
//!
//! A mover that is killed in step 2 serves as before when it comes back, and begins again.
//!
//! Another replica that has not heard of step 2 within the time to settle may still take a write. It is found afterwards, kept here and named.

mod owners;
mod returner;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use self::owners::Owners;
use self::returner::{Returner, Shared};
use super::definition::Definition;
use super::entrance::Entrance;
use super::inward::{self, routed};
use super::listing::Listing;
use super::progress::Phase;
use super::stage::{self, Mark, Stage};
use super::survey::Survey;
use super::{Transfer, TransferError};
use crate::registry::Resource;
use crate::store::{Revision, StoreError};

/// How often everything is compared before the last changes are waited for, if it cannot be followed.
const PASSES: usize = 5;

/// How long a write may take to its end that had begun before writes were turned away.
const LAST_WRITES: Duration = Duration::from_secs(35);

/// Takes a group out, from wherever it is on its way.
pub(super) async fn run(transfer: &Transfer, group: &str) -> Result<(), TransferError> {
    if let Some(Mark { stage: Stage::Open { are_originals: true, .. }, .. }) =
        stage::read(&transfer.store, group).await?
    {
        // First everything has to be here: what is written to etcd from now on could not be told from what was written there too late.
        inward::run(transfer, group).await?;
    }
    let survey = Survey::of(transfer, group).await?;
    let mark = stage::read(&transfer.store, group).await?;
    let mark = match mark {
        // It never came in.
        None if !survey.is_ours() => return close(transfer, group).await,
        None if survey.definitions.is_empty() => stage::begin_undefined(&transfer.store, group).await?,
        None => stage::begin(&transfer.store, group, None, Stage::Settled).await?,
        Some(mark) => mark,
    };
    let mut outward = Outward { transfer, survey };
    match &mark.stage {
        // etcd was never left.
        Stage::Copying { .. } => {
            outward.survey.give_back(transfer).await?;
            outward.empty(&mark, Revision::MAX, &[]).await
        }
        Stage::Gone { until, kept } => {
            let (until, kept) = (*until, kept.clone());
            outward.survey.give_back(transfer).await?;
            outward.empty(&mark, until, &kept).await
        }
        _ => outward.leave(mark).await,
    }
}

/// Takes every trace out of the CRDs of a group.
pub(super) async fn close(transfer: &Transfer, group: &str) -> Result<(), TransferError> {
    for definition in
        Definition::of_group(&transfer.cluster, group).await?.iter().filter(|it| it.bears_traces())
    {
        definition.show(&transfer.cluster).await?;
        Definition::close(&transfer.cluster, definition.name()).await?;
    }
    Ok(())
}

/// One group on its way out.
struct Outward<'t> {
    transfer: &'t Transfer,
    survey: Survey,
}

impl Outward<'_> {
    async fn leave(&mut self, mark: Mark) -> Result<(), TransferError> {
        let (transfer, group) = (self.transfer, self.survey.group.clone());
        if !self.survey.is_ours() {
            let reason =
                "its APIServices do not point to Larder, and so nobody can tell which objects are right";
            return Err(TransferError::Refused { group, reason: reason.to_owned() });
        }
        let mark = if mark.stage == Stage::Leaving { self.reopen(&mark).await? } else { mark };
        // Clients that a restart has cut off have to be there when they are sent away.
        let leaving = transfer.leaving.get_or_init(Instant::now);
        sleep_until(*leaving + transfer.options.reconnect).await;
        self.define(mark.was_defined).await?;
        self.survey.check_ways()?;
        self.survey.check_lasting()?;
        let mut returners = self.enter().await?;
        copy(&mut returners).await?;
        let kept = self.stays(&returners)?;
        transfer.leadership.confirm().await?;
        let mark = stage::begin(&transfer.store, &group, Some(&mark), Stage::Leaving).await?;
        transfer.gate.learn(&group, Some(&mark));
        let left = self.let_go(&mut returners, &mark, kept).await;
        match left {
            Ok((mark, until, kept)) => self.empty(&mark, until, &kept).await,
            Err(error) => self.stay(mark, error).await,
        }
    }

    /// Makes the CRDs that there are none of: those of a group that had some, and of what has objects.
    async fn define(&mut self, was_defined: bool) -> Result<(), TransferError> {
        let (transfer, group) = (self.transfer, self.survey.group.clone());
        for resource in self.survey.undefined(transfer) {
            if was_defined || self.has_objects(resource).await? {
                let document: Value = serde_json::from_str(&resource.document).unwrap_or_default();
                Definition::create(&transfer.cluster, &document).await?;
            }
        }
        self.survey = Survey::of(transfer, &group).await?;
        Ok(())
    }

    async fn has_objects(&self, resource: &Resource) -> Result<bool, TransferError> {
        Ok(Listing::new(&self.transfer.store, &resource.id()).next().await?.is_some())
    }

    /// Whether nothing is left here that nobody copied: something may have been made for the first time in the last moment.
    async fn check_undefined(&self) -> Result<(), TransferError> {
        for resource in self.survey.undefined(self.transfer) {
            if self.has_objects(resource).await? {
                return Err(TransferError::Behind);
            }
        }
        Ok(())
    }

    async fn enter(&self) -> Result<Vec<Returner>, TransferError> {
        let (transfer, mut returners) = (self.transfer, Vec::new());
        let owners = Arc::new(self.owners());
        for (resource, definition) in &self.survey.definitions {
            Definition::open(&transfer.cluster, resource).await?;
            let entrance = Entrance::new(transfer.cluster.clone(), resource);
            let shared = Shared {
                store: transfer.store.clone(),
                watches: transfer.watches.clone(),
                pace: transfer.pace.clone(),
                tally: transfer.tally.clone(),
                owners: owners.clone(),
            };
            let served = definition.served().map(str::to_owned).collect();
            returners.push(Returner::new(resource.clone(), served, entrance, shared));
        }
        Ok(returners)
    }

    /// The objects that may own some of this group.
    fn owners(&self) -> Owners {
        let (transfer, group) = (self.transfer, &self.survey.group);
        let way = |it: &Resource| (it.group == *group).then(|| Entrance::new(transfer.cluster.clone(), it));
        let resources = transfer.registry.iter().map(|it| (it.clone(), way(it))).collect();
        Owners::new(transfer.store.clone(), resources)
    }

    /// What etcd does not take. Without `force` that is the end of it.
    fn stays(&self, returners: &[Returner]) -> Result<Vec<String>, TransferError> {
        let kept: Vec<_> =
            returners.iter().flat_map(|it| it.stays.keys().map(|key| format!("{} {key}", it.id))).collect();
        self.transfer.tally.count(|it| it.stays = kept.len() as u64);
        if !kept.is_empty() && !self.transfer.options.force {
            return Err(TransferError::Stays { group: self.survey.group.clone(), count: kept.len() });
        }
        Ok(kept)
    }

    /// Lets kube-apiserver answer again.
    async fn let_go(
        &self,
        returners: &mut [Returner],
        mark: &Mark,
        mut kept: Vec<String>,
    ) -> Result<(Mark, Revision, Vec<String>), TransferError> {
        let (transfer, group) = (self.transfer, &self.survey.group);
        returners.iter().for_each(|it| transfer.tally.begin(&it.id, Phase::Switching));
        // Other replicas hear of it a little later.
        sleep(transfer.options.settle).await;
        transfer.gate.quiet(LAST_WRITES).await;
        let until = transfer.store.revision().await?;
        try_join_all(returners.iter_mut().map(Returner::catch_up)).await?;
        adopt(returners).await?;
        self.check_undefined().await?;
        kept.extend(self.stays(returners)?);
        kept.sort();
        kept.dedup();
        transfer.leadership.confirm().await?;
        let stage = Stage::Gone { until, kept: kept.clone() };
        let mark = stage::begin(&transfer.store, group, Some(mark), stage).await?;
        // From now on nobody reads here: who sees an object there and its owner here, under another uid, takes that for gone.
        transfer.gate.learn(group, Some(&mark));
        self.survey.give_back(transfer).await?;
        routed(&transfer.cluster, &self.survey, false).await?;
        Ok((mark, until, kept))
    }

    /// Goes on as before, if kube-apiserver does not answer yet.
    async fn stay(&self, mark: Mark, error: TransferError) -> Result<(), TransferError> {
        let (store, group) = (&self.transfer.store, &self.survey.group);
        if stage::read(store, group).await?.as_ref() == Some(&mark) {
            self.reopen(&mark).await?;
        }
        Err(error)
    }

    /// Serves as before. Nothing that stands in etcd is right, however late it was written.
    async fn reopen(&self, mark: &Mark) -> Result<Mark, TransferError> {
        let (transfer, group) = (self.transfer, &self.survey.group);
        let (behind, since) = (BTreeMap::new(), Timestamp::now());
        let stage = Stage::Open { behind, since, are_originals: false };
        let mark = stage::begin(&transfer.store, group, Some(mark), stage).await?;
        transfer.gate.learn(group, Some(&mark));
        Ok(mark)
    }

    /// Deletes what stands here, and with it every trace.
    async fn empty(&self, mark: &Mark, until: Revision, kept: &[String]) -> Result<(), TransferError> {
        let (transfer, group) = (self.transfer, &self.survey.group);
        routed(&transfer.cluster, &self.survey, false).await?;
        transfer.gate.learn(group, Some(mark));
        sleep(transfer.options.settle).await;
        let mut left = 0;
        for resource in transfer.registry.iter().filter(|it| it.group == *group) {
            left += self.empty_one(&resource.id(), until, kept).await?;
            transfer.tally.begin(&resource.id(), Phase::Done);
        }
        close(transfer, group).await?;
        transfer.tally.count(|it| it.stays = left as u64);
        if left > 0 {
            return Err(TransferError::Stays { group: group.clone(), count: left });
        }
        stage::forget(&transfer.store, group, mark).await?;
        Ok(())
    }

    /// Returns how many stay.
    async fn empty_one(&self, id: &str, until: Revision, kept: &[String]) -> Result<usize, TransferError> {
        let (transfer, mut left) = (self.transfer, 0);
        transfer.tally.begin(id, Phase::Removing);
        let mut here = Listing::new(&transfer.store, id);
        while let Some(page) = here.next().await? {
            transfer.leadership.confirm().await?;
            transfer.tally.expect(id, page.len() as u64 + here.left());
            for stored in page {
                transfer.tally.did(id, 1);
                let name = format!("{id} {}", stored.key);
                if stored.revision > until {
                    transfer.tally.count(|it| it.overruled += 1);
                    let reason =
                        "written in Larder after kube-apiserver had taken over again: it stays in Larder";
                    transfer.tally.name(id, &stored.key, reason);
                    left += 1;
                } else if kept.contains(&name) {
                    left += 1;
                } else {
                    match transfer.store.delete(id, &stored.key, stored.revision).await {
                        Ok(_) => transfer.tally.count(|it| it.removed += 1),
                        Err(StoreError::Changed) => left += 1,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(left)
    }
}

async fn copy(returners: &mut [Returner]) -> Result<(), TransferError> {
    for _ in 1..PASSES {
        match copy_once(returners).await {
            Err(TransferError::Behind) => {}
            done => return done,
        }
    }
    copy_once(returners).await
}

async fn copy_once(returners: &mut [Returner]) -> Result<(), TransferError> {
    let passes = returners.iter_mut().map(async |it| {
        it.pass().await?;
        it.catch_up().await
    });
    try_join_all(passes).await?;
    adopt(returners).await
}

/// Copies what waits for its owners, for as long as that leads on.
async fn adopt(returners: &mut [Returner]) -> Result<(), TransferError> {
    let mut before = usize::MAX;
    loop {
        let mut left = 0;
        for returner in &mut *returners {
            left += returner.adopt().await?;
        }
        if left == 0 || left >= before {
            break;
        }
        before = left;
    }
    returners.iter_mut().for_each(Returner::abandon);
    Ok(())
}
