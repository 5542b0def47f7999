//! Where the body of an answer ends: after a known length, or after the last chunk
//! ([RFC 9112, section 7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)). Trailers are not understood.

use anyhow::{Context as _, ensure};
use httparse::Status;

/// How far the body of one answer has been read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are missing.
    Sized(u64),
    /// The length of the next chunk is missing.
    ChunkSize,
    /// So many bytes of a chunk are missing, its line end included.
    Chunk(u64),
    /// The line end after the last chunk is missing.
    LastChunk,
    /// Nothing is missing.
    Complete,
}

const LINE_END: u64 = 2;

impl Framing {
    pub(super) fn sized(length: u64) -> Self {
        if length == 0 { Self::Complete } else { Self::Sized(length) }
    }

    pub(super) fn chunked() -> Self {
        Self::ChunkSize
    }

    pub(super) fn is_complete(&self) -> bool {
        *self == Self::Complete
    }

    /// Gives what `bytes` holds of the body to `sink`, and says how many of them are done with.
    pub(super) fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> anyhow::Result<usize> {
        let mut taken = 0;
        while !self.is_complete() {
            let step = self.step(&bytes[taken..], &mut sink)?;
            if step == 0 {
                break;
            }
            taken += step;
        }
        Ok(taken)
    }

    /// One piece; 0 if more bytes are needed.
    fn step(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> anyhow::Result<usize> {
        match *self {
            Self::Complete => Ok(0),
            Self::Sized(missing) => {
                let piece = prefix(bytes, missing);
                sink(piece);
                *self = Self::sized(missing - piece.len() as u64);
                Ok(piece.len())
            }
            Self::Chunk(missing) => {
                let piece = prefix(bytes, missing);
                sink(prefix(piece, missing.saturating_sub(LINE_END)));
                let missing = missing - piece.len() as u64;
                *self = if missing == 0 { Self::ChunkSize } else { Self::Chunk(missing) };
                Ok(piece.len())
            }
            Self::ChunkSize => self.chunk_size(bytes),
            Self::LastChunk if bytes.len() < 2 => Ok(0),
            Self::LastChunk => {
                ensure!(bytes.starts_with(b"\r\n"), "an answer with trailers");
                *self = Self::Complete;
                Ok(2)
            }
        }
    }

    fn chunk_size(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        let parsed = httparse::parse_chunk_size(bytes).ok().context("the size of a chunk is not a number")?;
        let Status::Complete((length, size)) = parsed else { return Ok(0) };
        *self = if size == 0 { Self::LastChunk } else { Self::Chunk(size + LINE_END) };
        Ok(length)
    }
}

fn prefix(bytes: &[u8], length: u64) -> &[u8] {
    &bytes[..bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX))]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step` bytes, as a socket might, and returns the body and what was left over.
    fn read(mut framing: Framing, wire: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut body, mut inbox) = (Vec::new(), Vec::new());
        let mut pieces = wire.chunks(step);
        while !framing.is_complete() {
            inbox.extend_from_slice(pieces.next().expect("the body ends before the wire"));
            let taken = framing.feed(&inbox, |piece| body.extend_from_slice(piece)).unwrap();
            inbox.drain(..taken);
        }
        (body, inbox)
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        let chunked = b"5\r\nhello\r\n1;x=y\r\n,\r\n00A\r\n  world\r\n!\r\n0\r\n\r\n";
        for step in 1..=chunked.len() {
            assert_eq!(
                read(Framing::chunked(), chunked, step).0,
                b"hello,  world\r\n!",
                "in steps of {step}"
            );
            assert_eq!(read(Framing::sized(9), b"exactly 9", step).0, b"exactly 9", "in steps of {step}");
        }
    }

    #[test]
    fn what_follows_the_body_is_left_alone() {
        assert_eq!(read(Framing::sized(2), b"okHTTP/1.1", 99), (b"ok".to_vec(), b"HTTP/1.1".to_vec()));
        let chunked = b"2\r\nok\r\n0\r\n\r\nHTTP/1.1";
        assert_eq!(read(Framing::chunked(), chunked, 99), (b"ok".to_vec(), b"HTTP/1.1".to_vec()));
        assert!(Framing::sized(0).is_complete());
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(Framing::chunked().feed(b"five\r\n", |_| {}).is_err());
        assert!(Framing::LastChunk.feed(b"Expires: never\r\n\r\n", |_| {}).is_err());
    }
}
