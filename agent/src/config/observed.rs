//! What the program itself says: its `/metrics`, StatsD, and what of it becomes what.

use std::time::Duration;

use clap::Args;
use outrigger_protocol::limits::METRIC_RULES;
use outrigger_protocol::rule::Rule;

use super::args::scrape_interval;
use crate::requests::scrape::{ScrapeConfig, ScrapeUrl};
use crate::requests::statsd::StatsdAddress;

#[derive(Debug, Args)]
pub(super) struct ObservedArgs {
    /// Read the program's own metrics at this URL before each sample, in the text format of Prometheus or in OpenMetrics,
    /// for example http://127.0.0.1:9090/metrics. The usual names become requests, request_errors, requests_in_flight,
    /// response times and queue_depth; --metric takes others.
    #[arg(long, value_name = "URL", help_heading = "Observation")]
    scrape: Option<ScrapeUrl>,

    /// At least so long from one reading of --scrape to the next. [default: with every sample]
    #[arg(long, value_name = "TIME", value_parser = scrape_interval, requires = "scrape", help_heading = "Observation")]
    scrape_interval: Option<Duration>,

    /// Let --scrape name another machine.
    #[arg(long, requires = "scrape", help_heading = "Observation")]
    scrape_remote: bool,

    /// Listen for metrics that the program sends by StatsD or DogStatsD: an IP address and a port, or unix:PATH for a
    /// datagram socket, which is the program's user's alone. Repeatable. The program finds it in STATSD_HOST,
    /// STATSD_PORT and DD_DOGSTATSD_URL, unless it has such variables already.
    #[arg(long, value_name = "ADDRESS", help_heading = "Observation")]
    statsd: Vec<StatsdAddress>,

    /// Let --statsd listen for other machines: whoever reaches it can move the scaling.
    #[arg(long, requires = "statsd", help_heading = "Observation")]
    statsd_remote: bool,

    /// Take a metric of the program's. NAME is requests, request_errors, requests_in_flight, response_time or
    /// queue_depth, instead of the usual names for it, or a name of your own: then all series that are selected are added
    /// up. Without NAME= each is taken by its own name and labels, up to 64 in all. A selector is
    /// METRIC{LABEL="VALUE",…}, with `*` for anything, as in jobs_waiting{queue!="dead"}; counters become rates per
    /// second. Repeatable.
    #[arg(long = "metric", value_name = "[NAME=]SELECTOR", help_heading = "Observation")]
    rules: Vec<Rule>,
}

/// Checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub scrape: Option<ScrapeConfig>,
    pub statsd: Vec<StatsdAddress>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObservedError {
    #[error("--scrape {0} is not this machine's loopback; --scrape-remote allows it")]
    ScrapeRemote(String),
    #[error(
        "--statsd {0} could be reached from other machines, who could then move the scaling; --statsd-remote allows it"
    )]
    StatsdRemote(StatsdAddress),
    #[error("--metric takes from what --scrape or --statsd bring, and neither is given")]
    NoSource,
    #[error("--metric {0}: --proxy measures that; leave out one of them")]
    Proxied(String),
    #[error("--metric can be given {METRIC_RULES} times at most")]
    TooMany,
}

impl ObservedArgs {
    pub(super) fn compile(self, proxied: bool) -> Result<Observed, ObservedError> {
        if let Some(url) = self.scrape.as_ref().filter(|url| !url.is_loopback() && !self.scrape_remote) {
            return Err(ObservedError::ScrapeRemote(url.to_string()));
        }
        if let Some(address) = self.statsd.iter().find(|address| !address.is_local() && !self.statsd_remote) {
            return Err(ObservedError::StatsdRemote(address.clone()));
        }
        if self.scrape.is_none() && self.statsd.is_empty() && !self.rules.is_empty() {
            return Err(ObservedError::NoSource);
        }
        if self.rules.len() > METRIC_RULES {
            return Err(ObservedError::TooMany);
        }
        if let Some(rule) = self.rules.iter().find(|rule| proxied && rule.is_of_proxy()) {
            return Err(ObservedError::Proxied(rule.selector.to_string()));
        }
        let scrape = self.scrape.map(|url| ScrapeConfig { url, interval: self.scrape_interval });
        Ok(Observed { scrape, statsd: self.statsd, rules: self.rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        observed: ObservedArgs,
    }

    fn compiled(arguments: &[&str], proxied: bool) -> Result<Observed, ObservedError> {
        let line = ["agent"].iter().chain(arguments);
        Line::try_parse_from(line).expect("a command line").observed.compile(proxied)
    }

    #[test]
    fn only_loopback_is_asked_and_heard_unless_more_is_asked_for() {
        let url = "http://10.0.0.1:9090/metrics";
        assert_eq!(compiled(&["--scrape", url], false), Err(ObservedError::ScrapeRemote(url.to_owned())));
        assert!(compiled(&["--scrape", url, "--scrape-remote"], false).is_ok());
        assert!(matches!(compiled(&["--statsd", "0.0.0.0:8125"], false), Err(ObservedError::StatsdRemote(_))));
        assert!(compiled(&["--statsd", "0.0.0.0:8125", "--statsd-remote", "--statsd", "unix:/run/s"], false).is_ok());
    }

    #[test]
    fn a_rule_needs_a_source_that_is_not_the_proxy() {
        assert_eq!(compiled(&["--metric", "jobs"], false), Err(ObservedError::NoSource));
        let scrape = ["--scrape", "http://localhost:9090/metrics", "--metric"];
        let with = |rule: &'static str, proxied| compiled(&[&scrape[..], &[rule]].concat(), proxied);
        assert!(with("requests=hits", false).is_ok());
        assert!(matches!(with("requests=hits", true), Err(ObservedError::Proxied(_))));
        assert!(with("queue_depth=jobs", true).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_reason() {
        for (flag, value, reason) in [
            ("--scrape", "https://localhost/metrics", "speaks no TLS"),
            ("--statsd", "8125", "127.0.0.1:8125"),
            ("--metric", "cpu=load", "not measured by the program"),
            ("--metric", "a{b", "end with }"),
        ] {
            let error = Line::try_parse_from(["agent", flag, value]).expect_err("refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
