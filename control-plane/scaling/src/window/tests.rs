use outrigger_protocol::histogram::LatencyHistogram;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn at(millis: u64) -> UnixMillis {
    UnixMillis::from_millis(NOW + millis)
}

fn instance(number: u8) -> InstanceId {
    InstanceId::new(UnixMillis::from_millis(1), [number; 10])
}

fn cpu(at: UnixMillis, value: f64) -> Sample {
    let mut sample = Sample::new(at);
    sample.set(Metric::Cpu, value);
    sample
}

fn latency(at: UnixMillis, millis: &[u64]) -> Sample {
    let mut histogram = LatencyHistogram::new();
    for ms in millis {
        histogram.record(Duration::from_millis(*ms));
    }
    Sample { latency: Some(histogram), ..Sample::new(at) }
}

fn window() -> DeploymentWindow {
    DeploymentWindow::new(WindowConfig { carry: Duration::from_secs(2), ..WindowConfig::default() })
}

fn second() -> Duration {
    Duration::from_secs(1)
}

#[track_caller]
fn assert_series(found: &[f64], expected: &[f64]) {
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-3);
    assert!(same, "{found:?} instead of {expected:?}");
}

const NONE: f64 = f64::NAN;

#[test]
fn a_series_is_the_mean_the_largest_and_the_total_over_the_instances() {
    let mut window = window();
    for second in 0..4_u8 {
        let time = at(u64::from(second) * 1000);
        window.push(instance(1), &cpu(time, f64::from(second)), time);
        window.push(instance(2), &cpu(time, 10.0), time);
    }
    assert_series(&window.series("cpu", at(3000), second(), 4), &[5.0, 5.5, 6.0, 6.5]);
    assert_series(&window.series("cpu.max", at(3000), second(), 4), &[10.0; 4]);
    assert_series(&window.series("cpu.sum", at(3000), second(), 2), &[12.0, 13.0]);
    let only_first =
        window.series_of("cpu", &Span { end: at(3000), step: second(), points: 2 }, |id| id == instance(1));
    assert_series(&only_first, &[2.0, 3.0]);
    assert_series(&window.series("cpu", at(3000), 2 * second(), 2), &[5.25, 6.25]);
}

#[test]
fn what_was_never_reported_is_not_a_number() {
    let mut window = window();
    assert_series(&window.series("cpu", at(0), second(), 2), &[NONE, NONE]);
    window.push(instance(1), &cpu(at(0), 5.0), at(0));
    assert_series(&window.series("memory", at(0), second(), 1), &[NONE]);
    assert_series(&window.series("cpu", at(0), second(), 2), &[NONE, 5.0]);
    assert_eq!(window.latest(instance(1), "cpu"), Some((at(0), 5.0)));
    assert_eq!(window.latest(instance(2), "cpu"), None);
}

#[test]
fn a_value_is_carried_for_a_while_and_then_unknown() {
    let mut window = window();
    window.push(instance(1), &cpu(at(0), 5.0), at(0));
    assert_series(&window.series("cpu", at(4000), second(), 5), &[5.0, 5.0, 5.0, NONE, NONE]);
    // The value before the first point counts as well.
    assert_series(&window.series("cpu", at(2000), second(), 1), &[5.0]);
}

#[test]
fn late_samples_fill_their_place_and_a_repeated_one_changes_nothing() {
    let mut window = window();
    assert_eq!(window.push(instance(1), &cpu(at(2000), 3.0), at(2000)), Pushed::Stored);
    assert_eq!(window.push(instance(1), &cpu(at(0), 1.0), at(2100)), Pushed::Stored);
    assert_eq!(window.push(instance(1), &cpu(at(0), 9.0), at(2200)), Pushed::Duplicate);
    assert_eq!(window.push(instance(1), &cpu(at(2000), 9.0), at(2200)), Pushed::Duplicate);
    assert_series(&window.series("cpu", at(2000), second(), 3), &[1.0, 1.0, 3.0]);
    assert_eq!(window.freshest(), Some(at(2000)));
    assert_eq!(window.push(instance(1), &cpu(at(0), 9.0), at(900_000)), Pushed::TooOld);
    assert_eq!(window.push(instance(3), &cpu(at(0), 9.0), at(900_000)), Pushed::TooOld);
    assert_eq!(window.instances().count(), 1);
}

