//! From the columns of instances to one series of the deployment.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::time::UnixMillis;

use super::{DeploymentWindow, QUANTILES, WindowConfig, millis, resolution, slot_of};

/// How the values of several instances become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Mean,
    Max,
    Sum,
}

impl Aggregate {
    /// Splits `cpu.max` into the metric and the aggregate; without a suffix it is the mean.
    #[must_use]
    pub fn of_name(name: &str) -> (&str, Self) {
        if let Some(metric) = name.strip_suffix(".max") {
            (metric, Self::Max)
        } else if let Some(metric) = name.strip_suffix(".sum").or_else(|| name.strip_suffix("_total")) {
            (metric, Self::Sum)
        } else {
            (name, Self::Mean)
        }
    }
}

/// Which points of a series are asked for. Point `i` stands for the time from one step before `start() + i * step`
/// up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The last point.
    pub end: UnixMillis,
    /// Rounded to whole slots, at least one and at most [`WindowConfig::points`].
    pub step: Duration,
    /// At most [`WindowConfig::points`] are given.
    pub points: usize,
}

impl Span {
    /// The first point's time.
    #[must_use]
    pub fn start(&self) -> UnixMillis {
        let before = u32::try_from(self.points.saturating_sub(1)).unwrap_or(u32::MAX);
        self.end.saturating_sub(self.step.saturating_mul(before))
    }
}

/// A span in slots.
struct Slots {
    /// The first slot that is read: some of the carried past lies before the first point.
    first: u64,
    /// Slots of the past that are read before the first point.
    lead: usize,
    step: usize,
    points: usize,
}

impl Slots {
    fn of(config: &WindowConfig, span: &Span) -> Self {
        let resolution = resolution(config);
        let points = span.points.min(config.points);
        let step = u64::try_from(span.step.as_millis()).unwrap_or(u64::MAX);
        let step = usize::try_from(step.saturating_add(resolution / 2) / resolution).unwrap_or(usize::MAX);
        let step = step.clamp(1, config.points.max(1));
        let lead = usize::try_from(config.carry.as_millis() / u128::from(resolution)).unwrap_or(usize::MAX);
        let lead = lead.min(config.points);
        let end = slot_of(config, span.end).saturating_add(1);
        let first = end.saturating_sub((points * step + lead) as u64);
        // At the very beginning of time there is less to lead in with.
        let lead = usize::try_from(end - first).unwrap_or(usize::MAX).saturating_sub(points * step);
        Self { first, lead, step, points }
    }

    fn length(&self) -> usize {
        self.lead + self.step * self.points
    }
}

impl DeploymentWindow {
    /// A series over all instances; see [`series_of`](Self::series_of).
    #[must_use]
    pub fn series(&self, name: &str, end: UnixMillis, step: Duration, points: usize) -> Vec<f64> {
        self.series_of(name, &Span { end, step, points }, |_| true)
    }

    /// One metric over time, over the instances that `include` accepts, oldest first; NaN where nothing is known.
    ///
    /// `name` is a metric for the mean, `name.max` for the largest, `name.sum` (or `name_total`) for the total; the
    /// exact name of a program's own metric goes before a suffix. Within a step, an instance counts with the mean of
    /// its samples; where it has none, with its last one, for at most [`WindowConfig::carry`]. Response times are
    /// quantiles over the merged histograms of all instances, in milliseconds, whatever `include` and the suffix say.
    #[must_use]
    pub fn series_of(&self, name: &str, span: &Span, include: impl Fn(InstanceId) -> bool) -> Vec<f64> {
        let slots = Slots::of(&self.config, span);
        let (metric, aggregate) =
            if self.names.contains(name) { (name, Aggregate::Mean) } else { Aggregate::of_name(name) };
        if let Some((_, q)) = QUANTILES.iter().find(|(quantile, _)| quantile.name() == metric) {
            return self.quantile_series(*q, &slots);
        }
        let mut folded = Folded::new(slots.points);
        let mut cells = vec![f32::NAN; slots.length()];
        for (id, window) in &self.instances {
            if !include(*id) {
                continue;
            }
            if let Some(column) = window.column(metric) {
                column.copy_to(slots.first, &mut cells);
                folded.add(&cells, &slots);
            }
        }
        folded.finish(aggregate)
    }

    fn quantile_series(&self, q: f64, slots: &Slots) -> Vec<f64> {
        let begin = slots.first + slots.lead as u64;
        let mut points: Vec<f64> = (0..slots.points)
            .map(|point| {
                let from = begin + (point * slots.step) as u64;
                let mut merged = LatencyHistogram::new();
                for (_, histogram) in self.latency.range(from..from + slots.step as u64) {
                    merged.merge(histogram);
                }
                f64::from(millis(merged.quantile(q)))
            })
            .collect();
        self.carry_quantile(q, slots, &mut points);
        points
    }

    /// Fills the end of a series, from which nothing has arrived yet, with what was last known.
    fn carry_quantile(&self, q: f64, slots: &Slots, points: &mut [f64]) {
        let Some(reported) = self.freshest().map(|at| self.slot(at)) else { return };
        let Some((&last, histogram)) = self.latency.last_key_value() else { return };
        // Samples without requests came after it: the silence is known.
        if reported > last.saturating_add(1) {
            return;
        }
        let begin = slots.first + slots.lead as u64;
        let value = f64::from(millis(histogram.quantile(q)));
        for (at, point) in points.iter_mut().enumerate().rev() {
            let from = begin + (at * slots.step) as u64;
            if !point.is_nan() || from <= reported.max(last) {
                break;
            }
            if from - last <= slots.lead as u64 {
                *point = value;
            }
        }
    }
}

/// Instances added up, point by point.
struct Folded {
    sum: Vec<f64>,
    max: Vec<f64>,
    count: Vec<u32>,
}

impl Folded {
    fn new(points: usize) -> Self {
        Self { sum: vec![0.0; points], max: vec![f64::NEG_INFINITY; points], count: vec![0; points] }
    }

    fn add(&mut self, cells: &[f32], slots: &Slots) {
        let (lead, body) = cells.split_at(slots.lead);
        // The last value and how many slots ago it was.
        let mut last = lead.iter().rev().zip(1_usize..).find(|(value, _)| !value.is_nan()).map(|(v, age)| (*v, age));
        for (point, step) in body.chunks(slots.step).enumerate() {
            let (mut sum, mut count) = (0.0, 0_u32);
            for value in step {
                if value.is_nan() {
                    last = last.map(|(value, age)| (value, age + 1));
                } else {
                    sum += f64::from(*value);
                    count += 1;
                    last = Some((*value, 1));
                }
            }
            let value = match last {
                _ if count > 0 => sum / f64::from(count),
                Some((value, age)) if age <= slots.lead + 1 => f64::from(value),
                _ => continue,
            };
            self.sum[point] += value;
            self.max[point] = self.max[point].max(value);
            self.count[point] += 1;
        }
    }

    fn finish(self, aggregate: Aggregate) -> Vec<f64> {
        let Self { sum, max, count } = self;
        let known = sum.into_iter().zip(max).zip(count);
        known
            .map(|((sum, max), count)| match (count, aggregate) {
                (0, _) => f64::NAN,
                (count, Aggregate::Mean) => sum / f64::from(count),
                (_, Aggregate::Max) => max,
                (_, Aggregate::Sum) => sum,
            })
            .collect()
    }
}
