//! What a policy asks for.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::outrigger::policy::types;
use crate::{Input, Span};

/// A number of replicas and the reason for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Replicas that should run. The host applies the operator's limits.
    pub replicas: u32,
    /// From 0 (a guess) to 1 (certain).
    pub confidence: f64,
    /// One sentence for the person who asks why.
    pub reason: String,
    /// The numbers behind the reason.
    pub signals: Vec<(String, f64)>,
    /// Given back as `input.state` next time.
    pub state: Vec<u8>,
    /// When to ask again, as a wish.
    pub next_look: Option<Span>,
}

impl Proposal {
    /// This many replicas, with full confidence.
    pub fn of(replicas: u32, reason: impl Into<String>) -> Self {
        Self {
            replicas,
            confidence: 1.0,
            reason: reason.into(),
            signals: Vec::new(),
            state: Vec::new(),
            next_look: None,
        }
    }

    /// As many as there are, which is the answer where metrics are missing.
    pub fn hold(input: &Input, reason: impl Into<String>) -> Self {
        Self::of(input.deployment.replicas, reason)
    }

    /// How sure the policy is. Anything outside 0 to 1 is brought there; NaN is 0.
    #[must_use]
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = if confidence.is_nan() { 0.0 } else { confidence.clamp(0.0, 1.0) };
        self
    }

    /// A number that explains the proposal. What is not finite is told as "not known".
    #[must_use]
    pub fn signal(mut self, name: impl Into<String>, value: f64) -> Self {
        self.signals.push((name.into(), if value.is_finite() { value } else { f64::NAN }));
        self
    }

    /// What to remember, as bytes.
    #[must_use]
    pub fn state(mut self, state: Vec<u8>) -> Self {
        self.state = state;
        self
    }

    /// What to remember, as JSON; read back by [`Input::remembered`]. What does not serialise is not remembered.
    #[must_use]
    pub fn remember(self, state: &impl Serialize) -> Self {
        self.state(serde_json::to_vec(state).unwrap_or_default())
    }

    /// When to ask again, as a wish.
    #[must_use]
    pub fn next_look(mut self, wait: Span) -> Self {
        self.next_look = Some(wait);
        self
    }
}

/// A number for a reason: rounded to `decimals` places, so that `{}` writes it without zeros at its end.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    // The sum turns -0 into 0.
    (value * scale).round() / scale + 0.0
}

impl From<Proposal> for types::Proposal {
    fn from(proposal: Proposal) -> Self {
        Self {
            replicas: f64::from(proposal.replicas),
            confidence: proposal.confidence,
            reason: proposal.reason,
            signals: proposal.signals,
            state: proposal.state,
            next_look_ms: proposal.next_look.map(Span::as_millis),
        }
    }
}

impl Input {
    /// What the last proposal [remembered](Proposal::remember); `None` the first time, and when it does not parse,
    /// which happens after a new version of the policy changed its mind about the form.
    pub fn remembered<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.state).ok()
    }
}
