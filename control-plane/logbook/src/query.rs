//! Reading what is kept, page by page.

use std::ops::ControlFlow;
use std::sync::Arc;

use outrigger_protocol::id::DeploymentId;
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{KeyRange, RangeOptions, SharedStore};

use crate::error::ReadError;
use crate::line::{LogFilter, LogLine};
use crate::rows;
use crate::segment::Header;
use crate::shelves::Shelves;
use crate::stats::add;

/// Most lines of a page, whatever was asked for.
const MOST_LINES: usize = 10_000;
/// Bytes of lines that are opened for one page; a segment that was begun is finished.
const OPENED_BYTES: usize = 4 * 1024 * 1024;
/// Headers that are looked at for one page.
const HEADERS: usize = 16 * 1024;
/// Headers that are read at a time.
const HEADERS_AT_ONCE: usize = 256;
/// Bytes of lines in one page.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How often a page begins anew because segments were merged under it.
const ATTEMPTS: usize = 4;

/// Which way to go through the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest on.
    Forward,
    /// From the newest back.
    Backward,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    pub deployment: DeploymentId,
    pub filter: LogFilter,
    /// Go on beyond this number, in the direction: [`LogPage::next`] of the page before.
    pub after: Option<u64>,
    /// Most lines to return, at most 10,000. Pages also end at 4 MiB of text.
    pub limit: usize,
    pub direction: Direction,
}

/// Some of the lines that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// In the direction that was asked for.
    pub lines: Vec<Arc<LogLine>>,
    /// Where to go on; `None` when everything was looked at. It is there when the page is full, and also when the work
    /// that one page may be is done: then the page may have few lines, or none.
    pub next: Option<u64>,
    /// The time of the line that was looked at last: how far the page got.
    pub searched_to: Option<UnixMillis>,
}

/// A page in the making.
struct Scan<'a> {
    query: &'a LogQuery,
    limit: usize,
    /// The number that was looked at last.
    position: Option<u64>,
    searched_to: Option<UnixMillis>,
    lines: Vec<Arc<LogLine>>,
    bytes: usize,
    opened: usize,
    headers: usize,
}

impl Scan<'_> {
    fn is_beyond(&self, number: u64) -> bool {
        self.position.is_none_or(|position| match self.query.direction {
            Direction::Forward => number > position,
            Direction::Backward => number < position,
        })
    }

    fn look_at(&mut self, line: &Arc<LogLine>) -> ControlFlow<()> {
        if !self.is_beyond(line.number) {
            return ControlFlow::Continue(());
        }
        self.passed(line.number, line.at);
        if self.query.filter.accepts(line) {
            self.lines.push(Arc::clone(line));
            self.bytes += line.bytes();
        }
        if self.lines.len() >= self.limit || self.bytes >= PAGE_BYTES {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    const fn passed(&mut self, number: u64, at: UnixMillis) {
        self.position = Some(number);
        self.searched_to = Some(at);
    }

    /// Looks at many, in the direction of the query.
    fn look_at_all(&mut self, lines: &[Arc<LogLine>]) -> ControlFlow<()> {
        match self.query.direction {
            Direction::Forward => lines.iter().try_for_each(|line| self.look_at(line)),
            Direction::Backward => lines.iter().rev().try_for_each(|line| self.look_at(line)),
        }
    }

    fn page(self, is_done: bool) -> LogPage {
        let next = if is_done { None } else { self.position };
        LogPage { lines: self.lines, next, searched_to: self.searched_to }
    }
}

/// How a walk over the store ended.
enum Walk {
    /// Nothing is left.
    Done,
    /// The page is full, or enough work.
    Full,
    /// A segment was merged or expired between its header and its body.
    Moved,
}

pub(crate) struct Kept<'a> {
    pub(crate) store: &'a SharedStore,
    pub(crate) shelves: &'a Shelves,
}

