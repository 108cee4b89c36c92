//! An adaptive binary range coder: bits whose probabilities it learns while it codes.
//!
//! A model is described once and drives both directions: [`Coder::bit`] of an [`Encoder`] writes the bit that it is given
//! and returns it, that of a [`Decoder`] ignores its argument and returns the bit that it has read. So both always make
//! the same decisions in the same order.
//!
//! The coder is the carry-propagating one of LZMA (Igor Pavlov's `lzma.txt`), with 16-bit probabilities, without its
//! first byte, which is always zero, and without trailing zero bytes: past its end, a [`Decoder`] reads zeros. It
//! therefore never fails and never reads outside its input; what a damaged input decodes to is nonsense, which the
//! row's checksum is there to catch.

/// Below this range a byte is shifted out.
const BOTTOM: u32 = 1 << 24;
/// The most bits that are coded at once without a model.
const RAW_BITS: u32 = 16;
/// Observations after which a probability no longer adapts slower. Larger is better for stationary data, smaller for
/// data that changes its nature; between 100 and 250, busy and idle sandboxes show no difference.
const PATIENCE: u8 = 120;

/// What a bit was so far: the probability that it is set, and how sure that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit {
    /// Of 65,536.
    set: u16,
    seen: u8,
}

/// `2^16 / (n + 1.5)`: the weight of the next observation after `n`, as a Krichevsky-Trofimov estimator has it.
const WEIGHTS: [i32; PATIENCE as usize + 1] = {
    let mut weights = [0; PATIENCE as usize + 1];
    let mut n = 0;
    while n < weights.len() {
        #[allow(clippy::cast_possible_truncation, reason = "not above PATIENCE")]
        let twice = 2 * n as i32 + 3;
        weights[n] = 2 * 65_536 / twice;
        n += 1;
    }
    weights
};

impl Bit {
    /// Nothing is known.
    pub(crate) const NEW: Self = Self { set: 1 << 15, seen: 0 };
    /// The least and the largest probability: neither side may ever become impossible.
    const LEAST: i32 = 24;
    const MOST: i32 = 65_536 - Self::LEAST;

    #[inline]
    fn learn(&mut self, bit: bool) {
        let set = i32::from(self.set);
        let target = if bit { 65_535 } else { 0 };
        let step = (i64::from(target - set) * i64::from(WEIGHTS[usize::from(self.seen)])) >> 16;
        #[allow(clippy::cast_possible_truncation, reason = "clamped to sixteen bits")]
        {
            self.set = (set + step as i32).clamp(Self::LEAST, Self::MOST) as u16;
        }
        self.seen = (self.seen + 1).min(PATIENCE);
    }
}

/// One direction of coding; see the [module](self).
pub(crate) trait Coder {
    /// Whether what is passed in means nothing, so that nothing need be computed for it.
    const READS: bool;

    /// One bit under a model, which learns from it.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;
    /// At most [`RAW_BITS`] bits that are as likely set as not.
    fn few(&mut self, bits: u32, value: u32) -> u32;

    /// At most 64 bits that are as likely set as not.
    #[inline]
    fn raw(&mut self, bits: u32, value: u64) -> u64 {
        let mut read = 0;
        let mut left = bits;
        while left > 0 {
            let now = left.min(RAW_BITS);
            left -= now;
            let mask = (1_u64 << now) - 1;
            #[allow(clippy::cast_possible_truncation, reason = "masked to sixteen bits")]
            let part = ((value >> left) & mask) as u32;
            read = (read << now) | u64::from(self.few(now, part));
        }
        read
    }
}

#[derive(Debug)]
pub(crate) struct Encoder {
    low: u64,
    range: u32,
    /// The byte before `low`, which a carry may still change; none before the first.
    held: Option<u8>,
    /// Bytes of 255 after `held`, through which a carry would run.
    full: usize,
    out: Vec<u8>,
}

impl Encoder {
    pub(crate) const fn new() -> Self {
        Self { low: 0, range: u32::MAX, held: None, full: 0, out: Vec::new() }
    }

