//! Gzip: unpacked within bounds, and where a stream ends.
//!
//! A stream that is there as a whole, as nearly all are, is unpacked by libdeflate, in a third of the time that zlib takes. What that does
//! not take is looked at piece by piece, by flate2 on zlib-rs, which knows what is wrong with it. Only the first member of a stream is
//! read: Go's writer makes one, and behind it may be the tail of a longer value that stood there before.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;

/// Bytes that a payload may have once it is unpacked, to be looked into. NeuVector's largest have 7 MB; a few KB can say that they are any number.
pub const UNPACKED: usize = 24 << 20;
/// Bytes of what is unpacked that are passed over on the way to the end of a stream. Nothing is kept of them, so there may be more.
const PASSED: u64 = 4 << 30;
/// zlib's window, as a power of two: the only one that gzip has.
const WINDOW: u8 = 15;
/// The most that deflate can shorten.
const RATIO: usize = 1032;

/// Why a gzip stream cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// It stops before its end.
    #[error("the gzip stream stops before its end")]
    Incomplete,
    /// It is no gzip, or its checksum differs.
    #[error("the gzip stream is damaged")]
    Broken,
    /// It is more once unpacked than is looked at: 24 MiB, or 4 GiB where only its end is looked for.
    #[error("the gzip stream is too large once unpacked")]
    TooLarge,
}

/// Where the first gzip stream in these parts ends, which follow on one another: the bytes up to its end, over all parts.
///
/// # Errors
/// It does not end ([`GzipError::Incomplete`]: with more parts, it may), or it is none. Nothing is read beyond its end.
///
/// ```
/// use larder_client::reports::gzip::{GzipError, gzip_end};
/// # use std::io::Write as _;
/// let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
/// gzip.write_all(b"a report")?;
/// let gzip = gzip.finish()?;
/// let (first, second) = gzip.split_at(10);
/// assert_eq!(gzip_end([first, second, b"an old tail"]), Ok(gzip.len()));
/// assert_eq!(gzip_end([first]), Err(GzipError::Incomplete));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn gzip_end<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<usize, GzipError> {
    let mut zlib = Decompress::new_gzip(WINDOW);
    let mut thrown_away = vec![0; 1 << 16];
    for mut part in parts {
        while !part.is_empty() {
            let before = (zlib.total_in(), zlib.total_out());
            let status = zlib.decompress(part, &mut thrown_away, FlushDecompress::None);
            let status = status.map_err(|_| GzipError::Broken)?;
            part = &part[(zlib.total_in() - before.0) as usize..];
            match status {
                Status::StreamEnd => return Ok(zlib.total_in() as usize),
                _ if zlib.total_out() > PASSED => return Err(GzipError::TooLarge),
                _ if before == (zlib.total_in(), zlib.total_out()) => return Err(GzipError::Broken),
                _ => {}
            }
        }
    }
    Err(GzipError::Incomplete)
}

/// Whether `payload` is one gzip stream, and what is wrong if it is not. A tail behind the stream is not seen as wrong.
///
/// # Errors
/// As for [`gzip_end`].
pub(crate) fn check(payload: &[u8]) -> Result<(), GzipError> {
    let is_whole = THROWN_AWAY.with_borrow_mut(|out| {
        let is_whole = unpack_whole(payload, out, CHECKED);
        if out.capacity() > KEPT {
            *out = Vec::new();
        }
        is_whole
    });
    if is_whole { Ok(()) } else { gzip_end([payload]).map(drop) }
}

/// Bytes of a buffer that are kept for the next payload.
const KEPT: usize = 2 << 20;

