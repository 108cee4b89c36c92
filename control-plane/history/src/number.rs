//! Whole numbers under adaptive models: how many bits one has is learnt, and so are its first bits; the rest is noise.
//!
//! The number of bits (the *class*: 0 for 0, 1 for ±1, 2 for ±2 and ±3…) is told relative to the one that is expected,
//! because the differences of neighbouring samples have about the same shape whatever their scale is.

use crate::coder::{Bit, Coder};

/// Expected classes that are told apart; above, the shape no longer depends on the scale.
const SCALES: usize = 8;
/// Steps from the expected class that are told apart.
const STEPS: usize = 12;
/// Classes whose leading bits are told apart.
const LEADING: usize = 12;
/// Fractional bits of an expected class.
const FRACTION: u32 = 4;
/// How fast the expected class follows: a shift, so an eighth of the difference.
const FOLLOW: u32 = 3;

/// A number that is not negative, whose class is about known.
#[derive(Debug)]
pub(crate) struct Magnitude {
    up: [[Bit; STEPS]; 2 * SCALES],
    down: [[Bit; STEPS]; 2 * SCALES],
    leading: [[Bit; 3]; LEADING],
}

impl Magnitude {
    pub(crate) const fn new() -> Self {
        Self {
            up: [[Bit::NEW; STEPS]; 2 * SCALES],
            down: [[Bit::NEW; STEPS]; 2 * SCALES],
            leading: [[Bit::NEW; 3]; LEADING],
        }
    }

    /// `expected` is a class times `2^FRACTION`.
    #[inline]
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, value: u64, expected: u32) -> u64 {
        let class = self.class(coder, class_of(value), expected);
        let Some(rest) = class.checked_sub(1) else { return 0 };
        let leading = &mut self.leading[(class as usize).min(LEADING) - 1];
        let mut read = 1_u64;
        let modelled = rest.min(2);
        let mut node = 1_usize;
        for at in 1..=modelled {
            let bit = coder.bit(&mut leading[node - 1], value >> (rest - at) & 1 == 1);
            node = 2 * node + usize::from(bit);
            read = 2 * read + u64::from(bit);
        }
        let noise = rest - modelled;
        if noise == 0 {
            return read;
        }
        (read << noise) | coder.raw(noise, value)
    }

    #[inline]
    fn class<C: Coder>(&mut self, coder: &mut C, class: u32, expected: u32) -> u32 {
        let half = 1 << (FRACTION - 1);
        let start = (expected + half) >> FRACTION;
        let side = (expected + half) >> (FRACTION - 1) & 1;
        let scale = (start as usize).min(SCALES - 1) * 2 + side as usize;
        let mut at = start;
        let up = &mut self.up[scale];
        let mut step = 0;
        while at < u64::BITS && coder.bit(&mut up[step], class > at) {
            at += 1;
            step = (step + 1).min(STEPS - 1);
        }
        if at > start {
            return at;
        }
        let down = &mut self.down[scale];
        step = 0;
        while at > 0 && coder.bit(&mut down[step], class < at) {
            at -= 1;
            step = (step + 1).min(STEPS - 1);
        }
        at
    }
}

/// Differences around zero, whose scale changes slowly.
#[derive(Debug)]
pub(crate) struct Difference {
    magnitude: Magnitude,
    sign: [[Bit; 2]; 3],
    /// The class that is expected, times `2^FRACTION`.
    expected: u32,
    /// Of the last one: 0 nothing, 1 positive, 2 negative.
    last: usize,
}

impl Difference {
    pub(crate) const fn new() -> Self {
        Self { magnitude: Magnitude::new(), sign: [[Bit::NEW; 2]; 3], expected: 0, last: 0 }
    }

    #[inline]
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, value: i64) -> i64 {
        let magnitude = self.magnitude.code(coder, value.unsigned_abs(), self.expected);
        let class = class_of(magnitude);
        self.expected = follow(self.expected, class);
        if magnitude == 0 {
            self.last = 0;
            return 0;
        }
        let small = usize::from(class == 1);
        let negative = coder.bit(&mut self.sign[self.last][small], value < 0);
        self.last = 1 + usize::from(negative);
        let positive = magnitude.cast_signed();
        if negative { positive.wrapping_neg() } else { positive }
    }
}

/// The bits that a number has.
#[inline]
pub(crate) const fn class_of(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// A class as an expectation.
#[inline]
pub(crate) const fn exactly(class: u32) -> u32 {
    class << FRACTION
}

#[inline]
const fn follow(expected: u32, class: u32) -> u32 {
    let target = exactly(class);
    if target >= expected {
        // Rounded up, so that a single outlier is noticed even from zero.
        expected + ((target - expected + (1 << FOLLOW) - 1) >> FOLLOW)
    } else {
        expected - ((expected - target + (1 << FOLLOW) - 1) >> FOLLOW)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coder::{Decoder, Encoder};

    proptest! {
        #[test]
        fn any_numbers_lead_back(
            values in prop::collection::vec((any::<i64>(), 0_u32..64), 0..300), expected in 0_u32..1_024
        ) {
            let values: Vec<i64> = values.into_iter().map(|(value, shift)| value >> shift).chain([i64::MIN, i64::MAX]).collect();
            let mut encoder = Encoder::new();
            let (mut difference, mut magnitude) = (Difference::new(), Magnitude::new());
            for value in &values {
                difference.code(&mut encoder, *value);
                magnitude.code(&mut encoder, value.cast_unsigned(), expected);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let (mut difference, mut magnitude) = (Difference::new(), Magnitude::new());
            for value in values {
                prop_assert_eq!(difference.code(&mut decoder, 0), value);
                prop_assert_eq!(magnitude.code(&mut decoder, 0, expected), value.cast_unsigned());
            }
        }
    }
}
