//! The driver that does nothing, and remembers what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_protocol::id::InstanceId;

use crate::{Created, Driver, DriverFuture, InstanceSpec, Observed};

/// Calls that are remembered; older ones are forgotten.
const CALLS: usize = 1024;

/// One call that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create(InstanceId),
    Destroy(InstanceId),
}

/// Keeps a list of the instances that there would be. They run until they are destroyed, or until the process ends:
/// a dry run leaves nothing behind.
#[derive(Debug, Default)]
pub struct DryRunDriver {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<InstanceId, Created>,
    calls: VecDeque<Call>,
}

impl State {
    fn remember(&mut self, call: Call) {
        if self.calls.len() >= CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }
}

impl DryRunDriver {
    pub const NAME: &'static str = "dry-run";

    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest calls, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.iter().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and if it did, a list of names is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for DryRunDriver {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn has_agents(&self) -> bool {
        false
    }

    fn create<'a>(&'a self, spec: &'a InstanceSpec) -> DriverFuture<'a, Created> {
        Box::pin(async move {
            let mut state = self.state();
            state.remember(Call::Create(spec.instance));
            Ok(state.instances.entry(spec.instance).or_insert(Created { endpoint: None }).clone())
        })
    }

    fn destroy(&self, instance: InstanceId, _grace: Duration) -> DriverFuture<'_, ()> {
        Box::pin(async move {
            let mut state = self.state();
            state.remember(Call::Destroy(instance));
            state.instances.remove(&instance);
            Ok(())
        })
    }

    fn list(&self) -> DriverFuture<'_, Vec<Observed>> {
        Box::pin(async move {
            let state = self.state();
            Ok(state.instances.keys().map(|instance| Observed { instance: *instance, running: true }).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::test_support::spec;

    #[tokio::test]
    async fn calls_are_remembered_up_to_a_bound_and_repeat_without_effect() {
        let driver = DryRunDriver::new();
        let one = spec(&["true"]);
        driver.create(&one).await.unwrap();
        driver.create(&one).await.unwrap();
        assert_eq!(driver.list().await.unwrap(), [Observed { instance: one.instance, running: true }]);
        driver.destroy(one.instance, Duration::ZERO).await.unwrap();
        driver.destroy(one.instance, Duration::ZERO).await.unwrap();
        assert!(driver.list().await.unwrap().is_empty());
        assert_eq!(driver.calls().len(), 4);
        for _ in 0..CALLS {
            driver.create(&one).await.unwrap();
        }
        assert_eq!(driver.calls().len(), CALLS);
    }
}
