//! What it costs to turn a batch into a frame and back.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result};
use outrigger_protocol::codec::{PREFIX_BYTES, decode, encode};
use outrigger_protocol::sample::{BatchId, MetricBatch};
use outrigger_protocol::time::UnixMillis;

use crate::figure::{Figure, Reference};
use crate::statistics::{Measurements, micros};
use crate::workload::{Noise, sample};

/// Rounds, and operations in each: single ones are shorter than the clock is exact.
const ROUNDS: usize = 200;
const OPERATIONS: u32 = 500;

/// One agent's second.
#[must_use]
pub fn batch() -> MetricBatch {
    let sample = sample(UnixMillis::from_millis(1_704_067_200_000), 55.0, &mut Noise::new(3));
    MetricBatch { id: BatchId { epoch: 1_704_067_100_000, seq: 100 }, samples: vec![sample], dropped: 0 }
}

/// # Errors
/// The batch does not survive.
pub fn measure() -> Result<Vec<Figure>> {
    figures(ROUNDS, OPERATIONS)
}

fn figures(rounds: usize, operations: u32) -> Result<Vec<Figure>> {
    let batch = batch();
    let mut frame = Vec::new();
    encode(&batch, &mut frame)?;
    let body = frame[PREFIX_BYTES..].to_vec();
    let bytes = frame.len();
    let values = batch.samples[0].values.len();
    let encoded = median(rounds, operations, || {
        frame.clear();
        encode(black_box(&batch), &mut frame).is_ok()
    })?;
    let decoded = median(rounds, operations, || decode::<MetricBatch>(black_box(&body)).is_ok())?;
    let copied = median(rounds, operations, || {
        frame.clear();
        frame.extend_from_slice(black_box(&body));
        !frame.is_empty()
    })?;
    let copy = || Reference::new(format!("to copy its {bytes} bytes"), copied);
    Ok(vec![
        Figure::new(format!("codec: encode a batch of {values} values and a histogram"), "µs", encoded).beside(copy()),
        Figure::new("codec: decode and check it", "µs", decoded).beside(copy()),
    ])
}

/// Microseconds of one operation.
fn median(rounds: usize, operations: u32, mut operation: impl FnMut() -> bool) -> Result<f64> {
    let rounds = (0..rounds).map(|_| {
        let started = Instant::now();
        let worked = (0..operations).all(|_| black_box(operation()));
        if worked { micros(started.elapsed()) / f64::from(operations) } else { f64::NAN }
    });
    Ok(Measurements::new(rounds).context("the codec refused its own batch")?.median())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_measured() {
        let figures = figures(3, 10).unwrap();
        assert!(figures.iter().all(|figure| figure.measured.as_ref().is_ok_and(|us| *us > 0.0)), "{figures:?}");
    }
}
