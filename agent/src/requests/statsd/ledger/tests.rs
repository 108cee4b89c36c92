use outrigger_protocol::rule::Rule;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use super::*;

fn ledger(rules: &[&str]) -> Ledger {
    let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    Ledger::new(Mapping::of_statsd(&rules, false))
}

/// What is in a sample two seconds later.
fn sample(ledger: &mut Ledger, packets: &[&str]) -> Sample {
    let now = Instant::now();
    for packet in packets {
        ledger.packet(packet.as_bytes(), false, now);
    }
    let mut sample = Sample::new(UnixMillis::EPOCH);
    ledger.take(Duration::from_secs(2), now).record(&mut sample);
    sample
}

#[test]
fn the_usual_names_fill_what_outrigger_knows() {
    let mut ledger = ledger(&[]);
    let said = [
        "app.gunicorn.requests:1|c|@0.25\napp.gunicorn.request.duration:20|ms\napp.gunicorn.request.duration:40|ms|@0.5",
        "app.gunicorn.request.status.503:2|c\napp.gunicorn.request.status.200:9|c\nqueue_depth:5|g",
    ];
    let sample = sample(&mut ledger, &said);
    assert_eq!(sample.value(Known::Requests), Some(2.0));
    assert_eq!(sample.value(Known::RequestErrors), Some(1.0));
    assert_eq!(sample.value(Known::QueueDepth), Some(5.0));
    let latency = sample.latency.expect("response times");
    assert_eq!(
        (latency.count(), latency.max(), latency.sum()),
        (3, Duration::from_millis(40), Duration::from_millis(100))
    );
}

