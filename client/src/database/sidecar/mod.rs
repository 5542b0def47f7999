//! The sidecar over HTTP with mutual TLS.
//!
//! A [`Sidecar`] sends calls and reads answers; [`endpoint`] and [`credentials`] say where and as whom,
//! [`connection`] keeps connections, [`answer`] and [`rows`] read piece by piece. Nothing is repeated that
//! could be done twice: a write goes out again only under an idempotency key, or if none of it was sent. [`database`] is
//! the sidecar as one database among others, which gives such keys and repeats what [`retry`] allows.

mod answer;
mod boundary;
mod connection;
mod credentials;
mod database;
mod endpoint;
mod error;
mod retry;
mod rows;
mod upload;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use larder_wire::{Description, JSON, MSGPACK, MSGPACK_STREAM, Request, Response};
use tokio::io::AsyncRead;

pub use answer::Answer;
pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use error::{Error, Reason};
pub use retry::Retry;
pub use rows::{Event, RowStream};

use connection::{Body, Connections};
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
    connections: Arc<Connections>,
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
        if !endpoint.is_encrypted() {
            return Err(Error::Endpoint { url: endpoint.to_string(), reason: "it takes no credentials" });
        }
        Ok(Self { connections: Connections::new(endpoint, Some(credentials)), options: Options::default() })
    }

    /// A sidecar that runs without TLS on this machine, as a developer starts it.
    ///
    /// # Errors
    /// The endpoint is an encrypted one and needs credentials.
    pub fn plain(endpoint: Endpoint) -> Result<Self, Error> {
        if endpoint.is_encrypted() {
            return Err(Error::Endpoint { url: endpoint.to_string(), reason: "it needs credentials" });
        }
        Ok(Self { connections: Connections::new(endpoint, None), options: Options::default() })
    }

    /// The same sidecar, called with these options.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.connections.endpoint()
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
        let connection = self.connect().await?;
        let mut request = self.request(&post(path), &connection)?;
        *request.body_mut() = Upload::new(reader, length).boxed_unsync();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let response = connection.send(request, &self.connections).await.map_err(|error| {
            let error = error.into_error();
            self.unanswered(Reason::of(&error))
        })?;
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
        let body = rmp_serde::to_vec_named(request).map_err(|error| Error::Body(io::Error::other(error)))?;
        let content = self.content(MSGPACK, body)?;
        let repeatable = operation == Operation::Query;
        Ok(Call { accept, content: Some(content), repeatable, ..post(operation.path()) })
    }

    fn content(&self, media_type: &'static str, body: Vec<u8>) -> Result<Content, Error> {
        let compress = body.len() >= self.options.compress_from && !self.endpoint().is_loopback();
        Content::new(media_type, body, compress)
    }

    async fn connect(&self) -> Result<connection::Connection, Error> {
        let connection = self.connections.get(self.options.connect).await;
        connection.map_err(|reason| Error::Unreachable { endpoint: self.endpoint().clone(), reason })
    }

    /// Sends a call, and sends it once more if the connection had gone stale and nothing can be done twice.
    async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let mut again = true;
        loop {
            let connection = self.connect().await?;
            let may_be_stale = connection.reused;
            let request = self.request(&call, &connection)?;
            let sent = connection.send(request, &self.connections);
            let Ok(sent) = tokio::time::timeout(self.options.answer, sent).await else {
                return Err(self.unanswered(Reason::Timeout(self.options.answer)));
            };
            let mut failure = match sent {
                Ok(response) => return self.check(response).await,
                Err(failure) => failure,
            };
            let untouched = failure.take_message().is_some();
            let repeat = again && may_be_stale && (untouched || call.repeatable);
            if !repeat {
                let reason = Reason::of(failure.error());
                return Err(if untouched || matches!(reason, Reason::Tls(_)) {
                    Error::Unreachable { endpoint: self.endpoint().clone(), reason }
                } else {
                    self.unanswered(reason)
                });
            }
            again = false;
        }
    }

    async fn check(&self, response: http::Response<Incoming>) -> Result<Answer, Error> {
        Answer::check(response, self.endpoint(), self.options.idle).await
    }

    fn unanswered(&self, reason: Reason) -> Error {
        Error::Unanswered { endpoint: self.endpoint().clone(), reason }
    }

    /// The request of a call, as the connection's protocol wants it.
    fn request(
        &self,
        call: &Call<'_>,
        connection: &connection::Connection,
    ) -> Result<http::Request<Body>, Error> {
        let mut builder = http::Request::builder()
            .method(call.method.clone())
            .header(header::USER_AGENT, concat!("larder/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, call.accept);
        builder = if connection.is_http2() {
            builder.uri(format!("{}{}", self.endpoint(), call.path)).version(http::Version::HTTP_2)
        } else {
            builder.uri(call.path).header(header::HOST, self.endpoint().authority())
        };
        if let Some(key) = call.key {
            builder = builder.header("idempotency-key", key);
        }
        let mut body = Bytes::new();
        if let Some(content) = &call.content {
            builder = builder.header(header::CONTENT_TYPE, content.media_type);
            if content.zstd {
                builder = builder.header(header::CONTENT_ENCODING, "zstd");
            }
            body = content.body.clone();
        }
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        builder.body(body).map_err(|error| Error::Body(io::Error::new(io::ErrorKind::InvalidInput, error)))
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