impl Kept<'_> {
    pub(crate) async fn read(&self, query: &LogQuery) -> Result<LogPage, ReadError> {
        // First, so that what is written meanwhile is found in one of both.
        let shelf = self.shelves.find(query.deployment);
        let (unwritten, first) = shelf.map_or((Vec::new(), u64::MAX), |shelf| shelf.unwritten());
        let mut scan = Scan {
            query,
            limit: query.limit.clamp(1, MOST_LINES),
            position: query.after,
            searched_to: None,
            lines: Vec::new(),
            bytes: 0,
            opened: 0,
            headers: 0,
        };
        match query.direction {
            Direction::Forward => {
                let done = self.walk(&mut scan, first).await? && scan.look_at_all(&unwritten).is_continue();
                Ok(scan.page(done))
            }
            Direction::Backward => {
                let done = scan.look_at_all(&unwritten).is_continue() && self.walk(&mut scan, first).await?;
                Ok(scan.page(done))
            }
        }
    }

    /// Goes through the segments with numbers below `end`. `false` when the page ends before they do.
    async fn walk(&self, scan: &mut Scan<'_>, end: u64) -> Result<bool, ReadError> {
        for attempt in 1.. {
            match self.try_walk(scan, end, attempt == ATTEMPTS).await? {
                Walk::Done => return Ok(true),
                Walk::Full => return Ok(false),
                Walk::Moved => {}
            }
        }
        Ok(false)
    }

    async fn try_walk(&self, scan: &mut Scan<'_>, end: u64, is_last_attempt: bool) -> Result<Walk, ReadError> {
        let deployment = scan.query.deployment;
        let mut options = RangeOptions::default().limit(HEADERS_AT_ONCE);
        let mut rest = match scan.query.direction {
            Direction::Forward => rows::headers_after(deployment, scan.position.unwrap_or(0)),
            Direction::Backward => {
                options = options.reverse();
                let before = match scan.position {
                    Some(position) => self.up_to_containing(deployment, position).await?,
                    None => None,
                };
                before.unwrap_or_else(|| rows::headers(deployment))
            }
        };
        loop {
            let page = self.store.range(rest.clone(), options).await?;
            for entry in &page.entries {
                let Some(header) = rows::read_header(entry) else { continue };
                match self.look_into(scan, &header, end, is_last_attempt).await? {
                    Walk::Done => {}
                    other => return Ok(other),
                }
            }
            rest = match (page.entries.last(), scan.query.direction) {
                (Some(last), Direction::Forward) if page.more => rest.after(&last.key),
                (Some(last), Direction::Backward) if page.more => rest.before(&last.key),
                _ => return Ok(Walk::Done),
            };
        }
    }

    /// The headers of segments with something before `position`: all that end before it, and the one that it lies in.
    /// `None` when that is all of them.
    async fn up_to_containing(&self, deployment: DeploymentId, position: u64) -> Result<Option<KeyRange>, ReadError> {
        let behind = rows::headers_after(deployment, position.saturating_sub(1));
        let page = self.store.range(behind, RangeOptions::default().limit(1)).await?;
        let Some(last) = page.entries.first().and_then(|entry| rows::read_header_key(&entry.key)) else {
            return Ok(None);
        };
        Ok(Some(rows::headers_before(deployment, last.1.saturating_add(1))))
    }

    async fn look_into(
        &self,
        scan: &mut Scan<'_>,
        header: &Header,
        end: u64,
        is_last_attempt: bool,
    ) -> Result<Walk, ReadError> {
        let (forward, beyond) = match scan.query.direction {
            Direction::Forward => (true, header.last),
            Direction::Backward => (false, header.first),
        };
        if header.first >= end || !scan.is_beyond(beyond) {
            return Ok(Walk::Done);
        }
        if scan.headers >= HEADERS {
            return Ok(Walk::Full);
        }
        scan.headers += 1;
        if !header.may_have(&scan.query.filter) {
            let (number, at) =
                if forward { (header.last.min(end - 1), header.latest) } else { (header.first, header.earliest) };
            scan.passed(number, at);
            return Ok(Walk::Done);
        }
        if scan.opened > 0 && scan.opened + header.raw > OPENED_BYTES {
            return Ok(Walk::Full);
        }
        scan.opened += header.raw;
        let key = rows::body_key(scan.query.deployment, header.last);
        let lines = match self.store.get(&key).await? {
            Some(body) => header.unpack(&body.value),
            None if is_last_attempt => None,
            None => return Ok(Walk::Moved),
        };
        // A merged segment has the last number of the last of its parts: its header may have been read before, its body
        // after.
        let lines = match lines {
            Some(lines) => lines,
            None if !is_last_attempt => return Ok(Walk::Moved),
            None => {
                add(&self.shelves.counters.damaged_segments, 1);
                vec![header.gap()]
            }
        };
        let before_end = lines.partition_point(|line| line.number < end);
        Ok(if scan.look_at_all(&lines[..before_end]).is_break() { Walk::Full } else { Walk::Done })
    }
}
