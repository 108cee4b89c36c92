//! The built-in policies, run as components.

use crate::support::{NOW, concurrency, host, input, schedule, target, threshold, weighted, with_series};
use outrigger_policy_host::json::{input_from_json, input_to_json};
use outrigger_policy_host::{Column, FailureReason, Fault, Input, InputError, Instances, LocalTime};

const RULES: &str = r#"{ "rules": [{ "metric": "cpu", "above": 70, "below": 30, "downFor": "30s" }] }"#;

fn configured(config: &str, input: Input) -> Input {
    Input { config: config.to_owned(), ..input }
}

#[test]
fn threshold_goes_up_and_down() {
    let decide = |cpu| {
        let input = configured(RULES, with_series(input(3), &[("cpu", cpu)]));
        host().evaluate(threshold(), &input).outcome.unwrap()
    };
    let up = decide(90.0);
    assert_eq!((up.replicas, up.confidence, up.reason.as_str()), (4, 1.0, "cpu is 90, at or above 70; 1 more"));
    assert_eq!(up.signals, [("cpu".to_owned(), 90.0)]);
    assert_eq!(decide(50.0).replicas, 3);
    assert_eq!(decide(10.0).replicas, 2);
    assert_eq!(decide(f64::NAN).replicas, 3);
    assert_eq!(decide(f64::NEG_INFINITY).replicas, 3, "an infinity is no measurement");
}

#[test]
fn weighted_remembers_where_it_was_going() {
    let config = r#"{ "preset": "web-api", "stepUp": "50%" }"#;
    let decide = |cpu, state| {
        let metrics = [("cpu", cpu), ("memory", 80.0), ("requests", 100.0)];
        let input = Input { state, ..configured(config, with_series(input(4), &metrics)) };
        host().evaluate(weighted(), &input).outcome.unwrap()
    };
    assert_eq!(decide(65.0, Vec::new()).replicas, 4);
    let up = decide(75.0, Vec::new());
    assert_eq!(up.replicas, 6);
    assert_eq!(decide(65.0, up.state).replicas, 6);
}

#[test]
fn target_counts_each_instance() {
    let config = r#"{ "metrics": [{ "metric": "cpu", "averageUtilization": 50 }] }"#;
    let decide = |values: [f64; 3]| {
        let instances = Instances {
            ids: ["a", "b", "c"].map(str::to_owned).to_vec(),
            ready: vec![true; 3],
            age_ms: vec![3_600_000; 3],
            latest: vec![Column { name: "cpu".to_owned(), values: values.to_vec() }],
        };
        host().evaluate(target(), &configured(config, Input { instances, ..input(3) })).outcome.unwrap()
    };
    assert_eq!(decide([90.0, 90.0, 90.0]).replicas, 6);
    assert_eq!(decide([90.0, 90.0, f64::NAN]).replicas, 4, "one that does not report counts as idle upwards");
    assert_eq!(decide([10.0, 10.0, 10.0]).replicas, 1);
    assert_eq!(decide([10.0, 10.0, f64::NAN]).replicas, 3, "and as busy downwards");
    let unknown = decide([f64::NAN; 3]);
    assert_eq!((unknown.replicas, unknown.confidence), (3, 0.0));
}

#[test]
fn concurrency_remembers_that_it_panics() {
    let decide = |replicas, under_way, state: &[u8]| {
        let scene = with_series(input(replicas), &[("requests_in_flight.sum", under_way)]);
        let input = Input { state: state.to_vec(), ..configured(r#"{ "target": 10 }"#, scene) };
        host().evaluate(concurrency(), &input).outcome.unwrap()
    };
    let calm = decide(4, 28.0, b"{}");
    assert_eq!((calm.replicas, calm.state.as_slice()), (4, b"{}".as_slice()));
    let panic = decide(4, 70.0, &calm.state);
    assert_eq!(panic.replicas, 10);
    assert_eq!(decide(10, 7.0, &panic.state).replicas, 10);
    assert_eq!(decide(10, 7.0, b"{}").replicas, 5);
}

#[test]
fn schedule_goes_by_the_local_time() {
    let config = r#"{ "windows": [{ "name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "replicas": 7 }] }"#;
    let decide = |hour: u64| {
        let local = LocalTime::utc(NOW + hour * 3_600_000);
        host().evaluate(schedule(), &configured(config, Input { local, ..input(3) })).outcome.unwrap().replicas
    };
    assert_eq!([7, 8, 17, 18].map(decide), [0, 7, 7, 0]);
}

#[test]
fn schedule_looks_for_the_rarest_dates_within_its_fuel() {
    let windows: Vec<String> = (0..16)
        .map(|number| {
            format!(r#"{{ "name": "{number}", "start": "{number} 0 29 2 *", "end": "0 1 29 2 *", "replicas": 1 }}"#)
        })
        .collect();
    let config = format!(r#"{{ "windows": [{}] }}"#, windows.join(","));
    // No 29 February for eight years: 2100 has none.
    let local = LocalTime { year: 2104, month: 2, day: 28, weekday: 4, ..LocalTime::utc(NOW) };
    let evaluation = host().evaluate(schedule(), &configured(&config, Input { local, ..input(3) }));
    assert_eq!(evaluation.outcome.unwrap().replicas, 0);
    assert!(evaluation.fuel < 10_000_000, "{}", evaluation.fuel);
}

#[test]
fn the_same_input_gives_the_same_proposal_bit_for_bit() {
    let config = r#"{ "preset": "web-api" }"#;
    let mut recorded = with_series(input(4), &[("cpu", 63.7), ("memory", 51.2), ("requests", f64::NAN)]);
    for (number, point) in recorded.series[0].points.iter_mut().enumerate() {
        *point += (number as f64).sin() / 3.0;
    }
    let recorded = configured(config, recorded);
    let replayed = input_from_json(&input_to_json(&recorded).to_string()).unwrap();
    let outcomes: Vec<_> = [&recorded, &replayed, &recorded]
        .map(|input| host().evaluate(weighted(), input))
        .into_iter()
        .map(|evaluation| {
            let proposal = evaluation.outcome.unwrap();
            let bits: Vec<u64> = proposal.signals.iter().map(|(_, value)| value.to_bits()).collect();
            (proposal.replicas, proposal.confidence.to_bits(), proposal.reason, bits, proposal.state, evaluation.fuel)
        })
        .collect();
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0], outcomes[2]);
}

#[test]
fn an_input_that_does_not_fit_never_reaches_the_policy() {
    let mut ragged = configured(RULES, with_series(input(3), &[("cpu", 1.0), ("memory", 1.0)]));
    ragged.series[1].points.pop();
    let evaluation = host().evaluate(threshold(), &ragged);
    assert!(matches!(evaluation.outcome, Err(Fault::InvalidInput(InputError::Ragged { .. }))));
    assert!(!evaluation.outcome.unwrap_err().blames_policy());
    assert_eq!(evaluation.fuel, 0);
}

#[test]
fn a_configuration_that_was_never_validated_fails_in_words() {
    let outcome = host().evaluate(threshold(), &configured("{}", input(1))).outcome;
    let Err(Fault::Failure { reason, message }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, FailureReason::InvalidConfig);
    assert!(message.contains("missing field `rules`"), "{message}");
}
