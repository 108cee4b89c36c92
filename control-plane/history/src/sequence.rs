//! A sequence of whole numbers: each is one of the values that came up before, or is told by its distance to a prediction.
//!
//! Seven predictors run side by side; the one that was nearest lately predicts next. Nothing of that is stored: the
//! decoder sees the same past and draws the same conclusion. One of them is the floor, zero: what comes in bursts, like
//! bytes and faults, is best told by its size alone, which is a matter of its own with models of its own.

use crate::coder::{Bit, Coder};
use crate::number::{Difference, class_of};

/// Whether, and in which order, values that came up before are remembered. The encoder tries what may fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Not at all: noise.
    None,
    /// The newest first: levels that hold for a while.
    Recent,
    /// The most frequent first: a few values in turn.
    Frequent,
}

impl Memory {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Recent, Self::Frequent];
}

#[derive(Debug)]
pub(crate) struct Sequence {
    known: Option<Known>,
    predictor: Predictor,
    difference: Difference,
    above_floor: Difference,
}

impl Sequence {
    /// Of values that are best told from zero, such as those above the smallest.
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            known: (memory != Memory::None).then(|| Known::new(memory == Memory::Recent)),
            predictor: Predictor::new(),
            difference: Difference::new(),
            above_floor: Difference::new(),
        }
    }

    #[inline]
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, value: i64) -> i64 {
        let known = self.known.as_mut().and_then(|known| known.code(coder, value));
        let value = known.unwrap_or_else(|| {
            let best = self.predictor.best();
            let predicted = self.predictor.predictions[best];
            let model = if best == FLOOR { &mut self.above_floor } else { &mut self.difference };
            predicted.wrapping_add(model.code(coder, value.wrapping_sub(predicted)))
        });
        if let Some(memory) = &mut self.known
            && known.is_none()
        {
            memory.insert(value);
        }
        self.predictor.learn(value);
        value
    }
}

/// Values that are remembered.
const KNOWN: usize = 12;
/// Places of the value before that are told apart, one of them that it was new.
const PLACES: usize = 5;

/// The values that came up before, by rank.
#[derive(Debug)]
struct Known {
    values: [i64; KNOWN],
    held: usize,
    newest_first: bool,
    /// The rank of the last value, as a context.
    last: usize,
    new: [Bit; PLACES],
    rank: [[Bit; KNOWN]; PLACES],
}

impl Known {
    fn new(newest_first: bool) -> Self {
        let (new, rank) = ([Bit::NEW; PLACES], [[Bit::NEW; KNOWN]; PLACES]);
        Self { values: [0; KNOWN], held: 1, newest_first, last: 0, new, rank }
    }

    /// The value, when it is a remembered one.
    #[inline]
    fn code<C: Coder>(&mut self, coder: &mut C, value: i64) -> Option<i64> {
        let place = if C::READS { None } else { self.values[..self.held].iter().position(|known| *known == value) };
        if coder.bit(&mut self.new[self.last], place.is_none()) {
            self.last = PLACES - 1;
            return None;
        }
        let wanted = place.unwrap_or(0);
        let mut rank = 0;
        while rank + 1 < self.held && coder.bit(&mut self.rank[self.last][rank], rank < wanted) {
            rank += 1;
        }
        self.last = rank.min(PLACES - 2);
        let value = self.values[rank];
        if self.newest_first {
            self.values[..=rank].rotate_right(1);
        } else if rank > 0 {
            self.values.swap(rank - 1, rank);
        }
        Some(value)
    }

    fn insert(&mut self, value: i64) {
        self.held = (self.held + 1).min(KNOWN);
        let end = self.held;
        self.values[end - 1] = value;
        if self.newest_first {
            self.values[..end].rotate_right(1);
        }
    }
}

