//! What a configuration needs to see, and what is wrong with it.

use crate::bindings::outrigger::policy::types;
use crate::{Problem, Span};

/// The metrics that a policy wants in its input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    series: Vec<(String, Span)>,
    history: Vec<(String, Span)>,
}

impl Needs {
    /// No metric at all.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Also this metric at full resolution, `window` back. A metric that is named twice keeps its longer window.
    #[must_use]
    pub fn series(mut self, metric: &str, window: Span) -> Self {
        merge(&mut self.series, metric, window);
        self
    }

    /// Also this metric further back and coarser.
    #[must_use]
    pub fn history(mut self, metric: &str, window: Span) -> Self {
        merge(&mut self.history, metric, window);
        self
    }
}

fn merge(list: &mut Vec<(String, Span)>, metric: &str, window: Span) {
    match list.iter_mut().find(|(name, _)| name == metric) {
        Some((_, longest)) => *longest = (*longest).max(window),
        None => list.push((metric.to_owned(), window)),
    }
}

impl From<Needs> for types::Needs {
    fn from(needs: Needs) -> Self {
        let windows = |list: Vec<(String, Span)>| {
            list.into_iter()
                .map(|(metric, window)| types::MetricWindow { metric, window_ms: window.as_millis() })
                .collect()
        };
        Self { series: windows(needs.series), history: windows(needs.history) }
    }
}

/// What is wrong with a configuration; all of it, not only the first.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a problem at a JSON pointer, such as `/rules/0/above`.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// The problems, if there are any.
    pub fn into_result(self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}
