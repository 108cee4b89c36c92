//! From chunks of output to records.

use std::collections::VecDeque;
use std::sync::Arc;

use outrigger_protocol::limits::LOG_LINE_BYTES;
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::time::UnixMillis;

use super::level;
use super::lines::{LineSplitter, to_text};
use super::mask::{Masker, SecretSet};
use super::plain::PlainText;
use super::rate::{Gate, TokenBucket};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Lines that pass in the long run, and at once.
    pub lines_per_second: u64,
    pub lines_burst: u64,
    /// Bytes that pass in the long run, and at once.
    pub bytes_per_second: u64,
    pub bytes_burst: u64,
    /// Bytes of records that wait to be drained.
    pub pending_bytes: usize,
}

impl Default for LogLimits {
    /// 1,000 lines and 256 KiB a second, five times as much at once, 1 MiB waiting.
    fn default() -> Self {
        Self {
            lines_per_second: 1_000,
            lines_burst: 5_000,
            bytes_per_second: 256 * 1024,
            bytes_burst: 5 * 256 * 1024,
            pending_bytes: 1024 * 1024,
        }
    }
}

/// What [`LogPipeline::drain`] hands out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRecords {
    /// In the order in which their lines ended.
    pub records: Vec<LogRecord>,
    /// Lines that the rate limit or a full queue dropped since the previous drain.
    pub dropped: u64,
}

impl LogRecords {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.dropped == 0
    }
}

/// Lines, masked and judged, out of the program's two streams. Pure: it touches neither a pipe nor a clock.
#[derive(Debug)]
pub struct LogPipeline {
    stdout: Stream,
    stderr: Stream,
    outlet: Outlet,
    /// Between two stages; kept for its memory.
    plain: Vec<u8>,
    masked: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    plain: PlainText,
    masker: Masker,
    lines: LineSplitter,
    place: Place,
}

/// Where in a line the stream is. A line's end is one for every machine: there each of them begins anew, so that what is
/// dropped as a whole need not pass through them. That is what makes a storm cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// In a line that was let through.
    Within,
    /// In a line that was let through and is as long as lines may be.
    Beyond,
    /// In a line that is dropped.
    Dropped,
}

/// Where lines become records.
#[derive(Debug)]
struct Outlet {
    gate: Gate,
    pending: VecDeque<LogRecord>,
    pending_bytes: usize,
    max_pending_bytes: usize,
    dropped: u64,
}

/// Memory that a scratch buffer keeps after an exceptionally large chunk.
const KEPT_BYTES: usize = 16 * 1024;

impl LogPipeline {
    #[must_use]
    pub fn new(limits: LogLimits, secrets: Arc<SecretSet>) -> Self {
        let stream = || Stream {
            plain: PlainText::default(),
            masker: Masker::new(Arc::clone(&secrets)),
            lines: LineSplitter::new(LOG_LINE_BYTES),
            place: Place::Start,
        };
        Self {
            stdout: stream(),
            stderr: stream(),
            outlet: Outlet {
                gate: Gate::new(
                    TokenBucket::new(limits.lines_per_second, limits.lines_burst),
                    TokenBucket::new(limits.bytes_per_second, limits.bytes_burst),
                ),
                pending: VecDeque::new(),
                pending_bytes: 0,
                max_pending_bytes: limits.pending_bytes,
                dropped: 0,
            },
            plain: Vec::new(),
            masked: Vec::new(),
        }
    }

    /// Takes what was read from a stream. Bytes of [`LogStream::Agent`] are taken for lines of their own: see
    /// [`note`](Self::note).
    pub fn feed(&mut self, stream: LogStream, chunk: &[u8], now: UnixMillis) {
        let Self { stdout, stderr, outlet, plain, masked } = self;
        let source = match stream {
            LogStream::Stdout => stdout,
            LogStream::Stderr => stderr,
            LogStream::Agent => {
                let level = Level::Info;
                return String::from_utf8_lossy(chunk).lines().for_each(|line| self.note(level, line, now));
            }
        };
        let mut rest = chunk;
        while !rest.is_empty() {
            if source.place == Place::Start && outlet.gate.is_closed(now) {
                outlet.drop_lines(rest.iter().filter(|byte| **byte == b'\n').count() as u64);
                source.place = if rest.ends_with(b"\n") { Place::Start } else { Place::Dropped };
                break;
            }
            let (part, ends) = first_line(rest);
            rest = &rest[part.len()..];
            match source.place {
                Place::Start | Place::Within => source.pass(part, stream, outlet, plain, masked, now),
                Place::Beyond if ends => source.pass(b"\n", stream, outlet, plain, masked, now),
                Place::Dropped if ends => outlet.drop_lines(1),
                Place::Beyond | Place::Dropped => {}
            }
            source.place = match source.place {
                _ if ends => Place::Start,
                Place::Dropped => Place::Dropped,
                _ if source.lines.is_cut() => Place::Beyond,
                _ => Place::Within,
            };
        }
        self.tidy();
    }

