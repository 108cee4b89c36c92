//! What a program says of itself: served at `/metrics`, or sent by StatsD.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

use crate::plane::{Plane, plain};
use crate::sandbox::{Sandbox, eventually, finish, text};

/// A program's own page of metrics. Each answer may be another one.
struct Page {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Page {
    /// Serves `numbered(n)` as the nth answer, as text or as OpenMetrics.
    fn serving(content_type: &'static str, numbered: impl Fn(usize) -> String + Send + 'static) -> Self {
        Self::answering(move |number| {
            let body = numbered(number);
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
                .into_bytes()
        })
    }

    fn answering(numbered: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (question, count) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 4096];
                let read = stream.read(&mut head).unwrap_or(0);
                *question.lock().unwrap() = head[..read].to_vec();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&numbered(number));
            }
        });
        Self { address, answer, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    fn question(&self) -> String {
        text(&self.answer.lock().unwrap())
    }
}

fn wait_for<T>(plane: &Plane, what: &str, find: impl Fn(&Sample) -> Option<T>) -> T {
    plane.wait(what, |seen| seen.samples.iter().rev().find_map(&find))
}

#[test]
fn what_a_program_serves_becomes_requests_errors_response_times_and_queue_depth() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let page = Page::serving("text/plain; version=0.0.4", |number| {
        let (all, failed) = (number * 10, number);
        format!(
            "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
             http_requests_total{{method=\"GET\",code=\"200\"}} {}\nhttp_requests_total{{method=\"GET\",code=\"500\"}} {failed}\n\
             # TYPE http_request_duration_seconds histogram\n\
             http_request_duration_seconds_bucket{{le=\"0.1\"}} {}\nhttp_request_duration_seconds_bucket{{le=\"0.2\"}} {all}\n\
             http_request_duration_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             http_request_duration_seconds_sum {number}\nhttp_request_duration_seconds_count {all}\n\
             # TYPE jobs gauge\njobs{{state=\"waiting\"}} 7\njobs{{state=\"dead\"}} 100\n\
             # TYPE mails_total counter\nmails_total 5\n",
            all - failed,
            number * 5,
        )
    });
    let sandbox = Sandbox::new(&plane);
    let rules =
        ["--metric", "queue_depth=jobs{state=waiting}", "--metric", "mails_*", "--metric", "dead=jobs{state=dead}"];
    let url = page.url();
    let running = sandbox.start(&[&["--scrape", &url][..], &rules].concat(), "exec sleep 1000");
    let sample = wait_for(&plane, "a sample with rates", |sample| {
        sample.value(Metric::Requests).and(sample.latency.as_ref()).map(|_| sample.clone())
    });
    let (requests, errors) = (sample.value(Metric::Requests).unwrap(), sample.value(Metric::RequestErrors).unwrap());
    assert!((errors * 10.0 - requests).abs() < 1e-6, "{errors} of {requests}");
    // Ten with every answer, of which there are five a second.
    assert!((5.0..500.0).contains(&requests), "{requests}");
    assert_eq!(sample.value(Metric::QueueDepth), Some(7.0));
    assert_eq!(sample.custom, [("dead".to_owned(), 100.0), ("mails_total".to_owned(), 0.0)]);
    let latency = sample.latency.unwrap();
    assert_eq!(latency.count() % 10, 0);
    let half = latency.quantile(0.5).unwrap();
    assert!(half > Duration::from_millis(95) && half < Duration::from_millis(107), "{half:?}");

    let question = page.question();
    for line in ["GET /metrics HTTP/1.1\r\n", "application/openmetrics-text", &format!("host: {}\r\n", page.address)] {
        assert!(question.contains(line), "{line} in {question}");
    }
    let status = text(&sandbox.status("table").stdout);
    assert!(status.contains(&page.url()) && status.contains("0 lines malformed"), "{status}");
    running.stop();
}

#[test]
fn an_answer_that_breaks_off_or_is_none_says_nothing_and_the_next_one_counts() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let page = Page::answering(|number| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\n";
        match number {
            0 => b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            1 => format!("{head}# TYPE queue_depth gauge\nqueue_depth 1\n").into_bytes(),
            2 => b"\x16\x03\x01nonsense\r\n\r\n".to_vec(),
            // The test's thread ends with this connection; how much of it is read is the agent's affair.
            3 => [head.as_bytes(), &b"x".repeat(5 << 20)].concat(),
            _ => format!("{head}# TYPE queue_depth gauge\nqueue_depth 2\n# EOF\n").into_bytes(),
        }
    });
    let sandbox = Sandbox::new(&plane);
    let running = sandbox.start(&["--scrape", &page.url()], "exec sleep 1000");
    let depth = wait_for(&plane, "a queue depth", |sample| sample.value(Metric::QueueDepth));
    assert_eq!(depth, 2.0);
    let status: serde_json::Value = serde_json::from_slice(&sandbox.status("json").stdout).unwrap();
    assert_eq!((&status["scrape"]["lastError"], &status["scrape"]["failures"]), (&serde_json::Value::Null, &0.into()));
    running.stop();
}

