use std::sync::Arc;

use outrigger_catalog::model::{Decision, Deployment, Event};

/// What the engine tells as it happens. A slow reader misses some; whatever must not be missed is in the catalog.
#[derive(Debug, Clone)]
pub enum News {
    /// A decision that was written down.
    Decision(Arc<Decision>),
    /// A deployment that changed its status or size.
    Deployment(Arc<Deployment>),
    /// Something that happened to a deployment.
    Event(Arc<Event>),
}

/// News that are kept for a reader that is behind.
pub(crate) const BACKLOG: usize = 1024;
