//! `GET …` of many: a page in memory where there is a limit, else as the objects come out of the store.

use futures_util::stream;

use super::token::GoOn;
use crate::auth::Verb;
use crate::http::answer::{Answer, Content};
use crate::http::body::{BodyError, Pieces};
use crate::http::call::Call;
use crate::http::options::{ListOptions, Match};
use crate::http::show::{Heading, Show};
use crate::http::status::Refusal;
use crate::present::accept::Shown;
use crate::store::{At, Json as _, Key, List, ListQuery, Page, StoreError};

/// A piece of a list is sent once it is as long as this.
const PIECE: usize = 48 << 10;
/// Bytes that stand before an object, or before a list, at most as a rule.
const HEAD: usize = 256;

pub(super) async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut show = Show::of(call, Shown::List)?;
    let encoding = show.encoding;
    let options = ListOptions::read(&call.query, call.resource.scope, call.version())?;
    let moment = Moment::of(&options, options.limit.is_some(), &call.place.namespace)?;
    let query = ListQuery {
        selection: options.selection(&call.place.namespace),
        at: moment.at,
        after: moment.after.clone(),
        limit: options.limit,
    };
    let content = match options.limit {
        Some(_) => Content::Json(page(call, &mut show, &query, &moment).await?),
        None => Content::Coming(whole(call, show, &query, &moment).await?),
    };
    Ok(Answer::new(http::StatusCode::OK, content).encoded(encoding))
}

/// Which moment a list shows, and behind which key it begins.
pub(super) struct Moment {
    pub(super) at: At,
    pub(super) after: Option<Key>,
    /// It goes on behind a page of a revision.
    is_token: bool,
}

impl Moment {
    /// By the table of the API conventions on `resourceVersion` and `resourceVersionMatch`. Anything that may be old is the latest here.
    pub(super) fn of(options: &ListOptions, is_paged: bool, namespace: &str) -> Result<Self, Refusal> {
        let revision = options.resource_version.filter(|it| *it > 0);
        if let Some(token) = &options.go_on {
            if revision.is_some() {
                return Err(Refusal::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let go_on = GoOn::decode(token, namespace)?;
            let at = go_on.revision.map_or(At::Latest, At::Exactly);
            return Ok(Self { at, after: Some(go_on.after), is_token: true });
        }
        let at = match (revision, options.matching) {
            (None, _) => At::Latest,
            (Some(revision), Some(Match::Exact)) => At::Exactly(revision),
            (Some(revision), None) if is_paged => At::Exactly(revision),
            (Some(revision), _) => At::AtLeast(revision),
        };
        Ok(Self { at, after: None, is_token: false })
    }

    pub(super) fn refusal(&self, call: &Call, verb: Verb, error: &StoreError) -> Refusal {
        let StoreError::Expired { .. } = error else { return call.refusal(verb, error) };
        match &self.after {
            Some(after) if self.is_token => {
                let go_on = GoOn { revision: None, after: after.clone() };
                Refusal::expired(EXPIRED_TOKEN, Some(go_on.encode(&call.place.namespace)))
            }
            _ => Refusal::expired("The resourceVersion for the provided list is too old.", None),
        }
    }
}

const EXPIRED_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
    without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with \
    the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk \
    was returned and now may show up in the list.";

async fn page(call: &Call, show: &mut Show, query: &ListQuery, moment: &Moment) -> Result<Vec<u8>, Refusal> {
    let page = call.timed("page", call.server.store.packed_page(&call.id(), query)).await;
    let page = page.map_err(|error| moment.refusal(call, Verb::List, &error))?;
    let heading = heading(&page, &call.place.namespace);
    let lengths = page.items.iter().map(|it| it.length().map_or(0, |it| it + HEAD));
    let mut json = Vec::with_capacity(lengths.sum::<usize>() + HEAD);
    show.begin(&heading, &mut json);
    for (at, item) in page.items.iter().enumerate() {
        show.item(item, at == 0, &mut json)?;
    }
    show.end(&mut json);
    Ok(json)
}

/// What is said of a page: where the next one begins, if there is one.
pub(super) fn heading<T>(page: &Page<T>, namespace: &str) -> Heading {
    let next = page.next.clone().map(|after| GoOn { revision: Some(page.revision), after });
    Heading { revision: page.revision, go_on: next.map(|it| it.encode(namespace)), remaining: page.remaining }
}

/// Everything there is, as it comes.
async fn whole(call: &Call, show: Show, query: &ListQuery, moment: &Moment) -> Result<Pieces, Refusal> {
    let list = call.timed("list", call.server.store.list(&call.id(), query)).await;
    let list = list.map_err(|error| moment.refusal(call, Verb::List, &error))?;
    let heading = Heading { revision: list.revision, go_on: None, remaining: None };
    let mut piece = Vec::with_capacity(PIECE + (16 << 10));
    show.begin(&heading, &mut piece);
    let refusal = Refusal::store_is_away(&call.resource, Verb::List);
    let coming = Coming { show, list, piece, is_first: true, refusal };
    Ok(Box::pin(stream::unfold(Some(coming), next)))
}

/// A list on its way.
struct Coming {
    show: Show,
    list: List,
    piece: Vec<u8>,
    is_first: bool,
    /// What is said should it break off.
    refusal: Refusal,
}

type Next = Option<(Result<bytes::Bytes, BodyError>, Option<Coming>)>;

async fn next(coming: Option<Coming>) -> Next {
    let mut coming = coming?;
    match coming.fill().await {
        Ok(true) => {
            let piece = std::mem::replace(&mut coming.piece, Vec::with_capacity(PIECE + (16 << 10)));
            Some((Ok(piece.into()), Some(coming)))
        }
        Ok(false) => Some((Ok(coming.piece.into()), None)),
        Err(refusal) => Some((Err(BodyError(Box::new(refusal))), None)),
    }
}

impl Coming {
    /// Fills the piece; `false` at the end.
    async fn fill(&mut self) -> Result<bool, Refusal> {
        while self.piece.len() < PIECE {
            let item = self.list.next_packed().await.map_err(|error| {
                tracing::error!(%error, "a list broke off");
                self.refusal.clone()
            })?;
            let Some(item) = item else {
                self.show.end(&mut self.piece);
                return Ok(false);
            };
            self.show.item(&item, self.is_first, &mut self.piece)?;
            self.is_first = false;
        }
        Ok(true)
    }
}
