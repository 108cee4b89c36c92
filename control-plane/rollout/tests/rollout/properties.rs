//! Anything that can happen, in any order.
//!
//! A case is a fleet, settings, and a story of up to eighty things that happen to it. What is checked at every offer is in
//! [`crate::fleet`]; here is checked what holds at the end, and that a restored rollout does the same from any moment on.

use std::time::Duration;

use outrigger_protocol::id::InstanceId;
use outrigger_protocol::message::{ApplyState, ConfigRef, ProgramState};
use outrigger_rollout::{
    Amount, Command, Event, Gates, Hold, OnFailure, OnInconclusive, OnSilence, Outcome, Phase, Reach, Rest, Rollout,
    Settings, Strategy,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Strategy as Generator;

use crate::fleet::{Conduct, Fleet, SECOND, config};

#[derive(Debug, Clone)]
enum Turn {
    /// Time passes, watched.
    Run(u64),
    /// The clock is set, in milliseconds.
    Jump(i64),
    Join,
    Lose(Index),
    Remove(Index),
    Rejoin(Index, bool),
    Report(Index, ApplyState),
    RollBackLocally(Index),
    Probe(Index, u32),
    Program(Index, ProgramState),
    Serve(Index, u64, u64, u64),
    /// Something that an agent has said already is heard once more.
    Replay(Index, Index),
    Command(Command),
    OfferAgain,
    Publish,
    Supersede(u8, Box<Settings>),
    Restart,
    Twin,
}

fn seconds(most: u64) -> impl Generator<Value = Duration> {
    (0..=most).prop_map(Duration::from_secs)
}

fn any_strategy() -> impl Generator<Value = Strategy> {
    let percent = (1_u32..=100).prop_map(f64::from);
    let rest = prop_oneof![
        Just(Rest::AtOnce),
        (20_u32..=100, seconds(8)).prop_map(|(percent, interval)| Rest::Linear { percent: percent.into(), interval }),
        (2_u32..=5, seconds(8)).prop_map(|(factor, interval)| Rest::Exponential { factor: factor.into(), interval }),
    ];
    prop_oneof![
        1 => Just(Strategy::AllAtOnce),
        2 => (20_u32..=100, seconds(8))
            .prop_map(|(percent, interval)| Strategy::Linear { percent: percent.into(), interval }),
        2 => (5_u32..=60, 2_u32..=5, seconds(8)).prop_map(|(initial, factor, interval)| Strategy::Exponential {
            initial: initial.into(),
            factor: factor.into(),
            interval,
        }),
        4 => (percent, seconds(12), rest)
            .prop_map(|(percent, bake, rest)| Strategy::Canary { percent, bake, rest }),
    ]
}

prop_compose! {
    fn any_settings()(
        strategy in any_strategy(),
        final_bake in seconds(8),
        max_unhealthy in prop_oneof![(1_u32..=100).prop_map(|p| Amount::Percent(p.into())), (1_u32..8).prop_map(Amount::Count)],
        tolerated_failures in prop_oneof![3 => Just(Amount::Count(0)), 1 => (1_u32..4).prop_map(Amount::Count)],
        min_ready in seconds(3),
        answer_timeout in (1_u64..20).prop_map(Duration::from_secs),
        patience in (6_u64..30).prop_map(Duration::from_secs),
        on_silence in prop_oneof![Just(OnSilence::Fail), Just(OnSilence::Tolerate)],
        on_failure in prop_oneof![3 => Just(OnFailure::RollBack), 1 => Just(OnFailure::Hold)],
        on_inconclusive in
            prop_oneof![Just(OnInconclusive::Promote), Just(OnInconclusive::Hold), Just(OnInconclusive::RollBack)],
        warm_up in seconds(3),
    ) -> Settings {
        let gates = Gates { warm_up, ..Gates::default() };
        Settings {
            strategy, final_bake, max_unhealthy, min_ready, answer_timeout, patience, on_silence, tolerated_failures,
            on_failure, on_inconclusive, gates,
        }
    }
}

fn any_turn() -> impl Generator<Value = Turn> {
    let who = any::<Index>;
    let report = prop_oneof![
        1 => Just(ApplyState::Applying),
        6 => Just(ApplyState::Applied),
        1 => Just(ApplyState::PendingRestart),
        1 => Just(ApplyState::Failed),
    ];
    let program = prop_oneof![
        3 => (0_u32..6).prop_map(|restarts| ProgramState::Running { pid: 7, restarts }),
        1 => (0_u32..6).prop_map(|restarts| ProgramState::Backoff { restarts }),
        1 => prop_oneof![Just(0), Just(143), Just(1)].prop_map(|code| ProgramState::Exited { code }),
    ];
    let command = prop_oneof![
        Just(Command::Promote(Reach::Step)),
        Just(Command::Promote(Reach::All)),
        Just(Command::Abort),
        Just(Command::Pause),
        Just(Command::Resume),
        Just(Command::Override),
    ];
    prop_oneof![
        10 => (1_u64..12).prop_map(Turn::Run),
        1 => (-100_000_000_i64..100_000_000).prop_map(Turn::Jump),
        4 => Just(Turn::Join),
        2 => who().prop_map(Turn::Lose),
        2 => who().prop_map(Turn::Remove),
        4 => (who(), any::<bool>()).prop_map(|(who, blank)| Turn::Rejoin(who, blank)),
        20 => (who(), report).prop_map(|(who, state)| Turn::Report(who, state)),
        1 => who().prop_map(Turn::RollBackLocally),
        3 => (who(), 0_u32..6).prop_map(|(who, times)| Turn::Probe(who, times)),
        3 => (who(), program).prop_map(|(who, state)| Turn::Program(who, state)),
        3 => (who(), 0_u64..400, 0_u64..50, 1_u64..300).prop_map(|(who, n, errors, ms)| Turn::Serve(who, n, errors, ms)),
        3 => (who(), who()).prop_map(|(who, what)| Turn::Replay(who, what)),
        2 => command.prop_map(Turn::Command),
        2 => Just(Turn::OfferAgain),
        3 => Just(Turn::Publish),
        1 => (1_u8..6, any_settings()).prop_map(|(content, settings)| Turn::Supersede(content, Box::new(settings))),
        1 => Just(Turn::Restart),
        1 => Just(Turn::Twin),
    ]
}

fn pick(fleet: &Fleet, who: Index) -> Option<InstanceId> {
    let ids: Vec<_> = fleet.agents.keys().copied().collect();
    (!ids.is_empty()).then(|| *who.get(&ids))
}

fn pick_connected(fleet: &Fleet, who: Index) -> Option<InstanceId> {
    let connected = fleet.agents.iter().filter(|(_, agent)| agent.connected);
    let ids: Vec<_> = connected.map(|(id, _)| *id).collect();
    (!ids.is_empty()).then(|| *who.get(&ids))
}

fn play(fleet: &mut Fleet, turn: Turn) {
    match turn {
        Turn::Run(time) => fleet.run(Duration::from_secs(time)),
        Turn::Jump(by) => {
            let now = i64::try_from(fleet.now.as_millis()).expect("a time of this century").saturating_add(by);
            let now = u64::try_from(now).expect("a time of this century");
            fleet.now = outrigger_protocol::time::UnixMillis::from_millis(now);
            fleet.tell(Event::Tick);
        }
        Turn::Join => {
            fleet.join();
        }
        Turn::Lose(who) => {
            if let Some(id) = pick_connected(fleet, who) {
                fleet.lose(id);
            }
        }
        Turn::Remove(who) => {
            if let Some(id) = pick(fleet, who) {
                fleet.remove(id);
            }
        }
        Turn::Rejoin(who, blank) => {
            if let Some(id) = pick(fleet, who) {
                fleet.rejoin(id, blank);
            }
        }
        Turn::Report(who, state) => {
            // Those who have something to answer, so that stories get on.
            let pending = fleet.agents.iter().filter(|(_, agent)| agent.connected && agent.pending.is_some());
            let ids: Vec<_> = pending.map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                fleet.report(*who.get(&ids), state);
            }
        }
        Turn::RollBackLocally(who) => {
            if let Some(id) = pick_connected(fleet, who) {
                fleet.roll_back_locally(id, config(1, 1));
            }
        }
        Turn::Probe(who, times) => {
            if let Some(id) = pick_connected(fleet, who) {
                fleet.probe(id, times);
            }
        }
        Turn::Program(who, state) => {
            if let Some(id) = pick_connected(fleet, who) {
                fleet.program(id, state);
            }
        }
        Turn::Serve(who, requests, errors, millis) => {
            if let Some(id) = pick_connected(fleet, who) {
                fleet.serve(id, requests, errors.min(requests), millis);
            }
        }
        Turn::Replay(who, what) => {
            if let Some(id) = pick_connected(fleet, who)
                && let Some(agent) = fleet.agents.get(&id).filter(|agent| !agent.said.is_empty())
            {
                let event = what.get(&agent.said).clone();
                fleet.tell(event);
            }
        }
        Turn::Command(command) => {
            let _ = fleet.command(command);
        }
        Turn::OfferAgain => fleet.offer_again(),
        Turn::Publish => fleet.publish(),
        Turn::Supersede(content, settings) => fleet.supersede(content, *settings),
        Turn::Restart => {
            fleet.rollout = Rollout::restore(fleet.rollout.snapshot()).expect("a snapshot can be restored");
            let connected: Vec<_> = fleet.agents.iter().filter(|(_, a)| a.connected).map(|(id, _)| *id).collect();
            fleet.agents.values_mut().for_each(|agent| agent.connected = false);
            fleet.tell(Event::Restarted);
            for id in connected {
                fleet.rejoin(id, false);
            }
        }
        Turn::Twin => fleet.take_twin(),
    }
}

