//! The times of a block, one column for all of its series ([layout](crate::row)).
//!
//! A sampler has a rhythm. Stored are the first time, the step that occurs most often, and by how many milliseconds each
//! time is off that rhythm: for a timer that keeps it and misses nothing, that is nothing at all. After a gap the rhythm
//! goes on shifted, which costs once.

use outrigger_protocol::time::UnixMillis;

use crate::coder::{Decoder, Encoder};
use crate::error::DecodeError;
use crate::limits;
use crate::sequence::{Memory, Sequence};
use crate::varint::{self, Reader};

const REGULAR: u8 = 0;

/// `times` ascend.
pub(crate) fn encode(out: &mut Vec<u8>, times: &[UnixMillis]) {
    let first = times.first().map_or(0, |time| time.as_millis());
    let step = usual_step(times);
    varint::write(out, first);
    varint::write(out, step);
    let off: Vec<i64> = times.iter().zip(rhythm(first, step)).map(|(at, due)| distance(at.as_millis(), due)).collect();
    if off.iter().all(|off| *off == 0) {
        return out.push(REGULAR);
    }
    let streams = Memory::ALL.into_iter().map(|memory| (memory, stream(memory, &off)));
    let (memory, stream) = streams.min_by_key(|(_, stream)| stream.len()).unwrap_or((Memory::None, Vec::new()));
    out.push(1 + memory as u8);
    varint::write(out, stream.len() as u64);
    out.extend(stream);
}

fn stream(memory: Memory, off: &[i64]) -> Vec<u8> {
    let (mut encoder, mut sequence) = (Encoder::new(), Sequence::new(memory));
    for off in off {
        sequence.code(&mut encoder, *off);
    }
    encoder.finish()
}

/// Times that were looked at and not yet decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times<'a> {
    first: u64,
    step: u64,
    stream: Option<(Memory, &'a [u8])>,
    samples: usize,
}

impl<'a> Times<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, samples: usize) -> Result<Self, DecodeError> {
        let (first, step) = (reader.number()?, reader.number()?);
        let stream = match reader.byte()? {
            REGULAR => None,
            memory => {
                let memory = Memory::ALL.get(usize::from(memory) - 1);
                let memory = *memory.ok_or(DecodeError::Malformed("times of an unknown kind"))?;
                let length = reader.limited("bytes of times", limits::ROW_BYTES)?;
                Some((memory, reader.bytes(length)?))
            }
        };
        Ok(Self { first, step, stream, samples })
    }

    pub(crate) fn decode(&self) -> Result<Vec<UnixMillis>, DecodeError> {
        let mut times = Vec::with_capacity(self.samples);
        let mut coding = self.stream.map(|(memory, stream)| (Decoder::new(stream), Sequence::new(memory)));
        for due in rhythm(self.first, self.step).take(self.samples) {
            let off = coding.as_mut().map_or(0, |(decoder, sequence)| sequence.code(decoder, 0));
            let at = UnixMillis::from_millis(due.wrapping_add(off.cast_unsigned()));
            if times.last().is_some_and(|last| *last >= at) {
                return Err(DecodeError::Malformed("times that do not ascend"));
            }
            times.push(at);
        }
        Ok(times)
    }
}

fn rhythm(first: u64, step: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(first), move |due| Some(due.wrapping_add(step)))
}

const fn distance(at: u64, due: u64) -> i64 {
    at.wrapping_sub(due).cast_signed()
}

/// The median of the steps.
fn usual_step(times: &[UnixMillis]) -> u64 {
    let mut steps: Vec<u64> = times.windows(2).map(|pair| pair[1].as_millis() - pair[0].as_millis()).collect();
    if steps.is_empty() {
        return 0;
    }
    let middle = steps.len() / 2;
    *steps.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_lead_back(times: &[u64]) -> usize {
        let times: Vec<_> = times.iter().map(|at| UnixMillis::from_millis(*at)).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, &times);
        let mut reader = Reader(&bytes);
        let read = Times::read(&mut reader, times.len()).expect("readable");
        assert!(reader.is_empty());
        assert_eq!(read.decode(), Ok(times));
        bytes.len()
    }

    const START: u64 = 1_790_000_000_123;

    #[test]
    fn a_rhythm_is_a_few_bytes_and_a_gap_a_few_more() {
        assert!(assert_lead_back(&(0..3_600).map(|at| START + at * 1_000).collect::<Vec<_>>()) <= 10);
        let gaps = (0..3_600).filter(|at| !(500..800).contains(at) && *at != 17).map(|at| START + at * 1_000);
        let length = assert_lead_back(&gaps.collect::<Vec<_>>());
        assert!(length < 40, "{length} bytes");
    }

    #[test]
    fn the_ends_of_time_lead_back() {
        assert_lead_back(&[0]);
        assert_lead_back(&[0, u64::MAX]);
        assert_lead_back(&[u64::MAX - 1, u64::MAX]);
        assert_lead_back(&[0, 1, u64::MAX - 1]);
    }

    proptest! {
        #[test]
        fn any_ascending_times_lead_back(times in prop::collection::btree_set(any::<u64>(), 1..300)) {
            assert_lead_back(&times.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn jitter_leads_back_and_costs_less_than_a_byte(jitter in prop::collection::vec(0_u64..5, 1_000..1_500)) {
            let times: Vec<u64> = (START..).step_by(1_000).zip(&jitter).map(|(due, off)| due + off).collect();
            prop_assert!(assert_lead_back(&times) < times.len());
        }
    }
}