#[test]
fn a_repeated_sample_counts_its_requests_once() {
    let mut window = window();
    for _ in 0..3 {
        window.push(instance(1), &latency(at(0), &[10]), at(0));
    }
    window.push(instance(2), &latency(at(0), &[30, 30]), at(0));
    assert_eq!(window.latency.values().map(LatencyHistogram::count).sum::<u64>(), 3);
}

#[test]
fn response_times_are_quantiles_of_all_instances_together() {
    let mut window = window();
    window.push(instance(1), &latency(at(0), &[10; 99]), at(0));
    window.push(instance(2), &latency(at(0), &[500]), at(0));
    let p50 = window.series("response_time_p50", at(0), second(), 1)[0];
    let p99 = window.series("response_time_p99", at(0), second(), 1)[0];
    assert!((9.0..11.0).contains(&p50) && p99 < 20.0, "{p50} {p99}");
    let own = window.latest(instance(2), "response_time_p95").expect("it had requests").1;
    assert!((own - 500.0).abs() < 1.0, "{own}");
}

#[test]
fn response_times_are_carried_over_what_has_not_arrived_but_not_over_silence() {
    let mut window = window();
    window.push(instance(1), &latency(at(0), &[10]), at(0));
    let still_coming = window.series("response_time_p50", at(1000), second(), 2);
    assert!(still_coming.iter().all(|value| (value - 10.0).abs() < 0.1), "{still_coming:?}");
    for second in 1..4 {
        window.push(instance(1), &cpu(at(second * 1000), 1.0), at(second * 1000));
    }
    assert!(window.series("response_time_p50", at(3000), second(), 1)[0].is_nan());
}

#[test]
fn a_clock_that_is_ahead_is_shifted_and_keeps_its_distances() {
    let day = 86_400_000;
    let mut window = window();
    assert_eq!(window.push(instance(1), &cpu(at(day), 1.0), at(0)), Pushed::Retimed);
    assert_eq!(window.freshest(), Some(at(0)));
    // A batch of two, sent together.
    window.push(instance(1), &cpu(at(day + 1000), 2.0), at(2000));
    window.push(instance(1), &cpu(at(day + 2000), 3.0), at(2000));
    assert_series(&window.series("cpu", at(2000), second(), 3), &[1.0, 2.0, 3.0]);
    // Set right.
    assert_eq!(window.push(instance(1), &cpu(at(3000), 4.0), at(3000)), Pushed::Stored);
    assert_series(&window.series("cpu", at(3000), second(), 2), &[3.0, 4.0]);
    // Ahead again, by far less than what was learnt first.
    assert_eq!(window.push(instance(1), &cpu(at(10_000), 5.0), at(4000)), Pushed::Retimed);
    assert_series(&window.series("cpu", at(4000), second(), 1), &[5.0]);
}

#[test]
fn when_the_own_clock_is_set_back_the_future_is_forgotten() {
    let mut window = window();
    window.push(instance(1), &latency(at(86_400_000), &[10]), at(86_400_000));
    assert_eq!(window.push(instance(1), &cpu(at(0), 2.0), at(0)), Pushed::Stored);
    assert_eq!(window.freshest(), Some(at(0)));
    assert_series(&window.series("cpu", at(0), second(), 1), &[2.0]);
}

#[test]
fn values_that_nothing_real_can_have_are_left_out() {
    let mut window = window();
    for lie in [f64::INFINITY, f64::NAN, -1.0, 1e18, 1e6] {
        let sample = Sample { values: vec![(Metric::Cpu, lie)], ..Sample::new(at(0)) };
        assert_eq!(window.push(instance(1), &sample, at(0)), Pushed::Empty, "{lie}");
    }
    assert_eq!(window.freshest(), None);
    let mixed = Sample { values: vec![(Metric::Cpu, 1e18), (Metric::Memory, 5.0)], ..Sample::new(at(0)) };
    assert_eq!(window.push(instance(1), &mixed, at(0)), Pushed::Stored);
    assert_eq!(window.metrics().into_iter().collect::<Vec<_>>(), ["memory"]);
}

