mod laws;
mod published;

use outrigger_policy_sdk::testing::input;
use outrigger_policy_sdk::{Column, Input, Instances, Policy, Problems, Proposal, configuration};

use super::TargetPolicy;

const NAN: f64 = f64::NAN;
const CPU: &str = r#"{ "metrics": [{ "metric": "cpu", "averageUtilization": 50 }] }"#;
const REQUESTS: &str = r#"{ "metrics": [{ "metric": "requests", "averageValue": 100 }] }"#;
const BOTH: &str = r#"{ "metrics": [{ "metric": "cpu", "averageUtilization": 50 },
                                    { "metric": "queue_depth.sum", "averageValue": 10 }] }"#;
const LATENCY: &str = r#"{ "metrics": [{ "metric": "response_time_p95", "value": 200 }] }"#;

const HOUR: u64 = 3_600_000;

/// An instance: whether it is ready, its age in milliseconds, and its value.
type Row = (bool, u64, f64);

fn decide(config: &str, input: &Input) -> Proposal {
    let config = configuration::<TargetPolicy>(config).expect("the configuration parses");
    TargetPolicy::decide(&config, input).expect("the policy decides")
}

/// A deployment that asks for `replicas` and has these instances.
fn fleet(replicas: u32, metric: &str, rows: &[Row]) -> Input {
    let mut input = input(replicas);
    let ready = rows.iter().filter(|(ready, ..)| *ready).count();
    input.deployment.ready_replicas = u32::try_from(ready).expect("a small fleet");
    input.instances = Instances {
        ids: (0..rows.len()).map(|number| format!("instance-{number}")).collect(),
        ready: rows.iter().map(|(ready, ..)| *ready).collect(),
        age_ms: rows.iter().map(|(_, age, _)| *age).collect(),
        latest: vec![Column { name: metric.to_owned(), values: rows.iter().map(|(.., value)| *value).collect() }],
    };
    input
}

/// Old instances, all ready.
fn steady(metric: &str, values: &[f64]) -> Input {
    let rows: Vec<Row> = values.iter().map(|value| (true, HOUR, *value)).collect();
    fleet(u32::try_from(values.len()).expect("a small fleet"), metric, &rows)
}

fn signal(proposal: &Proposal, name: &str) -> f64 {
    proposal.signals.iter().find(|(found, _)| found == name).map_or(NAN, |(_, value)| *value)
}

#[test]
fn a_metric_above_its_target_scales_up_in_proportion() {
    let up = decide(CPU, &steady("cpu", &[98.0, 98.0]));
    assert_eq!((up.replicas, up.confidence), (4, 1.0));
    assert_eq!(up.reason, "cpu is 98, 196 % of its target 50: 4 instead of 2");
    assert_eq!((signal(&up, "cpu"), signal(&up, "cpu.ratio")), (98.0, 1.96));
}

