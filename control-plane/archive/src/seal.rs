//! An hour as a whole: its pieces become one row after the other, each with what is in it once, and its roll-ups are made.
//!
//! The same joins the roll-ups of single hours into the rows of days. It is done some sources at a time, so that a
//! deployment of ten thousand instances takes no more memory than one of a hundred.

use std::collections::BTreeSet;

use bytes::Bytes;
use outrigger_history::{PackedRow, Packer, Row, SourceId};
use outrigger_store::Op;
use tokio::task::spawn_blocking;

use crate::archive::Inner;
use crate::buffer::{SharedBuffer, lock};
use crate::config::period as period_of;
use crate::error::ArchiveError;
use crate::keys::{self, Period, Scope};
use crate::roll::{Assembly, add_to, roll};
use crate::rows::{Batch, Writing, joined};
use crate::stats::Count;
use crate::whole::Whole;

/// Sources that are in memory at a time: 20 MiB of an hour of a dozen metrics.
const BATCH: usize = 64;

/// What became of some sources.
struct Sealed {
    /// Rows by tier, of which the first are those of the period itself.
    tiers: Vec<Vec<PackedRow>>,
    whole: Whole,
    damaged: u64,
}

impl Inner {
    /// Joins the rows of a period, and rolls them up if they are samples. `additions` is how often rows had been added.
    pub(crate) async fn seal(&self, buffer: &SharedBuffer, period: Period, additions: u64) -> Result<(), ArchiveError> {
        let rows = self.rows.of_period(period).await?;
        let old = rows.sequences();
        let rolls = period.scope == Scope::Members && period.tier == 0;
        let sequence = self.next_sequence();
        let steps: Vec<u64> = if rolls { self.steps.iter().skip(1).copied().collect() } else { Vec::new() };
        let mut parts = vec![0; steps.len() + 1];
        let mut made = BTreeSet::new();
        if old.len() > 1 || rolls {
            let slot = steps.first().copied().unwrap_or(period_of(self.step(0)));
            let mut whole = Whole::new(slot, self.config.metrics_of_whole);
            let mut from = Some(SourceId::from_bytes([0; 16]));
            while let Some(first) = from
                && let Some(batch) = rows.batch(first, BATCH).await?
            {
                from = batch.next;
                let (steps, metrics) = (steps.clone(), whole);
                let sealed = spawn_blocking(move || seal_batch(batch, &steps, metrics)).await;
                let sealed = sealed.map_err(|_| ArchiveError::CutOff)?;
                self.stats.add(Count::Damaged, sealed.damaged);
                whole = sealed.whole;
                let _guard = self.writing.lock().await;
                if lock(buffer).gone {
                    return Ok(());
                }
                let mut writing = Writing::new(&self.rows);
                for (at, (packed, part)) in sealed.tiers.into_iter().zip(&mut parts).enumerate() {
                    let place = self.place(period, Scope::Members, at);
                    if at > 0 && !packed.is_empty() {
                        made.insert(place);
                    }
                    writing.rows(&place, sequence, part, packed).await?;
                }
                writing.flush().await?;
            }
            self.stats.add(Count::DroppedValues, whole.left_out);
            if rolls {
                self.write_whole(buffer, period, sequence, &steps, whole, &mut made).await?;
            }
        }
        self.finish(buffer, period, additions, &old, made).await
    }

    /// Where the roll-ups of an hour go, or for 0 the rows of the period itself.
    pub(crate) fn place(&self, period: Period, scope: Scope, at: usize) -> Period {
        if at == 0 {
            return period;
        }
        let tier = u8::try_from(at).unwrap_or(u8::MAX);
        let length = period_of(self.step(at));
        Period { scope, tier, start: period.start - period.start % length, ..period }
    }

    async fn write_whole(
        &self,
        buffer: &SharedBuffer,
        period: Period,
        sequence: u64,
        steps: &[u64],
        whole: Whole,
        made: &mut BTreeSet<Period>,
    ) -> Result<(), ArchiveError> {
        let steps = steps.to_vec();
        let tiers = spawn_blocking(move || {
            let blocks = whole.blocks(&steps).into_iter();
            blocks
                .map(|blocks| {
                    let mut packer = Packer::new(Packer::TARGET);
                    let refused = blocks.iter().filter(|block| packer.push(block).is_err()).count();
                    (packer.finish(), refused as u64)
                })
                .collect::<Vec<_>>()
        });
        let tiers = tiers.await.map_err(|_| ArchiveError::CutOff)?;
        let _guard = self.writing.lock().await;
        if lock(buffer).gone {
            return Ok(());
        }
        let mut writing = Writing::new(&self.rows);
        for (at, (packed, refused)) in tiers.into_iter().enumerate() {
            self.stats.add(Count::Damaged, refused);
            let place = self.place(period, Scope::Whole, at + 1);
            if !packed.is_empty() {
                made.insert(place);
            }
            writing.rows(&place, sequence, &mut 0, packed).await?;
        }
        writing.flush().await
    }

    /// Lets go of the rows that were joined, and notes what is now to be joined itself.
    pub(crate) async fn finish(
        &self,
        buffer: &SharedBuffer,
        period: Period,
        additions: u64,
        old: &[u64],
        made: BTreeSet<Period>,
    ) -> Result<(), ArchiveError> {
        let _guard = self.writing.lock().await;
        let (gone, unchanged) = {
            let buffer = lock(buffer);
            (buffer.gone, buffer.is_unchanged(&period, additions))
        };
        if gone {
            return Ok(());
        }
        let joins = period.tier == 0 || old.len() > 1;
        for sequence in old.iter().filter(|_| joins) {
            self.rows.erase(keys::sequence(&period, *sequence)).await?;
        }
        let mut writing = Writing::new(&self.rows);
        for place in &made {
            writing.push(Op::Put(keys::pending(place), Bytes::new())).await?;
        }
        if unchanged {
            writing.push(Op::Delete(keys::pending(&period))).await?;
        }
        writing.flush().await?;
        self.stats.add(Count::Sealed, 1);
        let mut buffer = lock(buffer);
        let now = self.config.clock.now();
        made.into_iter().for_each(|place| buffer.note(place, now));
        if unchanged {
            buffer.done(&period);
        }
        Ok(())
    }
}

fn seal_batch(batch: Batch, steps: &[u64], mut whole: Whole) -> Sealed {
    let mut damaged = 0;
    let mut rows = Vec::with_capacity(batch.rows.len());
    for row in &batch.rows {
        match Row::parse(&row.bytes) {
            Ok(row) => rows.push(row),
            Err(_) => damaged += 1,
        }
    }
    let mut packers: Vec<Packer> = (0..=steps.len()).map(|_| Packer::new(Packer::TARGET)).collect();
    for source in batch.sources {
        let Some(block) = joined(&rows, source, &mut damaged) else { continue };
        let rolled = if steps.is_empty() { Vec::new() } else { roll(&block, steps) };
        if let Some(first) = rolled.first() {
            add_to(&mut whole, first);
        }
        let tiers = std::iter::once(Some(block)).chain(rolled.into_iter().map(Assembly::block));
        for (packer, block) in packers.iter_mut().zip(tiers) {
            if let Some(block) = block {
                damaged += u64::from(packer.push(&block).is_err());
            }
        }
    }
    Sealed { tiers: packers.into_iter().map(Packer::finish).collect(), whole, damaged }
}
