//! Prometheus: blocks made from text by its own tool, which needs no server.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::data::DataSet;

/// Bytes of the chunks; none when `promtool` is not installed.
pub(crate) fn bytes(set: &DataSet) -> Result<Option<u64>> {
    let directory = tempfile::tempdir()?;
    let text = directory.path().join("samples.om");
    fs::write(&text, openmetrics(set))?;
    let data = directory.path().join("data");
    let mut tool = Command::new("promtool");
    tool.args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(&text).arg(&data);
    tool.stdout(Stdio::null()).stderr(Stdio::piped());
    let output = match tool.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.context("cannot run promtool")?,
    };
    ensure!(output.status.success(), "promtool refused: {}", String::from_utf8_lossy(&output.stderr));
    let mut bytes = 0;
    for block in fs::read_dir(&data)?.flatten() {
        bytes += size_below(&block.path().join("chunks"))?;
    }
    Ok(Some(bytes))
}

fn openmetrics(set: &DataSet) -> String {
    let mut text = String::new();
    let mut last = String::new();
    set.for_each_series(|metric, source, samples| {
        if metric != last {
            // Without a type, so that names need no suffix.
            let _ = writeln!(text, "# TYPE {metric} unknown");
            metric.clone_into(&mut last);
        }
        for (at, value) in samples {
            let at = at.as_millis();
            let _ = writeln!(text, "{metric}{{sandbox=\"{source}\"}} {value} {}.{:03}", at / 1_000, at % 1_000);
        }
    });
    text.push_str("# EOF\n");
    text
}

/// Bytes of all files below a directory; 0 when there is none.
pub(crate) fn size_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
