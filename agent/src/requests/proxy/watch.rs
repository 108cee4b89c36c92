//! Deadlines of a client's connection.
//!
//! The stream reports what moves to an [`Activity`], the requests report when they begin and end, and the [`Watch`], polled
//! by the same task, compares both with the clock. One timer serves all phases and is moved only when a deadline comes
//! nearer, so that a request costs no timer operation.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::ProxyLimits;
use super::activity::{Activity, Phase};

/// Requests that a client may begin and give up, more than it sees to their end: beyond it, giving up is what the
/// connection is for ("rapid reset", CVE-2023-44487).
const MAX_ABANDONED: u32 = 100;

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Head,
    KeepAlive,
    Stall,
    /// Not a deadline, but noticed as one: the client only begins requests.
    Abandoning,
}

/// Resolves when a deadline has passed. Must be polled by the task that moves the bytes.
pub(super) struct Watch {
    activity: Arc<Activity>,
    limits: Arc<ProxyLimits>,
    timer: Pin<Box<Sleep>>,
    phase: Phase,
    progress: u32,
    /// When the phase began or, where silence is what counts, the last byte moved.
    since: Instant,
}

impl Watch {
    pub(super) fn new(activity: Arc<Activity>, limits: Arc<ProxyLimits>) -> Self {
        Self {
            timer: Box::pin(sleep(limits.keep_alive)),
            phase: activity.phase(),
            progress: activity.progress(),
            since: Instant::now(),
            activity,
            limits,
        }
    }

    fn deadline(&self) -> Instant {
        self.since
            + match self.phase {
                Phase::Idle => self.limits.keep_alive,
                Phase::Head => self.limits.head_timeout,
                // While the program is waited for, only to look again.
                Phase::Answering | Phase::Waiting => self.limits.stall_timeout,
            }
    }

    fn observe(&mut self) {
        let (phase, progress) = (self.activity.phase(), self.activity.progress());
        let moved = progress != self.progress && phase != Phase::Head;
        if phase != self.phase || moved {
            self.since = Instant::now();
        }
        (self.phase, self.progress) = (phase, progress);
    }
}

impl Future for Watch {
    type Output = Expired;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Expired> {
        let this = &mut *self;
        this.observe();
        if this.activity.abandoned() > MAX_ABANDONED {
            return Poll::Ready(Expired::Abandoning);
        }
        let deadline = this.deadline();
        if deadline < this.timer.deadline() {
            this.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let deadline = this.deadline();
            if deadline <= Instant::now() {
                // It may be polled again: for the time that telling the client takes.
                this.since = Instant::now();
                match this.phase {
                    Phase::Idle => return Poll::Ready(Expired::KeepAlive),
                    Phase::Head => return Poll::Ready(Expired::Head),
                    Phase::Answering => return Poll::Ready(Expired::Stall),
                    Phase::Waiting => {}
                }
            }
            let deadline = this.deadline();
            this.timer.as_mut().reset(deadline);
        }
    }
}

/// Resolves when nothing has moved for `limit`.
pub(super) async fn stalled(activity: &Activity, limit: Duration) {
    let mut before = activity.progress();
    loop {
        sleep(limit).await;
        let now = activity.progress();
        if now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Arc<ProxyLimits> {
        Arc::new(ProxyLimits::default())
    }

    /// When the watch gives up, while `script` says what happens.
    async fn expiry(script: impl AsyncFnOnce(&Activity)) -> (Expired, Duration) {
        let activity = Arc::new(Activity::default());
        let start = Instant::now();
        let watch = Watch::new(Arc::clone(&activity), limits());
        let acting = async {
            script(&activity).await;
            std::future::pending::<()>().await;
        };
        // As in the proxy: what moves the bytes and the watch are polled together.
        tokio::select! {
            biased;
            () = acting => unreachable!("it never ends"),
            expired = watch => (expired, start.elapsed()),
        }
    }

    fn within_a_moment(took: Duration, of: Duration) -> bool {
        took >= of && took < of + Duration::from_millis(10)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_its_keep_alive() {
        let (expired, took) = expiry(async |_| {}).await;
        assert!(expired == Expired::KeepAlive && within_a_moment(took, limits().keep_alive), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_has_one_deadline() {
        let (expired, took) = expiry(async |activity| {
            loop {
                activity.head_begun();
                activity.moved();
                sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
        assert!(expired == Expired::Head && within_a_moment(took, limits().head_timeout), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_for_ever_as_long_as_it_moves() {
        let (expired, took) = expiry(async |activity| {
            activity.request_begun();
            activity.answer_begun();
            for _ in 0..100 {
                sleep(Duration::from_secs(200)).await;
                activity.moved();
            }
        })
        .await;
        let last_byte = Duration::from_secs(20_000);
        assert!(expired == Expired::Stall && within_a_moment(took, last_byte + limits().stall_timeout), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_program_is_not_the_clients_fault() {
        let (expired, took) = expiry(async |activity| {
            activity.request_begun();
            sleep(Duration::from_secs(3_000)).await;
            activity.answer_begun();
            activity.request_ended(true);
        })
        .await;
        let answered = Duration::from_secs(3_000);
        assert!(expired == Expired::KeepAlive && within_a_moment(took, answered + limits().keep_alive), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_gives_up_requests_is_noticed() {
        let (expired, _) = expiry(async |activity| {
            for _ in 0..10 * MAX_ABANDONED {
                activity.request_begun();
                activity.answer_begun();
                activity.request_ended(true);
            }
            sleep(Duration::from_secs(1)).await;
            for _ in 0..=MAX_ABANDONED {
                activity.request_begun();
                activity.answer_begun();
                activity.request_ended(false);
            }
        })
        .await;
        assert_eq!(expired, Expired::Abandoning);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_stalls_after_up_to_two_silent_limits() {
        let activity = Activity::default();
        activity.moved();
        let start = Instant::now();
        stalled(&activity, Duration::from_secs(10)).await;
        assert!(within_a_moment(start.elapsed(), Duration::from_secs(10)));
    }
}
