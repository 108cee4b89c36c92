//! Where a deployment's program says things of itself.

use outrigger_catalog::model::{Observation, Scrape};
use outrigger_protocol::time::write_duration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DURATION, Problems};
use crate::text::parse_duration;

/// Where programs usually have it.
const PATH: &str = "/metrics";
/// The port that each instance has of its own.
const OWN_PORT: &str = "$PORT";

/// A port's number, or `$PORT`.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "has to be a port's number, or $PORT")]
enum ScrapePort {
    Number(u16),
    Variable(String),
}

impl Default for ScrapePort {
    fn default() -> Self {
        Self::Variable(OWN_PORT.to_owned())
    }
}

/// The program's metrics page, in Prometheus' text format or in OpenMetrics, on the machine of its instance.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObserveScrape {
    /// $PORT by default, which each instance has of its own, also without `http`.
    #[serde(default)]
    port: ScrapePort,
    /// Path and query; /metrics by default. Not for secrets.
    #[serde(default = "default_path")]
    path: String,
    /// At least so long from one reading to the next; with every sample by default.
    interval: Option<String>,
}

fn default_path() -> String {
    PATH.to_owned()
}

/// What the program says of itself.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Observe {
    scrape: Option<ObserveScrape>,
    /// The program sends StatsD or DogStatsD to where STATSD_HOST and STATSD_PORT, or DD_DOGSTATSD_URL, tell it.
    #[serde(default)]
    statsd: bool,
    /// What becomes what, such as queue_depth=jobs{state="waiting"}; at most 64.
    #[serde(default)]
    metrics: Vec<String>,
}

impl Observe {
    pub(crate) fn check(self, problems: &mut Problems) -> Observation {
        let scrape = self.scrape.map(|scrape| scrape.check(problems));
        Observation { scrape, statsd: self.statsd, metrics: self.metrics }
    }

    pub(crate) fn show(observe: Observation) -> Self {
        let Observation { scrape, statsd, metrics } = observe;
        Self { scrape: scrape.map(ObserveScrape::show), statsd, metrics }
    }
}

impl ObserveScrape {
    fn check(self, problems: &mut Problems) -> Scrape {
        let port = match self.port {
            ScrapePort::Number(number) => Some(number),
            ScrapePort::Variable(name) => {
                problems.parse("observe.scrape.port", Some(&name), "a port's number, or $PORT", |name| {
                    (name == OWN_PORT).then_some(())
                });
                None
            }
        };
        let interval = problems.parse("observe.scrape.interval", self.interval.as_deref(), DURATION, parse_duration);
        Scrape { port, path: self.path, interval }
    }

    fn show(scrape: Scrape) -> Self {
        let Scrape { port, path, interval } = scrape;
        Self {
            port: port.map_or_else(ScrapePort::default, ScrapePort::Number),
            path,
            interval: interval.map(write_duration),
        }
    }
}
