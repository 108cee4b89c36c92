//! Whether the new cohort does worse than the old one, or whether that is noise.
//!
//! # Error rate
//!
//! Let p1 = e1/n1 be the new cohort's share of failed requests and p2 = e2/n2 the old one's. With Wilson's score interval
//! (l, u) of each (E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the
//! American Statistical Association 22, 1927),
//!
//! ```text
//! l, u = ( p + z²/2n ∓ z √( p(1-p)/n + z²/4n² ) ) / ( 1 + z²/n )
//! ```
//!
//! the difference p1 - p2 is at least (R. G. Newcombe, Interval estimation for the difference between independent
//! proportions: comparison of eleven methods, Statistics in Medicine 17, 1998, method 10)
//!
//! ```text
//! L = (p1 - p2) - √( (p1 - l1)² + (u2 - p2)² )
//! ```
//!
//! The new cohort is worse when L exceeds the floor and p1 is at least `ratio` times p2. Unlike the z-test with a pooled
//! variance, this stays right where error rates usually are, at or near zero: 0 of 100 is not taken for certainty.
//!
//! # Latency
//!
//! The q-quantile of n independent values lies, at z standard deviations, between the sample quantiles at (W. J. Conover,
//! Practical Nonparametric Statistics, 3rd edition, section 3.2, the large-sample form)
//!
//! ```text
//! q ∓ z √( q(1-q)/n )
//! ```
//!
//! whatever the distribution. The new cohort is worse when its lower bound exceeds the old one's upper bound by the
//! floor and by the factor `ratio`, which also covers the width of the histogram's buckets.
//!
//! # Looking often
//!
//! The comparison is made whenever there is something new, so that a bad generation goes at once and not at the end of
//! the bake time. Repeated looks find differences by chance more often than one look does (P. Armitage, C. K. McPherson,
//! B. C. Rowe, Repeated significance tests on accumulating data, Journal of the Royal Statistical Society A 132, 1969);
//! that is why z is 3 unless set otherwise, and why what has to be exceeded is a floor and not zero.

use std::time::Duration;

use crate::settings::{ErrorRateGate, Gates, LatencyGate};
use crate::signal::{Reference, Signal};
use crate::traffic::{Evidence, Traffic};

/// What a comparison says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    NotWorse,
    Worse(Signal),
    /// Nothing is compared, or nobody has requests.
    NoTraffic,
    /// Too few requests on a side.
    TooFew {
        shortage: Signal,
        /// More may come.
        may_tell: bool,
    },
}

/// Compares what the cohorts served. `old_serves` says that there are instances that run the old generation.
pub(crate) fn compare(gates: &Gates, evidence: &Evidence, old_serves: bool, baseline: Option<&Traffic>) -> Verdict {
    let references = [
        Some((&evidence.old, Reference::OldCohort)),
        baseline.map(|traffic| (traffic, Reference::Baseline)),
        Some((&evidence.earlier, Reference::EarlierCohort)),
    ];
    let silent = evidence.new.requests == 0 && references.iter().flatten().all(|(traffic, _)| traffic.requests == 0);
    if silent || (gates.error_rate.is_none() && gates.latency.is_none()) {
        return Verdict::NoTraffic;
    }
    let new = &evidence.new;
    let errors = gates.error_rate.as_ref().map(|gate| {
        judge(
            gate.min_requests,
            new,
            &references,
            old_serves,
            |traffic| traffic.requests,
            |old, reference| errors_worse(gate, new, old, reference),
        )
    });
    let latency = gates.latency.as_ref().map(|gate| {
        judge(
            gate.min_requests,
            new,
            &references,
            old_serves,
            |traffic| traffic.latency.count(),
            |old, reference| latency_worse(gate, new, old, reference),
        )
    });
    let verdicts = [errors, latency].into_iter().flatten();
    // The worst of both: a failure, then the shortage that time may heal.
    let weight = |verdict: &Verdict| match verdict {
        Verdict::Worse(_) => 3,
        Verdict::TooFew { may_tell: true, .. } => 2,
        Verdict::TooFew { may_tell: false, .. } => 1,
        Verdict::NotWorse | Verdict::NoTraffic => 0,
    };
    verdicts.max_by_key(weight).unwrap_or(Verdict::NoTraffic)
}

fn judge(
    needed: u64,
    new: &Traffic,
    references: &[Option<(&Traffic, Reference)>],
    old_serves: bool,
    size: impl Fn(&Traffic) -> u64,
    worse: impl Fn(&Traffic, Reference) -> Option<Signal>,
) -> Verdict {
    let old = references.iter().flatten().find(|(traffic, _)| size(traffic) >= needed);
    match old {
        Some((old, reference)) if size(new) >= needed => {
            worse(old, *reference).map_or(Verdict::NotWorse, Verdict::Worse)
        }
        _ => {
            let most = references.iter().flatten().map(|(traffic, _)| size(traffic)).max().unwrap_or(0);
            let shortage = Signal::TooFewRequests { new: size(new), old: most, needed };
            Verdict::TooFew { shortage, may_tell: old.is_some() || old_serves }
        }
    }
}

