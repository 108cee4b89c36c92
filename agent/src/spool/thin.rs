//! Falling resolution: how samples make room for newer ones.

use std::collections::VecDeque;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

/// A sample and how many readings are folded into it.
#[derive(Debug)]
pub struct Weighted {
    pub(super) sample: Sample,
    pub(super) weight: u32,
}

impl Weighted {
    /// Neighbours of one resolution are folded with each other.
    const fn resolution(&self) -> u32 {
        self.weight.ilog2()
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

/// One sample at the time of the newer: what is counted adds up, response times are merged, everything else is the
/// mean, each by its weight. What only one of them has stays as it is.
fn fold(older: Weighted, newer: Weighted) -> Weighted {
    let (w_old, w_new) = (f64::from(older.weight), f64::from(newer.weight));
    let weight = older.weight.saturating_add(newer.weight);
    let (older, mut sample) = (older.sample, newer.sample);
    for (metric, before) in older.values {
        match sample.values.iter_mut().find(|(present, _)| *present == metric) {
            Some((_, value)) if metric == Metric::OomKills => *value += before,
            Some((_, value)) => *value = (before * w_old + *value * w_new) / (w_old + w_new),
            None => sample.values.push((metric, before)),
        }
    }
    // A program's own metric may be a counter, of which a mean would be a lie: the later value stands.
    for (name, before) in older.custom {
        if !sample.custom.iter().any(|(present, _)| *present == name) {
            sample.custom.push((name, before));
        }
    }
    sample.latency = match (older.latency, sample.latency.take()) {
        (Some(before), Some(mut after)) => {
            after.merge(&before);
            Some(after)
        }
        (before, after) => after.or(before),
    };
    Weighted { sample, weight }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::histogram::LatencyHistogram;
    use outrigger_protocol::time::UnixMillis;
    use std::time::Duration;

    #[test]
    fn what_is_counted_adds_up_and_what_is_measured_is_averaged() {
        let mut older = Sample::new(UnixMillis::from_millis(1_000));
        older.values = vec![(Metric::OomKills, 1.0), (Metric::Cpu, 10.0), (Metric::Threads, 7.0)];
        older.custom = vec![("jobs".into(), 5.0), ("once".into(), 1.0)];
        let mut histogram = LatencyHistogram::new();
        histogram.record(Duration::from_millis(3));
        older.latency = Some(histogram.clone());
        let mut newer = Sample::new(UnixMillis::from_millis(2_000));
        newer.values = vec![(Metric::OomKills, 2.0), (Metric::Cpu, 30.0)];
        newer.custom = vec![("jobs".into(), 9.0)];
        newer.latency = Some(histogram);

        let folded = fold(Weighted { sample: older, weight: 1 }, Weighted { sample: newer, weight: 3 });
        assert_eq!(folded.weight, 4);
        let newer = folded.sample;
        assert_eq!(newer.at, UnixMillis::from_millis(2_000));
        assert_eq!(newer.values, [(Metric::OomKills, 3.0), (Metric::Cpu, 25.0), (Metric::Threads, 7.0)]);
        assert_eq!(newer.custom, [("jobs".to_owned(), 9.0), ("once".to_owned(), 1.0)]);
        assert_eq!(newer.latency.map(|latency| latency.count()), Some(2));
    }

    fn queue(weights: &[u32]) -> VecDeque<Weighted> {
        weights.iter().map(|weight| Weighted { sample: Sample::new(UnixMillis::EPOCH), weight: *weight }).collect()
    }

    fn thinned(weights: &[u32]) -> Vec<u32> {
        let mut queue = queue(weights);
        thin(&mut queue);
        queue.iter().map(|entry| entry.weight).collect()
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
