//! `outrigger metrics`

use std::time::Duration;

use anyhow::{Context as _, bail};
use outrigger_protocol::time::{UnixMillis, parse_duration, write_duration};
use serde_json::Value;

use super::{id, output, resolve, with_query};
use crate::cli::{Output, Remote};
use crate::console;

/// Columns of a chart.
const WIDTH: usize = 72;
/// From the least to the greatest value.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where nothing is known.
const GAP: char = '·';

#[derive(Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    /// Id or name of a deployment
    deployment: String,
    /// A metric, such as cpu, response_time or one of the program's own; may be given several times
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// From when on: how long ago, such as 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    /// Only before: as `--since`
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How long each point is, such as 1m; by default one that gives a few hundred points
    #[arg(long)]
    step: Option<String>,
    /// What is told of the samples of a step: avg, min, max, sum, last, count, total, rate; of response_time also p50, p95
    /// and p99
    #[arg(long, default_value = "avg")]
    aggregate: String,
    /// Of one instance, by its id, instead of the deployment as a whole
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl MetricsArgs {
    fn parameters(&self, now: UnixMillis) -> Vec<(&'static str, String)> {
        let mut parameters: Vec<(&'static str, String)> =
            self.metric.iter().map(|metric| ("metric", metric.clone())).collect();
        parameters.push(("from", moment(&self.since, now)));
        parameters.push(("aggregate", self.aggregate.clone()));
        let until = self.until.as_deref().map(|until| moment(until, now));
        let optional = [("to", until), ("step", self.step.clone()), ("instance", self.instance.clone())];
        parameters.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        parameters
    }
}

/// How long ago as a time; a time as it is.
fn moment(text: &str, now: UnixMillis) -> String {
    match parse_duration(text) {
        Some(ago) => now.saturating_sub(ago).as_millis().to_string(),
        None => text.to_owned(),
    }
}

pub(crate) async fn run(args: MetricsArgs) -> anyhow::Result<()> {
    let client = args.remote.client()?;
    let deployment = resolve(&client, "/api/deployments", &args.deployment, "deployment").await?;
    let path = format!("/api/deployments/{}/metrics", id(&deployment)?);
    let parameters = args.parameters(UnixMillis::now());
    let given = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let answer = client.get(&with_query(&path, given)).await?;
    if args.remote.output == Output::Json {
        return output::json(&answer);
    }
    let Value::Array(series) = answer else { bail!("the answer is no list of metrics") };
    for (at, one) in series.iter().enumerate() {
        if at > 0 {
            console::line(format_args!(""))?;
        }
        for line in chart(one)? {
            console::line(format_args!("{line}"))?;
        }
    }
    Ok(())
}

/// A heading, the course of the values, and the figures that matter.
fn chart(series: &Value) -> anyhow::Result<[String; 3]> {
    let points = series["points"].as_array().context("the answer has no points")?;
    let values: Vec<Option<f64>> = points.iter().map(|point| point[1].as_f64()).collect();
    let step = Duration::from_millis(series["stepMs"].as_u64().unwrap_or_default());
    let unit = series["unit"].as_str().map_or(String::new(), |unit| format!(" ({unit})"));
    let metric = series["metric"].as_str().unwrap_or_default();
    let aggregate = series["aggregate"].as_str().unwrap_or_default();
    let heading = format!("{metric}{unit}, {aggregate} by {}", write_duration(step));
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let (Some(least), Some(greatest), Some(last)) =
        (known.iter().copied().reduce(f64::min), known.iter().copied().reduce(f64::max), known.last())
    else {
        return Ok([
            heading,
            GAP.to_string().repeat(columns(&values).len()),
            "nothing is known of this time".to_owned(),
        ]);
    };
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let course = columns(&values).into_iter().map(|value| bar(value, least, greatest)).collect();
    let missing = values.len() - known.len();
    let gaps = if missing == 0 { String::new() } else { format!("  without a value {missing} of {}", values.len()) };
    let [least, mean, greatest, last] = [least, mean, greatest, *last].map(number);
    Ok([heading, course, format!("min {least}  mean {mean}  max {greatest}  last {last}{gaps}")])
}

/// As many points as there are columns: the greatest of those that share one, so that no peak is lost.
fn columns(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let width = values.len().min(WIDTH);
    let place = |column: usize| column * values.len() / width.max(1);
    let of = |column| values[place(column)..place(column + 1)].iter().copied().flatten().reduce(f64::max);
    (0..width).map(of).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a handful")]
fn bar(value: Option<f64>, least: f64, greatest: f64) -> char {
    let Some(value) = value else { return GAP };
    let share = if greatest > least { (value - least) / (greatest - least) } else { 0.0 };
    BARS[((share * BARS.len() as f64) as usize).min(BARS.len() - 1)]
}

/// Four digits that matter.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        whole if whole >= 1_000.0 || whole == whole.trunc() => 0,
        hundreds if hundreds >= 100.0 => 1,
        tens if tens >= 1.0 => 2,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chart_shows_the_course_its_figures_and_its_gaps() {
        let points = [Some(1.0), None, Some(4.5), Some(8.0)];
        let points: Vec<_> = (0..4).map(|at| json!([at * 60_000, points[at]])).collect();
        let series =
            json!({ "metric": "cpu", "unit": "percent", "aggregate": "max", "stepMs": 60_000, "points": points });
        let expected = ["cpu (percent), max by 1m", "▁·▅█", "min 1  mean 4.50  max 8  last 8  without a value 1 of 4"];
        assert_eq!(chart(&series).unwrap(), expected);
        let nothing = json!({ "metric": "x", "aggregate": "avg", "stepMs": 1_000, "points": [[0, null]] });
        assert_eq!(chart(&nothing).unwrap(), ["x, avg by 1s", "·", "nothing is known of this time"]);
    }

    #[test]
    fn no_peak_is_lost_when_points_share_a_column() {
        let values: Vec<_> = (0..1_000).map(|at| Some(if at == 777 { 9.0 } else { 1.0 })).collect();
        let columns = columns(&values);
        assert_eq!(columns.len(), WIDTH);
        assert_eq!(columns.iter().filter(|value| **value == Some(9.0)).count(), 1);
    }

    #[test]
    fn a_duration_is_how_long_ago_and_anything_else_a_time() {
        let now = UnixMillis::from_millis(10_000_000);
        assert_eq!(moment("2h", now), "2800000");
        assert_eq!(moment("2026-01-31T12:00:00Z", now), "2026-01-31T12:00:00Z");
    }
}
