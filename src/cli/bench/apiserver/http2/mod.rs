//! Many questions over one connection, in HTTP/2, written for doing little per answer: a thousand watchers are told two
//! hundred thousand events a second by a server on the same two cores, so there is neither a task nor a buffer for each.
//!
//! Windows are those of Go's client, which is what aggregates: 4 MiB for a stream, 1 GiB for a connection. A stream that is not
//! read has the window that the standard gives it. Bodies are not sent, trailers and pushes are not understood.

mod frame;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::super::exchange::{Socket, Target};
use frame::Frame;

/// What is read from the socket at once, at most.
const READ: usize = 256 << 10;
/// What a stream may send before it is told to go on.
const STREAM_WINDOW: u32 = 4 << 20;
/// What all streams of a connection may send together.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What either is without a word (RFC 9113, section 6.9.2).
const USUAL_WINDOW: u32 = 65_535;
/// What is kept of a refusal.
const REFUSAL: usize = 4 << 10;

/// An answer that is expected on a connection, in the order of asking.
pub(super) type Answer = usize;

/// Whether an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    On,
    /// Once the window is used up nothing more comes.
    Stuck,
}

/// An open connection with everything that was asked on it.
pub(super) struct Http2<S = Socket> {
    stream: S,
    authority: String,
    inbox: BytesMut,
    outbox: Vec<u8>,
    answers: Vec<State>,
    /// Bytes that were taken and not yet given back to the window of the connection.
    taken: u32,
}

struct State {
    reading: Reading,
    progress: Progress,
    /// Bytes that were taken and not yet given back to the window of the stream.
    taken: u32,
    refusal: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Asked,
    Answered,
    Refused,
    Ended,
}

