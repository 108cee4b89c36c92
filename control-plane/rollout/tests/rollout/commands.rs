//! What people decide.

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ConfigRef};
use outrigger_rollout::{
    Amount, Cause, Command, CommandError, OnFailure, OnInconclusive, OnSilence, Outcome, PublishedError, Reach, Rest,
    Settings, Strategy,
};

use crate::canary::canary_of_ten;
use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, config, settings};

fn fails_with_2(_: InstanceId, config: ConfigRef) -> Conduct {
    if config.hash[0] == 2 { Conduct::FailsProbes } else { Conduct::Applies }
}

#[test]
fn promote_skips_what_is_left_of_the_bake_time() {
    let rest = Rest::Linear { percent: 45.0, interval: MINUTE };
    let settings = settings(Strategy::Canary { percent: 10.0, bake: 10 * MINUTE, rest });
    let mut fleet = Fleet::launch(20, settings, |_, _| Conduct::Applies);
    assert_eq!(fleet.running(2), 2);
    fleet.command(Command::Promote(Reach::Step)).expect("possible while it bakes");
    assert_eq!(fleet.running(2), 11);
    fleet.command(Command::Promote(Reach::All)).expect("possible while it bakes");
    assert_eq!(fleet.running(2), 20);
    assert_eq!(fleet.outcome, None, "the last step bakes");
    fleet.command(Command::Promote(Reach::All)).expect("possible while it bakes");
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
    assert!(fleet.said("promoted to the next step by ann") && fleet.said("step 3 passed: promoted by hand"));
}

