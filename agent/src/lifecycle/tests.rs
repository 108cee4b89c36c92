//! Scenarios in virtual time: what goes in, and the effects that come out.

mod any_order;
mod files;
mod probed;

use std::ffi::OsString;

use outrigger_protocol::environment::{Entry, Environment, VariableKind};
use outrigger_protocol::message::ApplyStrategy;
use outrigger_protocol::probe::ProbeKind;
use zeroize::Zeroizing;

use super::*;
use crate::environment::{Inherit, Inheritance, Surroundings};
use crate::probes::Finding;
use crate::supervisor::Ended;

const BAKE: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(10);
const PID: u32 = 100;

/// A lifecycle, its clock, and the effects so far, in words.
struct Scenario {
    lifecycle: Lifecycle,
    now: Instant,
    terms: Terms,
    /// What the disk holds from before this process.
    good: Option<Rc<Prepared>>,
}

fn prepared(generation: u64, value: &str) -> Rc<Prepared> {
    prepared_with(generation, &[("A", value)])
}

fn prepared_with(generation: u64, variables: &[(&str, &str)]) -> Rc<Prepared> {
    let entry = |(name, value): &(&str, &str)| Entry {
        name: (*name).into(),
        value: Some(Zeroizing::new((*value).into())),
        kind: VariableKind::String,
        secret: false,
        required: false,
    };
    let source = Environment { entries: variables.iter().map(entry).collect() };
    let config = ConfigRef { generation, hash: source.hash() };
    let inheritance = Inheritance { mode: Inherit::None, also: Vec::new() };
    let around = Surroundings {
        inheritance: &inheritance,
        login: None,
        assignments: &[],
        own: &[],
        env_file: None,
        hints: &[],
        command: &["true".into()],
    };
    let nothing: [(OsString, OsString); 0] = [];
    Rc::new(Prepared::new(config, source, nothing, &around).expect("small"))
}

impl Scenario {
    fn new(restart: RestartPolicy) -> Self {
        let rules = Rules { restart, stop_grace: GRACE };
        let terms = Terms::unknown(Some(BAKE));
        Self { lifecycle: Lifecycle::new(rules, terms.clone()), now: Instant::now(), terms, good: None }
    }

    /// Running generation 1 with the value `one`, and past the bake time.
    fn running(restart: RestartPolicy) -> Self {
        let mut scenario = Self::new(restart);
        scenario.offer(1, "one");
        scenario.started();
        scenario.pass(BAKE);
        scenario.words();
        scenario
    }

    fn strategy(mut self, strategy: ApplyStrategy) -> Self {
        self.terms.strategy = strategy;
        self.lifecycle.set_terms(self.terms.clone());
        self
    }

    fn offer(&mut self, generation: u64, value: &str) {
        self.offer_drawing(0.5, generation, value);
    }

    fn offer_drawing(&mut self, entropy: f64, generation: u64, value: &str) {
        self.offer_prepared(entropy, prepared(generation, value));
    }

    fn offer_prepared(&mut self, entropy: f64, environment: Rc<Prepared>) {
        let config = environment.config();
        let nonce = [u8::try_from(config.generation).expect("small"); 16];
        self.lifecycle.offer(self.now, entropy, config, nonce, Ok(environment));
    }

    fn offer_broken(&mut self, generation: u64, error: &str) {
        let config = ConfigRef { generation, hash: [9; 32] };
        self.lifecycle.offer(self.now, 0.5, config, [0; 16], Err(error.to_owned()));
    }

    fn started(&mut self) {
        self.lifecycle.started(self.now, 0.0, Ok(PID));
    }

    fn not_started(&mut self) {
        let failure = StartFailure { exit_code: 127, error: "not found".into() };
        self.lifecycle.started(self.now, 0.0, Err(failure));
    }

    fn ended(&mut self, status: ExitStatus, uptime: Duration) {
        self.lifecycle.ended(self.now, 0.0, Ended { status, uptime });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.lifecycle.wake(self.now);
    }

