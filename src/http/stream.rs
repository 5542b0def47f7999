//! From the thread that steps through rows to the connection of the one who reads them.
//!
//! Rows are encoded into a buffer. An answer that fits into one buffer is sent whole, with its length and with the
//! status that it deserves. A longer one is streamed through a channel of two buffers; a reader that does not
//! empty it in time loses the read, so that its snapshot does not keep the log growing. An answer that cannot be
//! finished says why where its format has a place for it, and its transfer is broken off, so that nobody takes it
//! for whole.

use bytes::Bytes;
use http_body::Frame;
use larder_engine::{ActiveQuery, Phase, ReadSink, ReadSummary, SinkClosed, StopReason};
use larder_wire::encode::{Encoder, Trailer};
use larder_wire::{Column, Error, Kind, Row, code};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What is known of an answer before its first byte is sent.
pub(super) enum Head {
    /// It is all there.
    Whole(Vec<u8>),
    /// It goes on.
    Streaming(Streaming),
    /// It is an error.
    Failed(Error),
}

/// Buffers in the channel; with the one being filled and the one being sent, an answer holds four.
const CHANNEL: usize = 2;
/// What the first buffer holds at once: most rows fit.
const FIRST: usize = 8 << 10;
/// Places in the channel that rows never take: for what is left to say at the end, and for the end. So nobody waits to
/// say why an answer broke off, however slow its reader is.
const LAST_WORDS: usize = 2;
/// Length from which on an answer is streamed.
const WHOLE: usize = 64 << 10;
/// Length at which a buffer is sent. Each wakes whoever sends and whoever reads, which takes as long as some ten KiB.
const CHUNK: usize = 128 << 10;

enum Part {
    Chunk(Bytes),
    /// The answer is complete. A channel that ends without it broke off.
    End,
}

enum Output {
    /// Nothing was sent so far.
    Held(oneshot::Sender<Head>),
    Sending(mpsc::Sender<Part>),
    Closed,
}

/// Encodes the rows of a read and sends them off.
pub(super) struct StreamSink {
    encoder: Box<dyn Encoder>,
    buffer: Vec<u8>,
    output: Output,
    query: Arc<ActiveQuery>,
    limits: SinkLimits,
    runtime: tokio::runtime::Handle,
    errors: usize,
}

/// How long and how much a sink may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct SinkLimits {
    /// How long a buffer may wait for its reader.
    pub(super) stall: Duration,
    /// The longest answer in a format that cannot be streamed.
    pub(super) whole: usize,
}

impl StreamSink {
    /// A sink, and where to wait for the beginning of the answer.
    pub(super) fn new(
        encoder: Box<dyn Encoder>,
        query: Arc<ActiveQuery>,
        limits: SinkLimits,
    ) -> (Self, oneshot::Receiver<Head>) {
        let (held, head) = oneshot::channel();
        let mut sink = Self {
            encoder,
            buffer: Vec::with_capacity(FIRST),
            output: Output::Held(held),
            query,
            limits,
            runtime: tokio::runtime::Handle::current(),
            errors: 0,
        };
        sink.encoder.start(&mut sink.buffer);
        (sink, head)
    }

