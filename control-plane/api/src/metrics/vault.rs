//! Keys and the audit log: what has to be counted in the database, and therefore is from time to time alone.

use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::{Catalog, CatalogError, KeyUse};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::exposition::{Kind, Labels, Page};

/// How old what is shown may be. Nothing of it changes fast.
const FRESH: Duration = Duration::from_secs(60);
/// Keys that one page tells of.
const MOST: usize = 1_000;

#[derive(Debug, Clone, Default)]
struct Reading {
    keys: Vec<KeyUse>,
    audit_entries: u64,
}

/// What was read last, and when.
#[derive(Debug, Default)]
pub(super) struct Vault(Mutex<Option<(Instant, Arc<Reading>)>>);

impl Vault {
    /// Writes what was read within the last minute. What cannot be read is left out, and said in the log.
    pub(super) async fn write(&self, page: &mut Page, catalog: &Catalog) {
        // Whoever comes meanwhile waits for the one reading.
        let mut kept = self.0.lock().await;
        if kept.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
            match read(catalog).await {
                Ok(reading) => *kept = Some((Instant::now(), Arc::new(reading))),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the use of keys cannot be counted for the metrics");
                    *kept = None;
                }
            }
        }
        let reading = kept.as_ref().map(|(_, reading)| Arc::clone(reading));
        drop(kept);
        if let Some(reading) = reading {
            write(page, &reading);
        }
    }
}

async fn read(catalog: &Catalog) -> Result<Reading, CatalogError> {
    Ok(Reading { keys: catalog.key_uses(MOST).await?, audit_entries: catalog.audit_entries().await? })
}

fn write(page: &mut Page, reading: &Reading) {
    let help = "Values that a data key has sealed since it was made; of the 1,000 most used keys.";
    let mut encryptions = page.family(Kind::Gauge, "outrigger_key_encryptions", help);
    for one in &reading.keys {
        let labels = Labels::new(&[
            ("organization", &one.organization),
            ("project_id", &one.project),
            ("key", &one.key),
            ("active", &one.is_active),
        ]);
        encryptions.sample(&labels, one.encryptions);
    }
    drop(encryptions);
    let due = reading.keys.iter().filter(|one| one.is_due()).count();
    let help = "Data keys in use that have sealed so much that another one should take over: outrigger keys rotate.";
    page.gauge("outrigger_keys_due", help, due);
    let help = "Entries of the audit logs of all organisations, from their beginning.";
    page.gauge("outrigger_audit_entries", help, reading.audit_entries);
}
