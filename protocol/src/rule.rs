//! Which of a program's own series become what of a sample, in a line of text: `[NAME=]SELECTOR`.
//!
//! The agent follows such rules, and the control plane holds a deployment's to the same grammar when it is written, so
//! that none starts with a rule that its agents refuse. Errors quote nothing of what was written but single characters
//! and names of the registry: it may be a secret in the wrong field.

mod selector;

use std::str::FromStr;

pub use selector::{Fit, Labels, ParseSelectorError, Selector};

use crate::limits::METRIC_NAME_BYTES;
use crate::metric::Metric;

/// What a rule's series become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One that a program can say by itself.
    Known(Metric),
    /// The histogram that percentiles come from.
    ResponseTime,
    /// One metric of this name.
    Named(String),
    /// Metrics by the series' own names.
    Own,
}

/// The metrics that a program can say by itself, beside `response_time`.
const FILLABLE: [Metric; 4] = [Metric::Requests, Metric::RequestErrors, Metric::RequestsInFlight, Metric::QueueDepth];
const RESPONSE_TIME: &str = "response_time";

/// `[NAME=]SELECTOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub target: Target,
    pub selector: Selector,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseRuleError {
    #[error(transparent)]
    Selector(#[from] ParseSelectorError),
    #[error(
        "`{0}` is not measured by the program: the names that it can fill are requests, request_errors, \
         requests_in_flight, response_time, queue_depth, and those of your own"
    )]
    NotFillable(Metric),
    #[error("a name before `=` has 1 to {METRIC_NAME_BYTES} letters, digits, `_`, `.`, `-`, `:` or `/`")]
    Name,
}

impl Rule {
    /// Whether it is about what the reverse proxy measures.
    #[must_use]
    pub fn is_of_proxy(&self) -> bool {
        self.target.is_of_proxy()
    }
}

impl Target {
    /// What a name stands for, other than [`Target::Own`], which has none.
    ///
    /// # Errors
    /// A program cannot fill it, or it is no name.
    pub fn named(name: &str) -> Result<Self, ParseRuleError> {
        if name == RESPONSE_TIME {
            return Ok(Self::ResponseTime);
        }
        if let Ok(metric) = name.parse::<Metric>() {
            return if FILLABLE.contains(&metric) {
                Ok(Self::Known(metric))
            } else {
                Err(ParseRuleError::NotFillable(metric))
            };
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '/');
        if name.is_empty() || name.len() > METRIC_NAME_BYTES || !name.chars().all(is_plain) {
            return Err(ParseRuleError::Name);
        }
        Ok(Self::Named(name.to_owned()))
    }

    /// Whether it is what the reverse proxy measures.
    #[must_use]
    pub fn is_of_proxy(&self) -> bool {
        match self {
            Self::Known(metric) => *metric != Metric::QueueDepth,
            Self::ResponseTime => true,
            Self::Named(_) | Self::Own => false,
        }
    }
}

impl FromStr for Rule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A `=` of the labels is no name's.
        let head = text.find('{').unwrap_or(text.len());
        let Some((name, selector)) = text[..head].find('=').map(|at| (&text[..at], &text[at + 1..])) else {
            return Ok(Self { target: Target::Own, selector: text.parse()? });
        };
        Ok(Self { target: Target::named(name)?, selector: selector.parse()? })
    }
}

/// Whether a name is one that Outrigger itself gives out, and a program cannot.
#[must_use]
pub fn is_taken(name: &str) -> bool {
    name == RESPONSE_TIME || name.parse::<Metric>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<Rule, ParseRuleError> {
        text.parse()
    }

    #[test]
    fn a_rule_is_a_name_and_a_selector_or_a_selector_alone() {
        assert_eq!(
            rule("queue_depth=jobs{state=\"waiting\"}").map(|rule| rule.target),
            Ok(Target::Known(Metric::QueueDepth))
        );
        assert_eq!(rule("response_time=http.request").map(|rule| rule.target), Ok(Target::ResponseTime));
        assert_eq!(
            rule("mail.waiting=jobs{queue=mail}").map(|rule| rule.target),
            Ok(Target::Named("mail.waiting".into()))
        );
        assert_eq!(rule("jobs{queue=mail}").map(|rule| rule.target), Ok(Target::Own));
    }

    #[test]
    fn a_name_that_the_agent_measures_or_that_is_none_is_refused() {
        assert_eq!(rule("cpu=load"), Err(ParseRuleError::NotFillable(Metric::Cpu)));
        assert_eq!(rule("response_time_p99=x"), Err(ParseRuleError::NotFillable(Metric::ResponseTimeP99)));
        assert!(matches!(rule("=x"), Err(ParseRuleError::Name)));
        assert!(matches!(rule("a b=x"), Err(ParseRuleError::Name)));
        assert!(matches!(rule("x=a b"), Err(ParseRuleError::Selector(_))));
        assert!(is_taken("response_time") && is_taken("cpu") && !is_taken("jobs"));
    }
}
