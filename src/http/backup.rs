//! `GET /backup` and `POST /restore`: the whole database as one SQLite file, compressed with zstd or plain.

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use http_body_util::BodyExt;
use larder_engine::BackupFile;
use larder_wire::{Error, Kind, Role, code};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

use super::error::Refusal;
use super::options;
use super::{App, caller_of, read};

const PLAIN: &str = "application/vnd.sqlite3";
const COMPRESSED: &str = "application/vnd.sqlite3+zstd";
const CHUNK: usize = 256 << 10;
/// Fast, and about as small as the higher levels on a database.
const LEVEL: i32 = 3;

/// Copies the database and sends the copy. The copy is whole before the first byte is sent.
pub(super) async fn backup(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    caller_of(&request).require(Role::Admin)?;
    let compressed = wants_compression(request.uri().query().unwrap_or_default())?;
    let copy = app.engine.back_up().await?;
    let (seq, bytes) = (copy.seq(), copy.bytes());
    let (sender, parts) = mpsc::channel(2);
    let stall = app.limits.stall_timeout.0;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let outlet = Outlet { sender, runtime, stall };
        if let Err(error) = send(&copy, compressed, outlet) {
            tracing::warn!(%error, "a backup was not read to its end");
        }
    });
    let stream =
        futures_util::stream::unfold(parts, |mut parts: mpsc::Receiver<io::Result<Bytes>>| async move {
            let part = parts.recv().await?;
            Some((part.map(Frame::data), parts))
        });
    let body = Body::new(http_body_util::StreamBody::new(stream));
    let mut response = read::with_media_type(body, if compressed { COMPRESSED } else { PLAIN });
    let headers = response.headers_mut();
    headers.insert("larder-seq", seq.into());
    headers.insert("larder-database-bytes", bytes.into());
    if !compressed {
        headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    Ok(response)
}

fn wants_compression(query: &str) -> Result<bool, Error> {
    let mut compressed = true;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        compressed = match (&*name, &*value) {
            ("compress", "zstd") => true,
            ("compress", "none") => false,
            _ => {
                return Err(options::invalid(format!(
                    "{name}={value:?}: expected compress=zstd or compress=none"
                )));
            }
        };
    }
    Ok(compressed)
}

/// Reads the copy into the channel; what fails breaks the transfer off.
fn send(copy: &BackupFile, compressed: bool, mut outlet: Outlet) -> io::Result<()> {
    let result = copy_into(copy.path(), compressed, &mut outlet);
    if let Err(error) = &result {
        let _ = outlet.send(Err(io::Error::new(error.kind(), "the backup broke off")));
    }
    result
}

fn copy_into(path: &Path, compressed: bool, outlet: &mut Outlet) -> io::Result<()> {
    let mut file = File::open(path)?;
    if compressed {
        let mut encoder =
            zstd::stream::write::Encoder::new(io::BufWriter::with_capacity(CHUNK, outlet), LEVEL)?;
        // SQLite's own check does not see a damaged value; this one does.
        encoder.include_checksum(true)?;
        io::copy(&mut file, &mut encoder)?;
        return encoder.finish()?.flush();
    }
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            length => outlet.write_all(&buffer[..length])?,
        }
    }
}

/// Writes into a channel and gives up on a reader that stalls.
struct Outlet {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: tokio::runtime::Handle,
    stall: Duration,
}