impl Http2 {
    pub(super) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let socket = target.dial().await?;
        ensure!(socket.get_ref().1.alpn_protocol() == Some(b"h2"), "the server does not speak HTTP/2");
        Ok(Self::over(socket, target.authority()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http2<S> {
    pub(super) fn over(stream: S, authority: &str) -> Self {
        let mut outbox = frame::PREFACE.to_vec();
        // No pushes.
        Frame { kind: frame::SETTINGS, flags: 0, stream: 0, payload: &[0, 2, 0, 0, 0, 0] }.write(&mut outbox);
        frame::write_window_update(&mut outbox, 0, CONNECTION_WINDOW - USUAL_WINDOW);
        let (inbox, authority) = (BytesMut::with_capacity(READ), authority.to_owned());
        Self { stream, authority, inbox, outbox, answers: Vec::new(), taken: 0 }
    }

    /// Asks with the next write.
    pub(super) fn ask(&mut self, path: &str, accept: &str, reading: Reading) -> Answer {
        let answer = self.answers.len();
        let (stream, block) = (stream_of(answer), frame::get(&self.authority, path, accept));
        let flags = frame::END_STREAM | frame::END_HEADERS;
        Frame { kind: frame::HEADERS, flags, stream, payload: &block }.write(&mut self.outbox);
        if reading == Reading::On {
            frame::write_window_update(&mut self.outbox, stream, STREAM_WINDOW - USUAL_WINDOW);
        }
        self.answers.push(State { reading, progress: Progress::Asked, taken: 0, refusal: Vec::new() });
        answer
    }

    /// Asks, and gives the body of the answer to `sink`.
    pub(super) async fn fetch(
        &mut self,
        path: &str,
        accept: &str,
        mut sink: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let answer = self.ask(path, accept, Reading::On);
        while !self.has_ended(answer) {
            self.fill().await.with_context(|| format!("GET {path}"))?;
            self.take(|it, piece| {
                if it == answer {
                    sink(piece);
                }
            })
            .with_context(|| format!("GET {path}"))?;
        }
        Ok(())
    }

    /// Whether every answer has begun.
    pub(super) fn all_have_begun(&self) -> bool {
        self.answers.iter().all(|it| it.progress != Progress::Asked)
    }

    /// Bytes that are left of the window of an answer that is not read.
    pub(super) fn window_left(&self, answer: Answer) -> Option<u32> {
        let state = self.answers.get(answer).filter(|it| it.reading == Reading::Stuck);
        state.map(|it| USUAL_WINDOW.saturating_sub(it.taken))
    }

    fn has_ended(&self, answer: Answer) -> bool {
        self.answers.get(answer).is_some_and(|it| it.progress == Progress::Ended)
    }

    /// Sends what is to be sent, and waits for more to be read. May be dropped while it waits, and called again.
    pub(super) async fn fill(&mut self) -> anyhow::Result<()> {
        self.flush().await?;
        self.inbox.reserve(READ);
        let read = self.stream.read_buf(&mut self.inbox).await.context("reading an answer")?;
        ensure!(read > 0, "the server closed in the middle of an answer");
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        while !self.outbox.is_empty() {
            let written = self.stream.write(&self.outbox).await.context("the server closed")?;
            self.outbox.drain(..written);
        }
        Ok(self.stream.flush().await?)
    }

    /// Gives every piece of a body that is there to `sink`.
    pub(super) fn take(&mut self, mut sink: impl FnMut(Answer, &[u8])) -> anyhow::Result<()> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut bytes = &inbox[..];
        while let Some(frame) = Frame::first(bytes)? {
            self.handle(&frame, &mut sink)?;
            bytes = &bytes[frame.length()..];
        }
        let taken = inbox.len() - bytes.len();
        self.inbox = inbox;
        self.inbox.advance(taken);
        if self.taken >= CONNECTION_WINDOW / 4 {
            frame::write_window_update(&mut self.outbox, 0, std::mem::take(&mut self.taken));
        }
        Ok(())
    }

    fn handle(&mut self, frame: &Frame<'_>, sink: &mut impl FnMut(Answer, &[u8])) -> anyhow::Result<()> {
        match frame.kind {
            frame::DATA => self.data(frame, sink)?,
            frame::HEADERS => self.headers(frame)?,
            frame::SETTINGS | frame::PING if !frame.has(frame::ACK) => {
                let payload = if frame.kind == frame::PING { frame.payload } else { &[] };
                Frame { flags: frame::ACK, payload, ..*frame }.write(&mut self.outbox);
            }
            frame::RST_STREAM => bail!("the server broke off an answer: {:?}", frame.payload),
            frame::GOAWAY => bail!("the server says goodbye: {}", String::from_utf8_lossy(frame.payload)),
            frame::PUSH_PROMISE | frame::CONTINUATION => {
                bail!("a frame that nobody asked for: {}", frame.kind)
            }
            // What is sent is so little that its windows do not matter.
            _ => {}
        }
        Ok(())
    }

    fn headers(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        ensure!(!frame.has(frame::PADDED | frame::PRIORITY), "headers with padding");
        ensure!(frame.has(frame::END_HEADERS), "headers in several frames");
        let state = self.state(frame)?;
        ensure!(state.progress == Progress::Asked, "trailers");
        state.progress = if frame::is_ok(frame.payload) { Progress::Answered } else { Progress::Refused };
        state.end(frame)
    }

    fn data(&mut self, frame: &Frame<'_>, sink: &mut impl FnMut(Answer, &[u8])) -> anyhow::Result<()> {
        ensure!(!frame.has(frame::PADDED), "a body with padding");
        let length = frame.payload.len() as u32;
        self.taken += length;
        let state = self.state(frame)?;
        match state.progress {
            Progress::Answered => {}
            Progress::Refused => {
                let room = REFUSAL.saturating_sub(state.refusal.len()).min(frame.payload.len());
                state.refusal.extend_from_slice(&frame.payload[..room]);
                return state.end(frame);
            }
            Progress::Asked | Progress::Ended => bail!("a body before its headers or behind its end"),
        }
        state.taken += length;
        let more =
            state.reading == Reading::On && state.taken >= STREAM_WINDOW / 2 && !frame.has(frame::END_STREAM);
        let more = more.then(|| std::mem::take(&mut state.taken));
        state.end(frame)?;
        if let Some(more) = more {
            frame::write_window_update(&mut self.outbox, frame.stream, more);
        }
        sink(answer_of(frame.stream), frame.payload);
        Ok(())
    }

    fn state(&mut self, frame: &Frame<'_>) -> anyhow::Result<&mut State> {
        let is_ours = frame.stream % 2 == 1;
        let state = self.answers.get_mut(answer_of(frame.stream)).filter(|_| is_ours);
        state.context("an answer to nothing")
    }
}

impl State {
    fn end(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        if frame.has(frame::END_STREAM) {
            let refusal = String::from_utf8_lossy(&self.refusal);
            ensure!(self.progress == Progress::Answered, "not answered with 200 but: {refusal}");
            self.progress = Progress::Ended;
        }
        Ok(())
    }
}

/// The streams of a client have odd numbers.
fn stream_of(answer: Answer) -> u32 {
    answer as u32 * 2 + 1
}

fn answer_of(stream: u32) -> Answer {
    stream as usize / 2
}

/// What a server says that answers with 200 and these pieces of bodies, one for each of so many streams.
pub(super) mod told {
    use super::frame::{DATA, END_HEADERS, Frame, HEADERS, LONGEST, SETTINGS};
    use super::stream_of;

    /// The beginning of all answers.
    pub(in super::super) fn heads(streams: usize, out: &mut Vec<u8>) {
        Frame { kind: SETTINGS, flags: 0, stream: 0, payload: &[] }.write(out);
        for answer in 0..streams {
            let stream = stream_of(answer);
            Frame { kind: HEADERS, flags: END_HEADERS, stream, payload: &[0x88] }.write(out);
        }
    }

    /// The same piece for each.
    pub(in super::super) fn pieces(streams: usize, piece: &[u8], out: &mut Vec<u8>) {
        for answer in 0..streams {
            for payload in piece.chunks(LONGEST) {
                Frame { kind: DATA, flags: 0, stream: stream_of(answer), payload }.write(out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
