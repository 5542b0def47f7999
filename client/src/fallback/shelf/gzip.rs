//! Where a gzip stream ends (RFC 1952), and what it holds.

use std::io::{self, ErrorKind, Read as _};

use flate2::bufread::GzDecoder;

use crate::reports::Encoding;
use crate::reports::gzip::{GzipError, check};

/// Bytes that a payload may unpack to. A stream that goes on is no report.
const UNPACKED: u64 = 4 << 30;

/// How a gzip stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After so many bytes, with a checksum that holds.
    At(usize),
    /// More must come.
    Open,
    /// It cannot be read.
    Broken,
}

/// Where the gzip stream that `bytes` begin with ends; `None` if they begin with none.
pub(crate) fn end(bytes: &[u8]) -> Option<End> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    let mut decoder = GzDecoder::new(bytes);
    Some(match io::copy(&mut decoder.by_ref().take(UNPACKED), &mut io::sink()) {
        Ok(UNPACKED) => End::Broken,
        Ok(_) => End::At(bytes.len() - decoder.into_inner().len()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => End::Open,
        Err(_) => End::Broken,
    })
}

/// Why bytes that begin as a gzip stream are none that can be read; `None` if they are, or begin otherwise.
pub(crate) fn fault(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    match check(bytes) {
        // What is too large to be looked at is not broken for that.
        Ok(()) | Err(GzipError::TooLarge) => None,
        Err(GzipError::Incomplete) => Some("its gzip stream is cut off"),
        Err(GzipError::Broken) => Some("its gzip stream is broken"),
    }
}

/// What a value that nobody described seems to be, from its first bytes.
pub(crate) fn encoding(bytes: &[u8]) -> Encoding {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return if bytes.starts_with(b"{") { Encoding::Json } else { Encoding::Opaque };
    }
    let mut first = [0];
    match GzDecoder::new(bytes).read_exact(&mut first) {
        Ok(()) if first == *b"{" => Encoding::GzipJson,
        Ok(()) => Encoding::GzipGob,
        Err(_) => Encoding::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("packs");
        encoder.finish().expect("packs")
    }

    #[test]
    fn a_stream_ends_where_its_encoder_stopped() {
        let whole = gzip(&b"a report".repeat(1000));
        assert_eq!(end(&whole), Some(End::At(whole.len())));
        for cut in [2, 9, 12, whole.len() - 9, whole.len() - 1] {
            assert_eq!(end(&whole[..cut]), Some(End::Open), "{cut}");
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(b"what was left of another");
        assert_eq!(end(&longer), Some(End::At(whole.len())));
        let mut broken = whole.clone();
        broken[whole.len() - 5] ^= 1;
        assert_eq!(end(&broken), Some(End::Broken));
        assert_eq!(end(b"{}"), None);
    }

    #[test]
    fn values_are_told_by_how_they_begin() {
        assert_eq!(encoding(&gzip(b"{}")), Encoding::GzipJson);
        assert_eq!(encoding(&gzip(b"\x1fgob")), Encoding::GzipGob);
        assert_eq!(encoding(b"{}"), Encoding::Json);
        assert_eq!(encoding(b"\x1f\x8bbroken"), Encoding::Opaque);
        assert_eq!(encoding(b""), Encoding::Opaque);
    }
}
