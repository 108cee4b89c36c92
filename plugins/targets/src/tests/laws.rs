//! What holds for every fleet.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CPU, HOUR, NAN, REQUESTS, Row, decide, fleet, steady};

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop_oneof![4 => 0.0..300.0_f64, 1 => Just(NAN), 1 => Just(0.0)];
    vec((any::<bool>(), 0..2 * HOUR, value), 0..12)
}

proptest! {
    #[test]
    fn more_load_never_asks_for_fewer(mut values in vec(0.0..300.0_f64, 1..12), at in any::<usize>(), more in 0.0..300.0_f64) {
        for config in [CPU, REQUESTS] {
            let metric = if config == CPU { "cpu" } else { "requests" };
            let before = decide(config, &steady(metric, &values)).replicas;
            let at = at % values.len();
            values[at] += more;
            prop_assert!(decide(config, &steady(metric, &values)).replicas >= before);
        }
    }

    #[test]
    fn within_tolerance_of_the_target_nothing_changes(asked in 0..20_u32, values in vec(45.0..=55.0_f64, 1..12)) {
        let rows: Vec<Row> = values.iter().map(|value| (true, HOUR, *value)).collect();
        prop_assert_eq!(decide(CPU, &fleet(asked, "cpu", &rows)).replicas, asked);
    }

    #[test]
    fn what_counts_for_nothing_known_changes_nothing(asked in 0..20_u32, ages in vec(0..2 * HOUR, 0..12)) {
        let rows: Vec<Row> = ages.iter().map(|age| (age % 2 == 0, *age, NAN)).collect();
        let proposal = decide(CPU, &fleet(asked, "cpu", &rows));
        prop_assert_eq!((proposal.replicas, proposal.confidence), (asked, 0.0));
    }

    #[test]
    fn the_direction_is_that_of_the_load(asked in 0..20_u32, rows in rows()) {
        let proposal = decide(CPU, &fleet(asked, "cpu", &rows));
        let ratio = proposal.signals[1].1;
        prop_assert!(proposal.replicas <= asked || ratio > 1.0, "{}", proposal.reason);
        prop_assert!(proposal.replicas >= asked || ratio < 1.0, "{}", proposal.reason);
        prop_assert!((0.0..=1.0).contains(&proposal.confidence));
    }

    #[test]
    fn losing_the_value_of_an_instance_never_takes_a_replica(
        values in vec(0.0..=100.0_f64, 2..12), lost in any::<usize>(),
    ) {
        let whole = steady("cpu", &values);
        let mut torn = whole.clone();
        torn.instances.latest[0].values[lost % values.len()] = NAN;
        let asked = whole.deployment.replicas;
        let (known, unknown) = (decide(CPU, &whole).replicas, decide(CPU, &torn).replicas);
        prop_assert!(unknown >= known.min(asked), "{known} became {unknown} of {asked}");
    }

    #[test]
    fn the_order_of_the_instances_does_not_matter(asked in 0..20_u32, mut rows in rows()) {
        let forwards = decide(CPU, &fleet(asked, "cpu", &rows)).replicas;
        rows.reverse();
        prop_assert_eq!(decide(CPU, &fleet(asked, "cpu", &rows)).replicas, forwards);
    }
}