#[test]
fn within_tolerance_nothing_changes() {
    for (level, replicas) in [(44.0, 9), (45.0, 10), (50.0, 10), (55.0, 10), (56.0, 12)] {
        assert_eq!(decide(CPU, &steady("cpu", &[level; 10])).replicas, replicas, "{level}");
    }
    let calm = decide(CPU, &steady("cpu", &[52.0; 3]));
    assert_eq!(calm.reason, "cpu is 52, 104 % of its target 50: within tolerance");
    let wide = CPU.replace("}] }", r#"}], "toleranceUp": 0.5, "toleranceDown": 0 }"#);
    assert_eq!(decide(&wide, &steady("cpu", &[75.0; 10])).replicas, 10);
    assert_eq!(decide(&wide, &steady("cpu", &[45.0; 10])).replicas, 9);
}

#[test]
fn without_instances_the_mean_over_the_ready_ones_counts() {
    assert_eq!(decide(CPU, &input(4).with_series("cpu", &[100.0])).replicas, 8);
    assert_eq!(decide(CPU, &input(4).with_series("cpu", &[20.0])).replicas, 2);
    let mut half = input(4).with_series("cpu", &[90.0]);
    half.deployment.ready_replicas = 2;
    assert_eq!(decide(CPU, &half).replicas, 4, "the two that are starting will take their share");
}

#[test]
fn a_metric_that_is_absent_changes_nothing_but_does_not_stop_another_upwards() {
    let absent = decide(BOTH, &input(4));
    assert_eq!((absent.replicas, absent.confidence), (4, 0.0));
    assert_eq!(absent.reason, "no current value of cpu, queue_depth.sum");
    let calm = decide(BOTH, &input(4).with_series("queue_depth.sum", &[3.0]));
    assert_eq!((calm.replicas, calm.confidence), (4, 0.5));
    assert!(calm.reason.ends_with("but not without a current value of cpu"), "{}", calm.reason);
    assert!(signal(&calm, "cpu").is_nan());
    assert_eq!(decide(BOTH, &input(4).with_series("queue_depth.sum", &[75.0])).replicas, 8);
    let mut stale = input(4).with_series("cpu", &[1.0]).with_series("queue_depth.sum", &[1.0]);
    stale.now += 5_000;
    assert_eq!(decide(BOTH, &stale).replicas, 4);
}

#[test]
fn of_several_metrics_the_one_that_asks_for_most_counts() {
    let two = |cpu: f64, queue: f64| input(4).with_series("cpu", &[cpu]).with_series("queue_depth.sum", &[queue]);
    assert_eq!(decide(BOTH, &two(100.0, 20.0)).replicas, 8);
    assert_eq!(decide(BOTH, &two(10.0, 95.0)).replicas, 10);
    let down = decide(BOTH, &two(10.0, 20.0));
    assert_eq!(
        (down.replicas, down.reason.as_str()),
        (2, "queue_depth.sum is 5, 50 % of its target 10: 2 instead of 4")
    );
}

#[test]
fn a_total_wakes_a_deployment_of_none_and_lets_it_sleep() {
    assert_eq!(decide(BOTH, &input(0).with_series("queue_depth.sum", &[25.0])).replicas, 3);
    assert_eq!(decide(BOTH, &input(0).with_series("queue_depth.sum", &[0.0])).replicas, 0);
    let total = r#"{ "metrics": [{ "metric": "queue_depth.sum", "averageValue": 10 }] }"#;
    assert_eq!(decide(total, &input(3).with_series("queue_depth.sum", &[0.0])).replicas, 0);
}

#[test]
fn one_number_is_shared_by_those_that_are_ready() {
    assert_eq!(decide(LATENCY, &input(3).with_series("response_time_p95", &[400.0])).replicas, 6);
    assert_eq!(decide(LATENCY, &input(3).with_series("response_time_p95", &[210.0])).replicas, 3);
    assert_eq!(decide(LATENCY, &input(0).with_series("response_time_p95", &[500.0])).replicas, 3);
    let mut none_ready = input(3).with_series("response_time_p95", &[50.0]);
    none_ready.deployment.ready_replicas = 0;
    assert_eq!(decide(LATENCY, &none_ready).replicas, 3);
}

#[test]
fn the_processor_time_of_starting_does_not_count() {
    let starting = |ready: bool, age: u64, metric: &str| fleet(2, metric, &[(true, HOUR, 50.0), (ready, age, 400.0)]);
    for (ready, age, replicas, why) in [
        (true, 29_000, 2, "newborn"),
        (true, 31_000, 9, "ready and no longer newborn"),
        (false, 299_000, 2, "not ready while it may be initialising"),
        (false, 301_000, 9, "not ready long after"),
    ] {
        assert_eq!(decide(CPU, &starting(ready, age, "cpu")).replicas, replicas, "{why}");
    }
    let memory = CPU.replace("cpu", "memory");
    assert_eq!(decide(&memory, &starting(false, 1_000, "memory")).replicas, 9, "memory says something at once");
}

#[test]
fn instances_that_have_just_been_asked_for_do_not_make_it_ask_for_more() {
    let busy = [(true, HOUR, 100.0), (true, HOUR, 100.0), (false, 500, NAN), (false, 500, NAN)];
    let settled = decide(CPU, &fleet(4, "cpu", &busy));
    assert_eq!((settled.replicas, settled.confidence), (4, 0.5));
    assert_eq!(settled.reason, "cpu is 100, 200 % of its target 50: 4 are right; 2 still starting");
}

#[test]
fn load_above_the_target_never_takes_a_replica() {
    let few = fleet(6, "cpu", &[(true, HOUR, 75.0), (true, HOUR, 75.0), (true, HOUR, 75.0)]);
    assert_eq!(decide(CPU, &few).replicas, 6, "three of six are there, and the HPA would go to five");
    let surge = fleet(2, "cpu", &[(true, HOUR, 40.0); 4]);
    assert_eq!(decide(CPU, &surge).replicas, 2, "four are there during a rollout, and the HPA would keep all of them");
}

#[test]
fn absurd_values_count_as_missing_or_are_kept_within_bounds() {
    assert_eq!(decide(CPU, &steady("cpu", &[10.0, -5.0])).replicas, 2, "a negative one is no measurement");
    assert_eq!(decide(CPU, &steady("cpu", &[10.0, f64::INFINITY])).replicas, 2);
    assert_eq!(decide(REQUESTS, &steady("requests", &[1e300, 1e300])).replicas, 1_000_000);
    let mut ragged = steady("cpu", &[100.0, 100.0]);
    ragged.instances.ready.pop();
    ragged.instances.age_ms.clear();
    ragged.instances.latest[0].values.pop();
    assert_eq!(decide(CPU, &ragged).replicas, 2, "columns that end early do not end the policy");
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let paths = |config: &str| -> Vec<String> {
        let config = configuration::<TargetPolicy>(config).expect("the configuration parses");
        let mut problems = Problems::default();
        TargetPolicy::check(&config, &mut problems);
        problems.into_result().err().unwrap_or_default().into_iter().map(|one| one.path).collect()
    };
    assert_eq!(paths(BOTH), [""; 0]);
    assert_eq!(paths(r#"{ "metrics": [] }"#), ["/metrics"]);
    let bad = r#"{ "metrics": [{ "metric": "cpu.max", "averageUtilization": 70 }, { "metric": "cpu.max", "value": 0 },
                               { "metric": "requests.max", "averageValue": 5 }],
                   "toleranceUp": -0.1, "toleranceDown": 2, "cpuInitializationPeriod": "10s" }"#;
    assert_eq!(
        paths(bad),
        [
            "/toleranceUp",
            "/toleranceDown",
            "/initialReadinessDelay",
            "/metrics/0/metric",
            "/metrics/1/value",
            "/metrics/1/metric",
            "/metrics/2/metric"
        ]
    );
}

#[test]
fn a_metric_has_one_target() {
    let refused = |metric: &str| {
        let config = format!(r#"{{ "metrics": [{{ "metric": "cpu"{metric} }}] }}"#);
        configuration::<TargetPolicy>(&config).expect_err("the configuration is to be refused")
    };
    for metric in ["", r#", "value": 1, "averageValue": 1"#] {
        let error = refused(metric);
        assert!(error.contains("`cpu` needs one of `averageUtilization`, `averageValue` and `value`"), "{error}");
    }
    assert!(refused(r#", "utilisation": 1"#).contains("unknown field `utilisation`"));
}
