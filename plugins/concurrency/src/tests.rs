mod laws;

use outrigger_policy_sdk::testing::{NOW, input};
use outrigger_policy_sdk::{Input, Policy, Problems, Proposal, configuration};

use super::Concurrency;

const NAN: f64 = f64::NAN;
const DEFAULTS: &str = "{}";
/// Ten at once for each replica, all of it aimed at, so that numbers are easy to see.
const TEN: &str = r#"{ "target": 10, "targetUtilization": 1 }"#;
const CALM: &[u8] = b"{}";

fn decide(config: &str, input: &Input) -> Proposal {
    let config = configuration::<Concurrency>(config).expect("the configuration parses");
    Concurrency::decide(&config, input).expect("the policy decides")
}

/// A deployment with this much under way in each second of the last minute, which is not in panic.
fn under_way(replicas: u32, points: &[f64]) -> Input {
    input(replicas).with_series("requests_in_flight.sum", points).with_state(CALM)
}

/// A minute of `before` whose last six seconds are `now`.
fn surge(before: f64, now: f64) -> Vec<f64> {
    [[before; 54].as_slice(), &[now; 6]].concat()
}

/// The same deployment some seconds later: with that minute, with what it asked for, all of it ready.
fn later(proposal: &Proposal, seconds: u64, points: &[f64]) -> Input {
    let mut input = input(proposal.replicas).with_state(&proposal.state);
    input.now = NOW + seconds * 1000;
    input.with_series("requests_in_flight.sum", points)
}

#[test]
fn the_stable_window_divided_by_the_target_is_the_number() {
    let calm = decide(DEFAULTS, &under_way(3, &[140.0; 60]));
    assert_eq!((calm.replicas, calm.confidence), (2, 1.0));
    assert_eq!(calm.reason, "140 under way on average: 2 instead of 3");
    assert_eq!(calm.signals, [("stable".to_owned(), 140.0), ("panic".to_owned(), 140.0), ("target".to_owned(), 70.0)]);
    assert_eq!(decide(DEFAULTS, &under_way(3, &[141.0; 60])).replicas, 3, "it is rounded up");
    assert_eq!(decide(TEN, &under_way(3, &[45.0; 60])).replicas, 5);
    assert_eq!(decide(TEN, &under_way(3, &surge(20.0, 30.0))).replicas, 3, "21 on average");
}

#[test]
fn a_surge_in_the_panic_window_is_answered_before_it_is_in_the_stable_one() {
    let nearly = decide(TEN, &under_way(4, &surge(40.0, 70.0)));
    assert_eq!(nearly.replicas, 5, "seven are less than twice four: {}", nearly.reason);
    let panic = decide(TEN, &under_way(4, &surge(40.0, 80.0)));
    assert_eq!(panic.replicas, 8);
    assert_eq!(panic.reason, "80 under way now, 44 on average; panicking, so nothing is taken");
}

#[test]
fn nothing_is_taken_in_panic_and_it_ends_a_stable_window_after_the_last_surge() {
    let panic = decide(TEN, &under_way(4, &surge(40.0, 100.0)));
    assert_eq!(panic.replicas, 10);
    let ebb = decide(TEN, &later(&panic, 30, &[10.0; 60]));
    assert_eq!(ebb.replicas, 10);
    let last = decide(TEN, &later(&ebb, 60, &[10.0; 60]));
    assert_eq!(last.replicas, 10, "a whole window is not over yet");
    let over = decide(TEN, &later(&last, 61, &[10.0; 60]));
    assert_eq!(over.replicas, 5, "one was enough, but half is what may go at once");
    assert_eq!(over.state, CALM);
    assert_eq!(decide(TEN, &later(&over, 62, &[10.0; 60])).replicas, 2);
}

#[test]
fn another_surge_prolongs_the_panic_and_raises_what_it_keeps_to() {
    let panic = decide(TEN, &under_way(4, &surge(40.0, 100.0)));
    let more = decide(TEN, &later(&panic, 50, &surge(100.0, 200.0)));
    assert_eq!(more.replicas, 20);
    assert_eq!(decide(TEN, &later(&more, 100, &[10.0; 60])).replicas, 20);
    assert_eq!(decide(TEN, &later(&more, 111, &[10.0; 60])).replicas, 10);
    let mut by_hand = later(&panic, 10, &[10.0; 60]);
    by_hand.deployment.replicas = 15;
    assert_eq!(decide(TEN, &by_hand).replicas, 15, "what somebody else asked for is not taken either");
}

#[test]
fn without_a_past_a_deployment_of_several_begins_in_panic() {
    for state in [b"".as_slice(), b"\xffnonsense", br#"{"on":{"last":-1,"most":2}}"#, br#"{"other":1}"#] {
        let anew = decide(TEN, &under_way(8, &[10.0; 60]).with_state(state));
        assert_eq!(anew.replicas, 8, "{}", String::from_utf8_lossy(state));
        assert_eq!(decide(TEN, &later(&anew, 61, &[10.0; 60])).replicas, 4);
    }
    assert_eq!(decide(TEN, &under_way(1, &[0.0; 60]).with_state(b"")).replicas, 0, "one has nothing to lose");
}

