//! Lines as the store has them: a header that says what may be found, and a body with all of it, compressed.
//!
//! A body is LZ4 (block format) over: the number of instances and their ids; the number of lines, and of each line its
//! number as a difference, its time as a difference, the place of its instance, a byte with stream, level and what else it
//! is, and its text with its length, or of a gap how many lines are missing. LZ4 and not something that packs tighter: what
//! a thousand programs print in a second is packed on the same two cores that take their samples.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_protocol::id::InstanceId;
use outrigger_protocol::limits::LOG_LINE_BYTES;
use outrigger_protocol::log::{Level, LogStream};
use outrigger_protocol::time::UnixMillis;

use crate::decode::{Reader, write, write_signed};
use crate::line::{LogEntry, LogFilter, LogLine};

/// Bytes of lines after which a segment takes no more: what a search opens at a time.
pub(crate) const SEGMENT_BYTES: usize = 256 * 1024;
/// No segment is larger: one line above the bound, and what merging adds.
const LARGEST_BODY: usize = SEGMENT_BYTES + LOG_LINE_BYTES + 64 * 1024;
/// A line takes five bytes in a body at least.
const MOST_LINES: usize = LARGEST_BODY / 5;
/// Instances that a header names; with more, it may be any.
const NAMED_INSTANCES: usize = 16;
const VERSION: u8 = 1;

const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
const STREAMS: [LogStream; 3] = [LogStream::Stdout, LogStream::Stderr, LogStream::Agent];
/// Beside the bits of the levels: there is a gap among the lines.
const GAP: u8 = 1 << LEVELS.len();

/// The byte of a line: its stream in two bits, its level in three, and these.
const LEVEL_SHIFT: u8 = 2;
const TRUNCATED: u8 = 1 << 5;
const IS_GAP: u8 = 1 << 6;

/// What a segment has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) lines: u64,
    pub(crate) earliest: UnixMillis,
    pub(crate) latest: UnixMillis,
    /// A bit for each level, and [`GAP`].
    levels: u8,
    /// How often its lines were merged into a larger segment.
    pub(crate) tier: u8,
    /// Bytes of the body before and after compression.
    pub(crate) raw: usize,
    pub(crate) packed: usize,
    checksum: u32,
    /// Empty when there are too many to name.
    instances: Vec<InstanceId>,
}

/// A segment that is ready to be written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: Header,
    pub(crate) body: Bytes,
}

impl Segment {
    /// `None` without a line.
    pub(crate) fn pack(lines: &[Arc<LogLine>], tier: u8) -> Option<Self> {
        let (first, last) = (lines.first()?, lines.last()?);
        let mut instances: Vec<InstanceId> = lines.iter().map(|line| line.instance).collect();
        instances.sort_unstable();
        instances.dedup();
        let raw = encode(lines, &instances);
        let body = lz4_flex::block::compress(&raw);
        let times = lines.iter().map(|line| line.at);
        let header = Header {
            first: first.number,
            last: last.number,
            lines: lines.len() as u64,
            earliest: times.clone().min()?,
            latest: times.max()?,
            levels: lines.iter().fold(0, |bits, line| bits | bit(line)),
            tier,
            raw: raw.len(),
            packed: body.len(),
            checksum: crc32fast::hash(&body),
            instances: if instances.len() > NAMED_INSTANCES { Vec::new() } else { instances },
        };
        Some(Self { header, body: body.into() })
    }
}

const fn bit(line: &LogLine) -> u8 {
    match &line.entry {
        LogEntry::Written { level, .. } => 1 << *level as u8,
        LogEntry::Dropped { .. } => GAP,
    }
}

