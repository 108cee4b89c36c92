//! What of a program's own metrics becomes what of a sample.
//!
//! A [`Rule`] says where the series that its selector means go: to a metric that Outrigger knows, to a metric of a name
//! of one's own, or each to one by its own name and labels. Without rules for a known metric there are the usual names,
//! most telling first: of each metric, the first usual name that a program has is taken, because many programs count
//! the same requests under several. What the operator's rules select is added up instead.

mod usual;

use std::str::FromStr;

use outrigger_protocol::limits::METRIC_NAME_BYTES;
use outrigger_protocol::metric::Metric;

use super::selector::{ParseSelectorError, Selector};

/// More rules would make every line of every answer slow.
pub const RULES: usize = 64;

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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRuleError {
    #[error(transparent)]
    Selector(#[from] ParseSelectorError),
    #[error(
        "`{0}` is not measured by the program: the names that it can fill are requests, request_errors, \
         requests_in_flight, response_time, queue_depth, and those of your own"
    )]
    NotFillable(Metric),
    #[error(
        "`{0}` is no name of a metric: expected 1 to {METRIC_NAME_BYTES} letters, digits, `_`, `.`, `-`, `:` or `/`"
    )]
    Name(String),
}

impl Rule {
    /// Whether it is about what the reverse proxy measures.
    #[must_use]
    pub fn is_of_proxy(&self) -> bool {
        self.target.is_of_proxy()
    }
}

impl Target {
    fn is_of_proxy(&self) -> bool {
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
        Ok(Self { target: target(name)?, selector: selector.parse()? })
    }
}

fn target(name: &str) -> Result<Target, ParseRuleError> {
    if name == RESPONSE_TIME {
        return Ok(Target::ResponseTime);
    }
    if let Ok(metric) = name.parse::<Metric>() {
        return if FILLABLE.contains(&metric) {
            Ok(Target::Known(metric))
        } else {
            Err(ParseRuleError::NotFillable(metric))
        };
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':' | '/');
    if name.is_empty() || name.len() > METRIC_NAME_BYTES || !name.chars().all(is_plain) {
        return Err(ParseRuleError::Name(name.to_owned()));
    }
    Ok(Target::Named(name.to_owned()))
}

/// Whether a name is one that Outrigger itself gives out, and a program cannot.
#[must_use]
pub(super) fn is_taken(name: &str) -> bool {
    name == RESPONSE_TIME || name.parse::<Metric>().is_ok()
}

/// A rule with its turn: of one target, only what has the smallest number counts.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) target: Target,
    pub(super) selector: Selector,
    pub(super) rank: u8,
}

/// All rules of one source.
#[derive(Debug)]
pub struct Mapping {
    rules: Vec<Ranked>,
}

impl Mapping {
    /// For what is scraped. With a proxy, what it measures is not taken from elsewhere.
    #[must_use]
    pub fn of_scrape(rules: &[Rule], proxied: bool) -> Self {
        Self::new(rules, usual::SCRAPED, proxied)
    }

    /// For StatsD.
    #[must_use]
    pub fn of_statsd(rules: &[Rule], proxied: bool) -> Self {
        Self::new(rules, usual::STATSD, proxied)
    }

    fn new(rules: &[Rule], usual: &[(&str, &[&str])], proxied: bool) -> Self {
        let own = rules.iter().map(|rule| (rule.target.clone(), rule.selector.clone(), 0));
        let mut compiled: Vec<_> = own.map(|(target, selector, rank)| Ranked { target, selector, rank }).collect();
        for (name, selectors) in usual {
            let Ok(target) = target(name) else { continue };
            if rules.iter().any(|rule| rule.target == target) || (proxied && target.is_of_proxy()) {
                continue;
            }
            for (selector, rank) in selectors.iter().zip(0..) {
                if let Ok(selector) = selector.parse() {
                    compiled.push(Ranked { target: target.clone(), selector, rank });
                }
            }
        }
        Self { rules: compiled }
    }

    pub(super) fn rules(&self) -> &[Ranked] {
        &self.rules
    }
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
        assert!(matches!(rule("=x"), Err(ParseRuleError::Name(_))));
        assert!(matches!(rule("a b=x"), Err(ParseRuleError::Name(_))));
        assert!(matches!(rule("x=a b"), Err(ParseRuleError::Selector(_))));
        assert!(is_taken("response_time") && is_taken("cpu") && !is_taken("jobs"));
    }

    #[test]
    fn every_usual_name_is_a_rule_for_something_that_can_be_filled() {
        for (name, selectors) in usual::SCRAPED.iter().chain(usual::STATSD) {
            assert!(!matches!(target(name).expect("fillable"), Target::Named(_)), "{name}");
            for selector in *selectors {
                selector.parse::<Selector>().expect(selector);
            }
        }
    }

    #[test]
    fn a_rule_replaces_the_usual_names_and_a_proxy_all_that_it_measures() {
        let targets = |rules: &[&str], proxied| -> Vec<Target> {
            let rules: Vec<Rule> = rules.iter().map(|text| rule(text).expect("a rule")).collect();
            Mapping::of_scrape(&rules, proxied).rules.into_iter().map(|rule| rule.target).collect()
        };
        let requests = Target::Known(Metric::Requests);
        assert!(targets(&[], false).iter().filter(|target| **target == requests).count() > 1);
        assert_eq!(targets(&["requests=a"], false).iter().filter(|target| **target == requests).count(), 1);
        assert!(targets(&[], true).iter().all(|target| *target == Target::Known(Metric::QueueDepth)));
    }
}
