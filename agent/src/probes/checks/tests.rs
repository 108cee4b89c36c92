//! Probes in virtual time: answers go in, verdicts and findings come out.

use outrigger_protocol::probe::{ProbeLevel, ProbeTarget};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const PERIOD: Duration = Duration::from_secs(10);

struct Watch {
    checks: Checks,
    now: Instant,
}

fn probe(kind: ProbeKind) -> Probe {
    Probe::new(kind, ProbeLevel::Service, ProbeTarget::Command(vec!["true".to_owned()]))
}

fn readiness(success_threshold: u32, failure_threshold: u32) -> Probe {
    Probe { success_threshold, failure_threshold, ..probe(ProbeKind::Readiness) }
}

fn named(name: &str, probe: Probe) -> Probe {
    Probe { name: name.to_owned(), ..probe }
}

impl Watch {
    /// A program that has just been started.
    fn over(probes: &[Probe]) -> Self {
        let now = Instant::now();
        let mut checks = Checks::new(now);
        assert_eq!(checks.replace(probes, now), []);
        checks.start(now, true);
        Self { checks, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// The probes whose attempts begin now.
    fn due(&mut self) -> Vec<Ticket> {
        self.checks.take_due(self.now)
    }

    fn due_names(&mut self) -> Vec<String> {
        let due = self.due();
        due.iter().filter_map(|ticket| self.checks.probe(*ticket)).map(|probe| probe.name.clone()).collect()
    }

    fn answer(&mut self, ticket: Ticket, passes: bool) -> Vec<Finding> {
        let answer = if passes { Ok(()) } else { Err("status 503".to_owned()) };
        self.checks.finish(ticket, self.now, answer)
    }

    /// All that are due are answered alike, at once.
    fn round(&mut self, passes: bool) -> Vec<Finding> {
        let due = self.due();
        due.into_iter().flat_map(|ticket| self.answer(ticket, passes)).collect()
    }

    fn verdict(&self, name: &str) -> ProbeVerdict {
        self.status(name).verdict
    }

    fn status(&self, name: &str) -> &ProbeStatus {
        self.checks.statuses().find(|status| status.name == name).expect("there is one of this name")
    }

    fn next(&self) -> Option<Duration> {
        self.checks.next_due().map(|due| due.saturating_duration_since(self.now))
    }
}

fn failed(kind: ProbeKind, words: &str) -> Finding {
    Finding::Failed { kind, words: words.to_owned() }
}

#[test]
fn a_verdict_takes_as_many_answers_in_a_row_as_its_threshold_says() {
    // Answers, and the verdict after each: undecided, passing, failing.
    let cases = [
        (1, 3, "+", "p"),
        (1, 3, "--+", "uup"),
        (1, 3, "---", "uuf"),
        (1, 3, "+--+---+", "ppppppfp"),
        (2, 3, "+-++", "uuup"),
        (2, 1, "-++-+-++", "ffpffffp"),
        (1, 1, "-+-+", "fpfp"),
        (3, 2, "++-+++--++", "uuuuuppfff"),
    ];
    for (successes, failures, answers, expected) in cases {
        let mut watch = Watch::over(&[readiness(successes, failures)]);
        let verdicts: String = answers
            .chars()
            .map(|answer| {
                watch.round(answer == '+');
                watch.pass(PERIOD);
                match watch.verdict("readiness-service") {
                    ProbeVerdict::Pending => 'u',
                    ProbeVerdict::Passing => 'p',
                    ProbeVerdict::Failing => 'f',
                }
            })
            .collect();
        assert_eq!(verdicts, expected, "{successes}/{failures} {answers}");
    }
}

#[test]
fn a_failure_is_found_once_and_says_how_often_and_why() {
    let mut watch = Watch::over(&[readiness(1, 2)]);
    let found: Vec<Vec<Finding>> = [false, false, false, true]
        .into_iter()
        .map(|passes| {
            let found = watch.round(passes);
            watch.pass(PERIOD);
            found
        })
        .collect();
    let words = "readiness probe `readiness-service` failed 2 times in a row: status 503";
    let recovered = Finding::Recovered { name: "readiness-service".to_owned() };
    assert_eq!(found, [vec![], vec![failed(ProbeKind::Readiness, words)], vec![], vec![recovered, Finding::Passed]]);
}

#[test]
fn counts_go_on_beyond_the_threshold_and_end_with_a_success() {
    let mut watch = Watch::over(&[readiness(1, 2)]);
    for failures in 1..=5 {
        watch.round(false);
        watch.pass(PERIOD);
        let status = watch.status("readiness-service");
        assert_eq!((status.consecutive_failures, status.last_error.as_deref()), (failures, Some("status 503")));
    }
    watch.round(true);
    let status = watch.status("readiness-service");
    assert_eq!((status.consecutive_failures, status.last_error.as_deref()), (0, None));
}

#[test]
fn startup_gates_the_others() {
    let startup = Probe { failure_threshold: 30, ..probe(ProbeKind::Startup) };
    let mut watch = Watch::over(&[probe(ProbeKind::Liveness), startup, probe(ProbeKind::Readiness)]);
    for _ in 0..4 {
        assert_eq!(watch.round(false), []);
        watch.pass(PERIOD);
    }
    assert_eq!(watch.due_names(), ["startup-service"]);
    let ticket = Ticket { index: 1, round: watch.checks.round() };
    assert_eq!(watch.answer(ticket, true), []);
    assert_eq!(watch.due_names(), ["liveness-service", "readiness-service"], "at once");
    let ticket = Ticket { index: 2, round: watch.checks.round() };
    assert_eq!(watch.answer(ticket, true), [Finding::Passed]);
    watch.pass(PERIOD * 5);
    assert!(!watch.due_names().contains(&"startup-service".to_owned()), "it has had its say");
}

#[test]
fn a_startup_or_liveness_probe_that_has_failed_rests() {
    for kind in [ProbeKind::Startup, ProbeKind::Liveness] {
        let mut watch = Watch::over(&[probe(kind)]);
        let mut found = Vec::new();
        for _ in 0..6 {
            found.extend(watch.round(false));
            watch.pass(PERIOD);
        }
        assert_eq!(
            found,
            [failed(kind, &format!("{kind} probe `{kind}-service` failed 3 times in a row: status 503"))]
        );
        assert_eq!(watch.next(), None);
    }
}

#[test]
fn delays_count_from_the_start_and_periods_from_the_beginning_of_an_attempt() {
    let late = |kind, seconds| Probe { initial_delay: Duration::from_secs(seconds), ..probe(kind) };
    let mut watch = Watch::over(&[late(ProbeKind::Startup, 5), late(ProbeKind::Liveness, 20)]);
    assert_eq!(watch.next(), Some(Duration::from_secs(5)));
    watch.pass(Duration::from_secs(5));
    watch.round(true);
    assert_eq!(watch.next(), Some(Duration::from_secs(15)), "20 s after the start, not after startup has passed");
    watch.pass(Duration::from_secs(15));
    let ticket = watch.due()[0];
    watch.pass(Duration::from_secs(3));
    assert_eq!(watch.next(), None, "one attempt at a time");
    watch.answer(ticket, true);
    assert_eq!(watch.next(), Some(Duration::from_secs(7)));
    watch.pass(Duration::from_secs(7));
    let ticket = watch.due()[0];
    watch.pass(PERIOD * 2);
    watch.answer(ticket, true);
    assert_eq!(watch.next(), Some(Duration::ZERO), "periods that were missed are not made up for");
}

#[test]
fn all_gates_have_to_pass() {
    let mut watch = Watch::over(&[named("one", readiness(1, 3)), named("two", readiness(1, 3))]);
    let [one, two] = watch.due()[..] else { panic!("both are due") };
    assert_eq!(watch.answer(one, true), []);
    assert_eq!(watch.answer(two, true), [Finding::Passed]);
    watch.pass(PERIOD);
    assert_eq!(watch.round(true), [], "it is told once");
}

#[test]
fn without_gates_nothing_is_waited_for() {
    let mut watch = Watch::over(&[probe(ProbeKind::Liveness)]);
    assert!(!watch.checks.has_gates());
    assert_eq!(watch.round(true), []);
    assert_eq!(watch.next(), Some(PERIOD), "and nothing else is due");
}

#[test]
fn readiness_that_is_neither_found_nor_lost_ends_by_its_patience() {
    let mut watch = Watch::over(&[readiness(3, 3)]);
    let began = watch.now;
    let found = loop {
        // Never three of a kind.
        let mut found = watch.round(watch.now.duration_since(began).as_secs().is_multiple_of(20));
        found.extend(watch.checks.wake(watch.now));
        if let Some(found) = found.pop() {
            break found;
        }
        watch.pass(watch.next().expect("it goes on"));
    };
    let words = "readiness probe `readiness-service` has not passed within 61s";
    assert_eq!(found, failed(ProbeKind::Readiness, words));
    assert_eq!(watch.now.duration_since(began), Duration::from_secs(61));
    assert_eq!(watch.checks.wake(watch.now + PERIOD), None, "it is told once");
}

#[test]
fn each_start_begins_anew_and_failures_are_counted_on_while_the_content_is_the_same() {
    let mut watch = Watch::over(&[probe(ProbeKind::Liveness)]);
    for _ in 0..3 {
        watch.round(false);
        watch.pass(PERIOD);
    }
    watch.checks.stop();
    assert_eq!((watch.verdict("liveness-service"), watch.next()), (ProbeVerdict::Pending, None));
    watch.checks.start(watch.now, false);
    assert_eq!(watch.status("liveness-service").consecutive_failures, 3);
    for expected in [ProbeVerdict::Pending, ProbeVerdict::Pending, ProbeVerdict::Failing] {
        watch.round(false);
        watch.pass(PERIOD);
        assert_eq!(watch.verdict("liveness-service"), expected);
    }
    assert_eq!(watch.status("liveness-service").consecutive_failures, 6);
    watch.checks.start(watch.now, true);
    assert_eq!(watch.status("liveness-service").consecutive_failures, 0);
}

#[test]
fn an_answer_to_an_earlier_question_says_nothing() {
    let mut watch = Watch::over(&[readiness(1, 1)]);
    let asked = watch.due()[0];
    watch.checks.start(watch.now, true);
    assert_eq!(watch.answer(asked, false), []);
    assert_eq!(watch.verdict("readiness-service"), ProbeVerdict::Pending);
    watch.round(true);
    watch.pass(PERIOD);
    let asked = watch.due()[0];
    assert_eq!(watch.checks.ask_anew(watch.now), []);
    assert_eq!(watch.answer(asked, true), [], "it was asked before the content changed");
    assert_eq!(watch.verdict("readiness-service"), ProbeVerdict::Passing, "until it is found otherwise");
    assert_eq!(watch.round(true), [Finding::Passed]);
}

#[test]
fn readiness_that_is_asked_anew_fails_anew() {
    let mut watch = Watch::over(&[readiness(1, 2)]);
    watch.round(true);
    watch.pass(PERIOD);
    watch.round(false);
    watch.checks.ask_anew(watch.now);
    assert_eq!(watch.round(false), [], "what failed before does not count");
    watch.pass(PERIOD);
    assert_eq!(watch.round(false).len(), 1);
    assert_eq!(watch.checks.ask_anew(watch.now), []);
    assert!(watch.round(false).is_empty());
    watch.pass(PERIOD);
    assert_eq!(watch.round(false).len(), 1, "also when it was failing all the time");
}

#[test]
fn without_readiness_there_is_nothing_to_find_anew() {
    let mut watch = Watch::over(&[probe(ProbeKind::Startup)]);
    assert_eq!(watch.round(true), [Finding::Passed]);
    assert_eq!(watch.checks.ask_anew(watch.now), [Finding::Passed]);
}

#[test]
fn probes_that_stay_keep_what_they_found_and_new_ones_of_a_serving_program_begin_well() {
    let kept = named("kept", readiness(1, 3));
    let mut watch = Watch::over(&[named("gone", probe(ProbeKind::Liveness)), kept.clone()]);
    assert_eq!(watch.round(true), [Finding::Passed]);
    watch.pass(PERIOD);
    watch.round(false);
    let new = [
        kept,
        named("startup", probe(ProbeKind::Startup)),
        named("ready", readiness(1, 1)),
        named("live", probe(ProbeKind::Liveness)),
    ];
    assert_eq!(watch.checks.replace(&new, watch.now), []);
    assert_eq!(watch.status("kept").consecutive_failures, 1);
    assert_eq!(watch.verdict("startup"), ProbeVerdict::Passing, "it has started long ago");
    assert_eq!(watch.verdict("ready"), ProbeVerdict::Passing);
    assert_eq!(watch.verdict("live"), ProbeVerdict::Pending);
    assert_eq!(watch.due_names(), ["ready", "live"]);
    let ready = Ticket { index: 2, round: watch.checks.round() };
    assert_eq!(watch.answer(ready, false).len(), 1, "and fail like any other");
}

#[test]
fn a_gate_that_is_taken_away_is_passed() {
    let ready = named("ready", readiness(1, 3));
    let mut watch = Watch::over(&[named("start", probe(ProbeKind::Startup)), ready.clone()]);
    assert_eq!(watch.checks.replace(std::slice::from_ref(&ready), watch.now), []);
    assert_eq!(watch.due_names(), ["ready"]);
    assert_eq!(watch.checks.replace(&[], watch.now), [Finding::Passed]);
    assert_eq!(watch.checks.replace(&[], watch.now), []);
}

#[test]
fn a_change_is_noticed_once() {
    let mut watch = Watch::over(&[readiness(1, 3)]);
    assert!(watch.checks.take_changed() && !watch.checks.take_changed());
    watch.round(true);
    assert!(watch.checks.take_changed());
    watch.pass(PERIOD);
    watch.round(true);
    assert!(!watch.checks.take_changed(), "the same again is no news");
    watch.pass(PERIOD);
    watch.round(false);
    assert!(watch.checks.take_changed(), "a failure is, also below the threshold");
}

#[derive(Debug, Clone)]
enum Event {
    Pass(Duration),
    Answer { which: usize, passes: bool },
    Start { other: bool },
    Stop,
    AskAnew,
    Replace(Vec<ProbeKind>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..12_000).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
        8 => any::<(usize, bool)>().prop_map(|(which, passes)| Event::Answer { which, passes }),
        1 => any::<bool>().prop_map(|other| Event::Start { other }),
        1 => Just(Event::Stop),
        1 => Just(Event::AskAnew),
        1 => vec(select(ProbeKind::ALL), 0..4).prop_map(Event::Replace),
    ]
}

impl Watch {
    /// Whoever has something to say is asked, or will be: never twice at a time, and never not at all.
    fn check(&self) -> Result<(), TestCaseError> {
        for check in &self.checks.checks {
            let asks = match (self.checks.stage, check.probe.kind) {
                (Stage::Idle, _) | (Stage::Starting, ProbeKind::Liveness | ProbeKind::Readiness) => false,
                (Stage::Starting, ProbeKind::Startup) => check.goes_on(),
                (Stage::Settling { .. } | Stage::Open, ProbeKind::Startup) => false,
                (Stage::Settling { .. } | Stage::Open, _) => check.goes_on(),
            };
            let asked = usize::from(check.due.is_some()) + usize::from(check.begun.is_some());
            prop_assert_eq!(asked, usize::from(asks), "{:?}", check);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_leaves_a_probe_unasked(events in vec(event(), 1..60)) {
        let mut watch = Watch::over(&[probe(ProbeKind::Startup), probe(ProbeKind::Liveness), probe(ProbeKind::Readiness)]);
        let mut asked = Vec::new();
        for event in events {
            match event {
                Event::Pass(time) => {
                    watch.pass(time);
                    watch.checks.wake(watch.now);
                    asked.extend(watch.due());
                }
                Event::Answer { which, passes } if !asked.is_empty() => {
                    let ticket = asked.swap_remove(which % asked.len());
                    watch.answer(ticket, passes);
                }
                Event::Answer { .. } => {}
                Event::Start { other } => watch.checks.start(watch.now, other),
                Event::Stop => watch.checks.stop(),
                Event::AskAnew => drop(watch.checks.ask_anew(watch.now)),
                Event::Replace(kinds) => {
                    let named = |(at, kind): (usize, &ProbeKind)| named(&at.to_string(), probe(*kind));
                    let probes: Vec<Probe> = kinds.iter().enumerate().map(named).collect();
                    watch.checks.replace(&probes, watch.now);
                }
            }
            watch.check()?;
        }
    }
}
