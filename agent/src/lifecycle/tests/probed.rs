//! What follows from what probes find.

use super::*;

impl Scenario {
    /// With startup or readiness probes.
    pub(super) fn gated(mut self) -> Self {
        self.terms.gated = true;
        self.lifecycle.set_terms(self.terms.clone());
        self
    }

    pub(super) fn passed(&mut self) {
        self.lifecycle.probed(self.now, 0.0, Finding::Passed);
    }

    pub(super) fn failed(&mut self, kind: ProbeKind) {
        self.lifecycle.probed(self.now, 0.0, Finding::Failed { kind, words: format!("{kind} probe failed") });
    }

    /// Generation 2 runs and has yet to pass its probes; generation 1 is what was good.
    fn replaced(restart: RestartPolicy) -> Self {
        let mut scenario = Self::running(restart).gated();
        scenario.offer(2, "two");
        scenario.ended(ExitStatus::Signal(15), BAKE);
        scenario.started();
        scenario.words();
        scenario
    }
}

const RESTARTED: &str = "announce Running { pid: 100, restarts: 1 }";

#[test]
fn content_is_applied_when_the_probes_pass_and_proven_when_they_kept_passing() {
    let mut scenario = Scenario::running(RestartPolicy::Never).gated();
    scenario.offer(2, "two");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.words();
    scenario.started();
    assert_eq!(scenario.words(), [RESTARTED], "nothing is applied yet");
    assert_eq!(scenario.running_generation(), Some(1));
    scenario.pass(BAKE * 10);
    assert!(scenario.words().is_empty(), "the trial begins when it serves");
    scenario.passed();
    assert_eq!(scenario.words(), ["report Applied"]);
    assert_eq!(scenario.running_generation(), Some(2));
    scenario.pass(BAKE);
    assert_eq!(scenario.words(), ["remember 2"]);
}

#[test]
fn the_first_offer_is_answered_at_once_and_applied_when_the_probes_pass() {
    let mut scenario = Scenario::new(RestartPolicy::Never).gated();
    scenario.offer(1, "one");
    assert_eq!(scenario.words(), ["report Applying", "start 1"]);
    scenario.started();
    assert_eq!((scenario.words(), scenario.running_generation()), (vec![RUNNING.to_owned()], None));
    // The control plane was away and asks again.
    scenario.offer(1, "one");
    assert_eq!(scenario.words(), ["report Applying"]);
    scenario.passed();
    assert_eq!(scenario.words(), ["report Applied"]);
    assert_eq!(scenario.running_generation(), Some(1));
}

#[test]
fn any_probe_that_fails_before_the_program_serves_brings_the_previous_content_back() {
    for kind in [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness] {
        let mut scenario = Scenario::replaced(RestartPolicy::Never);
        scenario.failed(kind);
        assert_eq!(scenario.words(), ["report Failed", "stop"], "{kind}");
        assert_eq!(scenario.failure(), Some((2, format!("{kind} probe failed").as_str())));
        assert_eq!(scenario.running_generation(), Some(1));
        scenario.ended(ExitStatus::Signal(15), Duration::from_secs(1));
        assert_eq!(scenario.words(), ["start 1"]);
        scenario.started();
        scenario.words();
        scenario.passed();
        assert!(scenario.words().is_empty(), "it was good before: nobody asked");
        scenario.offer(2, "two");
        assert_eq!(scenario.words(), ["report Failed"], "the same is not tried again");
        scenario.offer(3, "three");
        assert_eq!(scenario.words(), ["report Applying", "stop"]);
    }
}

#[test]
fn a_probe_that_fails_within_the_bake_time_brings_the_previous_content_back_and_later_does_not() {
    let cases = [
        (ProbeKind::Readiness, BAKE / 2, &["report Failed", "stop"][..]),
        (ProbeKind::Liveness, BAKE / 2, &["report Failed", "stop"]),
        (ProbeKind::Readiness, BAKE, &["remember 2"]),
        (ProbeKind::Liveness, BAKE, &["remember 2", "stop"]),
    ];
    for (kind, after, expected) in cases {
        let mut scenario = Scenario::replaced(RestartPolicy::Always);
        scenario.passed();
        scenario.words();
        scenario.pass(after);
        scenario.failed(kind);
        assert_eq!(scenario.words(), expected, "{kind} after {after:?}");
    }
}

#[test]
fn a_program_that_ends_before_it_serves_has_failed_however_it_ended() {
    for status in [ExitStatus::Code(0), ExitStatus::Code(3), ExitStatus::Signal(11)] {
        let mut scenario = Scenario::replaced(RestartPolicy::Never);
        scenario.ended(status, Duration::from_millis(40));
        assert_eq!(scenario.words(), ["report Failed", "start 1"], "{status}");
    }
}

#[test]
fn a_program_that_is_not_alive_is_restarted_after_a_pause_that_grows() {
    let mut scenario = Scenario::running(RestartPolicy::OnFailure);
    let mut pauses = Vec::new();
    for restarts in 0..3 {
        scenario.failed(ProbeKind::Liveness);
        assert_eq!(scenario.words(), ["stop"]);
        // It took its end well, and has failed all the same.
        scenario.ended(ExitStatus::Code(0), BAKE);
        assert_eq!(scenario.words(), [format!("announce Backoff {{ restarts: {restarts} }}")]);
        let until = scenario.lifecycle.next_wake().expect("it is started again");
        pauses.push(until.duration_since(scenario.now).as_millis());
        scenario.pass(until.duration_since(scenario.now));
        assert_eq!(scenario.words(), ["start 1"]);
        scenario.started();
        scenario.words();
    }
    assert_eq!(pauses, [500, 1_000, 2_000]);
}

