//! Rollouts of any shape, to rows and back.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{DeploymentId, EnvironmentId, InstanceId, OrganizationId, ProjectId, RolloutId};
use outrigger_protocol::message::ConfigRef;
use outrigger_rollout::{
    Amount, Cause, Departed, ErrorRateGate, Evidence, Finding, Gates, Health, Hold, LatencyGate, Member, Offered,
    OnFailure, OnInconclusive, OnSilence, Outcome, Phase, ProbeFailure, Program, Rate, Reference, Rest, Served,
    Settings, Signal, Snapshot, StepState, Tally, Traffic, Watched,
};
use outrigger_rollout::{Rollout as Machine, Strategy as Steps};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{number, round_trips, span, time};
use crate::model::{Rollout, RolloutEntry, RolloutState};
use crate::record::scalar::Text;
use crate::record::v1::rollout as v1;
use crate::record::{RolloutStateRow, decode, encode, encode_stored, stored_state};

fn rest() -> impl Strategy<Value = Rest> {
    prop_oneof![
        Just(Rest::AtOnce),
        (number(), span()).prop_map(|(percent, interval)| Rest::Linear { percent, interval }),
        (number(), span()).prop_map(|(factor, interval)| Rest::Exponential { factor, interval }),
    ]
}

fn steps() -> impl Strategy<Value = Steps> {
    prop_oneof![
        Just(Steps::AllAtOnce),
        (number(), span()).prop_map(|(percent, interval)| Steps::Linear { percent, interval }),
        (number(), number(), span()).prop_map(|(initial, factor, interval)| Steps::Exponential {
            initial,
            factor,
            interval
        }),
        (number(), span(), rest()).prop_map(|(percent, bake, rest)| Steps::Canary { percent, bake, rest }),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![number().prop_map(Amount::Percent), any::<u32>().prop_map(Amount::Count)]
}

prop_compose! {
    fn gates()(
        (probe_failures, restarts) in any::<(u32, u32)>(),
        warm_up in span(),
        error_rate in option::of((any::<u64>(), number(), number(), number())),
        latency in option::of((number(), any::<u64>(), span(), number(), number())),
    ) -> Gates {
        let error_rate =
            error_rate.map(|(min_requests, floor, ratio, z)| ErrorRateGate { min_requests, floor, ratio, z });
        let latency = latency.map(|(quantile, min_requests, floor, ratio, z)| {
            LatencyGate { quantile, min_requests, floor, ratio, z }
        });
        Gates { probe_failures, restarts, warm_up, error_rate, latency }
    }
}

prop_compose! {
    pub(super) fn settings()(
        strategy in steps(),
        (final_bake, min_ready, answer_timeout, patience) in (span(), span(), span(), span()),
        (max_unhealthy, tolerated_failures) in (amount(), amount()),
        on_silence in select(vec![OnSilence::Fail, OnSilence::Tolerate]),
        on_failure in select(vec![OnFailure::RollBack, OnFailure::Hold]),
        on_inconclusive in select(vec![OnInconclusive::Promote, OnInconclusive::Hold, OnInconclusive::RollBack]),
        gates in gates(),
    ) -> Settings {
        Settings {
            strategy, final_bake, max_unhealthy, min_ready, answer_timeout, patience, on_silence, tolerated_failures,
            on_failure, on_inconclusive, gates,
        }
    }
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<[u8; 16]>().prop_map(InstanceId::from_bytes)
}

/// Often the same ones, as it is.
fn config() -> impl Strategy<Value = ConfigRef> {
    prop_oneof![
        3 => (1_u8..4).prop_map(|number| ConfigRef { generation: number.into(), hash: [number; 32] }),
        1 => any::<(u64, [u8; 32])>().prop_map(|(generation, hash)| ConfigRef { generation, hash }),
    ]
}

fn histogram() -> impl Strategy<Value = LatencyHistogram> {
    vec(any::<u32>(), 0..20).prop_map(|values| {
        let mut histogram = LatencyHistogram::new();
        values.into_iter().for_each(|us| histogram.record(Duration::from_micros(us.into())));
        histogram
    })
}

fn traffic() -> impl Strategy<Value = Traffic> {
    (any::<(u64, u64)>(), histogram()).prop_map(|((requests, errors), latency)| Traffic { requests, errors, latency })
}

fn rate() -> impl Strategy<Value = Rate> {
    any::<(u64, u64)>().prop_map(|(errors, requests)| Rate { errors, requests })
}

fn signal() -> impl Strategy<Value = Signal> {
    let reference = || select(vec![Reference::OldCohort, Reference::Baseline, Reference::EarlierCohort]);
    prop_oneof![
        any::<String>().prop_map(|error| Signal::Refused { error }),
        any::<String>().prop_map(|error| Signal::RolledBackLocally { error }),
        span().prop_map(|after| Signal::Silent { after }),
        span().prop_map(|after| Signal::Lost { after }),
        any::<(String, u32, u32, String)>().prop_map(|(probe, consecutive, limit, error)| {
            Signal::ProbeFailing { probe, consecutive, limit, error }
        }),
        any::<(u32, u32)>().prop_map(|(restarts, limit)| Signal::Restarting { restarts, limit }),
        any::<i32>().prop_map(|code| Signal::Exited { code }),
        (rate(), rate(), reference(), number(), number()).prop_map(|(new, old, reference, at_least, floor)| {
            Signal::ErrorRate { new, old, reference, at_least, floor }
        }),
        (number(), [span(), span(), span(), span()], reference(), any::<(u64, u64)>()).prop_map(
            |(quantile, [new, new_at_least, old, old_at_most], reference, requests)| Signal::Latency {
                quantile,
                new,
                new_at_least,
                old,
                old_at_most,
                reference,
                requests,
            }
        ),
        (span(), any::<(u32, u32)>()).prop_map(|(after, (unhealthy, allowed))| Signal::Stalled {
            after,
            unhealthy,
            allowed
        }),
        Just(Signal::Unwell),
        any::<(u64, u64, u64)>().prop_map(|(new, old, needed)| Signal::TooFewRequests { new, old, needed }),
        Just(Signal::NobodyLeft),
    ]
}

fn finding() -> impl Strategy<Value = Finding> {
    (option::of(instance()), signal()).prop_map(|(instance, signal)| Finding { instance, signal })
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![finding().prop_map(Cause::Gate), any::<String>().prop_map(|actor| Cause::Aborted { actor })]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        (cause(), config()).prop_map(|(cause, config)| Outcome::RolledBack { cause, config }),
        cause().prop_map(|cause| Outcome::Failed { cause }),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Progressing),
        (finding(), select(vec![Hold::Failed, Hold::Inconclusive]))
            .prop_map(|(finding, why)| Phase::Held { finding, why }),
        (cause(), span()).prop_map(|(cause, asked_at)| Phase::RollingBack { cause, asked_at }),
        (config(), option::of(cause()), span()).prop_map(|(config, cause, began_at)| Phase::Restoring {
            config,
            cause,
            began_at
        }),
        outcome().prop_map(Phase::Closing),
        outcome().prop_map(Phase::Ended),
    ]
}

