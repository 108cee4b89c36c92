//! Deadlines of a client's connection.
//!
//! The stream reports each byte that moves to an [`Activity`], the exchange reports which [`Phase`] the connection is
//! in, and the [`Watch`], polled by the same task, compares both with the clock. One timer serves all phases and is
//! moved only when a deadline comes nearer, so that a request costs no timer operation.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::ProxyLimits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No request is under way.
    Idle,
    /// A head has begun to arrive.
    Head,
    /// The program has the request; how long it may take is the upstream's business.
    Waiting,
    /// An answer flows back.
    Answering,
}

/// What happens on a connection. Shared by everything that handles it.
#[derive(Debug)]
pub(super) struct Activity {
    phase: AtomicU8,
    /// Reads and writes that moved something; wraps.
    progress: AtomicU32,
}

impl Default for Activity {
    fn default() -> Self {
        Self { phase: AtomicU8::new(Phase::Idle as u8), progress: AtomicU32::new(0) }
    }
}

impl Activity {
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            1 => Phase::Head,
            2 => Phase::Waiting,
            3 => Phase::Answering,
            _ => Phase::Idle,
        }
    }

    fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self) {
        self.moved();
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Head,
    KeepAlive,
    Stall,
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
                Phase::Answering => self.limits.stall_timeout,
                // Only to look again: see `verdict`.
                Phase::Waiting => self.limits.stall_timeout,
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
        let deadline = this.deadline();
        if deadline < this.timer.deadline() {
            this.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let deadline = this.deadline();
            if deadline <= Instant::now() {
                match this.phase {
                    Phase::Idle => return Poll::Ready(Expired::KeepAlive),
                    Phase::Head => return Poll::Ready(Expired::Head),
                    Phase::Answering => return Poll::Ready(Expired::Stall),
                    Phase::Waiting => this.since = Instant::now(),
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

/// A stream that reports what moves.
#[derive(Debug)]
pub(super) struct Observed<T> {
    stream: T,
    activity: Arc<Activity>,
}

impl<T> Observed<T> {
    pub(super) fn new(stream: T, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl Observed<TcpStream> {
    /// Says why, as far as that fits into the socket's buffer, and closes.
    pub(super) fn refuse_slow_head(self) {
        const ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        if let Err(error) = self.stream.try_write(ANSWER) {
            tracing::debug!(%error, "a slow client could not be told");
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Observed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Observed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.activity.moved();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.activity.moved();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
                activity.received();
                sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
        assert!(expired == Expired::Head && within_a_moment(took, limits().head_timeout), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_for_ever_as_long_as_it_moves() {
        let (expired, took) = expiry(async |activity| {
            activity.enter(Phase::Answering);
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
            activity.enter(Phase::Waiting);
            sleep(Duration::from_secs(3_000)).await;
            activity.enter(Phase::Idle);
        })
        .await;
        let answered = Duration::from_secs(3_000);
        assert!(expired == Expired::KeepAlive && within_a_moment(took, answered + limits().keep_alive), "{took:?}");
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
