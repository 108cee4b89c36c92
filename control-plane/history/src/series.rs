//! What a series is called.

use std::sync::Arc;

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::metric::Metric;

/// Whose series they are: an instance, or a deployment as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId([u8; 16]);

impl SourceId {
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl From<InstanceId> for SourceId {
    fn from(id: InstanceId) -> Self {
        Self(id.to_bytes())
    }
}

impl From<DeploymentId> for SourceId {
    fn from(id: DeploymentId) -> Self {
        Self(id.to_bytes())
    }
}

/// A metric by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetricName {
    Known(Metric),
    /// A metric of the program itself.
    Custom(Arc<str>),
}

impl MetricName {
    /// The metric of the registry that has this name, or else one of the program's own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        name.parse().map_or_else(|_| Self::Custom(Arc::from(name)), Self::Known)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(metric) => metric.name(),
            Self::Custom(name) => name,
        }
    }
}

impl From<Metric> for MetricName {
    fn from(metric: Metric) -> Self {
        Self::Known(metric)
    }
}

/// Which number of a metric a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// A sample as it was taken.
    Value = 0,
    // The others are those of a roll-up.
    Min = 1,
    Max = 2,
    Sum = 3,
    Last = 4,
    Count = 5,
    /// Only of counters.
    First = 6,
    /// Only of counters.
    Increase = 7,
}

impl Field {
    pub const ALL: [Self; 8] =
        [Self::Value, Self::Min, Self::Max, Self::Sum, Self::Last, Self::Count, Self::First, Self::Increase];
}

/// What a column is called inside the block of its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnKey {
    pub metric: MetricName,
    pub field: Field,
}

impl ColumnKey {
    #[must_use]
    pub fn new(metric: impl Into<MetricName>, field: Field) -> Self {
        Self { metric: metric.into(), field }
    }
}

/// Whether a metric only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A level: it goes up and down.
    Gauge,
    /// A total: it grows, and begins again at zero when its program does.
    Counter,
}
