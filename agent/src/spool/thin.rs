//! Falling resolution: how samples make room for newer ones.

use std::collections::VecDeque;
use std::time::Duration;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use super::metrics::Reading;

/// A sample, and what is folded into it.
#[derive(Debug)]
pub struct Weighted {
    pub(super) sample: Sample,
    pub(super) readings: u32,
    /// The time that the sample is about. The interval may change between one sample and the next, so that means are
    /// weighted by this and not by the number of readings.
    covers: Duration,
}

impl Weighted {
    pub(super) fn new(reading: Reading) -> Self {
        Self { sample: reading.sample, readings: 1, covers: reading.covers }
    }

    /// Neighbours of one resolution are folded with each other.
    const fn resolution(&self) -> u32 {
        self.readings.ilog2()
    }
}

/// Makes a queue of at least two samples, the oldest first, shorter.
///
/// The newest quarter stays as it is. Of the rest, the finest resolution is halved throughout: so a long queue covers
/// all of its time about evenly, and the coarser the longer that is, instead of forgetting its beginning.
pub(super) fn thin(queue: &mut VecDeque<Weighted>) {
    let before = queue.len();
    let settled = before - before / 4;
    let pairs = || queue.iter().zip(queue.iter().skip(1)).take(settled.saturating_sub(1));
    let finest = pairs().filter(|(a, b)| a.resolution() == b.resolution()).map(|(a, _)| a.resolution()).min();
    let mut rest = std::mem::take(queue).into_iter().enumerate().peekable();
    while let Some((at, older)) = rest.next() {
        let folds = |(place, newer): &(usize, Weighted)| match finest {
            Some(finest) => *place < settled && older.resolution() == finest && newer.resolution() == finest,
            // Each finer than the one before: the two oldest have to do.
            None => at == 0,
        };
        match rest.next_if(folds) {
            Some((_, newer)) => queue.push_back(fold(older, newer)),
            None => queue.push_back(older),
        }
    }
}

/// How two values of one metric become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folding {
    /// Counted since the sample before.
    Sum,
    /// Rates, shares and levels: the mean over the time of both, so that a rate times its time stays what it was.
    Mean,
    Greater,
    /// Limits: what holds now. There never was a limit of one and a half cores.
    Later,
}

impl Folding {
    const fn of(metric: Metric) -> Self {
        match metric {
            Metric::OomKills => Self::Sum,
            Metric::CpuLimit | Metric::MemoryLimit | Metric::ThreadsLimit => Self::Later,
            _ => Self::Mean,
        }
    }

    /// Of a program's own metric. Counters of programs are rates when they come here; what ends on `_max` is the longest
    /// of the times that StatsD told.
    fn of_custom(name: &str) -> Self {
        if name.ends_with("_max") { Self::Greater } else { Self::Mean }
    }

    /// `share` is the newer one's of the time.
    fn fold(self, older: f64, newer: f64, share: f64) -> f64 {
        match self {
            Self::Sum => older + newer,
            // Not the sum of both by their weights over the weights: that may exceed what a number holds.
            Self::Mean => older * (1.0 - share) + newer * share,
            Self::Greater => older.max(newer),
            Self::Later => newer,
        }
    }
}

/// One sample at the time of the newer. Response times are merged, and what only one of them has stays as it is.
fn fold(older: Weighted, newer: Weighted) -> Weighted {
    let share = share(older.covers, newer.covers);
    let readings = older.readings.saturating_add(newer.readings);
    let covers = older.covers.saturating_add(newer.covers);
    let (older, mut sample) = (older.sample, newer.sample);
    for (metric, before) in older.values {
        match sample.values.iter_mut().find(|(present, _)| *present == metric) {
            Some((_, value)) => *value = Folding::of(metric).fold(before, *value, share),
            None => sample.values.push((metric, before)),
        }
    }
    for (name, before) in older.custom {
        match sample.custom.iter_mut().find(|(present, _)| *present == name) {
            Some((_, value)) => *value = Folding::of_custom(&name).fold(before, *value, share),
            None => sample.custom.push((name, before)),
        }
    }
    sample.latency = match (older.latency, sample.latency.take()) {
        (Some(before), Some(mut after)) => {
            after.merge(&before);
            Some(after)
        }
        (before, after) => after.or(before),
    };
    // What waits for long keeps no room for more.
    sample.values.shrink_to_fit();
    Weighted { sample, readings, covers }
}

