//! Requests that the program answers, counted and timed, and what else it says of itself.
//!
//! There are three sources:
//!
//! - [`proxy`] passes requests on and tells the [`RequestMeter`]; once an interval, [`RequestMeter::take`] turns what
//!   happened since the last time into metrics of a sample.
//! - [`scrape`] asks the program for its own metrics.
//! - [`statsd`] hears what the program sends.
//!
//! The last two are about whatever the program calls its metrics: [`mapping`] says what of it becomes what, by
//! [`rule`](outrigger_protocol::rule)s, and a [`reading`] is what comes of it. What the proxy measures is
//! not taken from elsewhere.
//!
//! What the proxy counts: a request when its head has arrived; an error when the answer's class is 5xx, when there was none,
//! or when it broke off. What is timed: from the request's head to the last byte of the answer. Streams that end when
//! somebody leaves (upgrades, server-sent events) are timed to the head of the answer, or every percentile would be
//! theirs. A request whose client left before the answer is neither an error nor timed.

pub mod mapping;
pub mod proxy;
pub mod reading;
pub mod scrape;
pub mod spread;
pub mod statsd;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;

/// What happened to requests since the last [`take`](Self::take). Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RequestMeter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    arrived: AtomicU64,
    in_flight: AtomicU64,
    errors: AtomicU64,
    latency: Mutex<LatencyHistogram>,
}

impl RequestMeter {
    /// A request's head has arrived. It is in flight until the returned value is dropped.
    #[must_use]
    pub fn begin(&self, now: Instant) -> InFlight {
        self.0.arrived.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { counts: Arc::clone(&self.0), began: Some(now) }
    }

    /// Adds rates, the number in flight and the response times since the last call, `elapsed` ago, to a sample. When no
    /// time has passed, everything waits for the next call.
    pub fn take(&self, elapsed: Duration, sample: &mut Sample) {
        let seconds = elapsed.as_secs_f64();
        sample.set(Metric::RequestsInFlight, self.0.in_flight.load(Ordering::Relaxed) as f64);
        if seconds == 0.0 {
            return;
        }
        sample.set(Metric::Requests, self.0.arrived.swap(0, Ordering::Relaxed) as f64 / seconds);
        sample.set(Metric::RequestErrors, self.0.errors.swap(0, Ordering::Relaxed) as f64 / seconds);
        let latency = std::mem::take(&mut *self.0.latency.lock().unwrap_or_else(PoisonError::into_inner));
        if !latency.is_empty() {
            sample.latency.get_or_insert_default().merge(&latency);
        }
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub struct InFlight {
    counts: Arc<Counts>,
    /// `None` once it is timed.
    began: Option<Instant>,
}

impl InFlight {
    /// The answer is complete, or for a stream: has begun. Only the first call counts.
    pub fn answered(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            let took = now.saturating_duration_since(began);
            self.counts.latency.lock().unwrap_or_else(PoisonError::into_inner).record(took);
        }
    }

    /// The answer is an error, is missing or broke off.
    pub fn failed(&self) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::time::UnixMillis;

    fn taken(meter: &RequestMeter, seconds: u64) -> Sample {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        meter.take(Duration::from_secs(seconds), &mut sample);
        sample
    }

    #[test]
    fn rates_are_per_second_and_start_anew_with_every_take() {
        let (meter, start) = (RequestMeter::default(), Instant::now());
        for took in 1..=10 {
            let mut request = meter.begin(start);
            request.answered(start + Duration::from_millis(took));
            request.answered(start + Duration::from_secs(99));
        }
        meter.begin(start).failed();
        let sample = taken(&meter, 2);
        assert_eq!(sample.value(Metric::Requests), Some(5.5));
        assert_eq!(sample.value(Metric::RequestErrors), Some(0.5));
        let latency = sample.latency.unwrap();
        assert_eq!((latency.count(), latency.max()), (10, Duration::from_millis(10)));

        let quiet = taken(&meter, 1);
        assert_eq!((quiet.value(Metric::Requests), quiet.latency), (Some(0.0), None));
    }

    #[test]
    fn a_request_is_in_flight_until_it_is_dropped() {
        let meter = RequestMeter::default();
        let (first, second) = (meter.begin(Instant::now()), meter.begin(Instant::now()));
        assert_eq!(taken(&meter, 1).value(Metric::RequestsInFlight), Some(2.0));
        drop((first, second));
        let sample = taken(&meter, 1);
        assert_eq!((sample.value(Metric::RequestsInFlight), sample.latency), (Some(0.0), None));
    }

    #[test]
    fn without_time_nothing_is_lost() {
        let meter = RequestMeter::default();
        drop(meter.begin(Instant::now()));
        assert_eq!(taken(&meter, 0).value(Metric::Requests), None);
        assert_eq!(taken(&meter, 1).value(Metric::Requests), Some(1.0));
    }
}
