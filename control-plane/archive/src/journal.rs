//! The journal: what came in lately, as it came, so that a killed process loses seconds.
//!
//! A flush has a number and writes what came in since the one before, of all deployments, one behind the other: rows of
//! `deployment 16 bytes, length varint, records` ([`crate::record`]). A row goes when everything in it stands in other
//! rows. Reading it twice does no harm.

use bytes::Bytes;
use outrigger_history::Packer;
use outrigger_protocol::id::DeploymentId;

use crate::record::{Damaged, Reader, put};

/// Bytes after which a row is closed: what fills its pages in the store.
const ROW_BYTES: usize = Packer::TARGET;

/// Puts the records of deployments into rows. Records are not divided.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Rows {
    pub(crate) fn push(&mut self, deployment: DeploymentId, records: &[u8]) {
        let mut rest = Reader(records);
        while !rest.0.is_empty() {
            let room = ROW_BYTES.saturating_sub(self.open.len() + 20);
            let length = whole_records(rest.0, room);
            if length == 0 {
                // Not even one fits: a new row, and one record in it whatever its size.
                if self.open.is_empty() {
                    let one = first_record(rest.0);
                    self.append(deployment, &mut rest, one);
                }
                self.close();
                continue;
            }
            self.append(deployment, &mut rest, length);
        }
    }

    fn append(&mut self, deployment: DeploymentId, rest: &mut Reader<'_>, length: usize) {
        let length = length.min(rest.0.len());
        if let Ok(records) = rest.bytes(length) {
            self.open.extend(deployment.to_bytes());
            put(&mut self.open, length as u64);
            self.open.extend(records);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.close();
        self.full
    }
}

/// The length of the first record with its own length before it.
fn first_record(records: &[u8]) -> usize {
    let mut reader = Reader(records);
    let length = reader.number().ok().and_then(|length| usize::try_from(length).ok()).unwrap_or(records.len());
    (records.len() - reader.0.len()).saturating_add(length).min(records.len())
}

/// The bytes of as many whole records as fit into `room`.
fn whole_records(records: &[u8], room: usize) -> usize {
    let mut taken = 0;
    while taken < records.len() {
        let next = first_record(&records[taken..]);
        if next == 0 || taken + next > room {
            break;
        }
        taken += next;
    }
    taken
}

/// Takes a row apart into the records of deployments.
///
/// # Errors
/// It ends inside a deployment's part; those before were given to `each`.
pub(crate) fn read(row: &Bytes, mut each: impl FnMut(DeploymentId, Bytes)) -> Result<(), Damaged> {
    let mut reader = Reader(row);
    while !reader.0.is_empty() {
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let length = usize::try_from(reader.number()?).map_err(|_| Damaged)?;
        let records = reader.bytes(length)?;
        each(deployment, row.slice_ref(records));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(lengths: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for length in lengths {
            put(&mut out, *length as u64);
            out.extend(std::iter::repeat_n(7, *length));
        }
        out
    }

    proptest! {
        #[test]
        fn everything_is_in_the_rows_in_order(parts in prop::collection::vec(prop::collection::vec(0_usize..90_000, 0..6), 0..6)) {
            let mut rows = Rows::default();
            let mut expected = Vec::new();
            for lengths in &parts {
                let (deployment, records) = (DeploymentId::generate(), records(lengths));
                rows.push(deployment, &records);
                if !records.is_empty() {
                    expected.push((deployment, records));
                }
            }
            let mut found: Vec<(DeploymentId, Vec<u8>)> = Vec::new();
            for row in rows.finish() {
                prop_assert!(row.len() <= 90_000 + 64);
                read(&Bytes::from(row), |deployment, part| match found.last_mut() {
                    Some((last, records)) if *last == deployment => records.extend(part),
                    _ => found.push((deployment, part.to_vec())),
                }).unwrap();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
