//! Strategies, step by step.

use outrigger_protocol::message::ProgramState;
use outrigger_rollout::{Amount, Outcome, Rest, Settings, Strategy};

use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, config, settings};

/// How many run the new content after each minute.
fn minutes(strategy: Strategy, n: u32) -> Vec<usize> {
    let settings = Settings { max_unhealthy: Amount::Percent(100.0), ..settings(strategy) };
    let mut fleet = Fleet::launch(n, settings, |_, _| Conduct::Applies);
    let mut counts = vec![fleet.running(2)];
    while fleet.outcome.is_none() {
        fleet.run(MINUTE);
        counts.push(fleet.running(2));
        assert!(counts.len() < 100, "it ends: {:#?}", fleet.timeline);
    }
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    counts
}

#[test]
fn all_at_once_bakes_at_the_end() {
    assert_eq!(minutes(Strategy::AllAtOnce, 50), [50, 50, 50]);
}

#[test]
fn linear_takes_equal_steps() {
    let strategy = Strategy::Linear { percent: 20.0, interval: MINUTE };
    assert_eq!(minutes(strategy, 50), [10, 20, 30, 40, 50, 50, 50]);
}

#[test]
fn exponential_grows() {
    let strategy = Strategy::Exponential { initial: 2.0, factor: 3.0, interval: MINUTE };
    assert_eq!(minutes(strategy, 100), [2, 6, 18, 54, 100, 100, 100]);
}

#[test]
fn a_canary_may_be_followed_by_steps() {
    let rest = Rest::Linear { percent: 40.0, interval: MINUTE };
    let strategy = Strategy::Canary { percent: 10.0, bake: 2 * MINUTE, rest };
    assert_eq!(minutes(strategy, 50), [5, 5, 30 - 5, 45, 50, 50, 50]);
}

#[test]
fn one_instance_is_a_cohort_of_any_share() {
    let strategy = Strategy::Linear { percent: 50.0, interval: MINUTE };
    assert_eq!(minutes(strategy, 1), [1, 1, 1, 1]);
}

#[test]
fn nobody_is_there_and_it_still_ends() {
    let strategy = Strategy::Linear { percent: 50.0, interval: MINUTE };
    assert_eq!(minutes(strategy, 0), [0, 0, 0, 0]);
}

#[test]
fn the_first_generation_goes_to_all_at_once() {
    let settings = settings(Strategy::Linear { percent: 10.0, interval: MINUTE });
    let mut fleet = Fleet::launch_with(20, settings, |_, _| Conduct::Applies, None, None);
    assert_eq!(fleet.running(2), 20, "they run nothing else");
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
}

#[test]
fn a_first_generation_that_fails_has_nothing_to_go_back_to() {
    let settings = settings(Strategy::AllAtOnce);
    let mut fleet = Fleet::launch_with(3, settings, |_, _| Conduct::Refuses, None, None);
    assert!(matches!(fleet.outcome, Some(Outcome::Failed { .. })), "{:#?}", fleet.timeline);
    assert!(fleet.said("stopped, with nothing to go back to"));
    fleet.conduct = |_, _| Conduct::Applies;
    fleet.join();
    assert_eq!(fleet.running(2), 0, "and nobody is given it after that");
}

#[test]
fn after_the_end_whoever_joins_gets_what_the_others_have() {
    let mut fleet = Fleet::launch(3, settings(Strategy::AllAtOnce), |_, _| Conduct::Applies);
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    let joined = fleet.join();
    assert_eq!(fleet.agents[&joined].status.running, Some(config(2, 2)));
    fleet.lose(joined);
    fleet.rejoin(joined, true);
    assert_eq!(fleet.agents[&joined].status.running, Some(config(2, 2)));
}

#[test]
fn what_waits_for_a_restart_has_answered_and_is_no_evidence() {
    let mut fleet = Fleet::launch(4, settings(Strategy::AllAtOnce), |_, _| Conduct::Defers);
    assert_eq!(fleet.running(1), 4);
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    let tally = fleet.rollout.progress().tally;
    assert_eq!((tally.running, tally.deferred, tally.pending), (0, 4, 0));
    let first = *fleet.agents.keys().next().expect("there are four");
    fleet.program(first, ProgramState::Running { pid: 9, restarts: 0 });
    fleet.run(SECOND);
    assert_eq!(fleet.rollout.progress().tally.deferred, 4);
}
