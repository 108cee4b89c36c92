//! Questions and answers.
//!
//! A tier answers that fits the step and reaches back far enough. Hours that are not sealed yet, and what is in memory,
//! have no roll-ups: there the samples themselves answer, rolled up on the way to the same spans, so that nothing shows
//! where memory ends, or a tier.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_history::query::Grid;
use outrigger_history::{MetricName, Rollup, Row, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use tokio::task::spawn_blocking;

use crate::archive::Inner;
use crate::buffer::{Recent, lock};
use crate::config::{HOUR, hour_of, period};
use crate::cut::by_instance;
use crate::error::{ArchiveError, QueryError};
use crate::fold::{in_memory, line_of, of_instance, of_latency, of_whole, parsed};
use crate::keys::{self, Period, Scope};
use crate::line::{Line, Value, rolled};
use crate::rows::{Batch, metrics_in};
use crate::stats::Count;
use crate::whole::{POOLED, TOTAL, Whole, coarser, kind_of};

/// What is told of the samples of a step. The formulas are in `docs/telemetry.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    Avg,
    Min,
    Max,
    Sum,
    Last,
    Count,
    /// Growth in a second of a metric of the program itself that is a total.
    Rate,
    /// What all instances have together.
    Total,
    /// Quantiles, of response times alone.
    P50,
    P95,
    P99,
}

impl Aggregate {
    pub const ALL: [Self; 11] = [
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Last,
        Self::Count,
        Self::Rate,
        Self::Total,
        Self::P50,
        Self::P95,
        Self::P99,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Last => "last",
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Total => "total",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// The aggregate of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aggregate| aggregate.name() == name)
    }

    pub(crate) const fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.50),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }

    /// As what is told of one series of numbers.
    pub(crate) const fn of_samples(self) -> Option<outrigger_history::query::Aggregate> {
        use outrigger_history::query::Aggregate as Of;
        Some(match self {
            Self::Avg | Self::Total => Of::Avg,
            Self::Min => Of::Min,
            Self::Max => Of::Max,
            Self::Sum => Of::Sum,
            Self::Last => Of::Last,
            Self::Count => Of::Count,
            Self::Rate => Of::Rate,
            Self::P50 | Self::P95 | Self::P99 => return None,
        })
    }
}

/// The name under which response times as a whole are asked for.
pub(crate) const RESPONSE_TIME: &str = "response_time";

/// A question about one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub deployment: DeploymentId,
    /// One instance, or the deployment as a whole.
    pub instance: Option<InstanceId>,
    /// A name of the registry, `response_time`, or one of the program's own.
    pub metric: String,
    pub from: UnixMillis,
    /// Excluded.
    pub to: UnixMillis,
    /// One that gives some hundred points, when absent.
    pub step: Option<Duration>,
    pub aggregate: Aggregate,
}

/// One number a step, or none where nothing is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Where the first step begins: a multiple of the step.
    pub from: UnixMillis,
    pub step: Duration,
    pub points: Vec<Option<f64>>,
    /// The step of the tier that answered.
    pub resolution: Duration,
}

impl Answer {
    /// Each point with where its step begins.
    pub fn timed(&self) -> impl Iterator<Item = (UnixMillis, Option<f64>)> + '_ {
        let step = u64::try_from(self.step.as_millis()).unwrap_or(u64::MAX);
        let times = (0_u64..).map(move |at| self.from.saturating_add(Duration::from_millis(at.saturating_mul(step))));
        times.zip(self.points.iter().copied())
    }
}

/// Points that an answer has at most when no step is given.
const POINTS: u64 = 500;
/// Steps that people read easily, in seconds.
const STEPS: [u64; 14] =
    [1, 2, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 24 * 3_600, 7 * 24 * 3_600];

/// The shortest step of those that people read easily which gives a few hundred points at most.
fn step_for(from: UnixMillis, to: UnixMillis) -> Duration {
    let span = to.since(from).as_secs();
    let fits = STEPS.into_iter().find(|step| span / step <= POINTS);
    Duration::from_secs(fits.unwrap_or(span / POINTS + 1))
}

