//! Whatever happens, in whatever order: what must never be true of the effects.

use std::collections::{HashMap, HashSet};

use outrigger_protocol::message::ContentHash;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// A generation more than the newest by this, with one of a few contents; a broken one has none. Nothing more is the
    /// newest again.
    Offer {
        step: u64,
        content: Option<u8>,
    },
    Exit(i32),
    Found(Finding),
    Pass(Duration),
    Interrupt,
    Leave,
    Terms(Terms),
    /// How starts and writes go from now on, and what the disk remembers.
    World {
        starts: bool,
        writes: bool,
        good: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let found = prop_oneof![
        Just(Finding::Passed),
        proptest::sample::select(ProbeKind::ALL).prop_map(|kind| Finding::Failed { kind, words: kind.to_string() }),
    ];
    let strategies = vec![
        ApplyStrategy::Restart { jitter: Duration::ZERO },
        ApplyStrategy::Restart { jitter: Duration::from_secs(4) },
        ApplyStrategy::Signal { signal: 1 },
        ApplyStrategy::File,
        ApplyStrategy::None,
    ];
    let terms = (proptest::sample::select(strategies), any::<bool>(), any::<bool>()).prop_map(
        |(strategy, gated, start_only)| {
            let start_only = if start_only { vec!["A".to_owned()] } else { Vec::new() };
            Terms { strategy, gated, start_only, bake_time: BAKE }
        },
    );
    prop_oneof![
        6 => (0_u64..2, proptest::option::weighted(0.9, 0_u8..4)).prop_map(|(step, content)| Event::Offer { step, content }),
        5 => (0_i32..2).prop_map(Event::Exit),
        5 => found.prop_map(Event::Found),
        5 => (0_u64..4_000).prop_map(|millis| Event::Pass(Duration::from_millis(millis))),
        1 => Just(Event::Interrupt),
        1 => Just(Event::Leave),
        2 => terms.prop_map(Event::Terms),
        1 => any::<(bool, bool, bool)>().prop_map(|(starts, writes, good)| Event::World { starts, writes, good }),
    ]
}

/// The program and the control plane, as far as the rules go.
struct Checked {
    scenario: Scenario,
    runs: bool,
    finished: bool,
    newest: u64,
    content: Option<u8>,
    offers: u64,
    offered: HashMap<Nonce, ContentHash>,
    answered: HashSet<Nonce>,
    starts: bool,
    writes: bool,
}

impl Checked {
    fn new(restart: RestartPolicy) -> Self {
        Self {
            scenario: Scenario::new(restart),
            runs: false,
            finished: false,
            newest: 1,
            content: Some(0),
            offers: 0,
            offered: HashMap::new(),
            answered: HashSet::new(),
            starts: true,
            writes: true,
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), TestCaseError> {
        let now = self.scenario.now;
        let lifecycle = &mut self.scenario.lifecycle;
        match event {
            Event::Offer { step, content } => return self.offer(step, content),
            Event::Exit(code) if self.runs => {
                self.runs = false;
                lifecycle.ended(now, 0.0, Ended { status: ExitStatus::Code(code), uptime: BAKE });
            }
            Event::Found(finding) if self.runs => lifecycle.probed(now, 0.0, finding),
            Event::Pass(time) => self.scenario.pass(time),
            Event::Interrupt => lifecycle.interrupt(now, 2),
            Event::Leave => lifecycle.leave(Outcome::Dismissed),
            Event::Terms(terms) => lifecycle.set_terms(terms),
            Event::World { starts, writes, good } => {
                (self.starts, self.writes) = (starts, writes);
                self.scenario.good = good.then(|| prepared(1, "good"));
            }
            Event::Exit(_) | Event::Found(_) => {}
        }
        self.perform()
    }

    fn offer(&mut self, step: u64, content: Option<u8>) -> Result<(), TestCaseError> {
        self.newest += step;
        let content = if step == 0 { self.content } else { content };
        self.content = content;
        self.offers += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.offers.to_be_bytes());
        let environment = content.map(|content| prepared(self.newest, &format!("content {content}")));
        let config =
            environment.as_ref().map_or(ConfigRef { generation: self.newest, hash: [9; 32] }, |one| one.config());
        let environment = environment.ok_or_else(|| "it breaks a rule".to_owned());
        self.offered.insert(nonce, config.hash);
        let ended = self.finished;
        self.scenario.lifecycle.offer(self.scenario.now, 0.5, config, nonce, environment);
        self.perform()?;
        prop_assert!(ended || self.answered.contains(&nonce), "an offer was not answered");
        Ok(())
    }

    fn perform(&mut self) -> Result<(), TestCaseError> {
        while let Some(effect) = self.scenario.lifecycle.take_effect() {
            let now = self.scenario.now;
            let lifecycle = &mut self.scenario.lifecycle;
            match effect {
                Effect::Start(_) => {
                    prop_assert!(!self.runs, "started twice");
                    prop_assert!(!self.finished && !lifecycle.is_leaving(), "started after the end");
                    self.runs = self.starts;
                    let failure = StartFailure { exit_code: 127, error: "not found".into() };
                    lifecycle.started(now, 0.0, if self.starts { Ok(PID) } else { Err(failure) });
                }
                Effect::Stop | Effect::Signal(_) | Effect::AskAnew => prop_assert!(self.runs, "nothing runs"),
                Effect::WriteFile(_) => {
                    let written = if self.writes { Ok(()) } else { Err("no space".into()) };
                    lifecycle.file_written(now, written);
                }
                Effect::Recall => lifecycle.recalled(now, 0.0, self.scenario.good.clone()),
                Effect::Report { nonce, state, status } => {
                    self.answered.insert(nonce);
                    let failed = status.last_failed.as_ref().map(|failed| failed.config);
                    prop_assert!(state != ApplyState::Failed || failed.is_some(), "a refusal without an error");
                    // Who leaves refuses whatever it is offered.
                    let both = failed.is_some() && failed == status.running && !lifecycle.is_leaving();
                    prop_assert!(!both, "what runs has failed");
                    let wanted = self.offered.get(&nonce).copied();
                    let runs = status.running.map(|running| running.hash);
                    prop_assert!(state != ApplyState::Applied || runs == wanted, "applied, and another runs");
                }
                Effect::Finish(_) => {
                    prop_assert!(!self.finished, "ended twice");
                    self.finished = true;
                }
                Effect::Announce(_) | Effect::Remember(_) => {}
            }
        }
        let waits = self.scenario.lifecycle.next_wake().is_some();
        prop_assert!(waits || self.runs || self.finished || self.scenario.lifecycle.is_waiting(), "nothing follows");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_order_of_events_breaks_the_rules(
        restart in proptest::sample::select(&[RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always][..]),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut checked = Checked::new(restart);
        for event in events {
            checked.happen(event)?;
        }
    }
}
