use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

fn ago(seconds: u64) -> Option<UnixMillis> {
    Some(NOW.saturating_sub(Duration::from_secs(seconds)))
}

fn view(replicas: u32) -> View {
    View {
        now: NOW,
        replicas,
        ready: replicas,
        min: 1,
        max: 10,
        last_scale_up: None,
        last_scale_down: None,
        paused: false,
        freshest: ago(1),
        fresh_instances: replicas,
        expected_instances: replicas,
    }
}

fn wants(desired: u32) -> PolicyOutcome {
    let reason = format!("load for {desired}");
    PolicyOutcome { name: "threshold".to_owned(), result: Ok(Wish { desired, confidence: 1.0, reason }) }
}

fn fails() -> PolicyOutcome {
    PolicyOutcome { name: "broken".to_owned(), result: Err("ran out of fuel".to_owned()) }
}

fn run(view: &View, outcomes: &[PolicyOutcome]) -> Decided {
    decide(view, &GuardConfig::default(), Combine::Max, outcomes)
}

#[track_caller]
fn assert_held(decided: &Decided, replicas: u32, guard: &str, words: &str) {
    assert_eq!((decided.verdict, decided.target), (Verdict::Hold, replicas), "{decided:?}");
    let last = decided.guards.last().expect("a guard judged");
    assert_eq!((last.guard, last.outcome), (guard, GuardOutcome::Held));
    assert!(decided.reason.contains(words), "{}", decided.reason);
}

#[test]
fn a_wish_within_all_limits_is_approved_with_its_reason() {
    let decided = run(&view(2), &[wants(4)]);
    assert_eq!((decided.verdict, decided.target), (Verdict::Approve { target: 4 }, 4));
    assert_eq!((decided.cause, decided.reason.as_str()), (Cause::Policies, "threshold: load for 4"));
    let names: Vec<&str> = decided.guards.iter().map(|report| report.guard).collect();
    assert_eq!(names, guard::NAMES);
}

#[test]
fn a_wish_beyond_the_maximum_is_clamped_and_says_so() {
    let decided = run(&view(2), &[wants(1_000_000)]);
    assert_eq!(decided.verdict, Verdict::Clamp { asked: 1_000_000, target: 10 });
    assert!(decided.reason.contains("beyond the maximum of 10"), "{}", decided.reason);
    assert_eq!(run(&view(10), &[wants(20)]).verdict, Verdict::Hold);
}

#[test]
fn a_size_out_of_bounds_is_repaired_without_metrics_and_policies() {
    let blind = View { freshest: None, fresh_instances: 0, ..view(0) };
    let decided = run(&View { min: 3, ..blind }, &[]);
    assert_eq!((decided.target, decided.cause), (3, Cause::Guard(guard::BOUNDS)));
    assert_eq!(decided.reason, "0 replicas are beyond the minimum of 3");
    assert_eq!(run(&View { replicas: 20, ..blind }, &[fails()]).target, 10);
    // Step limits and cooldowns are about the policies' steps, not about the operator's bounds.
    let strict = GuardConfig { max_step_up: Some(1), max_step_down: Some(1), ..GuardConfig::default() };
    let recent = View { last_scale_up: ago(1), min: 3, ..view(1) };
    assert_eq!(decide(&recent, &strict, Combine::Max, &[wants(1)]).target, 3);
}

#[test]
fn absent_or_stale_metrics_hold() {
    assert_held(&run(&View { freshest: None, ..view(4) }, &[wants(1)]), 4, guard::FRESHNESS, "no metrics");
    assert_held(&run(&View { freshest: ago(16), ..view(4) }, &[wants(1)]), 4, guard::FRESHNESS, "16 s away");
    assert_held(&run(&View { freshest: ago(16), ..view(4) }, &[wants(8)]), 4, guard::FRESHNESS, "at most 15 s");
    let from_the_future = Some(NOW.saturating_add(Duration::from_secs(86_400)));
    assert_held(&run(&View { freshest: from_the_future, ..view(4) }, &[wants(1)]), 4, guard::FRESHNESS, "away");
}

