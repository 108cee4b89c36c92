//! Which segments become one. A program that prints a line a second makes a segment a second: a few bytes each, that
//! compress badly and have to be looked at one by one. As in a log-structured merge tree, so many neighbours of one tier
//! become one of the next, so that a line is written again once per tier and not every time.

use std::ops::Range;

use crate::segment::{Header, SEGMENT_BYTES};

/// Segments of a tier that become one of the next.
pub(crate) const FAN: usize = 16;
/// Segments at the end among which something may be ripe: a few of every tier.
pub(crate) const LOOKED_AT: usize = 4 * FAN;

/// The neighbours in `headers`, which end with the newest, that are to become one; the newest that are.
pub(crate) fn ripe(headers: &[Header]) -> Option<Range<usize>> {
    let mut end = headers.len();
    while end > 0 {
        let tier = headers[end - 1].tier;
        let same = headers[..end].iter().rev().take_while(|header| header.tier == tier).count();
        let run = end - same..end;
        if same >= FAN {
            // The oldest of them: what is left over waits for more.
            let oldest = run.start..run.start + FAN;
            let bytes: usize = headers[oldest.clone()].iter().map(|header| header.raw).sum();
            if bytes <= SEGMENT_BYTES {
                return Some(oldest);
            }
        }
        end = run.start;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use outrigger_protocol::id::InstanceId;
    use outrigger_protocol::time::UnixMillis;

    use super::*;
    use crate::line::{LogEntry, LogLine};
    use crate::segment::Segment;

    fn headers(tiers: &[(u8, usize)]) -> Vec<Header> {
        let line = LogLine {
            number: 1,
            at: UnixMillis::EPOCH,
            instance: InstanceId::from_bytes([0; 16]),
            entry: LogEntry::Dropped { lines: 1 },
        };
        let header = Segment::pack(&[Arc::new(line)], 0).unwrap().header;
        let of_tier = |(tier, raw): &(u8, usize)| {
            let mut header = header.clone();
            (header.tier, header.raw) = (*tier, *raw);
            header
        };
        tiers.iter().map(of_tier).collect()
    }

    #[test]
    fn so_many_small_neighbours_of_a_tier_become_one() {
        assert_eq!(ripe(&headers(&[(0, 100); FAN - 1])), None);
        assert_eq!(ripe(&headers(&[(0, 100); FAN])), Some(0..FAN));
        let mut older = vec![(1, 1_000); FAN];
        older.extend([(0, 100); 3]);
        assert_eq!(ripe(&headers(&older)), Some(0..FAN), "a tier that is behind a younger one");
    }

    #[test]
    fn what_is_large_stays_as_it_is() {
        assert_eq!(ripe(&headers(&[(0, SEGMENT_BYTES / 2); FAN])), None);
        assert_eq!(ripe(&[]), None);
    }
}
