use outrigger_catalog::model::{DeploymentStatus, InstancePhase};
use outrigger_policy_host::MetricWindow;
use outrigger_protocol::sample::Sample;

use super::*;
use crate::fixtures::{AGE, NOW, deployment, instance};

const POINTS: Points = Points { usual: 4, most: 300 };

fn running() -> Deployment {
    deployment(DeploymentStatus::Running, 3)
}

fn one_of(deployment: &Deployment) -> Instance {
    instance(deployment, InstancePhase::Running)
}

fn needs(metrics: &[(&str, u64)]) -> Needs {
    let series = metrics
        .iter()
        .map(|(metric, seconds)| MetricWindow { metric: (*metric).to_owned(), window: Duration::from_secs(*seconds) });
    Needs { series: series.collect(), history: Vec::new() }
}

#[test]
fn a_policy_sees_the_ready_instances_as_series_and_all_of_them_as_rows() {
    let deployment = running();
    let instances = [one_of(&deployment), one_of(&deployment), one_of(&deployment)];
    let mut window = DeploymentWindow::default();
    for (instance, value) in instances.iter().zip([10.0, 30.0, 500.0]) {
        let at = NOW.saturating_sub(Duration::from_millis(300));
        let mut sample = Sample::new(at);
        sample.set(Metric::Cpu, value);
        window.push(instance.id, &sample, at);
    }
    let ready = HashSet::from([instances[0].id, instances[1].id]);
    let scene = Scene { now: NOW, deployment: &deployment, instances: &instances, ready: &ready };
    let input = scene.input(Some(&window), &needs(&[("cpu", 0), ("cpu.sum", 0), ("jobs", 0)]), POINTS);
    assert_eq!(input.check(), Ok(()));
    assert_eq!((input.step, input.deployment.replicas, input.deployment.ready_replicas), (1_000, 3, 2));
    let names: Vec<(&str, Option<&str>)> =
        input.series.iter().map(|one| (one.name.as_str(), one.unit.as_deref())).collect();
    assert_eq!(names, [("cpu", Some("percent")), ("cpu.sum", Some("percent")), ("jobs", None)]);
    assert_eq!((input.series[0].points[3], input.series[1].points[3]), (20.0, 40.0));
    assert!(input.series[0].points[2].is_nan() && input.series[2].points.iter().all(|point| point.is_nan()));
    assert_eq!(input.series_start, 1_700_000_000_000 - 3_000);
    assert_eq!(input.instances.ready, [true, true, false]);
    assert_eq!(input.instances.age_ms, [millis(AGE); 3]);
    let columns: Vec<&str> = input.instances.latest.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((columns, input.instances.latest[0].values.clone()), (vec!["cpu", "jobs"], vec![10.0, 30.0, 500.0]));
}

#[test]
fn the_longest_window_that_is_needed_decides_how_many_points_there_are() {
    let second = Duration::from_secs(1);
    assert_eq!(POINTS.of(&needs(&[]), second), 4);
    assert_eq!(POINTS.of(&needs(&[("cpu", 30), ("memory", 120)]), second), 120);
    assert_eq!(POINTS.of(&needs(&[("cpu", 3_600)]), second), 300);
    assert_eq!(POINTS.of(&needs(&[("cpu", 120)]), 10 * second), 12);
}

#[test]
fn without_a_window_everything_is_unknown_and_nothing_is_fresh() {
    let deployment = running();
    let instances = [one_of(&deployment)];
    let scene = Scene { now: NOW, deployment: &deployment, instances: &instances, ready: &HashSet::new() };
    let input = scene.input(None, &needs(&[("cpu", 0)]), POINTS);
    assert_eq!(input.check(), Ok(()));
    assert!(input.series[0].points.iter().all(|point| point.is_nan()));
    let view = scene.view(None, Duration::from_secs(15));
    assert_eq!((view.freshest, view.fresh_instances, view.expected_instances), (None, 0, 1));
}

#[test]
fn two_samples_time_is_always_fresh_enough() {
    let mut deployment = running();
    assert_eq!(guards(&deployment).freshness, Duration::from_secs(15));
    deployment.spec.sample_interval = Duration::from_secs(60);
    assert_eq!(guards(&deployment).freshness, Duration::from_secs(120));
}
