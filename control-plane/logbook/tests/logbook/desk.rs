//! A book with two instances that write into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger_ingest::Source;
use outrigger_logbook::{Direction, LogBook, LogBookConfig, LogEntry, LogFilter, LogLine, LogPage, LogQuery};
use outrigger_protocol::id::{DeploymentId, InstanceId, OrganizationId};
use outrigger_protocol::log::{Level, LogRecord, LogStream};
use outrigger_protocol::time::UnixMillis;
use outrigger_store::{Options, RedbStore, SharedStore};
use tempfile::TempDir;

pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([1; 16]);
pub(crate) const INSTANCES: [InstanceId; 2] = [InstanceId::from_bytes([2; 16]), InstanceId::from_bytes([3; 16])];
/// A book that only writes when a segment is full or it is closed.
pub(crate) const LAZY: Duration = Duration::from_secs(3600);

pub(crate) struct Desk {
    pub(crate) directory: TempDir,
    pub(crate) store: SharedStore,
    pub(crate) book: LogBook,
}

pub(crate) fn config(write_every: Duration) -> LogBookConfig {
    LogBookConfig { write_every, ..LogBookConfig::default() }
}

pub(crate) fn prompt() -> LogBookConfig {
    config(Duration::from_millis(5))
}

fn open_store(directory: &Path) -> SharedStore {
    Arc::new(RedbStore::open(directory.join("test.redb"), Options::default()).unwrap())
}

impl Desk {
    pub(crate) async fn new(config: LogBookConfig) -> Self {
        let directory = TempDir::new().unwrap();
        let store = open_store(directory.path());
        let book = LogBook::open(Arc::clone(&store), config).await.unwrap();
        Self { directory, store, book }
    }

    /// The same store after the process has died: what was not written is gone.
    pub(crate) async fn crash(self, config: LogBookConfig) -> Self {
        let Self { directory, store, book } = self;
        // The store first, so that the book cannot write any more.
        store.close().await.unwrap();
        drop((store, book));
        let store = open_store(directory.path());
        let book = LogBook::open(Arc::clone(&store), config).await.unwrap();
        Self { directory, store, book }
    }

    pub(crate) fn put(&self, records: &[LogRecord], dropped: u64) {
        self.put_by(INSTANCES[0], records, dropped);
    }

    pub(crate) fn put_by(&self, instance: InstanceId, records: &[LogRecord], dropped: u64) {
        let organization = OrganizationId::from_bytes([9; 16]);
        let source = Source { organization, deployment: DEPLOYMENT, instance };
        self.book.sink().logs(source, records, dropped, UnixMillis::now());
    }

    /// Until everything is on disk.
    pub(crate) async fn written(&self) {
        eventually("everything is written", || self.book.stats().unwritten_bytes == 0).await;
    }

    pub(crate) async fn page(&self, query: LogQuery) -> LogPage {
        self.book.read(&query).await.unwrap()
    }

    /// All lines that a filter wants, page by page.
    pub(crate) async fn all(&self, filter: &LogFilter, limit: usize, direction: Direction) -> Vec<Arc<LogLine>> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let query = LogQuery { deployment: DEPLOYMENT, filter: filter.clone(), after, limit, direction };
            let page = self.page(query).await;
            assert!(page.lines.len() <= limit);
            all.extend(page.lines);
            assert!(page.next.is_none() || page.next != after, "a page that leads nowhere");
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn messages(&self) -> Vec<String> {
        let lines = self.all(&LogFilter::default(), 1_000, Direction::Forward).await;
        lines.iter().map(|line| shown(line)).collect()
    }
}

/// The text of a line, or how many are missing.
pub(crate) fn shown(line: &LogLine) -> String {
    match &line.entry {
        LogEntry::Written { message, .. } => message.to_string(),
        LogEntry::Dropped { lines } => format!("({lines} dropped)"),
    }
}

pub(crate) fn record(level: Level, at: u64, message: impl Into<String>) -> LogRecord {
    let (at, stream) = (UnixMillis::from_millis(at), LogStream::Stdout);
    LogRecord { at, stream, level, message: message.into(), truncated: false }
}

/// A line of now.
pub(crate) fn line(message: impl Into<String>) -> LogRecord {
    record(Level::Info, UnixMillis::now().as_millis(), message)
}

pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
