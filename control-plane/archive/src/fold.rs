//! From rows and records to the points of an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use outrigger_history::query::{self, Grid, Points};
use outrigger_history::{Block, BlockView, ColumnKey, Field, Kind, MetricName, Rollup, Row, SourceId, pack};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::time::UnixMillis;

use crate::cut::by_instance;
use crate::line::{Line, Value};
use crate::query::Aggregate;
use crate::rows::Stored;
use crate::whole;

/// Rows of one source, parsed; those of the same period and sequence lie next to each other.
pub(crate) fn line_of<V: Value>(
    rows: &[(u64, u64, Row<'_>)],
    source: SourceId,
    metric: &MetricName,
    damaged: &mut u64,
) -> Line<V> {
    let mut line = Line::default();
    for group in rows.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let views: Vec<&BlockView<'_>> = group.iter().filter_map(|(_, _, row)| row.block(source)).collect();
        // Where the columns of a source did not fit into one row, those of a roll-up may be in two.
        let rejoined = if views.len() > 1 { columns_of(&views, source, metric) } else { None };
        let points = match &rejoined {
            Some(bytes) => Row::parse(bytes).and_then(|row| match row.block(source) {
                Some(view) => V::in_row(view, metric),
                None => Ok(Vec::new()),
            }),
            None => views
                .iter()
                .map(|view| V::in_row(view, metric))
                .find(|found| !matches!(found, Ok(points) if points.is_empty()))
                .unwrap_or(Ok(Vec::new())),
        };
        match points {
            Ok(points) => line.add(points),
            Err(_) => *damaged += 1,
        }
    }
    line
}

/// What several rows have of one metric, as one row; none when it is in one of them alone.
fn columns_of(views: &[&BlockView<'_>], source: SourceId, metric: &MetricName) -> Option<Vec<u8>> {
    let has = |view: &&&BlockView<'_>| view.columns().any(|(key, _)| key.metric == *metric);
    let views: Vec<&&BlockView<'_>> = views.iter().filter(has).collect();
    if views.len() < 2 {
        return None;
    }
    let mut block = Block::new(source, views.first()?.times().ok()?).ok()?;
    for field in Field::ALL {
        let key = ColumnKey::new(metric.clone(), field);
        let values = views.iter().find_map(|view| view.column(&key).ok().flatten());
        if let Some(values) = values {
            block.insert(key, values).ok()?;
        }
    }
    Some(pack::single(&block))
}

/// Parses what can be parsed.
pub(crate) fn parsed<'a>(rows: &'a [Stored], damaged: &mut u64) -> Vec<(u64, u64, Row<'a>)> {
    let mut found = Vec::with_capacity(rows.len());
    for stored in rows {
        match Row::parse(&stored.bytes) {
            Ok(row) => found.push((stored.key.start, stored.key.sequence, row)),
            Err(_) => *damaged += 1,
        }
    }
    found
}

/// What memory has of a metric, by instance; only of one instance when it is named.
pub(crate) fn in_memory<V: Value>(
    buffers: &[Bytes],
    only: Option<SourceId>,
    metric: &MetricName,
    damaged: &mut u64,
) -> BTreeMap<SourceId, Line<V>> {
    let mut lines: BTreeMap<SourceId, Line<V>> = BTreeMap::new();
    for (instance, records) in by_instance(buffers, damaged) {
        let source = SourceId::from(instance);
        if only.is_some_and(|only| only != source) {
            continue;
        }
        let line = lines.entry(source).or_default();
        for record in records {
            let read = record.read(|reading| {
                if let Some(value) = V::in_reading(&reading, metric) {
                    line.set(reading.at.as_millis(), value);
                }
            });
            *damaged += u64::from(read.is_err());
        }
    }
    lines
}

/// How far apart points usually are, and no less than `least`.
fn interval(points: &[(u64, Rollup)], least: u64) -> Duration {
    let mut gaps: Vec<u64> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let middle = gaps.len() / 2;
    let usual = if gaps.is_empty() { least } else { *gaps.select_nth_unstable(middle).1 };
    Duration::from_millis(usual.max(least))
}

/// The points of one instance. `step` is that of the tier.
pub(crate) fn of_instance(
    grid: &Grid,
    aggregate: Aggregate,
    kind: Kind,
    step: u64,
    points: Vec<(u64, Rollup)>,
) -> Result<Vec<Option<f64>>, outrigger_history::QueryError> {
    let Some(wanted) = aggregate.of_samples() else { return Ok(vec![None; grid.points()]) };
    let interval = interval(&points, step);
    let points = points.into_iter().map(|(at, rollup)| (UnixMillis::from_millis(at), rollup));
    query::series(grid, wanted, Points { points, kind, interval })
}

/// The points of a deployment, out of the samples of all its instances by slot, and out of their totals.
pub(crate) fn of_whole(
    grid: &Grid,
    aggregate: Aggregate,
    kind: Kind,
    slot: u64,
    pooled: Vec<(u64, Rollup)>,
    totals: Vec<(u64, Rollup)>,
) -> Result<Vec<Option<f64>>, outrigger_history::QueryError> {
    match aggregate {
        Aggregate::Rate if kind == Kind::Gauge => Err(outrigger_history::QueryError::RateOfGauge),
        Aggregate::Rate => Ok(whole::rates(grid, slot, &pooled)),
        Aggregate::Total => of_instance(grid, Aggregate::Avg, Kind::Gauge, slot, totals),
        _ => of_instance(grid, aggregate, Kind::Gauge, slot, pooled),
    }
}

/// The points of response times, in milliseconds but for their number.
pub(crate) fn of_latency(
    grid: &Grid,
    aggregate: Aggregate,
    points: &[(u64, LatencyHistogram)],
) -> Result<Vec<Option<f64>>, outrigger_history::QueryError> {
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    if let Some(q) = aggregate.quantile() {
        let points = points.iter().map(|(at, histogram)| (UnixMillis::from_millis(*at), histogram));
        let found = query::quantiles(grid, q, points)?;
        return Ok(found.into_iter().map(|value| value.map(millis)).collect());
    }
    let (from, step) = (grid.from().as_millis(), u64::try_from(grid.step().as_millis()).unwrap_or(u64::MAX));
    let mut steps = vec![LatencyHistogram::new(); grid.points()];
    for (at, histogram) in points {
        let place = at.checked_sub(from).and_then(|since| usize::try_from(since / step).ok());
        if let Some(open) = place.and_then(|place| steps.get_mut(place)) {
            open.merge(histogram);
        }
    }
    let told = |histogram: LatencyHistogram| {
        let count = histogram.count();
        if count == 0 {
            return None;
        }
        Some(match aggregate {
            Aggregate::Min => f64::from(histogram.min_us()) / 1e3,
            Aggregate::Max => f64::from(histogram.max_us()) / 1e3,
            Aggregate::Sum => histogram.sum_us() as f64 / 1e3,
            Aggregate::Count => count as f64,
            Aggregate::Rate => count as f64 / grid.step().as_secs_f64(),
            _ => histogram.sum_us() as f64 / 1e3 / count as f64,
        })
    };
    Ok(steps.into_iter().map(told).collect())
}