/// Fractional bits of a mean.
const FRACTION: u32 = 8;
/// Beyond it values do not enter a mean: with its fraction a difference of two still fits.
const MEAN_LIMIT: i64 = 1 << 53;
const PREDICTORS: usize = 7;
const FLOOR: usize = 6;
/// What the sign of a difference costs, in the units of [`missed_by`]; above the floor there is none.
const SIGN: u32 = 8;
/// How fast a predictor's past is forgotten, as a shift.
const FORGET: u32 = 4;

#[derive(Debug)]
struct Predictor {
    last: i64,
    before: i64,
    fast: i64,
    slow: i64,
    drift: i64,
    /// By predictor: bits by which it was off lately.
    off: [u32; PREDICTORS],
    predictions: [i64; PREDICTORS],
}

impl Predictor {
    const fn new() -> Self {
        let off = [0; PREDICTORS];
        Self { last: 0, before: 0, fast: 0, slow: 0, drift: 0, off, predictions: [0; PREDICTORS] }
    }

    #[inline]
    fn best(&self) -> usize {
        let mut best = 0;
        for at in 1..PREDICTORS {
            if self.off[at] < self.off[best] {
                best = at;
            }
        }
        best
    }

    #[inline]
    fn learn(&mut self, value: i64) {
        for (at, (off, prediction)) in self.off.iter_mut().zip(self.predictions).enumerate() {
            let error = value.wrapping_sub(prediction);
            let sign = if at == FLOOR || error == 0 { 0 } else { SIGN };
            *off = *off - (*off >> FORGET) + missed_by(error) + sign;
        }
        let step = scaled(value.wrapping_sub(self.last));
        (self.before, self.last) = (self.last, value);
        let target = scaled(value);
        self.fast += (target - self.fast) >> 1;
        self.slow += (target - self.slow) >> 4;
        self.drift += (step - self.drift) >> 4;
        let slow = rounded(self.slow);
        self.predictions = [
            value,
            value.wrapping_add(value.wrapping_sub(self.before)),
            rounded(self.fast),
            slow,
            value.wrapping_add(rounded(self.drift)),
            (value >> 1).wrapping_add(slow >> 1),
            0,
        ];
    }
}

/// About eight times the bits of an error.
#[inline]
const fn missed_by(error: i64) -> u32 {
    let size = error.unsigned_abs();
    let class = class_of(size);
    // Three bits after the leading one, so that a slightly better predictor is seen to be better.
    let finer = if class > 4 { (size >> (class - 4)) & 7 } else { (size << (4 - class)) & 7 };
    #[allow(clippy::cast_possible_truncation, reason = "three bits")]
    let finer = finer as u32;
    class * 8 + finer
}

#[inline]
const fn scaled(value: i64) -> i64 {
    let limited = if value > MEAN_LIMIT {
        MEAN_LIMIT
    } else if value < -MEAN_LIMIT {
        -MEAN_LIMIT
    } else {
        value
    };
    limited << FRACTION
}

#[inline]
const fn rounded(mean: i64) -> i64 {
    (mean + (1 << (FRACTION - 1))) >> FRACTION
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coder::{Decoder, Encoder};

    proptest! {
        #[test]
        fn any_sequence_leads_back(
            values in prop::collection::vec((any::<i64>(), 0_u32..64), 0..300), memory in 0_usize..3
        ) {
            let memory = Memory::ALL[memory];
            let values: Vec<i64> = values.into_iter().map(|(value, shift)| value >> shift).collect();
            let mut encoder = Encoder::new();
            let mut sequence = Sequence::new(memory);
            for value in &values {
                sequence.code(&mut encoder, *value);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut sequence = Sequence::new(memory);
            for value in values {
                prop_assert_eq!(sequence.code(&mut decoder, 0), value);
            }
        }
    }

    #[test]
    fn a_straight_line_costs_next_to_nothing() {
        let mut encoder = Encoder::new();
        let mut sequence = Sequence::new(Memory::None);
        for at in 0..3_600 {
            sequence.code(&mut encoder, at * 977);
        }
        let length = encoder.finish().len();
        assert!(length < 40, "{length} bytes");
    }
}
