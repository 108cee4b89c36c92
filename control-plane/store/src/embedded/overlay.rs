//! A scratch layer in memory over bytes that must not change: writes stay here, reads see them.
//!
//! redb writes to a file as soon as it opens it (a flag that says "in use", and repairs after a crash). Behind an
//! overlay it may do so freely: a file can be inspected, or read on after its storage has failed, and keep every
//! byte.

use std::collections::BTreeMap;
use std::io;

const CHUNK: u64 = 4096;

/// Reads the layer below: fills the slice from the offset, which lies within the lower length.
type ReadBelow<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<()>;

#[derive(Debug)]
pub(super) struct Overlay {
    chunks: BTreeMap<u64, Box<[u8]>>,
    len: u64,
    /// Bytes of the layer below that still show through; shrinking and growing again must read as zeros.
    below: u64,
}

impl Overlay {
    pub(super) fn new(len: u64) -> Self {
        Self { chunks: BTreeMap::new(), len, below: len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.below = self.below.min(len);
            let mut cut_off = self.chunks.split_off(&(len / CHUNK));
            if let Some(mut edge) = cut_off.remove(&(len / CHUNK)) {
                edge[offset_in_chunk(len)..].fill(0);
                self.chunks.insert(len / CHUNK, edge);
            }
        }
        self.len = len;
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8], below: ReadBelow<'_>) -> io::Result<()> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (chunk, at, piece) in pieces(offset, out.len()) {
            let target = &mut out[piece];
            match self.chunks.get(&chunk) {
                Some(bytes) => target.copy_from_slice(&bytes[at..at + target.len()]),
                None => self.read_through(chunk * CHUNK + at as u64, target, below)?,
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8], below: ReadBelow<'_>) -> io::Result<()> {
        for (chunk, at, piece) in pieces(offset, data.len()) {
            if !self.chunks.contains_key(&chunk) {
                let mut bytes = vec![0; offset_in_chunk(CHUNK - 1) + 1].into_boxed_slice();
                self.read_through(chunk * CHUNK, &mut bytes, below)?;
                self.chunks.insert(chunk, bytes);
            }
            if let Some(bytes) = self.chunks.get_mut(&chunk) {
                bytes[at..at + piece.len()].copy_from_slice(&data[piece]);
            }
        }
        self.len = self.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn read_through(&self, offset: u64, out: &mut [u8], below: ReadBelow<'_>) -> io::Result<()> {
        let shown = self.below.saturating_sub(offset).min(out.len() as u64);
        let (shown, rest) = out.split_at_mut(usize::try_from(shown).unwrap_or(usize::MAX));
        rest.fill(0);
        if shown.is_empty() { Ok(()) } else { below(offset, shown) }
    }
}

fn offset_in_chunk(offset: u64) -> usize {
    // A remainder of 4096 fits every usize.
    usize::try_from(offset % CHUNK).unwrap_or(0)
}

/// Cuts `len` bytes at `offset` at the edges of the chunks: (chunk, offset inside it, part of the slice).
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let at = offset_in_chunk(position);
        let take = (offset_in_chunk(CHUNK - 1) + 1 - at).min(len - done);
        let piece = done..done + take;
        done += take;
        Some((position / CHUNK, at, piece))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let write = (0u64..20_000, proptest::collection::vec(any::<u8>(), 1..9000));
        prop_oneof![write.prop_map(|(at, data)| Step::Write(at, data)), (0u64..30_000).prop_map(Step::SetLen)]
    }

    proptest! {
        #[test]
        fn it_reads_like_a_file_and_leaves_the_layer_below_alone(
            lower in proptest::collection::vec(any::<u8>(), 0..20_000),
            steps in proptest::collection::vec(step(), 1..12),
        ) {
            let below = |offset: u64, out: &mut [u8]| {
                let start = usize::try_from(offset).unwrap();
                out.copy_from_slice(&lower[start..start + out.len()]);
                Ok(())
            };
            let mut overlay = Overlay::new(lower.len() as u64);
            let mut model = lower.clone();
            for step in steps {
                match step {
                    Step::Write(offset, data) => {
                        overlay.write(offset, &data, &below).unwrap();
                        let start = usize::try_from(offset).unwrap();
                        model.resize(model.len().max(start + data.len()), 0);
                        model[start..start + data.len()].copy_from_slice(&data);
                    }
                    Step::SetLen(len) => {
                        overlay.set_len(len);
                        model.resize(usize::try_from(len).unwrap(), 0);
                    }
                }
                let mut all = vec![0; model.len()];
                overlay.read(0, &mut all, &below).unwrap();
                prop_assert!(all == model);
                prop_assert!(overlay.read(1, &mut all, &below).is_err() || model.is_empty());
            }
        }
    }
}
