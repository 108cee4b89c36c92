use serde::Serialize;
use utoipa::ToSchema;

/// One metric over time.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricSeries {
    pub(crate) metric: String,
    pub(crate) unit: Option<&'static str>,
    /// What is told of the samples of a step.
    pub(crate) aggregate: &'static str,
    /// The instance that was asked for; null for the deployment as a whole.
    pub(crate) instance: Option<String>,
    pub(crate) step_ms: u64,
    /// The step of what was read: coarser than `stepMs` where the past is kept no finer.
    pub(crate) resolution_ms: u64,
    /// Pairs of Unix milliseconds, where the step begins, and value; null where nothing is known.
    #[schema(value_type = Vec<Vec<f64>>)]
    pub(crate) points: Vec<(u64, Option<f64>)>,
}
