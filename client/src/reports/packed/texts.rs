//! Texts of the tables: each as what it shares with the one that it most resembles, and the rest.
//!
//! A package resembles the package before it (the tables are sorted), a fixed version the version that it mends. Only the rests are kept as text,
//! behind one another, and zstd takes them all at once.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::ans::{Decoder, Encoder};
use super::column::{read_numbers, write_numbers};
use super::{PackedError, TEXT, is_same};

/// Measured on 2.5 KB, as a report of 1371 findings has: 6 makes 1100 bytes of it in 16 µs, 12 saves 1 % in four times as long, 19 no more
/// than that in twenty times as long.
const LEVEL: i32 = 6;

thread_local! {
    // Tables that would otherwise be set up for every report.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNZSTD: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Collects texts.
#[derive(Default)]
pub(super) struct Writer {
    shared: Vec<u64>,
    rest: Vec<u64>,
    text: Vec<u8>,
}

impl Writer {
    pub(super) fn write(&mut self, text: &str, like: &str) {
        let (text, like, same) = (text.as_bytes(), like.as_bytes(), is_same(text, like));
        let shared = match same {
            true => text.len(),
            false => text.iter().zip(like).take_while(|(a, b)| a == b).count(),
        };
        self.shared.push(shared as u64);
        self.rest.push((text.len() - shared) as u64);
        self.text.extend_from_slice(&text[shared..]);
    }

    /// Writes the lengths, and gives the text.
    pub(super) fn finish(self, encoder: &mut Encoder) -> Vec<u8> {
        write_numbers(encoder, &self.shared);
        write_numbers(encoder, &self.rest);
        self.text
    }
}

/// Where a text stands among the others.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    from: u32,
    to: u32,
}

impl Span {
    pub(super) fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// All texts, behind one another.
#[derive(Default)]
pub(super) struct Texts(String);

impl Texts {
    pub(super) fn get(&self, span: Span) -> &str {
        &self.0[span.from as usize..span.to as usize]
    }
}

/// Gives texts back in the order in which they were written.
pub(super) struct Reader<'a> {
    lengths: std::iter::Zip<std::vec::IntoIter<u64>, std::vec::IntoIter<u64>>,
    text: &'a [u8],
    all: Vec<u8>,
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(decoder: &mut Decoder<'_>, count: usize, text: &'a [u8]) -> Option<Self> {
        let shared = read_numbers(decoder, count)?;
        let rest = read_numbers(decoder, count)?;
        let all = Vec::with_capacity(2 * text.len());
        Some(Self { lengths: shared.into_iter().zip(rest), text, all, left: TEXT })
    }

    pub(super) fn read(&mut self, like: Span) -> Result<Span, PackedError> {
        let (shared, rest) = self.lengths.next().ok_or(PackedError::Senseless)?;
        let (shared, rest) = (usize::try_from(shared), usize::try_from(rest));
        let (Ok(shared), Ok(rest)) = (shared, rest) else { return Err(PackedError::Senseless) };
        let length = (like.to - like.from) as usize;
        if shared > length {
            return Err(PackedError::Senseless);
        }
        let rest = self.text.split_off(..rest).ok_or(PackedError::Senseless)?;
        self.left = self.left.checked_sub(shared + rest.len()).ok_or(PackedError::TooLarge)?;
        if shared == length && rest.is_empty() {
            return Ok(like);
        }
        let (begin, from) = (like.from as usize, self.all.len());
        self.all.extend_from_within(begin..begin + shared);
        self.all.extend_from_slice(rest);
        // Where none begins within a character, none ends there; see `finish`.
        if self.all.get(from).is_some_and(|byte| matches!(byte, 0x80..=0xbf)) {
            return Err(PackedError::Senseless);
        }
        Ok(Span { from: from as u32, to: self.all.len() as u32 })
    }

    /// The texts that the spans are of, if all of them are texts.
    pub(super) fn finish(self) -> Result<Texts, PackedError> {
        String::from_utf8(self.all).map(Texts).map_err(|_| PackedError::Senseless)
    }
}

/// Compresses text; `None` if that does not make it shorter.
pub(super) fn compress(text: &[u8]) -> Option<Vec<u8>> {
    ZSTD.with_borrow_mut(|zstd| {
        if zstd.is_none() {
            let mut new = Compressor::new(LEVEL).ok()?;
            new.include_contentsize(false).ok()?;
            *zstd = Some(new);
        }
        zstd.as_mut()?.compress(text).ok().filter(|short| short.len() < text.len())
    })
}

/// Decompresses text that is `length` long.
pub(super) fn decompress(frame: &[u8], length: usize) -> Result<Vec<u8>, PackedError> {
    if length > TEXT {
        return Err(PackedError::TooLarge);
    }
    let text = UNZSTD.with_borrow_mut(|zstd| {
        if zstd.is_none() {
            *zstd = Decompressor::new().ok();
        }
        zstd.as_mut()?.decompress(frame, length).ok()
    });
    text.filter(|text| text.len() == length).ok_or(PackedError::Senseless)
}