/// What is asked for: numbers, or the histograms of response times.
enum Wanted {
    Number(MetricName),
    Latency(Aggregate),
}

impl Wanted {
    fn of(query: &Query) -> Result<Self, QueryError> {
        let refused = |instead| QueryError::Aggregate {
            metric: query.metric.clone(),
            aggregate: query.aggregate.name(),
            instead,
        };
        let derived = match query.metric.parse::<Metric>() {
            Ok(Metric::ResponseTimeP50) => Some(Aggregate::P50),
            Ok(Metric::ResponseTimeP95) => Some(Aggregate::P95),
            Ok(Metric::ResponseTimeP99) => Some(Aggregate::P99),
            _ => None,
        };
        match derived {
            Some(quantile) if [Aggregate::Avg, quantile].contains(&query.aggregate) => Ok(Self::Latency(quantile)),
            Some(_) => Err(refused("it is a quantile already; ask for response_time")),
            None if query.metric == RESPONSE_TIME => match query.aggregate {
                Aggregate::Last | Aggregate::Total => {
                    Err(refused("use avg, min, max, sum, count, rate, p50, p95 or p99"))
                }
                aggregate => Ok(Self::Latency(aggregate)),
            },
            None if query.aggregate.quantile().is_some() => {
                Err(refused("quantiles are told of response_time; use avg, min, max, sum, last, count or total"))
            }
            None => Ok(Self::Number(MetricName::new(&query.metric))),
        }
    }
}

/// A question with everything about it decided.
struct Plan {
    query: Query,
    grid: Grid,
    tier: usize,
    /// The span of time that is read: some before the grid, for what grows.
    from: u64,
    to: u64,
    recent: Recent,
}

pub(crate) async fn answer(inner: &Arc<Inner>, query: Query) -> Result<Answer, QueryError> {
    let wanted = Wanted::of(&query)?;
    let step = query.step.unwrap_or_else(|| step_for(query.from, query.to));
    let grid = Grid::new(query.from, query.to, step)?;
    let _permit = inner.permits.acquire().await.map_err(|_| ArchiveError::CutOff)?;
    let tier = inner.config.tiers.choose(inner.config.clock.now(), grid.from(), step);
    let lookback = inner.step(tier).saturating_mul(5);
    let recent = inner.buffers.find(query.deployment).map(|buffer| lock(&buffer).recent());
    let mut recent = recent.unwrap_or(Recent { records: Vec::new(), unsealed: Vec::new() });
    // Of hours whose seconds are gone there are roll-ups alone; what is late is seen when it was added to them.
    let now = inner.config.clock.now();
    recent.unsealed.retain(|hour| !inner.is_past(*hour, now));
    let (from, to) = (grid.from().as_millis().saturating_sub(lookback), grid.to().as_millis());
    let plan = Plan { query, grid, tier, from, to, recent };
    let points = match wanted {
        Wanted::Number(metric) => numbers(inner, &plan, &metric).await?,
        Wanted::Latency(aggregate) => latencies(inner, &plan, aggregate).await?,
    };
    Ok(Answer { from: grid.from(), step, points, resolution: Duration::from_millis(inner.step(tier)) })
}

async fn numbers(inner: &Arc<Inner>, plan: &Plan, metric: &MetricName) -> Result<Vec<Option<f64>>, QueryError> {
    let (grid, aggregate, kind) = (&plan.grid, plan.query.aggregate, kind_of(metric));
    let step = inner.step(plan.tier);
    if let Some(instance) = plan.query.instance {
        let points: Vec<(u64, Rollup)> = of_member(inner, plan, instance.into(), metric).await?;
        return Ok(of_instance(grid, aggregate, kind, step, points)?);
    }
    let whole = of_members::<Rollup>(inner, plan, metric).await?;
    let rolled_to = |points: Vec<(u64, Rollup)>| if plan.tier == 0 { points } else { coarser(step, &points) };
    let (mut pooled, mut totals) = (Line::default(), Line::default());
    if plan.tier > 0 {
        pooled = rolled_up(inner, plan, Scope::Whole, POOLED, metric).await?;
        totals = rolled_up(inner, plan, Scope::Whole, TOTAL, metric).await?;
    }
    pooled.add(rolled_to(whole.pooled(metric)));
    let fine_totals = whole.totals(metric);
    totals.add(match plan.tier {
        0 => fine_totals,
        _ => rolled(&[step], &fine_totals).into_iter().flatten().collect(),
    });
    let slot = if plan.tier == 0 { slot(inner, plan) } else { step };
    Ok(of_whole(grid, aggregate, kind, slot, pooled.into_points(), totals.into_points())?)
}

