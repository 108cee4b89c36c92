//! The recent samples of every deployment, and which deployments have something new.
//!
//! Decisions read only this. The dirty set coalesces: however many samples arrive between two looks, a deployment
//! is in it once, so a slow reader costs nothing but its own delay.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_protocol::id::{DeploymentId, InstanceId};
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use outrigger_scaling::window::{DeploymentWindow, Pushed, WindowConfig};
use tokio::sync::Notify;

use crate::shards::{Shards, lock};

#[derive(Debug)]
pub(crate) struct Windows {
    windows: Shards<DeploymentId, Arc<Mutex<DeploymentWindow>>>,
    /// Deployments with a window; one more is not begun.
    limit: usize,
    dirty: Mutex<HashSet<DeploymentId>>,
    wake: Notify,
}

/// There are as many windows as the configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Windows {
    pub(crate) fn new(limit: usize) -> Self {
        Self { windows: Shards::new(), limit, dirty: Mutex::default(), wake: Notify::new() }
    }

    /// Puts the samples of one instance into its deployment's window, and says how many of them it took. `resolution`
    /// is the interval at which the deployment samples now; a window of another one begins anew.
    pub(crate) fn push(
        &self,
        deployment: DeploymentId,
        resolution: Duration,
        instance: InstanceId,
        samples: &[Sample],
        received_at: UnixMillis,
    ) -> Result<usize, NoRoom> {
        let config = WindowConfig { resolution, ..WindowConfig::default() };
        let window = match self.windows.find(&deployment) {
            Some(window) => window,
            None if self.windows.len() >= self.limit => return Err(NoRoom),
            None => {
                let fresh = || Arc::new(Mutex::new(DeploymentWindow::new(config)));
                Arc::clone(self.windows.of(&deployment).entry(deployment).or_insert_with(fresh))
            }
        };
        let taken = {
            let mut window = lock(&window);
            if window.config().resolution != resolution {
                *window = DeploymentWindow::new(config);
            }
            let taken = |sample: &&Sample| {
                matches!(window.push(instance, sample, received_at), Pushed::Stored | Pushed::Retimed)
            };
            samples.iter().filter(taken).count()
        };
        if taken > 0 {
            self.mark(deployment);
        }
        Ok(taken)
    }

    /// Looks at a window. `read` runs under its lock: it must not wait.
    pub(crate) fn read<R>(&self, deployment: DeploymentId, read: impl FnOnce(&DeploymentWindow) -> R) -> Option<R> {
        let window = self.windows.find(&deployment)?;
        let window = lock(&window);
        Some(read(&window))
    }

    pub(crate) fn remove_instance(&self, deployment: DeploymentId, instance: InstanceId) {
        if let Some(window) = self.windows.find(&deployment) {
            lock(&window).remove_instance(instance);
            self.mark(deployment);
        }
    }

    pub(crate) fn forget(&self, deployment: DeploymentId) {
        self.windows.remove(&deployment);
        lock(&self.dirty).remove(&deployment);
    }

    /// Says that somebody should look at the deployment.
    pub(crate) fn mark(&self, deployment: DeploymentId) {
        if lock(&self.dirty).insert(deployment) {
            self.wake.notify_one();
        }
    }

    /// Waits until at least one deployment is dirty, and takes all that are.
    pub(crate) async fn dirty(&self) -> Vec<DeploymentId> {
        loop {
            // Created before the look, so that a mark between the look and the wait is not missed.
            let woken = self.wake.notified();
            let dirty = std::mem::take(&mut *lock(&self.dirty));
            if !dirty.is_empty() {
                return dirty.into_iter().collect();
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_protocol::metric::Metric;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(at: u64) -> Sample {
        let mut sample = Sample::new(UnixMillis::from_millis(at));
        sample.set(Metric::Cpu, 50.0);
        sample
    }

    #[tokio::test]
    async fn a_deployment_is_dirty_once_however_many_samples_came() {
        let windows = Windows::new(8);
        let (deployment, instance) = (DeploymentId::generate(), InstanceId::generate());
        for at in 1..=3 {
            windows
                .push(deployment, SECOND, instance, &[sample(at * 1_000)], UnixMillis::from_millis(at * 1_000))
                .unwrap();
        }
        assert_eq!(windows.dirty().await, [deployment]);
        let freshest = windows.read(deployment, DeploymentWindow::freshest);
        assert_eq!(freshest, Some(Some(UnixMillis::from_millis(3_000))));
    }

    #[tokio::test]
    async fn a_mark_wakes_the_one_who_waits() {
        let windows = Arc::new(Windows::new(8));
        let deployment = DeploymentId::generate();
        let waiting = tokio::spawn({
            let windows = Arc::clone(&windows);
            async move { windows.dirty().await }
        });
        tokio::task::yield_now().await;
        windows.mark(deployment);
        assert_eq!(waiting.await.unwrap(), [deployment]);
    }

    #[test]
    fn a_window_above_the_limit_is_refused_and_the_others_go_on() {
        let windows = Windows::new(1);
        let (first, second, instance) = (DeploymentId::generate(), DeploymentId::generate(), InstanceId::generate());
        let now = UnixMillis::from_millis(1_000);
        windows.push(first, SECOND, instance, &[sample(1_000)], now).unwrap();
        assert_eq!(windows.push(second, SECOND, instance, &[sample(1_000)], now), Err(NoRoom));
        windows.push(first, SECOND, instance, &[sample(2_000)], now).unwrap();
        windows.forget(first);
        windows.push(second, SECOND, instance, &[sample(1_000)], now).unwrap();
    }
}
