//! What of a program's own metrics becomes what of a sample.
//!
//! A [`Rule`] says where the series that its selector means go: to a metric that Outrigger knows, to a metric of a name
//! of one's own, or each to one by its own name and labels. Without rules for a known metric there are the usual names,
//! most telling first: of each metric, the first usual name that a program has is taken, because many programs count
//! the same requests under several. What the operator's rules select is added up instead.

mod usual;

use outrigger_protocol::rule::{Rule, Selector, Target};

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
            let Ok(target) = Target::named(name) else { continue };
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
    use outrigger_protocol::metric::Metric;

    #[test]
    fn every_usual_name_is_a_rule_for_something_that_can_be_filled() {
        for (name, selectors) in usual::SCRAPED.iter().chain(usual::STATSD) {
            assert!(!matches!(Target::named(name).expect("fillable"), Target::Named(_)), "{name}");
            for selector in *selectors {
                selector.parse::<Selector>().expect(selector);
            }
        }
    }

    #[test]
    fn a_rule_replaces_the_usual_names_and_a_proxy_all_that_it_measures() {
        let targets = |rules: &[&str], proxied| -> Vec<Target> {
            let rules: Vec<Rule> = rules.iter().map(|text| text.parse().expect("a rule")).collect();
            Mapping::of_scrape(&rules, proxied).rules.into_iter().map(|rule| rule.target).collect()
        };
        let requests = Target::Known(Metric::Requests);
        assert!(targets(&[], false).iter().filter(|target| **target == requests).count() > 1);
        assert_eq!(targets(&["requests=a"], false).iter().filter(|target| **target == requests).count(), 1);
        assert!(targets(&[], true).iter().all(|target| *target == Target::Known(Metric::QueueDepth)));
    }
}