    /// The bytes, as few as the decoder needs.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // Any number of the last range will do: the one with the most zeros at its end.
        let end = self.low + u64::from(self.range);
        for zeros in (0..=32).rev() {
            let mask = (1_u64 << zeros) - 1;
            let rounded = (self.low + mask) & !mask;
            if rounded < end {
                self.low = rounded;
                break;
            }
        }
        for _ in 0..5 {
            self.shift();
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }

    #[inline]
    fn normalise(&mut self) {
        while self.range < BOTTOM {
            self.range <<= 8;
            self.shift();
        }
    }

    fn shift(&mut self) {
        let carry = self.low >> 32 != 0;
        let head = self.low.to_be_bytes()[4];
        if head < u8::MAX || carry {
            let add = u8::from(carry);
            if let Some(held) = self.held.replace(head) {
                self.out.push(held.wrapping_add(add));
            }
            let through = self.out.len() + std::mem::take(&mut self.full);
            self.out.resize(through, u8::MAX.wrapping_add(add));
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }
}

impl Coder for Encoder {
    const READS: bool = false;

    #[inline]
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(model.set);
        if bit {
            self.range = bound;
        } else {
            self.low += u64::from(bound);
            self.range -= bound;
        }
        model.learn(bit);
        self.normalise();
        bit
    }

    #[inline]
    fn few(&mut self, bits: u32, value: u32) -> u32 {
        self.range >>= bits;
        self.low += u64::from(value) * u64::from(self.range);
        self.normalise();
        value
    }
}

#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    code: u32,
    range: u32,
    input: std::slice::Iter<'a, u8>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { code: 0, range: u32::MAX, input: bytes.iter() };
        for _ in 0..4 {
            decoder.code = (decoder.code << 8) | decoder.next();
        }
        decoder
    }

    #[inline]
    fn next(&mut self) -> u32 {
        self.input.next().map_or(0, |byte| u32::from(*byte))
    }

    #[inline]
    fn normalise(&mut self) {
        while self.range < BOTTOM {
            self.range <<= 8;
            self.code = (self.code << 8) | self.next();
        }
    }
}

impl Coder for Decoder<'_> {
    const READS: bool = true;

    #[inline]
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(model.set);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        model.learn(bit);
        self.normalise();
        bit
    }

    #[inline]
    fn few(&mut self, bits: u32, _: u32) -> u32 {
        self.range >>= bits;
        let value = (self.code / self.range).min((1 << bits) - 1);
        self.code -= value * self.range;
        self.normalise();
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_and_raw_numbers_lead_back(
            items in prop::collection::vec((any::<bool>(), 0_usize..3, 0_u32..=64, any::<u64>()), 0..500)
        ) {
            let mut models = [Bit::NEW; 3];
            let mut encoder = Encoder::new();
            for (bit, model, bits, value) in &items {
                encoder.bit(&mut models[*model], *bit);
                encoder.raw(*bits, *value);
            }
            let bytes = encoder.finish();
            let mut models = [Bit::NEW; 3];
            let mut decoder = Decoder::new(&bytes);
            for (bit, model, bits, value) in &items {
                prop_assert_eq!(decoder.bit(&mut models[*model], false), *bit);
                let mask = if *bits == 64 { u64::MAX } else { (1 << bits) - 1 };
                prop_assert_eq!(decoder.raw(*bits, 0), value & mask);
            }
        }
    }

    #[test]
    fn what_never_changes_costs_next_to_nothing() {
        let (mut encoder, mut model) = (Encoder::new(), Bit::NEW);
        for _ in 0..3_600 {
            encoder.bit(&mut model, false);
        }
        assert!(encoder.finish().len() <= 8, "an hour of the same");
    }

    #[test]
    fn carries_run_through_full_bytes() {
        let mut encoder = Encoder::new();
        let mut model = Bit::NEW;
        // The upper end of every range, then over it.
        for _ in 0..40 {
            encoder.few(16, 0xffff);
        }
        encoder.bit(&mut model, false);
        encoder.few(16, 0xffff);
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let mut model = Bit::NEW;
        for _ in 0..40 {
            assert_eq!(decoder.few(16, 0), 0xffff);
        }
        assert!(!decoder.bit(&mut model, true));
        assert_eq!(decoder.few(16, 0), 0xffff);
    }
}
