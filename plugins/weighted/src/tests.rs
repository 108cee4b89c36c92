use outrigger_policy_sdk::testing::input;
use outrigger_policy_sdk::{Input, Policy, Problems, Proposal, configuration};

use super::Weighted;

const NAN: f64 = f64::NAN;
const WEB: &str = r#"{ "preset": "web-api" }"#;
const BATCH: &str = r#"{ "preset": "batch-job" }"#;
/// One metric without smoothing, so that the score is easy to see: 50 is 0, 150 is 1.
const PLAIN: &str =
    r#"{ "metrics": [{ "metric": "load", "up": 150, "down": 50 }], "smoothing": { "method": "none" } }"#;

fn decide(config: &str, input: &Input) -> Proposal {
    let config = configuration::<Weighted>(config).expect("the configuration parses");
    Weighted::decide(&config, input).expect("the policy decides")
}

fn web(replicas: u32, cpu: f64, memory: f64, requests: f64) -> Input {
    input(replicas)
        .with_series("cpu", &[cpu; 30])
        .with_series("memory", &[memory; 30])
        .with_series("requests", &[requests; 30])
}

fn signal(proposal: &Proposal, name: &str) -> f64 {
    proposal.signals.iter().find(|(found, _)| found == name).map_or(NAN, |(_, value)| *value)
}

#[test]
fn the_web_preset_scales_at_its_thresholds() {
    let up = decide(WEB, &web(2, 70.0, 80.0, 100.0));
    assert_eq!((up.replicas, up.confidence, signal(&up, "score")), (3, 1.0, 1.0));
    let down = decide(WEB, &web(2, 30.0, 40.0, 20.0));
    assert_eq!((down.replicas, signal(&down, "score")), (1, 0.0));
    assert_eq!(decide(WEB, &web(2, 50.0, 60.0, 60.0)).replicas, 2);
}

#[test]
fn the_batch_preset_scales_at_its_thresholds() {
    let batch = |cpu, memory, queue: f64| {
        input(2)
            .with_series("cpu", &[cpu; 60])
            .with_series("memory", &[memory; 60])
            .with_series("queue_depth", &[queue; 60])
    };
    assert_eq!(decide(BATCH, &batch(85.0, 90.0, 10.0)).replicas, 3);
    assert_eq!(decide(BATCH, &batch(20.0, 30.0, 0.0)).replicas, 1);
    assert_eq!(decide(BATCH, &batch(50.0, 50.0, 5.0)).replicas, 2);
}

#[test]
fn weights_decide_between_metrics_that_disagree() {
    let config = |cpu: u32, memory: u32| {
        format!(
            r#"{{ "metrics": [{{ "metric": "cpu", "weight": {cpu}, "up": 100, "down": 0 }},
                              {{ "metric": "memory", "weight": {memory}, "up": 100, "down": 0 }}],
                  "scaleUp": 0.7, "scaleDown": 0.3 }}"#
        )
    };
    let uneven = input(4).with_series("cpu", &[100.0; 30]).with_series("memory", &[0.0; 30]);
    assert_eq!(decide(&config(3, 1), &uneven).replicas, 5);
    assert_eq!(decide(&config(1, 3), &uneven).replicas, 3);
    assert_eq!(decide(&config(1, 1), &uneven).replicas, 4);
}

#[test]
fn smoothing_lets_a_short_peak_pass() {
    let mut points = [60.0; 30];
    points[29] = 200.0;
    let peak = input(2).with_series("load", &points);
    assert_eq!(decide(PLAIN, &peak).replicas, 3);
    for method in ["ewma", "mean"] {
        let config = PLAIN.replace("none", method);
        let proposal = decide(&config, &peak);
        assert_eq!(proposal.replicas, 2, "{method}: {}", proposal.reason);
    }
    let mean = decide(&PLAIN.replace("none", "mean"), &peak);
    assert!((signal(&mean, "load") - 1940.0 / 30.0).abs() < 1e-9);
    let ewma = decide(&PLAIN.replace("none", "ewma"), &peak);
    assert!((signal(&ewma, "load") - (60.0 + 140.0 * 2.0 / 31.0)).abs() < 1e-9);
}

#[test]
fn a_direction_that_was_taken_is_left_later_than_it_was_taken() {
    let with = |load: f64, state: &[u8]| input(2).with_series("load", &[load]).with_state(state);
    let level = decide(PLAIN, &with(145.0, b""));
    assert_eq!(level.replicas, 2, "0.95 is not enough to begin");
    let up = decide(PLAIN, &with(150.0, &level.state));
    assert_eq!(up.replicas, 3);
    let on = decide(PLAIN, &with(145.0, &up.state));
    assert_eq!(on.replicas, 3, "but enough to go on");
    let end = decide(PLAIN, &with(139.0, &on.state));
    assert_eq!(end.replicas, 2);
    assert_eq!(decide(PLAIN, &with(145.0, &end.state)).replicas, 2, "and it has to begin anew");
    let down = decide(PLAIN, &with(50.0, &end.state));
    assert_eq!(down.replicas, 1);
    assert_eq!(decide(PLAIN, &with(59.0, &down.state)).replicas, 1);
    assert_eq!(decide(PLAIN, &with(61.0, &down.state)).replicas, 2);
}

