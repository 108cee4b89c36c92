//! What a deployment may ask of its program's own metrics: what its agents would take, so that none starts with a
//! command line that it refuses.

use outrigger_protocol::limits::METRIC_RULES;
use outrigger_protocol::rule::Rule;

use super::{Problems, SCRAPE_INTERVALS};
use crate::model::{DeploymentSpec, Scrape};

const PATH_BYTES: usize = 1024;

impl Problems {
    pub(super) fn observation(&mut self, spec: &DeploymentSpec) {
        let observe = &spec.observe;
        if let Some(scrape) = &observe.scrape {
            self.scrape(scrape);
        }
        let rules = &observe.metrics;
        self.require(rules.len() <= METRIC_RULES, "observe.metrics", || {
            format!("must have at most {METRIC_RULES} elements, not {}", rules.len())
        });
        self.require(rules.is_empty() || observe.scrape.is_some() || observe.statsd, "observe.metrics", || {
            "take from what observe.scrape or observe.statsd bring: ask for one of them".to_owned()
        });
        for (at, rule) in rules.iter().enumerate().take(METRIC_RULES) {
            if let Some(problem) = problem_of(rule, spec.http) {
                self.add(format!("observe.metrics[{at}]"), problem);
            }
        }
    }

    fn scrape(&mut self, scrape: &Scrape) {
        self.require(scrape.port != Some(0), "observe.scrape.port", || "must be 1 to 65535, or `$PORT`".to_owned());
        // RFC 3986, 3.3 and 3.4.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        let path = &scrape.path;
        self.require(path.starts_with('/') && path.bytes().all(is_plain), "observe.scrape.path", || {
            "must begin with `/` and have only characters of a URL's path and query: encode others".to_owned()
        });
        self.require(path.len() <= PATH_BYTES, "observe.scrape.path", || {
            format!("must have at most {PATH_BYTES} bytes, not {}", path.len())
        });
        if let Some(interval) = scrape.interval {
            self.span("observe.scrape.interval", interval, *SCRAPE_INTERVALS.start(), *SCRAPE_INTERVALS.end());
        }
    }
}

/// What is wrong with a rule of a deployment whose requests are measured by a proxy, or not.
fn problem_of(text: &str, proxied: bool) -> Option<String> {
    if text.chars().any(char::is_control) {
        return Some("must not contain control characters".to_owned());
    }
    match text.parse::<Rule>() {
        Err(error) => Some(error.to_string()),
        Ok(rule) if proxied && rule.is_of_proxy() => {
            Some("is measured by the proxy that `http` puts before the program: leave out one of them".to_owned())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_held_to_the_agents_grammar_and_never_quoted() {
        for good in ["jobs", "queue_depth=jobs{state=\"waiting\"}", "mail.waiting=jobs{queue!=mail}", "app_*"] {
            assert_eq!(problem_of(good, true), None, "{good}");
        }
        for bad in ["", "canary{", "canary{canary}", "canary canary", "can ary=a", "cpu=canary", "canary\0", "x=a\n"] {
            let problem = problem_of(bad, false).expect(bad);
            assert!(!problem.contains("canary"), "{problem}");
        }
        assert!(problem_of("requests=hits", true).expect("refused").contains("proxy"));
        assert_eq!(problem_of("requests=hits", false), None);
    }
}