prop_compose! {
    fn health()(
        program in prop_oneof![
            Just(Program::Up), Just(Program::Down), Just(Program::Ended),
            any::<i32>().prop_map(|code| Program::Crashed { code }),
        ],
        failing in option::of(any::<(String, u32, String)>()),
        (waiting, was_unwell, was_down) in any::<(bool, bool, bool)>(),
        (failures_before, restarts, restarts_before, crashes_before, crashes) in any::<(u32, u32, u32, u32, u32)>(),
    ) -> Health {
        let failing = failing.map(|(probe, consecutive, error)| Box::new(ProbeFailure { probe, consecutive, error }));
        Health {
            program, failing, waiting, failures_before, was_unwell, was_down, restarts, restarts_before,
            crashes_before, crashes,
        }
    }
}

prop_compose! {
    fn member()(
        (joined_at, lost_at, applied_at) in (span(), option::of(span()), option::of(span())),
        (awaited, touched, convicted) in any::<(bool, bool, bool)>(),
        (running_since, highest) in (time(), any::<u64>()),
        [running, deferred, refused, received, silent, ask_again] in
            [option::of(config()), option::of(config()), option::of(config()), option::of(config()),
             option::of(config()), option::of(config())],
        offer in option::of((config(), span(), any::<bool>())),
        health in health(),
        (requests, errors, latency, until) in (any::<u64>(), any::<u64>(), option::of(span()), time()),
    ) -> Member {
        Member {
            joined_at, lost_at, awaited, running, running_since, applied_at, received, highest,
            deferred: deferred.into(), refused: refused.into(),
            offer: offer.map(|(config, at, disrupts)| Box::new(Offered { config, at, disrupts })),
            silent: silent.into(), ask_again: ask_again.into(), touched, convicted, health,
            served: Served { requests, errors, latency, until },
        }
    }
}

prop_compose! {
    fn departed()(
        (touched, convicted, counted) in any::<(bool, bool, bool)>(),
        deferred in option::of(config()),
        highest: u64,
    ) -> Departed {
        Departed { touched, convicted, deferred, counted, highest }
    }
}

prop_compose! {
    fn step()(
        (index, settled) in (any::<u32>(), any::<u32>()),
        (opened_at, elapsed, progress_at, filled_at) in (span(), span(), span(), span()),
        (baked, due) in (option::of(span()), option::of(span())),
        opened in time(),
        waived: bool,
    ) -> StepState {
        let (index, settled) = (index as usize, settled as usize);
        StepState { index, opened_at, opened, elapsed, settled, progress_at, baked, filled_at, due, waived }
    }
}

