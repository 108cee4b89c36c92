//! How it goes with the program's own metrics.

use serde::{Deserialize, Serialize};

use crate::requests::scrape::ScrapeFigures;
use crate::requests::statsd::{StatsdAddress, StatsdFigures};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeStatus {
    pub url: String,
    pub answers: u64,
    /// Since the last answer.
    pub failures: u64,
    pub last_error: Option<String>,
    /// Values that are kept of the latest answer, lines of it that could not be read, and what found no place.
    pub series: usize,
    pub malformed: u64,
    pub dropped: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsdStatus {
    pub addresses: Vec<String>,
    pub packets: u64,
    pub metrics: u64,
    pub malformed: u64,
    pub dropped: u64,
    /// Times that more came than is read.
    pub overruns: u64,
}

impl ScrapeStatus {
    #[must_use]
    pub fn new(url: &str, figures: ScrapeFigures) -> Self {
        Self {
            url: url.to_owned(),
            answers: figures.answers,
            failures: figures.failures,
            last_error: figures.last_error,
            series: figures.series,
            malformed: figures.malformed,
            dropped: figures.dropped,
        }
    }

    pub(super) fn words(&self) -> String {
        match &self.last_error {
            Some(error) => format!("{}: {} failures in a row, {error}", self.url, self.failures),
            None => format!(
                "{}: {} answers; of the latest {} values, {} lines malformed, {} dropped",
                self.url, self.answers, self.series, self.malformed, self.dropped
            ),
        }
    }
}

impl StatsdStatus {
    #[must_use]
    pub fn new(addresses: &[StatsdAddress], figures: StatsdFigures) -> Self {
        Self {
            addresses: addresses.iter().map(StatsdAddress::to_string).collect(),
            packets: figures.packets,
            metrics: figures.metrics,
            malformed: figures.malformed,
            dropped: figures.dropped,
            overruns: figures.overruns,
        }
    }

    pub(super) fn words(&self) -> String {
        format!(
            "{}: {} packets, {} metrics, {} lines malformed, {} dropped, {} overruns",
            self.addresses.join(" and "),
            self.packets,
            self.metrics,
            self.malformed,
            self.dropped,
            self.overruns
        )
    }
}
