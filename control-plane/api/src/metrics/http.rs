//! The requests to this API, by the route that they matched.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use outrigger_protocol::histogram::LatencyHistogram;

use super::exposition::{Kind, Labels, Page};
use super::histogram;

/// Stands for every path that is no route: what strangers ask for makes no series.
const UNMATCHED: &str = "unmatched";

/// A route and a method. There are as many as the API has routes, and some that do not match.
type Place = (String, &'static str);

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    in_flight: AtomicUsize,
    places: Mutex<BTreeMap<Place, Record>>,
}

#[derive(Debug, Default)]
struct Record {
    /// By the first digit of the status.
    classes: [u64; 6],
    latency: LatencyHistogram,
}

/// A request that is under way. Dropped, it no longer is, whatever became of it.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Meter);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Meter {
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// A request has got the head of its answer.
    pub(crate) fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, elapsed: Duration) {
        let place = (route.unwrap_or(UNMATCHED).to_owned(), name(method));
        let mut places = self.places();
        let record = places.entry(place).or_default();
        if let Some(class) = record.classes.get_mut(usize::from(status.as_u16() / 100)) {
            *class += 1;
        }
        record.latency.record(elapsed);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        page.gauge("outrigger_http_requests_in_flight", "Requests that have no answer yet.", in_flight);
        let places = self.places();
        let labels = |(route, method): &Place| Labels::new(&[("route", route), ("method", method)]);
        let help = "Requests answered, by the route that they matched, method and class of status.";
        let mut requests = page.family(Kind::Counter, "outrigger_http_requests", help);
        for (place, record) in places.iter() {
            let labels = labels(place);
            for (class, count) in record.classes.iter().enumerate().filter(|(_, count)| **count > 0) {
                requests.sample(&labels.with("status", &format_args!("{class}xx")), *count);
            }
        }
        drop(requests);
        let help = "From a request's head to the head of its answer.";
        let mut latency = page.family(Kind::Histogram, "outrigger_http_request_duration_seconds", help);
        for (place, record) in places.iter() {
            histogram::buckets(&mut latency, &labels(place), &record.latency);
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, Record>> {
        // A record is whole between any two requests.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client may make methods up.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::Format;

    #[test]
    fn requests_are_counted_by_route_and_strangers_make_no_series() {
        let meter = Meter::default();
        let ended = meter.begin();
        let open = meter.begin();
        let (ok, ms) = (StatusCode::OK, Duration::from_millis(1));
        meter.answered(Some("/api/projects/{id}"), &Method::GET, ok, ms);
        meter.answered(Some("/api/projects/{id}"), &Method::GET, StatusCode::NOT_FOUND, ms);
        for path in 0..50 {
            let method = Method::from_bytes(format!("M{path}").as_bytes()).unwrap();
            meter.answered(None, &method, StatusCode::METHOD_NOT_ALLOWED, ms);
        }
        drop(ended);
        let mut page = Page::new(Format::Text, 0);
        meter.write(&mut page);
        drop(open);
        let text = page.finish();
        for line in [
            "outrigger_http_requests_in_flight 1",
            "outrigger_http_requests_total{route=\"/api/projects/{id}\",method=\"GET\",status=\"2xx\"} 1",
            "outrigger_http_requests_total{route=\"/api/projects/{id}\",method=\"GET\",status=\"4xx\"} 1",
            "outrigger_http_requests_total{route=\"unmatched\",method=\"other\",status=\"4xx\"} 50",
            "outrigger_http_request_duration_seconds_count{route=\"unmatched\",method=\"other\"} 50",
        ] {
            assert!(text.lines().any(|written| written == line), "no {line} in\n{text}");
        }
    }
}
