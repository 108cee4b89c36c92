//! How fast it goes: limits, deadlines, clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ProgramState};
use outrigger_protocol::time::UnixMillis;
use outrigger_rollout::{Amount, Cause, Command, Event, OnSilence, Outcome, Settings, Signal, Strategy};

use crate::canary::canary_of_ten;
use crate::fleet::{Conduct, Fleet, MINUTE, SECOND, instance, settings};

fn limited(count: u32) -> Settings {
    Settings { max_unhealthy: Amount::Count(count), ..settings(Strategy::AllAtOnce) }
}

#[test]
fn offers_wait_while_as_many_are_busy_as_may_be() {
    let mut fleet = Fleet::launch(10, limited(3), |_, _| Conduct::Mute);
    let pending = |fleet: &Fleet| -> Vec<_> {
        fleet.agents.iter().filter(|(_, agent)| agent.pending.is_some()).map(|(id, _)| *id).collect()
    };
    assert_eq!(pending(&fleet).len(), 3);
    let first = pending(&fleet)[0];
    fleet.report(first, ApplyState::Applying);
    assert_eq!(fleet.offers.len(), 3, "to apply is to be busy");
    fleet.report(first, ApplyState::Applied);
    assert_eq!((fleet.offers.len(), pending(&fleet).len()), (4, 3), "one ran, one more was offered");
    fleet.probe(first, 1);
    let second = pending(&fleet)[0];
    fleet.report(second, ApplyState::Applied);
    assert_eq!(fleet.offers.len(), 4, "the first is not well");
    fleet.probe(first, 0);
    assert_eq!(fleet.offers.len(), 5);
}

#[test]
fn who_has_just_been_started_is_not_in_service_yet() {
    let settings = Settings { min_ready: 10 * SECOND, ..limited(3) };
    let mut fleet = Fleet::launch(10, settings, |_, _| Conduct::Applies);
    assert_eq!(fleet.running(2), 3);
    fleet.run(10 * SECOND - Duration::from_millis(1));
    assert_eq!(fleet.running(2), 3);
    fleet.run(Duration::from_millis(1));
    assert_eq!(fleet.running(2), 6);
    fleet.run(20 * SECOND);
    assert_eq!(fleet.running(2), 10);
}

#[test]
fn who_is_out_of_service_anyway_does_not_have_to_wait() {
    let mut fleet = Fleet::launch(10, canary_of_ten(), |_, _| Conduct::Applies);
    let ids: Vec<_> = fleet.agents.keys().copied().collect();
    for id in &ids[..4] {
        fleet.probe(*id, 1);
    }
    fleet.conduct = |_, _| Conduct::Mute;
    fleet.supersede(3, limited(2));
    let offered: Vec<_> = fleet.offers.iter().filter(|(_, offer)| offer.hash[0] == 3).map(|(id, _)| *id).collect();
    assert_eq!(offered.len(), 4, "only the sick: it may be their cure");
    assert!(offered.iter().all(|id| ids[..4].contains(id)));
}

#[test]
fn a_step_that_gets_no_further_is_rolled_back() {
    let linear = Strategy::Linear { percent: 20.0, interval: MINUTE };
    let launch = || Fleet::launch(10, Settings { strategy: linear.clone(), ..limited(2) }, |_, _| Conduct::Applies);
    // The same fleet has the same cohorts: who is not in the first two.
    let mut fleet = launch();
    fleet.run(MINUTE);
    let late: Vec<_> = fleet.agents.keys().copied().filter(|id| !fleet.touched().contains(id)).collect();
    let mut fleet = launch();
    for id in &late[..2] {
        fleet.program(*id, ProgramState::Backoff { restarts: 9 });
    }
    fleet.run(11 * MINUTE - SECOND);
    assert_eq!((fleet.touched().len(), fleet.outcome.clone()), (2, None), "as many as may be are out of service");
    fleet.run(SECOND);
    let Some(Outcome::RolledBack { cause: Cause::Gate(finding), .. }) = &fleet.outcome else {
        panic!("no way on: {:#?}", fleet.timeline);
    };
    assert!(matches!(finding.signal, Signal::Stalled { unhealthy: 2, allowed: 2, .. }), "{finding}");
}

