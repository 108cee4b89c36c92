//! Looks at deployments, as soon as something is new about them.
//!
//! One task keeps the [`pace`]; each look is a task of its own, so that many deployments are looked at side by side and
//! a panic ends nothing but the look it happened in. What a look has to remember until the next one (breakers, the
//! policies' own state, the last hold) is handed into it and comes back with it: [`Mind`].

mod holds;
mod input;
mod look;
mod pace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use outrigger_protocol::id::DeploymentId;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::core::Core;
use crate::stats::{Count, Timing};
use look::Mind;
use pace::Pace;

/// What came of a look.
struct Looked {
    mind: Mind,
    /// Whether the deployment has to be looked at again without anything new.
    again: bool,
    /// When a policy would like to be asked again.
    wish: Option<Duration>,
}

/// The task.
pub(crate) async fn run(core: Arc<Core>) {
    let mut scaler = Scaler::new(Arc::clone(&core));
    for deployment in core.roster.deployments() {
        scaler.pace.poke(deployment, Instant::now());
    }
    loop {
        scaler.start_due();
        let due = scaler.pace.next_due();
        tokio::select! {
            dirty = core.ingest.dirty() => scaler.poke(dirty),
            named = core.pokes.take() => scaler.poke(named),
            Some(ended) = scaler.looks.join_next_with_id() => scaler.ended(ended),
            () = sleep_until(due), if due.is_some() => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

struct Scaler {
    core: Arc<Core>,
    pace: Pace,
    minds: HashMap<DeploymentId, Mind>,
    looks: JoinSet<Looked>,
    under_way: HashMap<Id, (DeploymentId, Instant)>,
}

impl Scaler {
    fn new(core: Arc<Core>) -> Self {
        let config = core.config.scaler;
        Self {
            core,
            pace: Pace::new(config.min_interval, config.tick, config.concurrency),
            minds: HashMap::new(),
            looks: JoinSet::new(),
            under_way: HashMap::new(),
        }
    }

    /// Deployments that are not known yet are skipped: the catalog's changes bring them.
    fn poke(&mut self, deployments: Vec<DeploymentId>) {
        let now = Instant::now();
        for deployment in deployments {
            if self.core.roster.actor(deployment).is_some() {
                self.pace.poke(deployment, now);
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(deployment) = self.pace.start(now) {
            let Some(actor) = self.core.roster.actor(deployment) else {
                self.pace.forget(deployment);
                self.pace.ended(deployment, now, None);
                continue;
            };
            let mind = self.minds.remove(&deployment).unwrap_or_default();
            let core = Arc::clone(&self.core);
            let look = self.looks.spawn(async move { look::look(&core, &actor, deployment, mind).await });
            self.under_way.insert(look.id(), (deployment, now));
        }
    }

    fn ended(&mut self, ended: Result<(Id, Looked), JoinError>) {
        let now = Instant::now();
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(failed) => failed.id(),
        };
        let Some((deployment, started)) = self.under_way.remove(&id) else { return };
        self.core.stats.add(Count::Looks, 1);
        self.core.stats.time(Timing::Look, now.duration_since(started));
        match ended {
            Ok((_, looked)) => {
                if looked.again {
                    self.minds.insert(deployment, looked.mind);
                } else {
                    self.pace.forget(deployment);
                }
                self.pace.ended(deployment, now, looked.wish);
            }
            Err(failed) => {
                // Its memory is gone with it: the next look begins anew.
                self.core.stats.add(Count::LookPanics, 1);
                tracing::error!(deployment = %deployment, error = %failed, "a look at a deployment panicked");
                self.pace.ended(deployment, now, None);
            }
        }
    }
}
