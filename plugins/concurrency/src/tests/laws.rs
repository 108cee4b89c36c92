//! What holds for every load and every past.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{TEN, decide, later, under_way};

fn minute() -> impl Strategy<Value = Vec<f64>> {
    vec(prop_oneof![5 => 0.0..400.0_f64, 1 => Just(f64::NAN)], 60)
}

proptest! {
    #[test]
    fn more_under_way_never_asks_for_fewer(asked in 1..40_u32, points in minute(), more in 0.0..400.0_f64) {
        let before = decide(TEN, &under_way(asked, &points)).replicas;
        let higher: Vec<f64> = points.iter().map(|point| point + more).collect();
        prop_assert!(decide(TEN, &under_way(asked, &higher)).replicas >= before);
    }

    #[test]
    fn a_decision_stays_within_the_rates(asked in 1..40_u32, points in minute()) {
        let config = r#"{ "target": 10, "targetUtilization": 1, "maxScaleUpRate": 2 }"#;
        let proposal = decide(config, &under_way(asked, &points));
        prop_assert!((asked / 2..=asked * 2).contains(&proposal.replicas), "{}", proposal.replicas);
    }

    #[test]
    fn a_panic_never_takes_anything(asked in 0..40_u32, minutes in vec((minute(), 1..20_u64), 1..12)) {
        let mut last = decide(TEN, &under_way(asked, &[]));
        let mut at = 0;
        for (points, seconds) in minutes {
            at += seconds;
            let proposal = decide(TEN, &later(&last, at, &points));
            prop_assert!(proposal.state.len() < 100);
            if proposal.reason.contains("panicking") {
                prop_assert!(proposal.replicas >= last.replicas, "{} after {}", proposal.replicas, last.replicas);
            }
            last = proposal;
        }
    }

    #[test]
    fn no_state_makes_it_fail(state in vec(any::<u8>(), 0..200), points in minute()) {
        let proposal = decide(TEN, &under_way(5, &points).with_state(&state));
        prop_assert!(proposal.replicas <= 1_000_000 && (0.0..=1.0).contains(&proposal.confidence));
    }
}
