//! One column of response times: a histogram at each time of its block, or none.
//!
//! The counts of a bucket are expected to have as many bits as those of the bucket below it and as the same bucket had
//! before; the sum is expected to be what the mean before makes of the count.

use std::ops::Range;

use outrigger_protocol::histogram::{BUCKETS, LatencyHistogram};

use crate::coder::{Coder, Decoder, Encoder};
use crate::column::Presence;
use crate::error::DecodeError;
use crate::number::{Difference, Magnitude, class_of, exactly};

/// A bucket travels as one byte.
type Counts = [u32; BUCKETS];

/// The bytes of a column; none when no histogram is present.
pub(crate) fn encode(histograms: &[Option<LatencyHistogram>]) -> Option<Vec<u8>> {
    histograms.iter().flatten().next()?;
    let (mut encoder, mut presence, mut cells) = (Encoder::new(), Presence::new(), Cells::new());
    for histogram in histograms {
        presence.code(&mut encoder, histogram.is_some());
        if let Some(histogram) = histogram {
            cells.code(&mut encoder, &Parts::of(histogram));
        }
    }
    Some(encoder.finish())
}

pub(crate) fn decode(bytes: &[u8], samples: usize) -> Result<Vec<Option<LatencyHistogram>>, DecodeError> {
    let (mut decoder, mut presence, mut cells) = (Decoder::new(bytes), Presence::new(), Cells::new());
    let mut histograms = Vec::with_capacity(samples.min(bytes.len().saturating_mul(8)));
    for _ in 0..samples {
        histograms.push(if presence.code(&mut decoder, false) {
            Some(cells.code(&mut decoder, &Parts::EMPTY).histogram()?)
        } else {
            None
        });
    }
    Ok(histograms)
}

/// What a histogram is made of.
#[derive(Clone)]
struct Parts {
    counts: Counts,
    /// From the first bucket with a count through the last.
    occupied: Range<usize>,
    sum: u64,
    min: u32,
    max: u32,
}

impl Parts {
    const EMPTY: Self = Self { counts: [0; BUCKETS], occupied: 0..0, sum: 0, min: 0, max: 0 };

    fn of(histogram: &LatencyHistogram) -> Self {
        let mut parts = Self::EMPTY;
        for (bucket, count) in histogram.buckets() {
            let bucket = usize::from(bucket);
            parts.counts[bucket] = count;
            let first = if parts.occupied.is_empty() { bucket } else { parts.occupied.start };
            parts.occupied = first..bucket + 1;
        }
        (parts.sum, parts.min, parts.max) = (histogram.sum_us(), histogram.min_us(), histogram.max_us());
        parts
    }

    fn histogram(&self) -> Result<LatencyHistogram, DecodeError> {
        let occupied = self.counts.iter().zip(0_u8..).filter(|(count, _)| **count > 0);
        let buckets: Vec<(u8, u32)> = occupied.map(|(count, bucket)| (bucket, *count)).collect();
        LatencyHistogram::from_parts(&buckets, self.sum, self.min, self.max)
            .ok_or(DecodeError::Malformed("a histogram that cannot be"))
    }

    fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

struct Cells {
    before: Box<Parts>,
    first: Difference,
    length: Difference,
    counts: Box<Magnitude>,
    min: Difference,
    max: Difference,
    sum: Difference,
}

impl Cells {
    fn new() -> Self {
        Self {
            before: Box::new(Parts::EMPTY),
            first: Difference::new(),
            length: Difference::new(),
            counts: Box::new(Magnitude::new()),
            min: Difference::new(),
            max: Difference::new(),
            sum: Difference::new(),
        }
    }

    fn code<C: Coder>(&mut self, coder: &mut C, parts: &Parts) -> &Parts {
        let before = &self.before;
        let (known, was) = (&parts.occupied, &before.occupied);
        let first = coded(&mut self.first, coder, known.start as u64, was.start as u64);
        let length = coded(&mut self.length, coder, known.len() as u64, was.len() as u64);
        // A decoder may be told anything: what it is told stays inside the buckets.
        let first = usize::try_from(first).unwrap_or(BUCKETS).min(BUCKETS - 1);
        let end = first.saturating_add(usize::try_from(length).unwrap_or(BUCKETS)).min(BUCKETS);
        let mut now = Parts { occupied: first..end, ..Parts::EMPTY };
        let mut below = 0;
        for bucket in first..end {
            let expected = (exactly(class_of(u64::from(before.counts[bucket]))) + exactly(class_of(below))) / 2;
            let count = self.counts.code(coder, u64::from(parts.counts[bucket]), expected);
            now.counts[bucket] = u32::try_from(count).unwrap_or(u32::MAX);
            below = count;
        }
        let min = coded(&mut self.min, coder, parts.min.into(), before.min.into());
        let max = coded(&mut self.max, coder, parts.max.into(), before.max.into());
        let mean = before.sum.checked_div(before.count()).unwrap_or(0);
        now.sum = coded(&mut self.sum, coder, parts.sum, mean.wrapping_mul(now.count()));
        now.min = u32::try_from(min).unwrap_or(u32::MAX);
        now.max = u32::try_from(max).unwrap_or(u32::MAX);
        *self.before = now;
        &self.before
    }
}

/// A number by its distance to what was expected.
fn coded<C: Coder>(model: &mut Difference, coder: &mut C, value: u64, expected: u64) -> u64 {
    let distance = model.code(coder, value.wrapping_sub(expected).cast_signed());
    expected.wrapping_add(distance.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn recorded(micros: &[u32]) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        for us in micros {
            histogram.record(Duration::from_micros(u64::from(*us)));
        }
        histogram
    }

    proptest! {
        #[test]
        fn any_histograms_lead_back(
            columns in prop::collection::vec(prop::option::of(prop::collection::vec((any::<u32>(), 0_u32..32), 0..30)), 0..40)
        ) {
            let histograms: Vec<_> = columns
                .into_iter()
                .map(|column| column.map(|us| recorded(&us.into_iter().map(|(us, shift)| us >> shift).collect::<Vec<_>>())))
                .collect();
            match encode(&histograms) {
                Some(bytes) => prop_assert_eq!(decode(&bytes, histograms.len()), Ok(histograms)),
                None => prop_assert!(histograms.iter().all(Option::is_none)),
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), samples in 0_usize..100) {
            if let Ok(histograms) = decode(&bytes, samples) {
                prop_assert_eq!(histograms.len(), samples);
            }
        }
    }

    #[test]
    fn a_steady_second_of_traffic_costs_a_few_bytes() {
        // Two hundred requests a second, spread over fifty buckets.
        let second = recorded(&(1..200).map(|at| 900 + 37 * at).collect::<Vec<_>>());
        let length = encode(&vec![Some(second); 3_600]).expect("present").len();
        assert!(length < 6 * 3_600, "{length} bytes");
    }
}
