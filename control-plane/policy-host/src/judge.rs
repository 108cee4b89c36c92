//! What a guest hands back is looked at here, field by field, before anybody sees it.

use std::time::Duration;

use crate::bindings::outrigger::policy::types as wit;
use crate::fault::{FailureReason, Fault};
use crate::limits::{METRIC_BYTES, REPLICAS, SIGNALS, STATE_BYTES, TEXT_BYTES};
use crate::proposal::Proposal;

/// Turns a guest's answer into a proposal within all limits, or into the fault it is.
pub(crate) fn proposal(raw: wit::Proposal) -> Result<Proposal, Fault> {
    let replicas = replicas(raw.replicas)?;
    if !(0.0..=1.0).contains(&raw.confidence) {
        return Err(nonsense(format!("a confidence of {}; it lies between 0 and 1", raw.confidence)));
    }
    at_most("the reason", raw.reason.len(), TEXT_BYTES, "bytes")?;
    at_most("the state", raw.state.len(), STATE_BYTES, "bytes")?;
    at_most("the list of signals", raw.signals.len(), SIGNALS, "entries")?;
    for (name, value) in &raw.signals {
        at_most("the name of a signal", name.len(), METRIC_BYTES, "bytes")?;
        if value.is_infinite() {
            return Err(nonsense(format!("a signal `{name}` that is infinite")));
        }
    }
    Ok(Proposal {
        replicas,
        confidence: raw.confidence,
        reason: raw.reason,
        signals: raw.signals,
        state: raw.state,
        next_look: raw.next_look_ms.map(Duration::from_millis),
    })
}

/// What a guest said when it could not answer, cut to size.
pub(crate) fn failure(raw: wit::Failure) -> Fault {
    let (reason, message) = match raw {
        wit::Failure::InvalidConfig(message) => (FailureReason::InvalidConfig, message),
        wit::Failure::UnsuitableInput(message) => (FailureReason::UnsuitableInput, message),
        wit::Failure::Internal(message) => (FailureReason::Internal, message),
    };
    Fault::Failure { reason, message: cut(message, TEXT_BYTES) }
}

/// At most `limit` bytes of `text`, cut between characters.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.shrink_to_fit();
    }
    text
}

fn replicas(wanted: f64) -> Result<u32, Fault> {
    let whole = wanted.is_finite() && wanted.fract() == 0.0;
    if !whole || !(0.0..=f64::from(REPLICAS)).contains(&wanted) {
        return Err(nonsense(format!("{wanted} replicas; a whole number from 0 to {REPLICAS} is possible")));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Whole and within range, as was just checked.
    Ok(wanted as u32)
}

fn at_most(what: &str, found: usize, limit: usize, unit: &str) -> Result<(), Fault> {
    if found <= limit {
        Ok(())
    } else {
        Err(Fault::TooLarge { what: format!("{what} has {found} {unit}; at most {limit} are taken") })
    }
}

const fn nonsense(what: String) -> Fault {
    Fault::Nonsense { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(replicas: f64) -> wit::Proposal {
        wit::Proposal {
            replicas,
            confidence: 1.0,
            reason: String::new(),
            signals: Vec::new(),
            state: Vec::new(),
            next_look_ms: Some(1500),
        }
    }

    #[test]
    fn whole_numbers_of_replicas_pass() {
        assert_eq!(proposal(raw(0.0)).unwrap().replicas, 0);
        assert_eq!(proposal(raw(1_000_000.0)).unwrap().replicas, 1_000_000);
        assert_eq!(proposal(raw(3.0)).unwrap().next_look, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn anything_else_is_nonsense() {
        for replicas in [f64::NAN, f64::INFINITY, -1.0, 2.5, 1e18, 1_000_001.0] {
            assert!(matches!(proposal(raw(replicas)), Err(Fault::Nonsense { .. })), "{replicas}");
        }
        for confidence in [f64::NAN, -0.1, 1.1] {
            let odd = wit::Proposal { confidence, ..raw(1.0) };
            assert!(matches!(proposal(odd), Err(Fault::Nonsense { .. })), "{confidence}");
        }
        let odd = wit::Proposal { signals: vec![("cpu".to_owned(), f64::INFINITY)], ..raw(1.0) };
        assert!(matches!(proposal(odd), Err(Fault::Nonsense { .. })));
    }

    #[test]
    fn each_part_has_its_limit() {
        let long = "x".repeat(TEXT_BYTES + 1);
        let cases = [
            wit::Proposal { reason: long.clone(), ..raw(1.0) },
            wit::Proposal { state: vec![0; STATE_BYTES + 1], ..raw(1.0) },
            wit::Proposal { signals: vec![(String::new(), 0.0); SIGNALS + 1], ..raw(1.0) },
            wit::Proposal { signals: vec![(long.clone(), 0.0)], ..raw(1.0) },
        ];
        for case in cases {
            assert!(matches!(proposal(case), Err(Fault::TooLarge { .. })));
        }
        let Fault::Failure { message, .. } = failure(wit::Failure::Internal(long)) else { panic!("a failure") };
        assert_eq!(message.len(), TEXT_BYTES);
    }
}
