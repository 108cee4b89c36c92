//! From two answers to what a sample gets.

use std::sync::Arc;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::rule::Rule;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use proptest::prelude::*;

use super::*;
use crate::requests::scrape::collect::{Collector, Format};

/// A program that is asked again and again.
struct Asked {
    mapping: Arc<Mapping>,
    hashes: RandomState,
    before: Option<Seen>,
}

impl Asked {
    fn with(rules: &[&str]) -> Self {
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
        Self { mapping: Arc::new(Mapping::of_scrape(&rules, false)), hashes: RandomState::new(), before: None }
    }

    fn seen(&self, answer: &str) -> Seen {
        let mut collector = Collector::new(Arc::clone(&self.mapping), Format::Prometheus, self.hashes.clone());
        collector.feed(answer.as_bytes());
        collector.finish().expect("complete")
    }

    /// Another answer, two seconds after the one before.
    fn answers(&mut self, answer: &str) -> Sample {
        let seen = self.seen(answer);
        let reading = seen.reading(&self.mapping, self.before.as_ref().map(|before| (before, Duration::from_secs(2))));
        self.before = Some(seen);
        let mut sample = Sample::new(UnixMillis::EPOCH);
        reading.record(&mut sample);
        sample
    }
}

fn millis(sample: &Sample, q: f64) -> f64 {
    sample.latency.as_ref().and_then(|latency| latency.quantile(q)).expect("response times").as_secs_f64() * 1e3
}