async fn latencies(inner: &Arc<Inner>, plan: &Plan, aggregate: Aggregate) -> Result<Vec<Option<f64>>, QueryError> {
    // Response times have no name in a row.
    let metric = MetricName::Known(Metric::ResponseTimeP50);
    if let Some(instance) = plan.query.instance {
        let points: Vec<(u64, LatencyHistogram)> = of_member(inner, plan, instance.into(), &metric).await?;
        return Ok(of_latency(&plan.grid, aggregate, &points)?);
    }
    let whole = of_members::<LatencyHistogram>(inner, plan, &metric).await?;
    let mut line = Line::default();
    if plan.tier > 0 {
        line = rolled_up(inner, plan, Scope::Whole, POOLED, &metric).await?;
    }
    line.add(whole.latency());
    Ok(of_latency(&plan.grid, aggregate, line.points())?)
}

/// How long a slot is in which instances are put together: that of the first roll-up, or a shorter step.
fn slot(inner: &Inner, plan: &Plan) -> u64 {
    let step = u64::try_from(plan.grid.step().as_millis()).unwrap_or(u64::MAX);
    let first = inner.steps.get(1).copied().unwrap_or(step);
    if plan.tier > 0 { first } else { step.min(first) }
}

impl Plan {
    /// The hours that samples themselves answer.
    fn fine_hours(&self) -> Vec<u64> {
        if self.tier == 0 {
            let step = usize::try_from(HOUR).unwrap_or(usize::MAX);
            return (hour_of(self.from)..self.to).step_by(step).collect();
        }
        let inside = |hour: &&u64| hour.saturating_add(HOUR) > self.from && **hour < self.to;
        self.recent.unsealed.iter().filter(inside).copied().collect()
    }

    fn place(&self, scope: Scope, tier: usize) -> Period {
        let tier = u8::try_from(tier).unwrap_or(u8::MAX);
        Period { deployment: self.query.deployment, scope, tier, start: 0 }
    }
}

/// The roll-ups of a source, of all hours that are sealed.
async fn rolled_up<V: Value>(
    inner: &Arc<Inner>,
    plan: &Plan,
    scope: Scope,
    source: SourceId,
    metric: &MetricName,
) -> Result<Line<V>, QueryError> {
    let length = period(inner.step(plan.tier));
    let from = plan.from - plan.from % length;
    let place = plan.place(scope, plan.tier);
    let rows = inner.rows.of_source(&place, from, plan.to, source).await?;
    let (metric, fine, to) = (metric.clone(), plan.fine_hours(), plan.to);
    let from = plan.from - plan.from % inner.step(plan.tier).max(1);
    blocking(inner, move |damaged| {
        let mut line = line_of(&parsed(&rows, damaged), source, &metric, damaged);
        line.retain(|at| (from..to).contains(&at) && fine.binary_search(&hour_of(at)).is_err());
        line
    })
    .await
    .map_err(QueryError::from)
}

