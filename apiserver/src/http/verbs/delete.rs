//! delete
use axum::body::Body;
use crate::http::{answer::Answer, call::Call, status::Refusal};
pub(super) async fn delete(_: Call, _: Body) -> Result<Answer, Refusal> { Err(Refusal::timeout()) }