#[test]
fn a_program_that_is_never_restarted_ends_with_its_liveness() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.failed(ProbeKind::Liveness);
    scenario.words();
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["announce Exited { code: 143 }", "finish 143"]);
}

#[test]
fn a_cure_that_comes_while_the_sick_is_stopped_does_not_wait() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.failed(ProbeKind::Liveness);
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["stop", "report Applying"]);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 2"]);
}

#[test]
fn who_asks_the_agent_to_leave_while_a_probe_restarts_the_program_is_obeyed() {
    let mut scenario = Scenario::running(RestartPolicy::Always);
    scenario.failed(ProbeKind::Liveness);
    scenario.lifecycle.leave(Outcome::Dismissed);
    scenario.words();
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words().last().map(String::as_str), Some("finish 143"));
}

#[test]
fn a_first_configuration_that_is_not_ready_is_told_of_and_applied_when_it_is() {
    let mut scenario = Scenario::new(RestartPolicy::Never).gated();
    scenario.offer(1, "one");
    scenario.started();
    scenario.words();
    scenario.failed(ProbeKind::Readiness);
    assert_eq!(scenario.words(), ["report Failed"], "there is nothing to go back to, and nothing to restart for");
    assert_eq!((scenario.running_generation(), scenario.failure().is_some()), (None, true));
    scenario.passed();
    assert_eq!(scenario.words(), ["report Applied"]);
    assert_eq!((scenario.running_generation(), scenario.failure()), (Some(1), None));
}

#[test]
fn a_first_configuration_that_does_not_start_is_told_of_and_tried_again_as_the_policy_says() {
    let mut scenario = Scenario::new(RestartPolicy::Always).gated();
    scenario.offer(1, "one");
    scenario.started();
    scenario.words();
    scenario.failed(ProbeKind::Startup);
    assert_eq!(scenario.words(), ["recall", "report Failed", "stop"]);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.pass(Duration::from_millis(500));
    scenario.words();
    scenario.started();
    scenario.ended(ExitStatus::Code(1), BAKE);
    assert_eq!(scenario.words(), [RESTARTED, "report Failed", "announce Backoff { restarts: 1 }"]);
    scenario.pass(Duration::from_secs(1));
    scenario.started();
    scenario.words();
    scenario.passed();
    assert_eq!(scenario.words(), ["report Applied"]);
}

#[test]
fn a_first_configuration_that_fails_makes_room_for_what_was_good_before_this_process() {
    let causes: [fn(&mut Scenario); 3] = [
        |scenario| scenario.ended(ExitStatus::Code(1), Duration::ZERO),
        |scenario| scenario.failed(ProbeKind::Startup),
        |scenario| scenario.failed(ProbeKind::Readiness),
    ];
    for cause in causes {
        let mut scenario = Scenario::new(RestartPolicy::Always).gated();
        scenario.good = Some(prepared(4, "good"));
        scenario.offer(7, "bad");
        scenario.started();
        scenario.words();
        cause(&mut scenario);
        let words = scenario.words();
        assert_eq!(words[..2], ["recall", "report Failed"]);
        if words[2] == "stop" {
            scenario.ended(ExitStatus::Signal(15), BAKE);
            assert_eq!(scenario.words(), ["start 4"]);
        } else {
            assert_eq!(words[2..], ["start 4"]);
        }
        assert_eq!((scenario.running_generation(), scenario.failure().map(|(failed, _)| failed)), (Some(4), Some(7)));
        scenario.started();
        scenario.words();
        scenario.ended(ExitStatus::Code(1), BAKE);
        assert_eq!(scenario.words().len(), 1, "it was good before: a crash is only a crash");
    }
}

#[test]
fn what_was_good_before_is_not_asked_for_by_a_job_nor_used_when_it_is_the_same() {
    let mut job = Scenario::new(RestartPolicy::Never);
    job.good = Some(prepared(4, "good"));
    job.offer(7, "bad");
    job.started();
    job.words();
    job.ended(ExitStatus::Code(1), Duration::ZERO);
    assert_eq!(job.words(), ["announce Exited { code: 1 }", "finish 1"]);

    let mut same = Scenario::new(RestartPolicy::Always);
    same.good = Some(prepared(4, "bad"));
    same.offer(7, "bad");
    same.started();
    same.words();
    same.ended(ExitStatus::Code(1), Duration::ZERO);
    assert_eq!(same.words(), ["recall", "announce Backoff { restarts: 0 }"]);
}

#[test]
fn an_offer_in_the_middle_of_a_roll_back_wins() {
    let mut scenario = Scenario::replaced(RestartPolicy::Never);
    scenario.failed(ProbeKind::Readiness);
    scenario.offer(3, "three");
    scenario.words();
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 3"]);
    scenario.started();
    scenario.words();
    scenario.failed(ProbeKind::Startup);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["report Failed", "stop", "start 1"], "what was good is still known");
}

#[test]
fn findings_about_a_program_that_is_being_stopped_change_nothing() {
    let mut scenario = Scenario::running(RestartPolicy::Always);
    scenario.offer(2, "two");
    scenario.words();
    scenario.failed(ProbeKind::Liveness);
    scenario.passed();
    assert!(scenario.words().is_empty());
}
