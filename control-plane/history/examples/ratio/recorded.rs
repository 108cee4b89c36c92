//! Processes of this machine: each is a sandbox, each of its figures a series.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use outrigger_history::precision::rounded;
use outrigger_history::{Block, ColumnKey, Field, MetricName};
use outrigger_protocol::metric::Unit;
use outrigger_protocol::time::UnixMillis;

use crate::data::{DataSet, source};

/// Processes that were seen for a shorter time are no sandboxes.
const SHORTEST: usize = 120;
/// A process that ran for less of the time than this is idle.
const IDLE_CORES: f64 = 0.001;

/// Totals of a process, from which rates are made.
type Totals = BTreeMap<&'static str, f64>;

/// A process at one moment.
struct Look {
    /// Its id, and when it started: an id is used again.
    process: String,
    levels: Vec<(&'static str, f64)>,
    totals: Totals,
}

/// Writes `ms,process,metric,value` lines, once a second.
pub(crate) fn record(file: &Path, seconds: u32) -> Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    let mut before: BTreeMap<String, (Instant, Totals)> = BTreeMap::new();
    let start = Instant::now();
    for second in 1..=seconds {
        std::thread::sleep((start + Duration::from_secs(second.into())).saturating_duration_since(Instant::now()));
        let (now, at) = (Instant::now(), UnixMillis::now().as_millis());
        for entry in fs::read_dir("/proc")?.flatten() {
            // A process may end while it is looked at.
            let Some(Look { process, levels, totals }) = look_at(&entry.path()) else { continue };
            if let Some((then, totals_before)) = before.insert(process.clone(), (now, totals.clone())) {
                let passed = now.duration_since(then).as_secs_f64();
                for (metric, value) in levels {
                    writeln!(out, "{at},{process},{metric},{value}")?;
                }
                for (metric, total) in totals {
                    let rate = (total - totals_before.get(metric).copied().unwrap_or(total)) / passed;
                    writeln!(out, "{at},{process},{metric},{rate}")?;
                }
            }
        }
    }
    out.flush().context("cannot write the last of it")
}

fn look_at(process: &Path) -> Option<Look> {
    let id: u32 = process.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    // proc_pid_stat(5), counted from the field after the name.
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    let schedule = fs::read_to_string(process.join("schedstat")).ok()?;
    let mut schedule = schedule.split_whitespace().map_while(|field| field.parse::<f64>().ok());
    let (ran, waited) = (schedule.next()?, schedule.next()?);
    let io = fs::read_to_string(process.join("io")).ok()?;
    let status = fs::read_to_string(process.join("status")).ok()?;
    let of = |text: &str, name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let levels = vec![
        ("memory_rss_bytes", number(21)? * 4_096.0),
        ("virtual_bytes", number(20)?),
        ("anonymous_bytes", of(&status, "RssAnon").unwrap_or(0.0) * 1_024.0),
        ("threads", number(17)?),
        ("file_descriptors", fs::read_dir(process.join("fd")).ok()?.count() as f64),
        ("cpu_ns_total", ran),
    ];
    let totals = Totals::from([
        ("cpu_usage_cores", ran / 1e9),
        ("cpu", ran / 1e7),
        ("waiting_cores", waited / 1e9),
        ("minor_faults", number(7)?),
        ("voluntary_switches", of(&status, "voluntary_ctxt_switches")?),
        ("forced_switches", of(&status, "nonvoluntary_ctxt_switches")?),
        ("read_bytes", of(&io, "rchar")?),
        ("written_bytes", of(&io, "wchar")?),
        ("disk_read", of(&io, "read_bytes")?),
        ("disk_write", of(&io, "write_bytes")?),
    ]);
    Some(Look { process: format!("{id}-{}", fields.get(19)?), levels, totals })
}

/// The busy ones, and the idle ones.
pub(crate) fn read(file: &Path) -> Result<(DataSet, DataSet)> {
    let mut processes: BTreeMap<String, BTreeMap<String, BTreeMap<UnixMillis, f64>>> = BTreeMap::new();
    for line in BufReader::new(File::open(file)?).lines() {
        let line = line?;
        let fields: Vec<&str> = line.split(',').collect();
        let [at, process, metric, value] = fields[..] else { continue };
        let (at, value): (u64, f64) = (at.parse().context("not a time")?, value.parse().context("not a number")?);
        let series = processes.entry(process.to_owned()).or_default().entry(metric.to_owned()).or_default();
        series.insert(UnixMillis::from_millis(at), rounded(precision_of(metric), value));
    }
    let mut busy = DataSet { name: "recorded busy processes".to_owned(), blocks: Vec::new() };
    let mut idle = DataSet { name: "recorded idle processes".to_owned(), blocks: Vec::new() };
    for series in processes.into_values() {
        let cores = series.get("cpu_usage_cores").map(|samples| samples.values().sum::<f64>() / samples.len() as f64);
        let set = if cores.is_some_and(|cores| cores > IDLE_CORES) { &mut busy } else { &mut idle };
        let times: Vec<UnixMillis> =
            series.values().next().map(|samples| samples.keys().copied().collect()).unwrap_or_default();
        if times.len() < SHORTEST {
            continue;
        }
        let mut block = Block::new(source(set.blocks.len()), times.clone())?;
        for (metric, samples) in &series {
            let values = times.iter().map(|at| samples.get(at).copied().unwrap_or(f64::NAN)).collect();
            block.insert(ColumnKey::new(MetricName::new(metric), Field::Value), values)?;
        }
        set.blocks.push(block);
    }
    Ok((busy, idle))
}

fn precision_of(metric: &str) -> Unit {
    match metric {
        "waiting_cores" => Unit::Cores,
        "minor_faults" | "voluntary_switches" | "forced_switches" => Unit::PerSecond,
        name if name.ends_with("_bytes") || name.ends_with("_total") => Unit::Bytes,
        name => crate::data::unit_of(name),
    }
}
