//! What comes so late that the seconds of its hour are gone already, as from an agent that was away for a day.
//!
//! There are no samples to roll up anew, and roll-ups that are there cannot be told from those that a repeated sample
//! would make. So what is late fills gaps: a slot of a metric that the instance has no roll-up of gets one, and is added to
//! the deployment as a whole in the same transaction. Where there is one, it stays, up to one slot at either end of the
//! absence.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use outrigger_history::rollup::Mergeable as _;
use outrigger_history::{Kind, MetricName, PackedRow, Packer, Rollup, Row, SourceId};
use outrigger_protocol::histogram::LatencyHistogram;
use outrigger_protocol::metric::Metric;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Op, Transaction};
use tokio::task::spawn_blocking;

use crate::archive::Inner;
use crate::buffer::{SharedBuffer, lock};
use crate::config::{HOUR, MARGIN, period as period_of};
use crate::error::ArchiveError;
use crate::fold::{line_of, parsed};
use crate::keys::{self, Period, Scope};
use crate::roll::{Assembly, roll};
use crate::rows::{Stored, joined};
use crate::stats::Count;
use crate::whole::{POOLED, TOTAL, kind_of, pool};

/// Instances in one transaction: far below what the store takes in one.
const BATCH: usize = 8;

/// What is in the rows of one tier already.
struct Known {
    members: Vec<Stored>,
    whole: Vec<Stored>,
}

impl Inner {
    /// Whether the samples of an hour have gone, or may go at any moment.
    pub(crate) fn is_past(&self, hour: u64, now: UnixMillis) -> bool {
        let horizon = self.config.tiers.finest().horizon(now).saturating_sub(MARGIN);
        hour.saturating_add(HOUR) <= horizon.as_millis()
    }

    pub(crate) async fn backfill(
        &self,
        buffer: &SharedBuffer,
        period: Period,
        additions: u64,
    ) -> Result<(), ArchiveError> {
        let rows = self.rows.of_period(period).await?;
        let steps: Vec<u64> = self.steps.iter().skip(1).copied().collect();
        let mut made = BTreeSet::new();
        let mut from = Some(SourceId::from_bytes([0; 16]));
        while let Some(first) = from
            && let Some(batch) = rows.batch(first, BATCH).await?
        {
            from = batch.next;
            let steps = steps.clone();
            let rolled = spawn_blocking(move || {
                let mut damaged = 0;
                let parsed: Vec<Row<'_>> = parsed(&batch.rows, &mut damaged).into_iter().map(|row| row.2).collect();
                let blocks = batch.sources.iter().filter_map(|source| joined(&parsed, *source, &mut damaged));
                let rolled: Vec<Vec<Assembly>> = blocks.map(|block| roll(&block, &steps)).collect();
                (rolled, damaged)
            });
            let (rolled, damaged) = rolled.await.map_err(|_| ArchiveError::CutOff)?;
            self.stats.add(Count::Damaged, damaged);
            if !self.fill(buffer, period, rolled, &mut made).await? {
                return Ok(());
            }
        }
        self.finish(buffer, period, additions, &rows.sequences(), made).await
    }

    /// Fills gaps with the roll-ups of some instances. False when the deployment was deleted.
    async fn fill(
        &self,
        buffer: &SharedBuffer,
        period: Period,
        rolled: Vec<Vec<Assembly>>,
        made: &mut BTreeSet<Period>,
    ) -> Result<bool, ArchiveError> {
        let _guard = self.writing.lock().await;
        if lock(buffer).gone {
            return Ok(false);
        }
        let (now, sequence) = (self.config.clock.now(), self.next_sequence());
        let mut tiers: Vec<Vec<Assembly>> = Vec::new();
        for instance in rolled {
            tiers.resize_with(tiers.len().max(instance.len()), Vec::new);
            for (tier, assembly) in tiers.iter_mut().zip(instance) {
                tier.push(assembly);
            }
        }
        let mut transaction = Transaction::new();
        for (at, late) in tiers.into_iter().enumerate().map(|(at, late)| (at + 1, late)) {
            let (members, whole) = (self.place(period, Scope::Members, at), self.place(period, Scope::Whole, at));
            let kept = self.config.tiers.as_slice().get(at).map_or(now, |tier| tier.horizon(now));
            if members.start.saturating_add(period_of(self.step(at))) <= kept.as_millis() {
                continue;
            }
            let known = self.known(&members, &whole, &late).await?;
            let filled = spawn_blocking(move || fill_tier(late, &known)).await.map_err(|_| ArchiveError::CutOff)?;
            self.stats.add(Count::Damaged, filled.damaged);
            for (place, rows) in [(members, filled.members), (whole, filled.whole)] {
                if !rows.is_empty() {
                    transaction = transaction.put(keys::pending(&place), Bytes::new());
                    made.insert(place);
                }
                for (part, row) in (0..).zip(rows) {
                    let (key, bytes) = self.rows.keyed(&place, sequence, part, row);
                    transaction = transaction.op(Op::Put(keys::row(&place, &key), bytes));
                }
            }
        }
        if !transaction.ops().is_empty() {
            self.rows.store.commit(transaction).await.map_err(ArchiveError::store("write"))?;
        }
        Ok(true)
    }