    fn words(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(effect) = self.lifecycle.take_effect() {
            if let Effect::Recall = effect {
                self.lifecycle.recalled(self.now, 0.0, self.good.clone());
            }
            words.push(match effect {
                Effect::Start(environment) => format!("start {}", environment.config().generation),
                Effect::Stop => "stop".into(),
                Effect::Signal(number) => format!("signal {number}"),
                Effect::WriteFile(environment) => format!("write {}", environment.config().generation),
                Effect::AskAnew => "ask anew".into(),
                Effect::Recall => "recall".into(),
                Effect::Report { state, .. } => format!("report {state:?}"),
                Effect::Announce(state) => format!("announce {state:?}"),
                Effect::Remember(environment) => format!("remember {}", environment.config().generation),
                Effect::Finish(outcome) => format!("finish {}", outcome.exit_code()),
            });
        }
        words
    }

    fn running_generation(&self) -> Option<u64> {
        self.lifecycle.status().running.map(|config| config.generation)
    }

    fn failure(&self) -> Option<(u64, &str)> {
        self.lifecycle.status().last_failed.as_ref().map(|failed| (failed.config.generation, failed.error.as_str()))
    }
}

const RUNNING: &str = "announce Running { pid: 100, restarts: 0 }";

#[test]
fn the_first_offer_starts_the_program_at_once() {
    let mut scenario = Scenario::new(RestartPolicy::Never);
    scenario.offer(1, "one");
    assert_eq!(scenario.words(), ["start 1"]);
    scenario.started();
    assert_eq!(scenario.words(), ["report Applied", RUNNING]);
    assert_eq!(scenario.running_generation(), Some(1));
    scenario.pass(BAKE);
    assert_eq!(scenario.words(), ["remember 1"]);
    scenario.ended(ExitStatus::Code(42), BAKE);
    assert_eq!(scenario.words(), ["announce Exited { code: 42 }", "finish 42"]);
}

#[test]
fn a_job_that_succeeds_at_once_proves_its_configuration() {
    let mut scenario = Scenario::new(RestartPolicy::Never);
    scenario.offer(1, "one");
    scenario.started();
    scenario.words();
    scenario.ended(ExitStatus::Code(0), Duration::from_millis(3));
    assert_eq!(scenario.words(), ["remember 1", "announce Exited { code: 0 }", "finish 0"]);
}

#[test]
fn a_first_configuration_that_cannot_be_used_ends_it() {
    let mut scenario = Scenario::new(RestartPolicy::Always);
    scenario.offer_broken(1, "`A`: required, but it has no value");
    assert_eq!(scenario.words(), ["report Failed", "announce Exited { code: 1 }", "finish 1"]);
    assert_eq!(scenario.failure(), Some((1, "`A`: required, but it has no value")));
}

#[test]
fn a_program_that_cannot_be_started_ends_it_with_the_shells_code() {
    let mut scenario = Scenario::new(RestartPolicy::Always);
    scenario.offer(1, "one");
    scenario.words();
    scenario.not_started();
    assert_eq!(scenario.words(), ["recall", "report Failed", "announce Exited { code: 127 }", "finish 127"]);
}

#[test]
fn new_content_is_applied_by_restart_after_its_share_of_the_jitter() {
    let jitter = Duration::from_secs(4);
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Restart { jitter });
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report Applying"]);
    scenario.pass(Duration::from_millis(1_999));
    assert!(scenario.words().is_empty());
    scenario.pass(Duration::from_millis(1));
    assert_eq!(scenario.words(), ["stop"]);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 2"]);
    scenario.started();
    assert_eq!(scenario.words(), ["report Applied", "announce Running { pid: 100, restarts: 1 }"]);
    scenario.pass(BAKE);
    assert_eq!(scenario.words(), ["remember 2"]);
}

