//! A newer generation is published.

use outrigger_rollout::{Launch, NotNewer, Outcome, Strategy};

use crate::canary::canary_of_ten;
use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, SEED, config, settings};

#[test]
fn a_newer_generation_starts_over_with_the_same_canaries() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let canaries = fleet.touched();
    fleet.run(MINUTE);
    fleet.supersede(3, canary_of_ten());
    assert_eq!(fleet.touched(), canaries);
    assert_eq!((fleet.running(1), fleet.running(2), fleet.running(3)), (45, 0, 5));
    assert!(fleet.said("generation 2 superseded by 3"));
    fleet.run(20 * MINUTE);
    assert_eq!((fleet.outcome.clone(), fleet.running(3)), (Some(Outcome::Completed), 50));
}

#[test]
fn it_goes_back_to_the_last_generation_that_was_fully_promoted() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, config| match config.hash[0] {
        3 => Conduct::Refuses,
        _ => Conduct::Applies,
    });
    fleet.supersede(3, canary_of_ten());
    assert!(matches!(fleet.outcome, Some(Outcome::RolledBack { .. })), "{:#?}", fleet.timeline);
    assert_eq!(fleet.running(1), 50, "not to 2, which had proven nothing");
    assert_eq!(fleet.generations(), [4].into());
}

#[test]
fn who_has_the_superseded_generation_keeps_it_until_their_turn() {
    let linear = settings(Strategy::Linear { percent: 50.0, interval: MINUTE });
    let mut fleet = Fleet::launch(50, linear, |_, _| Conduct::Applies);
    assert_eq!(fleet.running(2), 25);
    fleet.supersede(3, canary_of_ten());
    assert_eq!((fleet.running(1), fleet.running(2), fleet.running(3)), (25, 20, 5));
    fleet.run(20 * MINUTE);
    assert_eq!(fleet.running(3), 50);
}

#[test]
fn publishing_the_promoted_content_again_returns_everybody_without_steps() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.supersede(1, canary_of_ten());
    assert_eq!((fleet.running(1), fleet.generations()), (50, [3].into()));
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    assert!(fleet.said("generation 3 has the content of the last promoted one"));
}

#[test]
fn a_completed_generation_is_what_the_next_one_goes_back_to() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, config| match config.hash[0] {
        3 => Conduct::Refuses,
        _ => Conduct::Applies,
    });
    fleet.run(30 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    fleet.supersede(3, canary_of_ten());
    assert_eq!((fleet.running(2), fleet.generations()), (50, [4].into()));
    // And after a rollback, the generation that it made.
    fleet.supersede(3, canary_of_ten());
    assert_eq!((fleet.running(2), fleet.generations()), (50, [6].into()));
}

#[test]
fn nothing_older_can_supersede() {
    let mut fleet = Fleet::launch(5, canary_of_ten(), |_, _| Conduct::Applies);
    let plan = canary_of_ten().compile().expect("valid settings");
    let before = fleet.rollout.snapshot();
    let launch = Launch { target: config(2, 3), plan, seed: SEED, baseline: None };
    fleet.now = fleet.now.saturating_add(SECOND);
    assert_eq!(fleet.rollout.supersede(launch, fleet.now), Err(NotNewer { target: 2, newest: 2 }));
    assert_eq!(fleet.rollout.snapshot(), before);
}
