//! Inputs for native tests of policies.

use crate::{Column, Deployment, Input, Instances, LocalTime, Series};

/// 2024-01-01T00:00:00Z, a Monday.
pub const NOW: u64 = 1_704_067_200_000;

/// A deployment of `replicas`, all ready, between 1 and 100, at [`NOW`], with points one second apart and no metrics.
pub fn input(replicas: u32) -> Input {
    let monday =
        LocalTime { year: 2024, month: 1, day: 1, weekday: 1, hour: 0, minute: 0, second: 0, utc_offset_seconds: 0 };
    let deployment =
        Deployment { replicas, ready_replicas: replicas, min: 1, max: 100, last_scale_up: None, last_scale_down: None };
    Input {
        now: NOW,
        local: monday,
        step: 1000,
        deployment,
        series_start: NOW,
        series: Vec::new(),
        instances: Instances { ids: Vec::new(), ready: Vec::new(), age_ms: Vec::new(), latest: Vec::new() },
        history_start: NOW,
        history_step: 60_000,
        history: Vec::new(),
        prices: Vec::new(),
        config: "{}".to_owned(),
        labels: Vec::new(),
        state: Vec::new(),
    }
}

impl Input {
    /// With a series whose last point was taken now. All series of an input have as many points.
    #[must_use]
    pub fn with_series(mut self, metric: &str, points: &[f64]) -> Self {
        self.series_start = self.now - self.step * (points.len().saturating_sub(1) as u64);
        self.series.push(Series { name: metric.to_owned(), unit: None, points: points.to_vec() });
        self
    }

    /// With instances of which each is ready or not and has reported a value of one metric.
    #[must_use]
    pub fn with_instances(mut self, metric: &str, instances: &[(bool, f64)]) -> Self {
        self.instances = Instances {
            ids: (0..instances.len()).map(|number| format!("instance-{number}")).collect(),
            ready: instances.iter().map(|(ready, _)| *ready).collect(),
            age_ms: vec![60_000; instances.len()],
            latest: vec![Column {
                name: metric.to_owned(),
                values: instances.iter().map(|(_, value)| *value).collect(),
            }],
        };
        self
    }

    /// With the state that an earlier proposal left.
    #[must_use]
    pub fn with_state(mut self, state: &[u8]) -> Self {
        self.state = state.to_vec();
        self
    }
}