#[test]
fn instances_metrics_and_names_are_bounded() {
    let config = WindowConfig { custom_metrics: 4, instances: 2, points: 60, ..WindowConfig::default() };
    let mut window = DeploymentWindow::new(config);
    for minute in 0..10 {
        let time = at(minute * 60_000);
        let custom = (0..8).map(|number| (format!("m{minute}_{number}"), 1.0)).collect();
        let sample = Sample { custom, ..Sample::new(time) };
        window.push(instance(1), &sample, time);
        assert!(window.names.len() <= 4 && window.metrics().len() <= 4);
    }
    assert!(window.metrics().iter().all(|name| name.starts_with("m8_")), "silent metrics make room");
    window.push(instance(2), &cpu(at(0), 1.0), at(0));
    assert_eq!(window.push(instance(3), &cpu(at(0), 1.0), at(0)), Pushed::Full);
    window.remove_instance(instance(1));
    assert!(window.names.is_empty());
    assert_eq!(window.push(instance(3), &cpu(at(0), 1.0), at(0)), Pushed::Stored);
}

#[test]
fn all_that_an_agent_may_send_is_kept_and_no_program_crowds_out_the_agents_own() {
    let mut window = window();
    for second in 0..5 {
        // Other names each time: more than there is room for.
        let names = (0..CUSTOM_METRICS_PER_SAMPLE).map(|number| (format!("m{second}_{number}"), 1.0));
        let time = at(second * 1_000);
        window.push(instance(1), &Sample { custom: names.collect(), ..Sample::new(time) }, time);
    }
    let sent: Vec<_> = Metric::ALL.iter().filter(|metric| !metric.is_derived()).map(|metric| (*metric, 1.0)).collect();
    let count = sent.len();
    window.push(instance(1), &Sample { values: sent, ..Sample::new(at(5_000)) }, at(5_000));
    let kept = window.metrics();
    assert_eq!(kept.len(), count + CUSTOM_METRICS_PER_SAMPLE);
    assert!(kept.contains("m0_63") && kept.contains("host_load1"));
}

#[test]
fn a_programs_own_metric_goes_before_a_suffix() {
    let mut window = window();
    for number in 1..3 {
        let custom = vec![("jobs.max".to_owned(), f64::from(number)), ("jobs".to_owned(), -7.0)];
        window.push(instance(number), &Sample { custom, ..Sample::new(at(0)) }, at(0));
    }
    assert_series(&window.series("jobs.max", at(0), second(), 1), &[1.5]);
    assert_series(&window.series("jobs.sum", at(0), second(), 1), &[-14.0]);
}

#[test]
fn freshness_counts_the_instances_that_matter() {
    let mut window = window();
    window.push(instance(1), &cpu(at(0), 1.0), at(0));
    window.push(instance(2), &cpu(at(9000), 1.0), at(9000));
    assert_eq!(window.fresh(at(10_000), 5 * second(), |_| true), 1);
    assert_eq!(window.fresh(at(10_000), 10 * second(), |_| true), 2);
    assert_eq!(window.fresh(at(10_000), 10 * second(), |id| id == instance(1)), 1);
}

proptest! {
    /// Whatever arrives, in whatever order and from whatever clock: bounded, and never from the future.
    #[test]
    fn any_stream_keeps_the_window_in_bounds(
        pushes in prop::collection::vec((0_u8..4, any::<u64>(), any::<u64>(), any::<f64>()), 1..60),
        end: u64, step in 0_u64..10_000_000, points in 0_usize..2_000,
    ) {
        let mut window = DeploymentWindow::new(WindowConfig { instances: 3, ..WindowConfig::default() });
        for (id, taken, received, value) in pushes {
            let received = UnixMillis::from_millis(received);
            let mut sample = latency(UnixMillis::from_millis(taken), &[1]);
            sample.values.push((Metric::Requests, value));
            window.push(instance(id), &sample, received);
            prop_assert!(window.newest(instance(id)).is_none_or(|newest| newest <= received));
        }
        for name in ["requests", "requests.max", "response_time_p95"] {
            let series = window.series(name, UnixMillis::from_millis(end), Duration::from_millis(step), points);
            prop_assert_eq!(series.len(), points.min(300));
            prop_assert!(series.iter().all(|value| !value.is_infinite()));
        }
        prop_assert!(window.instances().count() <= 3 && window.latency.len() <= 301);
    }
}