thread_local! {
    // Tables and pages that would otherwise be set up for every payload.
    static DEFLATE: RefCell<Decompressor> = RefCell::new(Decompressor::new());
    static BEGINNING: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static THROWN_AWAY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is checked at once: each thread that checks may hold as much.
const CHECKED: usize = 4 << 20;
/// What is unpacked at once; what is larger goes through a small buffer.
const WHOLE: usize = 16 << 20;

/// Unpacks a stream of which `payload` is the whole. False if it is not, or not for sure: then `out` holds nothing that counts.
fn unpack_whole(payload: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
    let size = hint(payload);
    if size == 0 || size > limit {
        return false;
    }
    // What was there before is written over.
    out.resize(size, 0);
    // The stream's own checksum and length are compared there.
    DEFLATE.with_borrow_mut(|deflate| deflate.gzip_decompress(payload, out)) == Ok(size)
}

/// Unpacks the first gzip stream in `payload` into `out`, which is emptied before.
///
/// # Errors
/// It is damaged, or larger than `limit`.
pub(crate) fn unpack(payload: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), GzipError> {
    if unpack_whole(payload, out, limit.min(WHOLE)) {
        return Ok(());
    }
    let mut zlib = Decompress::new_gzip(WINDOW);
    out.clear();
    out.reserve(hint(payload).min(limit) + 64);
    loop {
        let before = (zlib.total_in(), out.len());
        let rest = &payload[zlib.total_in() as usize..];
        let status = zlib.decompress_vec(rest, out, FlushDecompress::None);
        let status = status.map_err(|_| GzipError::Broken)?;
        match status {
            _ if out.len() > limit => return Err(GzipError::TooLarge),
            Status::StreamEnd => return Ok(()),
            _ if out.len() == out.capacity() => out.reserve(out.len().max(1 << 16)),
            _ if before == (zlib.total_in(), out.len()) => return Err(GzipError::Incomplete),
            _ => {}
        }
    }
}

/// The first bytes of what is packed, up to `out.len()`; fewer if there are not more, or if it is damaged.
pub(crate) fn beginning<'a>(payload: &[u8], out: &'a mut [u8]) -> &'a [u8] {
    let begin = |zlib: &mut Decompress, payload, out: &mut [u8]| {
        let _ = zlib.decompress(payload, out, FlushDecompress::None);
        zlib.total_out() as usize
    };
    // The header that Go and most others write has nothing in it.
    let length = match payload.split_first_chunk::<HEADER>() {
        Some(([0x1f, 0x8b, 8, 0, ..], deflated)) => BEGINNING.with_borrow_mut(|zlib| {
            zlib.reset(false);
            begin(zlib, deflated, out)
        }),
        _ => begin(&mut Decompress::new_gzip(WINDOW), payload, out),
    };
    &out[..length]
}

/// Bytes of a gzip header without name, comment and the like (RFC 1952, section 2.3).
const HEADER: usize = 10;

/// How large it will be, by the stream's own last word: right for whole streams, harmless for others.
fn hint(payload: &[u8]) -> usize {
    let size = payload.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    if size / RATIO > payload.len() { 0 } else { size }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn unpacked(payload: &[u8], limit: usize) -> Result<Vec<u8>, GzipError> {
        let mut out = b"old".to_vec();
        unpack(payload, &mut out, limit).map(|()| out)
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_it_is_cut(
            text in any::<Vec<u8>>(),
            tail in any::<Vec<u8>>(),
            size in 1..50_usize,
        ) {
            let whole = packed(&text);
            let with_tail = [whole.clone(), tail].concat();
            prop_assert_eq!(gzip_end(with_tail.chunks(size)), Ok(whole.len()));
            prop_assert_eq!(unpacked(&with_tail, 1 << 20), Ok(text));
            let cut = &whole[..whole.len() - 1];
            prop_assert_eq!(gzip_end(cut.chunks(size)), Err(GzipError::Incomplete));
            prop_assert_eq!(unpacked(cut, 1 << 20), Err(GzipError::Incomplete));
        }

        #[test]
        fn rubbish_has_no_end(bytes in any::<Vec<u8>>()) {
            prop_assume!(!bytes.starts_with(&[0x1f]));
            prop_assert!(gzip_end([bytes.as_slice()]).is_err());
            prop_assert!(unpacked(&bytes, 1 << 20).is_err());
        }
    }

    #[test]
    fn damage_is_noticed() {
        let mut gzip = packed(&[b'a'; 1000]);
        let checksum = gzip.len() - 6;
        gzip[checksum] ^= 1;
        assert_eq!(gzip_end([gzip.as_slice()]), Err(GzipError::Broken));
        assert_eq!(unpacked(&gzip, 1 << 20), Err(GzipError::Broken));
        assert_eq!(check(&gzip), Err(GzipError::Broken));
        gzip[checksum] ^= 1;
        assert_eq!(check(&gzip), Ok(()));
        assert_eq!(check(&gzip[..gzip.len() - 1]), Err(GzipError::Incomplete));
        gzip.push(0);
        assert_eq!(check(&gzip), Ok(()));
    }

    #[test]
    fn the_beginning_is_read_whatever_the_header_says() {
        let text = b"{\"Vuls\":[]}".repeat(9);
        let mut named =
            flate2::GzBuilder::new().filename("report").write(Vec::new(), flate2::Compression::fast());
        named.write_all(&text).unwrap();
        for gzip in [packed(&text), named.finish().unwrap()] {
            let mut out = [0; 5];
            assert_eq!(beginning(&gzip, &mut out), &text[..5]);
            assert_eq!(beginning(&gzip[..10], &mut out), b"");
            assert_eq!(beginning(&gzip[..4], &mut out), b"");
        }
        assert_eq!(beginning(&packed(b"{}"), &mut [0; 64]), b"{}");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = packed(&vec![0; 10 << 20]);
        assert_eq!(unpacked(&bomb, 1 << 20), Err(GzipError::TooLarge));
        assert_eq!(unpacked(&bomb, 10 << 20).map(|it| it.len()), Ok(10 << 20));
    }
}