/// The points of one instance.
async fn of_member<V: Value>(
    inner: &Arc<Inner>,
    plan: &Plan,
    source: SourceId,
    metric: &MetricName,
) -> Result<Vec<(u64, V)>, QueryError> {
    let mut line: Line<V> = Line::default();
    if plan.tier > 0 {
        line = rolled_up(inner, plan, Scope::Members, source, metric).await?;
    }
    let hours = plan.fine_hours();
    let (Some(first), Some(last)) = (hours.first().copied(), hours.last().copied()) else {
        return Ok(line.into_points());
    };
    let place = plan.place(Scope::Members, 0);
    let rows = inner.rows.of_source(&place, first, last.saturating_add(HOUR), source).await?;
    let (records, metric) = (plan.recent.records.clone(), metric.clone());
    let (tier, steps) = (plan.tier, inner.steps.clone());
    let (from, to) = (plan.from - plan.from % inner.step(tier).max(1), plan.to);
    blocking(inner, move |damaged| {
        let mut fine: Line<V> = line_of(&parsed(&rows, damaged), source, &metric, damaged);
        if let Some(memory) = in_memory(&records, Some(source), &metric, damaged).remove(&source) {
            fine.add(memory.into_points());
        }
        let inside = |at: u64| (from..to).contains(&at) && hours.binary_search(&hour_of(at)).is_ok();
        fine.retain(inside);
        let points = match tier {
            0 => fine.into_points(),
            tier => rolled(&steps[1..=tier], fine.points()).pop().unwrap_or_default(),
        };
        line.add(points);
        line.into_points()
    })
    .await
    .map_err(QueryError::from)
}

/// Instances that are decoded at a time.
const BATCH: usize = 256;
/// How often it is begun again when rows are joined while they are read.
const ATTEMPTS: usize = 3;

/// The samples of all instances, of the hours that have no roll-ups or when the finest tier answers.
async fn of_members<V: Value>(inner: &Arc<Inner>, plan: &Plan, metric: &MetricName) -> Result<Whole, QueryError> {
    let (records, name) = (plan.recent.records.clone(), metric.clone());
    let memory = blocking(inner, move |damaged| in_memory::<V>(&records, None, &name, damaged)).await?;
    let memory = Arc::new(memory);
    for _ in 1..ATTEMPTS {
        if let (whole, true) = read_members(inner, plan, metric, &memory).await? {
            return Ok(whole);
        }
    }
    Ok(read_members(inner, plan, metric, &memory).await?.0)
}

/// The instances' samples, and whether no rows went away while they were read.
async fn read_members<V: Value>(
    inner: &Arc<Inner>,
    plan: &Plan,
    metric: &MetricName,
    memory: &Arc<BTreeMap<SourceId, Line<V>>>,
) -> Result<(Whole, bool), QueryError> {
    let (mut whole, mut steady) = (Whole::new(slot(inner, plan), 1), true);
    for hour in plan.fine_hours() {
        let place = Period { start: hour, ..plan.place(Scope::Members, 0) };
        let rows = inner.rows.of_period(place).await?;
        let span = (plan.from.max(hour), plan.to.min(hour.saturating_add(HOUR)));
        let mut rest = Some(SourceId::from_bytes([0; 16]));
        while let Some(from) = rest {
            let batch = rows.batch(from, BATCH).await?;
            // Behind the last row there may be instances that only memory has.
            rest = batch.as_ref().and_then(|batch| batch.next);
            let fold = Fold { batch, from, until: rest, span, metric: metric.clone(), memory: Arc::clone(memory) };
            whole = blocking(inner, move |damaged| fold.into(whole, damaged)).await?;
        }
        steady = steady && (rows.is_complete() || inner.rows.of_period(place).await?.sequences() == rows.sequences());
    }
    Ok((whole, steady))
}

/// Some instances of an hour, in rows and in memory.
struct Fold<V> {
    batch: Option<Batch>,
    from: SourceId,
    /// The first source that belongs to the next one; none when this is the last.
    until: Option<SourceId>,
    span: (u64, u64),
    metric: MetricName,
    memory: Arc<BTreeMap<SourceId, Line<V>>>,
}

impl<V: Value> Fold<V> {
    fn into(self, mut whole: Whole, damaged: &mut u64) -> Whole {
        let Self { batch, from, until, span, metric, memory } = self;
        let (sources, rows) = batch.map_or((Vec::new(), Vec::new()), |batch| (batch.sources, batch.rows));
        let end = until.map_or(Bound::Unbounded, Bound::Excluded);
        let recent = memory.range((Bound::Included(from), end));
        let sources: BTreeSet<SourceId> = sources.into_iter().chain(recent.map(|(source, _)| *source)).collect();
        let rows = parsed(&rows, damaged);
        for source in sources {
            let mut line: Line<V> = line_of(&rows, source, &metric, damaged);
            if let Some(recent) = memory.get(&source) {
                line.add(recent.between(span.0, span.1));
            }
            line.retain(|at| (span.0..span.1).contains(&at));
            V::fold(&metric, line.points(), &mut whole);
        }
        whole
    }
}

