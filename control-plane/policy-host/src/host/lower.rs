//! From the input as the control plane holds it to the record that is copied into a guest.

use crate::bindings::outrigger::policy::types as wit;
use crate::input::{Column, Deployment, Input, Instances, LocalTime, Series};

pub(super) fn input(input: &Input) -> wit::Input {
    wit::Input {
        now: input.now,
        local: local_time(&input.local),
        step: input.step,
        deployment: deployment(&input.deployment),
        series_start: input.series_start,
        series: input.series.iter().map(series).collect(),
        instances: instances(&input.instances),
        history_start: input.history_start,
        history_step: input.history_step,
        history: input.history.iter().map(series).collect(),
        prices: input.prices.iter().map(|(name, price)| (name.clone(), finite(*price))).collect(),
        config: input.config.clone(),
        labels: input.labels.clone(),
        state: input.state.clone(),
    }
}

const fn local_time(local: &LocalTime) -> wit::LocalTime {
    wit::LocalTime {
        year: local.year,
        month: local.month,
        day: local.day,
        weekday: local.weekday,
        hour: local.hour,
        minute: local.minute,
        second: local.second,
        utc_offset_seconds: local.utc_offset_seconds,
    }
}

const fn deployment(deployment: &Deployment) -> wit::Deployment {
    wit::Deployment {
        replicas: deployment.replicas,
        ready_replicas: deployment.ready_replicas,
        min: deployment.min,
        max: deployment.max,
        last_scale_up: deployment.last_scale_up,
        last_scale_down: deployment.last_scale_down,
    }
}

fn series(series: &Series) -> wit::Series {
    wit::Series { name: series.name.clone(), unit: series.unit.clone(), points: all_finite(&series.points) }
}

fn instances(instances: &Instances) -> wit::Instances {
    wit::Instances {
        ids: instances.ids.clone(),
        ready: instances.ready.clone(),
        age_ms: instances.age_ms.clone(),
        latest: instances.latest.iter().map(column).collect(),
    }
}

fn column(column: &Column) -> wit::Column {
    wit::Column { name: column.name.clone(), values: all_finite(&column.values) }
}

fn all_finite(values: &[f64]) -> Vec<f64> {
    values.iter().copied().map(finite).collect()
}

/// One bit pattern for everything that is not a number: the contract promises no infinity, and a replay compares bits.
const fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}
