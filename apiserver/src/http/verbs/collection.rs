//! `DELETE …` of many: each object as if by itself, several at a time, and what they were is the answer.
//!
//! It is not atomic. The objects are not held: they go to the reader as they are deleted, and the deletion goes on when nobody reads.

use std::sync::Arc;

use axum::body::Body;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::delete::{Deleted, Deleting, received_options};
use crate::auth::Verb;
use crate::http::answer::{Answer, Content};
use crate::http::body::{BodyError, Pieces};
use crate::http::call::Call;
use crate::http::options::ListOptions;
use crate::http::show::{Heading, Show};
use crate::http::status::Refusal;
use crate::store::{At, Key, ListQuery, Page, Revision, Stored};

/// Objects that are looked at together.
const PAGE: usize = 500;
/// Deletions under way at a time: they share commits.
const AT_A_TIME: usize = 16;
/// Objects that were deleted and not shown yet.
const AHEAD: usize = 64;

pub(super) async fn delete(call: Call, body: Body) -> Result<Answer, Refusal> {
    let show = Show::of(&call, true)?;
    let list = ListOptions::read(&call.query, call.resource.scope, call.version())?;
    let options = received_options(&call, body).await?;
    let query = ListQuery {
        selection: list.selection(&call.place.namespace),
        at: At::Latest,
        after: None,
        limit: Some(list.limit.map_or(PAGE, |it| it.min(PAGE))),
    };
    let warnings = call.deprecation();
    let deleting = Deleting { call: Arc::new(call), options };
    let first = page(&deleting, &query).await?;
    let revision = first.revision;
    let (sender, deleted) = mpsc::channel(AHEAD);
    tokio::spawn(all(deleting, query, first, list.limit, sender));
    let content = Content::Coming(shown(show, revision, deleted));
    Ok(Answer::new(http::StatusCode::OK, content).warning(warnings))
}

async fn page(deleting: &Deleting, query: &ListQuery) -> Result<Page, Refusal> {
    let call = &deleting.call;
    let page = call.timed("page", call.server.store.page(&call.id(), query)).await;
    page.map_err(|error| call.refusal(Verb::DeleteCollection, &error))
}

type Sender = mpsc::Sender<Result<Stored, Refusal>>;

/// Deletes page after page. What fails is told at the end, after everything else was tried.
async fn all(deleting: Deleting, query: ListQuery, first: Page, limit: Option<usize>, sender: Sender) {
    let mut failure = None;
    let mut left = limit;
    let mut next = Some(first);
    while let Some(page) = next.take() {
        left = left.map(|it| it.saturating_sub(page.items.len()));
        let after = page.next.filter(|_| left != Some(0));
        if let Err(refusal) = some(&deleting, page.items, &sender).await {
            failure.get_or_insert(refusal);
        }
        next = match after {
            None => None,
            Some(after) => match self::page(&deleting, &behind(&query, after, left)).await {
                Ok(page) => Some(page),
                Err(refusal) => {
                    failure.get_or_insert(refusal);
                    None
                }
            },
        };
    }
    if let Some(refusal) = failure {
        let _ = sender.send(Err(refusal)).await;
    }
}

fn behind(query: &ListQuery, after: Key, left: Option<usize>) -> ListQuery {
    let limit = Some(left.map_or(PAGE, |it| it.min(PAGE)));
    ListQuery { after: Some(after), limit, ..query.clone() }
}

async fn some(deleting: &Deleting, items: Vec<Stored>, sender: &Sender) -> Result<(), Refusal> {
    let deletions = stream::iter(items).map(|stored| {
        let deleting = deleting.clone();
        async move {
            let key = stored.key.clone();
            deleting.delete(&key, Some(stored), Verb::DeleteCollection).await
        }
    });
    let mut deletions = std::pin::pin!(deletions.buffered(AT_A_TIME));
    let mut failure = None;
    while let Some(deleted) = deletions.next().await {
        match deleted {
            Ok(Deleted::Gone { last, .. } | Deleted::Waits(last)) => {
                // Nobody has to be there to see it.
                let _ = sender.send(Ok(last)).await;
            }
            Err(refusal) if refusal.code() == http::StatusCode::NOT_FOUND => {}
            Err(refusal) => _ = failure.get_or_insert(refusal),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What was deleted, as a list.
fn shown(show: Show, revision: Revision, deleted: mpsc::Receiver<Result<Stored, Refusal>>) -> Pieces {
    let mut begin = Vec::new();
    show.begin(&Heading { revision, go_on: None, remaining: None }, &mut begin);
    let state = Some((show, deleted, true));
    let items = stream::unfold(state, |state| async move {
        let (mut show, mut deleted, is_first) = state?;
        let mut piece = Vec::new();
        let shown = match deleted.recv().await {
            None => {
                show.end(&mut piece);
                return Some((Ok(piece.into()), None));
            }
            Some(Ok(stored)) => show.item(&stored, is_first, &mut piece),
            Some(Err(refusal)) => Err(refusal),
        };
        match shown {
            Ok(()) => Some((Ok(piece.into()), Some((show, deleted, false)))),
            Err(refusal) => Some((Err(BodyError(Box::new(refusal))), None)),
        }
    });
    Box::pin(stream::once(async { Ok(begin.into()) }).chain(items))
}
