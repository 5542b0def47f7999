//! The sidecar as a [`Database`]. Reads are sent again if they fail on the way; so are writes, each under an idempotency key of its own, so
//! that the sidecar does once what it is sent twice.

use async_trait::async_trait;
use larder_wire::{Request, Response, Value};

use super::retry::fresh_key;
use super::watch::Watch;
use super::{Event, RowStream, Sidecar};
use crate::database::{Changes, Database, DatabaseError, Rows};

#[async_trait]
impl Database for Sidecar {
    async fn execute(&self, request: &Request) -> Result<Response, DatabaseError> {
        let key = fresh_key();
        Ok(self.options.retry.run(|| self.execute_once(&key, request)).await?)
    }

    async fn query(&self, request: &Request) -> Result<Response, DatabaseError> {
        Ok(self.options.retry.run(|| Self::query(self, request)).await?)
    }

    async fn stream(&self, request: &Request) -> Result<Box<dyn Rows>, DatabaseError> {
        let stream = self.options.retry.run(|| self.query_stream(request)).await?;
        Ok(Box::new(SidecarRows(stream)))
    }

    async fn changes(&self, from: Option<u64>) -> Result<Box<dyn Changes>, DatabaseError> {
        let path = from.map_or_else(|| "/watch".to_owned(), |seq| format!("/watch?from={seq}"));
        let answer = self.options.retry.run(|| self.get(&path)).await?;
        Ok(Box::new(Watch::begin(answer).await?))
    }
}

struct SidecarRows(RowStream);

#[async_trait]
impl Rows for SidecarRows {
    async fn next(&mut self) -> Result<Option<Vec<Value>>, DatabaseError> {
        loop {
            match self.0.next().await? {
                Some(Event::Row(row)) => return Ok(Some(row)),
                Some(Event::Failed(error)) => return Err(DatabaseError::refused(error)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}
