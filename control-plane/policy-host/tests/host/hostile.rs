//! Policies that misbehave: each is stopped, for the right reason, in bounded time, and the host goes on working.

use std::time::{Duration, Instant};

use crate::support::{host, hostile, input};
use outrigger_builtin_policies::test_support::hostile_describing;
use outrigger_policy_host::limits::{FUEL_PER_VALUE, LOG_LINES, OUTPUT_BYTES, PROBLEMS, TEXT_BYTES};
use outrigger_policy_host::{
    ConfigError, Evaluation, Fault, FaultKind, HostConfig, Input, Limits, LoadError, PolicyHost, Series,
};

/// What even a loaded machine without optimisation gets done in: far above fuel and epoch, far below for ever.
const PATIENCE: Duration = Duration::from_secs(20);

fn misbehaving(conduct: &str) -> Input {
    Input { config: format!(r#"{{"misbehave":"{conduct}"}}"#), ..input(2) }
}

fn evaluate(conduct: &str) -> Evaluation {
    let started = Instant::now();
    let evaluation = host().evaluate(hostile(), &misbehaving(conduct));
    assert!(started.elapsed() < PATIENCE, "`{conduct}` took {:?}", started.elapsed());
    assert_unharmed();
    evaluation
}

/// The host answers the next call as if nothing had been, in an instance that has seen no call before.
fn assert_unharmed() {
    let proposal = host().evaluate(hostile(), &misbehaving("well")).outcome.expect("a policy that behaves");
    assert_eq!((proposal.replicas, proposal.reason.as_str()), (1, "behaves"));
}

fn fault(conduct: &str) -> Fault {
    evaluate(conduct).outcome.expect_err("a fault")
}

#[test]
fn a_loop_runs_out_of_fuel() {
    let evaluation = evaluate("spin");
    let limit = evaluation.fuel;
    assert_eq!(evaluation.outcome, Err(Fault::OutOfFuel { limit }));
    assert!(limit >= Limits::default().fuel);
}

#[test]
fn a_larger_input_comes_with_more_fuel() {
    let small = misbehaving("spin");
    let mut large = small.clone();
    let added = 1_000;
    large.series.clear();
    large.series.push(Series { name: "cpu".to_owned(), unit: None, points: vec![1.0; added] });
    let values = |input: &Input| input.series.iter().map(|one| one.points.len()).sum::<usize>() as u64;
    let fuel = |input: &Input| host().evaluate(hostile(), input).fuel;
    let more = (values(&large) - values(&small)) * FUEL_PER_VALUE;
    assert_eq!(fuel(&large) - fuel(&small), more);
}

#[test]
fn without_a_judge_the_backstop_falls() {
    let limits = Limits { fuel: u64::MAX, deadline: Duration::from_millis(100), ..Limits::default() };
    let host = PolicyHost::new(HostConfig { limits, ..HostConfig::in_process() }).unwrap();
    let policy = host.load(outrigger_builtin_policies::test_support::HOSTILE).unwrap();
    for _ in 0..3 {
        let started = Instant::now();
        let outcome = host.evaluate(&policy, &misbehaving("spin")).outcome;
        assert_eq!(outcome, Err(Fault::Deadline { limit: limits.deadline }));
        assert!(started.elapsed() >= limits.deadline, "it never falls early");
        assert!(started.elapsed() < PATIENCE);
        assert!(host.evaluate(&policy, &misbehaving("well")).outcome.is_ok(), "it is armed anew for each call");
    }
}

#[test]
fn a_crash_is_told_with_its_last_words() {
    let Fault::Trap { text } = fault("trap") else { panic!("a trap") };
    assert!(text.contains("unreachable"), "{text}");
    let Fault::Trap { text } = fault("last-words") else { panic!("a trap") };
    assert!(text.ends_with("the reactor is gone"), "{text}");
    let Fault::Trap { text } = fault("recurse") else { panic!("a trap") };
    assert!(!text.is_empty());
    let Fault::Trap { text } = fault("not-text") else { panic!("a trap") };
    assert!(text.contains("utf-8") || text.contains("UTF-8"), "{text}");
}

#[test]
fn memory_has_an_end() {
    let evaluation = evaluate("allocate");
    assert_eq!(evaluation.outcome, Err(Fault::Memory { limit: Limits::default().memory_bytes }));
    assert!(evaluation.peak_memory <= Limits::default().memory_bytes);
    assert!(evaluation.peak_memory > Limits::default().memory_bytes / 2, "{}", evaluation.peak_memory);
}

#[test]
fn a_policy_that_copes_with_full_memory_is_not_blamed() {
    assert!(evaluate("allocate-politely").outcome.is_ok());
}

#[test]
fn nonsense_is_never_a_number_of_replicas() {
    for conduct in ["nan", "infinite", "enormous", "negative", "fraction", "confidence", "infinite-signal"] {
        let fault = fault(conduct);
        assert_eq!(fault.kind(), FaultKind::Nonsense, "{conduct}: {fault}");
    }
    assert!(fault("enormous").to_string().contains("1000000000000000000 replicas"));
}

#[test]
fn an_answer_beyond_its_limits_is_refused() {
    for conduct in ["reason", "gigantic-reason", "signals", "state", "amplify"] {
        let fault = fault(conduct);
        assert_eq!(fault.kind(), FaultKind::TooLarge, "{conduct}: {fault}");
    }
    assert!(fault("amplify").to_string().contains(&OUTPUT_BYTES.to_string()));
}

#[test]
fn chatter_is_cut_and_a_flood_is_stopped() {
    let evaluation = evaluate("chatter");
    assert!(evaluation.outcome.is_ok());
    assert_eq!((evaluation.log.lines.len(), evaluation.log.dropped), (LOG_LINES, 100 - LOG_LINES));
    for conduct in ["flood", "flood-bytes", "gigantic-line"] {
        let evaluation = evaluate(conduct);
        assert_eq!(evaluation.outcome.unwrap_err().kind(), FaultKind::TooLarge, "{conduct}");
        assert!(evaluation.log.lines.len() <= LOG_LINES);
    }
}

#[test]
fn a_failure_is_told_in_the_words_of_the_policy_cut_to_size() {
    let Fault::Failure { message, .. } = fault("fail") else { panic!("a failure") };
    assert_eq!(message.len(), TEXT_BYTES);
}

#[test]
fn a_policy_that_cannot_describe_itself_is_not_loaded() {
    let refused = |conduct: &str| host().load(&hostile_describing(conduct)).expect_err("the policy is not loaded");
    assert!(matches!(refused("spin"), LoadError::Describe(Fault::OutOfFuel { .. })));
    assert!(matches!(refused("trap"), LoadError::Describe(Fault::Trap { .. })));
    assert!(matches!(refused("large"), LoadError::Describe(Fault::TooLarge { .. })));
    assert!(matches!(refused("name"), LoadError::Description { .. }));
    assert!(matches!(refused("schema"), LoadError::Schema(_)));
    assert_unharmed();
}

#[test]
fn a_policy_that_cannot_check_a_configuration_is_stopped() {
    let validate = |conduct: &str| host().validate(hostile(), &misbehaving(conduct).config).expect_err("an error");
    assert!(matches!(validate("validate-spin"), ConfigError::Fault(Fault::OutOfFuel { .. })));
    assert!(matches!(validate("validate-trap"), ConfigError::Fault(Fault::Trap { .. })));
    let ConfigError::Invalid { problems } = validate("validate-problems") else { panic!("problems") };
    assert_eq!(problems.len(), PROBLEMS);
    assert_unharmed();
}

#[test]
fn every_call_is_counted_by_what_came_of_it() {
    // A host of its own, since the counters of the shared one move under other tests.
    let host = PolicyHost::new(HostConfig::in_process()).unwrap();
    let policy = host.load(outrigger_builtin_policies::test_support::HOSTILE).unwrap();
    for conduct in ["well", "trap", "nan", "nan"] {
        host.evaluate(&policy, &misbehaving(conduct));
    }
    let stats = policy.stats();
    let count = |kind| stats.faults.iter().find(|(found, _)| *found == kind).map(|(_, count)| *count);
    assert_eq!(stats.calls, 4);
    assert_eq!(
        (count(FaultKind::Trap), count(FaultKind::Nonsense), count(FaultKind::Memory)),
        (Some(1), Some(2), Some(0))
    );
    assert!(stats.fuel > 0);
}
