//! The way in: copy, take over, remove.
//!
//! 1. The side entrance is opened; everything is copied, with what changes meanwhile, until all is here.
//! 2. kube-apiserver is told to send requests here, where they wait ([`gate`](super::gate)). Once it does, what was written in etcd last is copied, and the
//!    gate opens: nobody has seen an older state than he knew. Until then everything can be taken back, and is if the aggregator does not reach us.
//! 3. Writes of other kube-apiservers that had not heard yet are copied, unless a client has changed the same object here; then that stays.
//! 4. The watches that are still answered from etcd are ended, and its versions hidden, so that nobody sees what comes next.
//! 5. Each object is removed from etcd after what stands here was read back and compared.
//! 6. Once nothing is left for a while, the side entrance is closed.

mod copier;
mod removal;
mod takeover;

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
pub(super) use takeover::routed;
use tokio::time::Duration;

use self::copier::Copier;
use super::decision::Opened;
use super::definition::Definition;
use super::entrance::Entrance;
use super::listing::Listing;
use super::progress::Phase;
use super::service;
use super::stage::{self, Mark, Stage};
use super::survey::Survey;
use super::{Transfer, TransferError};
use crate::store::{Revision, StoreError};

/// How often everything is compared before the store takes over, if it cannot follow.
const PASSES: usize = 5;

/// One group on its way in.
struct Inward<'t> {
    transfer: &'t Transfer,
    survey: Survey,
    copiers: Vec<Copier>,
}

/// Brings a group in, from wherever it is on its way.
pub(super) async fn run(transfer: &Transfer, group: &str) -> Result<(), TransferError> {
    let survey = Survey::of(transfer, group).await?;
    let mark = stage::read(&transfer.store, group).await?;
    match mark.as_ref().map(|it| &it.stage) {
        Some(Stage::Settled) if survey.is_ours() && !survey.has_entrance() => {
            point(transfer, &survey).await?;
            // Somebody may have applied a CRD anew.
            return survey.hide(transfer).await;
        }
        _ => survey.check(transfer.options.force)?,
    }
    if survey.definitions.is_empty() {
        return without_etcd(transfer, &survey, mark).await;
    }
    // Requests come here, and are answered: whatever else was going on, what stands here is right.
    let goes_on = survey.is_ours() && mark.as_ref().is_some_and(|it| is_right(&it.stage));
    if !goes_on {
        // Until everything is copied requests are better off where they are answered.
        survey.give_back(transfer).await?;
        survey.check_lasting()?;
        transfer.check_certificate(group)?;
    }
    let copiers = enter(transfer, &survey).await?;
    let mut inward = Inward { transfer, survey, copiers };
    let opened = match mark {
        Some(mark) if goes_on => inward.go_on(mark).await?,
        mark => inward.take_over(mark).await?,
    };
    inward.remove(opened).await
}

/// Whether what stands here is right in this stage, as long as requests come here.
fn is_right(stage: &Stage) -> bool {
    matches!(stage, Stage::Open { .. } | Stage::Settled | Stage::Leaving)
}

/// Whether everything that stands here is a copy.
fn prunes(stage: &Stage) -> bool {
    matches!(stage, Stage::Copying { prunes: true })
}