#[test]
fn abort_rolls_back_and_says_who() {
    let mut fleet = Fleet::launch(20, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.command(Command::Abort).expect("possible while it bakes");
    let Some(Outcome::RolledBack { cause, config }) = fleet.outcome.clone() else { panic!("everybody has answered") };
    assert_eq!((cause, config.generation), (Cause::Aborted { actor: "ann".to_owned() }, 3));
    assert_eq!((fleet.running(1), fleet.touched().len()), (20, 2));
    assert_eq!(fleet.command(Command::Abort), Err(CommandError::Ended { command: "abort" }));
}

#[test]
fn a_paused_rollout_goes_no_further_and_still_rolls_back() {
    let mut fleet = Fleet::launch(20, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.run(9 * MINUTE);
    fleet.command(Command::Pause).expect("it goes on");
    assert_eq!(fleet.command(Command::Pause), Err(CommandError::Paused { command: "pause" }));
    assert_eq!(fleet.command(Command::Promote(Reach::All)), Err(CommandError::Paused { command: "promote" }));
    fleet.run(60 * MINUTE);
    assert_eq!(fleet.running(2), 2);
    fleet.command(Command::Resume).expect("it is paused");
    assert_eq!(fleet.command(Command::Resume), Err(CommandError::NotPaused));
    fleet.run(MINUTE - SECOND);
    assert_eq!(fleet.running(2), 2, "the bake time stood still");
    fleet.command(Command::Pause).expect("it goes on");
    fleet.conduct = fails_with_2;
    fleet.rejoin(fleet.touched()[0], false);
    for failures in 1..=5 {
        fleet.probe(fleet.touched()[0], failures);
    }
    assert!(matches!(fleet.outcome, Some(Outcome::RolledBack { .. })), "{:#?}", fleet.timeline);
}

#[test]
fn an_override_goes_on_despite_a_failed_gate() {
    let settings = Settings { on_failure: OnFailure::Hold, ..canary_of_ten() };
    let mut fleet = Fleet::launch(20, settings, fails_with_2);
    fleet.run(5 * SECOND);
    assert_eq!(fleet.command(Command::Promote(Reach::Step)), Err(CommandError::GateFailed { command: "promote" }));
    assert_eq!(fleet.command(Command::Pause), Err(CommandError::Held { command: "pause" }));
    fleet.conduct = |_, _| Conduct::Applies;
    fleet.command(Command::Override).expect("it is held");
    fleet.run(5 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed), "{:#?}", fleet.timeline);
    assert!(fleet.said("gates overridden by ann") && fleet.said("passed: the gates are overridden"));
}

#[test]
fn an_override_does_not_override_how_many_may_be_out_of_service() {
    let settings = Settings { min_ready: 10 * SECOND, ..canary_of_ten() };
    let mut fleet = Fleet::launch(20, settings, fails_with_2);
    fleet.command(Command::Override).expect("possible at any time");
    assert_eq!(fleet.command(Command::Override), Err(CommandError::Overridden));
    fleet.run(30 * MINUTE);
    assert!(fleet.said("overlooked, the gates are overridden"));
    assert!(fleet.said("no progress for 600s: 5 instances without service, 5 allowed"), "{:#?}", fleet.timeline);
    assert_eq!(fleet.running(1), 20);
    assert_eq!(fleet.touched().len(), 5, "a quarter of 20");
}

#[test]
fn a_gate_that_could_not_tell_is_decided_by_a_person() {
    let settings = Settings { on_inconclusive: OnInconclusive::Hold, patience: MINUTE, ..canary_of_ten() };
    let launch = || {
        let mut fleet = Fleet::launch(20, settings.clone(), |_, _| Conduct::Applies);
        fleet.run(11 * SECOND);
        fleet.serve(fleet.touched()[0], 10, 0, 20);
        fleet.run(15 * MINUTE);
        assert!(fleet.said("held until somebody decides"));
        fleet
    };
    let mut fleet = launch();
    fleet.command(Command::Promote(Reach::Step)).expect("it is held");
    assert!(fleet.running(2) > 2);
    let mut fleet = launch();
    fleet.command(Command::Abort).expect("it is held");
    assert_eq!(fleet.running(1), 20);
}

#[test]
fn what_is_published_has_to_be_what_was_asked_for() {
    let mut fleet = Fleet::launch(20, canary_of_ten(), |_, _| Conduct::Applies);
    let now = fleet.now;
    assert_eq!(fleet.rollout.rollback_published(config(3, 1), now), Err(PublishedError::NotAsked));
    fleet.publishes = false;
    fleet.command(Command::Abort).expect("it goes on");
    assert_eq!(fleet.command(Command::Override), Err(CommandError::RollingBack { command: "override" }));
    assert_eq!(
        fleet.rollout.rollback_published(config(2, 1), now),
        Err(PublishedError::NotNewer { generation: 2, newest: 2 })
    );
    assert_eq!(
        fleet.rollout.rollback_published(config(3, 9), now),
        Err(PublishedError::OtherContent { generation: 3 })
    );
    assert_eq!(fleet.running(2), 2);
    fleet.publish();
    assert_eq!(fleet.running(1), 20);
    assert_eq!(fleet.rollout.rollback_published(config(3, 1), now), Ok(Vec::new()), "said twice");
}

#[test]
fn a_rollback_is_asked_for_until_it_is_published() {
    let mut fleet = Fleet::launch(20, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.publishes = false;
    fleet.command(Command::Abort).expect("it goes on");
    assert!(fleet.asked.take().is_some());
    fleet.run(9 * SECOND);
    assert!(fleet.asked.is_none());
    fleet.run(SECOND);
    assert!(fleet.asked.is_some());
}

/// Nobody answers generation 2 by itself.
fn mute_with_2(_: InstanceId, config: ConfigRef) -> Conduct {
    if config.hash[0] == 2 { Conduct::Mute } else { Conduct::Applies }
}

/// Three may fail, and who is silent has not.
fn tolerant(strategy: Strategy) -> Settings {
    Settings { tolerated_failures: Amount::Count(3), on_silence: OnSilence::Tolerate, ..settings(strategy) }
}

#[test]
fn who_was_silent_is_asked_again_when_a_person_wants_it_and_no_one_else_is() {
    let mut fleet = Fleet::launch(20, tolerant(Strategy::AllAtOnce), mute_with_2);
    let ids: Vec<InstanceId> = fleet.agents.keys().copied().collect();
    for (at, id) in ids.iter().enumerate().skip(3) {
        fleet.report(*id, if at < 6 { ApplyState::Failed } else { ApplyState::Applied });
    }
    fleet.run(10 * MINUTE);
    assert_eq!((fleet.outcome.clone(), fleet.running(2)), (Some(Outcome::Completed), 14));
    let tally = fleet.rollout.progress().tally;
    assert_eq!((tally.silent, tally.refused), (3, 3));
    fleet.offers.clear();
    fleet.offer_again();
    let asked: Vec<InstanceId> = fleet.offers.drain(..).map(|(id, _)| id).collect();
    assert_eq!(asked, ids[..3], "{:#?}", fleet.timeline);
    assert!(fleet.said("3 instances that did not answer generation 2 are asked again"));
    fleet.report(ids[0], ApplyState::Applying);
    fleet.report(ids[0], ApplyState::Applied);
    fleet.report(ids[1], ApplyState::Failed);
    let tally = fleet.rollout.progress().tally;
    assert_eq!((tally.running, tally.refused, tally.pending), (15, 4, 1));
    fleet.run(2 * MINUTE);
    assert_eq!(fleet.rollout.progress().tally.silent, 1);
    fleet.run(MINUTE);
    assert!(fleet.offers.is_empty(), "once");
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
}

#[test]
fn asking_again_takes_no_more_out_of_service_than_may_be() {
    let one_of_three = Settings { max_unhealthy: Amount::Count(1), ..tolerant(Strategy::AllAtOnce) };
    let mut fleet = Fleet::launch(3, one_of_three, mute_with_2);
    let silent = fleet.offers[0].0;
    fleet.run(3 * MINUTE);
    assert_eq!(fleet.offers.len(), 1, "the silent one may be in the middle of it, and no other may be");
    fleet.offer_again();
    assert_eq!(fleet.offers.len(), 2);
    assert_eq!(fleet.offers[1].0, silent, "it counts already, so that it is asked takes nobody else out of service");
    fleet.report(silent, ApplyState::Applied);
    assert_eq!(fleet.offers.len(), 3);
    assert_ne!(fleet.offers[2].0, silent);
}

#[test]
fn in_mid_rollout_only_those_are_asked_again_whose_turn_it_was() {
    let mut fleet = Fleet::launch(20, tolerant(canary_of_ten().strategy), mute_with_2);
    let canaries = fleet.touched();
    fleet.run(3 * MINUTE);
    assert_eq!((canaries.len(), fleet.rollout.progress().tally.silent), (2, 2));
    fleet.command(Command::Pause).expect("it goes on");
    fleet.conduct = |_, _| Conduct::Applies;
    fleet.offer_again();
    assert_eq!(fleet.running(2), 0, "paused");
    fleet.command(Command::Resume).expect("it is paused");
    assert_eq!(fleet.running(2), 0, "and nothing was remembered");
    fleet.offer_again();
    assert_eq!((fleet.running(2), fleet.touched()), (2, canaries));
    fleet.command(Command::Abort).expect("it goes on");
    fleet.offer_again();
    assert_eq!((fleet.running(1), fleet.generations()), (20, [3].into()));
}