#[test]
fn metrics_of_fewer_than_half_hold_a_scale_down_only() {
    let partial = View { fresh_instances: 1, expected_instances: 4, ..view(4) };
    assert_held(&run(&partial, &[wants(1)]), 4, guard::FRESHNESS, "only 1 of 4");
    assert_eq!(run(&partial, &[wants(6)]).target, 6);
    assert_eq!(run(&View { fresh_instances: 2, ..partial }, &[wants(1)]).target, 1);
}

#[test]
fn a_deployment_at_zero_can_be_woken() {
    let asleep = View { min: 0, freshest: None, ..view(0) };
    assert_eq!(run(&asleep, &[wants(2)]).target, 2);
}

#[test]
fn one_fault_blocks_only_scale_down_and_all_faults_hold() {
    assert_held(&run(&view(4), &[wants(1), fails()]), 4, guard::FAULTS, "broken");
    assert_eq!(run(&view(4), &[wants(6), fails()]).target, 6);
    let decided = run(&view(4), &[fails(), fails()]);
    assert_eq!((decided.verdict, decided.cause), (Verdict::Hold, Cause::AllFailed));
    assert_eq!(decided.reason, "every policy failed: broken: ran out of fuel");
    let mut liar = wants(1);
    liar.result = liar.result.map(|wish| Wish { confidence: f64::NAN, ..wish });
    assert_eq!(run(&view(4), &[liar]).cause, Cause::AllFailed);
}

#[test]
fn cooldowns_hold_each_direction_on_its_own_terms() {
    let just_up = View { last_scale_up: ago(10), ..view(4) };
    assert_held(&run(&just_up, &[wants(5)]), 4, guard::COOLDOWN, "20 s more");
    assert_held(&run(&just_up, &[wants(3)]), 4, guard::COOLDOWN, "290 s more");
    let just_down = View { last_scale_down: ago(10), ..view(4) };
    assert_eq!(run(&just_down, &[wants(5)]).target, 5, "load does not wait for a scale-down to cool");
    assert_held(&run(&just_down, &[wants(3)]), 4, guard::COOLDOWN, "scaling down");
    assert_eq!(run(&View { last_scale_up: ago(300), ..view(4) }, &[wants(3)]).target, 3);
    let tomorrow = Some(NOW.saturating_add(Duration::from_secs(86_400)));
    assert_eq!(run(&View { last_scale_up: tomorrow, ..view(4) }, &[wants(5)]).target, 5, "a clock that was set back");
}

#[test]
fn step_limits_shorten_a_step() {
    let config = GuardConfig { max_step_up: Some(2), max_step_down: Some(1), ..GuardConfig::default() };
    let up = decide(&view(4), &config, Combine::Max, &[wants(9)]);
    assert_eq!(up.verdict, Verdict::Clamp { asked: 9, target: 6 });
    assert!(up.reason.contains("a step of 5 is limited to 2"), "{}", up.reason);
    assert_eq!(decide(&view(4), &config, Combine::Max, &[wants(1)]).target, 3);
}

#[test]
fn pause_holds_everything() {
    assert_held(&run(&View { paused: true, ..view(0) }, &[wants(9)]), 0, guard::PAUSE, "paused");
}

#[test]
fn without_a_policy_nothing_changes() {
    let decided = run(&view(4), &[]);
    assert_eq!((decided.verdict, decided.cause), (Verdict::Hold, Cause::NoPolicy));
}

prop_compose! {
    fn any_view()(
        replicas in 0_u32..40, min in 0_u32..20, max in 0_u32..20, paused in prop::bool::weighted(0.1),
        up in prop::option::of(0_u64..700), down in prop::option::of(0_u64..700),
        freshest in prop::option::of(0_u64..40), fresh in 0_u32..10, expected in 0_u32..10,
    ) -> View {
        View {
            replicas, min, max, paused,
            last_scale_up: up.and_then(ago), last_scale_down: down.and_then(ago), freshest: freshest.and_then(ago),
            fresh_instances: fresh.min(expected), expected_instances: expected,
            ..view(0)
        }
    }
}

prop_compose! {
    fn any_outcome()(desired in prop_oneof![0_u32..40, Just(u32::MAX)], confidence in any::<f64>(),
                     fault in prop::bool::weighted(0.2))
        -> PolicyOutcome
    {
        let confidence = if confidence.is_nan() { 0.5 } else { confidence.clamp(0.0, 1.0) };
        let mut outcome = wants(desired);
        outcome.result = if fault { Err("fault".to_owned()) } else { outcome.result.map(|w| Wish { confidence, ..w }) };
        outcome
    }
}