    /// The stream has ended: its last line may lack an end. A new program may feed it again.
    pub fn finish(&mut self, stream: LogStream, now: UnixMillis) {
        let Self { stdout, stderr, outlet, masked, .. } = self;
        let source = match stream {
            LogStream::Stdout => stdout,
            LogStream::Stderr => stderr,
            LogStream::Agent => return,
        };
        if source.place == Place::Dropped {
            outlet.drop_lines(1);
        }
        source.masker.finish(masked);
        let mut each = |line: &[u8], truncated| outlet.line(stream, line, truncated, now);
        source.lines.feed(masked, &mut each);
        source.lines.finish(each);
        source.plain = PlainText::default();
        source.place = Place::Start;
        self.tidy();
    }

    /// The agent's own words about the program. They pass without a rate limit, and masked like everything else.
    pub fn note(&mut self, level: Level, message: &str, now: UnixMillis) {
        let Self { outlet, stdout, plain, masked, .. } = self;
        // It may quote what is not the agent's: a file name, an error.
        PlainText::default().feed(message.as_bytes(), plain);
        let mut masker = Masker::new(stdout.masker.secrets());
        masker.feed(plain, masked);
        masker.finish(masked);
        let (message, truncated) = to_text(masked, false, LOG_LINE_BYTES);
        outlet.push(LogRecord { at: now, stream: LogStream::Agent, level, message, truncated });
        self.tidy();
    }

    /// From now on these values are masked, in what is still held back too.
    pub fn replace_secrets(&mut self, secrets: &Arc<SecretSet>) {
        self.stdout.masker.replace(Arc::clone(secrets));
        self.stderr.masker.replace(Arc::clone(secrets));
    }

    /// The values that are masked.
    #[must_use]
    pub fn secrets(&self) -> Arc<SecretSet> {
        self.stdout.masker.secrets()
    }

    /// Everything that waits, in order.
    pub fn drain(&mut self) -> LogRecords {
        self.outlet.pending_bytes = 0;
        LogRecords {
            records: std::mem::take(&mut self.outlet.pending).into(),
            dropped: std::mem::take(&mut self.outlet.dropped),
        }
    }

    /// Whether [`drain`](Self::drain) would hand out anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outlet.pending.is_empty() && self.outlet.dropped == 0
    }

    fn tidy(&mut self) {
        use zeroize::Zeroize as _;
        // What came before the mask is the program's plain text.
        self.plain.zeroize();
        self.plain.shrink_to(KEPT_BYTES);
        self.masked.clear();
        self.masked.shrink_to(KEPT_BYTES);
    }
}

impl Stream {
    /// Takes a line, or a part of one, through all machines.
    fn pass(
        &mut self,
        part: &[u8],
        stream: LogStream,
        outlet: &mut Outlet,
        plain: &mut Vec<u8>,
        masked: &mut Vec<u8>,
        now: UnixMillis,
    ) {
        use zeroize::Zeroize as _;
        self.plain.feed(part, plain);
        self.masker.feed(plain, masked);
        self.lines.feed(masked, |line, truncated| outlet.line(stream, line, truncated, now));
        // What was used of it; all of the memory is wiped once a chunk.
        plain.as_mut_slice().zeroize();
        plain.clear();
        masked.clear();
    }
}

/// Up to and with the first line's end, or everything; and whether there is an end.
fn first_line(bytes: &[u8]) -> (&[u8], bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..=end], true),
        None => (bytes, false),
    }
}