#[test]
fn a_state_of_another_time_is_brought_within_bounds() {
    let ahead = br#"{"on":{"last":18446744073709551615,"most":4294967295}}"#;
    let proposal = decide(TEN, &under_way(3, &[10.0; 60]).with_state(ahead));
    assert_eq!(proposal.replicas, 1_000_000);
    assert_eq!(decide(TEN, &later(&proposal, 61, &[10.0; 60])).replicas, 500_000, "and the panic ends in time");
}

#[test]
fn rates_limit_how_far_one_decision_goes() {
    let doubling = r#"{ "target": 1, "targetUtilization": 1, "maxScaleUpRate": 2, "panicThresholdPercentage": 1000 }"#;
    assert_eq!(decide(doubling, &under_way(4, &[30.0; 60])).replicas, 8);
    let slow = doubling.replace(r#""maxScaleUpRate": 2"#, r#""maxScaleUpRate": 1.1"#);
    assert_eq!(decide(&slow, &under_way(2, &[3.0; 60])).replicas, 3, "a rate never keeps it from growing at all");
    assert_eq!(decide(TEN, &under_way(9, &[1.0; 60])).replicas, 4);
    let mut draining = under_way(4, &[1.0; 60]);
    draining.deployment.ready_replicas = 20;
    assert_eq!(decide(TEN, &draining).replicas, 2, "those that drain are no reason to keep more");
}

#[test]
fn the_activation_scale_holds_while_anything_is_under_way() {
    let config = r#"{ "activationScale": 3 }"#;
    assert_eq!(decide(config, &under_way(1, &[0.5; 60])).replicas, 3);
    assert_eq!(decide(config, &under_way(1, &[0.0; 60])).replicas, 0);
}

#[test]
fn nothing_shrinks_on_a_window_of_which_too_little_is_known() {
    let blind = decide(TEN, &input(6).with_state(CALM));
    assert_eq!((blind.replicas, blind.confidence, blind.state.as_slice()), (6, 0.0, CALM));
    assert_eq!(blind.reason, "no current value of requests_in_flight.sum");
    let stopped = decide(TEN, &under_way(6, &[[1.0; 54].as_slice(), &[NAN; 6]].concat()));
    assert_eq!((stopped.replicas, stopped.confidence), (6, 0.0));
    let short = decide(TEN, &under_way(6, &[10.0; 29]));
    assert_eq!(short.replicas, 6, "{}", short.reason);
    assert_eq!(decide(TEN, &under_way(6, &[10.0; 30])).replicas, 3);
    assert_eq!(decide(TEN, &under_way(6, &[90.0; 6])).replicas, 9, "but it grows on little");
}

#[test]
fn a_panic_outlasts_a_gap() {
    let panic = decide(TEN, &under_way(4, &surge(40.0, 100.0)));
    let gap = decide(TEN, &later(&panic, 5, &[NAN; 60]));
    assert_eq!(gap.state, panic.state);
    assert_eq!(decide(TEN, &later(&gap, 10, &[10.0; 60])).replicas, 10);
}

#[test]
fn absurd_values_stay_within_bounds() {
    assert_eq!(decide(TEN, &under_way(2000, &[1.7e308; 2])).replicas, 2000, "a sum that overflows is no value");
    assert_eq!(decide(TEN, &under_way(2000, &[1e300; 60])).replicas, 1_000_000);
    assert_eq!(decide(TEN, &under_way(4, &[-50.0; 60])).replicas, 2);
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let paths = |config: &str| -> Vec<String> {
        let config = configuration::<Concurrency>(config).expect("the configuration parses");
        let mut problems = Problems::default();
        Concurrency::check(&config, &mut problems);
        problems.into_result().err().unwrap_or_default().into_iter().map(|one| one.path).collect()
    };
    assert_eq!(paths(DEFAULTS), [""; 0]);
    let bad = r#"{ "metric": "requests.sum", "stableWindow": "5s", "target": 0, "targetUtilization": 70,
                   "panicWindowPercentage": 0.5, "panicThresholdPercentage": 100, "maxScaleUpRate": 1,
                   "maxScaleDownRate": 1 }"#;
    assert_eq!(
        paths(bad),
        [
            "/metric",
            "/stableWindow",
            "/target",
            "/targetUtilization",
            "/panicWindowPercentage",
            "/panicThresholdPercentage",
            "/maxScaleUpRate",
            "/maxScaleDownRate"
        ]
    );
    let error = configuration::<Concurrency>(r#"{ "targetUtilisation": 1 }"#).expect_err("there is no such field");
    assert!(error.contains("unknown field `targetUtilisation`"), "{error}");
}
