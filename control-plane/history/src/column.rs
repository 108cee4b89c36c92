//! One column of numbers: values at the times of its block, some of which may be absent ([layout](crate::row)).
//!
//! Numbers that come from counters and clocks are decimal: 12.34 is the mantissa 1234 with the exponent 2. Mantissas are
//! what is coded, as `start + n · factor`, where the factor is the largest that all of them have (4,096 for memory).
//! Where some values are not exactly decimal (the sum of a few tenths seldom is), the distance of each to its decimal, in
//! units in the last place, is coded beside it. What is not decimal at all is coded as its bits, in the order of the
//! numbers that they stand for. In each form every value returns bit for bit, -0.0 and the infinities too.

mod decimal;

use crate::coder::{Bit, Coder, Decoder, Encoder};
use crate::error::DecodeError;
use crate::number::Difference;
use crate::sequence::{Memory, Sequence};
use crate::varint::{self, Reader};

use decimal::Scale;

const CONSTANT: u8 = 0;
const DECIMAL: u8 = 1;
const NEAR_DECIMAL: u8 = 2;
const BITS: u8 = 3;
const FORM: u8 = 0b11;
const GAPS: u8 = 0b100;
const MEMORY_SHIFT: u32 = 3;
/// In place of an exponent: the value follows as it is.
const VERBATIM: u8 = u8::MAX;
/// So many different values among the first ones and a memory of them is not worth trying.
const DISTINCT: usize = 40;
const PROBED: usize = 160;

/// The bytes of a column; none when no value is present.
pub(crate) fn encode(values: &[f64]) -> Option<Vec<u8>> {
    let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let first = *present.first()?;
    let gaps = present.len() < values.len();
    if present.iter().all(|value| value.to_bits() == first.to_bits()) {
        return Some(constant(values, first, gaps));
    }
    let bits = || Plan::new(None, gaps, &present).encode(values);
    Some(match Scale::of(&present) {
        Some(scale) if scale.exact => Plan::new(Some(scale), gaps, &present).encode(values),
        Some(scale) => shorter(Plan::new(Some(scale), gaps, &present).encode(values), bits()),
        None => bits(),
    })
}

fn shorter(a: Vec<u8>, b: Vec<u8>) -> Vec<u8> {
    if b.len() < a.len() { b } else { a }
}

fn constant(values: &[f64], value: f64, gaps: bool) -> Vec<u8> {
    let mut out = vec![CONSTANT | if gaps { GAPS } else { 0 }];
    match Scale::of(&[value]) {
        Some(scale) if scale.exact => {
            out.push(scale.exponent);
            varint::write_signed(&mut out, scale.mantissa(value));
        }
        _ => {
            out.push(VERBATIM);
            out.extend(value.to_bits().to_le_bytes());
        }
    }
    if gaps {
        let (mut encoder, mut presence) = (Encoder::new(), Presence::new());
        for value in values {
            presence.code(&mut encoder, !value.is_nan());
        }
        out.extend(encoder.finish());
    }
    out
}

/// How a column is encoded, the memory still to be chosen.
struct Plan {
    scale: Option<Scale>,
    gaps: bool,
    start: i64,
    factor: i64,
    memories: &'static [Memory],
}

impl Plan {
    fn new(scale: Option<Scale>, gaps: bool, present: &[f64]) -> Self {
        let whole =
            |value: &f64| scale.map_or_else(|| decimal::ordered(value.to_bits()), |scale| scale.mantissa(*value));
        // Decimals are told from the smallest; bits have no scale that would make it a floor.
        let first = present.first().map_or(0, whole);
        let start = if scale.is_some() { present.iter().map(whole).fold(first, i64::min) } else { first };
        let factor = if scale.is_some() {
            let common = present.iter().map(whole).fold(0, |common, n| divisor(common, (n - start).unsigned_abs()));
            common.max(1).cast_signed()
        } else {
            1
        };
        let mut seen = Vec::with_capacity(DISTINCT);
        for value in present.iter().take(PROBED) {
            if !seen.contains(&value.to_bits()) {
                seen.push(value.to_bits());
            }
        }
        let memories = if seen.len() > DISTINCT { &Memory::ALL[..1] } else { &Memory::ALL[..] };
        Self { scale, gaps, start, factor, memories }
    }

    fn encode(&self, values: &[f64]) -> Vec<u8> {
        let streams = self.memories.iter().map(|memory| (*memory, self.stream(*memory, values)));
        let (memory, stream) = streams.min_by_key(|(_, stream)| stream.len()).unwrap_or((Memory::None, Vec::new()));
        let form = match self.scale {
            Some(scale) if scale.exact => DECIMAL,
            Some(_) => NEAR_DECIMAL,
            None => BITS,
        };
        let gaps = if self.gaps { GAPS } else { 0 };
        let mut out = vec![form | gaps | (memory as u8) << MEMORY_SHIFT];
        out.extend(self.scale.map(|scale| scale.exponent));
        varint::write_signed(&mut out, self.start);
        varint::write(&mut out, self.factor.cast_unsigned());
        out.extend(stream);
        out
    }

