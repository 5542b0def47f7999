//! Frames of HTTP/2 ([RFC 9113, section 4](https://www.rfc-editor.org/rfc/rfc9113#section-4)) and as much of HPACK
//! ([RFC 7541](https://www.rfc-editor.org/rfc/rfc7541)) as it takes to ask for something and to see whether it was answered with 200.
//! Nothing is ever indexed, and no header but the status is read.

use anyhow::ensure;

/// Bytes before the payload.
pub(super) const HEAD: usize = 9;
/// The longest payload that a peer may send as long as nobody allows more.
pub(super) const LONGEST: usize = 16 << 10;

/// What a client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 0x20;

/// One frame of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'f> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'f [u8],
}

impl<'f> Frame<'f> {
    /// The frame that `bytes` begin with; nothing if it is not there in full.
    pub(super) fn first(bytes: &'f [u8]) -> anyhow::Result<Option<Self>> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        ensure!(length <= LONGEST, "a frame of {length} bytes");
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Ok(rest.get(..length).map(|payload| Self { kind, flags, stream, payload }))
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What it takes on the wire.
    pub(super) fn length(&self) -> usize {
        HEAD + self.payload.len()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.payload.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// Lets a peer send so many bytes more on a stream, or on all of them (0).
pub(super) fn write_window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    Frame { kind: WINDOW_UPDATE, flags: 0, stream, payload: &more.to_be_bytes() }.write(out);
}

/// The header block of a `GET`.
pub(super) fn get(authority: &str, path: &str, accept: &str) -> Vec<u8> {
    // Entries of the static table: `:method GET`, `:scheme https`; then names from it with values of ours.
    let mut block = vec![0x82, 0x87, 0x04];
    write_text(&mut block, path);
    block.push(0x01);
    write_text(&mut block, authority);
    // `accept` is 19: 15 in the prefix, 4 behind it. `user-agent` is 58.
    block.extend_from_slice(&[0x0f, 0x04]);
    write_text(&mut block, accept);
    block.extend_from_slice(&[0x0f, 0x2b]);
    write_text(&mut block, "larder-bench");
    block
}

/// A string that is not compressed, behind its length in a prefix of seven bits.
fn write_text(block: &mut Vec<u8>, text: &str) {
    const PREFIX: usize = 0x7f;
    if text.len() < PREFIX {
        block.push(text.len() as u8);
    } else {
        block.push(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            block.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

/// Whether a header block begins with `:status 200`, behind what changes the size of the table.
pub(super) fn is_ok(mut block: &[u8]) -> bool {
    while let [first, rest @ ..] = block
        && first & 0xe0 == 0x20
    {
        let behind = if first & 0x1f == 0x1f {
            rest.iter().position(|it| it & 0x80 == 0).map(|it| it + 1)
        } else {
            Some(0)
        };
        block = behind.and_then(|it| rest.get(it..)).unwrap_or_default();
    }
    block.first() == Some(&0x88)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let frame = Frame { kind: DATA, flags: END_STREAM, stream: 7, payload: b"hello" };
        let mut wire = Vec::new();
        frame.write(&mut wire);
        assert_eq!(wire.len(), frame.length());
        for length in 0..wire.len() {
            assert_eq!(Frame::first(&wire[..length]).unwrap(), None, "{length} bytes");
        }
        wire.extend_from_slice(b"next");
        assert_eq!(Frame::first(&wire).unwrap(), Some(frame));
    }

    #[test]
    fn a_frame_that_nobody_allowed_is_an_error() {
        assert!(Frame::first(&[0, 0x40, 1, DATA, 0, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn long_values_have_long_lengths() {
        // RFC 7541, C.1.2: 1337 behind a prefix of five bits is 31, 154, 10; behind seven bits it is 127, 186, 9.
        let mut block = Vec::new();
        write_text(&mut block, &"x".repeat(1337));
        assert_eq!(block[..4], [127, 186, 9, b'x']);
        assert_eq!(block.len(), 3 + 1337);
    }

    #[test]
    fn only_200_is_taken_for_it() {
        assert!(is_ok(&[0x88, 0x5f]));
        assert!(is_ok(&[0x20, 0x3f, 0xe1, 0x1f, 0x88]));
        for other in [&[0x8d][..], &[0x48, 0x82, 0x10], &[], &[0x3f], &[0x3f, 0xff]] {
            assert!(!is_ok(other), "{other:?}");
        }
    }
}