#[test]
fn counters_become_rates_and_the_first_answer_has_none() {
    let mut asked = Asked::with(&[]);
    let answer = |ok: u32, failed: u32| {
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {ok}\n\
             http_requests_total{{code=\"503\"}} {failed}\nqueue_depth 7\n"
        )
    };
    let first = asked.answers(&answer(1000, 5));
    assert_eq!((first.value(Metric::Requests), first.value(Metric::QueueDepth)), (None, Some(7.0)));
    let second = asked.answers(&answer(1020, 9));
    assert_eq!((second.value(Metric::Requests), second.value(Metric::RequestErrors)), (Some(12.0), Some(2.0)));
}

#[test]
fn without_an_error_there_are_zero_and_the_first_one_counts() {
    let mut asked = Asked::with(&[]);
    asked.answers("http_requests_total{status=\"200\"} 10\n");
    let quiet = asked.answers("http_requests_total{status=\"200\"} 10\n");
    assert_eq!((quiet.value(Metric::Requests), quiet.value(Metric::RequestErrors)), (Some(0.0), Some(0.0)));
    let sample = asked.answers("http_requests_total{status=\"200\"} 10\nhttp_requests_total{status=\"500\"} 3\n");
    assert_eq!((sample.value(Metric::Requests), sample.value(Metric::RequestErrors)), (Some(1.5), Some(1.5)));
    let mut unlabelled = Asked::with(&[]);
    unlabelled.answers("http_requests_total 1\n");
    assert_eq!(unlabelled.answers("http_requests_total 2\n").value(Metric::RequestErrors), None, "nothing says so");
}

#[test]
fn a_reset_counts_from_zero() {
    let mut asked = Asked::with(&["jobs_total"]);
    asked.answers("jobs_total 1000\n");
    assert_eq!(asked.answers("jobs_total 6\n").custom, [("jobs_total".to_owned(), 3.0)]);
    assert_eq!(asked.answers("jobs_total 8\n").custom, [("jobs_total".to_owned(), 1.0)]);
}

#[test]
fn after_an_answer_with_too_many_series_a_new_one_is_no_jump() {
    let mut asked = Asked::with(&["x{a=\"none\"}", "sum=x_total"]);
    let answer = |from: usize| {
        (from..from + SERIES + 1).map(|number| format!("x_total{{a=\"{number}\"}} 1000000\n")).collect::<String>()
    };
    asked.answers(&answer(0));
    assert_eq!(asked.before.as_ref().map(|seen| (seen.len(), seen.dropped)), Some((SERIES, 1)));
    assert_eq!(asked.answers(&answer(1)).custom, [("sum".to_owned(), 0.0)]);
}

#[test]
fn the_first_usual_name_that_is_there_counts_and_others_do_not_double_it() {
    let mut asked = Asked::with(&[]);
    let answer = |count: u32| {
        format!(
            "http_requests_total {count}\n# TYPE http_request_duration_seconds histogram\n\
             http_request_duration_seconds_bucket{{le=\"+Inf\"}} {count}\nhttp_request_duration_seconds_count {count}\n"
        )
    };
    asked.answers(&answer(0));
    assert_eq!(asked.answers(&answer(8)).value(Metric::Requests), Some(4.0));
}

fn histogram(scale: u32, labels: &str) -> String {
    let bucket = |le: &str, count: u32| {
        format!("http_server_request_duration_seconds_bucket{{{labels}le=\"{le}\"}} {}\n", count * scale)
    };
    let inner = labels.trim_end_matches(',');
    [bucket("0.1", 50), bucket("0.25", 90), bucket("0.5", 100), bucket("+Inf", 100)].concat()
        + &format!("http_server_request_duration_seconds_sum{{{inner}}} {}\n", 11 * scale)
        + &format!("http_server_request_duration_seconds_count{{{inner}}} {}\n", 100 * scale)
}

#[test]
fn a_histogram_becomes_response_times_of_the_interval() {
    let mut asked = Asked::with(&[]);
    let answer = |a: u32, b: u32| {
        "# TYPE http_server_request_duration_seconds histogram\n".to_owned()
            + &histogram(a, "http_route=\"/a\",")
            + &histogram(b, "http_route=\"/b\",")
    };
    assert_eq!(asked.answers(&answer(1000, 5)).latency, None);
    let sample = asked.answers(&answer(1001, 6));
    assert_eq!(sample.value(Metric::Requests), Some(100.0));
    let latency = sample.latency.as_ref().expect("response times");
    assert_eq!((latency.count(), latency.sum()), (200, Duration::from_secs(22)));
    for (q, expected) in [(0.5, 100.0), (0.9, 250.0), (0.95, 375.0)] {
        let found = millis(&sample, q);
        assert!((found / expected - 1.0).abs() < 0.05, "q {q}: {found} instead of {expected}");
    }
    let restarted = asked.answers(&answer(1, 1));
    assert_eq!(restarted.latency.map(|latency| latency.count()), Some(200), "counted from zero");
}

#[test]
fn what_is_above_the_last_bound_counts_as_it_and_other_buckets_are_no_increase() {
    let mut asked = Asked::with(&["response_time=x_ms"]);
    asked.answers("x_ms_bucket{le=\"10\"} 0\nx_ms_bucket{le=\"+Inf\"} 0\n");
    let sample = asked.answers("x_ms_bucket{le=\"10\"} 0\nx_ms_bucket{le=\"+Inf\"} 4\n");
    assert_eq!((millis(&sample, 0.5), sample.latency.map(|latency| latency.count())), (10.0, Some(4)));
    assert_eq!(asked.answers("x_ms_bucket{le=\"20\"} 9\nx_ms_bucket{le=\"+Inf\"} 9\n").latency, None);
}

#[test]
fn a_summary_counts_what_came_and_spreads_it_as_its_quantiles_say() {
    let mut asked = Asked::with(&["response_time=rpc_seconds"]);
    let answer = |count: u32| {
        format!(
            "# TYPE rpc_seconds summary\nrpc_seconds{{quantile=\"0.5\"}} 0.1\nrpc_seconds{{quantile=\"0.9\"}} 0.2\n\
             rpc_seconds{{quantile=\"0.99\"}} NaN\nrpc_seconds_sum {count}\nrpc_seconds_count {count}\n"
        )
    };
    asked.answers(&answer(100));
    let sample = asked.answers(&answer(300));
    assert_eq!(sample.latency.as_ref().map(|latency| latency.count()), Some(200));
    for (q, expected) in [(0.4, 100.0), (0.7, 150.0), (0.99, 200.0)] {
        let found = millis(&sample, q);
        assert!((found / expected - 1.0).abs() < 0.07, "q {q}: {found} instead of {expected}");
    }
    let mut without = Asked::with(&["response_time=rpc_seconds"]);
    without.answers("# TYPE rpc_seconds summary\nrpc_seconds_sum 1\nrpc_seconds_count 1\n");
    let mean_alone = without.answers("# TYPE rpc_seconds summary\nrpc_seconds_sum 3\nrpc_seconds_count 3\n");
    assert_eq!(mean_alone.latency, None, "a mean is no distribution");
}

#[test]
fn own_metrics_have_their_labels_and_named_ones_are_sums() {
    let mut asked = Asked::with(&["jobs{queue!=\"dead\"}", "jobs.all=jobs", "requests=never"]);
    let sample = asked.answers("jobs{queue=\"a\"} 1\njobs{queue=\"b\"} 2\njobs{queue=\"dead\"} 4\nnever_mind 1\n");
    let expected = [("jobs{queue=\"a\"}", 1.0), ("jobs.all", 7.0), ("jobs{queue=\"b\"}", 2.0)];
    assert_eq!(sample.custom, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn lines_that_are_none_are_counted_and_the_rest_is_read() {
    let asked = Asked::with(&["a_total", "b"]);
    let seen = asked.seen("a_total -1\na_total{x=1} 5\nb 2\n\nnonsense here\na_total{x=\"1\"} +Inf\n");
    assert_eq!((seen.malformed, seen.len()), (4, 1));
}

#[test]
fn an_open_metrics_answer_ends_with_its_end() {
    let asked = Asked::with(&["foo_total"]);
    let collect = |answer: &str| {
        let mut collector = Collector::new(Arc::clone(&asked.mapping), Format::OpenMetrics, asked.hashes.clone());
        collector.feed(answer.as_bytes());
        collector.finish()
    };
    let whole = "# TYPE foo counter\n# UNIT foo \nfoo_total 17.0 1520879607.789 # {a=\"b\"} 0.5\nfoo_created 1520430000.123\n# EOF";
    let seen = collect(whole).expect("complete");
    assert_eq!((seen.len(), seen.malformed), (1, 0));
    assert!(collect("foo_total 17\n").is_err());
    assert_eq!(collect("# EOF\nfoo_total 17\n").expect("complete").malformed, 1);
}

/// Something like an exposition, often broken.
fn exposition() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "jobs_total",
        "queue_depth",
        "lat_seconds",
        "lat_seconds_bucket",
        "lat_seconds_count",
    ]);
    let label = prop::sample::select(vec![
        "",
        "{le=\"0.1\"}",
        "{le=\"+Inf\"}",
        "{le=\"x\"}",
        "{quantile=\"0.9\"}",
        "{a=\"b\",}",
    ]);
    let value =
        prop_oneof![any::<f64>().prop_map(|value| value.to_string()), Just("x".to_owned()), Just(String::new())];
    let line = prop_oneof![
        8 => (name, label, value).prop_map(|(name, label, value)| format!("{name}{label} {value}")),
        1 => Just("# TYPE lat_seconds histogram".to_owned()),
        1 => Just("# TYPE lat_seconds summary".to_owned()),
        1 => ".{0,30}",
    ];
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn whatever_two_answers_say_a_sample_is_sound(first in exposition(), second in exposition()) {
        let mut asked = Asked::with(&["*", "response_time=lat_seconds"]);
        asked.answers(&first);
        let sample = asked.answers(&second);
        prop_assert!(sample.values.iter().all(|(_, value)| value.is_finite()));
        prop_assert!(sample.custom.iter().all(|(_, value)| value.is_finite()));
    }

    #[test]
    fn rates_are_what_was_added(steps in prop::collection::vec((0_u32..1000, any::<bool>()), 2..20)) {
        let mut asked = Asked::with(&["jobs_total"]);
        let (mut value, mut is_first) = (0_u32, true);
        for (step, restarts) in steps {
            // A reset that is not seen, because the counter has overtaken itself, cannot be told from an increase.
            let is_reset = restarts && step < value;
            value = if is_reset { step } else { value + step };
            let sample = asked.answers(&format!("# TYPE jobs_total counter\njobs_total {value}\n"));
            let expected = if is_first { vec![] } else { vec![("jobs_total".to_owned(), f64::from(step) / 2.0)] };
            prop_assert_eq!(sample.custom, expected);
            is_first = false;
        }
    }
}