#[test]
fn the_way_back_takes_the_sick_at_once_and_the_well_in_turn() {
    let mut fleet = Fleet::launch(10, limited(3), |_, _| Conduct::Applies);
    assert_eq!(fleet.running(2), 10);
    let ids: Vec<_> = fleet.agents.keys().copied().collect();
    fleet.conduct = |_, _| Conduct::Mute;
    for id in &ids[..4] {
        fleet.probe(*id, 4);
    }
    fleet.probe(ids[0], 5);
    let offered: Vec<_> = fleet.offers.iter().filter(|(_, offer)| offer.generation == 3).map(|(id, _)| *id).collect();
    assert_eq!(offered.len(), 4 + 3, "four sick, and three of the six that serve");
    fleet.conduct = |_, _| Conduct::Applies;
    for id in offered {
        fleet.report(id, ApplyState::Applied);
    }
    fleet.run(SECOND);
    assert_eq!(fleet.running(1), 10);
    assert!(matches!(fleet.outcome, Some(Outcome::RolledBack { .. })));
}

#[test]
fn time_in_which_nobody_looked_does_not_bake() {
    let mut fleet = Fleet::launch(50, canary_of_ten(), |_, _| Conduct::Applies);
    fleet.run(MINUTE);
    fleet.now = fleet.now.saturating_add(Duration::from_secs(24 * 60 * 60));
    fleet.tell(Event::Tick);
    assert_eq!(fleet.running(2), 5, "the clock was set forward by a day");
    fleet.now = fleet.now.saturating_sub(Duration::from_secs(48 * 60 * 60));
    fleet.tell(Event::Tick);
    fleet.run(8 * MINUTE + 54 * SECOND);
    assert_eq!(fleet.running(2), 5);
    fleet.run(SECOND);
    assert!(fleet.running(2) > 5, "ten minutes were watched, five seconds of them at the jump");
}

#[test]
fn a_clock_at_its_ends_does_no_harm() {
    let mut fleet = Fleet::launch(5, canary_of_ten(), |_, _| Conduct::Mute);
    for millis in [0, u64::MAX, 1, u64::MAX - 1, 0] {
        fleet.now = UnixMillis::from_millis(millis);
        fleet.tell(Event::Tick);
        assert!(fleet.rollout.next_deadline().is_some());
    }
}

#[test]
fn deadlines_are_exact_below_a_second_and_never_further_away() {
    let settings = Settings { final_bake: Duration::from_millis(2_300), ..settings(Strategy::AllAtOnce) };
    let mut fleet = Fleet::launch(2, settings, |_, _| Conduct::Applies);
    let begin = fleet.now;
    let mut looks = Vec::new();
    while let Some(deadline) = fleet.rollout.next_deadline() {
        fleet.now = deadline;
        fleet.tell(Event::Tick);
        looks.push(deadline.since(begin).as_millis());
    }
    assert_eq!(looks, [1_000, 2_000, 2_300]);
    assert_eq!(fleet.outcome, Some(Outcome::Completed));
}

#[test]
fn a_fleet_that_is_never_at_rest_does_not_keep_it_from_ending() {
    let settings = Settings {
        strategy: Strategy::Linear { percent: 25.0, interval: 10 * SECOND },
        on_silence: OnSilence::Tolerate,
        ..limited(100)
    };
    fn stays(id: InstanceId) -> bool {
        (0..20).any(|number| instance(number) == id)
    }
    let conduct = |id: InstanceId, _| if stays(id) { Conduct::Applies } else { Conduct::Mute };
    for goes_back in [false, true] {
        let mut fleet = Fleet::launch(20, settings.clone(), conduct);
        let (mut seconds, mut guests) = (0, Vec::new());
        while fleet.outcome.is_none() {
            if goes_back && seconds == 5 {
                fleet.command(Command::Abort).expect("it goes on");
            }
            // One comes and says nothing, and the one before the last is gone, or lost.
            guests.push(fleet.join());
            match guests.len().checked_sub(3).map(|at| guests[at]) {
                Some(guest) if seconds % 2 == 0 => fleet.remove(guest),
                Some(guest) => fleet.lose(guest),
                None => {}
            }
            fleet.run(SECOND);
            seconds += 1;
            assert!(seconds < 600, "{:#?}", fleet.timeline);
        }
        let stayed = fleet.agents.iter().filter(|(id, _)| stays(**id));
        let contents: BTreeSet<_> = stayed.filter_map(|(_, agent)| Some(agent.status.running?.hash)).collect();
        assert_eq!(contents.len(), 1, "{:#?}", fleet.timeline);
    }
}