fn errors_worse(gate: &ErrorRateGate, new: &Traffic, old: &Traffic, reference: Reference) -> Option<Signal> {
    let (new, old) = (new.rate(), old.rate());
    let (p1, p2) = (new.share(), old.share());
    let at_least = difference_at_least((new.errors, new.requests), (old.errors, old.requests), gate.z);
    let worse = at_least > gate.floor && p1 >= gate.ratio * p2;
    worse.then_some(Signal::ErrorRate { new, old, reference, at_least, floor: gate.floor })
}

/// The lower bound of the difference of two shares, by Newcombe's method 10.
fn difference_at_least(new: (u64, u64), old: (u64, u64), z: f64) -> f64 {
    let (p1, p2) = (new.0 as f64 / new.1.max(1) as f64, old.0 as f64 / old.1.max(1) as f64);
    let (l1, _) = wilson(p1, new.1 as f64, z);
    let (_, u2) = wilson(p2, old.1 as f64, z);
    (p1 - p2) - (p1 - l1).hypot(u2 - p2)
}

/// Wilson's score interval of a share `p` of `n`.
fn wilson(p: f64, n: f64, z: f64) -> (f64, f64) {
    if n < 1.0 {
        return (0.0, 1.0);
    }
    let z2 = z * z;
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

fn latency_worse(gate: &LatencyGate, new: &Traffic, old: &Traffic, reference: Reference) -> Option<Signal> {
    let q = gate.quantile;
    let spread = |traffic: &Traffic| gate.z * (q * (1.0 - q) / traffic.latency.count().max(1) as f64).sqrt();
    let new_at_least = new.latency.quantile(q - spread(new))?;
    let old_at_most = old.latency.quantile(q + spread(old))?;
    let threshold = old_at_most.mul_f64(gate.ratio).max(old_at_most.saturating_add(gate.floor));
    if new_at_least <= threshold {
        return None;
    }
    Some(Signal::Latency {
        quantile: q,
        new: rounded(new.latency.quantile(q)?),
        new_at_least: rounded(new_at_least),
        old: rounded(old.latency.quantile(q)?),
        old_at_most: rounded(old_at_most),
        reference,
        requests: (new.latency.count(), old.latency.count()),
    })
}

/// To microseconds, the resolution of what was measured.
fn rounded(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn traffic(errors: u64, requests: u64, millis: impl Fn(u64) -> u64) -> Traffic {
        let mut traffic = Traffic { requests, errors, ..Traffic::default() };
        for number in 0..requests {
            traffic.latency.record(Duration::from_millis(millis(number)));
        }
        traffic
    }

    fn verdict(new: Traffic, old: Traffic) -> Verdict {
        let evidence = Evidence { new, old, ..Evidence::default() };
        compare(&Gates::default(), &evidence, true, None)
    }

    /// 10 to 109 ms, evenly.
    fn steady(errors: u64, requests: u64) -> Traffic {
        traffic(errors, requests, |number| 10 + number % 100)
    }

    #[test]
    fn the_bounds_are_those_of_the_literature() {
        // Newcombe 1998, table II: 56/70 against 48/80, 95 %: 0.0524 to 0.3339.
        let lower = difference_at_least((56, 70), (48, 80), 1.959_964);
        assert!((lower - 0.0524).abs() < 5e-5, "{lower}");
        // And 10/10 against 0/10: 0.6075 to 1.
        let lower = difference_at_least((10, 10), (0, 10), 1.959_964);
        assert!((lower - 0.6075).abs() < 5e-5, "{lower}");
    }

    #[test]
    fn a_clear_difference_is_worse_and_names_its_numbers() {
        let Verdict::Worse(signal @ Signal::ErrorRate { .. }) = verdict(steady(60, 500), steady(5, 4_500)) else {
            panic!("12 % against 0.1 %");
        };
        let text = signal.to_string();
        assert!(text.contains("12.00 % (60 of 500) against 0.11 % (5 of 4500) of the old cohort"), "{text}");
        let slow = traffic(0, 500, |number| 50 + number % 400);
        let Verdict::Worse(signal @ Signal::Latency { .. }) = verdict(slow, steady(0, 4_500)) else {
            panic!("p95 of 430 ms against 105 ms");
        };
        assert!(signal.to_string().starts_with("p95 of 4"), "{signal}");
    }

    #[test]
    fn a_bad_fleet_is_no_reason_to_blame_a_cohort() {
        assert_eq!(verdict(steady(60, 500), steady(540, 4_500)), Verdict::NotWorse);
        let slow = |requests| traffic(0, requests, |number| 2_000 + number % 100);
        assert_eq!(verdict(slow(500), slow(4_500)), Verdict::NotWorse);
    }

    #[test]
    fn a_handful_of_errors_is_noise() {
        assert_eq!(verdict(steady(2, 200), steady(0, 1_000)), Verdict::NotWorse);
        assert_eq!(verdict(steady(6, 200), steady(10, 1_000)), Verdict::NotWorse);
    }

    #[test]
    fn a_difference_that_does_not_matter_is_not_worse() {
        let fast = |by| traffic(0, 1_000, move |number| by + number % 3);
        assert_eq!(verdict(fast(8), fast(1)), Verdict::NotWorse, "8 ms more, which is four times as slow");
        assert_eq!(verdict(steady(90, 100_000), steady(0, 100_000)), Verdict::NotWorse, "0.09 points");
    }

    #[test]
    fn too_little_is_not_concluded_from() {
        let Verdict::TooFew { shortage, may_tell: true } = verdict(steady(20, 50), steady(0, 4_000)) else {
            panic!("fifty requests are not enough");
        };
        assert_eq!(shortage, Signal::TooFewRequests { new: 50, old: 4_000, needed: 200 });
        assert_eq!(verdict(Traffic::default(), Traffic::default()), Verdict::NoTraffic);
        let off = Gates { error_rate: None, latency: None, ..Gates::default() };
        let evidence = Evidence { new: steady(50, 100), ..Evidence::default() };
        assert_eq!(compare(&off, &evidence, true, None), Verdict::NoTraffic);
    }

    #[test]
    fn without_an_old_cohort_the_baseline_counts() {
        let evidence = Evidence { new: steady(60, 500), ..Evidence::default() };
        let before = steady(5, 4_500);
        let Verdict::Worse(Signal::ErrorRate { reference, .. }) =
            compare(&Gates::default(), &evidence, false, Some(&before))
        else {
            panic!("12 % against 0.1 %");
        };
        assert_eq!(reference, Reference::Baseline);
        let hopeless = compare(&Gates::default(), &evidence, false, None);
        assert!(matches!(hopeless, Verdict::TooFew { may_tell: false, .. }), "{hopeless:?}");
        let earlier = Evidence { earlier: before, ..evidence };
        assert!(matches!(
            compare(&Gates::default(), &earlier, false, None),
            Verdict::Worse(Signal::ErrorRate { reference: Reference::EarlierCohort, .. })
        ));
    }

    /// A generator of its own, so that ten thousand trials are the same ten thousand everywhere.
    fn draws(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[test]
    fn noise_does_not_trip_it_in_ten_thousand_looks() {
        let gate = Gates::default().error_rate.expect("on by default");
        let mut draw = draws(42);
        let mut tripped = 0;
        for _ in 0..200 {
            // One rollout: fifty looks at growing evidence, both cohorts at 2 % of errors.
            let (mut new, mut old) = (Traffic::default(), Traffic::default());
            let worse = (0..50).any(|_| {
                for (cohort, requests) in [(&mut new, 20), (&mut old, 180)] {
                    let errors = (0..requests).filter(|_| draw() < 0.02).count() as u64;
                    cohort.add(&Traffic { requests, errors, ..Traffic::default() });
                }
                new.requests >= gate.min_requests && errors_worse(&gate, &new, &old, Reference::OldCohort).is_some()
            });
            tripped += u32::from(worse);
        }
        assert_eq!(tripped, 0, "of 200 rollouts with equal cohorts");
    }

    proptest! {
        #[test]
        fn the_bound_is_below_the_difference_and_above_nonsense(
            n1 in 1_u64..100_000, n2 in 1_u64..100_000, share1 in 0.0..=1.0, share2 in 0.0..=1.0, z in 1.0..6.0,
        ) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let part = |n: u64, share: f64| (n as f64 * share) as u64;
            let (new, old) = ((part(n1, share1), n1), (part(n2, share2), n2));
            let difference = new.0 as f64 / n1 as f64 - old.0 as f64 / n2 as f64;
            let bound = difference_at_least(new, old, z);
            prop_assert!(bound <= difference + 1e-12 && bound >= -1.0 - 1e-12, "{bound} of {difference}");
        }

        #[test]
        fn equal_cohorts_are_never_worse(errors in 0_u64..400, requests in 400_u64..2_000) {
            prop_assert_eq!(verdict(steady(errors, requests), steady(errors, requests)), Verdict::NotWorse);
        }
    }
}
