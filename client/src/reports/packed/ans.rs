//! Entropy coding: numbers in as many bits as they are worth, not as many as they are long.
//!
//! This is range ANS (Duda, arXiv 1311.2540) with a state of 64 bits, words of 32, and shares that are powers of two. A stack: what is
//! written last is read first, so the encoder notes its steps and writes them backwards. What a symbol's share is, and what the symbols
//! mean, belongs to [`super::column`]. One state, not several side by side: a report is a few thousand symbols.

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
pub(super) struct Encoder(Vec<Share>);

impl Encoder {
    pub(super) fn share(&mut self, share: Share) {
        self.0.push(share);
    }

    /// The lower `bits` of a value.
    pub(super) fn bits(&mut self, value: u64, bits: u32) {
        let (mut value, mut left) = (value, bits);
        while left > 0 {
            let bits = left.min(16);
            self.0.push(Share { start: (value & ((1 << bits) - 1)) as u32, size: 1, bits });
            value >>= bits;
            left -= bits;
        }
    }

    /// Any number, small ones in few bits (Elias's gamma of one more).
    pub(super) fn number(&mut self, value: u64) {
        let length = (u128::from(value) + 1).ilog2();
        for _ in 0..length {
            self.bits(1, 1);
        }
        if length < u64::BITS {
            self.bits(0, 1);
        }
        self.bits(value.wrapping_add(1), length);
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) {
        let mut state = LOW;
        let mut words = Vec::with_capacity(self.0.len() / 2);
        for Share { start, size, bits } in self.0.into_iter().rev() {
            let size = u64::from(size);
            if state >= ((LOW >> bits) << 32) * size {
                words.push(state as u32);
                state >>= 32;
            }
            state = ((state / size) << bits) + state % size + u64::from(start);
        }
        out.extend_from_slice(&state.to_le_bytes());
        words.iter().rev().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

/// Bits that a number takes in [`Encoder::number`].
pub(super) fn length_of(value: u64) -> u64 {
    u64::from(2 * (u128::from(value) + 1).ilog2() + 1)
}

/// Reads what an [`Encoder`] wrote. Beyond its end, and in rubbish, it gives some numbers; [`Decoder::is_over`] tells.
pub(super) struct Decoder<'a> {
    state: u64,
    words: std::slice::ChunksExact<'a, u8>,
    over: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (state, words) = bytes.split_first_chunk()?;
        Some(Self { state: u64::from_le_bytes(*state), words: words.chunks_exact(4), over: false })
    }

    /// Whether more was read than was written.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Where in `1 << bits` the next share is.
    pub(super) fn place(&self, bits: u32) -> u32 {
        (self.state & ((1 << bits) - 1)) as u32
    }

    /// Goes on behind the share that [`Decoder::place`] was found in.
    pub(super) fn take(&mut self, share: Share) {
        let inside = u64::from(self.place(share.bits).wrapping_sub(share.start));
        self.state = u64::from(share.size).wrapping_mul(self.state >> share.bits).wrapping_add(inside);
        if self.state < LOW {
            let word = self.words.next().and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
            self.over |= word.is_none();
            self.state = self.state << 32 | u64::from(word.unwrap_or_default());
        }
    }

    pub(super) fn bits(&mut self, bits: u32) -> u64 {
        let mut value = 0;
        let mut done = 0;
        while done < bits {
            let bits = (bits - done).min(16);
            let start = self.place(bits);
            self.take(Share { start, size: 1, bits });
            value |= u64::from(start) << done;
            done += bits;
        }
        value
    }

    pub(super) fn number(&mut self) -> u64 {
        let mut length = 0;
        while length < u64::BITS && self.bits(1) == 1 {
            length += 1;
        }
        let value = self.bits(length);
        if length < u64::BITS { (value | 1 << length) - 1 } else { value.wrapping_sub(1) }
    }
}