impl Header {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION, self.tier, self.levels];
        out.extend_from_slice(&self.checksum.to_be_bytes());
        let span = self.latest.as_millis() - self.earliest.as_millis();
        let numbers = [self.last - self.first, self.lines, self.earliest.as_millis(), span];
        let sizes = [self.raw as u64, self.packed as u64, self.instances.len() as u64];
        numbers.into_iter().chain(sizes).for_each(|number| write(&mut out, number));
        self.instances.iter().for_each(|instance| out.extend_from_slice(&instance.to_bytes()));
        out.into()
    }

    /// `None` for a row that this program did not write.
    pub(crate) fn decode(last: u64, row: &[u8]) -> Option<Self> {
        let mut row = Reader(row);
        let [VERSION, tier, levels] = row.array()? else { return None };
        let checksum = u32::from_be_bytes(row.array()?);
        let first = last.checked_sub(row.number()?)?;
        let (lines, earliest) = (row.number()?, row.number()?);
        let latest = earliest.checked_add(row.number()?)?;
        let (raw, packed) = (row.up_to(LARGEST_BODY)?, row.up_to(2 * LARGEST_BODY)?);
        let named = row.up_to(NAMED_INSTANCES)?;
        let instances = (0..named).map(|_| row.array().map(InstanceId::from_bytes)).collect::<Option<_>>()?;
        let (earliest, latest) = (UnixMillis::from_millis(earliest), UnixMillis::from_millis(latest));
        let header = Self { first, last, lines, earliest, latest, levels, tier, raw, packed, checksum, instances };
        row.is_empty().then_some(header)
    }

    /// Whether one of its lines may be wanted.
    pub(crate) fn may_have(&self, filter: &LogFilter) -> bool {
        let gaps = if filter.contains.is_none() { GAP } else { 0 };
        let levels = filter.level.map_or(!GAP, |least| (u8::MAX << least as u8) & !GAP);
        let of_instance = self.instances.is_empty()
            || filter.instances.is_empty()
            || filter.instances.iter().any(|wanted| self.instances.contains(wanted));
        of_instance
            && self.levels & (levels | gaps) != 0
            && filter.from.is_none_or(|from| self.latest >= from)
            && filter.until.is_none_or(|until| self.earliest < until)
    }

    /// The lines of its body, in order; `None` when they are not what was written.
    pub(crate) fn unpack(&self, body: &[u8]) -> Option<Vec<Arc<LogLine>>> {
        if crc32fast::hash(body) != self.checksum || body.len() != self.packed {
            return None;
        }
        let raw = lz4_flex::block::decompress(body, self.raw).ok()?;
        let lines = decode(&raw)?;
        let is_whole = lines.first()?.number == self.first && lines.last()?.number == self.last;
        is_whole.then_some(lines)
    }

    /// What stands in the place of lines that cannot be read any more.
    pub(crate) fn gap(&self) -> Arc<LogLine> {
        let instance = self.instances.first().copied().unwrap_or(InstanceId::from_bytes([0; 16]));
        let entry = LogEntry::Dropped { lines: self.lines };
        Arc::new(LogLine { number: self.last, at: self.latest, instance, entry })
    }
}

fn encode(lines: &[Arc<LogLine>], instances: &[InstanceId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEGMENT_BYTES / 4);
    write(&mut out, instances.len() as u64);
    instances.iter().for_each(|instance| out.extend_from_slice(&instance.to_bytes()));
    write(&mut out, lines.len() as u64);
    let (mut number, mut at) = (0, 0_u64);
    for line in lines {
        write(&mut out, line.number - number);
        write_signed(&mut out, line.at.as_millis().wrapping_sub(at).cast_signed());
        (number, at) = (line.number, line.at.as_millis());
        let place = instances.binary_search(&line.instance).expect("every line's instance is in the list");
        write(&mut out, place as u64);
        match &line.entry {
            LogEntry::Written { stream, level, message, truncated } => {
                let truncated = if *truncated { TRUNCATED } else { 0 };
                out.push(*stream as u8 | ((*level as u8) << LEVEL_SHIFT) | truncated);
                write(&mut out, message.len() as u64);
                out.extend_from_slice(message.as_bytes());
            }
            LogEntry::Dropped { lines } => {
                out.push(IS_GAP);
                write(&mut out, *lines);
            }
        }
    }
    out
}

