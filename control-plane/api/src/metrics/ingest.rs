//! What agents send.

use outrigger_ingest::{Count, IngestStats, Reject};

use super::exposition::{Kind, Labels, Page};
use super::process::seconds;

pub(super) fn write(page: &mut Page, stats: &IngestStats) {
    page.gauge("outrigger_ingest_sessions", "Agents with a session.", stats.live);
    let help = "Connections of agents, also of those that are not let in yet.";
    page.gauge("outrigger_ingest_connections", help, stats.connections);
    let help = "When the certificate runs out that agents know the control plane by, Unix time; it is renewed before.";
    let name = "outrigger_ingest_certificate_expiry_timestamp_seconds";
    page.gauge(name, help, seconds(stats.certificate_ends));
    for count in Count::ALL {
        page.counter(format_args!("outrigger_ingest_{count}"), count.help(), stats.count(*count));
    }
    let help = "Connections, frames and requests of agents that were refused, by reason.";
    let mut rejected = page.family(Kind::Counter, "outrigger_ingest_rejected", help);
    for reject in Reject::ALL {
        rejected.sample(&Labels::new(&[("reason", reject)]), stats.rejected(*reject));
    }
}