/// Runs work on bytes where it does not hold up other tasks, and counts what it could not read.
async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&mut u64) -> T + Send + 'static,
) -> Result<T, ArchiveError> {
    let done = spawn_blocking(move || {
        let mut damaged = 0;
        (work(&mut damaged), damaged)
    });
    let (done, damaged) = done.await.map_err(|_| ArchiveError::CutOff)?;
    inner.stats.add(Count::Damaged, damaged);
    Ok(done)
}

pub(crate) async fn instances(
    inner: &Arc<Inner>,
    deployment: DeploymentId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<InstanceId>, QueryError> {
    let mut found = BTreeSet::new();
    directory(inner, deployment, (from, to), Scope::Members, |row| {
        found.extend(row.blocks().iter().map(|block| InstanceId::from_bytes(block.source().to_bytes())));
    })
    .await?;
    let mut damaged = 0;
    found.extend(by_instance(&recent(inner, deployment), &mut damaged).into_keys());
    inner.stats.add(Count::Damaged, damaged);
    Ok(found.into_iter().collect())
}

pub(crate) async fn metrics(
    inner: &Arc<Inner>,
    deployment: DeploymentId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<String>, QueryError> {
    let (mut found, mut latency) = (BTreeSet::new(), false);
    for scope in [Scope::Members, Scope::Whole] {
        directory(inner, deployment, (from, to), scope, |row| {
            metrics_in(row, &mut found);
            latency = latency || row.blocks().iter().any(|block| matches!(block.latency(), Ok(Some(_))));
        })
        .await?;
    }
    let mut damaged = 0;
    for records in by_instance(&recent(inner, deployment), &mut damaged).into_values() {
        for record in records {
            let read = record.read(|reading| {
                found.extend(reading.values.into_iter().map(|(name, _)| name));
                latency |= reading.latency.is_some();
            });
            damaged += u64::from(read.is_err());
        }
    }
    inner.stats.add(Count::Damaged, damaged);
    let response_time = latency.then(|| RESPONSE_TIME.to_owned());
    Ok(found.iter().map(|name| name.as_str().to_owned()).chain(response_time).collect())
}

/// Gives the rows of a span to `each`: the coarsest roll-ups, and the samples of hours that have none.
async fn directory(
    inner: &Arc<Inner>,
    deployment: DeploymentId,
    (from, to): (UnixMillis, UnixMillis),
    scope: Scope,
    mut each: impl FnMut(&Row<'_>),
) -> Result<(), QueryError> {
    let tier = inner.steps.len().saturating_sub(1);
    let length = period(inner.step(tier));
    let (from, to) = (from.as_millis(), to.as_millis());
    let place = |tier: usize| Period { deployment, scope, tier: u8::try_from(tier).unwrap_or(u8::MAX), start: 0 };
    let mut ranges = vec![keys::rows_between(&place(tier), from - from % length, to)];
    if scope == Scope::Members && tier > 0 {
        let unsealed = inner.buffers.find(deployment).map_or(Vec::new(), |buffer| lock(&buffer).recent().unsealed);
        let inside = |hour: &u64| hour.saturating_add(HOUR) > from && *hour < to;
        let hours = unsealed.into_iter().filter(inside);
        ranges.extend(hours.map(|start| keys::rows_in(&Period { start, ..place(0) })));
    }
    for range in ranges {
        inner
            .rows
            .each(range, |stored| match Row::parse(&stored.bytes) {
                Ok(row) => each(&row),
                Err(_) => inner.stats.add(Count::Damaged, 1),
            })
            .await?;
    }
    Ok(())
}

fn recent(inner: &Inner, deployment: DeploymentId) -> Vec<Bytes> {
    inner.buffers.find(deployment).map_or(Vec::new(), |buffer| lock(&buffer).recent().records)
}