fn decode(raw: &[u8]) -> Option<Vec<Arc<LogLine>>> {
    let mut raw = Reader(raw);
    let count = raw.up_to(MOST_LINES)?;
    let instances: Vec<_> = (0..count).map(|_| raw.array().map(InstanceId::from_bytes)).collect::<Option<_>>()?;
    let count = raw.up_to(MOST_LINES)?;
    let mut lines = Vec::with_capacity(count);
    let (mut number, mut at) = (0_u64, 0_u64);
    for _ in 0..count {
        number = number.checked_add(raw.number()?)?;
        at = at.wrapping_add(raw.signed()?.cast_unsigned());
        let instance = *instances.get(raw.up_to(MOST_LINES)?)?;
        let entry = match raw.byte()? {
            IS_GAP => LogEntry::Dropped { lines: raw.number()? },
            flags => {
                let length = raw.up_to(LOG_LINE_BYTES)?;
                LogEntry::Written {
                    stream: *STREAMS.get(usize::from(flags & 0b11))?,
                    level: *LEVELS.get(usize::from((flags >> LEVEL_SHIFT) & 0b111))?,
                    message: std::str::from_utf8(raw.bytes(length)?).ok()?.into(),
                    truncated: flags & TRUNCATED != 0,
                }
            }
        };
        lines.push(Arc::new(LogLine { number, at: UnixMillis::from_millis(at), instance, entry }));
    }
    raw.is_empty().then_some(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = LogEntry> {
        let written =
            (0..3_usize, 0..5_usize, ".{0,40}", any::<bool>()).prop_map(|(stream, level, text, truncated)| {
                let (stream, level) = (STREAMS[stream], LEVELS[level]);
                LogEntry::Written { stream, level, message: text.into(), truncated }
            });
        prop_oneof![9 => written, 1 => (1..u64::MAX).prop_map(|lines| LogEntry::Dropped { lines })]
    }

    fn lines() -> impl Strategy<Value = Vec<Arc<LogLine>>> {
        let one = (1..1_000_u64, any::<u64>(), 0..20_u8, entry());
        proptest::collection::vec(one, 1..60).prop_map(|all| {
            let mut number = 0;
            let line = |(step, at, instance, entry): (u64, u64, u8, LogEntry)| {
                number += step;
                let instance = InstanceId::from_bytes([instance; 16]);
                Arc::new(LogLine { number, at: UnixMillis::from_millis(at), instance, entry })
            };
            all.into_iter().map(line).collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(lines in lines(), tier: u8) {
            let Segment { header, body } = Segment::pack(&lines, tier).unwrap();
            prop_assert_eq!(Header::decode(header.last, &header.encode()), Some(header.clone()));
            prop_assert_eq!(header.unpack(&body), Some(lines));
        }

        #[test]
        fn a_header_never_hides_a_line_that_is_wanted(lines in lines(), least in 0..5_usize, instance in 0..20_u8, at: u64) {
            let header = Segment::pack(&lines, 0).unwrap().header;
            let at = UnixMillis::from_millis(at);
            for filter in [
                LogFilter::default(),
                LogFilter { level: Some(LEVELS[least]), ..LogFilter::default() },
                LogFilter { instances: vec![InstanceId::from_bytes([instance; 16])], ..LogFilter::default() },
                LogFilter { from: Some(at), contains: Some("a".to_owned()), ..LogFilter::default() },
                LogFilter { until: Some(at), level: Some(LEVELS[least]), ..LogFilter::default() },
            ] {
                prop_assert!(header.may_have(&filter) || !lines.iter().any(|line| filter.accepts(line)));
            }
        }

        #[test]
        fn bytes_of_a_stranger_are_refused_and_not_believed(bytes: Vec<u8>, lines in lines(), at: usize, flip: u8) {
            let _ = Header::decode(7, &bytes);
            let _ = decode(&bytes);
            let Segment { header, body } = Segment::pack(&lines, 0).unwrap();
            let mut damaged = body.to_vec();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            prop_assert_eq!(header.unpack(&damaged).is_some(), flip == 0);
        }
    }

    #[test]
    fn lines_that_are_alike_take_a_fraction() {
        let line = |number: u64| LogLine {
            number,
            at: UnixMillis::from_millis(1_700_000_000_000 + number),
            instance: InstanceId::from_bytes([1; 16]),
            entry: LogEntry::Written {
                stream: LogStream::Stdout,
                level: Level::Info,
                message: format!("GET /api/items/{} 200 in {} ms", number % 97, number % 13).into(),
                truncated: false,
            },
        };
        let lines: Vec<_> = (1..=1_000).map(|number| Arc::new(line(number))).collect();
        let header = Segment::pack(&lines, 0).unwrap().header;
        assert!(header.packed * 3 < header.raw, "{} of {}", header.packed, header.raw);
        assert_eq!((header.first, header.last, header.lines), (1, 1_000, 1_000));
    }
}