#[test]
fn counts_begin_anew_and_gauges_stand() {
    let mut ledger = ledger(&["jobs.*", "users"]);
    let first =
        sample(&mut ledger, &["jobs.done:3|c\njobs.waiting:10|g\njobs.waiting:-3|g\nusers:a|s\nusers:b|s\nusers:a|s"]);
    let expected = [("jobs.done", 1.5), ("jobs.waiting", 7.0), ("users", 2.0)];
    assert_eq!(first.custom, expected.map(|(name, value)| (name.to_owned(), value)));
    let second = sample(&mut ledger, &["jobs.waiting:+1|g"]);
    let expected = [("jobs.done", 0.0), ("jobs.waiting", 8.0), ("users", 0.0)];
    assert_eq!(second.custom, expected.map(|(name, value)| (name.to_owned(), value)));
    ledger.forget_gauges();
    let third = sample(&mut ledger, &["jobs.done:2|c"]);
    let expected = [("jobs.done", 1.0), ("users", 0.0)];
    assert_eq!(third.custom, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn gauges_of_several_series_are_added_up_and_tags_tell_them_apart() {
    let mut ledger = ledger(&["queue_depth=jobs{queue!=dead}", "request_errors=hits{status=\"5*\"}", "hits"]);
    let sample = sample(
        &mut ledger,
        &[
            "jobs:2|g|#queue:a,host:x",
            "jobs:3|g|#queue:b",
            "jobs:9|g|#host:x,queue:a",
            "jobs:100|g|#queue:dead",
            "hits:4|c|#status:200",
        ],
    );
    assert_eq!(sample.value(Known::QueueDepth), Some(12.0));
    assert_eq!(sample.value(Known::RequestErrors), Some(0.0), "hits of another status prove it");
    assert_eq!(sample.custom, [("hits{status=\"200\"}".to_owned(), 2.0)]);
}

#[test]
fn timers_are_counts_where_counts_are_wanted_and_means_otherwise() {
    let mut ledger = ledger(&["requests=web", "web", "response_time=web", "response_time=rpc.seconds"]);
    let sample = sample(&mut ledger, &["web:10:30|ms|#a:b\nrpc.seconds:0.5|d\nweb:1|c"]);
    // The counter of the same name is counted as well: the operator's rule means both.
    assert_eq!(sample.value(Known::Requests), Some(1.5));
    let expected = [("web_count{a=\"b\"}", 1.0), ("web{a=\"b\"}", 20.0), ("web_max{a=\"b\"}", 30.0), ("web", 0.5)];
    assert_eq!(sample.custom, expected.map(|(name, value)| (name.to_owned(), value)));
    let latency = sample.latency.expect("response times");
    assert_eq!((latency.count(), latency.max()), (3, Duration::from_millis(500)));
}

#[test]
fn series_and_members_are_bounded_and_what_is_dropped_is_counted() {
    let mut ledger = ledger(&["*"]);
    let packet: String = (0..SERIES + 10).map(|number| format!("m{number}:1|c\n")).collect();
    ledger.packet(packet.as_bytes(), false, Instant::now());
    assert_eq!((ledger.entries.len(), ledger.figures.dropped), (SERIES, 10));

    let mut sets = super::tests::ledger(&["users"]);
    let packet: String = (0..MEMBERS + 10).map(|number| format!("users:{number}|s\n")).collect();
    assert_eq!(sample(&mut sets, &[&packet]).custom, [("users".to_owned(), MEMBERS as f64)]);
    assert_eq!(sets.figures.dropped, 10);
}

#[test]
fn a_series_that_fell_silent_makes_room() {
    let mut ledger = ledger(&["*"]);
    let start = Instant::now();
    ledger.packet(b"a:1|c\nb:1|g", false, start);
    ledger.take(Duration::from_secs(1), start + SILENCE);
    assert_eq!(ledger.entries.len(), 1, "a gauge stands");
    ledger.packet(b"b:+1|g", false, start + SILENCE);
    let mut sample = Sample::new(UnixMillis::EPOCH);
    ledger.take(Duration::from_secs(1), start + SILENCE).record(&mut sample);
    assert_eq!(sample.custom, [("b".to_owned(), 2.0)]);
}

#[test]
fn lines_that_are_none_are_counted_and_the_others_are_heard() {
    let mut ledger = ledger(&["a"]);
    ledger.packet(b"nonsense\na:1|c\na:x|c\n\xff\xfe\n_e{1,1}:a|b\n", false, Instant::now());
    ledger.packet(b"a:1|c\na:10", true, Instant::now());
    assert_eq!((ledger.figures.packets, ledger.figures.metrics, ledger.figures.malformed), (2, 2, 4));
}

proptest! {
    #[test]
    fn whatever_is_said_a_sample_is_sound(packets in prop::collection::vec(
        prop_oneof!["[ab]:[-+0-9e.]{1,6}\\|(c|g|ms|h|s)(\\|@0.[0-9])?(\\|#[xy:,]{0,5})?", ".{0,40}"], 0..40)) {
        let mut ledger = ledger(&["*", "response_time=a", "requests=b"]);
        let packets: Vec<&str> = packets.iter().map(String::as_str).collect();
        let sample = sample(&mut ledger, &packets);
        prop_assert!(sample.values.iter().all(|(_, value)| value.is_finite()));
        prop_assert!(sample.custom.iter().all(|(_, value)| value.is_finite()));
    }

    #[test]
    fn nothing_that_is_counted_is_lost(counts in prop::collection::vec((0_u32..1000, 1_u32..10), 0..50)) {
        let mut ledger = ledger(&["jobs"]);
        let lines: Vec<String> = counts.iter().map(|(count, parts)| format!("jobs:{count}|c|@{}", 1.0 / f64::from(*parts))).collect();
        let sample = sample(&mut ledger, &[&lines.join("\n")]);
        let expected: f64 = counts.iter().map(|(count, parts)| f64::from(*count) * f64::from(*parts)).sum();
        let found = sample.custom.first().map_or(0.0, |(_, value)| value * 2.0);
        prop_assert!((found - expected).abs() <= 1e-6 * expected.max(1.0), "{found} instead of {expected}");
    }
}
