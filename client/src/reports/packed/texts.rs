//! Texts of the tables: each as what it shares with the one that it most resembles, and the rest.
//!
//! A package resembles the package before it (the tables are sorted), a fixed version the version that it mends. Only the rests are kept as text,
//! behind one another, and zstd takes them all at once.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use super::ans::{Decoder, Encoder};
use super::column::{read_numbers, write_numbers};
use super::{PackedError, TEXT};

/// Measured on texts of 2 KB: 12 takes 60 µs; 19 takes five times as long to save half a percent.
const LEVEL: i32 = 12;

thread_local! {
    // Half a megabyte of tables, which would otherwise be set up for every report.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
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
        let (text, like) = (text.as_bytes(), like.as_bytes());
        let shared = text.iter().zip(like).take_while(|(a, b)| a == b).count();
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

/// Gives texts back in the order in which they were written.
pub(super) struct Reader<'a> {
    lengths: std::iter::Zip<std::vec::IntoIter<u64>, std::vec::IntoIter<u64>>,
    text: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(decoder: &mut Decoder<'_>, count: usize, text: &'a [u8]) -> Option<Self> {
        let shared = read_numbers(decoder, count)?;
        let rest = read_numbers(decoder, count)?;
        Some(Self { lengths: shared.into_iter().zip(rest), text, left: TEXT })
    }

    pub(super) fn read(&mut self, like: &str) -> Result<String, PackedError> {
        let (shared, rest) = self.lengths.next().ok_or(PackedError::Senseless)?;
        let (shared, rest) = (usize::try_from(shared), usize::try_from(rest));
        let (Ok(shared), Ok(rest)) = (shared, rest) else { return Err(PackedError::Senseless) };
        let shared = like.as_bytes().get(..shared).ok_or(PackedError::Senseless)?;
        let rest = self.text.split_off(..rest).ok_or(PackedError::Senseless)?;
        self.left = self.left.checked_sub(shared.len() + rest.len()).ok_or(PackedError::TooLarge)?;
        String::from_utf8([shared, rest].concat()).map_err(|_| PackedError::Senseless)
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
    let text = Decompressor::new().and_then(|mut zstd| zstd.decompress(frame, length));
    text.ok().filter(|text| text.len() == length).ok_or(PackedError::Senseless)
}