    /// Sends the buffer if it is full.
    fn flush_if_full(&mut self) -> Result<(), SinkClosed> {
        let full = if matches!(self.output, Output::Held(_)) { WHOLE } else { CHUNK };
        if self.buffer.len() < full {
            return Ok(());
        }
        if self.encoder.streams() {
            return self.flush();
        }
        if self.buffer.len() > self.limits.whole {
            // Not a reason of the control's: the answer is refused below, by `finish`.
            self.query.control.stop(StopReason::Abandoned);
            return Err(SinkClosed);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkClosed> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + CHUNK / 4));
        if let Output::Held(_) = &self.output {
            self.open();
        }
        let Output::Sending(sender) = &self.output else { return Err(SinkClosed) };
        let part = Part::Chunk(chunk.into());
        if let Ok(places) = sender.try_reserve_many(1 + LAST_WORDS) {
            take_one(places, part);
            return Ok(());
        }
        let sender = sender.clone();
        self.wait_to_send(sender, part)
    }

    /// Begins to stream.
    fn open(&mut self) {
        let (sender, parts) = mpsc::channel(CHANNEL + LAST_WORDS);
        let streaming = Streaming { parts, query: Some(Arc::clone(&self.query)) };
        let Output::Held(head) = std::mem::replace(&mut self.output, Output::Sending(sender)) else { return };
        // Whoever waited for it is gone; sending the first chunk will find out.
        let _ = head.send(Head::Streaming(streaming));
    }

    fn wait_to_send(&mut self, sender: mpsc::Sender<Part>, part: Part) -> Result<(), SinkClosed> {
        self.query.enter(Phase::Sending);
        let patience =
            self.limits.stall.min(self.query.control.deadline().saturating_duration_since(Instant::now()));
        let query = Arc::clone(&self.query);
        let sent = self.runtime.block_on(async move {
            tokio::select! {
                places = sender.reserve_many(1 + LAST_WORDS) => match places {
                    Ok(places) => {
                        take_one(places, part);
                        Ok(())
                    }
                    Err(_) => Err(StopReason::Abandoned),
                },
                reason = query.control.stopped() => Err(reason),
                () = tokio::time::sleep(patience) => Err(StopReason::Stalled),
            }
        });
        self.query.enter(Phase::Running);
        sent.or_else(|reason| self.stop(reason))
    }

    fn stop(&mut self, reason: StopReason) -> Result<(), SinkClosed> {
        self.query.control.stop(reason);
        self.output = Output::Closed;
        Err(SinkClosed)
    }

    fn complete(mut self, summary: ReadSummary) {
        let trailer = Trailer {
            time: self.query.started().elapsed().as_secs_f64(),
            seq: summary.seq,
            rows: summary.rows,
            errors: self.errors,
            replayed: false,
        };
        self.encoder.finish(&mut self.buffer, &trailer);
        match self.output {
            Output::Held(head) => {
                let _ = head.send(Head::Whole(self.buffer));
            }
            Output::Sending(ref sender) => {
                // Where nobody reads any more, nobody minds.
                let _ = sender.try_send(Part::Chunk(self.buffer.into()));
                let _ = sender.try_send(Part::End);
            }
            Output::Closed => {}
        }
    }

    fn break_off(mut self, error: Error) {
        let too_long = !self.encoder.streams() && self.buffer.len() > self.limits.whole;
        let error = if too_long { self.too_long() } else { error };
        match self.output {
            Output::Held(head) => {
                let _ = head.send(Head::Failed(error));
            }
            Output::Sending(ref sender) => {
                self.encoder.abort(&mut self.buffer, &error);
                let told = sender.try_send(Part::Chunk(std::mem::take(&mut self.buffer).into())).is_ok();
                if told && self.encoder.ends_with_errors() {
                    let _ = sender.try_send(Part::End);
                }
            }
            Output::Closed => {}
        }
    }

    fn too_long(&self) -> Error {
        let message = format!(
            "the answer is longer than {} bytes: ask for {} or {}, which are streamed",
            self.limits.whole,
            larder_wire::NDJSON,
            larder_wire::MSGPACK_STREAM
        );
        Error::new(Kind::TooLarge, code::RESULT_TOO_LARGE, message)
    }
}

/// Sends one part and leaves the other places to others.
fn take_one(mut places: mpsc::PermitIterator<'_, Part>, part: Part) {
    if let Some(place) = places.next() {
        place.send(part);
    }
}

impl ReadSink for StreamSink {
    fn columns(&mut self, index: usize, columns: &[Column]) -> Result<(), SinkClosed> {
        self.encoder.columns(&mut self.buffer, index, columns);
        self.flush_if_full()
    }

    fn row(&mut self, row: &dyn Row) -> Result<(), SinkClosed> {
        self.encoder.row(&mut self.buffer, row);
        self.flush_if_full()
    }

    fn end(&mut self, rows: u64, seconds: f64) -> Result<(), SinkClosed> {
        self.encoder.end(&mut self.buffer, rows, seconds);
        self.flush_if_full()
    }

    fn failed(&mut self, index: usize, error: &Error) -> Result<(), SinkClosed> {
        self.errors += 1;
        self.encoder.failed(&mut self.buffer, index, error);
        self.flush_if_full()
    }

    fn finish(self: Box<Self>, result: Result<ReadSummary, Error>) {
        match result {
            Ok(summary) => self.complete(summary),
            Err(error) => self.break_off(error),
        }
    }
}

/// The body of a streamed answer. Dropping it ends the read.
pub(super) struct Streaming {
    parts: mpsc::Receiver<Part>,
    query: Option<Arc<ActiveQuery>>,
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.query.is_none() {
            return Poll::Ready(None);
        }
        match self.parts.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Part::Chunk(chunk))) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Poll::Ready(Some(Part::End)) => {
                self.query = None;
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.query = None;
                Poll::Ready(Some(Err(io::Error::other("the answer broke off"))))
            }
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if let Some(query) = &self.query {
            query.control.stop(StopReason::Abandoned);
        }
    }
}

/// Ends a request if whoever waits for it goes away before its answer begins.
pub(super) struct StopIfDropped(Option<Arc<ActiveQuery>>);

impl StopIfDropped {
    pub(super) fn new(query: &Arc<ActiveQuery>) -> Self {
        Self(Some(Arc::clone(query)))
    }

    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopIfDropped {
    fn drop(&mut self) {
        if let Some(query) = &self.0 {
            query.control.stop(StopReason::Abandoned);
        }
    }
}
