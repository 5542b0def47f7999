//! Entropy coding: numbers in as many bits as they are worth, not as many as they are long.
//!
//! This is range ANS (Duda, arXiv 1311.2540) with states of 64 bits, words of 32, and shares of powers of two. A stack: what is
//! written last is read first, so the encoder notes its steps and takes them backwards, and the decoder reads words from the end on. Two states
//! take turns, so that a processor need not wait for one share before it looks for the next. Bits that are all worth the same stand before the
//! words, as they are. What a symbol's share is, and what the symbols mean, belongs to [`super::column`].

/// The least state; above it at least 32 bits can be taken without falling under 1.
const LOW: u64 = 1 << 31;
/// Bits of a share, at most: far under those of [`LOW`], so that the rounding is not felt.
pub(super) const SHARE: u32 = 26;

/// A part of `1 << bits`: from `start`, `size` long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) start: u32,
    pub(super) size: u32,
    pub(super) bits: u32,
}

/// Collects what is to be written.
#[derive(Default)]
pub(super) struct Encoder {
    shares: Vec<Share>,
    bits: Vec<u8>,
    /// Bits that do not fill a word yet, and how many they are.
    pending: u64,
    used: u32,
}

impl Encoder {
    pub(super) fn share(&mut self, share: Share) {
        self.shares.push(share);
    }

    /// The lower `bits` of a value.
    pub(super) fn bits(&mut self, value: u64, bits: u32) {
        let value = if bits < u64::BITS { value & ((1 << bits) - 1) } else { value };
        let all = u128::from(self.pending) | u128::from(value) << self.used;
        (self.pending, self.used) = (all as u64, self.used + bits);
        if self.used >= u64::BITS {
            self.bits.extend_from_slice(&self.pending.to_le_bytes());
            (self.pending, self.used) = ((all >> u64::BITS) as u64, self.used - u64::BITS);
        }
    }

    /// Any number, small ones in few bits (Elias's gamma of one more).
    pub(super) fn number(&mut self, value: u64) {
        let length = (u128::from(value) + 1).ilog2();
        self.bits(u64::MAX, length);
        if length < u64::BITS {
            self.bits(0, 1);
        }
        self.bits(value.wrapping_add(1), length);
    }

    /// Writes the bits, then what is read from the end on: words, and the states.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bits);
        out.extend_from_slice(&self.pending.to_le_bytes()[..self.used.div_ceil(8) as usize]);
        // The one that the share at hand goes into, and the other: they take turns.
        let (mut state, mut other) = (LOW, LOW);
        for Share { start, size, bits } in self.shares.iter().rev().copied() {
            (state, other) = (other, state);
            let size = u64::from(size);
            if state >= ((LOW >> bits) << 32) * size {
                out.extend_from_slice(&(state as u32).to_le_bytes());
                state >>= 32;
            }
            state = ((state / size) << bits) + state % size + u64::from(start);
        }
        out.extend_from_slice(&other.to_le_bytes());
        out.extend_from_slice(&state.to_le_bytes());
    }
}

/// Bits that a number takes in [`Encoder::number`].
pub(super) fn length_of(value: u64) -> u64 {
    u64::from(2 * (u128::from(value) + 1).ilog2() + 1)
}

/// Reads what an [`Encoder`] wrote. Beyond its end, and in rubbish, it gives some numbers; [`Decoder::is_over`] tells.
pub(super) struct Decoder<'a> {
    /// The one that the next share is in, and the other.
    state: u64,
    other: u64,
    bytes: &'a [u8],
    /// Where the next word ends; beyond the end it is `None`.
    words: Option<usize>,
    /// Bits that were read.
    read: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (bytes, state) = bytes.split_last_chunk()?;
        let (bytes, other) = bytes.split_last_chunk()?;
        let [state, other] = [*state, *other].map(u64::from_le_bytes);
        Some(Self { state, other, bytes, words: Some(bytes.len()), read: 0 })
    }

    /// Whether more was read than was written.
    pub(super) fn is_over(&self) -> bool {
        self.words.is_none_or(|words| self.read.div_ceil(8) > words)
    }

    /// Where in `1 << bits` the next share is.
    pub(super) fn place(&self, bits: u32) -> u32 {
        (self.state & ((1 << bits) - 1)) as u32
    }

    /// Goes on behind the share that [`Decoder::place`] was found in.
    pub(super) fn take(&mut self, share: Share) {
        let inside = u64::from(self.place(share.bits).wrapping_sub(share.start));
        let mut state = u64::from(share.size).wrapping_mul(self.state >> share.bits).wrapping_add(inside);
        if state < LOW {
            state = state << 32 | u64::from(self.word());
        }
        (self.state, self.other) = (self.other, state);
    }

    fn word(&mut self) -> u32 {
        let word = self.words.and_then(|end| self.bytes[..end].split_last_chunk());
        self.words = word.map(|(rest, _)| rest.len());
        word.map_or(0, |(_, word)| u32::from_le_bytes(*word))
    }

    /// At least 56 of the bits that come next; zeros behind the last.
    fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.read / 8..).unwrap_or_default();
        let word = match rest.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        word >> (self.read % 8)
    }

    pub(super) fn bits(&mut self, bits: u32) -> u64 {
        if bits > 56 {
            let low = self.bits(32);
            return low | self.bits(bits - 32) << 32;
        }
        let value = self.peek() & ((1 << bits) - 1);
        self.read += bits as usize;
        value
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut length = 0;
        loop {
            let ones = self.peek().trailing_ones().min(56).min(u64::BITS - length);
            self.read += ones as usize;
            length += ones;
            if ones < 56 {
                break;
            }
        }
        if length == u64::BITS {
            return self.bits(length).wrapping_sub(1);
        }
        self.read += 1;
        (self.bits(length) | 1 << length) - 1
    }
}
