//! Reading numbers over time without ever mistaking a missing one for a small one.

use crate::{Input, Series, Span};

impl Input {
    /// The series of a metric, if the host gave one.
    pub fn series(&self, metric: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == metric)
    }

    /// The last `span` of a metric, up to now.
    ///
    /// It has as many points as `span` has steps, whatever the host gave: a series that is absent, begins later or
    /// has stopped leaves unknown points. The newest point may be one step old, since the step that is under way has
    /// not ended yet.
    pub fn window(&self, metric: &str, span: Span) -> Window<'_> {
        let length = span.steps(self.step);
        let points = self.series(metric).map_or(&[][..], |series| &series.points);
        // The step that now lies in, counted from the first point; the next one but for the step under way.
        let elapsed = self.now.saturating_sub(self.series_start) / self.step.max(1);
        let end = match usize::try_from(elapsed) {
            Ok(now) if now < points.len() => now + 1,
            Ok(now) if now == points.len() => now,
            Ok(now) => now.saturating_add(1),
            Err(_) => usize::MAX,
        };
        let first = end.saturating_sub(length).min(points.len());
        let last = end.min(points.len());
        Window { points: &points[first..last], length, ends_now: last == end && last > first, step: self.step }
    }

    /// The latest value of a metric of each ready instance; NaN where one has not reported.
    pub fn of_ready_instances(&self, metric: &str) -> impl Iterator<Item = f64> {
        let values = self.instances.latest.iter().find(|column| column.name == metric).map(|column| &column.values);
        let ready = self.instances.ready.iter().enumerate().filter(|(_, ready)| **ready);
        ready.map(move |(row, _)| values.and_then(|values| values.get(row)).copied().unwrap_or(f64::NAN))
    }
}

/// A stretch of a series that ends now. What lies outside of what the host gave counts as unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window<'a> {
    points: &'a [f64],
    /// Points that there should be.
    length: usize,
    ends_now: bool,
    /// Milliseconds.
    step: u64,
}

impl<'a> Window<'a> {
    /// The known points, oldest first.
    pub fn known(self) -> impl DoubleEndedIterator<Item = f64> + 'a {
        self.points.iter().copied().filter(|point| point.is_finite())
    }

    /// Points that there should be; at least 1.
    pub fn length(self) -> usize {
        self.length
    }

    /// Points that there are.
    pub fn known_count(self) -> usize {
        self.known().count()
    }

    /// The share of points that are known, 0 to 1.
    pub fn coverage(self) -> f64 {
        self.known_count() as f64 / self.length as f64
    }

    /// Whether not one point is missing.
    pub fn is_complete(self) -> bool {
        self.known_count() == self.length
    }

    /// Counts, extremes and mean in one pass, for a policy that asks more than one of them.
    pub fn summary(self) -> Summary {
        let (mut known, mut sum, mut min, mut max) = (0_usize, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        for point in self.known() {
            known += 1;
            sum += point;
            // Known points are finite: a comparison is enough, and a third of what `f64::min` takes in a guest.
            min = if point < min { point } else { min };
            max = if point > max { point } else { max };
        }
        let if_any = |value: f64| (known > 0).then_some(value);
        Summary {
            length: self.length,
            known,
            latest: self.latest(),
            min: if_any(min),
            max: if_any(max),
            mean: if_any(sum / known as f64),
        }
    }

    /// The newest point, if it is known: the value now.
    pub fn latest(self) -> Option<f64> {
        self.points.last().copied().filter(|point| self.ends_now && point.is_finite())
    }

    /// The arithmetic mean of the known points.
    pub fn mean(self) -> Option<f64> {
        let count = self.known_count();
        (count > 0).then(|| self.known().sum::<f64>() / count as f64)
    }

    /// The largest known point.
    pub fn max(self) -> Option<f64> {
        self.known().reduce(f64::max)
    }

    /// The smallest known point.
    pub fn min(self) -> Option<f64> {
        self.known().reduce(f64::min)
    }

    /// The exponentially weighted moving average of the known points, from the oldest to the newest:
    /// `y = a * x + (1 - a) * y`, beginning with the oldest, where `a = 2 / (length + 1)`, the usual "span" form.
    pub fn ewma(self) -> Option<f64> {
        let weight = 2.0 / (self.length as f64 + 1.0);
        self.known().reduce(|average, point| weight * point + (1.0 - weight) * average)
    }

    /// The slope of the least-squares line through the known points, in units per second. `None` with fewer than two.
    pub fn trend(self) -> Option<f64> {
        let second = self.step as f64 / 1000.0;
        let known = || {
            let points = self.points.iter().enumerate().filter(|(_, point)| point.is_finite());
            points.map(|(index, point)| (index as f64 * second, *point))
        };
        let count = self.known_count() as f64;
        let (time, value) = known().fold((0.0, 0.0), |(t, v), (time, value)| (t + time / count, v + value / count));
        let (covariance, variance) =
            known().fold((0.0, 0.0), |(c, v), (t, x)| (c + (t - time) * (x - value), v + (t - time) * (t - time)));
        (variance > 0.0).then(|| covariance / variance)
    }
}

