//! Configuration that reaches a running program through its environment file.

use super::*;

#[test]
fn a_signal_strategy_writes_the_file_and_then_signals() {
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Signal { signal: 1 });
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report Applying", "write 2"]);
    scenario.lifecycle.file_written(scenario.now, Ok(()));
    assert_eq!(scenario.words(), ["signal 1", "report Applied"]);
    scenario.ended(ExitStatus::Code(3), Duration::from_secs(60));
    assert_eq!(scenario.words(), ["report Failed", "start 1"]);
}

#[test]
fn a_file_that_cannot_be_written_is_a_refusal() {
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::File);
    scenario.offer(2, "two");
    scenario.words();
    scenario.lifecycle.file_written(scenario.now, Err("no space".into()));
    assert_eq!(scenario.words(), ["report Failed"]);
    assert_eq!((scenario.running_generation(), scenario.failure()), (Some(1), Some((2, "no space"))));
}

/// Under a strategy with a file, with `P` as what is read at the start alone.
fn running_with_start_only(restart: RestartPolicy, strategy: ApplyStrategy) -> Scenario {
    let mut scenario = Scenario::new(restart).strategy(strategy);
    scenario.terms.start_only = vec!["P".to_owned()];
    scenario.lifecycle.set_terms(scenario.terms.clone());
    scenario.offer_prepared(0.5, prepared_with(1, &[("A", "one"), ("P", "80")]));
    scenario.started();
    scenario.pass(BAKE);
    scenario.words();
    scenario
}

fn write(scenario: &mut Scenario, environment: Rc<Prepared>) -> Vec<String> {
    scenario.offer_prepared(0.5, environment);
    scenario.words();
    scenario.lifecycle.file_written(scenario.now, Ok(()));
    scenario.words()
}

#[test]
fn a_change_of_what_is_read_at_the_start_alone_waits_for_the_next_start() {
    for strategy in [ApplyStrategy::File, ApplyStrategy::Signal { signal: 1 }] {
        let mut scenario = running_with_start_only(RestartPolicy::OnFailure, strategy);
        let answer = write(&mut scenario, prepared_with(2, &[("A", "two"), ("P", "80")]));
        assert_eq!(answer.last().map(String::as_str), Some("report Applied"), "what is read live is applied");
        scenario.pass(BAKE);
        scenario.words();
        let answer = write(&mut scenario, prepared_with(3, &[("A", "three"), ("P", "81")]));
        assert_eq!(answer.last().map(String::as_str), Some("report PendingRestart"));
        assert_eq!(scenario.running_generation(), Some(2));
        scenario.pass(BAKE);
        scenario.ended(ExitStatus::Code(1), BAKE * 2);
        scenario.words();
        scenario.pass(Duration::from_millis(500));
        assert_eq!(scenario.words(), ["start 3"]);
        scenario.started();
        assert_eq!(scenario.words(), ["report Applied", "announce Running { pid: 100, restarts: 1 }"]);
        assert_eq!(scenario.running_generation(), Some(3));
    }
}

#[test]
fn a_variable_that_is_read_at_the_start_alone_is_noticed_when_it_comes_and_when_it_goes() {
    let mut scenario = running_with_start_only(RestartPolicy::Never, ApplyStrategy::File);
    assert_eq!(write(&mut scenario, prepared_with(2, &[("A", "one")])), ["report PendingRestart"]);
    let back = write(&mut scenario, prepared_with(3, &[("A", "one"), ("P", "80")]));
    assert_eq!(back, ["report Applied"], "the file is written again, for it was ahead");
    assert_eq!(scenario.running_generation(), Some(3));
}

#[test]
fn a_program_that_crashes_over_a_file_that_is_ahead_is_started_without_it() {
    let mut scenario = running_with_start_only(RestartPolicy::Never, ApplyStrategy::Signal { signal: 1 });
    write(&mut scenario, prepared_with(2, &[("A", "two"), ("P", "81")]));
    scenario.ended(ExitStatus::Code(9), BAKE);
    assert_eq!(scenario.words(), ["report Failed", "start 1"]);
    assert_eq!(scenario.failure().map(|(generation, _)| generation), Some(2));
}

#[test]
fn live_content_is_applied_when_readiness_was_found_anew() {
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Signal { signal: 1 }).gated();
    scenario.offer(2, "two");
    scenario.words();
    scenario.lifecycle.file_written(scenario.now, Ok(()));
    assert_eq!(scenario.words(), ["signal 1", "ask anew"]);
    assert_eq!(scenario.running_generation(), Some(1), "not before it is ready with it");
    scenario.passed();
    assert_eq!(scenario.words(), ["report Applied"]);
    assert_eq!(scenario.running_generation(), Some(2));
}

#[test]
fn live_content_that_is_not_ready_is_rolled_back_by_a_restart() {
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::File).gated();
    scenario.offer(2, "two");
    scenario.lifecycle.file_written(scenario.now, Ok(()));
    scenario.words();
    scenario.failed(ProbeKind::Readiness);
    assert_eq!(scenario.words(), ["report Failed", "stop"]);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 1"]);
}
