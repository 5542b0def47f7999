//! patch
use axum::body::Body;
use crate::http::{answer::Answer, call::Call, status::Refusal};
pub(super) async fn patch(_: Call, _: Body) -> Result<Answer, Refusal> { Err(Refusal::timeout()) }
