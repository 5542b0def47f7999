//! HTTP calls, whoever answers them: to the sidecar, to Consul, to etcd.
//!
//! [`endpoint`] and [`credentials`] say where and as whom, [`connection`] keeps connections, which are read as [`filling`] says, [`reason`] says what stood in
//! the way, and [`telling`] lets the other side say it. A [`Caller`] sends a call and sends it once more if the connection had gone stale and nothing can be done
//! twice. What an answer means is for the room that called.

mod connection;
mod credentials;
mod endpoint;
mod filling;
mod reason;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use connection::Body;
pub use credentials::{Credentials, CredentialsError};
pub use endpoint::{Endpoint, EndpointError};
pub use reason::Reason;

use connection::{Connection, Connections};

/// A call before it has become a request, so that it can be sent again.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path with its query, as it stands in the request.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether doing it twice is the same as doing it once.
    pub(crate) repeatable: bool,
    /// Whether its answer may be long: then it gets a connection of its own.
    pub(crate) long: bool,
}

impl Call {
    /// A call without a body. What reads may be repeated.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let (repeatable, path) = (method == Method::GET, path.into());
        Self { method, path, headers: HeaderMap::new(), body: Bytes::new(), repeatable, long: false }
    }
}

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How long to wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, from the first packet to the end of the TLS handshake.
    pub connect: Duration,
    /// For a call as a whole, the connection and the last byte of the answer included.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), answer: Duration::from_secs(10) }
    }
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No connection came about: nothing was done.
    Unreachable(Reason),
    /// The request was sent, or part of it.
    Unanswered(Reason),
    /// The answer is longer than the caller takes.
    TooLong,
    /// It cannot be put into a request.
    Unsendable(http::Error),
}

/// Calls that are under way at one time, of those that are read whole: servers count a client's connections, Consul to 200.
const CALLS: usize = 64;

/// One endpoint that can be called. Cloning is cheap and shares the connections.
#[derive(Clone)]
pub(crate) struct Caller {
    connections: Arc<Connections>,
    calls: Arc<Semaphore>,
}

impl Caller {
    /// Whether there are credentials has to fit to the endpoint, so that nothing goes unencrypted by mistake.
    pub(crate) fn new(endpoint: Endpoint, credentials: Option<Credentials>) -> Result<Self, EndpointError> {
        let reason = match (endpoint.is_encrypted(), &credentials) {
            (true, None) => "it needs credentials",
            (false, Some(_)) => "it takes no credentials",
            _ => {
                let connections = Connections::new(endpoint, credentials);
                return Ok(Self { connections, calls: Arc::new(Semaphore::new(CALLS)) });
            }
        };
        Err(EndpointError { url: endpoint.to_string(), reason })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.connections.endpoint()
    }

    /// Sends a call and waits for the head of its answer: `connect` for a connection, then `answer`.
    pub(crate) async fn send(
        &self,
        call: &Call,
        connect: Duration,
        answer: Duration,
    ) -> Result<Response<Incoming>, CallError> {
        let mut again = true;
        loop {
            let connection = match call.long {
                true => self.connections.get_for_long(connect).await.map_err(CallError::Unreachable)?,
                false => self.connect(connect).await?,
            };
            let may_be_stale = connection.reused;
            let body = Full::new(call.body.clone()).map_err(|never| match never {}).boxed_unsync();
            let request = self.request(call, body, &connection)?;
            let Ok(sent) = timeout(answer, connection.send(request, &self.connections)).await else {
                return Err(CallError::Unanswered(Reason::Timeout(answer)));
            };
            let mut failure = match sent {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let untouched = failure.take_message().is_some();
            let repeat = again && may_be_stale && (untouched || call.repeatable);
            if !repeat {
                let reason = Reason::of(failure.error());
                let unreachable = untouched || matches!(reason, Reason::Tls(_));
                let error = if unreachable { CallError::Unreachable } else { CallError::Unanswered };
                return Err(error(reason));
            }
            self.connections.forget();
            again = false;
        }
    }

    /// Sends a call with a body that is read on the way, once, and waits for the answer for as long as it takes.
    pub(crate) async fn stream(
        &self,
        call: &Call,
        body: Body,
        connect: Duration,
    ) -> Result<Response<Incoming>, CallError> {
        let connection = self.connect(connect).await?;
        let request = self.request(call, body, &connection)?;
        let sent = connection.send(request, &self.connections).await;
        sent.map_err(|error| CallError::Unanswered(Reason::of(&error.into_error())))
    }

    /// Sends a call and reads its whole answer, `limit` bytes at most.
    pub(crate) async fn fetch(
        &self,
        call: &Call,
        timeouts: Timeouts,
        limit: usize,
    ) -> Result<Reply, CallError> {
        let patience = timeouts.answer;
        let deadline = Instant::now() + patience;
        let turn = timeout_at(deadline, self.calls.acquire()).await;
        let _turn = turn.map_err(|_| CallError::Unreachable(Reason::Timeout(patience)))?;
        let response = self.send(call, timeouts.connect.min(patience), patience);
        let late = |_| CallError::Unanswered(Reason::Timeout(patience));
        let (head, body) = timeout_at(deadline, response).await.map_err(late)??.into_parts();
        let body = timeout_at(deadline, read(body, limit)).await.map_err(late)??;
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    async fn connect(&self, limit: Duration) -> Result<Connection, CallError> {
        self.connections.get(limit).await.map_err(CallError::Unreachable)
    }

    /// The request of a call, as the connection's protocol wants it.
    fn request(&self, call: &Call, body: Body, connection: &Connection) -> Result<Request<Body>, CallError> {
        let mut builder = Request::builder()
            .method(call.method.clone())
            .header(header::USER_AGENT, concat!("larder/", env!("CARGO_PKG_VERSION")));
        builder = if connection.is_http2() {
            builder.uri(format!("{}{}", self.endpoint(), call.path)).version(http::Version::HTTP_2)
        } else {
            builder.uri(&call.path).header(header::HOST, self.endpoint().authority())
        };
        let mut request = builder.body(body).map_err(CallError::Unsendable)?;
        request.headers_mut().extend(call.headers.clone());
        Ok(request)
    }
}

/// The whole body, if it is no longer than `limit`.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, CallError> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(CallError::TooLong);
    }
    let mut all = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Unanswered(Reason::of(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limit {
            return Err(CallError::TooLong);
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// A text as a part of a path or a query: everything but letters, digits and `-._~` becomes `%XX`. Slashes stay.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(byte.into());
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                escaped.push('%');
                escaped.push(DIGITS[usize::from(byte >> 4)].into());
                escaped.push(DIGITS[usize::from(byte & 15)].into());
            }
        }
    }
    escaped
}