prop_compose! {
    fn any_config()(up in 0_u64..400, down in 0_u64..400, step_up in prop::option::of(0_u32..9),
                    step_down in prop::option::of(0_u32..9)) -> GuardConfig {
        GuardConfig {
            cooldown_up: Duration::from_secs(up), cooldown_down: Duration::from_secs(down),
            max_step_up: step_up, max_step_down: step_down, ..GuardConfig::default()
        }
    }
}

fn any_mode() -> impl Strategy<Value = Combine> {
    prop_oneof![Just(Combine::Max), Just(Combine::Min), Just(Combine::Weighted)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_target_is_within_bounds_unless_paused(
        view in any_view(), config in any_config(), mode in any_mode(),
        outcomes in prop::collection::vec(any_outcome(), 0..4),
    ) {
        let decided = decide(&view, &config, mode, &outcomes);
        if view.paused {
            prop_assert_eq!(decided.target, view.replicas);
        } else {
            prop_assert!(decided.target >= view.min && decided.target <= view.max.max(view.min));
        }
        prop_assert_eq!(decided.verdict == Verdict::Hold, decided.target == view.replicas);
        prop_assert!(!decided.reason.is_empty());
    }

    /// Fewer replicas than there are, beyond the operator's own maximum, need fresh metrics of at least half of the
    /// instances, no faulty policy, and a past cooldown.
    #[test]
    fn nothing_is_given_up_on_poor_grounds(
        view in any_view(), config in any_config(), mode in any_mode(),
        outcomes in prop::collection::vec(any_outcome(), 0..4),
    ) {
        let decided = decide(&view, &config, mode, &outcomes);
        if decided.target < guard::within(view.replicas, &view) && !view.paused {
            let age = view.freshest.map(|at| view.now.since(at));
            prop_assert!(age.is_some_and(|age| age <= config.freshness));
            prop_assert!(view.fresh_instances * 2 >= view.expected_instances && view.fresh_instances > 0);
            prop_assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.result.is_ok()));
            for last in [view.last_scale_up, view.last_scale_down].into_iter().flatten() {
                prop_assert!(view.now.since(last) >= config.cooldown_down);
            }
            let wishes = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
            let highest = wishes.map(|wish| wish.desired).max();
            prop_assert!(highest.is_some_and(|highest| highest < view.replicas));
        }
    }

    #[test]
    fn a_step_is_never_longer_than_allowed_and_never_against_the_wish(
        view in any_view(), config in any_config(), desired in 0_u32..40,
    ) {
        let decided = decide(&view, &config, Combine::Max, &[wants(desired)]);
        let from = if view.paused { view.replicas } else { guard::within(view.replicas, &view) };
        let (low, high) = (from.min(desired), from.max(desired));
        prop_assert!((low..=high).contains(&decided.target));
        let limit = if decided.target > from { config.max_step_up } else { config.max_step_down };
        prop_assert!(limit.is_none_or(|limit| decided.target.abs_diff(from) <= limit));
        if decided.target > from {
            prop_assert!(view.last_scale_up.is_none_or(|last| view.now.since(last) >= config.cooldown_up));
        }
    }

    #[test]
    fn a_larger_wish_never_gives_a_smaller_target(
        view in any_view(), config in any_config(), mode in any_mode(),
        others in prop::collection::vec(any_outcome(), 0..3),
        a in 0_u32..40, b in 0_u32..40,
    ) {
        let with = |desired| {
            let mut outcomes = others.clone();
            outcomes.push(wants(desired));
            decide(&view, &config, mode, &outcomes).target
        };
        prop_assert!(with(a.min(b)) <= with(a.max(b)));
    }

    #[test]
    fn the_same_arguments_give_the_same_decision(
        view in any_view(), config in any_config(), mode in any_mode(),
        outcomes in prop::collection::vec(any_outcome(), 0..4),
    ) {
        prop_assert_eq!(decide(&view, &config, mode, &outcomes), decide(&view, &config, mode, &outcomes));
    }
}
