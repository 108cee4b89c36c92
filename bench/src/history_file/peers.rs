//! The stores of others, as Debian packages them, with the same samples.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use outrigger_tests::Running;
use rustix::process::Signal;
use tokio::time::sleep;

use super::each_series;
use super::load::Load;
use crate::peers::free_port;
use crate::process::{quiet, timed};

const VICTORIA: &str = "/usr/bin/victoria-metrics";
const PROMTOOL: &str = "/usr/bin/promtool";
/// How long a peer may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an import.
const IMPORT: usize = 4 << 20;
/// For how long the same has to be measured: a merge in the background has no end that it tells.
const SETTLED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of VictoriaMetrics' files of samples, all merged.
///
/// # Errors
/// In words for the table.
pub(super) async fn victoria(directory: &Path, load: &Load, seconds: u64) -> Result<u64, String> {
    if !Path::new(VICTORIA).is_file() {
        return Err("not installed: apt-get install victoria-metrics".to_owned());
    }
    in_victoria(directory, load, seconds).await.map_err(|error| format!("{error:#}"))
}

async fn in_victoria(directory: &Path, load: &Load, seconds: u64) -> Result<u64> {
    let base = tempfile::tempdir_in(directory)?;
    let port = free_port()?;
    let mut command = quiet(VICTORIA);
    command.arg(format!("-storageDataPath={}", base.path().display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.args(["-retentionPeriod=100y", "-memory.allowedBytes=512MB"]);
    let mut server = Running::start_apart(command)?;
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let post = async |path: &str, body: String| -> Result<()> {
        let answer = client.post(format!("http://127.0.0.1:{port}{path}")).body(body).send().await?;
        ensure!(answer.status().is_success(), "{path} answered {}", answer.status());
        Ok(())
    };
    let started = Instant::now();
    while post("/health", String::new()).await.is_err() {
        ensure!(started.elapsed() < PATIENCE, "victoria-metrics does not answer");
        sleep(LOOK).await;
    }
    for lines in imports(load, seconds) {
        post("/api/v1/import", lines).await.context("an import failed")?;
    }
    post("/internal/force_flush", String::new()).await?;
    post("/internal/force_merge", String::new()).await?;
    let data = base.path().join("data");
    settle(&data).await;
    server.signal(Signal::INT)?;
    server.ended().await?;
    size_below(&data)
}

/// Its own lines of JSON, some megabytes at a time.
fn imports(load: &Load, seconds: u64) -> Vec<String> {
    let (mut imports, mut lines) = (Vec::new(), String::new());
    each_series(load, seconds, |metric, sandbox, samples| {
        let (mut values, mut times) = (String::new(), String::new());
        for (at, value) in samples {
            let _ = write!(values, "{value},");
            let _ = write!(times, "{},", at.as_millis());
        }
        let (values, times) = (values.trim_end_matches(','), times.trim_end_matches(','));
        let labels = format!("{{\"__name__\":\"{metric}\",\"sandbox\":\"{sandbox}\"}}");
        let _ = writeln!(lines, "{{\"metric\":{labels},\"values\":[{values}],\"timestamps\":[{times}]}}");
        if lines.len() > IMPORT {
            imports.push(std::mem::take(&mut lines));
        }
    });
    imports.push(lines);
    imports
}

async fn settle(data: &Path) {
    let (started, mut since, mut last) = (Instant::now(), Instant::now(), 0);
    while since.elapsed() < SETTLED && started.elapsed() < PATIENCE {
        // Files come and go while they are counted.
        if let Ok(now) = size_below(data)
            && now != last
        {
            (last, since) = (now, Instant::now());
        }
        sleep(LOOK).await;
    }
}

/// Bytes of the chunks of Prometheus' blocks, made by its own tool, which needs no server.
///
/// # Errors
/// In words for the table.
pub(super) async fn prometheus(directory: &Path, load: &Load, seconds: u64) -> Result<u64, String> {
    if !Path::new(PROMTOOL).is_file() {
        return Err("not installed: apt-get install prometheus".to_owned());
    }
    in_prometheus(directory, load, seconds).await.map_err(|error| format!("{error:#}"))
}

async fn in_prometheus(directory: &Path, load: &Load, seconds: u64) -> Result<u64> {
    let base = tempfile::tempdir_in(directory)?;
    let (text, data) = (base.path().join("samples.om"), base.path().join("data"));
    tokio::fs::write(&text, openmetrics(load, seconds)).await?;
    let mut tool = quiet(PROMTOOL);
    tool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&text).arg(&data);
    timed(tool, PATIENCE).await?;
    let mut bytes = 0;
    for block in std::fs::read_dir(&data)?.flatten() {
        bytes += size_below(&block.path().join("chunks"))?;
    }
    Ok(bytes)
}

/// Metric by metric, as the format wants it.
fn openmetrics(load: &Load, seconds: u64) -> String {
    let mut families: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    each_series(load, seconds, |metric, sandbox, samples| {
        // Without a type, so that names need no suffix.
        let text = families.entry(metric.to_owned()).or_insert_with(|| format!("# TYPE {metric} unknown\n"));
        for (at, value) in samples {
            let at = at.as_millis();
            let _ = writeln!(text, "{metric}{{sandbox=\"{sandbox}\"}} {value} {}.{:03}", at / 1_000, at % 1_000);
        }
    });
    families.into_values().chain(["# EOF\n".to_owned()]).collect()
}

/// Bytes of all files below a directory; 0 when there is none.
fn size_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