fn launch(n: u32, settings: Settings, first: bool) -> Fleet {
    let stable = (!first).then(|| config(1, 1));
    let mut fleet = Fleet::launch_with(n, settings, |_, _| Conduct::Mute, stable, None);
    fleet.publishes = false;
    fleet
}

/// Time passes, and people and the catalog do what they have to: nothing else happens any more. Returns whether it ended.
fn wait_for_the_end(fleet: &mut Fleet) -> bool {
    for _ in 0..2_000 {
        if fleet.rollout.has_ended() {
            return true;
        }
        fleet.run(SECOND);
        fleet.publish();
        let progress = fleet.rollout.progress();
        let command = match progress.phase {
            _ if progress.paused.is_some() => Command::Resume,
            Phase::Held { why: Hold::Failed, .. } => Command::Abort,
            Phase::Held { why: Hold::Inconclusive, .. } => Command::Promote(Reach::Step),
            _ => continue,
        };
        fleet.command(command).expect("possible in this state");
    }
    false
}

/// Everybody comes back, gets well, and answers whatever is offered.
fn heal(fleet: &mut Fleet) {
    fleet.conduct = |_, _| Conduct::Applies;
    let ids: Vec<_> = fleet.agents.keys().copied().collect();
    for id in ids {
        let Some(agent) = fleet.agents.get(&id) else { continue };
        if !agent.connected {
            fleet.rejoin(id, false);
        }
        fleet.report(id, ApplyState::Applied);
        fleet.probe(id, 0);
        fleet.program(id, ProgramState::Running { pid: 7, restarts: 0 });
    }
}