impl Outlet {
    fn line(&mut self, stream: LogStream, line: &[u8], truncated: bool, now: UnixMillis) {
        if !self.gate.take(line.len(), now) {
            return self.drop_lines(1);
        }
        let (message, truncated) = to_text(line, truncated, LOG_LINE_BYTES);
        let level = level::detect(&message);
        self.push(LogRecord { at: now, stream, level, message, truncated });
    }

    fn drop_lines(&mut self, lines: u64) {
        self.dropped = self.dropped.saturating_add(lines);
    }

    /// The oldest records make room.
    fn push(&mut self, record: LogRecord) {
        self.pending_bytes += size_of_record(&record);
        self.pending.push_back(record);
        while self.pending_bytes > self.max_pending_bytes
            && let Some(oldest) = self.pending.pop_front()
        {
            self.pending_bytes -= size_of_record(&oldest);
            self.drop_lines(1);
        }
    }
}

fn size_of_record(record: &LogRecord) -> usize {
    size_of::<LogRecord>() + record.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_000);

    fn pipeline(limits: LogLimits, secrets: &[&str]) -> LogPipeline {
        LogPipeline::new(limits, Arc::new(SecretSet::new(secrets.iter().map(|secret| secret.as_bytes()))))
    }

    fn messages(pipeline: &mut LogPipeline) -> Vec<String> {
        pipeline.drain().records.into_iter().map(|record| record.message).collect()
    }

    #[test]
    fn both_streams_become_records_in_the_order_of_their_lines() {
        let mut pipeline = pipeline(LogLimits::default(), &[]);
        pipeline.feed(LogStream::Stdout, b"first\nhalf", NOW);
        pipeline.feed(LogStream::Stderr, b"\x1b[31mERROR\x1b[0m second\n", NOW);
        pipeline.feed(LogStream::Stdout, b" done\n", NOW);
        pipeline.note(Level::Warn, "program exited", NOW);
        let drained = pipeline.drain();
        let seen: Vec<_> = drained.records.iter().map(|r| (r.stream, r.level, r.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                (LogStream::Stdout, Level::Info, "first"),
                (LogStream::Stderr, Level::Error, "ERROR second"),
                (LogStream::Stdout, Level::Info, "half done"),
                (LogStream::Agent, Level::Warn, "program exited"),
            ]
        );
        assert!(pipeline.is_empty() && pipeline.drain().is_empty());
    }

    #[test]
    fn secrets_are_masked_across_chunks_colours_and_notes() {
        let mut pipeline = pipeline(LogLimits::default(), &["hunter2hunter"]);
        pipeline.feed(LogStream::Stdout, b"pass=hunt", NOW);
        pipeline.feed(LogStream::Stdout, b"er\x1b[1m2hun\x1b[0mter;\n", NOW);
        pipeline.note(Level::Info, "started with hunter2hunter", NOW);
        assert_eq!(messages(&mut pipeline), ["pass=***;", "started with ***"]);
        pipeline.replace_secrets(&Arc::new(SecretSet::new([&b"correct-horse"[..]])));
        pipeline.feed(LogStream::Stderr, b"correct-horse\n", NOW);
        assert_eq!(messages(&mut pipeline), ["***"]);
    }

    #[test]
    fn nothing_that_is_taken_out_of_a_secret_hides_it() {
        let mut pipeline = pipeline(LogLimits::default(), &["hunter2hunter"]);
        let hidden = ["hunter2\u{9b}hunter", "hunter2\x1b[1mhunter", "hun\0ter2\u{85}hunter", "old\rhunter2hunter"];
        for line in hidden {
            pipeline.feed(LogStream::Stdout, line.as_bytes(), NOW);
            pipeline.feed(LogStream::Stdout, b"\n", NOW);
        }
        assert_eq!(messages(&mut pipeline), ["***"; 4]);
    }

    #[test]
    fn a_line_without_end_appears_when_the_stream_ends() {
        let mut pipeline = pipeline(LogLimits::default(), &["secret"]);
        pipeline.feed(LogStream::Stdout, b"the last words: secr", NOW);
        assert!(pipeline.is_empty());
        pipeline.finish(LogStream::Stdout, NOW);
        assert_eq!(messages(&mut pipeline), ["the last words: ***"]);
        pipeline.feed(LogStream::Stdout, b"again\n", NOW);
        assert_eq!(messages(&mut pipeline), ["again"]);
    }

    #[test]
    fn a_storm_is_limited_and_counted() {
        let limits = LogLimits { lines_per_second: 10, lines_burst: 20, ..LogLimits::default() };
        let mut pipeline = pipeline(limits, &[]);
        pipeline.feed(LogStream::Stdout, "storm\n".repeat(100).as_bytes(), NOW);
        let drained = pipeline.drain();
        assert_eq!((drained.records.len(), drained.dropped), (20, 80));
        pipeline.note(Level::Error, "not limited", NOW);
        assert_eq!(messages(&mut pipeline), ["not limited"]);
    }

    #[test]
    fn a_line_whose_beginning_was_dropped_is_dropped_whole_and_the_next_one_is_not() {
        let limits = LogLimits { lines_per_second: 1, lines_burst: 1, ..LogLimits::default() };
        let mut pipeline = pipeline(limits, &["hunter2hunter"]);
        let later = |seconds| NOW.saturating_add(std::time::Duration::from_secs(seconds));
        pipeline.feed(LogStream::Stdout, b"kept\ndropped \x1b[1", NOW);
        pipeline.feed(LogStream::Stdout, b"m and as dropped as its beginning", later(1));
        pipeline.feed(LogStream::Stdout, b" hunter2\nnext hunter2hunt", later(2));
        pipeline.feed(LogStream::Stdout, b"er\nnot this one", later(2));
        pipeline.finish(LogStream::Stdout, later(2));
        let drained = pipeline.drain();
        let kept: Vec<_> = drained.records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!((kept.as_slice(), drained.dropped), (["kept", "next ***"].as_slice(), 2));
        pipeline.feed(LogStream::Stdout, b"of the next program\n", later(4));
        assert_eq!(messages(&mut pipeline), ["of the next program"]);
    }

    #[test]
    fn nothing_of_a_line_beyond_its_limit_is_in_the_next_one() {
        let mut pipeline = pipeline(LogLimits::default(), &["hunter2hunter"]);
        let long = [vec![b'x'; LOG_LINE_BYTES + 1], b"hunter2".to_vec()].concat();
        pipeline.feed(LogStream::Stdout, &long, NOW);
        pipeline.feed(LogStream::Stdout, b"hunter, \x1b]0;a title", NOW);
        pipeline.feed(LogStream::Stdout, b" and more\n\x1b[1mnext\x1b[0m\n", NOW);
        let records = pipeline.drain().records;
        assert_eq!((records[0].message.len(), records[0].truncated), (LOG_LINE_BYTES, true));
        assert_eq!((records[1].message.as_str(), records[1].truncated), ("next", false));
    }

    #[test]
    fn a_huge_line_is_cut_and_marked() {
        let mut pipeline = pipeline(LogLimits::default(), &[]);
        for _ in 0..100 {
            pipeline.feed(LogStream::Stdout, &[b'x'; 16 * 1024], NOW);
        }
        pipeline.feed(LogStream::Stdout, b"\nnext\n", NOW);
        let records = pipeline.drain().records;
        assert_eq!((records[0].message.len(), records[0].truncated), (LOG_LINE_BYTES, true));
        assert_eq!((records[1].message.as_str(), records[1].truncated), ("next", false));
    }

    #[test]
    fn records_that_nobody_drains_make_room_for_newer_ones() {
        let mut pipeline = pipeline(LogLimits { pending_bytes: 1_000, ..LogLimits::default() }, &[]);
        (0..100).for_each(|i| pipeline.feed(LogStream::Stdout, format!("line {i}\n").as_bytes(), NOW));
        let drained = pipeline.drain();
        assert_eq!(drained.records.last().map(|record| record.message.as_str()), Some("line 99"));
        assert_eq!(drained.records.len() as u64 + drained.dropped, 100);
    }

    proptest! {
        #[test]
        fn every_line_is_a_record_or_counted(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..20), burst in 0_u64..10) {
            let limits = LogLimits { lines_burst: burst, lines_per_second: 1, ..LogLimits::default() };
            let mut pipeline = pipeline(limits, &[]);
            let ends = chunks.concat();
            chunks.iter().for_each(|chunk| pipeline.feed(LogStream::Stdout, chunk, NOW));
            let drained = pipeline.drain();
            let newlines = ends.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(drained.records.len() as u64 + drained.dropped, newlines as u64);
            prop_assert!(drained.records.iter().all(|record| record.message.len() <= LOG_LINE_BYTES));
        }
    }
}
