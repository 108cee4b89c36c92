use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long anything may take before a test calls it broken. Far beyond what it takes, because machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`. An error of the question ends the wait; `what` names it when the time is over.
///
/// # Errors
/// The question's error, or that [`PATIENCE`] was exhausted.
pub async fn eventually<T, F, Fut>(what: &str, mut question: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(25));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(answer) = question().await? {
            return Ok(answer);
        }
        if started.elapsed() > PATIENCE {
            bail!("waited {} s in vain: {what}", PATIENCE.as_secs());
        }
    }
}