#[test]
fn the_turn_is_a_share_of_the_jitter_that_chance_draws() {
    let jitter = Duration::from_secs(4);
    let drawn = [(0.0, 0), (0.25, 1_000), (0.999, 3_996), (1.0, 4_000), (7.0, 4_000)];
    for (entropy, expected) in drawn {
        let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Restart { jitter });
        scenario.offer_drawing(entropy, 2, "two");
        let turn = scenario.lifecycle.next_wake().map(|due| due.duration_since(scenario.now));
        let at_once = scenario.words() == ["report Applying", "stop"];
        assert_eq!(turn.unwrap_or_default(), Duration::from_millis(expected), "{entropy}");
        assert_eq!(at_once, expected == 0, "{entropy}");
    }
}

#[test]
fn pushes_in_a_row_do_not_put_a_restart_off() {
    let jitter = Duration::from_secs(4);
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Restart { jitter });
    scenario.offer_drawing(0.5, 2, "two");
    scenario.pass(Duration::from_secs(1));
    scenario.offer_drawing(0.9, 3, "three");
    scenario.words();
    scenario.pass(Duration::from_secs(1));
    assert_eq!(scenario.words(), ["stop"], "the turn that was drawn first");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 3"]);
}

#[test]
fn the_newest_of_several_offers_wins() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report Applying", "stop"]);
    scenario.offer(3, "three");
    assert_eq!(scenario.words(), ["report Applying"]);
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 3"]);
}

#[test]
fn equal_content_is_confirmed_and_nothing_is_restarted() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(1, "one");
    assert_eq!(scenario.words(), ["remember 1", "report Applied"]);
    scenario.offer(7, "one");
    assert_eq!(scenario.words(), ["remember 7", "report Applied"]);
    assert_eq!(scenario.running_generation(), Some(7));
}

#[test]
fn going_back_to_what_runs_cancels_what_waits() {
    let jitter = Duration::from_secs(4);
    let mut scenario = Scenario::running(RestartPolicy::Never).strategy(ApplyStrategy::Restart { jitter });
    scenario.offer(2, "two");
    scenario.offer(3, "one");
    scenario.words();
    scenario.pass(jitter);
    assert!(scenario.words().is_empty());
    assert_eq!(scenario.running_generation(), Some(3));
}

#[test]
fn a_generation_never_goes_backwards() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(5, "five");
    scenario.words();
    scenario.offer(4, "four");
    assert_eq!(scenario.words(), ["report Failed"]);
    assert_eq!(scenario.failure(), Some((4, "generation 4 is older than 5")));
    scenario.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(scenario.words(), ["start 5"]);
}

#[test]
fn content_that_kills_the_program_is_rolled_back_at_once() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(2, "two");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.started();
    scenario.words();
    scenario.ended(ExitStatus::Code(1), Duration::from_millis(300));
    assert_eq!(scenario.words(), ["report Failed", "start 1"]);
    assert_eq!(scenario.failure(), Some((2, "the program ended with exit code 1 after 0.3 s")));
    scenario.started();
    assert_eq!(scenario.running_generation(), Some(1));
    scenario.words();
    // The same generation is not tried again; a new one is.
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report Failed"]);
    scenario.offer(3, "two");
    assert_eq!(scenario.words(), ["report Applying", "stop"]);
}

#[test]
fn a_start_that_fails_is_rolled_back_too() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(2, "two");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.words();
    scenario.not_started();
    assert_eq!(scenario.words(), ["report Failed", "start 1"]);
}

#[test]
fn an_offer_during_the_trial_keeps_the_good_one_to_fall_back_to() {
    let mut scenario = Scenario::running(RestartPolicy::Never);
    scenario.offer(2, "two");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.started();
    scenario.offer(3, "three");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.started();
    scenario.words();
    scenario.ended(ExitStatus::Code(1), Duration::ZERO);
    assert_eq!(scenario.words(), ["report Failed", "start 1"]);
}

