//! VictoriaMetrics: a server on loopback, fed by its own JSON lines, told to merge, and ended.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::data::DataSet;
use crate::prometheus::size_below;

const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the parts that hold samples, merged; none when it is not installed.
pub(crate) fn bytes(set: &DataSet) -> Result<Option<u64>> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let Some(mut server) = Server::start(&data)? else { return Ok(None) };
    let mut lines = String::new();
    let mut failed = None;
    set.for_each_series(|metric, source, samples| {
        let (mut values, mut times) = (String::new(), String::new());
        for (at, value) in samples {
            let _ = write!(values, "{value},");
            let _ = write!(times, "{},", at.as_millis());
        }
        let (values, times) = (values.trim_end_matches(','), times.trim_end_matches(','));
        let labels = format!("{{\"__name__\":\"{metric}\",\"sandbox\":\"{source}\"}}");
        let _ = writeln!(lines, "{{\"metric\":{labels},\"values\":[{values}],\"timestamps\":[{times}]}}");
        if lines.len() > 4 << 20 && failed.is_none() {
            failed = server.post("/api/v1/import", std::mem::take(&mut lines).as_bytes()).err();
        }
    });
    if let Some(error) = failed {
        return Err(error.context("an import failed"));
    }
    server.post("/api/v1/import", lines.as_bytes()).context("an import failed")?;
    server.post("/internal/force_flush", b"")?;
    server.post("/internal/force_merge", b"")?;
    settled(|| size_below(&data.join("data")))?;
    server.end()?;
    // The inverted index of names is beside it, in `indexdb`.
    Ok(Some(size_below(&data.join("data"))?))
}

/// Waits until the same is measured for a while: a merge in the background has no end that it tells.
fn settled(measure: impl Fn() -> Result<u64>) -> Result<()> {
    let (start, mut since, mut last) = (Instant::now(), Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(2) && start.elapsed() < PATIENCE {
        // Files come and go while they are counted.
        if let Ok(now) = measure()
            && now != last
        {
            (last, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(data: &std::path::Path) -> Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-storageDataPath={}", data.display())).arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        command.args(["-retentionPeriod=100y", "-memory.allowedBytes=512MB"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.context("cannot start victoria-metrics")?,
        };
        let server = Self { child, port };
        let start = Instant::now();
        while server.post("/health", b"").is_err() {
            ensure!(start.elapsed() < PATIENCE, "victoria-metrics does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(server))
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{path} answered {status}");
        }
        Ok(())
    }

    /// Lets it write what it holds.
    fn end(&mut self) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("not a process id")?;
        kill_process(id, Signal::INT)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < PATIENCE, "victoria-metrics does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
