//! Takes samples in, without waiting.

use std::sync::Arc;
use std::time::Duration;

use outrigger_ingest::{Sink, Source};
use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;

use crate::archive::Inner;
use crate::buffer::{NoBuffer, Span, lock};
use crate::record;
use crate::stats::Count;

/// The archive as ingest sees it.
#[derive(Debug)]
pub(crate) struct ArchiveSink(pub(crate) Arc<Inner>);

impl Sink for ArchiveSink {
    fn samples(&self, source: Source, _interval: Duration, samples: &[Sample], received_at: UnixMillis) {
        let Self(inner) = self;
        let oldest = inner.oldest_sample(received_at);
        let timed = in_time(samples, received_at);
        let shifted = timed.iter().filter(|(at, sample)| *at != sample.at).count();
        inner.stats.add(Count::Shifted, shifted as u64);
        let kept: Vec<_> = timed.into_iter().filter(|(at, _)| at.as_millis() >= oldest).collect();
        inner.stats.add(Count::DroppedLate, (samples.len() - kept.len()) as u64);
        let spans = kept.iter().map(|(at, _)| Span::of(at.as_millis()));
        let Some(span) = spans.reduce(Span::and) else { return };
        if inner.buffers.bytes() >= inner.config.most_memory_bytes {
            return inner.stats.add(Count::DroppedFull, kept.len() as u64);
        }
        let buffer = match inner.buffers.of(source.deployment) {
            Ok(buffer) => buffer,
            Err(NoBuffer::Gone) => return inner.stats.add(Count::DroppedGone, kept.len() as u64),
            Err(NoBuffer::Full) => return inner.stats.add(Count::DroppedFull, kept.len() as u64),
        };
        let mut buffer = lock(&buffer);
        if buffer.gone {
            return inner.stats.add(Count::DroppedGone, kept.len() as u64);
        }
        let (grown, written) = buffer.append(received_at, span, |open| {
            let before = open.len();
            let written = record::write(open, source.instance, &kept);
            (open.len() - before, written)
        });
        inner.buffers.grown(grown);
        drop(buffer);
        inner.stats.add(Count::Samples, written.samples);
        inner.stats.add(Count::DroppedEmpty, written.empty);
        inner.stats.add(Count::DroppedValues, written.values);
    }

    fn deployment_gone(&self, deployment: DeploymentId) {
        self.0.bury(deployment);
    }
}

/// The samples with the times that they are kept at: those that claim to be from the future are brought back by what the
/// one furthest ahead is ahead, so that their distances stay.
fn in_time(samples: &[Sample], received_at: UnixMillis) -> Vec<(UnixMillis, &Sample)> {
    let ahead = samples.iter().map(|sample| sample.at.since(received_at)).max().unwrap_or_default();
    let kept_at = |at: UnixMillis| if at > received_at { at.saturating_sub(ahead) } else { at };
    samples.iter().map(|sample| (kept_at(sample.at), sample)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_from_the_future_keep_their_distances_and_others_their_times() {
        let at = |ms| Sample::new(UnixMillis::from_millis(ms));
        let samples = [at(900), at(5_000), at(6_000)];
        let times: Vec<u64> =
            in_time(&samples, UnixMillis::from_millis(1_000)).iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [900, 0, 1_000]);
    }
}
