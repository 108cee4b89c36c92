//! Carries out the rotations of keys that were begun, a little at a time.
//!
//! How far one is stands in the catalog, in the transaction of what was done: whoever comes next goes on from there. The
//! pauses are others' turn. After each step it rests for twice as long as the step took, so that at most a third of a core
//! and of the writer's time goes into a rotation, on a slow disk as on a fast one.

use std::sync::Arc;
use std::time::Duration;

use outrigger_catalog::model::KeyKind;
use outrigger_catalog::{Catalog, CatalogError, RotationStep};
use tokio::time::Instant;

use crate::core::Core;

/// How much longer it rests than it works.
const REST: u32 = 2;
/// The shortest rest between two steps.
const SHORTEST_REST: Duration = Duration::from_millis(2);
/// The longest: a disk that stalls once does not stall the rotation.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// After something went wrong.
const RETRY: Duration = Duration::from_secs(10);
/// Between two looks for rotations that another process has begun, and for keys that should be replaced.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// The task. Never ends by itself.
pub(crate) async fn run(core: Arc<Core>) {
    let catalog = &core.catalog;
    loop {
        warn_of_due_keys(catalog).await;
        let wait = match work_off(catalog).await {
            Ok(()) => LOOK,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, retry_in = ?RETRY, "a key rotation is held up");
                RETRY
            }
        };
        tokio::select! {
            () = catalog.rotation_begun() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn work_off(catalog: &Catalog) -> Result<(), CatalogError> {
    loop {
        let running = catalog.running_rotations().await?;
        if running.is_empty() {
            return Ok(());
        }
        for kind in running {
            finish(catalog, kind).await?;
        }
    }
}

async fn finish(catalog: &Catalog, kind: KeyKind) -> Result<(), CatalogError> {
    match kind {
        KeyKind::Data { organization, project } => tracing::info!(%organization, %project, "replacing a data key"),
        KeyKind::Master => tracing::info!("replacing the master key"),
    }
    loop {
        let began = Instant::now();
        if catalog.advance_rotation(kind).await? == RotationStep::Done {
            return Ok(());
        }
        tokio::time::sleep((REST * began.elapsed()).clamp(SHORTEST_REST, LONGEST_REST)).await;
    }
}

async fn warn_of_due_keys(catalog: &Catalog) {
    match catalog.due_keys().await {
        Ok(due) => {
            for due in due {
                tracing::warn!(
                    organization = %due.organization,
                    project = %due.project,
                    key = %due.key,
                    encryptions = due.encryptions,
                    "the data key of a project should be replaced: outrigger keys rotate --project"
                );
            }
        }
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "cannot tell which keys are due"),
    }
}
