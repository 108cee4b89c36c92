//! The HTTP server: who is connected, how many they are, and how long they may take to ask. What a request means is the
//! API's, which also bounds everything that comes after a request's head.
//!
//! A connection takes a place before it is accepted, and keeps it until it is closed, as a WebSocket too. Those that are
//! too many wait in the kernel's queue, where they cost nothing here; a client that does not get on with its request, or
//! does not take what it is sent, loses its place to them. HTTP/1.1 alone is spoken: what
//! ends a slow client is its header time-out, and HTTP/2 has none.

mod placed;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use placed::Placed;

/// How long answers under way may take when the server stops; live streams would take for ever.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take nothing of what is sent to it: as long as it may be silent by default.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct HttpLimits {
    /// At a time.
    pub(super) connections: usize,
    /// From the moment that a connection is free for a request until the request's head is complete. Silence counts.
    pub(super) header_timeout: Duration,
    /// For taking some of what is sent to it.
    pub(super) stalled: Duration,
}

/// A running HTTP server.
pub(super) struct Http {
    address: SocketAddr,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Http {
    /// Takes the port. Whoever connects waits until somebody serves.
    pub(super) async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(listen).await.with_context(|| format!("cannot serve the admin API on {listen}"))
    }

    pub(super) fn serve(listener: TcpListener, router: Router, limits: HttpLimits) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the listener has no address")?;
        let stopping = CancellationToken::new();
        let task = tokio::spawn(accept(listener, router, limits, stopping.clone()));
        Ok(Self { address, stopping, task })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody in any more, closes what is idle, and gives what is under way a moment to end.
    pub(super) async fn stop(mut self) {
        self.stopping.cancel();
        match timeout(DRAIN, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the HTTP server panicked"),
            Err(_) => {
                // With it go the connections that it has.
                self.task.abort();
                tracing::info!("requests were under way when the HTTP server stopped");
            }
        }
    }
}

async fn accept(mut listener: TcpListener, router: Router, limits: HttpLimits, stopping: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes the semaphore");
            // Axum's own, which waits while this process has no file descriptor left.
            let (stream, peer) = Listener::accept(&mut listener).await;
            (place, stream, peer)
        };
        tokio::select! {
            (place, stream, peer) = next => {
                let stream = Placed::new(stream, place, limits.stalled);
                connections.spawn(talk(stream, peer, router.clone(), protocol.clone(), stopping.clone()));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "a connection ended in a panic");
                }
            }
            () = stopping.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one client until it leaves, is too slow, or the server stops.
async fn talk(stream: Placed, peer: SocketAddr, router: Router, protocol: http1::Builder, stopping: CancellationToken) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(router.clone(), request)
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke off");
    }
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    router.oneshot(request).await
}

#[cfg(test)]
mod tests;
