//! What an agent saw at one moment, and the batches in which it tells.

use crate::histogram::LatencyHistogram;
use crate::metric::Metric;
use crate::time::UnixMillis;

/// One reading of a sandbox. Values are finite; what could not be read is absent, never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub at: UnixMillis,
    /// At most one value per metric.
    pub values: Vec<(Metric, f64)>,
    /// Metrics of the program itself, by name.
    pub custom: Vec<(String, f64)>,
    /// Response times of the requests that ended since the previous sample.
    pub latency: Option<LatencyHistogram>,
}

impl Sample {
    #[must_use]
    pub fn new(at: UnixMillis) -> Self {
        Self { at, values: Vec::new(), custom: Vec::new(), latency: None }
    }

    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.values.iter().find(|(m, _)| *m == metric).map(|(_, v)| *v)
    }

    /// Records a finite value; a value that is not finite is an absence.
    pub fn set(&mut self, metric: Metric, value: f64) {
        if value.is_finite() {
            self.values.push((metric, value));
        }
    }
}

/// Where a batch stands in an agent's stream. The server counts each pair once.
///
/// `epoch` is drawn when the agent process starts and never decreases for one identity; `seq` starts at 1 in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId {
    pub epoch: u64,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MetricBatch {
    pub id: BatchId,
    pub samples: Vec<Sample>,
    /// Samples that the agent had to drop because its spool was full, since the previous batch.
    pub dropped: u64,
}