#[test]
fn a_state_of_somebody_else_is_forgotten() {
    assert_eq!(decide(PLAIN, &input(2).with_series("load", &[145.0]).with_state(b"\xffnonsense")).replicas, 2);
}

#[test]
fn nothing_scales_down_on_missing_data() {
    let absent = decide(WEB, &input(3));
    assert_eq!((absent.replicas, absent.confidence), (3, 0.0));
    let blind = decide(WEB, &web(3, NAN, NAN, NAN));
    assert_eq!((blind.replicas, blind.confidence), (3, 0.0));
    let one_missing = decide(WEB, &web(3, 1.0, 1.0, NAN));
    assert_eq!(one_missing.replicas, 3);
    assert!(one_missing.reason.contains("too little is known of requests"), "{}", one_missing.reason);
    let half = input(3).with_series("load", &[1.0; 14]);
    assert_eq!(decide(&PLAIN.replace("none", "mean"), &half).replicas, 3, "fourteen of thirty points");
    let mut stale = web(3, 1.0, 1.0, 1.0);
    stale.now += 5_000;
    assert_eq!(decide(WEB, &stale).replicas, 3);
}

#[test]
fn what_is_known_can_scale_up_while_something_is_missing() {
    let up = decide(WEB, &web(3, 95.0, NAN, 200.0));
    assert_eq!(up.replicas, 4);
    assert!((up.confidence - 2.0 / 3.0).abs() < 1e-9);
    assert!(signal(&up, "memory").is_nan());
}

#[test]
fn the_worst_instance_counts_when_asked_for() {
    let config = r#"{ "metrics": [{ "metric": "cpu", "up": 70, "down": 30 }], "aggregate": "max", "smoothing": { "method": "none" } }"#;
    let series = input(2).with_series("cpu", &[20.0]).with_series("cpu.max", &[90.0]);
    assert_eq!(decide(config, &series).replicas, 3);
    let instances = input(2).with_instances("cpu", &[(true, 10.0), (true, 90.0), (false, 100.0)]);
    assert_eq!(decide(config, &instances).replicas, 3);
    assert_eq!(decide(&config.replace("max", "average"), &instances).replicas, 2, "50 on average");
    let unknown = input(2).with_instances("cpu", &[(true, 10.0), (true, NAN), (true, NAN)]);
    assert_eq!(decide(&config.replace("max", "average"), &unknown).replicas, 2, "one of three has reported");
}

#[test]
fn a_metric_gone_wild_does_not_drown_the_others() {
    let wild = decide(WEB, &web(2, 30.0, 40.0, 1e9));
    assert!((signal(&wild, "score") - 2.0 / 3.0).abs() < 1e-9);
    assert_eq!(wild.replicas, 2);
}

#[test]
fn a_score_that_is_not_a_number_changes_nothing() {
    let config = PLAIN.replace("150", "1.7e308").replace("50", "-1.7e308");
    let overflowing = decide(&config, &input(3).with_series("load", &[1.7e308]));
    assert_eq!(overflowing.replicas, 3, "{}", overflowing.reason);
    assert!(signal(&overflowing, "score").is_nan());
}

#[test]
fn every_problem_of_a_configuration_is_named() {
    let paths = |config: &str| -> Vec<String> {
        let config = configuration::<Weighted>(config).expect("the configuration parses");
        let mut problems = Problems::default();
        Weighted::check(&config, &mut problems);
        problems.into_result().err().unwrap_or_default().into_iter().map(|one| one.path).collect()
    };
    assert_eq!(paths("{}"), [""]);
    assert_eq!(paths(WEB), [""; 0]);
    let bad = r#"{ "metrics": [{ "metric": "cpu", "up": 30, "down": 70 }, { "metric": "cpu", "up": 2, "down": 1, "weight": 0 }],
                   "scaleUp": 0.1, "hysteresis": 0.1 }"#;
    assert_eq!(paths(bad), ["/metrics/0/down", "/metrics/1/metric", "/metrics/1/weight", "/hysteresis"]);
}

#[test]
fn what_is_configured_stands_above_the_preset() {
    let config = r#"{ "preset": "web-api", "stepUp": "100%", "metrics": [{ "metric": "cpu", "up": 10, "down": 5 }] }"#;
    assert_eq!(decide(config, &input(4).with_series("cpu", &[11.0; 30])).replicas, 8);
    let error = configuration::<Weighted>(r#"{ "preset": "web" }"#).expect_err("there is no such preset");
    assert!(error.contains("web-api"), "{error}");
}
