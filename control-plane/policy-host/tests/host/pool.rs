//! Many evaluations at once: no policy holds up another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::input;
use outrigger_builtin_policies::test_support::{HOSTILE, hostile_describing};
use outrigger_policy_host::{EvaluationPool, Fault, HostConfig, Input, Limits, Policy, PolicyHost, PoolConfig};

const PATIENCE: Duration = Duration::from_secs(60);

fn demanding(conduct: &str) -> Arc<Input> {
    Arc::new(Input { config: format!(r#"{{"misbehave":"{conduct}"}}"#), ..input(2) })
}

/// A pool whose host stops a spin after some 300 ms, and two policies of different digests in it.
fn pool(config: PoolConfig) -> (EvaluationPool, Arc<Policy>, Arc<Policy>) {
    let limits = Limits { fuel: u64::MAX, deadline: Duration::from_millis(300), ..Limits::default() };
    let host = Arc::new(PolicyHost::new(HostConfig { limits, ..HostConfig::in_process() }).unwrap());
    let slow = host.load(HOSTILE).unwrap();
    let quick = host.load(&hostile_describing("else")).unwrap();
    (EvaluationPool::new(host, config).unwrap(), slow, quick)
}

fn config() -> PoolConfig {
    PoolConfig { threads: 2, queued_per_policy: 100, queued: 150, queue_deadline: PATIENCE }
}

#[test]
fn a_slow_policy_does_not_hold_up_another() {
    let (pool, slow, quick) = pool(config());
    let spinning: Vec<_> = (0..10).map(|_| pool.evaluate(Arc::clone(&slow), demanding("spin"))).collect();
    let answers: Vec<_> = (0..50).map(|_| pool.evaluate(Arc::clone(&quick), demanding("well"))).collect();
    for answer in answers {
        assert!(answer.wait().outcome.is_ok());
    }
    // Ten spins of 300 ms went on beside all this, one after the other.
    assert!(slow.stats().calls < 10, "the quick policy waited for {} slow calls", slow.stats().calls);
    drop(spinning);
}

#[test]
fn queues_are_bounded_per_policy_and_altogether() {
    let (pool, slow, quick) = pool(PoolConfig { queued_per_policy: 3, queued: 4, ..config() });
    let overloaded = |evaluation: outrigger_policy_host::Evaluation| match evaluation.outcome {
        Err(Fault::Overloaded { what }) => what,
        other => panic!("{other:?}"),
    };
    let mut spinning: Vec<_> = (0..8).map(|_| pool.evaluate(Arc::clone(&slow), demanding("spin"))).collect();
    let last = spinning.pop().unwrap();
    assert_eq!(overloaded(last.wait()), "too many evaluations of this policy wait");
    assert!(pool.evaluate(quick, demanding("well")).wait().outcome.is_ok());
}

#[test]
fn a_job_that_waited_too_long_is_not_run() {
    let (pool, slow, _) = pool(PoolConfig { queue_deadline: Duration::from_millis(50), ..config() });
    let started = Instant::now();
    let jobs: Vec<_> = (0..20).map(|_| pool.evaluate(Arc::clone(&slow), demanding("spin"))).collect();
    let outcomes: Vec<_> = jobs.into_iter().map(|job| job.wait().outcome).collect();
    assert!(matches!(outcomes[0], Err(Fault::Deadline { .. })));
    assert!(matches!(outcomes[19], Err(Fault::Overloaded { .. })));
    assert!(started.elapsed() < PATIENCE);
    assert!(slow.stats().calls < 20);
}

#[test]
fn a_job_that_nobody_waits_for_is_withdrawn() {
    let (pool, slow, _) = pool(config());
    let first = pool.evaluate(Arc::clone(&slow), demanding("spin"));
    for _ in 0..20 {
        drop(pool.evaluate(Arc::clone(&slow), demanding("spin")));
    }
    let last = pool.evaluate(Arc::clone(&slow), demanding("well"));
    assert!(first.wait().outcome.is_err());
    assert!(last.wait().outcome.is_ok());
    assert!(slow.stats().calls <= 3, "{}", slow.stats().calls);
}

#[test]
fn closing_the_pool_answers_what_waits() {
    let (pool, slow, _) = pool(config());
    let jobs: Vec<_> = (0..20).map(|_| pool.evaluate(Arc::clone(&slow), demanding("spin"))).collect();
    drop(pool);
    let abandoned = jobs.into_iter().map(|job| job.wait().outcome);
    let abandoned = abandoned.filter(|outcome| matches!(outcome, Err(Fault::Overloaded { .. }))).count();
    assert!(abandoned >= 18, "{abandoned}");
}

#[tokio::test]
async fn an_evaluation_is_a_future() {
    let (pool, _, quick) = pool(config());
    assert!(pool.evaluate(quick, demanding("well")).await.outcome.is_ok());
}
