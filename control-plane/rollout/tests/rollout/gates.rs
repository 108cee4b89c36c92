//! What fails a gate, and what does not.

use outrigger_protocol::message::{ApplyState, ProgramState};
use outrigger_rollout::{
    Amount, Cause, Finding, OnFailure, OnInconclusive, OnSilence, Outcome, Phase, Reference, Rest, Settings, Signal,
    Strategy, Traffic,
};

use crate::canary::canary_of_ten;
use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, config, instance, settings};

fn cause(fleet: &Fleet) -> Finding {
    match &fleet.outcome {
        Some(Outcome::RolledBack { cause: Cause::Gate(finding), .. }) => finding.clone(),
        other => panic!("not rolled back by a gate: {other:?}, {:#?}", fleet.timeline),
    }
}

#[test]
fn a_refused_configuration_rolls_back_at_once() {
    let fleet = Fleet::launch(50, canary_of_ten(), |_, config| match config.hash[0] {
        2 => Conduct::Refuses,
        _ => Conduct::Applies,
    });
    assert_eq!(cause(&fleet).signal, Signal::Refused { error: "PORT is missing".to_owned() });
    assert_eq!(fleet.running(1), 50);
}

#[test]
fn a_local_rollback_rolls_back_at_once() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let first = fleet.touched()[0];
    fleet.run(2 * SECOND);
    fleet.roll_back_locally(first, config(1, 1));
    let finding = cause(&fleet);
    assert_eq!(finding.instance, Some(first));
    assert_eq!(finding.signal, Signal::RolledBackLocally { error: "exit code 1".to_owned() });
    assert_eq!(fleet.generations(), [3].into());
}

#[test]
fn silence_is_a_failure_after_the_answer_timeout() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, config| match config.hash[0] {
        2 => Conduct::Mute,
        _ => Conduct::Applies,
    });
    fleet.run(MINUTE - SECOND);
    assert_eq!(fleet.outcome, None);
    fleet.run(SECOND);
    assert_eq!(cause(&fleet).signal, Signal::Silent { after: MINUTE });
}

#[test]
fn who_sleeps_rolls_nobody_back_when_everybody_was_asked_at_once() {
    let mut fleet = Fleet::launch(10, settings(Strategy::AllAtOnce), |id, config| match config.hash[0] {
        2 if id.to_bytes()[15] < 2 => Conduct::Mute,
        _ => Conduct::Applies,
    });
    fleet.lose(instance(0));
    fleet.run(10 * MINUTE);
    assert_eq!((fleet.outcome.clone(), fleet.running(2)), (Some(Outcome::Completed), 8));
    assert_eq!(fleet.rollout.progress().tally.silent, 1, "the other one is gone");
    fleet.conduct = |_, _| Conduct::Applies;
    fleet.rejoin(instance(0), false);
    assert_eq!(fleet.running(2), 9, "who wakes up gets it");
}

#[test]
fn silence_may_be_tolerated_as_bad_health() {
    let mut settings = canary_of_ten();
    settings.on_silence = OnSilence::Tolerate;
    let mut fleet = Fleet::launch(50, settings, |id, config| match config.hash[0] {
        2 if id.to_bytes()[15] % 10 == 3 => Conduct::Mute,
        _ => Conduct::Applies,
    });
    fleet.run(30 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed), "{:#?}", fleet.timeline);
    let tally = fleet.rollout.progress().tally;
    assert_eq!((tally.running, tally.silent, tally.pending), (45, 5, 0));
    // Late is better than never.
    let late: Vec<_> = fleet.agents.iter().filter(|(_, agent)| agent.pending.is_some()).map(|(id, _)| *id).collect();
    for id in late {
        fleet.report(id, ApplyState::Applied);
    }
    assert_eq!(fleet.rollout.progress().tally.running, 50);
}

#[test]
fn a_canary_that_is_lost_and_does_not_come_back_has_failed() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let [first, second, ..] = fleet.touched()[..] else { panic!("five are touched") };
    fleet.lose(first);
    fleet.run(30 * SECOND);
    fleet.rejoin(first, false);
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, None, "it came back");
    fleet.lose(second);
    fleet.run(MINUTE);
    assert_eq!(cause(&fleet), Finding { instance: Some(second), signal: Signal::Lost { after: MINUTE } });
}

#[test]
fn who_was_not_touched_may_be_lost() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let touched = fleet.touched();
    let other = *fleet.agents.keys().find(|id| !touched.contains(id)).expect("45 were not");
    fleet.lose(other);
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, None);
    assert_eq!(fleet.rollout.progress().tally.total, 49);
}

#[test]
fn restarts_and_ends_of_the_program_fail_the_gate() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let first = fleet.touched()[0];
    for restarts in 1..=2 {
        fleet.program(first, ProgramState::Running { pid: 8, restarts });
    }
    assert_eq!(fleet.outcome, None);
    fleet.program(first, ProgramState::Running { pid: 9, restarts: 3 });
    assert_eq!(cause(&fleet).signal, Signal::Restarting { restarts: 3, limit: 3 });

    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.program(first, ProgramState::Exited { code: 143 });
    assert_eq!(fleet.outcome, None, "it was asked to end");
    fleet.program(first, ProgramState::Exited { code: 1 });
    assert_eq!(cause(&fleet).signal, Signal::Exited { code: 1 });
}

