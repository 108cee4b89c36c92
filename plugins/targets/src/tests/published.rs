//! The examples that the HPA is tested with: `replica_calculator_test.go` of Kubernetes, with its names and numbers.

use super::{HOUR, NAN, Row, decide, fleet};
use outrigger_policy_sdk::testing::input;

/// Its tests take 2 minutes and 10 seconds for the two lengths of time that the HPA's flags set.
fn config(metric: &str, kind: &str, target: f64) -> String {
    format!(
        r#"{{ "metrics": [{{ "metric": "{metric}", "{kind}": {target} }}],
              "cpuInitializationPeriod": "2m", "initialReadinessDelay": "10s" }}"#
    )
}

/// A pod that is ready and has been for long.
const fn cool(value: f64) -> Row {
    (true, HOUR, value)
}

/// One that is not ready, and has only just been started.
const fn unready(value: f64) -> Row {
    (false, 5_000, value)
}

/// One that is ready but has only just been started: "hot CPU".
const fn hot(value: f64) -> Row {
    (true, 5_000, value)
}

/// One that has been running for long and is not there in the metrics.
const MISSING: Row = (true, HOUR, NAN);

#[test]
fn resource_utilisation() {
    // Levels are milli-CPUs of requests of one CPU in the original; here they are percent.
    let cases: &[(&str, u32, f64, &[Row], u32)] = &[
        ("ScaleUp", 3, 30.0, &[cool(30.0), cool(50.0), cool(70.0)], 5),
        ("ScaleUpUnreadyLessScale", 3, 30.0, &[unready(30.0), cool(50.0), cool(70.0)], 4),
        ("ScaleUpHotCpuLessScale", 3, 30.0, &[hot(30.0), cool(50.0), cool(70.0)], 4),
        ("ScaleUpUnreadyNoScale", 3, 30.0, &[cool(40.0), unready(50.0), unready(70.0)], 3),
        ("ScaleHotCpuNoScale", 3, 30.0, &[cool(40.0), (false, 5_000, 50.0), (false, 5_000, 70.0)], 3),
        ("ScaleDown", 5, 50.0, &[cool(10.0), cool(30.0), cool(50.0), cool(25.0), cool(25.0)], 3),
        (
            "ScaleDownIncludeUnreadyPods",
            5,
            50.0,
            &[cool(10.0), cool(30.0), cool(50.0), unready(25.0), unready(25.0)],
            2,
        ),
        (
            "ScaleDownExcludeUnscheduledPods",
            5,
            50.0,
            &[cool(10.0), unready(NAN), unready(NAN), unready(NAN), unready(NAN)],
            1,
        ),
        ("ScaleDownIgnoreHotCpuPods", 5, 50.0, &[cool(10.0), cool(30.0), cool(50.0), hot(25.0), hot(25.0)], 2),
        ("Tolerance", 3, 100.0, &[cool(101.0), cool(103.0), cool(102.0)], 3),
        ("MissingMetrics", 4, 100.0, &[cool(40.0), cool(9.5), MISSING, MISSING], 3),
        ("MissingMetricsNoChangeEq", 2, 100.0, &[cool(100.0), MISSING], 2),
        ("MissingMetricsNoChangeGt", 2, 100.0, &[cool(190.0), MISSING], 2),
        ("MissingMetricsNoChangeLt", 2, 100.0, &[cool(60.0), MISSING], 2),
        ("MissingMetricsUnreadyChange", 3, 50.0, &[unready(10.0), cool(45.0), MISSING], 3),
        ("MissingMetricsHotCpuNoChange", 3, 50.0, &[hot(10.0), cool(45.0), MISSING], 3),
        ("MissingMetricsUnreadyScaleUp", 3, 50.0, &[unready(10.0), cool(200.0), MISSING], 4),
        ("MissingMetricsUnreadyScaleDown", 4, 50.0, &[unready(10.0), cool(10.0), cool(10.0), MISSING], 3),
        ("DuringRollingUpdateWithMaxSurge", 2, 50.0, &[cool(10.0), cool(10.0), MISSING], 2),
        ("EmptyMetrics", 4, 100.0, &[MISSING; 4], 4),
    ];
    for (name, replicas, target, rows, expected) in cases {
        let proposal = decide(&config("cpu", "averageUtilization", *target), &fleet(*replicas, "cpu", rows));
        assert_eq!(proposal.replicas, *expected, "{name}: {}", proposal.reason);
    }
}

#[test]
fn pod_metrics() {
    let cases: &[(&str, u32, f64, &[Row], u32)] = &[
        ("ScaleUpCM", 3, 15.0, &[cool(20.0), cool(10.0), cool(30.0)], 4),
        ("ScaleUpCMUnreadyHotCpuNoLessScale", 3, 15.0, &[cool(50.0), cool(10.0), unready(30.0)], 6),
        ("ScaleUpCMUnreadyHotCpuScaleWouldScaleDown", 3, 15.0, &[unready(50.0), cool(15.0), unready(30.0)], 7),
        ("ScaleDownCM", 5, 20.0, &[cool(12.0); 5], 3),
        ("ToleranceCM", 3, 20.0, &[cool(20.0), cool(21.0), cool(21.0)], 3),
    ];
    for (name, replicas, target, rows, expected) in cases {
        let proposal = decide(&config("requests", "averageValue", *target), &fleet(*replicas, "requests", rows));
        assert_eq!(proposal.replicas, *expected, "{name}: {}", proposal.reason);
    }
}

#[test]
fn object_and_external_metrics() {
    for (name, kind, replicas, ready, target, level, expected) in [
        ("ScaleUpCMObject", "value", 3, 3, 15.0, 20.0, 4),
        ("ScaleUpCMObjectIgnoresUnreadyPods", "value", 3, 1, 10.0, 50.0, 5),
        ("ScaleUpCMExternal", "value", 1, 1, 4.4, 8.6, 2),
        ("ScaleDownCMObject", "value", 5, 5, 20.0, 12.0, 3),
        ("ScaleDownCMExternal", "value", 5, 5, 14.334, 8.6, 3),
        ("ToleranceCMObject", "value", 3, 3, 20.0, 20.666, 3),
        ("ToleranceCMExternal", "value", 3, 3, 8.888, 8.6, 3),
        ("ScaleUpCMPerPodObject", "averageValue", 3, 3, 5.0, 20.0, 4),
        ("ScaleUpPerPodCMExternal", "averageValue", 3, 3, 2.15, 8.6, 4),
        ("ScaleDownPerPodCMObject", "averageValue", 5, 5, 2.0, 6.0, 3),
        ("ScaleDownPerPodCMExternal", "averageValue", 5, 5, 2.867, 8.6, 3),
        ("TolerancePerPodCMObject", "averageValue", 4, 4, 5.0, 20.166, 4),
        ("TolerancePerPodCMExternal", "averageValue", 3, 3, 2.9, 8.6, 3),
    ] {
        let mut input = input(replicas).with_series("requests.sum", &[level]);
        input.deployment.ready_replicas = ready;
        let proposal = decide(&config("requests.sum", kind, target), &input);
        assert_eq!(proposal.replicas, expected, "{name}: {}", proposal.reason);
    }
}

/// `ScaleUpCMExternalIgnoresUnreadyPods` goes from 3 to 2 at 195 % of the target. Here it does not.
#[test]
fn the_one_example_that_is_not_followed() {
    let mut input = input(3).with_series("requests.sum", &[8.6]);
    input.deployment.ready_replicas = 1;
    assert_eq!(decide(&config("requests.sum", "value", 4.4), &input).replicas, 3);
}
