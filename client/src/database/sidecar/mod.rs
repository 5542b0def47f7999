//! The sidecar over HTTP with mutual TLS.
//!
//! A [`Sidecar`] sends calls and reads answers; [`answer`], [`rows`] and [`row`] read piece by piece; connections are those of
//! [`crate::http`]. Nothing is repeated that could be done twice: a write goes out again only under an idempotency key,
//! or if none of it was sent. [`database`] is the sidecar as one database among others, which gives such keys and repeats what
//! [`retry`] allows.

mod answer;
mod boundary;
mod database;
mod error;
mod retry;
mod row;
mod rows;
mod upload;
mod watch;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use larder_wire::{Description, JSON, MSGPACK, MSGPACK_STREAM, Request, Response};
use tokio::io::AsyncRead;

pub use answer::Answer;
pub use error::Error;
pub use retry::Retry;
pub use rows::{Event, RowStream};

use crate::http::{self as calls, CallError, Caller, Credentials, Endpoint};
use upload::Upload;

/// How long to wait, and from which size on to compress.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For a connection, from the first packet to the end of the TLS handshake.
    pub connect: Duration,
    /// For the head of an answer, from when the request is sent.
    pub answer: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// Bodies from this size on are sent as zstd; on loopback none is.
    pub compress_from: usize,
    /// An answer that is read whole may be this long.
    pub answer_limit: usize,
    /// How often a [`Database`](crate::database::Database) sends again what may be sent again. The sidecar's own calls are not repeated.
    pub retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            compress_from: 16 << 10,
            answer_limit: 256 << 20,
            retry: Retry::default(),
        }
    }
}

/// Which of the two ways a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/query`: reads, all in one snapshot.
    Query,
    /// `/execute`: writes, atomic unless the request says otherwise.
    Execute,
}

impl Operation {
    fn path(self) -> &'static str {
        match self {
            Self::Query => "/query",
            Self::Execute => "/execute",
        }
    }
}

/// A sidecar that can be called. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub struct Sidecar {
    caller: Caller,
    options: Options,
}

/// A call before it has become a request, so that it can be sent again.
struct Call<'a> {
    method: Method,
    path: &'a str,
    accept: &'static str,
    content: Option<Content>,
    key: Option<&'a str>,
    /// Whether doing it twice is the same as doing it once.
    repeatable: bool,
}

#[derive(Clone)]
struct Content {
    media_type: &'static str,
    zstd: bool,
    body: Bytes,
}

impl Content {
    fn new(media_type: &'static str, body: Vec<u8>, zstd: bool) -> Result<Self, Error> {
        let body = if zstd {
            zstd::bulk::compress(&body, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(Error::Body)?
        } else {
            body
        };
        Ok(Self { media_type, zstd, body: body.into() })
    }
}

impl<'a> Call<'a> {
    fn new(method: Method, path: &'a str) -> Self {
        let repeatable = method == Method::GET;
        Self { method, path, accept: "*/*", content: None, key: None, repeatable }
    }
}

impl Sidecar {
    /// A sidecar at an `https` endpoint.
    ///
    /// # Errors
    /// The endpoint is a plain one: it takes no credentials, see [`Sidecar::plain`].
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Result<Self, Error> {
        Ok(Self { caller: Caller::new(endpoint, Some(credentials))?, options: Options::default() })
    }

    /// A sidecar that runs without TLS on this machine, as a developer starts it.
    ///
    /// # Errors
    /// The endpoint is an encrypted one and needs credentials.
    pub fn plain(endpoint: Endpoint) -> Result<Self, Error> {
        Ok(Self { caller: Caller::new(endpoint, None)?, options: Options::default() })
    }

    /// The same sidecar, called with these options.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.caller.endpoint()
    }

    /// How it is called.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Runs statements that write; all or nothing unless the request says otherwise.
    ///
    /// # Errors
    /// Any [`Error`]. After [`Error::Unanswered`] it is not known whether the write was done.
    pub async fn execute(&self, request: &Request) -> Result<Response, Error> {
        self.run(Operation::Execute, request, None).await
    }