    async fn known(&self, members: &Period, whole: &Period, late: &[Assembly]) -> Result<Known, ArchiveError> {
        let mut known = Known { members: Vec::new(), whole: Vec::new() };
        let end = |place: &Period| place.start.saturating_add(1);
        for assembly in late {
            known.members.extend(self.rows.of_source(members, members.start, end(members), assembly.source).await?);
        }
        // Instances share rows.
        known.members.sort_unstable_by_key(|row| (row.key.sequence, row.key.part));
        known.members.dedup_by_key(|row| (row.key.sequence, row.key.part));
        known.whole = self.rows.of_source(whole, whole.start, end(whole), POOLED).await?;
        known.whole.extend(self.rows.of_source(whole, whole.start, end(whole), TOTAL).await?);
        known.whole.sort_unstable_by_key(|row| (row.key.sequence, row.key.part));
        known.whole.dedup_by_key(|row| (row.key.sequence, row.key.part));
        Ok(known)
    }
}

struct Filled {
    members: Vec<PackedRow>,
    whole: Vec<PackedRow>,
    damaged: u64,
}

/// What a deployment as a whole has at the slots that were filled.
#[derive(Default)]
struct Patch {
    pooled: BTreeMap<MetricName, BTreeMap<u64, Rollup>>,
    totals: BTreeMap<MetricName, BTreeMap<u64, Rollup>>,
    latency: BTreeMap<u64, LatencyHistogram>,
}

fn fill_tier(late: Vec<Assembly>, known: &Known) -> Filled {
    let (mut damaged, mut patch, mut gaps) = (0, Patch::default(), Vec::new());
    let members = parsed(&known.members, &mut damaged);
    let whole = parsed(&known.whole, &mut damaged);
    let response_times = MetricName::Known(Metric::ResponseTimeP50);
    for mut assembly in late {
        for (metric, (_, points)) in &mut assembly.series {
            let there = line_of::<Rollup>(&members, assembly.source, metric, &mut damaged).times();
            points.retain(|at, _| !there.contains(at));
        }
        let there = line_of::<LatencyHistogram>(&members, assembly.source, &response_times, &mut damaged).times();
        assembly.latency.retain(|at, _| !there.contains(at));
        assembly.series.retain(|_, (_, points)| !points.is_empty());
        patch.add(&assembly, &whole, &mut damaged);
        gaps.extend(assembly.block());
    }
    let mut packer = Packer::new(Packer::TARGET);
    damaged += gaps.iter().filter(|block| packer.push(block).is_err()).count() as u64;
    let members = packer.finish();
    let mut packer = Packer::new(Packer::TARGET);
    for block in patch.assemblies().into_iter().filter_map(Assembly::block) {
        damaged += u64::from(packer.push(&block).is_err());
    }
    Filled { members, whole: packer.finish(), damaged }
}

impl Patch {
    /// Adds an instance's slots to what the whole has of them.
    fn add(&mut self, assembly: &Assembly, whole: &[(u64, u64, Row<'_>)], damaged: &mut u64) {
        for (metric, (_, points)) in &assembly.series {
            let there = line_of::<Rollup>(whole, POOLED, metric, damaged);
            let pooled = self.pooled.entry(metric.clone()).or_default();
            for (at, rollup) in points {
                let before = pooled.get(at).copied().or_else(|| there.at(*at));
                pooled.insert(*at, before.map_or(*rollup, |before| pool(&before, rollup)));
            }
            let there = line_of::<Rollup>(whole, TOTAL, metric, damaged);
            let totals = self.totals.entry(metric.clone()).or_default();
            for (at, rollup) in points {
                let before = totals.get(at).copied().or_else(|| there.at(*at));
                let total =
                    before.map_or_else(|| Rollup::of(rollup.mean()), |total| Some(raised(&total, rollup.mean())));
                totals.extend(total.map(|total| (*at, total)));
            }
        }
        let response_times = MetricName::Known(Metric::ResponseTimeP50);
        let there = line_of::<LatencyHistogram>(whole, POOLED, &response_times, damaged);
        for (at, histogram) in &assembly.latency {
            let slot = self.latency.entry(*at).or_insert_with(|| there.at(*at).unwrap_or_default());
            slot.merge_later(histogram);
        }
    }

    fn assemblies(self) -> [Assembly; 2] {
        let (mut pooled, mut totals) = (Assembly::new(POOLED), Assembly::new(TOTAL));
        pooled.latency = self.latency;
        pooled.series =
            self.pooled.into_iter().map(|(name, points)| (name.clone(), (kind_of(&name), points))).collect();
        totals.series = self.totals.into_iter().map(|(name, points)| (name, (Kind::Gauge, points))).collect();
        [pooled, totals]
    }
}

/// Totals with one instance more, which had `by` all the time.
fn raised(total: &Rollup, by: f64) -> Rollup {
    Rollup {
        min: total.min + by,
        max: total.max + by,
        sum: total.sum + by * total.count as f64,
        first: total.first + by,
        last: total.last + by,
        ..*total
    }
}
