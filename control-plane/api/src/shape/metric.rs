use serde::Serialize;
use utoipa::ToSchema;

/// One metric over time, averaged over the instances.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricSeries {
    pub(crate) metric: String,
    pub(crate) unit: Option<&'static str>,
    pub(crate) step_ms: u64,
    /// Pairs of Unix milliseconds and value; null where nothing is known.
    #[schema(value_type = Vec<Vec<f64>>)]
    pub(crate) points: Vec<(u64, Option<f64>)>,
}