#[test]
fn after_the_bake_time_a_crash_is_only_a_crash() {
    let mut scenario = Scenario::running(RestartPolicy::OnFailure);
    scenario.offer(2, "two");
    scenario.ended(ExitStatus::Signal(15), BAKE);
    scenario.started();
    scenario.pass(BAKE);
    scenario.words();
    scenario.ended(ExitStatus::Code(1), BAKE);
    assert_eq!(scenario.words(), ["announce Backoff { restarts: 1 }"]);
    scenario.pass(Duration::from_millis(500));
    assert_eq!(scenario.words(), ["start 2"]);
}

#[test]
fn with_no_strategy_it_waits_for_the_next_start() {
    let mut scenario = Scenario::running(RestartPolicy::OnFailure).strategy(ApplyStrategy::None);
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report PendingRestart"]);
    scenario.ended(ExitStatus::Code(1), BAKE);
    scenario.words();
    scenario.pass(Duration::from_millis(500));
    assert_eq!(scenario.words(), ["start 2"]);
    scenario.started();
    assert_eq!(scenario.words(), ["report Applied", "announce Running { pid: 100, restarts: 1 }"]);
}

#[test]
fn a_cure_does_not_wait_for_the_back_off() {
    let mut scenario = Scenario::running(RestartPolicy::Always);
    scenario.ended(ExitStatus::Code(1), BAKE);
    scenario.words();
    scenario.offer(2, "two");
    assert_eq!(scenario.words(), ["report Applying", "start 2"]);
}

#[test]
fn a_start_from_the_cache_is_confirmed_by_the_same_offer() {
    let mut scenario = Scenario::new(RestartPolicy::Never);
    scenario.lifecycle.start_from_cache(prepared(3, "one"));
    scenario.started();
    assert_eq!(scenario.words(), ["start 3", RUNNING]);
    scenario.offer(3, "one");
    assert_eq!(scenario.words(), ["remember 3", "report Applied"]);
    scenario.offer(2, "other");
    assert_eq!(scenario.words(), ["report Failed"]);
}

#[test]
fn whoever_asks_the_agent_to_leave_is_obeyed_in_every_phase() {
    let dismissed = Outcome::Dismissed;
    let mut waiting = Scenario::new(RestartPolicy::Always);
    waiting.lifecycle.leave(Outcome::Signalled(15));
    assert_eq!(waiting.words().last().map(String::as_str), Some("finish 143"));

    let mut running = Scenario::running(RestartPolicy::Always);
    running.lifecycle.leave(dismissed.clone());
    assert_eq!(running.words(), ["stop"]);
    running.offer(2, "two");
    assert_eq!(running.words(), ["report Failed"]);
    running.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(running.words().last().map(String::as_str), Some("finish 143"));

    let mut replacing = Scenario::running(RestartPolicy::Always);
    replacing.offer(2, "two");
    replacing.lifecycle.leave(dismissed.clone());
    replacing.words();
    replacing.ended(ExitStatus::Signal(15), BAKE);
    assert_eq!(replacing.words().last().map(String::as_str), Some("finish 143"));

    let mut pausing = Scenario::running(RestartPolicy::Always);
    pausing.ended(ExitStatus::Code(1), BAKE);
    pausing.lifecycle.leave(dismissed);
    pausing.words();
    pausing.pass(Duration::from_secs(60));
    assert!(pausing.words().is_empty());
}

#[test]
fn an_interrupt_that_ends_the_program_ends_the_agent() {
    let mut scenario = Scenario::running(RestartPolicy::Always);
    scenario.lifecycle.interrupt(scenario.now, 2);
    assert_eq!(scenario.words(), ["signal 2"]);
    scenario.ended(ExitStatus::Signal(2), BAKE);
    assert_eq!(scenario.words(), ["announce Exited { code: 130 }", "finish 130"]);
}

#[test]
fn an_interrupt_that_the_program_survives_is_forgotten() {
    let mut scenario = Scenario::running(RestartPolicy::Always);
    scenario.lifecycle.interrupt(scenario.now, 2);
    scenario.pass(GRACE + Duration::from_secs(1));
    scenario.words();
    scenario.ended(ExitStatus::Code(1), BAKE);
    assert_eq!(scenario.words(), ["announce Backoff { restarts: 0 }"]);
}
