//! What a value is that nobody described, where it may be gzip.

use crate::reports::Encoding;
use crate::reports::gzip::{self, GzipError};

const GZIP: &[u8] = &[0x1f, 0x8b];

/// Where the gzip stream that `bytes` begin with ends; `None` if they begin with none.
pub(crate) fn end(bytes: &[u8]) -> Option<Result<usize, GzipError>> {
    bytes.starts_with(GZIP).then(|| gzip::gzip_end([bytes]))
}

/// Why bytes that begin as a gzip stream are none that can be read; `None` if they are, or begin otherwise.
pub(crate) fn fault(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(GZIP) {
        return None;
    }
    match gzip::check(bytes) {
        // One that is very large once it is unpacked may be a report: it is moved, and not looked into.
        Ok(()) | Err(GzipError::TooLarge) => None,
        Err(GzipError::Incomplete) => Some("its gzip stream is cut off"),
        Err(GzipError::Broken) => Some("its gzip stream is broken"),
    }
}

/// The beginning of what a value that nobody described holds, unpacked into `buffer` if it is packed; empty if it cannot be.
pub(crate) fn beginning<'b>(bytes: &'b [u8], buffer: &'b mut [u8]) -> &'b [u8] {
    if !bytes.starts_with(GZIP) {
        return &bytes[..bytes.len().min(buffer.len())];
    }
    gzip::beginning(bytes, buffer)
}

/// What a value that nobody described seems to be, from its first bytes.
pub(crate) fn encoding(bytes: &[u8]) -> Encoding {
    if !bytes.starts_with(GZIP) {
        return if bytes.starts_with(b"{") { Encoding::Json } else { Encoding::Opaque };
    }
    let mut first = [0];
    match gzip::beginning(bytes, &mut first) {
        b"{" => Encoding::GzipJson,
        b"" => Encoding::Opaque,
        _ => Encoding::GzipGob,
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
        for cut in [2, 9, 12, whole.len() - 9, whole.len() - 1] {
            assert_eq!(end(&whole[..cut]), Some(Err(GzipError::Incomplete)), "{cut}");
        }
        let longer = [whole.as_slice(), b"what was left of another"].concat();
        assert_eq!(end(&longer), Some(Ok(whole.len())));
        let mut broken = whole.clone();
        broken[whole.len() - 5] ^= 1;
        assert_eq!(end(&broken), Some(Err(GzipError::Broken)));
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
