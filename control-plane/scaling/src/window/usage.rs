//! What all instances of a deployment use and serve together at a moment.

use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;

use super::{DeploymentWindow, Key, resolution};

/// The newest readings of a deployment's instances, put together in one pass.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Instances with a sample that is new enough.
    pub instances: u32,
    /// Sum and number of the readings of each metric that some instance has.
    readings: Vec<(Metric, f64, u32)>,
    /// Response times of the last moments, over all instances.
    pub latency: LatencyHistogram,
}

impl Usage {
    /// All instances together; `None` when none of them says anything.
    #[must_use]
    pub fn sum(&self, metric: Metric) -> Option<f64> {
        self.reading(metric).map(|(sum, _)| sum)
    }

    /// Over the instances that say something.
    #[must_use]
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        self.reading(metric).map(|(sum, count)| sum / f64::from(count))
    }

    fn reading(&self, metric: Metric) -> Option<(f64, u32)> {
        self.readings.iter().find(|(known, ..)| *known == metric).map(|(_, sum, count)| (*sum, *count))
    }

    fn add(&mut self, metric: Metric, value: f64) {
        match self.readings.iter_mut().find(|(known, ..)| *known == metric) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => self.readings.push((metric, value, 1)),
        }
    }
}

impl DeploymentWindow {
    /// What there is of the registry's metrics at `now`: of each instance the newest value, if it is not older than
    /// [`WindowConfig::carry`](super::WindowConfig::carry), or three samples where these are rarer; of response times
    /// those of the last `recent`.
    #[must_use]
    pub fn usage(&self, now: UnixMillis, recent: Duration) -> Usage {
        let mut usage = Usage::default();
        let age = self.config.carry.max(3 * self.config.resolution);
        let oldest = self.slot(now.saturating_sub(age));
        for window in self.instances.values().filter(|window| now.since(window.newest) <= age) {
            usage.instances = usage.instances.saturating_add(1);
            for (key, column) in &window.columns {
                if let (Key::Known(metric), Some((slot, value))) = (key, column.newest())
                    && slot >= oldest
                {
                    usage.add(*metric, f64::from(value));
                }
            }
        }
        let slots = u64::try_from(recent.as_millis()).unwrap_or(u64::MAX) / resolution(&self.config);
        let first = self.slot(now).saturating_sub(slots.max(1) - 1);
        self.latency.range(first..).for_each(|(_, histogram)| usage.latency.merge(histogram));
        usage
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::id::InstanceId;
    use outrigger_protocol::sample::Sample;

    use super::*;

    fn sample(at: u64, cpu: f64, latency: Option<Duration>) -> Sample {
        let mut sample = Sample::new(UnixMillis::from_millis(at));
        sample.set(Metric::Cpu, cpu);
        sample.latency = latency.map(|latency| {
            let mut histogram = LatencyHistogram::new();
            histogram.record(latency);
            histogram
        });
        sample
    }

    #[test]
    fn usage_is_of_the_instances_that_are_heard_of() {
        let mut window = DeploymentWindow::default();
        let carry = u64::try_from(window.config().carry.as_millis()).unwrap();
        let (start, now) = (1_000_000, UnixMillis::from_millis(1_000_000 + 2 * carry));
        let push = |window: &mut DeploymentWindow, at: u64, cpu: f64, latency: Option<u64>| {
            let latency = latency.map(Duration::from_millis);
            window.push(InstanceId::generate(), &sample(at, cpu, latency), UnixMillis::from_millis(at));
        };
        push(&mut window, start, 90.0, Some(900));
        assert_eq!(window.usage(now, Duration::from_secs(15)).sum(Metric::Cpu), None, "too long ago");
        push(&mut window, now.as_millis() - 1_000, 20.0, Some(20));
        push(&mut window, now.as_millis(), 40.0, None);
        let usage = window.usage(now, Duration::from_secs(15));
        assert_eq!((usage.instances, usage.sum(Metric::Cpu), usage.mean(Metric::Cpu)), (2, Some(60.0), Some(30.0)));
        assert_eq!(usage.mean(Metric::Memory), None);
        assert_eq!((usage.latency.count(), usage.latency.max()), (1, Duration::from_millis(20)));
        assert_eq!(window.usage(now, Duration::from_secs(1)).latency.count(), 0, "of this second alone");
    }
}