/// Deletes what was copied before its CRD was deleted, and with it all objects.
async fn forget_copies(transfer: &Transfer, survey: &Survey) -> Result<(), TransferError> {
    for resource in survey.undefined(transfer) {
        let id = resource.id();
        let mut copies = Listing::new(&transfer.store, &id);
        while let Some(page) = copies.next().await? {
            for copy in page {
                match transfer.store.delete(&id, &copy.key, copy.revision).await {
                    Ok(_) => transfer.tally.count(|it| it.deleted += 1),
                    // Another mover was faster.
                    Err(StoreError::Changed) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(())
}

/// There never was, or is no more, anything in etcd.
async fn without_etcd(transfer: &Transfer, survey: &Survey, mark: Option<Mark>) -> Result<(), TransferError> {
    if mark.as_ref().is_some_and(|it| prunes(&it.stage)) {
        forget_copies(transfer, survey).await?;
    }
    if !survey.is_ours() {
        transfer.check_certificate(&survey.group)?;
    }
    point(transfer, survey).await?;
    if !matches!(mark, Some(Mark { stage: Stage::Settled, .. })) {
        let (store, group) = (&transfer.store, &survey.group);
        let mark = match &mark {
            None => stage::begin_undefined(store, group).await?,
            mark => stage::begin(store, group, mark.as_ref(), Stage::Settled).await?,
        };
        transfer.gate.learn(&survey.group, Some(&mark));
    }
    Ok(())
}

/// Lets this server answer all versions of a group.
async fn point(transfer: &Transfer, survey: &Survey) -> Result<(), TransferError> {
    for version in &survey.versions {
        service::point(&transfer.cluster, &transfer.backend(), &survey.group, version).await?;
    }
    Ok(())
}

/// Opens the side entrances.
async fn enter(transfer: &Transfer, survey: &Survey) -> Result<Vec<Copier>, TransferError> {
    let mut copiers = Vec::new();
    for (resource, definition) in &survey.definitions {
        Definition::open(&transfer.cluster, resource).await?;
        let entrance = Entrance::new(transfer.cluster.clone(), resource);
        let shared = (transfer.pace.clone(), transfer.tally.clone());
        let version = survey.version(resource, definition);
        copiers.push(Copier::new(resource.clone(), version, entrance, transfer.store.clone(), shared));
    }
    Ok(copiers)
}

impl Inward<'_> {
    /// Copies everything, and takes over.
    async fn take_over(&mut self, mark: Option<Mark>) -> Result<Mark, TransferError> {
        let mark = self.begin(mark).await?;
        let prunes = prunes(&mark.stage);
        if prunes {
            forget_copies(self.transfer, &self.survey).await?;
        }
        self.copy(prunes).await?;
        let stays: usize = self.copiers.iter().map(|it| it.stays.len()).sum();
        self.transfer.tally.count(|it| it.stays = stays as u64);
        if stays > 0 && !self.transfer.options.force {
            return Err(TransferError::Stays { group: self.survey.group.clone(), count: stays });
        }
        self.phase(Phase::Switching);
        takeover::take_over(self, mark).await
    }

    /// Tells what is being done about every resource of the group.
    fn phase(&self, phase: Phase) {
        self.copiers.iter().for_each(|it| self.transfer.tally.begin(&it.id, phase));
    }

    /// Begins to copy, or goes on. What stands here of another time is not pruned.
    async fn begin(&self, mark: Option<Mark>) -> Result<Mark, TransferError> {
        let prunes = match mark.as_ref().map(|it| &it.stage) {
            Some(Stage::Copying { .. }) => return Ok(mark.expect("it was looked at")),
            // Everything here was copied back, so it is a copy, except for what could not be.
            Some(Stage::Gone { kept, .. }) => kept.is_empty(),
            _ => self.is_empty().await?,
        };
        let group = &self.survey.group;
        let mark =
            stage::begin(&self.transfer.store, group, mark.as_ref(), Stage::Copying { prunes }).await?;
        self.transfer.gate.learn(group, Some(&mark));
        Ok(mark)
    }

    /// Whether nothing of the group stands here, whether it has a CRD or not.
    async fn is_empty(&self) -> Result<bool, TransferError> {
        for resource in self.transfer.registry.iter().filter(|it| it.group == self.survey.group) {
            if Listing::new(&self.transfer.store, &resource.id()).next().await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn copy(&mut self, prunes: bool) -> Result<(), TransferError> {
        for _ in 1..PASSES {
            match self.copy_once(prunes).await {
                Err(TransferError::Behind) => {}
                done => return done,
            }
        }
        self.copy_once(prunes).await
    }

    async fn copy_once(&mut self, prunes: bool) -> Result<(), TransferError> {
        let passes = self.copiers.iter_mut().map(async |it| {
            it.pass(prunes).await?;
            // The rest is caught up with when it counts.
            it.follow(Duration::from_secs(1), None).await
        });
        try_join_all(passes).await.map(drop)
    }

    /// Goes on behind the take-over.
    async fn go_on(&mut self, mark: Mark) -> Result<Mark, TransferError> {
        let mark = match mark.stage {
            Stage::Open { .. } => mark,
            // Nothing that stands in etcd now is a late write.
            _ => {
                let mut behind = BTreeMap::new();
                for copier in &self.copiers {
                    behind.insert(copier.id.clone(), copier.entrance.revision().await?);
                }
                let stage = Stage::Open { behind, since: jiff::Timestamp::now(), are_originals: false };
                stage::begin(&self.transfer.store, &self.survey.group, Some(&mark), stage).await?
            }
        };
        self.transfer.gate.learn(&self.survey.group, Some(&mark));
        self.opened(&mark);
        for copier in &mut self.copiers {
            copier.find_place().await?;
        }
        Ok(mark)
    }

    /// Tells the copiers since when this store is right.
    fn opened(&mut self, mark: &Mark) {
        let Stage::Open { behind, since, are_originals } = &mark.stage else { return };
        for copier in &mut self.copiers {
            let behind = behind.get(&copier.id).copied().unwrap_or(Revision::MAX);
            let (since, are_originals) = (*since, *are_originals);
            copier.open(Opened { at: mark.revision, behind, since, are_originals });
        }
    }
}
