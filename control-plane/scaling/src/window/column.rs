//! One metric of one instance: a value or nothing per slot, in chunks of a minute.
//!
//! Most metrics of an idle sandbox do not change from one sample to the next (limits, threads, pressure at zero). A
//! chunk in which every value is the same is kept as that value and a bit per slot; the first other value turns it
//! into an array. Chunks that fell out of the window are dropped as newer ones arrive.

use std::collections::VecDeque;

/// Slots of a chunk; not more than there are bits in a [`u64`].
const CHUNK: u64 = SLOTS as u64;
const SLOTS: usize = 60;

#[derive(Debug)]
enum Cells {
    Same {
        present: u64,
        value: f32,
    },
    /// NaN where there is nothing.
    Each(Box<[f32; SLOTS]>),
}

impl Cells {
    fn value(&self, at: u64) -> f32 {
        match self {
            Self::Same { present, value } if present & (1 << at) != 0 => *value,
            Self::Same { .. } => f32::NAN,
            Self::Each(values) => values[index(at)],
        }
    }

    fn set(&mut self, at: u64, new: f32) {
        match self {
            Self::Same { present, value } if *present == 0 || value.to_bits() == new.to_bits() => {
                *present |= 1 << at;
                *value = new;
            }
            Self::Same { .. } => {
                let mut values = Box::new([f32::NAN; SLOTS]);
                for (place, slot) in values.iter_mut().zip(0..) {
                    *place = self.value(slot);
                }
                values[index(at)] = new;
                *self = Self::Each(values);
            }
            Self::Each(values) => values[index(at)] = new,
        }
    }
}

/// A place within a chunk.
fn index(at: u64) -> usize {
    usize::try_from(at % CHUNK).unwrap_or_default()
}

/// The number of the oldest chunk that still counts when `newest` is the newest one.
fn oldest(newest: u64, points: usize) -> u64 {
    newest.saturating_sub((points as u64).div_ceil(CHUNK))
}

#[derive(Debug, Default)]
pub(super) struct Column {
    /// By number, ascending; chunks without a value are left out.
    chunks: VecDeque<(u64, Cells)>,
}

impl Column {
    /// `value` is finite.
    pub(super) fn set(&mut self, slot: u64, value: f32, points: usize) {
        let (number, at) = (slot / CHUNK, slot % CHUNK);
        let place = self.chunks.partition_point(|(other, _)| *other < number);
        if self.chunks.get(place).is_none_or(|(other, _)| *other != number) {
            self.chunks.insert(place, (number, Cells::Same { present: 0, value }));
        }
        self.chunks[place].1.set(at, value);
        let oldest = self.chunks.back().map_or(0, |(newest, _)| oldest(*newest, points));
        while self.chunks.front().is_some_and(|(number, _)| *number < oldest) {
            self.chunks.pop_front();
        }
    }

    /// Whether it has a value in the window that ends at `slot`.
    pub(super) fn reaches(&self, slot: u64, points: usize) -> bool {
        self.chunks.back().is_some_and(|(newest, _)| *newest >= oldest(slot / CHUNK, points))
    }

    /// Writes the values of the slots from `first` on into `out`, NaN where there is nothing.
    pub(super) fn copy_to(&self, first: u64, out: &mut [f32]) {
        out.fill(f32::NAN);
        let end = first.saturating_add(out.len() as u64);
        for (number, cells) in &self.chunks {
            let start = number * CHUNK;
            for slot in start.max(first)..(start + CHUNK).min(end) {
                if let Some(place) = usize::try_from(slot - first).ok().and_then(|at| out.get_mut(at)) {
                    *place = cells.value(slot - start);
                }
            }
        }
    }

    pub(super) fn newest(&self) -> Option<(u64, f32)> {
        let (number, cells) = self.chunks.back()?;
        (0..CHUNK).rev().map(|at| (number * CHUNK + at, cells.value(at))).find(|(_, value)| !value.is_nan())
    }
}

/// In which slots there was a sample.
#[derive(Debug, Default)]
pub(super) struct Presence {
    chunks: VecDeque<(u64, u64)>,
}

impl Presence {
    pub(super) fn contains(&self, slot: u64) -> bool {
        let number = slot / CHUNK;
        let bit = 1 << (slot % CHUNK);
        self.chunks.iter().rev().any(|(other, bits)| *other == number && bits & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether `slot` began a chunk that is newer than all before it.
    pub(super) fn insert(&mut self, slot: u64, points: usize) -> bool {
        let (number, bit) = (slot / CHUNK, 1 << (slot % CHUNK));
        let place = self.chunks.partition_point(|(other, _)| *other < number);
        let began = place == self.chunks.len();
        match self.chunks.get_mut(place) {
            Some((other, bits)) if *other == number => *bits |= bit,
            _ => self.chunks.insert(place, (number, bit)),
        }
        let oldest = self.chunks.back().map_or(0, |(newest, _)| oldest(*newest, points));
        self.chunks.retain(|(number, _)| *number >= oldest);
        began
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_column_gives_back_what_was_put_in(writes in prop::collection::vec((0_u64..400, 0_u8..3), 1..200)) {
            let mut column = Column::default();
            let mut model = BTreeMap::new();
            for (slot, value) in writes {
                column.set(slot, f32::from(value), 1_000);
                model.insert(slot, f32::from(value));
            }
            let mut out = [0.0; 400];
            column.copy_to(0, &mut out);
            for (slot, value) in (0_u64..).zip(out) {
                match model.get(&slot) {
                    Some(expected) => prop_assert_eq!(value, *expected),
                    None => prop_assert!(value.is_nan()),
                }
            }
            prop_assert_eq!(column.newest().map(|(slot, _)| slot), model.keys().last().copied());
        }
    }

    #[test]
    fn a_constant_metric_takes_no_array_and_old_chunks_go() {
        let mut column = Column::default();
        for slot in 0..10_000 {
            column.set(slot, 7.0, 300);
        }
        assert!(column.chunks.len() <= 6, "{}", column.chunks.len());
        assert!(column.chunks.iter().all(|(_, cells)| matches!(cells, Cells::Same { .. })));
    }
}
