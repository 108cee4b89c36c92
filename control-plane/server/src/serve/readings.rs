//! What the parts that the API does not know say about themselves, for `/metrics`.

use outrigger_api::{Reader, Reading, ReadingKind};
use outrigger_archive::{Archive, ArchiveStats};
use outrigger_export::{DestinationStats, Export};
use outrigger_live::{Live, LiveStats};
use outrigger_logbook::{LogBook, LogBookStats};

use ReadingKind::{Counter, Gauge};

/// Far from where a number of this size loses its last digits.
fn number(value: u64) -> f64 {
    value as f64
}

fn reading(kind: ReadingKind, name: &'static str, help: &'static str, value: u64) -> Reading {
    Reading { kind, name, help, labels: Vec::new(), value: number(value) }
}

pub(super) fn archive(archive: Archive) -> Reader {
    Reader::new(move || of_archive(&archive.stats()))
}

fn of_archive(stats: &ArchiveStats) -> Vec<Reading> {
    let dropped = |reason: &str, value| Reading {
        labels: vec![("reason", reason.to_owned())],
        ..reading(
            Counter,
            "outrigger_history_samples_dropped",
            "Samples that are not kept: too late, no room, of a deleted deployment, or nothing in them.",
            value,
        )
    };
    vec![
        reading(Counter, "outrigger_history_samples", "Samples that were taken to be kept.", stats.samples),
        dropped("late", stats.dropped_late),
        dropped("full", stats.dropped_full),
        dropped("gone", stats.dropped_gone),
        dropped("empty", stats.dropped_empty),
        reading(
            Counter,
            "outrigger_history_values_dropped",
            "Values that are not kept: not finite, too many, or of too long a name.",
            stats.dropped_values,
        ),
        reading(Gauge, "outrigger_history_memory_bytes", "Samples in memory that no row has yet.", stats.memory_bytes),
        reading(Counter, "outrigger_history_rows", "Rows of samples and roll-ups that were written.", stats.rows),
        reading(
            Counter,
            "outrigger_history_row_bytes",
            "Compressed bytes of the rows that were written.",
            stats.row_bytes,
        ),
        reading(Counter, "outrigger_history_periods_joined", "Hours and days whose rows were joined.", stats.sealed),
        reading(Counter, "outrigger_history_damaged", "Rows that could not be read any more.", stats.damaged),
        reading(Counter, "outrigger_history_write_failures", "Writes that the store refused.", stats.failures),
    ]
}

pub(super) fn logs(book: LogBook) -> Reader {
    Reader::new(move || of_logs(&book.stats()))
}

fn of_logs(stats: &LogBookStats) -> Vec<Reading> {
    vec![
        reading(Counter, "outrigger_logs_lines", "Lines of programs that were taken to be kept.", stats.lines),
        reading(
            Counter,
            "outrigger_logs_lines_dropped",
            "Lines that are not kept because the store did not keep up.",
            stats.dropped_unwritten,
        ),
        reading(Gauge, "outrigger_logs_unwritten_bytes", "Lines that wait for the store.", stats.unwritten_bytes),
        reading(Counter, "outrigger_logs_segments", "Segments of lines that were written.", stats.segments),
        reading(
            Counter,
            "outrigger_logs_segment_bytes",
            "Compressed bytes of the segments that were written.",
            stats.segment_bytes,
        ),
        reading(
            Counter,
            "outrigger_logs_segments_expired",
            "Segments that went because they were too old or too many, or with their deployment.",
            stats.expired_segments,
        ),
        reading(
            Counter,
            "outrigger_logs_segments_damaged",
            "Segments that could not be read any more.",
            stats.damaged_segments,
        ),
        reading(Counter, "outrigger_logs_write_failures", "Writes that the store refused.", stats.write_failures),
        reading(Gauge, "outrigger_logs_followers", "Readers that follow a log.", stats.followers),
        reading(
            Counter,
            "outrigger_logs_lines_lagged",
            "Lines that readers missed because they were too slow.",
            stats.lagged,
        ),
    ]
}

pub(super) fn live(live: Live) -> Reader {
    Reader::new(move || of_live(&live.stats()))
}

fn of_live(stats: &LiveStats) -> Vec<Reading> {
    vec![
        reading(Gauge, "outrigger_live_sessions", "Clients of the live streams.", stats.sessions),
        reading(
            Gauge,
            "outrigger_live_feeds",
            "Logs, statuses and metrics of deployments that some client listens to.",
            stats.feeds,
        ),
        reading(Counter, "outrigger_live_updates", "Updates that were handed over to clients.", stats.sent),
        reading(
            Counter,
            "outrigger_live_updates_missed",
            "Updates that clients did not read in time, which they were told.",
            stats.missed,
        ),
        reading(
            Counter,
            "outrigger_live_clients_dropped",
            "Clients that were sent away because they did not catch up.",
            stats.dropped,
        ),
    ]
}

pub(super) fn export(export: Export) -> Reader {
    Reader::new(move || export.stats().iter().flat_map(of_destination).collect())
}

fn of_destination(stats: &DestinationStats) -> Vec<Reading> {
    let labels = vec![
        ("destination", stats.name.clone()),
        ("protocol", stats.protocol.to_owned()),
        ("signal", stats.signal.name().to_owned()),
    ];
    let mut readings = vec![
        reading(Gauge, "outrigger_export_queued", "Samples or lines that wait to be sent.", stats.queued),
        reading(Gauge, "outrigger_export_queued_bytes", "Memory of what waits to be sent.", stats.queued_bytes),
        reading(Counter, "outrigger_export_sent", "Samples or lines that a receiver took.", stats.sent),
        reading(
            Counter,
            "outrigger_export_dropped",
            "Samples or lines that were not sent: the queue was full.",
            stats.dropped,
        ),
        reading(
            Counter,
            "outrigger_export_failed",
            "Samples or lines that a receiver refused, or that were given up on.",
            stats.failed,
        ),
        reading(Counter, "outrigger_export_retries", "Requests to a receiver that were made again.", stats.retries),
    ];
    if let Some(at) = stats.last_success {
        readings.push(Reading {
            kind: Gauge,
            name: "outrigger_export_last_success_timestamp_seconds",
            help: "When a receiver took something last, Unix time.",
            labels: Vec::new(),
            value: number(at.as_millis()) / 1e3,
        });
    }
    readings.into_iter().map(|reading| Reading { labels: labels.clone(), ..reading }).collect()
}