#[test]
fn failures_may_be_tolerated_up_to_a_share() {
    let mut settings = settings(Strategy::AllAtOnce);
    settings.tolerated_failures = Amount::Percent(10.0);
    let refuses = |id: outrigger_protocol::id::InstanceId, below: u8| id.to_bytes()[15] < below;
    assert!(refuses(crate::fleet::instance(1), 2));
    let mut fleet = Fleet::launch(50, settings.clone(), |id, config| match config.hash[0] {
        2 if id.to_bytes()[15] < 5 => Conduct::Refuses,
        _ => Conduct::Applies,
    });
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed), "{:#?}", fleet.timeline);
    assert!(fleet.said("failure 5 of 5 that are tolerated"));
    let fleet = Fleet::launch(50, settings, |id, config| match config.hash[0] {
        2 if id.to_bytes()[15] < 6 => Conduct::Refuses,
        _ => Conduct::Applies,
    });
    assert!(matches!(cause(&fleet).signal, Signal::Refused { .. }));
}

#[test]
fn a_higher_error_rate_than_the_old_cohort_rolls_back_and_names_the_worst() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.run(11 * SECOND);
    fleet.serve_all(10 * SECOND, |running| if running.hash[0] == 2 { (12, 20) } else { (1, 20) });
    let finding = cause(&fleet);
    assert!(matches!(finding.signal, Signal::ErrorRate { reference: Reference::OldCohort, .. }), "{finding}");
    assert!(fleet.touched().contains(&finding.instance.expect("somebody is the worst")));
    assert!(finding.to_string().starts_with("error rate 12.00 %"), "{finding}");
}

#[test]
fn slower_answers_than_the_old_cohort_roll_back() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.run(11 * SECOND);
    fleet.serve_all(10 * SECOND, |running| if running.hash[0] == 2 { (0, 300) } else { (0, 20) });
    assert!(matches!(cause(&fleet).signal, Signal::Latency { .. }));
}

#[test]
fn a_fleet_that_is_bad_anyway_does_not_fail_the_gate() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.run(11 * SECOND);
    fleet.serve_all(11 * MINUTE, |_| (12, 900));
    assert_eq!(fleet.outcome, None);
    assert!(fleet.said("step 1 passed: reports, probes and the comparison of requests are good"));
}

#[test]
fn errors_of_the_start_are_not_representative() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.serve_all(10 * SECOND, |running| if running.hash[0] == 2 { (100, 20) } else { (0, 20) });
    assert_eq!(fleet.outcome, None);
}

#[test]
fn without_an_old_cohort_the_baseline_is_compared_with() {
    let mut before = Traffic { requests: 10_000, errors: 10, ..Traffic::default() };
    for number in 0..10_000 {
        before.latency.record(std::time::Duration::from_millis(20 + number % 10));
    }
    let settings = settings(Strategy::AllAtOnce);
    let mut fleet = Fleet::launch_with(20, settings, |_, _| Conduct::Applies, Some(config(1, 1)), Some(before));
    fleet.run(11 * SECOND);
    fleet.serve_all(10 * SECOND, |running| if running.hash[0] == 2 { (5, 20) } else { (0, 20) });
    assert!(matches!(cause(&fleet).signal, Signal::ErrorRate { reference: Reference::Baseline, .. }));
}

#[test]
fn too_few_requests_are_waited_for_and_then_decided_as_the_settings_say() {
    let with = |on_inconclusive| {
        let settings = Settings { on_inconclusive, patience: MINUTE, ..canary_of_ten() };
        let mut fleet = Fleet::launch(50, settings, |_, _| Conduct::Applies);
        fleet.run(11 * SECOND);
        let ids: Vec<_> = fleet.agents.keys().copied().collect();
        for id in ids {
            fleet.serve(id, 10, 0, 20);
        }
        fleet.run(10 * MINUTE + 45 * SECOND);
        assert!(!fleet.said("step 1 passed"), "patience is not over");
        fleet.run(5 * SECOND);
        fleet
    };
    let fleet = with(OnInconclusive::Promote);
    assert!(fleet.said("step 1 passed: reports and probes are good, and requests could not be compared"));
    let fleet = with(OnInconclusive::Hold);
    assert!(matches!(fleet.rollout.progress().phase, Phase::Held { .. }));
    assert!(fleet.said("held until somebody decides: too few requests to compare: 50 new and 450 old"));
    let fleet = with(OnInconclusive::RollBack);
    assert!(matches!(cause(&fleet).signal, Signal::TooFewRequests { new: 50, .. }));
}

#[test]
fn a_failed_gate_may_wait_for_a_person() {
    let settings = Settings { on_failure: OnFailure::Hold, ..canary_of_ten() };
    let mut fleet = Fleet::launch(50, settings, |_, config| match config.hash[0] {
        2 => Conduct::FailsProbes,
        _ => Conduct::Applies,
    });
    fleet.run(20 * MINUTE);
    assert!(matches!(fleet.rollout.progress().phase, Phase::Held { .. }));
    assert_eq!((fleet.running(2), fleet.outcome.clone()), (5, None));
}

#[test]
fn requests_are_counted_once_and_only_when_believable() {
    let settings = settings(Strategy::Canary { percent: 50.0, bake: 10 * MINUTE, rest: Rest::AtOnce });
    let mut fleet = Fleet::launch(2, settings, |_, _| Conduct::Applies);
    fleet.run(12 * SECOND);
    let first = fleet.touched()[0];
    fleet.serve(first, 100, 0, 20);
    fleet.serve(first, 100, 0, 20);
    assert_eq!(fleet.rollout.snapshot().evidence.new.requests, 100);
    fleet.run(SECOND);
    fleet.serve(first, 1_000_001, 0, 20);
    fleet.serve(first, 10, 11, 20);
    assert_eq!(fleet.rollout.snapshot().evidence.new.requests, 100);
    fleet.serve(first, 50, 0, 20);
    assert_eq!(fleet.rollout.snapshot().evidence.new.requests, 150);
}