/// What a [`Window`] comes to; each field is what the method of its name answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Points that there should be; at least 1.
    pub length: usize,
    /// Points that there are.
    pub known: usize,
    /// The newest point, if it is known: the value now.
    pub latest: Option<f64>,
    /// The smallest known point.
    pub min: Option<f64>,
    /// The largest known point.
    pub max: Option<f64>,
    /// The arithmetic mean of the known points.
    pub mean: Option<f64>,
}

impl Summary {
    /// The share of points that are known, 0 to 1.
    pub fn coverage(self) -> f64 {
        self.known as f64 / self.length as f64
    }

    /// Whether not one point is missing.
    pub fn is_complete(self) -> bool {
        self.known == self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::input;

    const NAN: f64 = f64::NAN;

    fn near(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-9)
    }

    #[test]
    fn a_window_is_the_newest_points_and_counts_what_is_missing() {
        let input = input(3).with_series("cpu", &[10.0, 20.0, NAN, 40.0]);
        let window = input.window("cpu", Span::from_secs(3));
        assert_eq!(window.known().collect::<Vec<_>>(), [20.0, 40.0]);
        assert_eq!((window.length(), window.known_count(), window.latest()), (3, 2, Some(40.0)));
        let longer = input.window("cpu", Span::from_secs(8));
        assert_eq!((longer.length(), longer.known_count(), longer.coverage()), (8, 3, 0.375));
        assert!(!longer.is_complete());
    }

    #[test]
    fn an_absent_series_and_one_that_has_stopped_have_no_latest_value() {
        let mut input = input(3).with_series("cpu", &[10.0, 20.0]);
        assert_eq!(input.window("memory", Span::from_secs(2)).latest(), None);
        assert_eq!(input.window("memory", Span::from_secs(2)).mean(), None);
        input.now += 1999;
        assert_eq!(input.window("cpu", Span::from_secs(2)).latest(), Some(20.0), "the step under way");
        input.now += 1;
        let stale = input.window("cpu", Span::from_secs(2));
        assert_eq!((stale.latest(), stale.known_count()), (None, 0));
        let longer = input.window("cpu", Span::from_secs(3));
        assert_eq!((longer.latest(), longer.known_count()), (None, 1));
        input.now = u64::MAX;
        assert_eq!(input.window("cpu", Span::from_secs(2)).known_count(), 0);
        input.now = 0;
        assert_eq!(input.window("cpu", Span::from_secs(2)).known_count(), 1, "before the start, its first point");
    }

    #[test]
    fn statistics_skip_what_is_unknown() {
        let input = input(3).with_series("cpu", &[NAN, 1.0, NAN, 3.0, 8.0]);
        let window = input.window("cpu", Span::from_secs(5));
        assert!(near(window.mean(), 4.0) && near(window.max(), 8.0) && near(window.min(), 1.0));
        // a = 1/3: 1, then 1/3 * 3 + 2/3 * 1 = 5/3, then 1/3 * 8 + 2/3 * 5/3 = 34/9.
        assert!(near(window.ewma(), 34.0 / 9.0), "{:?}", window.ewma());
    }

    #[test]
    fn a_summary_is_what_the_single_questions_answer() {
        for points in [&[NAN, 1.0, NAN, 3.0, 8.0][..], &[NAN, NAN], &[], &[5.0]] {
            let input = input(3).with_series("cpu", points);
            let window = input.window("cpu", Span::from_secs(4));
            let summary = window.summary();
            assert_eq!((summary.length, summary.known), (window.length(), window.known_count()), "{points:?}");
            assert_eq!((summary.min, summary.max), (window.min(), window.max()), "{points:?}");
            assert_eq!((summary.latest, summary.mean), (window.latest(), window.mean()), "{points:?}");
            assert_eq!(
                (summary.coverage(), summary.is_complete()),
                (window.coverage(), window.is_complete()),
                "{points:?}"
            );
        }
    }

    #[test]
    fn a_trend_is_units_per_second_whatever_is_missing() {
        let mut input = input(3).with_series("cpu", &[10.0, NAN, 14.0, 16.0]);
        assert!(near(input.window("cpu", Span::from_secs(4)).trend(), 2.0));
        input.step = 10_000;
        input.now = input.series_start + 30_000;
        assert!(near(input.window("cpu", Span::from_secs(40)).trend(), 0.2));
        assert_eq!(input.window("cpu", Span::from_secs(1)).trend(), None);
    }

    #[test]
    fn instances_that_are_not_ready_do_not_count() {
        let input = input(3).with_instances("cpu", &[(true, 10.0), (false, 90.0), (true, NAN)]);
        let values: Vec<f64> = input.of_ready_instances("cpu").collect();
        assert_eq!(values.len(), 2);
        assert!(values[0] == 10.0 && values[1].is_nan());
        assert!(input.of_ready_instances("memory").all(f64::is_nan));
    }
}