    fn stream(&self, memory: Memory, values: &[f64]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let mut cells = Cells::new(memory, self.scale, self.start, self.factor);
        let mut presence = self.gaps.then(Presence::new);
        for value in values {
            let present = !value.is_nan();
            if let Some(presence) = &mut presence {
                presence.code(&mut encoder, present);
            }
            if present {
                cells.code(&mut encoder, *value);
            }
        }
        encoder.finish()
    }
}

/// The `samples` values of a column, NaN where one is absent.
pub(crate) fn decode(bytes: &[u8], samples: usize) -> Result<Vec<f64>, DecodeError> {
    let mut reader = Reader(bytes);
    let head = reader.byte()?;
    let memory = usize::from(head >> MEMORY_SHIFT);
    let memory = *Memory::ALL.get(memory).ok_or(DecodeError::Malformed("a column of an unknown kind"))?;
    let gaps = head & GAPS != 0;
    if head & FORM == CONSTANT {
        let exponent = reader.byte()?;
        let value = if exponent == VERBATIM {
            f64::from_bits(u64::from_le_bytes(reader.array()?))
        } else {
            Scale::read(exponent, true)?.value(reader.signed()?)
        };
        return Ok(repeat(value, gaps, reader.0, samples));
    }
    let scale = match head & FORM {
        BITS => None,
        form => Some(Scale::read(reader.byte()?, form == DECIMAL)?),
    };
    let start = reader.signed()?;
    let factor = reader.number()?.cast_signed();
    let mut decoder = Decoder::new(reader.0);
    let mut cells = Cells::new(memory, scale, start, factor);
    let mut presence = gaps.then(Presence::new);
    let mut values = Vec::with_capacity(samples);
    for _ in 0..samples {
        let present = presence.as_mut().is_none_or(|presence| presence.code(&mut decoder, false));
        values.push(if present { cells.code(&mut decoder, 0.0) } else { f64::NAN });
    }
    Ok(values)
}

fn repeat(value: f64, gaps: bool, stream: &[u8], samples: usize) -> Vec<f64> {
    if !gaps {
        return vec![value; samples];
    }
    let (mut decoder, mut presence) = (Decoder::new(stream), Presence::new());
    (0..samples).map(|_| if presence.code(&mut decoder, false) { value } else { f64::NAN }).collect()
}

/// Whether there is a value, as it was with the two before.
#[derive(Debug)]
pub(crate) struct Presence {
    models: [Bit; 4],
    before: usize,
}

impl Presence {
    pub(crate) const fn new() -> Self {
        Self { models: [Bit::NEW; 4], before: 3 }
    }

    #[inline]
    pub(crate) fn code<C: Coder>(&mut self, coder: &mut C, present: bool) -> bool {
        let present = coder.bit(&mut self.models[self.before], present);
        self.before = (2 * self.before + usize::from(present)) & 3;
        present
    }
}

/// The values of a column, one after the other, in either direction.
struct Cells {
    scale: Option<Scale>,
    start: i64,
    factor: i64,
    whole: Sequence,
    /// Units in the last place by which a value is not its decimal.
    near: Difference,
}

impl Cells {
    fn new(memory: Memory, scale: Option<Scale>, start: i64, factor: i64) -> Self {
        Self { scale, start, factor, whole: Sequence::new(memory), near: Difference::new() }
    }

    /// The value, which a decoder is not given.
    #[inline]
    fn code<C: Coder>(&mut self, coder: &mut C, value: f64) -> f64 {
        let Some(scale) = self.scale else {
            let distance = decimal::ordered(value.to_bits()).wrapping_sub(self.start);
            let whole = self.start.wrapping_add(self.whole.code(coder, distance));
            return f64::from_bits(decimal::bits(whole));
        };
        let steps = if C::READS {
            0
        } else {
            scale.mantissa(value).wrapping_sub(self.start).checked_div(self.factor).unwrap_or(0)
        };
        let mantissa = self.start.wrapping_add(self.whole.code(coder, steps).wrapping_mul(self.factor));
        let decimal = scale.value(mantissa);
        if scale.exact {
            return decimal;
        }
        let nearest = decimal::ordered(decimal.to_bits());
        let off = self.near.code(coder, decimal::ordered(value.to_bits()).wrapping_sub(nearest));
        f64::from_bits(decimal::bits(nearest.wrapping_add(off)))
    }
}

/// The greatest common divisor; that of nothing and a number is the number.
const fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