/// The newer one's of the time of both; half when neither says.
fn share(older: Duration, newer: Duration) -> f64 {
    let both = older.as_secs_f64() + newer.as_secs_f64();
    if both > 0.0 { newer.as_secs_f64() / both } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::histogram::LatencyHistogram;
    use outrigger_protocol::time::UnixMillis;

    const SECOND: Duration = Duration::from_secs(1);

    fn weighted(sample: Sample, readings: u32) -> Weighted {
        Weighted { sample, readings, covers: SECOND * readings }
    }

    #[test]
    fn what_is_counted_adds_up_and_what_is_measured_is_averaged() {
        let mut older = Sample::new(UnixMillis::from_millis(1_000));
        older.values =
            vec![(Metric::OomKills, 1.0), (Metric::Cpu, 10.0), (Metric::Threads, 7.0), (Metric::CpuLimit, 1.0)];
        older.custom = vec![("jobs".into(), 5.0), ("once".into(), 1.0), ("wait_max".into(), 80.0)];
        let mut histogram = LatencyHistogram::new();
        histogram.record(Duration::from_millis(3));
        older.latency = Some(histogram.clone());
        let mut newer = Sample::new(UnixMillis::from_millis(4_000));
        newer.values = vec![(Metric::OomKills, 2.0), (Metric::Cpu, 30.0), (Metric::CpuLimit, 2.0)];
        newer.custom = vec![("jobs".into(), 9.0), ("wait_max".into(), 20.0)];
        newer.latency = Some(histogram);

        let folded = fold(weighted(older, 1), weighted(newer, 3));
        assert_eq!((folded.readings, folded.covers), (4, 4 * SECOND));
        let newer = folded.sample;
        assert_eq!(newer.at, UnixMillis::from_millis(4_000));
        let values = [(Metric::OomKills, 3.0), (Metric::Cpu, 25.0), (Metric::CpuLimit, 2.0), (Metric::Threads, 7.0)];
        assert_eq!(newer.values, values);
        let custom = [("jobs", 8.0), ("wait_max", 80.0), ("once", 1.0)];
        assert_eq!(newer.custom, custom.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(newer.latency.map(|latency| latency.count()), Some(2));
    }

    #[test]
    fn a_mean_is_one_over_time_and_not_over_samples() {
        let sample = |requests: f64| {
            let mut sample = Sample::new(UnixMillis::EPOCH);
            sample.set(Metric::Requests, requests);
            sample
        };
        let seldom = Weighted { sample: sample(10.0), readings: 1, covers: 10 * SECOND };
        let folded = fold(seldom, weighted(sample(120.0), 1));
        assert_eq!((folded.sample.value(Metric::Requests), folded.covers), (Some(20.0), 11 * SECOND), "220 in 11 s");
        let timeless = |requests| Weighted { sample: sample(requests), readings: 1, covers: Duration::ZERO };
        let folded = fold(timeless(f64::MAX), timeless(f64::MAX));
        assert_eq!(folded.sample.value(Metric::Requests), Some(f64::MAX), "no number too large");
    }

    fn queue(readings: &[u32]) -> VecDeque<Weighted> {
        readings.iter().map(|readings| weighted(Sample::new(UnixMillis::EPOCH), *readings)).collect()
    }

    fn thinned(readings: &[u32]) -> Vec<u32> {
        let mut queue = queue(readings);
        thin(&mut queue);
        queue.iter().map(|entry| entry.readings).collect()
    }

    #[test]
    fn the_finest_resolution_goes_first_and_the_newest_quarter_stays() {
        assert_eq!(thinned(&[1, 1, 1, 1, 1, 1, 1, 1]), [2, 2, 2, 1, 1]);
        assert_eq!(thinned(&[4, 4, 2, 2, 2, 1, 1, 1]), [4, 4, 4, 2, 1, 1, 1]);
        assert_eq!(thinned(&[4, 4, 2, 1, 1, 1, 1, 1]), [4, 4, 2, 2, 1, 1, 1]);
    }

    #[test]
    fn there_is_always_something_to_fold() {
        assert_eq!(thinned(&[4, 2, 1]), [6, 1]);
        assert_eq!(thinned(&[1, 1]), [2]);
    }
}
