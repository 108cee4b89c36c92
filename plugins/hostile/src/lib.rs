//! A policy that misbehaves on demand, for the tests of the host. It is written against the bindings and not the SDK,
//! which would not let it.
//!
//! `evaluate` and `validate` do what the configuration says, `{"misbehave":"spin"}`; `describe` has no argument, so it
//! does what [`DESCRIBE`] says, which a test overwrites in the finished component.

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all)]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "policy",
    });
}

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::outrigger::policy::evaluator::{Description, Failure, Guest, Input, Needs, Problem, Proposal};
use bindings::outrigger::policy::host::{Level, log};

/// What `describe` does: the text after the colon, up to the first blank. 32 bytes.
static DESCRIBE: [u8; 32] = *b"hostile-describe:well           ";

/// Counts the calls that one instance has seen, which should never be more than one.
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Hostile;

impl Guest for Hostile {
    fn describe() -> Description {
        // Read from memory, where a test may have overwritten it, and not known to the optimiser.
        let text = &black_box(&DESCRIBE)[17..];
        let mut description = Description {
            name: "hostile".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Misbehaves on demand.".to_owned(),
            config_schema: r#"{"type":"object","properties":{"misbehave":{"type":"string"}}}"#.to_owned(),
            needs: nothing(),
        };
        match text.split(|byte| *byte == b' ').next().unwrap_or_default() {
            b"spin" => spin(),
            b"trap" => trap(),
            b"name" => description.name = "Not A Name".to_owned(),
            b"schema" => description.config_schema = "{".to_owned(),
            b"large" => description.summary = "x".repeat(4 * 1024 * 1024),
            _ => {}
        }
        description
    }

    fn validate(config: String) -> Result<Needs, Vec<Problem>> {
        match demand(&config) {
            "validate-spin" => spin(),
            "validate-trap" => trap(),
            "validate-problems" => {
                let problem = Problem { path: "/misbehave".to_owned(), message: "x".repeat(50) };
                Err(vec![problem; 10_000])
            }
            _ => Ok(nothing()),
        }
    }

    fn evaluate(input: Input) -> Result<Proposal, Failure> {
        let mut proposal = Proposal {
            replicas: f64::from(CALLS.fetch_add(1, Ordering::Relaxed) + 1),
            confidence: 1.0,
            reason: "behaves".to_owned(),
            signals: Vec::new(),
            state: Vec::new(),
            next_look_ms: None,
        };
        match demand(&input.config) {
            "spin" => spin(),
            "trap" => trap(),
            "recurse" => proposal.replicas = f64::from(recurse(0)),
            "allocate" => allocate(),
            "allocate-politely" => while Vec::<u8>::new().try_reserve_exact(1 << 20).is_ok_and(|()| grow()) {},
            "nan" => proposal.replicas = f64::NAN,
            "infinite" => proposal.replicas = f64::INFINITY,
            "enormous" => proposal.replicas = 1e18,
            "negative" => proposal.replicas = -1.0,
            "fraction" => proposal.replicas = 1.5,
            "confidence" => proposal.confidence = 7.0,
            "reason" => proposal.reason = "x".repeat(100_000),
            "gigantic-reason" => proposal.reason = "x".repeat(8 * 1024 * 1024),
            "signals" => proposal.signals = vec![("signal".to_owned(), 1.0); 10_000],
            "infinite-signal" => proposal.signals = vec![("signal".to_owned(), f64::INFINITY)],
            "state" => proposal.state = vec![7; 100_000],
            "amplify" => proposal.signals = amplified(),
            // SAFETY: none, which is the point. Nothing reads the text but the host, which has to notice.
            "not-text" => proposal.reason = unsafe { String::from_utf8_unchecked(vec![0xff; 16]) },
            "chatter" => (0..100).for_each(|_| log(Level::Info, "and another thing")),
            "flood" => loop {
                log(Level::Info, "and another thing");
            },
            "flood-bytes" => loop {
                log(Level::Info, &"x".repeat(100_000));
            },
            "gigantic-line" => log(Level::Info, &"x".repeat(8 * 1024 * 1024)),
            "last-words" => {
                log(Level::Error, "the reactor is gone");
                trap();
            }
            "fail" => return Err(Failure::Internal("x".repeat(5000))),
            _ => {}
        }
        Ok(proposal)
    }
}

bindings::export!(Hostile with_types_in bindings);

/// The value of the only member of the configuration.
fn demand(config: &str) -> &str {
    config.split('"').nth(3).unwrap_or_default()
}

fn nothing() -> Needs {
    Needs { series: Vec::new(), history: Vec::new() }
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    std::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

fn recurse(depth: u32) -> u32 {
    let here = black_box([depth; 64]);
    if black_box(true) { recurse(depth + 1) + here[0] } else { depth }
}

fn allocate() -> ! {
    loop {
        black_box(vec![1_u8; 1 << 20]).leak();
    }
}

/// Asks for one more megabyte and keeps it. False when there is none, which a polite guest accepts.
fn grow() -> bool {
    let mut more = Vec::<u8>::new();
    let granted = more.try_reserve_exact(1 << 20).is_ok();
    more.leak();
    granted
}

/// A thousand names of a megabyte each, all in the same place.
fn amplified() -> Vec<(String, f64)> {
    let text: &'static mut [u8] = vec![b'x'; 1 << 20].leak();
    // SAFETY: a thousand owners of one allocation are nothing of the kind. The host stops reading before the instance
    // could free any of them, and the instance ends with the call.
    let name = |_| (unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) }, 1.0);
    (0..1000).map(name).collect()
}
