//! Floating-point numbers as decimals, where they are.

use crate::error::DecodeError;

/// Powers of ten that a double holds exactly, as far as they are tried.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Every whole number up to here is a double.
const WHOLE: f64 = 9_007_199_254_740_992.0;
/// Of eight values this many have to be decimal for the others to be told as distances from one.
const MOST: usize = 6;

/// How values and mantissas belong together: `value = mantissa / 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) exponent: u8,
    /// For every value of the column.
    pub(super) exact: bool,
}

impl Scale {
    /// The smallest exponent that makes all values whole, or else one that makes most of them whole.
    ///
    /// A quotient of two exact doubles is the double nearest to it, so what one exponent makes whole, larger ones make
    /// whole as well, as long as the mantissa is below 2^53.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut exponent = 0;
        for value in values {
            match exponent_of(*value, exponent) {
                Some(needed) => exponent = needed,
                None => return Self::of_most(values),
            }
        }
        let scale = Self::new(exponent, true)?;
        let fits = values.iter().all(|value| scale.leads_back(*value));
        if fits { Some(scale) } else { Self::of_most(values) }
    }

    fn of_most(values: &[f64]) -> Option<Self> {
        let mut needing = [0_usize; POWERS.len()];
        for value in values {
            if let Some(exponent) = exponent_of(*value, 0) {
                needing[exponent] += 1;
            }
        }
        let mut covered = 0;
        let enough = values.len() * MOST / 8;
        let exponent = needing.iter().position(|count| {
            covered += count;
            covered > 0 && covered >= enough
        })?;
        let bounded = values.iter().all(|value| (value * POWERS[exponent]).abs() <= WHOLE);
        if bounded { Self::new(exponent, false) } else { None }
    }

    fn new(exponent: usize, exact: bool) -> Option<Self> {
        Some(Self { exponent: u8::try_from(exponent).ok()?, exact })
    }

    pub(super) fn read(exponent: u8, exact: bool) -> Result<Self, DecodeError> {
        if usize::from(exponent) < POWERS.len() {
            return Ok(Self { exponent, exact });
        }
        Err(DecodeError::Malformed("an exponent that is not used"))
    }

    #[inline]
    pub(super) fn mantissa(self, value: f64) -> i64 {
        whole(value * self.power())
    }

    #[inline]
    pub(super) fn value(self, mantissa: i64) -> f64 {
        mantissa as f64 / self.power()
    }

    fn leads_back(self, value: f64) -> bool {
        let scaled = value * self.power();
        scaled.abs() <= WHOLE && self.value(whole(scaled)).to_bits() == value.to_bits()
    }

    fn power(self) -> f64 {
        POWERS[usize::from(self.exponent) % POWERS.len()]
    }
}

/// The smallest exponent from `least` on that makes a value whole.
fn exponent_of(value: f64, least: usize) -> Option<usize> {
    let leads_back = |exponent: usize| {
        let scaled = value * POWERS[exponent];
        scaled.abs() <= WHOLE && (scaled.round() / POWERS[exponent]).to_bits() == value.to_bits()
    };
    // -0.0 passes the division above and has no mantissa.
    if value == 0.0 && value.is_sign_negative() {
        return None;
    }
    (least..POWERS.len()).find(|exponent| leads_back(*exponent))
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "saturates; what encodes stays below 2^53")]
fn whole(scaled: f64) -> i64 {
    scaled.round() as i64
}

/// The bits of a double as a whole number, in the order of the doubles.
#[inline]
pub(super) const fn ordered(bits: u64) -> i64 {
    let signed = bits.cast_signed();
    signed ^ ((signed >> 63) & i64::MAX)
}

/// The inverse of [`ordered`].
#[inline]
pub(super) const fn bits(ordered: i64) -> u64 {
    (ordered ^ ((ordered >> 63) & i64::MAX)).cast_unsigned()
}