/// What everybody should run after the end.
fn outcome_of(fleet: &Fleet) -> Option<ConfigRef> {
    match fleet.outcome.as_ref().expect("it has ended") {
        Outcome::Completed | Outcome::RolledBack { .. } => Some(fleet.rollout.newest()),
        Outcome::Failed { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Whatever has happened, and if nobody ever answers again.
    #[test]
    fn it_ends_and_leaves_no_offer_unanswered(
        n in 0_u32..25, settings in any_settings(), first in prop::bool::weighted(0.1),
        turns in prop::collection::vec(any_turn(), 0..80),
    ) {
        let mut fleet = launch(n, settings, first);
        turns.into_iter().for_each(|turn| play(&mut fleet, turn));
        prop_assert!(wait_for_the_end(&mut fleet), "{:#?}", fleet.timeline);
    }

    /// At the end of any story, once everybody is well: one generation, everywhere, except where it was refused.
    #[test]
    fn everybody_converges_on_one_generation(
        n in 0_u32..25, settings in any_settings(), first in prop::bool::weighted(0.1),
        turns in prop::collection::vec(any_turn(), 0..80),
    ) {
        let mut fleet = launch(n, settings, first);
        turns.into_iter().for_each(|turn| play(&mut fleet, turn));
        heal(&mut fleet);
        prop_assert!(wait_for_the_end(&mut fleet), "{:#?}", fleet.timeline);
        heal(&mut fleet);
        fleet.run(60 * SECOND);
        if let Some(outcome) = outcome_of(&fleet) {
            for (id, agent) in &fleet.agents {
                let refused = agent.status.last_failed.as_ref().is_some_and(|failure| failure.config == outcome);
                let deferred = agent.status.last_received == Some(outcome) && agent.pending.is_none();
                let runs = agent.status.running == Some(outcome);
                prop_assert!(
                    runs || refused || deferred,
                    "{id} runs {:?} and not {outcome:?}: {:#?}", agent.status, fleet.timeline
                );
            }
        }
    }

    /// A good generation with well-behaved agents arrives, whatever the settings and however the fleet grows.
    #[test]
    fn a_good_generation_arrives(n in 1_u32..60, settings in any_settings(), joins in 0_u32..10) {
        // Newcomers are out of service for a while, and with them as many as may be.
        let settings = Settings { patience: 60 * SECOND, ..settings };
        let mut fleet = Fleet::launch(n, settings, |_, _| Conduct::Applies);
        for _ in 0..joins {
            fleet.run(SECOND);
            fleet.join();
        }
        prop_assert!(wait_for_the_end(&mut fleet), "{:#?}", fleet.timeline);
        prop_assert_eq!(fleet.outcome.clone(), Some(Outcome::Completed), "{:#?}", fleet.timeline);
        // Whoever came in the last moment.
        fleet.run(60 * SECOND);
        prop_assert_eq!(fleet.generations(), [2].into());
    }

    /// A bad one goes back, from everybody who was touched.
    #[test]
    fn a_bad_generation_goes_back_from_all_it_has_touched(
        n in 1_u32..60, settings in any_settings(), percent in 1_u32..=100, fails in prop::bool::ANY,
    ) {
        // Long enough for five failures, or there is nothing to go by.
        let bake = 6 * SECOND;
        let settings = Settings {
            strategy: Strategy::Canary { percent: percent.into(), bake, rest: Rest::AtOnce },
            final_bake: bake,
            on_failure: OnFailure::RollBack,
            tolerated_failures: Amount::Count(0),
            ..settings
        };
        let conduct = if fails {
            |_: InstanceId, config: ConfigRef| match config.hash[0] { 2 => Conduct::FailsProbes, _ => Conduct::Applies }
        } else {
            |_: InstanceId, config: ConfigRef| match config.hash[0] { 2 => Conduct::Refuses, _ => Conduct::Applies }
        };
        let first_step = settings.clone().compile().expect("valid settings").steps()[0];
        let mut fleet = Fleet::launch(n, settings, conduct);
        prop_assert!(wait_for_the_end(&mut fleet), "{:#?}", fleet.timeline);
        prop_assert!(matches!(fleet.outcome, Some(Outcome::RolledBack { .. })), "{:#?}", fleet.timeline);
        prop_assert!(fleet.touched().len() <= first_step.share.of(n as usize));
        prop_assert_eq!((fleet.running(1), fleet.generations()), (n as usize, [3].into()));
    }

    /// What agents say may be heard twice, and old things late: it changes nothing.
    #[test]
    fn hearing_everything_again_changes_nothing(
        n in 1_u32..15, settings in any_settings(), turns in prop::collection::vec(any_turn(), 0..40),
    ) {
        let mut fleet = launch(n, settings, false);
        turns.into_iter().for_each(|turn| play(&mut fleet, turn));
        fleet.tell(Event::Tick);
        let before = fleet.rollout.snapshot();
        let said: Vec<Event> = fleet.agents.values().filter(|agent| agent.connected)
            .flat_map(|agent| agent.said.last().cloned()).collect();
        let unchanged = |fleet: &Fleet| fleet.agents.values().all(|agent| match agent.said.last() {
            Some(Event::Report { status, .. }) => *status == agent.status,
            _ => true,
        });
        // An agent that has forgotten everything since has nothing to repeat.
        prop_assume!(unchanged(&fleet));
        for event in said {
            fleet.tell(event);
        }
        prop_assert!(fleet.rollout.snapshot() == before, "{:#?}", fleet.timeline);
    }
}
