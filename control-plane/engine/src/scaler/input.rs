//! What policies and guards are told about a deployment, from its window and its rows. Pure.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use outrigger_catalog::model::{Deployment, Instance};
use outrigger_policy_host::{Column, Input, Instances, LocalTime, Needs, Series};
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::window::{Aggregate, DeploymentWindow, Span};
use outrigger_scaling::{GuardConfig, View};

/// A deployment at one moment.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) now: UnixMillis,
    pub(super) deployment: &'a Deployment,
    /// Those that exist or are about to.
    pub(super) instances: &'a [Instance],
    pub(super) ready: &'a HashSet<InstanceId>,
}

/// What the guards go by: at least two samples' time counts as fresh, whatever the configuration says.
pub(super) fn guards(deployment: &Deployment) -> GuardConfig {
    let guards = deployment.spec.guards;
    GuardConfig { freshness: guards.freshness.max(deployment.spec.sample_interval * 2), ..guards }
}

impl Scene<'_> {
    pub(super) fn view(&self, window: Option<&DeploymentWindow>, freshness: Duration) -> View {
        let Deployment { spec, desired_replicas, paused, last_scale_up, last_scale_down, .. } = self.deployment;
        let ids: HashSet<InstanceId> = self.instances.iter().map(|instance| instance.id).collect();
        let fresh = window.map_or(0, |window| window.fresh(self.now, freshness, |id| ids.contains(&id)));
        View {
            now: self.now,
            replicas: *desired_replicas,
            ready: count(self.ready.len()),
            min: spec.min_replicas,
            max: spec.max_replicas,
            last_scale_up: *last_scale_up,
            last_scale_down: *last_scale_down,
            paused: *paused,
            freshest: window.and_then(|window| ids.iter().filter_map(|id| window.newest(*id)).max()),
            fresh_instances: fresh,
            expected_instances: count(self.instances.len()),
        }
    }

    /// The input of every policy that needs no more than `needs`; its configuration and state are put in for each.
    pub(super) fn input(&self, window: Option<&DeploymentWindow>, needs: &Needs, points: Points) -> Input {
        let step = self.step(window);
        let points = points.of(needs, step);
        let end = UnixMillis::from_millis(self.now.as_millis() - self.now.as_millis() % millis(step).max(1));
        let span = Span { end, step, points };
        let deployment = self.deployment;
        Input {
            now: self.now.as_millis(),
            local: LocalTime::utc(self.now.as_millis()),
            step: millis(step).max(1),
            deployment: outrigger_policy_host::Deployment {
                replicas: deployment.desired_replicas,
                ready_replicas: count(self.ready.len()),
                min: deployment.spec.min_replicas,
                max: deployment.spec.max_replicas,
                last_scale_up: deployment.last_scale_up.map(UnixMillis::as_millis),
                last_scale_down: deployment.last_scale_down.map(UnixMillis::as_millis),
            },
            series_start: span.start().as_millis(),
            series: self.series(window, needs, &span),
            instances: self.rows(window, needs),
            ..Input::default()
        }
    }

    /// Points are as far apart as samples; a window can be coarser, never finer.
    fn step(&self, window: Option<&DeploymentWindow>) -> Duration {
        let resolution = window.map_or(Duration::ZERO, |window| window.config().resolution);
        self.deployment.spec.sample_interval.max(resolution)
    }

    fn series(&self, window: Option<&DeploymentWindow>, needs: &Needs, span: &Span) -> Vec<Series> {
        let names: BTreeSet<&str> = needs.series.iter().map(|one| one.metric.as_str()).collect();
        let series = names.into_iter().map(|name| {
            let known = window.map(|window| window.series_of(name, span, |id| self.ready.contains(&id)));
            Series {
                name: name.to_owned(),
                unit: unit(name),
                points: known.unwrap_or_else(|| vec![f64::NAN; span.points]),
            }
        });
        series.collect()
    }

    fn rows(&self, window: Option<&DeploymentWindow>, needs: &Needs) -> Instances {
        let metrics: BTreeSet<&str> = needs.series.iter().map(|one| Aggregate::of_name(&one.metric).0).collect();
        let latest = |id: InstanceId, metric: &str| -> f64 {
            let Some(window) = window else { return f64::NAN };
            let carry = window.config().carry;
            match window.latest(id, metric) {
                Some((at, value)) if self.now.since(at) <= carry => value,
                _ => f64::NAN,
            }
        };
        let column = |metric: &str| Column {
            name: metric.to_owned(),
            values: self.instances.iter().map(|instance| latest(instance.id, metric)).collect(),
        };
        Instances {
            ids: self.instances.iter().map(|instance| instance.id.to_string()).collect(),
            ready: self.instances.iter().map(|instance| self.ready.contains(&instance.id)).collect(),
            age_ms: self.instances.iter().map(|instance| millis(self.now.since(instance.created_at))).collect(),
            latest: metrics.into_iter().map(column).collect(),
        }
    }
}

/// How many points the series have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Points {
    /// For policies that name no window.
    pub(super) usual: usize,
    /// What windows keep.
    pub(super) most: usize,
}

impl Points {
    fn of(self, needs: &Needs, step: Duration) -> usize {
        let longest = needs.series.iter().map(|one| one.window).max().unwrap_or_default();
        let wanted = longest.as_millis().div_ceil(u128::from(millis(step).max(1)));
        usize::try_from(wanted).unwrap_or(usize::MAX).max(self.usual).min(self.most)
    }
}

fn unit(name: &str) -> Option<String> {
    let metric: Metric = Aggregate::of_name(name).0.parse().ok()?;
    Some(metric.unit().name().to_owned())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