prop_compose! {
    fn snapshot()(
        settings in settings(),
        (target, stable) in (config(), option::of(config())),
        (seed, revision) in any::<(u64, u64)>(),
        baseline in option::of(traffic()),
        phase in phase(),
        (paused, overridden) in any::<(Option<String>, Option<String>)>(),
        step in step(),
        (last, elapsed) in (time(), span()),
        (new, old, earlier) in (traffic(), traffic(), traffic()),
        members in btree_map(instance(), member(), 0..6),
        departed in btree_map(instance(), departed(), 0..6),
    ) -> Snapshot {
        Snapshot {
            settings, target, stable, seed, baseline, phase, paused, overridden, step,
            watched: Watched { last, elapsed },
            evidence: Evidence { new, old, earlier },
            members, departed, revision,
        }
    }
}

fn state() -> impl Strategy<Value = RolloutStateRow> {
    (any::<[u8; 16]>(), snapshot())
        .prop_map(|(id, snapshot)| RolloutStateRow { rollout: RolloutId::from_bytes(id), snapshot })
}

prop_compose! {
    fn tally()(
        (total, running, deferred, refused, silent, pending, waiting, unhealthy, touched) in
            any::<(u32, u32, u32, u32, u32, u32, u32, u32, u32)>(),
    ) -> Tally {
        Tally { total, running, deferred, refused, silent, pending, waiting, unhealthy, touched }
    }
}

prop_compose! {
    fn rollout()(
        ids in any::<[[u8; 16]; 5]>(),
        (generation, from, restored_as) in any::<(u64, Option<u64>, Option<u64>)>(),
        (strategy, reason) in any::<(String, Option<String>)>(),
        state in select(RolloutState::ALL.to_vec()),
        ((step, steps), share, tally) in (any::<(u32, u32)>(), number(), tally()),
        (overridden_by, paused_by) in any::<(Option<String>, Option<String>)>(),
        (started_at, ended_at) in (time(), option::of(time())),
        timeline in vec((time(), any::<String>()), 0..4),
    ) -> Rollout {
        let [id, organization, project, deployment, environment] = ids;
        Rollout {
            id: RolloutId::from_bytes(id),
            organization: OrganizationId::from_bytes(organization),
            project: ProjectId::from_bytes(project),
            deployment: DeploymentId::from_bytes(deployment),
            environment: EnvironmentId::from_bytes(environment),
            generation, from, strategy, state, reason, step, steps, share, tally, restored_as, overridden_by, paused_by,
            started_at, ended_at,
            timeline: timeline.into_iter().map(|(at, message)| RolloutEntry { at, message }).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn rollouts_read_back_as_written(rollout in rollout()) {
        round_trips(&rollout)?;
    }

    #[test]
    fn states_read_back_as_written_to_the_last_bit(state in state()) {
        round_trips(&state)?;
        let read: RolloutStateRow = decode(&encode(&state)).expect("it has just been read");
        // Equality takes one zero for the other.
        let bits = |settings: &Settings| match settings.max_unhealthy {
            Amount::Percent(percent) => percent.to_bits(),
            Amount::Count(count) => count.into(),
        };
        prop_assert_eq!(bits(&read.snapshot.settings), bits(&state.snapshot.settings));
    }

    /// A state with a byte changed, or without its end, is another state or an error; and what can be read is a rollout
    /// or an error.
    #[test]
    fn damaged_states_are_errors_and_never_a_panic(
        state in state(), at in any::<Index>(), byte: u8, end in option::of(any::<Index>()),
    ) {
        let mut bytes = encode(&state).to_vec();
        *at.get_mut(&mut bytes) = byte;
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(row) = decode::<RolloutStateRow>(&bytes) {
            let _ = Machine::restore(row.snapshot);
        }
        let _ = decode::<Rollout>(&bytes);
    }
}

#[test]
fn a_configuration_that_is_not_in_the_list_and_an_instance_that_is_there_twice_are_errors() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = state().new_tree(&mut runner).expect("any state");
    let mut state = proptest::strategy::ValueTree::current(&tree);
    state.snapshot.members = BTreeMap::new();
    let mut stored = stored_state(state.rollout, &state.snapshot);
    stored.target = u32::MAX;
    assert!(decode::<RolloutStateRow>(&encode_stored(&stored)).is_err());
    stored.target = 0;
    let departed = (Text(InstanceId::from_bytes([1; 16])), v1::Departed::default());
    stored.departed = vec![departed.clone()];
    assert!(decode::<RolloutStateRow>(&encode_stored(&stored)).is_ok());
    stored.departed = vec![departed.clone(), departed];
    assert!(decode::<RolloutStateRow>(&encode_stored(&stored)).is_err());
}