impl Outlet {
    fn send(&self, part: io::Result<Bytes>) -> io::Result<()> {
        let sent =
            self.runtime.block_on(async { tokio::time::timeout(self.stall, self.sender.send(part)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader stalled")),
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Ok(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes an uploaded database file, checks it, and puts it in the place of the open one, which stays under another name.
pub(super) async fn restore(State(app): State<Arc<App>>, request: HttpRequest) -> Result<Response, Refusal> {
    let caller = caller_of(&request);
    caller.require(Role::Admin)?;
    let (parts, body) = request.into_parts();
    let upload = Upload(app.engine.upload_path());
    receive(&parts.headers, body, &upload.0, app.limits.stall_timeout.0).await?;
    let (engine, path) = (Arc::clone(&app.engine), upload.0.clone());
    let checked = tokio::task::spawn_blocking(move || engine.check_restore(&path)).await;
    checked.map_err(|error| disk_failed(&io::Error::other(error)))??;
    let kept = app.engine.restore(upload.0.clone()).await?;
    tracing::warn!(by = %caller.name, kept = %kept.display(), "the database was replaced by a restored one");
    let kept = kept.file_name().unwrap_or_default().to_string_lossy();
    let answer = serde_json::json!({ "restored": true, "kept": kept, "seq": app.engine.status().seq });
    Ok(axum::Json(answer).into_response())
}

/// An uploaded file; removed when this is dropped, unless it has become the database.
struct Upload(PathBuf);

impl Drop for Upload {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes the body to a file as it comes. The disk is its limit; it may stall no longer than any other body's reader.
async fn receive(headers: &HeaderMap, mut body: Body, path: &Path, stall: Duration) -> Result<(), Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| disk_failed(&error))?;
    let (sender, mut parts) = mpsc::channel::<Bytes>(4);
    let encoding = headers.get(header::CONTENT_ENCODING).cloned();
    let writer = tokio::task::spawn_blocking(move || {
        let mut inlet =
            Inlet { parts: std::iter::from_fn(move || parts.blocking_recv()), rest: Bytes::new() };
        write_file(file, &mut inlet, encoding.as_ref())
    });
    let mut broken = None;
    loop {
        let frame = match tokio::time::timeout(stall, body.frame()).await {
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(|error| format!("the upload broke off: {error}")),
            Err(_) => Err(format!("the upload stalled for {} s", stall.as_secs())),
        };
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                if sender.send(data).await.is_err() {
                    break;
                }
            }
            Ok(Err(_)) => {}
            Err(message) => {
                broken = Some(message);
                break;
            }
        }
    }
    drop(sender);
    let written = writer.await.map_err(|error| disk_failed(&io::Error::other(error)))?;
    match (broken, written) {
        (Some(message), _) => Err(Error::new(Kind::Invalid, code::BODY_MALFORMED, message)),
        (None, written) => written,
    }
}

/// The first bytes of every zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn write_file(
    mut file: File,
    inlet: &mut (impl Read + Peek),
    encoding: Option<&HeaderValue>,
) -> Result<(), Error> {
    let refused = |message: String| Error::new(Kind::Invalid, code::RESTORE_REFUSED, message);
    let encoding = encoding.map(|it| it.to_str().unwrap_or_default().to_ascii_lowercase());
    let compressed = match encoding.as_deref() {
        Some("zstd") => true,
        None | Some("identity") => inlet.peek().starts_with(&ZSTD_MAGIC),
        Some(other) => return Err(refused(format!("Content-Encoding {other:?}: use zstd or none"))),
    };
    let copied = if compressed {
        zstd::stream::read::Decoder::new(inlet).and_then(|mut decoder| io::copy(&mut decoder, &mut file))
    } else {
        io::copy(inlet, &mut file)
    };
    match copied {
        Ok(0) => Err(refused("the upload is empty".to_owned())),
        Ok(_) => Ok(()),
        Err(error) if is_full(&error) => Err(disk_failed(&error)),
        Err(error) => Err(refused(format!("the upload cannot be read: {error}"))),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn disk_failed(error: &io::Error) -> Error {
    if is_full(error) {
        let message = "the disk is full: the upload does not fit beside the database";
        return Error::new(Kind::Full, "SQLITE_FULL", message).retryable();
    }
    Error::new(Kind::Internal, code::INTERNAL, format!("the upload cannot be kept: {error}"))
}

/// Looks at what comes next without taking it.
trait Peek {
    fn peek(&mut self) -> &[u8];
}

/// Reads the parts of a body as they come.
struct Inlet<I> {
    parts: I,
    rest: Bytes,
}

impl<I: Iterator<Item = Bytes>> Peek for Inlet<I> {
    fn peek(&mut self) -> &[u8] {
        while self.rest.is_empty() {
            match self.parts.next() {
                Some(part) => self.rest = part,
                None => break,
            }
        }
        &self.rest
    }
}

impl<I: Iterator<Item = Bytes>> Read for Inlet<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.peek().len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
