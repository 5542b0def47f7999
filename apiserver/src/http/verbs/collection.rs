//! `DELETE …` of many: each object as if by itself, several at a time, and what they were before is the answer.
//!
//! It is not atomic. The objects are not held: they go to the reader as they are deleted, and the deletion goes on when nobody reads.

use std::sync::Arc;

use axum::body::Body;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::delete::{Deleting, received_options};
use super::list::{Moment, heading};
use crate::auth::Verb;
use crate::http::answer::{Answer, Content};
use crate::http::body::{BodyError, Pieces};
use crate::http::call::Call;
use crate::http::options::ListOptions;
use crate::http::show::{Heading, Show};
use crate::http::status::Refusal;
use crate::present::accept::Shown;
use crate::store::{At, ListQuery, Page, StoreError, Stored};

const VERB: Verb = Verb::DeleteCollection;
/// Objects that are looked at together, where no limit says how many.
const PAGE: usize = 500;
/// Deletions under way at a time: they share commits.
const AT_A_TIME: usize = 16;
/// Objects that were deleted and not shown yet.
const AHEAD: usize = 64;

pub(super) async fn delete(call: Call, body: Body) -> Result<Answer, Refusal> {
    let show = Show::of(&call, Shown::List)?;
    let encoding = show.encoding;
    let list = ListOptions::read(&call.query, call.resource.scope, call.version())?;
    let options = received_options(&call, body).await?;
    // Pages are read in any case, so a revision is always meant exactly.
    let moment = Moment::of(&list, true, &call.place.namespace)?;
    let query = ListQuery {
        selection: list.selection(&call.place.namespace),
        at: moment.at,
        after: moment.after.clone(),
        limit: list.limit.or(Some(PAGE)),
    };
    let deleting = Deleting { call: Arc::new(call), options };
    let mut first =
        page(&deleting, &query).await.map_err(|error| moment.refusal(&deleting.call, VERB, &error))?;
    let heading = match list.limit {
        // Whoever wants no more than so many asks for the others himself.
        Some(_) => heading(&first, &deleting.call.place.namespace),
        None => Heading { revision: first.revision, go_on: None, remaining: None },
    };
    if list.limit.is_some() {
        first.next = None;
    }
    // What is made while this goes on is none of it.
    let query = ListQuery { at: At::Exactly(first.revision), ..query };
    let (sender, deleted) = mpsc::channel(AHEAD);
    tokio::spawn(all(deleting, query, first, sender));
    let content = Content::Coming(shown(show, &heading, deleted));
    Ok(Answer::new(http::StatusCode::OK, content).encoded(encoding))
}

async fn page(deleting: &Deleting, query: &ListQuery) -> Result<Page, StoreError> {
    let call = &deleting.call;
    call.timed("page", call.server.store.page(&call.id(), query)).await
}

type Sender = mpsc::Sender<Result<Stored, Refusal>>;

/// Deletes page after page. What fails is told at the end, after everything else was tried.
async fn all(deleting: Deleting, query: ListQuery, first: Page, sender: Sender) {
    let mut failure = None;
    let mut next = Some(first);
    while let Some(page) = next.take() {
        let after = page.next;
        if let Err(refusal) = some(&deleting, page.items, &sender).await {
            failure.get_or_insert(refusal);
        }
        next = match after {
            None => None,
            Some(after) => {
                match self::page(&deleting, &ListQuery { after: Some(after), ..query.clone() }).await {
                    Ok(page) => Some(page),
                    Err(error) => {
                        failure.get_or_insert(deleting.call.refusal(VERB, &error));
                        None
                    }
                }
            }
        };
    }
    if let Some(refusal) = failure {
        let _ = sender.send(Err(refusal)).await;
    }
}

async fn some(deleting: &Deleting, items: Vec<Stored>, sender: &Sender) -> Result<(), Refusal> {
    let deletions = stream::iter(items).map(|stored| {
        let deleting = deleting.clone();
        async move {
            let (key, seen) = (stored.key.clone(), Some(stored.clone()));
            deleting.delete(&key, seen, VERB).await.map(|_| stored)
        }
    });
    let mut deletions = std::pin::pin!(deletions.buffered(AT_A_TIME));
    let mut failure = None;
    while let Some(deleted) = deletions.next().await {
        match deleted {
            Ok(stored) => {
                // Nobody has to be there to see it.
                let _ = sender.send(Ok(stored)).await;
            }
            Err(refusal) if refusal.code() == http::StatusCode::NOT_FOUND => {}
            Err(refusal) => _ = failure.get_or_insert(refusal),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// What was deleted, as a list.
fn shown(show: Show, heading: &Heading, deleted: mpsc::Receiver<Result<Stored, Refusal>>) -> Pieces {
    let mut begin = Vec::new();
    show.begin(heading, &mut begin);
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
