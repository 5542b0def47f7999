//! `GET …/NAME`.

use crate::auth::Verb;
use crate::http::answer::Answer;
use crate::http::call::Call;
use crate::http::options::revision;
use crate::http::show::Show;
use crate::http::status::Refusal;
use crate::present::accept::Shown;

pub(super) async fn get(call: &Call) -> Result<Answer, Refusal> {
    let show = Show::of(call, Shown::One)?;
    let asked = call.query.set("resourceVersion").map(revision).transpose()?.unwrap_or(0);
    if asked > 0 {
        let reached = call.timed("wait", call.server.store.wait_for(asked)).await;
        reached.map_err(|error| call.refusal(Verb::Get, &error))?;
    }
    let found = call.timed("get", call.server.store.get(&call.id(), &call.key())).await;
    let found = found.map_err(|error| call.refusal(Verb::Get, &error))?;
    let stored = found.ok_or_else(|| Refusal::not_found(&call.resource, &call.place.name))?;
    Ok(Answer::json(show.one(&stored)?).encoded(show.encoding))
}
