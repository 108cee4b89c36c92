//! Real HTTP load that rises and falls, spread over the instances that are ready.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The load repeats itself after this long.
pub(crate) const PERIOD: Duration = Duration::from_secs(44);

/// Requests that may be under way at once; beyond that the load generator skips, it does not queue.
const IN_FLIGHT: usize = 128;

/// How often requests are sent: the batch of one tick is the rate divided by the ticks of a second.
const TICK: Duration = Duration::from_millis(20);

/// Requests per second at a moment of the period: quiet, a steep rise, a plateau, a fall, quiet.
pub(crate) fn rate_at(elapsed: Duration) -> f64 {
    const QUIET: f64 = 8.0;
    const BUSY: f64 = 160.0;
    let second = elapsed.as_secs_f64() % PERIOD.as_secs_f64();
    match second {
        s if s < 5.0 => QUIET,
        s if s < 8.0 => QUIET + (BUSY - QUIET) * (s - 5.0) / 3.0,
        s if s < 17.0 => BUSY,
        s if s < 20.0 => BUSY - (BUSY - QUIET) * (s - 17.0) / 3.0,
        _ => QUIET,
    }
}

/// What the load generator and the view share.
#[derive(Debug, Default)]
pub(crate) struct LoadState {
    targets: Mutex<Vec<String>>,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) skipped: AtomicU64,
    last_answer: Mutex<String>,
}

impl LoadState {
    pub(crate) fn set_targets(&self, targets: Vec<String>) {
        *self.targets.lock().expect("no holder of this lock panics") = targets;
    }

    /// The newest body that an instance answered.
    pub(crate) fn last_answer(&self) -> String {
        self.last_answer.lock().expect("no holder of this lock panics").clone()
    }

    fn target(&self, turn: u64) -> Option<String> {
        let targets = self.targets.lock().expect("no holder of this lock panics");
        let index = usize::try_from(turn).unwrap_or(0).checked_rem(targets.len())?;
        Some(targets[index].clone())
    }
}

/// Sends requests until it is dropped.
pub(crate) async fn generate(state: Arc<LoadState>) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).pool_max_idle_per_host(16).build()?;
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut requests = JoinSet::new();
    let (mut owed, mut turn) = (0.0, 0u64);
    loop {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        owed += rate_at(started.elapsed()) * TICK.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            turn += 1;
            match state.target(turn) {
                Some(target) if requests.len() < IN_FLIGHT => {
                    requests.spawn(request(http.clone(), target, Arc::clone(&state)));
                }
                _ => {
                    state.skipped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

async fn request(http: reqwest::Client, target: String, state: Arc<LoadState>) {
    let answer = async { http.get(format!("http://{target}/")).send().await?.error_for_status()?.text().await };
    match answer.await {
        Ok(text) => {
            state.answered.fetch_add(1, Ordering::Relaxed);
            *state.last_answer.lock().expect("no holder of this lock panics") = text.trim().to_owned();
        }
        Err(_) => {
            state.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_rises_and_falls_within_a_period() {
        let rate = |seconds| rate_at(Duration::from_secs(seconds));
        assert!(rate(1) < rate(7) && rate(7) < rate(12) && rate(30) < rate(12));
        assert!((rate(1) - rate(1 + PERIOD.as_secs())).abs() < f64::EPSILON);
    }
}
