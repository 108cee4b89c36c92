//! A program of a few lines, a client that sees every byte, and the proxy between them.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outrigger_protocol::metric::Metric;
use outrigger_protocol::sample::Sample;
use outrigger_protocol::time::UnixMillis;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::requests::RequestMeter;
use crate::requests::proxy::{Protocol, Proxy, ProxyLimits, ProxyRoute};

const DEADLINE: Duration = Duration::from_secs(10);

/// The usual limits, and no patience with a program that refuses connections.
pub(super) fn limits() -> ProxyLimits {
    ProxyLimits { restart_window: Duration::ZERO, ..ProxyLimits::default() }
}

/// Fails instead of hanging.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("within the deadline")
}

/// Waits for a predicate.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One end of a connection.
pub(super) struct Wire {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: soon(TcpStream::connect(address)).await.unwrap(), unread: Vec::new() }
    }

    pub(super) async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    /// Up to and with `end`; `None` when the connection ends before.
    pub(super) async fn read_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.unread.split_off(at + end.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap());
            }
            let mut buffer = [0; 4096];
            match soon(self.stream.read(&mut buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
    }

    pub(super) async fn head(&mut self) -> Option<String> {
        self.read_until("\r\n\r\n").await
    }

    /// The head and as much body as its `content-length` says.
    pub(super) async fn message(&mut self) -> Option<(String, String)> {
        let head = self.head().await?;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            let mut buffer = [0; 4096];
            match soon(self.stream.read(&mut buffer)).await.unwrap() {
                0 => return None,
                read => self.unread.extend_from_slice(&buffer[..read]),
            }
        }
        let rest = self.unread.split_off(length);
        Some((head, String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap()))
    }

    /// Sends a request and reads the answer.
    pub(super) async fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request).await;
        self.message().await.expect("an answer")
    }

    /// Whether the other side has closed.
    pub(super) async fn ended(&mut self) -> bool {
        !matches!(soon(self.stream.read(&mut [0; 1])).await, Ok(1..))
    }
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(super) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: program.test\r\n\r\n")
}

pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A program that handles every connection with `handler`, which is told the connection's number, from 1.
pub(super) struct Program {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Program {
    pub(super) async fn start<F: Future<Output = ()> + Send>(
        handler: impl Fn(usize, Wire) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), handler)
    }

    pub(super) fn listen<F: Future<Output = ()> + Send>(
        listener: TcpListener,
        handler: impl Fn(usize, Wire) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let handler = handler.clone();
                tokio::spawn(async move { handler(number, Wire { stream, unread: Vec::new() }).await });
            }
        });
        Self { address, connections, task }
    }

    /// Answers every request with its own head.
    pub(super) async fn mirror() -> Self {
        Self::start(|_, mut wire| async move {
            while let Some((head, _)) = wire.message().await {
                wire.send(&ok(&head)).await;
            }
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A running proxy.
pub(super) struct Running {
    pub address: SocketAddr,
    meter: RequestMeter,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) async fn start(upstream: SocketAddr, limits: ProxyLimits) -> Self {
        Self::speaking(Protocol::Http1, upstream, limits).await
    }

    /// In `protocol` to the program.
    pub(super) async fn speaking(protocol: Protocol, upstream: SocketAddr, limits: ProxyLimits) -> Self {
        let route = ProxyRoute { listen: "127.0.0.1:0".parse().unwrap(), upstream, protocol };
        let proxy = Proxy::bind(route, limits).await.unwrap();
        let (address, meter) = (proxy.local_addr().unwrap(), proxy.meter());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(proxy.run(async move {
            let _dropped = stopped.await;
        }));
        Self { address, meter, stop: Some(stop), task }
    }

    pub(super) async fn client(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// What the meter counted since the last call, per second of one second.
    pub(super) fn sample(&self) -> Sample {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        self.meter.take(Duration::from_secs(1), &mut sample);
        sample
    }

    /// What the meter says at this moment; nothing is taken from the next sample.
    pub(super) fn sample_of_no_time(&self) -> Sample {
        let mut sample = Sample::new(UnixMillis::EPOCH);
        self.meter.take(Duration::ZERO, &mut sample);
        sample
    }

    pub(super) fn requests_in_flight(&self) -> f64 {
        self.sample_of_no_time().value(Metric::RequestsInFlight).unwrap()
    }

    pub(super) async fn in_flight(&self, count: f64) {
        eventually("the number of requests in flight", || self.requests_in_flight() == count).await;
    }

    pub(super) fn stop(&mut self) {
        self.stop.take();
    }

    pub(super) async fn stopped(self) {
        soon(self.task).await.unwrap();
    }
}

/// A metric without a code.
pub(super) fn custom(sample: &Sample, name: &str) -> Option<f64> {
    sample.custom.iter().find(|(present, _)| present == name).map(|(_, value)| *value)
}
