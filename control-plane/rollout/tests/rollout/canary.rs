//! A canary that goes wrong, and one that does not.

use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::ConfigRef;
use outrigger_rollout::{Cause, Finding, Outcome, Rest, Settings, Signal, Strategy};

use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, config, settings};

pub(crate) fn canary_of_ten() -> Settings {
    let strategy = Strategy::Canary { percent: 10.0, bake: 10 * MINUTE, rest: Rest::AtOnce };
    settings(strategy)
}

fn probes_fail_with_2(_: InstanceId, config: ConfigRef) -> Conduct {
    if config.hash == [2; 32] { Conduct::FailsProbes } else { Conduct::Applies }
}

#[test]
fn failing_probes_of_a_canary_of_ten_percent_of_fifty_roll_back_five() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), probes_fail_with_2);
    assert_eq!(fleet.running(2), 5, "the canary, and nobody else");
    fleet.run(5 * SECOND);
    let Some(Outcome::RolledBack { cause: Cause::Gate(Finding { instance: Some(blamed), signal }), config }) =
        fleet.outcome.clone()
    else {
        panic!("it is over after five failures: {:#?}", fleet.timeline);
    };
    assert!(fleet.touched().contains(&blamed));
    assert!(matches!(signal, Signal::ProbeFailing { consecutive: 5, limit: 5, .. }), "{signal}");
    assert_eq!((config.generation, config.hash), (3, [1; 32]), "a new generation with the old content");
    assert_eq!(fleet.touched().len(), 5);
    assert_eq!(fleet.running(1), 50);
    assert_eq!(fleet.generations(), [3].into(), "and everybody knows its number");
    let told = format!("the gate failed: {blamed}: probe `ready` failed 5 times in a row (5 allowed at most): 503");
    assert!(fleet.said(&told), "{:#?}", fleet.timeline);
}

#[test]
fn the_way_back_restarts_nobody_who_was_not_touched() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), probes_fail_with_2);
    let touched = fleet.touched();
    fleet.run(5 * SECOND);
    for (instance, offered) in &fleet.offers {
        assert!(touched.contains(instance) || offered.hash == [1; 32], "{instance} was offered {offered:?}");
    }
}

#[test]
fn a_good_canary_bakes_and_the_rest_follows() {
    let mut settings = canary_of_ten();
    settings.max_unhealthy = outrigger_rollout::Amount::Percent(100.0);
    let mut fleet = Fleet::launch(50, settings, |_, _| Conduct::Applies);
    fleet.run(10 * MINUTE - SECOND);
    assert_eq!(fleet.running(2), 5);
    fleet.run(SECOND);
    assert_eq!(fleet.running(2), 50);
    assert_eq!(fleet.outcome, None, "the last step bakes too");
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    assert_eq!(
        fleet.timeline,
        [
            "generation 2 on its way to 50 instances in 2 steps, from generation 1",
            "step 1 of 2: 10 %, 5 of 50 instances",
            "step 1 has answered and bakes for 600s",
            "step 1 passed: reports and probes are good, and there are no requests to compare",
            "step 2 of 2: 100 %, 50 of 50 instances",
            "step 2 has answered and bakes for 120s",
            "step 2 passed: reports and probes are good, and there are no requests to compare",
            "completed; 50 of 50 instances run it",
        ]
    );
}

#[test]
fn what_was_ill_before_is_not_blamed_on_the_canary() {
    let fleet = Fleet::launch(10, canary_of_ten(), |_, _| Conduct::Mute);
    let canary = fleet.touched()[0];
    let mut fleet = Fleet::launch(10, canary_of_ten(), |_, _| Conduct::Applies);
    // The same fleet again, with the canary ill before it is offered anything: superseded at once.
    fleet.probe(canary, 30);
    fleet.supersede(3, canary_of_ten());
    assert_eq!(fleet.touched(), [canary]);
    fleet.probe(canary, 60);
    assert_eq!(fleet.outcome, None);
    fleet.conduct = |_, _| Conduct::FailsProbes;
    fleet.probe(canary, 0);
    fleet.run(5 * SECOND);
    assert!(matches!(fleet.outcome, Some(Outcome::RolledBack { .. })), "well once, then ill: {:#?}", fleet.timeline);
}

#[test]
fn a_canary_that_is_not_well_at_the_end_is_waited_for_and_then_rolled_back() {
    let mut settings = canary_of_ten();
    settings.gates.probe_failures = 1_000;
    settings.patience = 30 * SECOND;
    let mut fleet = Fleet::launch(10, settings, |_, config| match config.hash[0] {
        2 => Conduct::FailsProbes,
        _ => Conduct::Applies,
    });
    fleet.run(10 * MINUTE + 29 * SECOND);
    assert_eq!((fleet.outcome.clone(), fleet.running(2)), (None, 1));
    fleet.run(SECOND);
    let Some(Outcome::RolledBack { cause: Cause::Gate(finding), .. }) = &fleet.outcome else {
        panic!("patience is over: {:#?}", fleet.timeline);
    };
    assert_eq!((finding.instance, &finding.signal), (Some(fleet.touched()[0]), &Signal::Unwell));
}

#[test]
fn newcomers_get_the_generation_of_the_cohort_they_hash_into() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let before = fleet.touched();
    fleet.run(SECOND);
    let joined: Vec<_> = (0..50).map(|_| fleet.join()).collect();
    let touched = fleet.touched();
    assert!(before.iter().all(|instance| touched.contains(instance)), "nobody flaps");
    assert!(touched.len() > 5 && touched.len() <= 10, "{} of 100", touched.len());
    assert!(touched.iter().all(|instance| before.contains(instance) || joined.contains(instance)));
    assert_eq!(fleet.running(1), 100 - touched.len(), "the others got the old one at once");
}

#[test]
fn a_canary_that_was_scaled_away_is_replaced() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    for instance in fleet.touched() {
        fleet.remove(instance);
    }
    assert_eq!(fleet.running(2), 0, "45 left: 10 % of the 50 that were ever there are touched already");
    for _ in 0..5 {
        fleet.join();
    }
    fleet.run(SECOND);
    assert!(fleet.running(2) >= 1, "10 % of 55 are 6");
    assert_eq!(fleet.outcome, None);
    fleet.run(Duration::from_secs(3600));
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    assert_eq!(fleet.running(2), 50);
    assert_eq!(fleet.generations(), [config(2, 2).generation].into());
}