#[test]
fn a_slower_interval_is_kept_and_a_failure_is_told_to_who_asks() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let page = Page::serving("text/plain", |_| "queue_depth 1\n".to_owned());
    let sandbox = Sandbox::new(&plane);
    let running = sandbox.start(&["--scrape", &page.url(), "--scrape-interval", "1h"], "exec sleep 1000");
    plane.wait("ten samples", |seen| (seen.samples.len() >= 10).then_some(()));
    assert_eq!(page.asked.load(Ordering::SeqCst), 1);
    running.stop();

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sandbox = Sandbox::new(&plane);
    let running = sandbox.start(&["--scrape", &format!("http://{free}/metrics")], "exec sleep 1000");
    eventually("the failure is told", || text(&sandbox.status("table").stdout).contains("cannot connect to"));
    running.stop();
}

#[test]
fn what_a_program_sends_by_statsd_comes_through_and_it_is_told_where_to() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let sandbox = Sandbox::new(&plane);
    let socket = sandbox.file("statsd.sock");
    let unix = format!("unix:{}", socket.display());
    let options =
        ["--statsd", "127.0.0.1:0", "--statsd", &unix, "--metric", "jobs.*", "--metric", "response_time=web.request"];
    let running = sandbox.start(&options, "echo $STATSD_HOST $STATSD_PORT $DD_DOGSTATSD_URL; exec sleep 1000");
    let told = running.line();
    let words: Vec<&str> = told.split(' ').collect();
    assert_eq!((words[0], words[2]), ("127.0.0.1", format!("unix://{}", socket.display()).as_str()), "{told}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect((words[0], words[1].parse().unwrap())).unwrap();
    udp.send(b"jobs.done:4|c|@0.5|#queue:mail\nqueue_depth:5|g\nqueue_depth:+2|g\nnonsense\n").unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect(&socket).unwrap();
    client.send(b"web.request:20:40|ms\n").unwrap();

    let depth = wait_for(&plane, "a queue depth", |sample| sample.value(Metric::QueueDepth));
    assert_eq!(depth, 7.0);
    let name = "jobs.done{queue=\"mail\"}";
    let rate = wait_for(&plane, "a rate", |sample| {
        sample.custom.iter().find(|(present, value)| present == name && *value > 0.0).map(|(_, value)| *value)
    });
    assert!(rate > 1.0, "{rate}");
    let latency = wait_for(&plane, "response times", |sample| sample.latency.clone());
    assert_eq!((latency.count(), latency.max()), (2, Duration::from_millis(40)));
    // The gauge stands, the counter begins anew.
    let later = wait_for(&plane, "a later sample", |sample| {
        let is_zero = sample.custom.iter().any(|(present, value)| present == name && *value == 0.0);
        is_zero.then(|| sample.value(Metric::QueueDepth))
    });
    assert_eq!(later, Some(7.0));
    let status = text(&sandbox.status("table").stdout);
    assert!(status.contains("2 packets, 4 metrics, 1 lines malformed"), "{status}");
    running.stop();
    assert!(!socket.exists(), "the socket is removed");
}

#[test]
fn a_program_that_knows_where_to_send_is_not_told_otherwise() {
    let plane = Plane::offering(vec![plain("STATSD_HOST", "elsewhere"), plain("DD_AGENT_HOST", "elsewhere")]);
    let sandbox = Sandbox::new(&plane);
    let output = sandbox.script(&["--statsd", "127.0.0.1:0"], "echo $STATSD_HOST-$STATSD_PORT-$DD_DOGSTATSD_URL");
    assert_eq!(text(&output.stdout), "elsewhere--\n", "{}", text(&output.stderr));
}

#[test]
fn a_storm_of_packets_is_bounded_and_the_agent_goes_on() {
    let plane = Plane::offering(vec![plain("A", "1")]);
    let sandbox = Sandbox::new(&plane);
    let running = sandbox.start(&["--statsd", "127.0.0.1:0", "--metric", "*"], "echo $STATSD_PORT; exec sleep 1000");
    let port: u16 = running.line().parse().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(("127.0.0.1", port)).unwrap();
    let statsd = || {
        let status: serde_json::Value = serde_json::from_slice(&sandbox.status("json").stdout).unwrap();
        status["statsd"].clone()
    };
    let mut number = 0_u64;
    eventually("more is sent than is read", || {
        for _ in 0..20_000 {
            number += 1;
            let _ = udp.send(format!("m{number}:1|c\nnonsense\n").as_bytes());
        }
        statsd()["overruns"].as_u64() > Some(0)
    });
    let before = plane.seen().samples.len();
    plane.wait("samples go on", |seen| (seen.samples.len() > before + 3).then_some(()));
    let most = plane.seen().samples.iter().map(|sample| sample.custom.len()).max();
    assert_eq!(most, Some(outrigger_protocol::limits::CUSTOM_METRICS_PER_SAMPLE));
    let figures = statsd();
    assert!(figures["dropped"].as_u64() > Some(0) && figures["malformed"].as_u64() > Some(0), "{figures}");
    running.stop();
}

#[test]
fn what_could_be_reached_from_elsewhere_has_to_be_asked_for() {
    let plane = Plane::start();
    let sandbox = Sandbox::new(&plane);
    for (options, words) in [
        (["--scrape", "http://192.0.2.1:9090/metrics"], "--scrape-remote"),
        (["--statsd", "0.0.0.0:8125"], "--statsd-remote"),
        (["--metric", "jobs"], "neither is given"),
    ] {
        let output = finish(&mut sandbox.run(&options, &["true"]));
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(words), "{words} in {complaint}");
    }
}