    /// As [`Sidecar::execute`], under an idempotency key: the sidecar does it once however often it is sent, so
    /// it is sent again if the connection breaks.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn execute_once(&self, key: &str, request: &Request) -> Result<Response, Error> {
        self.run(Operation::Execute, request, Some(key)).await
    }

    /// Runs statements that read, all in one snapshot, and holds the whole answer.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn query(&self, request: &Request) -> Result<Response, Error> {
        self.run(Operation::Query, request, None).await
    }

    /// As [`Sidecar::query`], with the rows as they come.
    ///
    /// # Errors
    /// Any [`Error`]; one that occurs after the first row is told by [`RowStream::next`].
    pub async fn query_stream(&self, request: &Request) -> Result<RowStream, Error> {
        self.stream(Operation::Query, request).await
    }

    /// Runs statements and gives the answer as it comes.
    ///
    /// # Errors
    /// As for [`Sidecar::query_stream`].
    pub async fn stream(&self, operation: Operation, request: &Request) -> Result<RowStream, Error> {
        let answer = self.send(self.statements(operation, request, MSGPACK_STREAM)?).await?;
        expect_type(&answer, MSGPACK_STREAM)?;
        Ok(RowStream::new(answer))
    }

    /// Says for each statement what it needs, what it gives, and whether it only reads.
    ///
    /// # Errors
    /// Any [`Error`]; a statement that cannot be compiled refuses them all.
    pub async fn describe(&self, statements: &[&str]) -> Result<Vec<Description>, Error> {
        #[derive(serde::Deserialize)]
        struct Described {
            results: Vec<Description>,
        }
        let body = serde_json::to_vec(statements).map_err(|error| Error::Body(error.into()))?;
        let content = self.content(JSON, body)?;
        let call = Call { content: Some(content), accept: JSON, repeatable: true, ..post("/describe") };
        let body = self.send(call).await?.bytes(self.options.answer_limit).await?;
        let described: Described = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        Ok(described.results)
    }

    /// Fetches a path, query included, for whatever it answers.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.send(Call::new(Method::GET, path)).await
    }

    /// Posts a body of this media type.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn post(&self, path: &str, media_type: &'static str, body: Vec<u8>) -> Result<Answer, Error> {
        let content = self.content(media_type, body)?;
        self.send(Call { content: Some(content), ..post(path) }).await
    }

    /// Posts `length` bytes as they are read, and waits for the answer for as long as it takes.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn upload<R>(
        &self,
        path: &str,
        media_type: &'static str,
        reader: R,
        length: u64,
    ) -> Result<Answer, Error>
    where
        R: AsyncRead + Unpin + Send + 'static,
    {
        let mut call = self.call(post(path))?;
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let body = Upload::new(reader, length).boxed_unsync();
        let response = self.caller.stream(&call, body, self.options.connect).await;
        let response = response.map_err(|error| self.error(error))?;
        Answer::check(response, self.endpoint(), self.options.idle).await
    }

    /// Deletes what the path names: `/queries/{id}` cancels a running query.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn delete(&self, path: &str) -> Result<Answer, Error> {
        self.send(Call::new(Method::DELETE, path)).await
    }

    async fn run(
        &self,
        operation: Operation,
        request: &Request,
        key: Option<&str>,
    ) -> Result<Response, Error> {
        let mut call = self.statements(operation, request, MSGPACK)?;
        call.repeatable |= key.is_some();
        let answer = self.send(Call { key, ..call }).await?;
        expect_type(&answer, MSGPACK)?;
        let body = answer.bytes(self.options.answer_limit).await?;
        rmp_serde::from_slice(&body).map_err(|error| broken(&error))
    }

    fn statements(
        &self,
        operation: Operation,
        request: &Request,
        accept: &'static str,
    ) -> Result<Call<'static>, Error> {
        let mut body = Vec::with_capacity(request.length());
        rmp_serde::encode::write_named(&mut body, request)
            .map_err(|error| Error::Body(io::Error::other(error)))?;
        let content = self.content(MSGPACK, body)?;
        let repeatable = operation == Operation::Query;
        Ok(Call { accept, content: Some(content), repeatable, ..post(operation.path()) })
    }

    fn content(&self, media_type: &'static str, body: Vec<u8>) -> Result<Content, Error> {
        let compress = body.len() >= self.options.compress_from && !self.endpoint().is_loopback();
        Content::new(media_type, body, compress)
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let sent = self.caller.send(&self.call(call)?, self.options.connect, self.options.answer).await;
        let response: http::Response<Incoming> = sent.map_err(|error| self.error(error))?;
        Answer::check(response, self.endpoint(), self.options.idle).await
    }

    /// A call with everything that goes into its header.
    fn call(&self, call: Call<'_>) -> Result<calls::Call, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(call.accept));
        if let Some(key) = call.key {
            headers.insert("idempotency-key", HeaderValue::from_str(key).map_err(unsendable)?);
        }
        let mut body = Bytes::new();
        if let Some(content) = call.content {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content.media_type));
            if content.zstd {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
            }
            body = content.body;
        }
        let (method, path) = (call.method, call.path.to_owned());
        let long = call.accept == MSGPACK_STREAM;
        Ok(calls::Call { method, path, headers, body, repeatable: call.repeatable, long })
    }

    fn error(&self, error: CallError) -> Error {
        let endpoint = self.endpoint().clone();
        match error {
            CallError::Unreachable(reason) => Error::Unreachable { endpoint, reason },
            CallError::Unanswered(reason) => Error::Unanswered { endpoint, reason },
            CallError::TooLong => Error::Broken("it is longer than expected".to_owned()),
            CallError::Unsendable(error) => unsendable(error),
        }
    }
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sidecar").field(self.endpoint()).finish()
    }
}

fn post(path: &str) -> Call<'_> {
    Call::new(Method::POST, path)
}

fn expect_type(answer: &Answer, media_type: &str) -> Result<(), Error> {
    if answer.media_type() == media_type {
        return Ok(());
    }
    Err(Error::Broken(format!("it is {:?}, not {media_type}", answer.media_type())))
}

fn unsendable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Body(io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_body_holds_what_was_given() {
        let body = b"report ".repeat(10_000);
        let content = Content::new(MSGPACK, body.clone(), true).expect("compresses");
        assert!(content.zstd && content.body.len() < body.len() / 10);
        assert_eq!(zstd::bulk::decompress(&content.body, body.len()).expect("is zstd"), body);
    }
}
