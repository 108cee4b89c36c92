//! The control plane goes down in mid-rollout and comes back.

use outrigger_protocol::message::ApplyState;
use outrigger_rollout::{Command, Event, Outcome, Phase, RestoreError, Rollout, StepState, Strategy};

use crate::canary::canary_of_ten;
use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, settings};

/// Stops and starts the control plane; everybody connects again.
fn restart(fleet: &mut Fleet) {
    fleet.rollout = Rollout::restore(fleet.rollout.snapshot()).expect("a snapshot can be restored");
    for agent in fleet.agents.values_mut() {
        agent.connected = false;
    }
    fleet.tell(Event::Restarted);
}

fn reconnect(fleet: &mut Fleet) {
    let ids: Vec<_> = fleet.agents.keys().copied().collect();
    for id in ids {
        fleet.rejoin(id, false);
    }
}

#[test]
fn a_restart_in_the_bake_time_takes_nothing_away() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    let touched = fleet.touched();
    fleet.run(5 * MINUTE);
    restart(&mut fleet);
    fleet.run(20 * SECOND);
    reconnect(&mut fleet);
    assert_eq!(fleet.touched(), touched);
    fleet.run(4 * MINUTE + 39 * SECOND);
    assert_eq!(fleet.running(2), 5);
    fleet.run(2 * SECOND);
    assert_eq!(fleet.running(2), 50);
}

#[test]
fn an_offer_whose_answer_was_lost_is_made_again() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Mute);
    fleet.run(50 * SECOND);
    restart(&mut fleet);
    fleet.run(30 * SECOND);
    assert_eq!(fleet.outcome, None, "nobody could have heard an answer");
    fleet.conduct = |_, _| Conduct::Applies;
    reconnect(&mut fleet);
    assert_eq!((fleet.running(2), fleet.touched().len()), (5, 5));
    fleet.run(20 * MINUTE);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
}

#[test]
fn a_canary_that_does_not_come_back_after_a_restart_has_failed() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    restart(&mut fleet);
    let dead = fleet.touched()[0];
    let ids: Vec<_> = fleet.agents.keys().copied().filter(|id| *id != dead).collect();
    for id in ids {
        fleet.rejoin(id, false);
    }
    fleet.run(2 * MINUTE - SECOND);
    assert_eq!(fleet.outcome, None, "everybody connects at once, which takes its time");
    fleet.run(SECOND);
    assert!(fleet.said(&format!("{dead}: lost with the new configuration")), "{:#?}", fleet.timeline);
}

#[test]
fn a_rollback_that_was_not_published_is_asked_for_again() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.publishes = false;
    fleet.command(Command::Abort).expect("it goes on");
    fleet.asked = None;
    restart(&mut fleet);
    assert!(fleet.asked.is_some());
    reconnect(&mut fleet);
    fleet.publish();
    assert_eq!(fleet.running(1), 50);
}

#[test]
fn the_revision_changes_with_what_must_not_be_forgotten() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Mute);
    let offered = fleet.rollout.revision();
    let id = fleet.touched()[0];
    fleet.report(id, ApplyState::Applying);
    fleet.tell(Event::Tick);
    assert_eq!(fleet.rollout.revision(), offered, "an agent says that again when it connects");
    fleet.command(Command::Pause).expect("it goes on");
    assert_ne!(fleet.rollout.revision(), offered);
}

#[test]
fn what_no_rollout_can_have_made_is_refused() {
    let fleet = Fleet::launch(5, canary_of_ten(), |_, _| Conduct::Applies);
    let good = fleet.rollout.snapshot();
    let refuse = |change: fn(&mut outrigger_rollout::Snapshot)| {
        let mut snapshot = good.clone();
        change(&mut snapshot);
        Rollout::restore(snapshot).expect_err("it is damaged")
    };
    assert!(matches!(refuse(|s| s.settings.gates.restarts = 0), RestoreError::Settings(_)));
    assert_eq!(refuse(|s| s.step = StepState { index: 2, ..s.step }), RestoreError::Step { index: 2, steps: 2 });
    assert_eq!(refuse(|s| s.target.generation = 1), RestoreError::Backwards { stable: 1, target: 1 });
    assert_eq!(
        refuse(|s| {
            s.stable = None;
            s.settings = settings(Strategy::AllAtOnce);
            s.phase = Phase::Restoring { config: s.target, cause: None, began_at: SECOND };
        }),
        RestoreError::NothingBefore
    );
}
