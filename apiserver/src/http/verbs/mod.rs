//! The verbs: one handler each, for every resource.
//!
//! A handler reads its options, then the store, and makes an answer. What is written goes on in a task of its own once it has begun: a caller that
//! leaves does not leave half of it behind.

mod collection;
mod create;
mod delete;
mod get;
mod list;
mod patch;
mod received;
mod token;
mod update;
mod watch;
mod write;

use axum::body::Body;

use super::answer::Answer;
use super::call::Call;
use super::status::Refusal;
use crate::auth::Verb;

/// Does what is asked for.
pub(super) async fn run(verb: Verb, call: Call, body: Body) -> Result<Answer, Refusal> {
    match verb {
        Verb::Get => get::get(&call).await,
        Verb::List => list::list(&call).await,
        Verb::Watch => watch::watch(&call).await,
        Verb::Create => create::create(call, body).await,
        Verb::Update => update::update(call, body).await,
        Verb::Patch => patch::patch(call, body).await,
        Verb::Delete => delete::delete(call, body).await,
        Verb::DeleteCollection => collection::delete(call, body).await,
    }
}

/// Runs to its end, whether its caller waits or not.
async fn detached<T: Send + 'static>(
    write: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(write).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a write has failed");
        Err(Refusal::internal("the write was not handled to its end"))
    })
}
