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
//! theirs; upgraded connections are a number of their own from there on. A request whose client left before the answer is
//! neither an error nor timed.

pub mod mapping;
pub mod proxy;
pub mod reading;
pub mod scrape;
pub mod spread;
pub mod statsd;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
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
    /// In the order of [`Outcome`].
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Bits of what was ever counted: its absence is said no more by silence.
    seen: AtomicU8,
    tunnels: AtomicU64,
    latency: Mutex<LatencyHistogram>,
}

/// How a request ended other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The program answered with class 4xx.
    ClientError,
    /// The program answered with class 5xx, or with a gRPC status that means the same.
    ServerError,
    /// The program gave no answer, or it broke off.
    Unanswered,
    /// The proxy did not pass it on: it was malformed, beyond a limit, or too slow.
    Refused,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::ClientError, Self::ServerError, Self::Unanswered, Self::Refused];

    /// What its rate is called, among the metrics without a code.
    const fn metric(self) -> &'static str {
        match self {
            Self::ClientError => "requests_4xx",
            Self::ServerError => "requests_5xx",
            Self::Unanswered => "requests_unanswered",
            Self::Refused => "requests_refused",
        }
    }
}

/// Upgraded connections that are open.
const TUNNELS: &str = "tunnels";
const TUNNELS_SEEN: u8 = 1 << Outcome::ALL.len();

impl RequestMeter {
    /// A request's head has arrived. It is in flight until the returned value is dropped.
    #[must_use]
    pub fn begin(&self, now: Instant) -> InFlight {
        self.0.arrived.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { counts: Arc::clone(&self.0), began: Some(now) }
    }

    /// A request was turned away before it was one: its head is malformed, too large or late.
    pub fn refuse(&self) {
        self.0.count(Outcome::Refused);
    }

    /// A connection is upgraded. It is counted until the returned value is dropped.
    #[must_use]
    pub fn tunnel(&self) -> Tunnel {
        self.0.tunnels.fetch_add(1, Ordering::Relaxed);
        self.0.seen.fetch_or(TUNNELS_SEEN, Ordering::Relaxed);
        Tunnel(Arc::clone(&self.0))
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Adds rates, the numbers in flight and the response times since the last call, `elapsed` ago, to a sample. When no
    /// time has passed, everything but the numbers waits for the next call. What never occurred is not mentioned.
    pub fn take(&self, elapsed: Duration, sample: &mut Sample) {
        let seconds = elapsed.as_secs_f64();
        let seen = self.0.seen.load(Ordering::Relaxed);
        sample.set(Metric::RequestsInFlight, self.in_flight() as f64);
        if seen & TUNNELS_SEEN != 0 {
            sample.custom.push((TUNNELS.to_owned(), self.0.tunnels.load(Ordering::Relaxed) as f64));
        }
        if seconds == 0.0 {
            return;
        }
        sample.set(Metric::Requests, self.0.arrived.swap(0, Ordering::Relaxed) as f64 / seconds);
        sample.set(Metric::RequestErrors, self.0.errors.swap(0, Ordering::Relaxed) as f64 / seconds);
        for outcome in Outcome::ALL {
            if seen & 1 << outcome as u8 != 0 {
                let count = self.0.outcomes[outcome as usize].swap(0, Ordering::Relaxed);
                sample.custom.push((outcome.metric().to_owned(), count as f64 / seconds));
            }
        }
        let latency = std::mem::take(&mut *self.0.latency.lock().unwrap_or_else(PoisonError::into_inner));
        if !latency.is_empty() {
            sample.latency.get_or_insert_default().merge(&latency);
        }
    }
}

impl Counts {
    fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.seen.fetch_or(1 << outcome as u8, Ordering::Relaxed);
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

    /// It did not end well.
    pub fn ended_as(&self, outcome: Outcome) {
        self.counts.count(outcome);
        if matches!(outcome, Outcome::ServerError | Outcome::Unanswered) {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One upgraded connection.
#[derive(Debug)]
pub struct Tunnel(Arc<Counts>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
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
        meter.begin(start).ended_as(Outcome::Unanswered);
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
    fn what_ends_otherwise_is_told_by_class_once_it_has_occurred() {
        let (meter, now) = (RequestMeter::default(), Instant::now());
        assert_eq!(taken(&meter, 1).custom, []);
        meter.begin(now).ended_as(Outcome::ClientError);
        meter.begin(now).ended_as(Outcome::ServerError);
        meter.refuse();
        let named =
            |all: &[(&str, f64)]| all.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect::<Vec<_>>();
        let sample = taken(&meter, 2);
        assert_eq!(sample.custom, named(&[("requests_4xx", 0.5), ("requests_5xx", 0.5), ("requests_refused", 0.5)]));
        assert_eq!(sample.value(Metric::RequestErrors), Some(0.5), "refusing is no error of the program");
        let tunnel = meter.tunnel();
        let sample = taken(&meter, 1);
        assert_eq!(
            sample.custom,
            named(&[("tunnels", 1.0), ("requests_4xx", 0.0), ("requests_5xx", 0.0), ("requests_refused", 0.0)])
        );
        drop(tunnel);
        assert_eq!(taken(&meter, 1).custom[0], ("tunnels".to_owned(), 0.0));
    }

    /// Times as services have them, from a generator with a known seed: `count` values of `inverse` of a uniform share.
    fn drawn(count: usize, inverse: impl Fn(f64) -> f64) -> Vec<Duration> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let shares = std::iter::repeat_with(|| {
            // xorshift64*, Vigna 2016.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
        });
        shares.take(count).map(|share| Duration::from_secs_f64(inverse(share) / 1000.0)).collect()
    }

    #[test]
    fn percentiles_are_within_two_percent_of_the_exact_ones() {
        let services: [(&str, Vec<Duration>); 4] = [
            ("uniform", drawn(50_000, |u| 1.0 + 99.0 * u)),
            ("exponential", drawn(50_000, |u| -20.0 * (1.0 - u).ln())),
            ("heavy tail", drawn(50_000, |u| 5.0 / (1.0 - u).sqrt())),
            // Most from a cache, some from a database.
            ("two kinds", drawn(50_000, |u| if u < 0.8 { 1.0 + u } else { 40.0 + 200.0 * (u - 0.8) })),
        ];
        for (name, mut times) in services {
            // Over several intervals, merged, as the control plane does for a window.
            let (meter, start) = (RequestMeter::default(), Instant::now());
            let mut merged = LatencyHistogram::new();
            for interval in times.chunks(5_000) {
                for took in interval {
                    meter.begin(start).answered(start + *took);
                }
                merged.merge(&taken(&meter, 1).latency.unwrap());
            }
            times.sort_unstable();
            for (numerator, q) in [(50, 0.5), (95, 0.95), (99, 0.99)] {
                let exact = times[times.len() * numerator / 100].as_secs_f64();
                let found = merged.quantile(q).unwrap().as_secs_f64();
                assert!((found / exact - 1.0).abs() <= 0.02, "{name}, q {q}: {found} instead of {exact}");
            }
        }
    }

    #[test]
    fn without_time_nothing_is_lost() {
        let meter = RequestMeter::default();
        drop(meter.begin(Instant::now()));
        assert_eq!(taken(&meter, 0).value(Metric::Requests), None);
        assert_eq!(taken(&meter, 1).value(Metric::Requests), Some(1.0));
    }
}
