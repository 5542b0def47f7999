//! Reading bodies: bounded in length before and after decompression, in time, and in the memory of all together.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use larder_wire::{Error, Kind, Request, code};
use std::io::Read;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits that all bodies share.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    longest: usize,
    timeout: Duration,
    /// What `memory` was at the start.
    units: usize,
    /// In units of [`UNIT`] bytes.
    memory: Arc<Semaphore>,
}

const UNIT: usize = 1024;
/// How long the rest of a body that is too long is read.
const LINGER: Duration = Duration::from_secs(1);

/// A body in memory, and what was made of it; it counts until this is dropped.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(super) fn new(longest: u64, memory: u64, timeout: Duration) -> Self {
        let length = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let units = (length(memory) / UNIT).min(Semaphore::MAX_PERMITS);
        Self { longest: length(longest), timeout, units, memory: Arc::new(Semaphore::new(units)) }
    }

    /// Reads a whole body and what it asks for. Both count until the second is dropped.
    pub(super) async fn request(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Request, Received), Error> {
        let received = self.receive(headers, body).await?;
        let request = parse(headers, &received.bytes)?;
        self.charge_for(request, received)
    }

    /// Counts what a request takes besides its body: a value of two bytes becomes one of a dozen words.
    pub(super) fn charge_for(
        &self,
        request: Request,
        mut received: Received,
    ) -> Result<(Request, Received), Error> {
        received.charge(self, request.structure_bytes())?;
        Ok((request, received))
    }

    /// Reads a whole body and undoes its `Content-Encoding`.
    pub(super) async fn receive(&self, headers: &HeaderMap, mut body: Body) -> Result<Received, Error> {
        let declared = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
        if declared > self.longest {
            self.discard(&mut body).await;
            return Err(self.too_long());
        }
        let mut collecting = std::pin::pin!(self.collect(body, declared));
        // Most bodies have come with their head, and need no timer.
        let received = match futures_util::poll!(&mut collecting) {
            Poll::Ready(received) => received?,
            Poll::Pending => {
                tokio::time::timeout(self.timeout, collecting).await.map_err(|_| self.too_slow())??
            }
        };
        match headers.get(header::CONTENT_ENCODING) {
            None => Ok(received),
            Some(encoding) => self.decode(encoding.as_bytes(), received),
        }
    }

    async fn collect(&self, mut body: Body, declared: usize) -> Result<Received, Error> {
        let mut received = Received { bytes: Bytes::new(), _memory: None };
        let mut parts = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if received.bytes.len() + parts.len() + data.len() > self.longest {
                self.discard(&mut body).await;
                return Err(self.too_long());
            }
            received.charge(self, data.len())?;
            // Most bodies come in one piece, which is taken as it is.
            if received.bytes.is_empty() && parts.is_empty() {
                received.bytes = data;
                continue;
            }
            if parts.is_empty() {
                // What is announced has room at once, and takes memory as it comes.
                parts.reserve(declared.min(self.longest));
                parts.extend_from_slice(&std::mem::take(&mut received.bytes));
            }
            parts.extend_from_slice(&data);
        }
        if !parts.is_empty() {
            received.bytes = parts.freeze();
        }
        Ok(received)
    }

    /// Reads on for a moment: a client that still sends when the connection is closed may never see the answer.
    async fn discard(&self, body: &mut Body) {
        let mut left = self.longest;
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // Whoever sends more, or more slowly, is cut off.
        let _ = tokio::time::timeout(LINGER, reading).await;
    }

    fn decode(&self, encoding: &[u8], mut received: Received) -> Result<Received, Error> {
        let compressed = std::mem::take(&mut received.bytes);
        let mut decoded = Vec::new();
        // One byte more than allowed tells a body that is too long from one that just fits.
        let limit = self.longest as u64 + 1;
        let read = match encoding.to_ascii_lowercase().as_slice() {
            b"identity" => {
                received.bytes = compressed;
                return Ok(received);
            }
            b"zstd" => zstd::stream::read::Decoder::with_buffer(&compressed[..]).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                decoder.take(limit).read_to_end(&mut decoded)
            }),
            b"gzip" => {
                flate2::read::MultiGzDecoder::new(&compressed[..]).take(limit).read_to_end(&mut decoded)
            }
            other => {
                let message = format!(
                    "Content-Encoding {:?} is not supported: use zstd, gzip or identity",
                    String::from_utf8_lossy(other)
                );
                return Err(Error::new(Kind::MediaType, code::MEDIA_TYPE_UNSUPPORTED, message));
            }
        };
        if decoded.len() > self.longest {
            return Err(self.too_long());
        }
        read.map_err(|error| malformed(format!("the body cannot be decompressed: {error}")))?;
        received.charge(self, decoded.len())?;
        received.bytes = decoded.into();
        Ok(received)
    }

    fn too_slow(&self) -> Error {
        let message = format!("the body did not arrive within {} s", self.timeout.as_secs());
        Error::new(Kind::Deadline, code::BODY_TIMEOUT, message).retryable()
    }

    fn too_long(&self) -> Error {
        let message = format!("the body is longer than {} bytes", self.longest);
        Error::new(Kind::TooLarge, code::BODY_TOO_LARGE, message)
    }
}

/// 8 MiB, what every compressor stays within unless it is told otherwise (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

impl Received {
    fn charge(&mut self, bodies: &Bodies, bytes: usize) -> Result<(), Error> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held = self._memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if held + units as usize > bodies.units {
            let message = "the request takes more memory than there is for all: send it in parts";
            return Err(Error::new(Kind::TooLarge, code::BODY_TOO_LARGE, message));
        }
        let permit = Arc::clone(&bodies.memory).try_acquire_many_owned(units).map_err(|_| {
            let message = "the bodies of other requests fill the memory for bodies";
            Error::new(Kind::Busy, code::QUEUE_FULL, message).retryable()
        })?;
        match &mut self._memory {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

fn broken(error: &axum::Error) -> Error {
    malformed(format!("the body broke off: {error}"))
}

fn malformed(message: String) -> Error {
    Error::new(Kind::Invalid, code::BODY_MALFORMED, message)
}

/// The form that a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Msgpack,
    Text,
}

/// Reads a request in the form that its `Content-Type` names.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Request, Error> {
    let request = match form(headers, body)? {
        Form::Json => Request::from_json(body),
        Form::Msgpack => Request::from_msgpack(body),
        Form::Text => Request::from_text(body),
    };
    request.map_err(Error::from)
}

/// What `curl -d` calls a form, and what comes without a name, is looked at: JSON begins with a bracket.
pub(super) fn form(headers: &HeaderMap, body: &[u8]) -> Result<Form, Error> {
    let Some(name) = headers.get(header::CONTENT_TYPE) else { return Ok(guess(body)) };
    let name = name.to_str().unwrap_or_default();
    let essence = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Form::Json),
        larder_wire::MSGPACK | "application/msgpack" | "application/x-msgpack" => Ok(Form::Msgpack),
        "text/plain" | "application/sql" => Ok(Form::Text),
        "" | "application/x-www-form-urlencoded" => Ok(guess(body)),
        _ => {
            let message = format!(
                "Content-Type {name:?} is not supported: use application/json, {} or text/plain",
                larder_wire::MSGPACK
            );
            Err(Error::new(Kind::MediaType, code::MEDIA_TYPE_UNSUPPORTED, message))
        }
    }
}

fn guess(body: &[u8]) -> Form {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => Form::Json,
        _ => Form::Text,
    }
}
