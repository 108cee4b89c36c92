use outrigger_policy_sdk::testing::input;
use outrigger_policy_sdk::{Input, Policy, Problems, Proposal, configuration};

use super::Threshold;

const NAN: f64 = f64::NAN;
const CPU: &str = r#"{ "rules": [{ "metric": "cpu", "above": 70, "below": 30, "upFor": "3s", "downFor": "4s" }] }"#;

fn decide(config: &str, input: &Input) -> Proposal {
    let config = configuration::<Threshold>(config).expect("the configuration parses");
    Threshold::decide(&config, input).expect("the policy decides")
}

fn problems(config: &str) -> Vec<(String, String)> {
    let config = configuration::<Threshold>(config).expect("the configuration parses");
    let mut problems = Problems::default();
    Threshold::check(&config, &mut problems);
    problems.into_result().err().unwrap_or_default().into_iter().map(|one| (one.path, one.message)).collect()
}

#[test]
fn a_metric_that_stays_at_its_threshold_scales_up() {
    let up = decide(CPU, &input(2).with_series("cpu", &[10.0, 70.0, 75.0, 90.0]));
    assert_eq!((up.replicas, up.confidence), (3, 1.0));
    assert_eq!(up.reason, "cpu is 90, at or above 70 for 3s; 1 more");
    assert_eq!(up.signals, [("cpu".to_owned(), 90.0)]);
}

#[test]
fn a_peak_that_is_too_short_does_not() {
    assert_eq!(decide(CPU, &input(2).with_series("cpu", &[90.0, 69.9, 75.0, 90.0])).replicas, 2);
}

#[test]
fn a_lost_sample_does_not_stop_a_scale_up_but_a_lost_present_does() {
    let gap = decide(CPU, &input(2).with_series("cpu", &[80.0, 80.0, NAN, 90.0]));
    assert_eq!(gap.replicas, 3);
    assert!(gap.confidence < 1.0);
    let lost = decide(CPU, &input(2).with_series("cpu", &[80.0, 80.0, 80.0, NAN]));
    assert_eq!(lost.replicas, 2);
    assert!(lost.reason.starts_with("no current value of cpu"), "{}", lost.reason);
    assert!(lost.signals[0].1.is_nan());
}

#[test]
fn quiet_for_long_enough_scales_down() {
    let down = decide(CPU, &input(3).with_series("cpu", &[90.0, 30.0, 20.0, 10.0, 10.0]));
    assert_eq!(down.replicas, 2);
    assert_eq!(down.reason, "cpu stayed at or below what allows to scale down; 1 less");
}

#[test]
fn nothing_scales_down_on_missing_data() {
    let cases: [&[f64]; 5] =
        [&[], &[NAN, NAN, NAN, NAN, NAN], &[10.0, 10.0, NAN, 10.0], &[10.0, 10.0, 10.0, NAN], &[10.0, 10.0, 10.0]];
    for points in cases {
        let proposal = decide(CPU, &input(3).with_series("cpu", points));
        assert_eq!(proposal.replicas, 3, "{points:?}: {}", proposal.reason);
        assert!(proposal.confidence < 1.0, "{points:?}");
    }
    let absent = decide(CPU, &input(3));
    assert_eq!((absent.replicas, absent.confidence), (3, 0.0));
    let mut stale = input(3).with_series("cpu", &[10.0; 10]);
    stale.now += 60_000;
    assert_eq!(decide(CPU, &stale).replicas, 3);
}

#[test]
fn one_rule_is_enough_for_up_and_all_are_needed_for_down() {
    let config = r#"{ "rules": [
        { "metric": "cpu", "above": 70, "below": 30, "downFor": "2s", "stepUp": 2, "stepDown": 3 },
        { "metric": "queue_depth", "above": 10, "below": 0, "downFor": "2s", "stepUp": "50%", "stepDown": "10%" }
    ] }"#;
    let with = |cpu: f64, queue: f64| input(10).with_series("cpu", &[cpu; 3]).with_series("queue_depth", &[queue; 3]);
    assert_eq!(decide(config, &with(70.0, 0.0)).replicas, 12);
    assert_eq!(decide(config, &with(20.0, 11.0)).replicas, 15, "half of ten");
    assert_eq!(decide(config, &with(90.0, 90.0)).replicas, 15, "the larger step");
    assert_eq!(decide(config, &with(20.0, 1.0)).replicas, 10, "the queue is not empty");
    assert_eq!(decide(config, &with(20.0, 0.0)).replicas, 9, "the smaller step");
    let blind = input(10).with_series("cpu", &[20.0; 3]);
    let proposal = decide(config, &blind);
    assert_eq!(proposal.replicas, 10, "{}", proposal.reason);
    assert_eq!(decide(config, &input(10).with_series("cpu", &[95.0; 3])).replicas, 12, "up although one is missing");
}

#[test]
fn a_rule_that_only_knows_up_has_to_be_known_before_anything_shrinks() {
    let config = r#"{ "rules": [
        { "metric": "cpu", "above": 70, "below": 30, "downFor": "2s" },
        { "metric": "memory", "above": 90 }
    ] }"#;
    let calm = input(3).with_series("cpu", &[10.0; 3]).with_series("memory", &[85.0; 3]);
    assert_eq!(decide(config, &calm).replicas, 2);
    assert_eq!(decide(config, &input(3).with_series("cpu", &[10.0; 3])).replicas, 3);
    let only_up = r#"{ "rules": [{ "metric": "memory", "above": 90 }] }"#;
    assert_eq!(decide(only_up, &input(3).with_series("memory", &[1.0; 100])).replicas, 3);
}

#[test]
fn a_deployment_of_none_stays_at_none() {
    assert_eq!(decide(CPU, &input(0).with_series("cpu", &[0.0; 10])).replicas, 0);
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let found = problems(r#"{ "rules": [{ "metric": "cpu" }, { "metric": "memory", "above": 30, "below": 30 }] }"#);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, "/rules/0");
    assert_eq!(found[1], ("/rules/1/below".to_owned(), "30 must be less than `above`, 30".to_owned()));
    assert_eq!(problems(r#"{ "rules": [] }"#).len(), 1);
    assert_eq!(problems(CPU), []);
}

#[test]
fn a_field_that_does_not_exist_or_does_not_parse_is_refused_in_words() {
    let refused = |config: &str| configuration::<Threshold>(config).expect_err("the configuration is to be refused");
    assert!(refused(r#"{ "rules": [], "rulez": 1 }"#).contains("unknown field `rulez`"));
    let rule = |field: &str| format!(r#"{{ "rules": [{{ "metric": "cpu", {field} }}] }}"#);
    assert!(refused(&rule(r#""upFor": "soon""#)).contains("`soon` is not a length of time"));
    assert!(refused(&rule(r#""stepUp": 0"#)).contains("starts at 1"));
}
